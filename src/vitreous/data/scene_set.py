"""The embedded scenes as annotated pictures, by name: ``scenes``, ``scenes:hard``, ``scenes:hard,size=32``,
``scenes:detection``, ``scenes:segmentation,hard,size=96``.

What is asked is the shape of the main object, which is clearly larger than all others: one of ten, whatever
its colour, texture, size and turn. ``classes=colour`` asks for one of eight colours, ``classes=pair`` for
both at once. Every class has as many pictures as the others, but for one. With ``detection`` or
``segmentation`` every object is told instead: see ``data/scene_truths.py``. How hard all of it is to read is
one knob, the level: see ``Difficulty`` and ``LEVELS`` in ``data/scenes.py``.

The parts never change: scenes 0 to 999 are test, 1000 to 1499 validation, those from 1500 on train, of which
``pictures`` are taken. So more training pictures change neither of the others, and no scene is in two parts.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vitreous.config import from_plain
from vitreous.data.collection import Collection, Drawn, Sample, Splits
from vitreous.data.scene_truths import BACKGROUND, AnnotatedScene, SceneObjects, SceneRegion
from vitreous.data.scenes import COLOURS, LEVELS, SHAPES, ScenesConfig, scene
from vitreous.errors import ConfigError, DataError

TEST, VALIDATION = 1000, 500
MOST = 1_000_000

SceneTask = Literal["classification", "detection", "segmentation"]
_TASKS: tuple[SceneTask, ...] = ("classification", "detection", "segmentation")
Asked = Literal["shape", "colour", "pair"]
_CLASSES: dict[Asked, tuple[str, ...]] = {
    "shape": SHAPES,
    "colour": COLOURS,
    "pair": tuple(f"{hue} {shape}" for hue in COLOURS for shape in SHAPES),
}


@dataclass(frozen=True, kw_only=True)
class SceneSetConfig:
    """A set of scenes: ``level`` is a name of ``LEVELS``; ``size`` the side in pixels; ``pictures`` to train
    on; ``classes`` what is asked of the main object, or of all objects; ``task`` what is told of a
    picture."""

    level: Literal["easy", "normal", "hard"] = "normal"
    size: int = 64
    seed: int = 0
    pictures: int = 1500
    classes: Asked = "shape"
    task: SceneTask = "classification"

    def __post_init__(self) -> None:
        if not 1 <= self.pictures <= MOST:
            raise ConfigError(f"pictures must be from 1 to {MOST}, got {self.pictures}")
        self.scenes()  # which looks at the size

    def scenes(self) -> ScenesConfig:
        """The scenes that the set is made of."""
        return ScenesConfig(size=self.size, seed=self.seed, difficulty=LEVELS[self.level])


class SceneDrawing(Drawn):
    """One picture, drawn when it is first asked for and kept from then on; it travels to another process
    as what it is made from."""

    def __init__(self, config: ScenesConfig, index: int, shape: str | None, hue: str | None) -> None:
        self.config, self.index, self.shape, self.hue = config, index, shape, hue
        self._pixels: NDArray[np.uint8] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels."""
        return 3 * self.config.size**2

    def pixels(self) -> NDArray[np.uint8]:
        """(H, W, 3)."""
        if self._pixels is None:
            self._pixels = scene(self.config, self.index, shape=self.shape, hue=self.hue).picture
        return self._pixels

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_pixels": None}


def scenes(options: str = "", task: SceneTask | None = None) -> Splits:
    """The scenes that ``options`` ask for: a level, a task, and settings as key=value, with commas between.
    ``task`` is what is told of a picture where they do not say.

    Raises:
        DataError: an option that is not known, or a value that it cannot have.
    """
    name = f"scenes:{options}" if options else "scenes"
    try:
        settings = _settings(options)
        if task is not None:
            settings.setdefault("task", task)
        config = from_plain(SceneSetConfig, settings)
    except ConfigError as error:
        raise DataError(f"{name}: {error}") from error
    parts = [range(TEST), range(TEST, TEST + VALIDATION)]
    parts.append(range(parts[1].stop, parts[1].stop + config.pictures))
    classes = _classes(config)
    test, validation, train = (
        Collection(name, classes, tuple(_sample(config, index) for index in part)) for part in parts
    )
    asked = {
        "classification": f"asked for the {config.classes} of the main object",
        "detection": f"every object marked, classes by {config.classes}",
        "segmentation": f"a class for each pixel, by {config.classes}, 0 is {BACKGROUND}",
    }
    how = (
        f"embedded scenes, {config.level}, {config.size} pixels, {asked[config.task]}; fixed parts:"
        f" {len(train)} train, {len(validation)} validation, {len(test)} test"
    )
    return Splits(train, validation, test, how)


def _settings(options: str) -> dict[str, str | int]:
    """``hard,size=32`` as plain values of a ``SceneSetConfig``."""
    found: dict[str, str | int] = {}
    for option in options.split(",") if options else ():
        key, equals, text = option.partition("=")
        if not equals:
            key, text = ("task" if option in _TASKS else "level"), option
        if key in found:
            raise ConfigError(f"{key} is said twice, the second time as {text!r}")
        found[key] = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text
    return found


def _classes(config: SceneSetConfig) -> tuple[str, ...]:
    names = _CLASSES[config.classes]
    return (BACKGROUND, *names) if config.task == "segmentation" else names


def _sample(config: SceneSetConfig, index: int) -> Sample:
    if config.task != "classification":
        painted = AnnotatedScene(config.scenes(), index, config.classes)
        place = f"scenes-{config.level}-{config.size}-seed{config.seed}"
        name = f"{place}/{config.task}-{config.classes}/{index:07d}"
        if config.task == "detection":
            return Sample(name, painted, objects=SceneObjects(painted))
        return Sample(name, painted, region=SceneRegion(painted))
    classes = _CLASSES[config.classes]
    label = index % len(classes)
    words = classes[label].split()
    shape = None if config.classes == "colour" else words[-1]
    hue = None if config.classes == "shape" else words[0]
    drawing = SceneDrawing(config.scenes(), index, shape, hue)
    # With all that decides its pixels in the name, other pictures have another fingerprint.
    place = f"{config.level}-{config.size}-seed{config.seed}"
    return Sample(f"scenes-{place}/{classes[label].replace(' ', '-')}/{index:07d}", drawing, label)
