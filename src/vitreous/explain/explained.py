"""What can be explained, and what an explanation is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate

from vitreous.errors import ConfigError, InputError, nearest
from vitreous.models.config import Says
from vitreous.models.config import says_of as config_says

METHODS: dict[Says, tuple[str, ...]] = {
    "classes": ("relevance", "rollout", "attention"),
    "objects": ("relevance", "attention", "gradient"),
    "regions": ("relevance", "gradient"),
}


class NotFound(InputError):
    """The picture does not show what was asked about: no object above the threshold, no such region."""


class Placed(Protocol):
    """The way back from a view to its picture; ``vitreous.data.preprocess.Placement`` is one."""

    @property
    def source(self) -> tuple[int, int]:
        """(H, W) of the picture."""
        ...

    def back(self, heat: Any) -> NDArray[np.float32]:
        """Heat (rows, cols) over the whole view -> (H, W) in source pixels."""
        ...

    def back_boxes(self, boxes: NDArray[Any], *, clip: bool = True) -> NDArray[Any]:
        """Boxes (n, 4) in view pixels -> in source pixels."""
        ...

    def forth_boxes(self, boxes: NDArray[Any]) -> NDArray[Any]:
        """Boxes (n, 4) in source pixels -> in view pixels."""
        ...


class Seen(Protocol):
    """A picture made ready for the model; ``vitreous.data.preprocess.View`` is one."""

    @property
    def image(self) -> Tensor:
        """(C, h, w)."""
        ...

    @property
    def where(self) -> Placed:
        """Where in the source its pixels came from."""
        ...


class Answered(Protocol):
    """What was said of a view; ``vitreous.predictor.Answer`` is one."""

    @property
    def index(self) -> int:
        """The class with the highest score."""
        ...

    @property
    def scores(self) -> Sequence[float] | NDArray[Any]:
        """(K,) probabilities."""
        ...


class Explainable(Protocol):
    """A model with its preprocessing and classes; ``vitreous.predictor.Predictor`` is one."""

    @property
    def model(self) -> nn.Module:
        """The model, on its device."""
        ...

    @property
    def prepare(self) -> Callable[[Image.Image], Seen]:
        """Picture -> view."""
        ...

    @property
    def answer(self) -> Callable[[Any], Answered]:
        """View -> answer; asked of classifiers only."""
        ...

    @property
    def classes(self) -> Sequence[str]:
        """The names of the logits, in order."""
        ...

    @property
    def device(self) -> Any:
        """Where the model is."""
        ...


class Told(NamedTuple):
    """A map (rows, cols), how many pixels its cells are apart, and in words how it was found and what they
    are."""

    grid: Tensor
    stride: int
    way: str


@dataclass(frozen=True, eq=False)
class Explanation:
    """Where the model looked.

    heat (H, W) float32, in the source picture's pixels, zero where the model's crop saw nothing; grid (rows,
    cols) float32, the same by patches or by cells of a map, the padded ones included. The units are the
    method's: shares of attention ("attention", "rollout"), the logit's gradient times such shares
    ("relevance" of a class of the whole picture), what was read and gathered ("relevance" of an object or a
    place), or the logit ("gradient"). ``way`` says in words how it was found and of what the cells are.

    ``index``, ``label`` and ``score`` (a probability) are of the class that was asked about. ``layer`` and
    ``head``, counted from 0, are set for "attention" alone; head None is the mean of all.

    Of a detector ``number`` is the object's place in the answer, the surest being 0, and ``box`` its left,
    top, right and bottom in source pixels. Of a segmenter ``at`` is the place x, y in source pixels whose
    class was asked for, None where it was the class's whole region; the score of a region is the mean over
    it.
    """

    heat: NDArray[np.float32] = field(repr=False)
    grid: NDArray[np.float32] = field(repr=False)
    index: int
    label: str
    score: float
    method: str
    layer: int | None = None
    head: int | None = None
    way: str = ""
    number: int | None = None
    box: tuple[float, float, float, float] | None = None
    at: tuple[float, float] | None = None


def says_of(model: nn.Module) -> Says:
    """What a model tells of a picture: classes of the whole of it, where objects are, or what every place
    shows."""
    return config_says(getattr(model, "config", None))


def check_method(method: str, says: Says) -> None:
    """ConfigError for a method that is unknown, or not for models of this kind."""
    wanted = METHODS[says]
    if method in wanted:
        return
    known = sorted({name for names in METHODS.values() for name in names})
    choice = f"{', '.join(wanted[:-1])} or {wanted[-1]}"
    if method in known:
        raise ConfigError(f"{method!r} is not for a model that tells {says}; wanted {choice}")
    raise ConfigError(f"unknown method {method!r}; wanted {choice}{nearest(method, wanted)}")


def class_index(classes: Sequence[str], target: int | str, count: int) -> int:
    """A class by name or index -> its index among ``count``. ConfigError where there is none."""
    if isinstance(target, str):
        if target in classes:
            return list(classes).index(target)
        raise ConfigError(
            f"unknown class {target!r}{nearest(target, classes) or f'; the model knows {some(classes)}'}"
        )
    if not 0 <= target < count:
        raise ConfigError(f"no class {target}; the model has {count}, from 0 to {count - 1}")
    return int(target)


def name_of(classes: Sequence[str], index: int) -> str:
    """What a class is called, or its number where it has no name."""
    return classes[index] if index < len(classes) else str(index)


def checked_place(at: tuple[float, float], view: Seen) -> tuple[float, float]:
    """A place x, y in source pixels -> where it lies in the view, as shares of its width and height.

    ConfigError where it is outside the picture, or where the view leaves it out.
    """
    height, width = view.where.source
    x, y = at
    if not (0 <= x < width and 0 <= y < height):
        raise ConfigError(
            f"{_place(at)} is outside the picture; wanted x from 0 to {width - 1} and y from 0 to"
            f" {height - 1}"
        )
    high, wide = view.image.shape[-2:]
    # The middle of the pixel.
    across, down = view.where.forth_boxes(np.array([[x + 0.5, y + 0.5, x + 0.5, y + 0.5]]))[0, :2].tolist()
    if not (0 <= across < wide and 0 <= down < high):
        corners = view.where.back_boxes(np.array([[0.0, 0.0, wide, high]]))[0]
        left, top, right, bottom = (int(side) for side in corners)
        raise ConfigError(
            f"{_place(at)} is not in what the model sees of the picture; wanted x from {left} to {right - 1}"
            f" and y from {top} to {bottom - 1}"
        )
    return across / wide, down / high


def to_source(grid: Tensor, view: Seen, patch: int) -> NDArray[np.float32]:
    """One value for each patch (rows, cols) -> heat (H, W) in source pixels, the crop undone.

    Where the model padded the view to whole patches, the part of the grid beyond the view is cut off; where
    it left out a part of a patch at the edge, that is zero.
    """
    height, width = view.image.shape[-2:]
    rows, cols = grid.shape
    covered = (rows * patch, cols * patch)
    if covered == (height, width):
        return view.where.back(grid)
    spread = interpolate(grid[None, None], size=covered, mode="bilinear", align_corners=False)[0, 0]
    seen = spread.new_zeros(height, width)
    seen[: covered[0], : covered[1]] = spread[:height, :width]
    return view.where.back(seen)


def within(what: str, value: int | None, count: int, default: int) -> int:
    """A layer or head that the model has, or the default. ConfigError for others."""
    if value is None:
        return default
    if not 0 <= value < count:
        raise ConfigError(f"no {what} {value}; the model has {count} {what}s, from 0 to {count - 1}")
    return value


def some(classes: Sequence[str]) -> str:
    """The first few names, for a message."""
    shown = ", ".join(repr(name) for name in classes[:5])
    return f"{shown} and {len(classes) - 5} more" if len(classes) > 5 else shown or "none by name"


def _place(at: tuple[float, float]) -> str:
    return f"the point {at[0]:g},{at[1]:g}"
