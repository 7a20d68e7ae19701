"""A model, how it wants its pictures, and what its classes are called: pictures in, answers out.

Shapes: B pictures; C channels; h w view pixels; H W source pixels; K classes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from vitreous.checkpoints.file import Answers
from vitreous.data.annotation import Regions
from vitreous.data.collection import Sample
from vitreous.data.preprocess import Preprocess, View
from vitreous.data.reading import prepare_ahead
from vitreous.errors import CheckpointError, ConfigError, PictureError
from vitreous.evaluation.detection import Found
from vitreous.models.config import Says, is_classifier, says_of, way_to_classes
from vitreous.predictor.answers import Answer, AnyAnswer, ObjectsAnswer, RegionsAnswer, Scores
from vitreous.predictor.classes import likeliest, tagged
from vitreous.predictor.device import pick_device
from vitreous.predictor.objects import find, surest
from vitreous.predictor.opened import Picture, opened
from vitreous.predictor.regions import check_window, paint, slide

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE: Mapping[Says, int] = {"classes": 32, "objects": 8, "regions": 8}  # pictures in a batch
SAYS: Mapping[Says, str] = {
    "classes": "says which class a whole picture shows",
    "objects": "finds objects",
    "regions": "tells the class of each pixel",
}


class Predictor:
    """Answers for pictures, one or many, on one device.

    ``temperature`` divides the logits before the softmax; 1, where none was fitted, leaves the plain
    softmax. With ``answers`` "several" a picture may show any number of the classes, and each score is a
    sigmoid of its own. ``lineage`` is where the weights come from, as plain values.
    """

    def __init__(
        self,
        model: nn.Module,
        preprocess: Preprocess,
        classes: Sequence[str],
        *,
        temperature: float = 1.0,
        device: str | torch.device = "auto",
        lineage: Mapping[str, Any] | None = None,
        answers: Answers = "one",
    ) -> None:
        if not temperature > 0:
            raise ConfigError(f"temperature must be above 0, got {temperature}")
        self.device = pick_device(device)
        self.model = model.to(self.device).eval()
        self.preprocess = preprocess
        self.classes = tuple(classes)
        self.temperature = temperature
        self.lineage = dict(lineage or {})
        self.answers = answers

    @property
    def says(self) -> Says:
        """What it tells of a picture: classes of the whole of it, objects, or regions of pixels."""
        return says_of(getattr(self.model, "config", None))

    def prepare(self, picture: Picture) -> View:
        """A picture, opened or not -> View(image (C, h, w), where it lies on the picture)."""
        return self.preprocess(opened(picture))

    def answer(self, view: View) -> Answer:
        """Which class the picture of a view shows. CheckpointError where the model is no classifier."""
        return self._answer(self._logits([view.image])[0])

    @overload
    def __call__(
        self, pictures: Picture, *, threshold: float | None = None, window: int | None = None
    ) -> AnyAnswer: ...
    @overload
    def __call__(
        self,
        pictures: list[Picture] | tuple[Picture, ...],
        *,
        threshold: float | None = None,
        window: int | None = None,
    ) -> list[AnyAnswer]: ...
    def __call__(
        self,
        pictures: Picture | list[Picture] | tuple[Picture, ...],
        *,
        threshold: float | None = None,
        window: int | None = None,
    ) -> AnyAnswer | list[AnyAnswer]:
        """A file, bytes, PIL picture or (H, W[, 3]) uint8 array -> what the model says of it; a list of them
        -> a list. ``threshold`` and ``window`` are those of ``predict``.

        PictureError for the first that cannot be read; ``predict`` goes on past such a file.
        """
        if not isinstance(pictures, list | tuple):
            return self([pictures], threshold=threshold, window=window)[0]
        self._check(threshold, window)
        answers: list[AnyAnswer] = []
        size = 1 if window is not None else AT_ONCE[self.says]
        for start in range(0, len(pictures), size):
            some = pictures[start : start + size]
            if window is not None:
                regions = [self._slid([self.preprocess.normalised(opened(one))], window)[0] for one in some]
                answers += [RegionsAnswer.of(region, self.classes) for region in regions]
                continue
            views = [self.prepare(picture) for picture in some]
            if self.says == "objects":
                answers += self._surest(views, threshold)
            elif self.says == "regions":
                answers += [RegionsAnswer.of(region, self.classes) for region in self._painted(views)]
            else:
                answers += map(self._answer, self._logits([view.image for view in views]))
        return answers

    def predict(
        self,
        samples: Iterable[Sample],
        batch_size: int | None = None,
        *,
        threshold: float | None = None,
        window: int | None = None,
    ) -> Iterator[tuple[Sample, AnyAnswer | PictureError]]:
        """Samples -> (sample, answer) in the same order; a bad file's answer is its PictureError.

        Of a detector's objects those are told whose score is above ``threshold``, one half by default. What
        tells the class of each pixel looks at the whole picture at the size it was made for, or with
        ``window`` at windows of so many pixels of the picture itself. ``batch_size`` is 32, or 8 where
        answers are objects or regions.
        """
        self._check(threshold, window)
        size = AT_ONCE[self.says] if batch_size is None else batch_size
        if self.says == "objects":
            return self._in_batches(
                samples, self.preprocess, partial(self._surest, threshold=threshold), size
            )
        if self.says == "regions":
            return map(self._named, self.regions(samples, size, window=window))
        return (
            (sample, logits if isinstance(logits, PictureError) else self._answer(logits))
            for sample, logits in self.logits(samples, size)
        )

    def logits(
        self, samples: Iterable[Sample], batch_size: int = 32
    ) -> Iterator[tuple[Sample, Scores | PictureError]]:
        """Samples -> (sample, logits (K,)) in the same order, before temperature and softmax.

        The next batch is read while the model works. A file that cannot be read takes the place of its
        logits as a PictureError. CheckpointError where the model is no classifier.
        """
        return self._in_batches(
            samples, lambda picture: self.preprocess(picture).image, self._logits, batch_size
        )

    def objects(
        self, samples: Iterable[Sample], batch_size: int = 8
    ) -> Iterator[tuple[Sample, Found | PictureError]]:
        """Samples -> (sample, all that was found, the surest first) in the same order: what every query of a
        detector says, in source pixels, however unsure. CheckpointError where the model is none."""
        return self._in_batches(samples, self.preprocess, self._found, batch_size)

    def regions(
        self, samples: Iterable[Sample], batch_size: int = 8, *, window: int | None = None
    ) -> Iterator[tuple[Sample, Regions | PictureError]]:
        """Samples -> (sample, the class of each source pixel (H, W)) in the same order, uint8, or uint16 of
        more than 255 classes.

        With ``window`` pictures keep their size and are looked at one by one, ``batch_size`` windows at a
        time. CheckpointError where the model tells no classes of pixels.
        """
        if window is None:
            return self._in_batches(samples, self.preprocess, self._painted, batch_size)
        self._check(None, window)
        _check_batch(batch_size)
        work = partial(self._slid, window=window, at_once=batch_size)
        return self._in_batches(samples, self.preprocess.normalised, work, 1)

    def top(self, answer: Answer, count: int = 5) -> list[tuple[str, float]]:
        """The ``count`` likeliest classes of an answer with their scores, the best first."""
        order = np.argsort(-answer.scores, kind="stable")[: max(0, count)]
        return [(self.classes[index], float(answer.scores[index])) for index in order]

    def _in_batches(
        self,
        samples: Iterable[Sample],
        prepare: Callable[[Image.Image], T],
        work: Callable[[list[T]], Iterable[R]],
        batch_size: int,
    ) -> Iterator[tuple[Sample, R | PictureError]]:
        _check_batch(batch_size)
        waiting: list[tuple[Sample, T | PictureError]] = []
        for pair in prepare_ahead(samples, prepare, ahead=batch_size):
            waiting.append(pair)
            if len(waiting) == batch_size:
                yield from _worked(waiting, work)
                waiting = []
        yield from _worked(waiting, work)

    def _logits(self, images: Sequence[Tensor]) -> Scores:
        """B of (C, h, w) -> (B, K) float32."""
        config = getattr(self.model, "config", None)
        if not self.classes or (config is not None and not is_classifier(config)):
            raise CheckpointError(
                f"a {type(self.model).__name__} does not say which class a whole picture shows; wanted a"
                f" classifier: {way_to_classes(config)}"
            )
        with torch.inference_mode():
            logits: Tensor = self.model(torch.stack(list(images)).to(self.device)).logits  # (B, K)
        if logits.shape[1] != len(self.classes):
            raise CheckpointError(
                f"the model answers with {logits.shape[1]} numbers and knows {len(self.classes)} classes;"
                " wanted a classifier with a name for every class"
            )
        found: Scores = logits.float().cpu().numpy()
        return found

    def _found(self, views: Sequence[View]) -> list[Found]:
        self._must("objects")
        return find(self.model, views, len(self.classes), self.device)

    def _surest(self, views: Sequence[View], threshold: float | None) -> list[ObjectsAnswer]:
        return [
            surest(found, view.where.source, self.classes, threshold)
            for found, view in zip(self._found(views), views, strict=True)
        ]

    def _painted(self, views: Sequence[View]) -> list[Regions]:
        self._must("regions")
        return paint(self.model, views, len(self.classes), self.device)

    def _slid(
        self, images: Sequence[Tensor], window: int, at_once: int = AT_ONCE["regions"]
    ) -> list[Regions]:
        self._must("regions")
        return [
            slide(self.model, image, len(self.classes), self.device, window=window, at_once=at_once)
            for image in images
        ]

    def _named(
        self, pair: tuple[Sample, Regions | PictureError]
    ) -> tuple[Sample, RegionsAnswer | PictureError]:
        sample, region = pair
        told = region if isinstance(region, PictureError) else RegionsAnswer.of(region, self.classes)
        return sample, told

    def _answer(self, logits: Scores) -> Answer:
        told = tagged if self.answers == "several" else likeliest
        return told(logits, self.temperature, self.classes)

    def _must(self, says: Says) -> None:
        if self.says != says:
            raise CheckpointError(
                f"a {type(self.model).__name__} {SAYS[self.says]}; wanted a model that {SAYS[says]}"
            )

    def _check(self, threshold: float | None, window: int | None) -> None:
        """ConfigError for what this model has no use for."""
        if threshold is not None:
            if self.says != "objects":
                raise ConfigError(f"a threshold is for what finds objects; this model {SAYS[self.says]}")
            if not 0 <= threshold <= 1:
                raise ConfigError(f"threshold is a score from 0 to 1, got {threshold}")
        if window is not None:
            if self.says != "regions":
                raise ConfigError(
                    f"a window is for what tells the class of each pixel; this model {SAYS[self.says]}"
                )
            check_window(window, self.model.config)


def _worked(
    waiting: Sequence[tuple[Sample, T | PictureError]], work: Callable[[list[T]], Iterable[R]]
) -> Iterator[tuple[Sample, R | PictureError]]:
    """What ``work`` makes of those that could be read, among the others."""
    ready = [one for _, one in waiting if not isinstance(one, PictureError)]
    found = iter(work(ready) if ready else ())
    for sample, one in waiting:
        yield sample, one if isinstance(one, PictureError) else next(found)


def _check_batch(batch_size: int) -> None:
    if batch_size < 1:
        raise ConfigError(f"batch size must be 1 or more, got {batch_size}")
