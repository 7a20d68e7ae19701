"""A residual network with a map of each stage, as plain values; no torch here."""

from dataclasses import dataclass
from typing import Literal

from vitreous.errors import ConfigError
from vitreous.layers.geometry import grid_of

LARGEST_STAGES = 8  # each halves the grid; published ones have 4


@dataclass(frozen=True, kw_only=True)
class ConvNetBackboneConfig:
    """ResNet without its head (arXiv:1512.03385, table 1; the stride stands in the 3 x 3 convolution). Every
    tuple has a value for each stage, ``widths`` are the channels that come out of it. Sizes of pictures are
    (height, width) in pixels.

    ``norm`` "frozen" scales and shifts by fixed statistics, as DETR tunes published weights; with random
    weights it normalises nothing, and "batch" is what learns. ``dilated`` keeps the last stage's grid as fine
    as that of the stage before (DC5).
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    bottleneck: bool
    stem_width: int = 64
    norm: Literal["frozen", "batch"] = "frozen"
    dilated: bool = False
    image_size: tuple[int, int] = (800, 800)
    channels: int = 3

    def __post_init__(self) -> None:
        if not 1 <= len(self.widths) <= LARGEST_STAGES:
            raise ConfigError(f"{len(self.widths)} stages; wanted 1 to {LARGEST_STAGES}")
        if len(self.depths) != len(self.widths):
            raise ConfigError(f"{len(self.depths)} depths for {len(self.widths)} stages")
        sizes = {"widths": min(self.widths), "depths": min(self.depths), "stem_width": self.stem_width}
        sizes |= {"channels": self.channels, "image_size": min(self.image_size)}
        for name, size in sizes.items():
            if size < 1:
                raise ConfigError(f"{name} must be 1 or more, got {size}")
        for width in self.widths:
            if self.bottleneck and width % 4:
                raise ConfigError(f"widths of bottlenecks must be multiples of 4, got {width}")
        if self.dilated and (len(self.widths) < 2 or not self.bottleneck):
            raise ConfigError("dilated is for networks of bottlenecks with two stages or more")

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels from one cell of each stage's map to the next."""
        strides = [4 * 2**stage for stage in range(len(self.widths))]
        if self.dilated:
            strides[-1] = strides[-2]
        return tuple(strides)

    @property
    def depth(self) -> int:
        """The number of stages, which are the layers that a learning rate may fall by."""
        return len(self.depths)

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, cols) of the last map for the native picture size."""
        return self.grid_at(self.image_size)

    def grid_at(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """(rows, cols) of the last map for any picture size."""
        return self.grids_at(image_size)[-1]

    def grids_at(self, image_size: tuple[int, int]) -> tuple[tuple[int, int], ...]:
        """(rows, cols) of each stage's map for a picture size."""
        height, width = image_size
        return tuple(grid_of(height, width, stride) for stride in self.strides)

    @property
    def out_channels(self) -> int:
        """Channels of the last map."""
        return self.widths[-1]
