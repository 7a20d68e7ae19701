"""Discrete VAE: a picture becomes a grid of tokens, each one of K codes, and is painted again from them.

"Zero-Shot Text-to-Image Generation" (arXiv:2102.12092), section 2.1 and appendix A.1: residual convolutions,
max-pooling on the way in, nearest neighbours on the way out. While it learns, a token is a mixture of codes,
drawn by the Gumbel softmax (arXiv:1611.01144, section 2.2).

Shapes: B pictures of C channels and H x W pixels; K codes; rows x cols tokens, s x s pixels each; D width.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, interpolate, max_pool2d

from vitreous.models.config import DVAEConfig
from vitreous.models.model import Model, mean_of_patches

ENCODER_KERNELS = (3, 3, 3, 1)  # of the convolutions of a block
DECODER_KERNELS = (1, 3, 3, 3)
FIRST_KERNEL = 7  # of the first convolution, which looks at pixels


class Tokenised(NamedTuple):
    """``logits`` (B, K, rows, cols) of the code of each token; ``painted`` (B, C, s rows, s cols), what the
    decoder makes of the tokens, (B, 2 C, ...) where it paints a distribution; None without a decoder."""

    logits: Tensor
    painted: Tensor | None


class ResidualBlock(nn.Module):
    """Four convolutions, each behind a ReLU, at a quarter of the width; what comes out is scaled down by the
    square of the number of all blocks, so that depth does no harm at first."""

    def __init__(self, channels: int, out: int, kernels: Sequence[int], depth: int) -> None:
        super().__init__()
        self.gain = 1 / depth**2
        hidden = out // 4
        sizes = pairwise((channels, hidden, hidden, hidden, out))
        self.convolutions = nn.ModuleList(
            convolution(below, above, kernel) for (below, above), kernel in zip(sizes, kernels, strict=True)
        )
        self.shortcut = convolution(channels, out, 1) if channels != out else nn.Identity()

    def forward(self, grid: Tensor) -> Tensor:
        """(B, D, h, w) -> (B, D', h, w)."""
        branch = grid
        for part in self.convolutions:
            branch = part(torch.relu(branch))
        return torch.add(self.shortcut(grid), branch, alpha=self.gain)

    def extra_repr(self) -> str:
        """What ``print(model)`` shows."""
        return f"gain={self.gain:g}"


class TokenEncoder(nn.Module):
    """Pixels to logits of codes."""

    def __init__(self, config: DVAEConfig) -> None:
        super().__init__()
        self.input = convolution(config.channels, config.width, FIRST_KERNEL)
        self.groups = groups(config.width, config.widths, ENCODER_KERNELS, config)
        self.output = convolution(config.widths[-1], config.codes, 1)

    def hidden(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, rows, cols): what the last convolution is given."""
        grid = self.input(images)
        for number, group in enumerate(self.groups):
            if number:
                grid = max_pool2d(grid, 2)
            grid = group(grid)
        return torch.relu(grid)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, rows, cols)."""
        return self.output(self.hidden(images))


class TokenDecoder(nn.Module):
    """Tokens to pixels."""

    def __init__(self, config: DVAEConfig) -> None:
        super().__init__()
        painted = config.channels * (2 if config.paints == "logit_laplace" else 1)
        self.input = convolution(config.codes, config.code_width, 1)
        self.groups = groups(config.code_width, config.widths[::-1], DECODER_KERNELS, config)
        self.output = convolution(config.width, painted, 1)

    def forward(self, codes: Tensor) -> Tensor:
        """Codes (B, rows, cols), or shares of all (B, K, rows, cols) -> (B, C or 2 C, s rows, s cols)."""
        grid = self.input(codes) if codes.is_floating_point() else self._looked_up(codes)
        for number, group in enumerate(self.groups):
            if number:
                grid = interpolate(grid, scale_factor=2, mode="nearest")
            grid = group(grid)
        return self.output(torch.relu(grid))

    def _looked_up(self, codes: Tensor) -> Tensor:
        """(B, rows, cols) -> (B, E, rows, cols): what the first convolution makes of one code alone."""
        table = self.input.weight.flatten(1).T  # (K, E)
        grid = embedding(codes, table) + self.input.bias  # type: ignore[operator]  # (B, rows, cols, E)
        return grid.permute(0, 3, 1, 2).contiguous()


class DVAE(Model):
    """An encoder of pictures into tokens, and a decoder where the configuration has one."""

    def __init__(self, config: DVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = TokenEncoder(config)
        self.decoder = TokenDecoder(config) if config.decoder else None

    def encode(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, rows, cols): logits of the codes. ConfigError for pictures that are smaller
        than the square of one token."""
        self.config.grid_at((images.shape[-2], images.shape[-1]))
        return self.encoder(images)

    def tokens(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, rows, cols) int64: the likeliest code of each token."""
        return self.encode(images).argmax(1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, rows, cols), or shares of all (B, K, rows, cols) -> pictures (B, C, s rows, s cols),
        normalised as those that it was trained on. ValueError without a decoder."""
        if self.decoder is None:
            raise ValueError("this dVAE is an encoder alone, and paints nothing")
        return self.pictures(self.decoder(codes))

    def pictures(self, painted: Tensor) -> Tensor:
        """(B, C or 2 C, h, w) -> (B, C, h, w): of a distribution, where it lies."""
        if self.config.paints == "pixels":
            return painted
        return torch.sigmoid(painted[:, : self.config.channels])

    def forward(self, images: Tensor, noise: Tensor | None = None, temperature: float = 1.0) -> Tokenised:
        """(B, C, H, W) -> logits, and what is painted from the likeliest codes.

        With Gumbel ``noise`` (B, K, rows, cols) it is painted from a mixture of codes, which is the closer to
        one of them the lower the ``temperature``, and through which gradients reach the encoder.
        """
        logits = self.encode(images)
        if self.decoder is None:
            return Tokenised(logits, None)
        if noise is None:
            return Tokenised(logits, self.decoder(logits.argmax(1)))
        shares = ((logits + noise) / temperature).softmax(1)
        return Tokenised(logits, self.decoder(shares))

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D): the mean over all places of what the last convolution of the encoder is
        given."""
        return mean_of_patches(self.encoder.hidden(images))


def groups(channels: int, widths: Sequence[int], kernels: Sequence[int], config: DVAEConfig) -> nn.ModuleList:
    """Groups of blocks of these widths, one after another; between them maps change their size."""
    depth = config.groups * config.blocks
    made = nn.ModuleList()
    for out in widths:
        below = (channels, *[out] * (config.blocks - 1))
        made.append(nn.Sequential(*(ResidualBlock(size, out, kernels, depth) for size in below)))
        channels = out
    return made


def convolution(channels: int, out: int, kernel: int) -> nn.Conv2d:
    """A convolution that keeps the size of the map, its output as large as its input at first."""
    made = nn.Conv2d(channels, out, kernel, padding=kernel // 2)
    nn.init.normal_(made.weight, std=(channels * kernel**2) ** -0.5)
    if made.bias is not None:
        nn.init.zeros_(made.bias)
    return made
