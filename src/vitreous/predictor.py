"""A model, how it wants its pictures, and what its classes are called: pictures in, answers out.

Shapes: B pictures; C channels; h w view pixels; K classes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike, fspath
from typing import Any, Literal, NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor, nn

from vitreous.checkpoints.destination import write_any
from vitreous.checkpoints.file import Answers, Checkpoint
from vitreous.checkpoints.source import read_any
from vitreous.data.collection import Sample
from vitreous.data.images import as_rgb, open_picture
from vitreous.data.preprocess import Preprocess, View
from vitreous.data.reading import read_ahead
from vitreous.errors import CheckpointError, ConfigError, InputError, PictureError
from vitreous.models.config import is_classifier, way_to_classes
from vitreous.models.model import Model

SavedLayout = Literal["vitreous", "transformers", "timm", "torchvision", "dall_e"]
Picture = str | PathLike[str] | bytes | Image.Image | NDArray[np.uint8]

Scores = NDArray[np.float32]


class Answer(NamedTuple):
    """One picture's answer: the likeliest class by name and index, its score, and all scores (K,). ``labels``
    are the classes that it shows, the likeliest first: that one, or where it may show several, all whose
    score is above one half, which may be none."""

    label: str
    score: float
    scores: Scores
    index: int  # type: ignore[assignment]  # a field of this name hides tuple's method
    labels: tuple[str, ...] = ()


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

    def prepare(self, picture: Picture) -> View:
        """A picture, opened or not -> View(image (C, h, w), where it lies on the picture)."""
        return self.preprocess(_opened(picture))

    def answer(self, view: View) -> Answer:
        """What the model says of one view."""
        return self._answer(self._logits(view.image[None])[0])

    @overload
    def __call__(self, pictures: Picture) -> Answer: ...
    @overload
    def __call__(self, pictures: list[Picture] | tuple[Picture, ...]) -> list[Answer]: ...
    def __call__(self, pictures: Picture | list[Picture] | tuple[Picture, ...]) -> Answer | list[Answer]:
        """A file, bytes, PIL picture or (H, W[, 3]) uint8 array -> Answer; a list of them -> a list.

        PictureError for the first that cannot be read; ``predict`` goes on past such a file.
        """
        if not isinstance(pictures, list | tuple):
            return self.answer(self.prepare(pictures))
        answers: list[Answer] = []
        for start in range(0, len(pictures), 32):
            views = [self.prepare(picture) for picture in pictures[start : start + 32]]
            answers += map(self._answer, self._logits(torch.stack([view.image for view in views])))
        return answers

    def predict(
        self, samples: Iterable[Sample], batch_size: int = 32
    ) -> Iterator[tuple[Sample, Answer | PictureError]]:
        """Samples -> (sample, answer) in the same order; a bad file's answer is its PictureError."""
        for sample, logits in self.logits(samples, batch_size):
            yield sample, logits if isinstance(logits, PictureError) else self._answer(logits)

    def logits(
        self, samples: Iterable[Sample], batch_size: int = 32
    ) -> Iterator[tuple[Sample, Scores | PictureError]]:
        """Samples -> (sample, logits (K,)) in the same order, before temperature and softmax.

        The next batch is read while the model works. A file that cannot be read takes the place of its
        logits as a PictureError.
        """
        if batch_size < 1:
            raise ConfigError(f"batch size must be 1 or more, got {batch_size}")
        waiting: list[tuple[Sample, Tensor | PictureError]] = []
        for pair in read_ahead(samples, self.preprocess, ahead=batch_size):
            waiting.append(pair)
            if len(waiting) == batch_size:
                yield from self._run(waiting)
                waiting = []
        yield from self._run(waiting)

    def top(self, answer: Answer, count: int = 5) -> list[tuple[str, float]]:
        """The ``count`` likeliest classes of an answer with their scores, the best first."""
        order = np.argsort(-answer.scores, kind="stable")[: max(0, count)]
        return [(self.classes[index], float(answer.scores[index])) for index in order]

    def _run(
        self, waiting: Sequence[tuple[Sample, Tensor | PictureError]]
    ) -> Iterator[tuple[Sample, Scores | PictureError]]:
        images = [view for _, view in waiting if isinstance(view, Tensor)]
        found = iter(self._logits(torch.stack(images)) if images else ())
        for sample, view in waiting:
            yield sample, next(found) if isinstance(view, Tensor) else view

    def _logits(self, images: Tensor) -> Scores:
        """(B, C, h, w) -> (B, K) float32."""
        config = getattr(self.model, "config", None)
        if not self.classes or (config is not None and not is_classifier(config)):
            raise CheckpointError(
                f"a {type(self.model).__name__} does not say which class a whole picture shows; wanted a"
                f" classifier: {way_to_classes(config)}"
            )
        with torch.inference_mode():
            logits: Tensor = self.model(images.to(self.device)).logits  # (B, K)
        if logits.shape[1] != len(self.classes):
            raise CheckpointError(
                f"the model answers with {logits.shape[1]} numbers and knows {len(self.classes)} classes;"
                " wanted a classifier with a name for every class"
            )
        found: Scores = logits.float().cpu().numpy()
        return found

    def _answer(self, logits: Scores) -> Answer:
        if self.answers == "several":
            return self._tagged(logits)
        scaled = logits / np.float32(self.temperature)
        weights = np.exp(scaled - scaled.max())
        scores = (weights / weights.sum()).astype(np.float32)
        index = int(logits.argmax())
        label = self.classes[index]
        return Answer(label, float(scores[index]), scores, index, (label,))

    def _tagged(self, logits: Scores) -> Answer:
        scores = np.exp(-np.logaddexp(0, -logits / np.float32(self.temperature))).astype(np.float32)
        index = int(logits.argmax())
        order = np.argsort(-logits, kind="stable")
        labels = tuple(self.classes[place] for place in order if logits[place] > 0)
        return Answer(self.classes[index], float(scores[index]), scores, index, labels)


def load(
    source: str | PathLike[str], *, name: str | None = None, device: str | torch.device = "auto"
) -> Predictor:
    """A predictor from a run, a model directory, or weights in any layout that is read.

    ``name`` is the catalog name of the architecture, for files that do not say it.
    Raises CheckpointError where the source is missing, damaged or unknown, ConfigError for a device
    that is not there.
    """
    place = pick_device(device)  # refused before minutes of reading, not after
    checkpoint = read_any(source, name)
    return Predictor(
        checkpoint.model,
        checkpoint.preprocess,
        checkpoint.classes,
        temperature=checkpoint.temperature,
        device=place,
        lineage=checkpoint.lineage,
        answers=checkpoint.answers,
    )


def save(predictor: Predictor, directory: str | PathLike[str], *, layout: SavedLayout = "vitreous") -> None:
    """Write a predictor as a directory: ours, or one that transformers, timm or torchvision load.

    An existing directory of this kind is replaced only when the new one is complete.
    Raises CheckpointError for a layout that is unknown or cannot hold the model, StorageError where the
    place cannot be written.
    """
    model = predictor.model
    if not isinstance(model, Model):
        raise ConfigError(f"a {type(model).__name__} cannot be saved; wanted a model of the catalog")
    checkpoint = Checkpoint(
        model,
        predictor.preprocess,
        predictor.classes,
        predictor.temperature,
        predictor.lineage,
        predictor.answers,
    )
    write_any(directory, checkpoint, layout)


def pick_device(device: str | torch.device = "auto") -> torch.device:
    """The device to work on; "auto" is the first of cuda, mps and cpu that is there.

    Raises ConfigError for one that is unknown or not there.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"unknown device {device!r}; wanted auto, cpu, cuda, cuda:N or mps") from error
    cards = torch.cuda.device_count() if place.type == "cuda" else 0
    there = place.type == "cpu" or (place.type == "mps" and torch.backends.mps.is_available())
    if not there and (place.index or 0) >= cards:
        raise ConfigError(f"device {device!s} is not there; wanted one that is, or auto")
    return place


def _opened(picture: Picture) -> Image.Image:
    if isinstance(picture, Image.Image):
        return as_rgb(ImageOps.exif_transpose(picture))  # upright, as the same picture from its file
    if isinstance(picture, np.ndarray):
        kind = picture.dtype == np.uint8 and picture.ndim in (2, 3) and picture.shape[2:] in ((), (3,))
        if not kind or not picture.size:
            raise InputError(
                f"an array of shape {picture.shape} and type {picture.dtype} is no picture;"
                " wanted (H, W) or (H, W, 3) uint8"
            )
        return as_rgb(Image.fromarray(picture))
    return open_picture(picture if isinstance(picture, bytes) else fspath(picture))
