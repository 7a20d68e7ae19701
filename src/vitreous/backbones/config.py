"""What a backbone is made of, as plain values. Nothing heavy is imported here, so that a
command line can answer a question, or refuse one, before torch is there."""

from dataclasses import dataclass
from math import inf, isfinite
from typing import Literal

from vitreous.errors import ConfigError
from vitreous.layers.geometry import grid_of

Activation = Literal["gelu", "gelu_tanh", "quick_gelu"]
PositionKind = Literal["learned", "sincos1d", "sincos2d", "none"]
PositionResize = Literal["antialias", "plain", "corners", "offset"]
Stem = Literal["linear", "conv"]
MlpKind = Literal["plain", "swiglu"]
AttentionKind = Literal["plain", "relative", "rotary"]
BiasResize = Literal["bilinear", "bicubic"]


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
    class_token: bool = True
    distillation_token: bool = False  # stands after the class token
    registers: int = 0
    positions: PositionKind = "learned"
    class_position: bool = True  # whether the table has a row for the class and distillation tokens
    position_resize: PositionResize = "antialias"
    attention: AttentionKind = "plain"
    bias_resize: BiasResize = "bilinear"  # of the tables of relative attention
    rotary_base: float = 100.0  # how many times slower the slowest pair of rotary attention turns
    final_norm: bool = True

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

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, cols) of the native picture size; a part of a patch counts as a whole one."""
        return grid_of(*self.image_size, self.patch)

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


@dataclass(frozen=True, kw_only=True)
class SwinConfig:
    """Stages of shifted windows. ``depths`` and ``heads`` have a value for each stage; the width doubles
    and the grid halves from one to the next. Sizes are (height, width) in pixels."""

    width: int  # of the first stage
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int  # side, in patches
    patch: int = 4
    mlp_ratio: float = 4.0
    norm_eps: float = 1e-5
    activation: Activation = "gelu"
    drop_path: float = 0.0  # of the last block; it rises linearly from 0 at the first
    image_size: tuple[int, int] = (224, 224)
    channels: int = 3

    def __post_init__(self) -> None:
        sizes = {"width": self.width, "window": self.window, "patch": self.patch, "channels": self.channels}
        for name, size in sizes.items():
            if size < 1:
                raise ConfigError(f"{name} must be 1 or more, got {size}")
        if not self.depths or len(self.depths) != len(self.heads):
            raise ConfigError(f"{len(self.depths)} depths and {len(self.heads)} heads; wanted one per stage")
        for name, values in (("depths", self.depths), ("heads", self.heads)):
            if min(values) < 1:
                raise ConfigError(f"{name} must be 1 or more, got {', '.join(map(str, values))}")
        for width, heads in zip(self.widths, self.heads, strict=True):
            if width % heads:
                raise ConfigError(f"width {width} cannot be shared by {heads} heads")
        if not 0 < self.norm_eps < 1:
            raise ConfigError(f"norm_eps must be above 0 and small, got {self.norm_eps}")
        if not 0 < self.mlp_ratio < inf:
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
    def depth(self) -> int:
        """All blocks of all stages."""
        return sum(self.depths)

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, cols) of patches of the native picture size; a part of a patch counts as a whole one."""
        return grid_of(*self.image_size, self.patch)

    @property
    def out_channels(self) -> int:
        """Channels of the last stage's map."""
        return self.widths[-1]


BackboneConfig = ViTConfig | SwinConfig
