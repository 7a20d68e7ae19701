"""Batches of pictures: in order for evaluation, in a seeded order for training.

A training batch is a function of (seed, step) alone. ``Order`` says which pictures a step takes; a
``Part`` is the slice of the global batch that one process forwards at a time. So one process, several
processes and accumulated small batches see the same pictures, views and mixtures.

Shapes: B pictures; C channels; H x W pixels; K classes.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from signal import SIG_IGN, SIGINT, SIGTERM, signal
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from vitreous.data.augment import AugmentConfig, mix
from vitreous.data.batch import Labelled as Labelled
from vitreous.data.batch import Target as Target
from vitreous.data.batch import padded
from vitreous.data.collection import Collection, several_hot
from vitreous.data.dense_view import DenseView
from vitreous.data.draws import drawing, seed_of
from vitreous.data.evenly import Draw, even_draws
from vitreous.data.masks import Masks
from vitreous.data.preprocess import Preprocess
from vitreous.data.targets import target_of
from vitreous.errors import DataError, PictureError


class Trouble(NamedTuple):
    """A picture that could not be used in training, and why; another took its place."""

    name: str
    reason: str


class TrainingPart(NamedTuple):
    """What one process forwards at a time; ``rows`` says (start, stop, total) of the global batch."""

    batch: Labelled
    rows: tuple[int, int, int]
    troubles: tuple[Trouble, ...]


@dataclass(frozen=True, kw_only=True)
class Order:
    """Which pictures each step takes: every epoch is a new permutation, its incomplete end dropped.

    With ``views`` each picture has so many random views, which the epochs take in turn; with 0 it has a new
    one in every epoch. With ``labels``, one for each picture, every class is drawn as often as any other in
    epochs of the same length, and a picture has a new view, or the next of its views, each time.
    """

    pictures: int
    batch: int  # pictures of a global batch
    seed: int
    views: int = 0
    labels: tuple[int, ...] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one epoch, at least one."""
        return max(1, self.pictures // self.batch)

    def epoch_of(self, step: int) -> int:
        """The epoch, from 0, that a step belongs to."""
        return step // self.steps_per_epoch

    def view_of(self, epoch: int) -> int:
        """The number, from 0, of the view that pictures have in an epoch."""
        return epoch % self.views if self.views else epoch

    def views_in(self, epochs: int) -> int:
        """How many of the ``views`` so many epochs can need, the first ones."""
        return min(self.views, epochs) if self.labels is None else self.views

    def draws(self, epoch: int) -> list[Draw]:
        """The pictures of an epoch in their order, each with the number of its view."""
        if self.labels is None:
            view = self.view_of(epoch)
            return [Draw(picture, view) for picture in self.permutation(epoch)]
        return [
            Draw(picture, self.view_of(times)) for picture, times in even_draws(self.labels, self.seed, epoch)
        ]

    def permutation(self, epoch: int) -> list[int]:
        """The order of all pictures in an epoch."""
        generator = torch.Generator().manual_seed(seed_of("order", self.seed, epoch))
        return torch.randperm(self.pictures, generator=generator).tolist()


class _Request(NamedTuple):
    """One picture of one part, as it is sent to a loading process."""

    step: int
    view: int
    picture: int
    rows: tuple[int, int, int]


class _Plan(Sampler[list[_Request]]):
    """The parts of one process, step after step."""

    def __init__(self, order: Order, steps: range, parts: list[tuple[int, int]], neighbours: bool) -> None:
        self.order = order
        self.steps = steps
        self.parts = parts
        self.neighbours = neighbours

    def __len__(self) -> int:
        return len(self.steps) * len(self.parts)

    def __iter__(self) -> Iterator[list[_Request]]:
        size = self.order.batch
        epoch, draws = -1, list[Draw]()
        for step in self.steps:
            if self.order.epoch_of(step) != epoch:
                epoch = self.order.epoch_of(step)
                draws = self.order.draws(epoch)
            offset = step % self.order.steps_per_epoch * size
            batch = draws[offset : offset + size]
            for start, stop in self.parts:
                places = list(range(start, stop))
                if self.neighbours:  # the picture ahead, round the end of the global batch
                    places.insert(0, (start - 1) % size)
                rows = (start, stop, size)
                drawn = (batch[place] for place in places)
                yield [_Request(step, view, picture, rows) for picture, view in drawn]


class _View(NamedTuple):
    """The answer to a request: what a loading process made of one picture."""

    request: _Request
    image: Tensor
    truth: int | tuple[int, ...]
    place: int
    mask: Tensor | None
    troubles: list[Trouble]
    target: Target | None = None


class _Views(Dataset[Any]):
    """Answers requests with random views; runs in the loading processes."""

    def __init__(
        self,
        collection: Collection,
        view: Callable[[Image.Image], Tensor] | DenseView,
        masks: Masks | None,
        seed: int,
    ) -> None:
        self.collection = collection
        self.view = view
        self.masks = masks
        self.seed = seed

    def __len__(self) -> int:
        return len(self.collection)

    def __getitem__(self, request: _Request) -> _View:
        picture, index, troubles = self._open(request.picture)
        sample, target = self.collection.samples[index], None
        with drawing("view", self.seed, request.view, request.picture):
            if isinstance(self.view, DenseView):
                image, target = self.view(picture, sample.held_objects(), sample.held_region())
            else:
                image = self.view(picture)
        mask = None
        if self.masks is not None:
            with drawing("mask", self.seed, request.view, request.picture):
                mask = self.masks()
        return _View(request, image, sample.truth, index, mask, troubles, target)

    def _open(self, index: int) -> tuple[Image.Image, int, list[Trouble]]:
        """The picture, or the next good one after it, and what was wrong with those passed over."""
        troubles: list[Trouble] = []
        for ahead in range(len(self.collection)):
            candidate = (index + ahead) % len(self.collection)
            try:
                return self.collection.open(candidate), candidate, troubles
            except PictureError as error:
                troubles.append(Trouble(error.name, error.reason))
        raise DataError(f"{self.collection.name}: none of its {len(self.collection)} pictures can be read")


class _Collate:
    """Joins the views of one part, and mixes them where that is asked for."""

    def __init__(self, pictures: int, classes: int, augment: AugmentConfig, seed: int) -> None:
        self.pictures = pictures
        self.classes = classes
        self.augment = augment
        self.seed = seed

    def __call__(self, views: list[_View]) -> TrainingPart:
        found = tuple(trouble for view in views for trouble in view.troubles)
        first = views[0].request
        images, valid = _joined([view.image for view in views])
        labels = _labels([view.truth for view in views], self.classes)
        if self.augment.mixes:
            seed = seed_of("mix", self.seed, first.step)
            images, labels = mix(images, labels, self.classes, self.augment, seed)
            views = views[1:]  # the first was only the partner of the second
        batch = Labelled(
            images,
            labels,
            _numbers(view.place for view in views),
            _stacked([view.mask for view in views]),
            _numbers(view.request.view * self.pictures + view.request.picture for view in views),
            _targets([view.target for view in views]),
            valid,
        )
        return TrainingPart(batch, first.rows, found)


def _numbers(values: Iterable[int]) -> Tensor:
    return torch.tensor(list(values))


def _labels(truths: list[int | tuple[int, ...]], classes: int) -> Tensor:
    """Labels -> (B,); tags -> (B, K), float32."""
    tags = [truth for truth in truths if isinstance(truth, tuple)]
    if tags:
        return torch.from_numpy(several_hot(tags, classes)).float()
    return _numbers(truth for truth in truths if isinstance(truth, int))


def _stacked(masks: list[Tensor | None]) -> Tensor | None:
    some = [mask for mask in masks if mask is not None]
    return torch.stack(some) if some else None


def _targets(targets: list[Target | None]) -> tuple[Target, ...] | None:
    some = tuple(target for target in targets if target is not None)
    return some or None


def _joined(images: list[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Views as one tensor, padded where they have several sizes."""
    if all(image.shape == images[0].shape for image in images):
        return torch.stack(images), None
    return padded(images)


def training_parts(
    collection: Collection,
    view: Callable[[Image.Image], Tensor] | DenseView,
    augment: AugmentConfig,
    order: Order,
    *,
    steps: range,
    parts: list[tuple[int, int]],
    masks: Masks | None = None,
    workers: int = 0,
) -> Generator[TrainingPart, None, None]:
    """The parts (start, stop) of every global batch that this process forwards, for ``steps``.

    A picture that cannot be read is replaced by the next one in the collection's order, and named in
    ``troubles``; the batch keeps its size. A ``DenseView`` fills ``targets``.
    """
    loader = DataLoader(
        _Views(collection, view, masks, order.seed),
        batch_sampler=_Plan(order, steps, parts, augment.mixes),
        collate_fn=_Collate(len(collection), len(collection.classes), augment, order.seed),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_ignore_signals,
    )
    yield from loader  # a generator, so that whoever closes it ends the loading processes too


def numbered_views(
    collection: Collection,
    view: Callable[[Image.Image], Tensor],
    order: Order,
    *,
    number: int,
    places: range,
    batch_size: int,
    workers: int = 0,
) -> Generator[Labelled, None, None]:
    """One view of each of these pictures, in order: what an epoch of that number trains on, unmixed."""
    requests = [_Request(0, number, picture, (0, 0, 0)) for picture in places]
    starts = range(0, len(requests), batch_size)
    loader = DataLoader(
        _Views(collection, view, None, order.seed),
        batch_sampler=[requests[start : start + batch_size] for start in starts],
        collate_fn=_Collate(len(collection), len(collection.classes), AugmentConfig(), order.seed),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_ignore_signals,
    )
    for part in loader:
        yield part.batch


def _ignore_signals(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal, and a batch system's SIGTERM every process of a job; the
    run decides when it ends, not its loaders. They end when their queues are closed."""
    signal(SIGINT, SIG_IGN)
    signal(SIGTERM, SIG_IGN)


class _Held(NamedTuple):
    """A picture as it is judged."""

    image: Tensor
    truth: int | tuple[int, ...]
    place: int
    mask: Tensor | None
    target: Target | None


class _InOrder(Dataset[Any]):
    def __init__(
        self,
        collection: Collection,
        prepare: Preprocess,
        masks: Masks | None,
        tolerant: bool,
        outlines: bool,
    ) -> None:
        self.outlines = outlines
        self.collection = collection
        self.prepare = prepare
        self.masks = masks
        self.tolerant = tolerant

    def __len__(self) -> int:
        return len(self.collection)

    def __getitem__(self, index: int) -> _Held | None:
        try:
            image, where = self.prepare(self.collection.open(index))
        except PictureError:
            if self.tolerant:
                return None
            raise
        sample, target, mask = self.collection.samples[index], None, None
        if sample.objects is not None or sample.region is not None:
            target = target_of(
                sample.held_objects(),
                sample.held_region(),
                where,
                classes=len(self.collection.classes),
                outlines=self.outlines,
            )
        if self.masks is not None:
            # By its name, not its place: processes that share the pictures hide what one alone would.
            with drawing("held-out mask", sample.name):
                mask = self.masks()
        return _Held(image, sample.truth, index, mask, target)


def _stack(items: list[_Held | None], classes: int) -> Labelled | None:
    good = [item for item in items if item is not None]
    if not good:
        return None
    images, valid = _joined([item.image for item in good])
    labels = _labels([item.truth for item in good], classes)
    indices = _numbers(item.place for item in good)
    masks, targets = _stacked([item.mask for item in good]), _targets([item.target for item in good])
    return Labelled(images, labels, indices, masks, None, targets, valid)


def batches(
    collection: Collection,
    prepare: Preprocess,
    *,
    batch_size: int,
    masks: Masks | None = None,
    workers: int = 0,
    tolerant: bool = False,
    outlines: bool = False,
) -> Iterator[Labelled]:
    """All pictures in order, each as ``prepare`` makes it, with the mask that its name draws.
    Labels are -1 where there are none; targets are there where objects or regions are marked, with masks of
    objects where ``outlines`` asks for them.

    ``tolerant`` leaves out what cannot be read; ``indices`` tell the caller which are there.

    Raises:
        PictureError: the first picture that cannot be read, unless ``tolerant``.
    """
    loader = DataLoader(
        _InOrder(collection, prepare, masks, tolerant, outlines),
        batch_size=batch_size,
        collate_fn=partial(_stack, classes=len(collection.classes)),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
    )
    return (batch for batch in loader if batch is not None)
