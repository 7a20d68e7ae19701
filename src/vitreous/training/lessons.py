"""Lessons learnt by heart: a teacher is asked once about each of a few views of every picture.

What it says is kept in the cache, a file for each view number, under a name that follows from all that
decides it. So a run that was interrupted, and every later one with the same teacher, pictures and views, asks
nothing; and a run with more views asks about the new ones alone. The bits are those that asking anew gives.

Shapes: n views of each of P pictures; K classes; E width of the teacher.
"""

import hashlib
import json
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from shlex import quote
from time import monotonic
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitreous.config import to_plain
from vitreous.data.augment import TrainingView
from vitreous.data.cache import cache_directory, read_cached, write_cached
from vitreous.data.collection import Collection
from vitreous.data.loader import Labelled, Order, numbered_views
from vitreous.errors import Interrupted, StorageError
from vitreous.tasks.distillation import Distillation, Lesson
from vitreous.tasks.task import Task
from vitreous.training import distributed
from vitreous.training.config import TrainConfig
from vitreous.training.distributed import World
from vitreous.training.setup import Setup
from vitreous.training.signals import Signals
from vitreous.training.teacher import AT_ONCE, Teacher, joined

FORMAT = "lessons/1"  # another number makes all that was kept worthless
ASKED = 4 * AT_ONCE  # pictures that are read at a time
SECONDS_BETWEEN_NOTES = 15.0

Arrays = dict[str, NDArray[np.float32]]
Say = Callable[[str], None]


class Remembered:
    """A teacher whose lessons are looked up by the number of the view."""

    def __init__(self, teacher: Teacher) -> None:
        self.teacher = teacher
        self.lessons: Lesson | None = None  # logits (n * P, K) and features (n * P, E), in memory

    def __call__(self, batch: Labelled) -> Lesson:
        """What the teacher said of these views."""
        if self.lessons is None or batch.views is None:
            return self.teacher(batch)
        rows = batch.views.cpu()
        logits, features = self.lessons
        device = batch.images.device
        return Lesson(logits[rows].to(device), None if features is None else features[rows].to(device))


def learn_by_heart(
    task: Task,
    config: TrainConfig,
    setup: Setup,
    order: Order,
    world: World,
    signals: Signals,
    say: Callable[..., None],
) -> None:
    """Ask the teacher of a run about every view that will be seen, or read what it said before. Nothing to do
    where the task has no such teacher. ``say(text=...)`` is told how far it is.

    Raises:
        Interrupted: a signal came. The views that were done are kept.
    """
    if isinstance(task, Distillation) and isinstance(task.teacher, Remembered):
        book = _Book(task.teacher.teacher, config, setup, order, world, signals, lambda text: say(text=text))
        task.teacher.lessons = book.filled()


class _Book:
    """All lessons of a run."""

    def __init__(
        self,
        teacher: Teacher,
        config: TrainConfig,
        setup: Setup,
        order: Order,
        world: World,
        signals: Signals,
        say: Say,
    ) -> None:
        self.teacher, self.config, self.setup, self.order = teacher, config, setup, order
        self.world, self.signals, self.say = world, signals, say
        self.view = TrainingView(config.augment, setup.preprocess)
        self.pictures = len(setup.train)
        self.views = order.views_in(config.epochs)
        self.path = cache_directory("lessons")
        # One process looks the files up and writes them; the name costs a look at all pictures.
        self.name = self._name() if world.writes else ""
        self.started = self.spoke = monotonic()
        self.asked = 0  # pictures, by this process
        self.keeps = True

    def filled(self) -> Lesson:
        """Every view's lesson, in the order of their numbers."""
        pages, new = [], 0
        for number in range(self.views):
            page = distributed.gather(self._read(number) if self.world.writes else None, self.world)[0]
            if page is None:
                if not new:
                    self.say(f"the teacher is asked once about each of {self.views} views of all pictures")
                page = self._ask(number)
                self._keep(number, page)
                self._stop(self.signals.share(0.0, self.world)[1], number + 1)
                new += 1
            pages.append(page)
        kept = f", {self.views - new} of them known from before" if new < self.views else ""
        self.say(f"the teacher has answered: {self.views} views of {self.pictures} pictures{kept}")
        return joined([_lesson(page) for page in pages])

    def _ask(self, number: int) -> Arrays:
        """One view of all pictures; each process asks about its share."""
        share = -(-self.pictures // self.world.size)
        places = range(self.pictures)[self.world.rank * share : (self.world.rank + 1) * share]
        stream = numbered_views(
            self.setup.train,
            self.view,
            self.order,
            number=number,
            places=places,
            batch_size=ASKED,
            workers=self.config.workers,
        )
        lessons, done = [], 0
        with closing(stream):
            for batch in stream:
                lesson = self.teacher.ask(batch.images.to(self.world.device))
                features = None if lesson.features is None else lesson.features.cpu()
                lessons.append(Lesson(lesson.logits.cpu(), features))
                done += len(batch.images)
                self.asked += len(batch.images)
                self._tell(number, done * self.world.size)
                if self.world.size == 1:  # several agree at the end of a view
                    self._stop(self.signals.received, number)
        own = _arrays(joined(lessons)) if lessons else {}  # more processes than pictures
        found = [part for part in distributed.gather(own, self.world) if part]
        return {name: np.concatenate([part[name] for part in found]) for name in found[0]}

    def _stop(self, code: int, number: int) -> None:
        if code:
            raise Interrupted(
                f"stopped while the teacher was asked; {number} of {self.views} views are kept; go on with:"
                f" vitreous train --resume --output {quote(self.config.output)}",
                exit_code=code,
            )

    def _tell(self, number: int, done: int) -> None:
        now = monotonic()
        if now - self.spoke >= SECONDS_BETWEEN_NOTES:
            self.spoke = now
            speed = self.asked * self.world.size / (now - self.started)
            left = ((self.views - number) * self.pictures - done) / speed
            self.say(
                f"the teacher: view {number + 1} of {self.views}, {min(done, self.pictures)} of"
                f" {self.pictures} pictures, at most {left:.0f} s left"
            )

    def _file(self, number: int) -> Path:
        return self.path / f"{self.name}-{number:04d}.safetensors"

    def _read(self, number: int) -> Arrays | None:
        arrays: dict[str, Any] | None = read_cached(self._file(number))
        wanted = {"logits", "features"} if self.teacher.features else {"logits"}
        if arrays is None or set(arrays) != wanted:
            return None
        return arrays if all(len(array) == self.pictures for array in arrays.values()) else None

    def _keep(self, number: int, page: Arrays) -> None:
        if not (self.world.writes and self.keeps):
            return
        try:
            write_cached(self._file(number), page)
        except StorageError as error:
            self.keeps = False
            self.say(f"what the teacher says is not kept, a later run will ask again: {error}")

    def _name(self) -> str:
        """What lessons depend on, the number of the view aside, as 64 hex digits."""
        teacher = self.teacher
        device = teacher.device
        values = {
            "format": FORMAT,
            "teacher": teacher.frozen.fingerprint(),
            "model": to_plain(teacher.model.config),
            "theirs": to_plain(teacher.theirs),
            "columns": teacher.frozen.columns,
            "features": teacher.features,
            "ours": to_plain(teacher.ours),
            "augment": to_plain(self.config.augment),
            "seed": self.order.seed,
            "pictures": _contents(self.setup.train),
            "precision": teacher.precision,
            # The last bits differ between these.
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "threads": torch.get_num_threads(),
            "packages": [version(package) for package in ("torch", "torchvision", "pillow")],
        }
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _contents(collection: Collection) -> str:
    """SHA-256 over the bytes of all pictures, in order."""
    digest = hashlib.sha256()
    for sample in collection.samples:
        digest.update(sample.digest() or bytes(32))
    return digest.hexdigest()


def _arrays(lesson: Lesson) -> Arrays:
    return {name: part.numpy() for name, part in lesson._asdict().items() if isinstance(part, Tensor)}


def _lesson(arrays: Arrays) -> Lesson:
    return Lesson(**{name: torch.from_numpy(array) for name, array in arrays.items()})
