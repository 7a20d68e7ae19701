"""The embedded scenes as labelled pictures, by name: ``scenes``, ``scenes:hard``, ``scenes:hard,size=32``.

What is asked is the shape of the main object, which is clearly larger than all others: one of ten, whatever
its colour, texture, size and turn. ``classes=colour`` asks for one of eight colours, ``classes=pair`` for
both at once. Every class has as many pictures as the others, but for one.

The parts never change: scenes 0 to 999 are test, 1000 to 1499 validation, those from 1500 on train, of which
``pictures`` are taken. So more training pictures change neither of the others, and no scene is in two parts.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vitreous.config import from_plain
from vitreous.data.collection import Collection, Drawn, Sample, Splits
from vitreous.data.scenes import COLOURS, LEVELS, SHAPES, ScenesConfig, scene
from vitreous.errors import ConfigError, DataError

TEST, VALIDATION = 1000, 500
MOST = 1_000_000

Asked = Literal["shape", "colour", "pair"]
_CLASSES: dict[Asked, tuple[str, ...]] = {
    "shape": SHAPES,
    "colour": COLOURS,
    "pair": tuple(f"{hue} {shape}" for hue in COLOURS for shape in SHAPES),
}


@dataclass(frozen=True, kw_only=True)
class SceneSetConfig:
    """A set of scenes: ``level`` is a name of ``LEVELS``; ``size`` the side in pixels; ``pictures`` to train
    on; ``classes`` what is asked of the main object."""

    level: Literal["easy", "normal", "hard"] = "normal"
    size: int = 64
    seed: int = 0
    pictures: int = 1500
    classes: Asked = "shape"

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


def scenes(options: str = "") -> Splits:
    """The scenes that ``options`` ask for: a level, and settings as key=value, with commas between.

    Raises:
        DataError: an option that is not known, or a value that it cannot have.
    """
    name = f"scenes:{options}" if options else "scenes"
    try:
        config = from_plain(SceneSetConfig, _settings(options))
    except ConfigError as error:
        raise DataError(f"{name}: {error}") from error
    parts = [range(TEST), range(TEST, TEST + VALIDATION)]
    parts.append(range(parts[1].stop, parts[1].stop + config.pictures))
    classes = _CLASSES[config.classes]
    test, validation, train = (
        Collection(name, classes, tuple(_sample(config, index) for index in part)) for part in parts
    )
    how = (
        f"embedded scenes, {config.level}, {config.size} pixels, asked for the {config.classes} of the main"
        f" object; fixed parts: {len(train)} train, {len(validation)} validation, {len(test)} test"
    )
    return Splits(train, validation, test, how)


def _settings(options: str) -> dict[str, str | int]:
    """``hard,size=32`` as plain values of a ``SceneSetConfig``."""
    found: dict[str, str | int] = {}
    for option in options.split(",") if options else ():
        key, equals, text = option.partition("=")
        if not equals:
            key, text = "level", option
        if key in found:
            raise ConfigError(f"{key} is said twice, the second time as {text!r}")
        found[key] = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text
    return found


def _sample(config: SceneSetConfig, index: int) -> Sample:
    classes = _CLASSES[config.classes]
    label = index % len(classes)
    words = classes[label].split()
    shape = None if config.classes == "colour" else words[-1]
    hue = None if config.classes == "shape" else words[0]
    drawing = SceneDrawing(config.scenes(), index, shape, hue)
    # With all that decides its pixels in the name, other pictures have another fingerprint.
    place = f"{config.level}-{config.size}-seed{config.seed}"
    return Sample(f"scenes-{place}/{classes[label].replace(' ', '-')}/{index:07d}", drawing, label)
