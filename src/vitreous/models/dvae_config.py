"""The configuration of a discrete VAE as plain values; no torch here. Sizes and what is painted:
arXiv:2102.12092, appendix A.1 and A.3."""

from dataclasses import dataclass
from typing import Literal

from vitreous.errors import ConfigError

Paints = Literal["pixels", "logit_laplace"]

LARGEST_STRIDE = 7  # times that a map may be halved; published tokenizers halve it three times


@dataclass(frozen=True, kw_only=True)
class DVAEConfig:
    """A discrete VAE: convolutions make one of ``codes`` tokens of each square of pixels, and others paint
    the squares again.

    groups      of blocks; each but the last halves the map
    blocks      of each group
    width       channels of the first group; every further one has twice as many
    code_width  numbers that stand for a token where it is painted
    decoder     whether tokens are painted; an encoder alone is all that a tokenizer needs
    paints      "pixels", or "logit_laplace": where each pixel's distribution lies and how wide it is
    """

    codes: int = 8192
    groups: int = 4
    blocks: int = 2
    width: int = 256
    code_width: int = 128
    decoder: bool = True
    paints: Paints = "pixels"
    image_size: tuple[int, int] = (112, 112)
    channels: int = 3

    def __post_init__(self) -> None:
        least = {"codes": 2, "groups": 1, "blocks": 1, "width": 4, "code_width": 1, "channels": 1}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ConfigError(f"{name} must be {value} or more, got {getattr(self, name)}")
        if self.groups > 1 + LARGEST_STRIDE:
            raise ConfigError(f"groups must be {1 + LARGEST_STRIDE} or fewer, got {self.groups}")
        self.grid_at(self.image_size)

    @property
    def classes(self) -> int:
        """Tokens are no classes."""
        return 0

    @property
    def normalised(self) -> tuple[float, float] | None:
        """Mean and deviation with which pixels from 0 to 1 are normalised, the same in every channel; None
        where any will do. The distribution wants pixels from 0.1 to 0.9, (1 - 2 e) x + e with e = 0.1."""
        return (-0.125, 1.25) if self.paints == "logit_laplace" else None

    @property
    def stride(self) -> int:
        """Pixels along the side of the square that a token stands for."""
        return 2 ** (self.groups - 1)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each group of the encoder; the decoder has them the other way round."""
        return tuple(self.width * 2**group for group in range(self.groups))

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, cols) of tokens at the native picture size."""
        return self.grid_at(self.image_size)

    def grid_at(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """(rows, cols) of tokens of a picture (height, width) in pixels; what is left of a square at the
        edge is cut off. ConfigError where the picture is smaller than one square."""
        height, width = image_size
        if min(height, width) < self.stride:
            raise ConfigError(
                f"pictures of {height}x{width} pixels are smaller than a token's square of"
                f" {self.stride}x{self.stride}; wanted larger ones, or fewer groups"
            )
        return height // self.stride, width // self.stride
