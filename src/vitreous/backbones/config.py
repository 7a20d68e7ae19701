"""What a backbone is made of, as plain values. Nothing heavy is imported here, so that a
command line can answer a question, or refuse one, before torch is there."""

from dataclasses import dataclass
from itertools import accumulate
from math import inf, isfinite
from operator import mul
from typing import Literal

from vitreous.errors import ConfigError
from vitreous.layers.geometry import grid_of

Activation = Literal["gelu", "gelu_tanh", "quick_gelu"]
PositionKind = Literal["learned", "sincos1d", "sincos2d", "none"]
PositionResize = Literal["antialias", "plain", "float32", "corners", "offset", "sequence"]
Stem = Literal["linear", "conv"]
MlpKind = Literal["plain", "swiglu"]
AttentionKind = Literal["plain", "relative", "rotary"]
ShiftRule = Literal["each_axis", "shorter_axis"]
RotaryStep = Literal["period", "rate"]
BiasResize = Literal["bilinear", "bilinear_swapped", "bicubic", "geometric"]


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """A stack of encoder blocks; its depth is the number of attentions that it is given."""

    width: int
    mlp_width: int
    norm_eps: float = 1e-6
    mlp: MlpKind = "plain"
    activation: Activation = "gelu"  # of the plain MLP; the gate of swiglu is SiLU
    layer_scale: float | None = None  # the first value of every factor; None: no factors
    drop_path: float = 0.0  # of the last block; it rises linearly from 0 at the first

    def __post_init__(self) -> None:
        if not 0 < self.norm_eps < 1:
            raise ConfigError(f"norm_eps must be above 0 and small, got {self.norm_eps}")
        if self.layer_scale is not None and not isfinite(self.layer_scale):
            raise ConfigError(f"layer_scale must be a finite number, got {self.layer_scale}")
        if not 0 <= self.drop_path < 1:
            raise ConfigError(f"drop_path is a probability from 0 to below 1, got {self.drop_path}")


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """The plain ViT. Sizes are (height, width) in pixels; ``image_size`` is the native one, whose grid
    the position table has: any other size works too."""

    encoder: EncoderConfig
    depth: int
    heads: int
    patch: int
    image_size: tuple[int, int] = (224, 224)
    channels: int = 3
    stem: Stem = "linear"
    stem_width: int | None = None  # channels of a conv stem's first layer, which double up to the width
    class_token: bool = True
    distillation_token: bool = False  # stands after the class token
    registers: int = 0
    positions: PositionKind = "learned"
    class_position: bool = True  # whether the table has a row for the class and distillation tokens
    position_resize: PositionResize = "antialias"
    attention: AttentionKind = "plain"
    bias_resize: BiasResize = "bilinear"  # of the tables of relative attention
    rotary_base: float = 100.0  # how many times slower the slowest pair of rotary attention turns
    rotary_step: RotaryStep = "period"  # its angles are divided by periods, or multiplied by rates
    final_norm: bool = True
    cut_edges: bool = False  # a part of a patch at the edge is left out, not padded to a whole one

    def __post_init__(self) -> None:
        width, heads = self.encoder.width, self.heads
        sizes = {"width": width, "mlp_width": self.encoder.mlp_width, "heads": heads, "depth": self.depth}
        sizes |= {"patch": self.patch, "channels": self.channels, "registers": self.registers + 1}
        for name, size in sizes.items():
            if size < 1:
                least, got = (0, size - 1) if name == "registers" else (1, size)
                raise ConfigError(f"{name} must be {least} or more, got {got}")
        if width % heads:
            raise ConfigError(
                f"width {width} cannot be shared by {heads} heads; wanted a multiple of the heads"
            )
        if self.positions == "sincos1d" and width % 2:
            raise ConfigError(f"sincos1d positions need an even width, got {width}")
        if self.positions == "sincos2d" and width % 4:
            raise ConfigError(f"sincos2d positions need a width divisible by 4, got {width}")
        if self.attention == "rotary" and width // heads % 4:
            raise ConfigError(f"rotary attention needs heads of 4, 8, ... dimensions, got {width // heads}")
        if not 1 <= self.rotary_base < inf:
            raise ConfigError(f"rotary_base must be 1 or more, got {self.rotary_base}")
        if min(self.image_size) < self.patch:
            height, across = self.image_size
            raise ConfigError(
                f"patch {self.patch} is larger than the picture of {height}x{across} pixels;"
                " wanted a smaller patch or a larger picture"
            )
        if self.stem_width is not None and self.stem_width < 1:
            raise ConfigError(f"stem_width must be 1 or more, got {self.stem_width}")
        if self.stem_width is not None and self.stem == "linear":
            raise ConfigError("stem_width is for a convolutional stem; wanted stem=conv, or no stem_width")
        if self.cut_edges and self.stem != "linear":
            raise ConfigError("a convolutional stem pads edges; wanted cut_edges=false or stem=linear")

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, cols) of the native picture size."""
        return self.grid_at(self.image_size)

    def grid_at(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """(rows, cols) of any picture size; ``cut_edges`` says what becomes of a part of a patch."""
        return grid_of(*image_size, self.patch, cut_edges=self.cut_edges)

    @property
    def prefix(self) -> int:
        """T, the number of tokens ahead of the patches."""
        return int(self.class_token) + int(self.distillation_token) + self.registers

    @property
    def placed(self) -> int:
        """Prefix tokens that have a position: the class and the distillation token, or none."""
        return (int(self.class_token) + int(self.distillation_token)) * self.class_position

    @property
    def out_channels(self) -> int:
        """Channels of the map that comes out."""
        return self.encoder.width


LARGEST_STAGES = 8  # each doubles the width; published ones have 4


@dataclass(frozen=True, kw_only=True)
class SwinConfig:
    """Stages of shifted windows. ``depths`` and ``heads`` have a value for each stage; the width doubles
    and the grid halves from one to the next. Sizes of pictures are (height, width) in pixels, those of
    windows in patches.

    Every second block shifts its windows by half of one. ``shift`` "each_axis" leaves out an axis along
    which one window covers the grid, "shorter_axis" both where one covers the shorter axis; (rows, cols)
    for each stage shift any grid by so much. Libraries differ in this, and in ``shift_first`` and
    ``cut_edges``, so they travel with the weights.
    """

    width: int  # of the first stage
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int | tuple[tuple[int, int], ...]  # side, or (rows, cols) for each stage
    shift: ShiftRule | tuple[tuple[int, int], ...] = "each_axis"
    shift_first: bool = False  # a grid is shifted before it is padded to whole windows, not after
    patch: int = 4
    patch_norm: bool = True
    positions: Literal["learned", "none"] = "none"  # beside the offsets inside windows
    mlp_ratio: float = 4.0
    norm_eps: float = 1e-5
    merge_eps: float = 1e-5  # of the norms of patches and of merged patches
    activation: Activation = "gelu"
    drop_path: float = 0.0  # of the last block; it rises linearly from 0 at the first
    image_size: tuple[int, int] = (224, 224)
    channels: int = 3
    cut_edges: bool = False  # a part of a patch at the edge is left out, not padded to a whole one

    def __post_init__(self) -> None:
        if not self.depths or len(self.depths) != len(self.heads):
            raise ConfigError(f"{len(self.depths)} depths and {len(self.heads)} heads; wanted one per stage")
        if len(self.depths) > LARGEST_STAGES:
            raise ConfigError(f"{len(self.depths)} stages, more than {LARGEST_STAGES} are refused")
        for name, sides in (("window", self.window), ("shift", self.shift)):
            if isinstance(sides, tuple) and len(sides) != len(self.depths):
                raise ConfigError(f"{len(sides)} values of {name} for {len(self.depths)} stages")
        sizes = {"width": self.width, "patch": self.patch, "channels": self.channels}
        sizes |= {"depths": min(self.depths), "heads": min(self.heads)}
        sizes |= {"window": min(map(min, self.windows)), "shift": 1 + min(map(min, self.shifts))}
        for name, size in sizes.items():
            if size < 1:
                least, got = (0, size - 1) if name == "shift" else (1, size)
                raise ConfigError(f"{name} must be {least} or more, got {got}")
        for window, shift in zip(self.windows, self.shifts, strict=True):
            if shift[0] >= window[0] or shift[1] >= window[1]:
                text = f"{shift[0]}x{shift[1]} of windows of {window[0]}x{window[1]}"
                raise ConfigError(f"a shift must be smaller than its window, got {text}")
        for width, heads in zip(self.widths, self.heads, strict=True):
            if width % heads:
                raise ConfigError(f"width {width} cannot be shared by {heads} heads")
        for name, eps in (("norm_eps", self.norm_eps), ("merge_eps", self.merge_eps)):
            if not 0 < eps < 1:
                raise ConfigError(f"{name} must be above 0 and small, got {eps}")
        if not 0 < self.mlp_ratio < inf or min(self.mlp_widths) < 1:
            raise ConfigError(f"mlp_ratio must be above 0, got {self.mlp_ratio}")
        if not 0 <= self.drop_path < 1:
            raise ConfigError(f"drop_path is a probability from 0 to below 1, got {self.drop_path}")
        if min(self.image_size) < self.patch:
            height, across = self.image_size
            raise ConfigError(f"patch {self.patch} is larger than the picture of {height}x{across} pixels")

    @property
    def widths(self) -> tuple[int, ...]:
        """The width of each stage."""
        return tuple(self.width * 2**stage for stage in range(len(self.depths)))

    @property
    def mlp_widths(self) -> tuple[int, ...]:
        """The width of each stage's hidden layers."""
        return tuple(int(width * self.mlp_ratio) for width in self.widths)

    @property
    def windows(self) -> tuple[tuple[int, int], ...]:
        """(rows, cols) of each stage's windows."""
        if isinstance(self.window, tuple):
            return self.window
        return ((self.window, self.window),) * len(self.depths)

    @property
    def shifts(self) -> tuple[tuple[int, int], ...]:
        """(rows, cols) by which each stage's windows are shifted, where they are."""
        if isinstance(self.shift, tuple):
            return self.shift
        return tuple((rows // 2, cols // 2) for rows, cols in self.windows)

    @property
    def depth(self) -> int:
        """All blocks of all stages."""
        return sum(self.depths)

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, cols) of patches of the native picture size."""
        return self.grid_at(self.image_size)

    def grid_at(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """(rows, cols) of any picture size; ``cut_edges`` says what becomes of a part of a patch."""
        height, width = image_size
        return grid_of(height, width, self.patch, cut_edges=self.cut_edges)

    def grids_at(self, image_size: tuple[int, int]) -> tuple[tuple[int, int], ...]:
        """(rows, cols) of each stage for a picture size: half of those before, rounded up."""
        rows, cols = self.grid_at(image_size)
        return tuple(grid_of(rows, cols, 2**stage) for stage in range(len(self.depths)))

    @property
    def out_channels(self) -> int:
        """Channels of the last stage's map."""
        return self.widths[-1]


@dataclass(frozen=True, kw_only=True)
class MiTConfig:
    """SegFormer's Mix Transformer; every tuple has a value for each stage. A stage's patches are ``kernels``
    pixels a side of the map before, ``steps`` apart, so they overlap. Keys and values are those of a grid
    ``reductions`` times coarser along each side. Sizes of pictures are (height, width) in pixels."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    reductions: tuple[int, ...] = (8, 4, 2, 1)
    kernels: tuple[int, ...] = (7, 3, 3, 3)
    steps: tuple[int, ...] = (4, 2, 2, 2)
    mlp_ratios: tuple[float, ...] = (4.0, 4.0, 4.0, 4.0)
    norm_eps: float = 1e-5
    merge_eps: float = 1e-5  # of the norms of patches and of the coarser grid
    activation: Activation = "gelu"
    drop_path: float = 0.0  # of the last block; it rises linearly from 0 at the first
    image_size: tuple[int, int] = (512, 512)
    channels: int = 3

    def __post_init__(self) -> None:
        stages = len(self.widths)
        if not 1 <= stages <= LARGEST_STAGES:
            raise ConfigError(f"{stages} stages; wanted 1 to {LARGEST_STAGES}")
        for name in ("depths", "heads", "reductions", "kernels", "steps", "mlp_ratios"):
            if len(getattr(self, name)) != stages:
                raise ConfigError(f"{len(getattr(self, name))} values of {name} for {stages} stages")
        for name in ("widths", "depths", "heads", "reductions", "kernels", "steps"):
            if min(getattr(self, name)) < 1:
                raise ConfigError(f"{name} must be 1 or more, got {min(getattr(self, name))}")
        for width, heads in zip(self.widths, self.heads, strict=True):
            if width % heads:
                raise ConfigError(f"width {width} cannot be shared by {heads} heads")
        for kernel in self.kernels:
            if kernel % 2 == 0:  # half of it pads both sides alike, so that no part of a picture is left out
                raise ConfigError(f"kernels must be odd, got {kernel}")
        for name, eps in (("norm_eps", self.norm_eps), ("merge_eps", self.merge_eps)):
            if not 0 < eps < 1:
                raise ConfigError(f"{name} must be above 0 and small, got {eps}")
        if not all(0 < ratio < inf for ratio in self.mlp_ratios) or min(self.mlp_widths) < 1:
            raise ConfigError(f"mlp_ratios must be above 0, got {min(self.mlp_ratios)}")
        if not 0 <= self.drop_path < 1:
            raise ConfigError(f"drop_path is a probability from 0 to below 1, got {self.drop_path}")
        if self.channels < 1:
            raise ConfigError(f"channels must be 1 or more, got {self.channels}")
        if min(self.image_size) < 1:
            raise ConfigError(f"image size must be positive, got {self.image_size}")

    @property
    def mlp_widths(self) -> tuple[int, ...]:
        """The width of each stage's hidden layers."""
        pairs = zip(self.widths, self.mlp_ratios, strict=True)
        return tuple(int(width * ratio) for width, ratio in pairs)

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels from one cell of each stage's map to the next."""
        return tuple(accumulate(self.steps, mul))

    @property
    def patch(self) -> int:
        """Pixels from one token of the first stage to the next."""
        return self.steps[0]

    @property
    def depth(self) -> int:
        """All blocks of all stages."""
        return sum(self.depths)

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, cols) of the first stage for the native picture size."""
        return self.grid_at(self.image_size)

    def grid_at(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """(rows, cols) of the first stage for any picture size."""
        return grid_of(*image_size, self.patch)

    def grids_at(self, image_size: tuple[int, int]) -> tuple[tuple[int, int], ...]:
        """(rows, cols) of each stage for a picture size."""
        return tuple(grid_of(*image_size, stride) for stride in self.strides)

    @property
    def out_channels(self) -> int:
        """Channels of the last stage's map."""
        return self.widths[-1]


BackboneConfig = ViTConfig | SwinConfig | MiTConfig
