"""The teacher of a run: read, held against the data's classes, and asked about what the student sees.

Shapes: B views; C channels; K classes of the data; E width of the teacher.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vitreous.checkpoints.adapter import fingerprint
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.imagenet import places
from vitreous.checkpoints.source import read_any
from vitreous.data.loader import Labelled
from vitreous.data.normalising import coloured, normalised, pixels_of
from vitreous.data.preprocess import Preprocess
from vitreous.errors import ConfigError, DataError
from vitreous.evaluation.matching import listed
from vitreous.models.config import family_of, is_classifier, way_to_classes
from vitreous.models.pooled import catching
from vitreous.tasks.config import DistillationConfig, TaskConfig
from vitreous.tasks.distillation import Lesson
from vitreous.training.config import Precision
from vitreous.training.precision import autocast

# On a CPU the last bits of an answer depend on how many pictures are asked about at once, but neither on the
# others nor on the place among them. With a fixed number an answer is a function of its picture.
AT_ONCE = 16  # pictures of 224 x 224 pixels; of larger ones as many fewer


class FrozenTeacher(NamedTuple):
    """A classifier that answers in a run and learns nothing: where it came from, what it is, and where the
    data's classes stand among its own."""

    source: str
    checkpoint: Checkpoint
    columns: tuple[int, ...]

    def ready(
        self, ours: Preprocess, device: torch.device, precision: Precision, *, features: bool
    ) -> "Teacher":
        """It, to be asked about views that a student is shown, as ``ours`` normalises them."""
        return Teacher(self, ours, device, precision, features=features)

    def fingerprint(self) -> str:
        """SHA-256 over its weights: 64 hex digits. With another teacher a run would not be the same."""
        return fingerprint(self.checkpoint.model.state_dict())

    def lineage(self) -> dict[str, object]:
        """Where the lessons come from, as plain values."""
        return {
            "source": Path(self.source).name,  # the last part: the rest would tell of somebody's disk
            "family": family_of(self.checkpoint.model.config),
            "classes": len(self.checkpoint.classes),
            "sha256": self.fingerprint(),
            "lineage": self.checkpoint.lineage,
        }

    def note(self) -> str:
        """Who teaches, for a person to hear."""
        config, count = self.checkpoint.model.config, len(self.checkpoint.classes)
        height, width = config.image_size
        said = f"taught by {self.source}: {family_of(config)}, {height}x{width} pixels"
        if len(self.columns) < count:
            return f"{said}; it is asked about {len(self.columns)} of its {count} classes"
        same = self.columns == tuple(range(count))
        return said if same else f"{said}; its classes were put in the order of the data"


class Teacher:
    """What a frozen classifier says of the very views that a student is shown.

    Their pixels are taken back from the student's normalisation and given to it in its own, at the size that
    it was made for. A view that is not of that shape is squashed to it.
    """

    def __init__(
        self,
        frozen: FrozenTeacher,
        ours: Preprocess,
        device: torch.device,
        precision: Precision,
        *,
        features: bool,
    ) -> None:
        self.frozen = frozen
        self.model = frozen.checkpoint.model.to(device).eval().requires_grad_(False)
        self.ours, self.theirs = ours, frozen.checkpoint.preprocess
        self.device = device
        self.precision: Precision = precision
        self.features = features
        self.columns = torch.tensor(frozen.columns, device=device)
        height, width = self.theirs.size
        self.at_once = max(1, min(AT_ONCE, AT_ONCE * 224**2 // (height * width)))

    def __call__(self, batch: Labelled) -> Lesson:
        """Its lesson about a batch on its device."""
        return self.ask(batch.images)

    @torch.no_grad()
    def ask(self, images: Tensor) -> Lesson:
        """(B, C, H, W) as the student sees them -> logits (B, K) and, if wanted, features (B, E); float32."""
        if self.device.type != "cpu":
            return self._answer(images)
        lessons = []
        for start in range(0, len(images), self.at_once):
            some = images[start : start + self.at_once]
            filler = some[:1].expand(self.at_once - len(some), -1, -1, -1)
            logits, features = self._answer(torch.cat([some, filler]))
            lessons.append(Lesson(logits[: len(some)], None if features is None else features[: len(some)]))
        return joined(lessons)

    def prepared(self, images: Tensor) -> Tensor:
        """(B, C, H, W) as the student sees them -> as the teacher wants them."""
        pixels = coloured(pixels_of(images.float(), self.ours), self.theirs.channels)
        if tuple(pixels.shape[-2:]) != self.theirs.size:
            pixels = interpolate(pixels, self.theirs.size, mode="bicubic", antialias=True).clamp(0, 1)
        return normalised(pixels, self.theirs)

    def _answer(self, images: Tensor) -> Lesson:
        with torch.autocast(self.device.type, enabled=False):
            ready = self.prepared(images)
        with autocast(self.precision, self.device):
            if not self.features:
                return Lesson(self.model(ready).logits.float()[:, self.columns])
            with catching(self.model) as given:
                logits = self.model(ready).logits.float()[:, self.columns]
        return Lesson(logits, torch.stack(given).float().mean(0))


def read_teacher(task: TaskConfig, classes: Sequence[str]) -> FrozenTeacher | None:
    """The teacher that a task asks for, None where it asks for none.

    Raises:
        CheckpointError: it cannot be read.
        ConfigError: it tells no classes apart.
        DataError: it does not know the data's classes; both lists are in the message.
    """
    if not isinstance(task, DistillationConfig):
        return None
    checkpoint = read_any(Path(task.teacher))
    config = checkpoint.model.config
    if not is_classifier(config) or not checkpoint.classes:
        raise ConfigError(
            f"{task.teacher}: a model of the family {family_of(config)} that tells no classes apart cannot"
            f" teach them; wanted a classifier: {way_to_classes(config)}"
        )
    if checkpoint.answers == "several":
        raise ConfigError(
            f"{task.teacher}: its answers are several labels for a picture, each by itself, and the data has"
            " one; wanted a teacher that chooses one class"
        )
    return FrozenTeacher(task.teacher, checkpoint, columns(classes, checkpoint.classes, task.teacher))


def columns(wanted: Sequence[str], classes: Sequence[str], teacher: str) -> tuple[int, ...]:
    """Where each of the wanted classes stands among a teacher's: by name, or by WordNet id where either
    side has ids. The teacher may know more.

    Raises:
        DataError: a class that it does not know, or two that are one to it; both lists are in the message.
    """
    counts = Counter(classes)
    place = {name: index for index, name in enumerate(classes) if counts[name] == 1}
    found = [place.get(name) for name in wanted]
    if None in found:
        by_id = places(wanted, classes)
        found = [other if index is None else index for index, other in zip(found, by_id, strict=True)]
    known = [index for index in found if index is not None]
    unknown = [name for name, index in zip(wanted, found, strict=True) if index is None]
    if unknown or len(set(known)) < len(known):
        more = f"; it does not know {listed(unknown)}" if 0 < len(unknown) < len(wanted) else ""
        raise DataError(
            f"the teacher {teacher} knows the classes {listed(classes)}, the data has {listed(wanted)}{more};"
            " give a teacher that knows all classes of the data"
        )
    return tuple(known)


def joined(lessons: Sequence[Lesson]) -> Lesson:
    """Lessons about parts of a batch, in order, as one."""
    features = [lesson.features for lesson in lessons if lesson.features is not None]
    return Lesson(torch.cat([lesson.logits for lesson in lessons]), torch.cat(features) if features else None)
