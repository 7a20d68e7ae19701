"""Where a token is, said by turning its queries and keys: rotary position embedding on a grid.

"RoFormer" (arXiv:2104.09864), section 3.2; on two axes, with coordinates from -1 to 1 whatever the
picture's size, as in "DINOv3" (arXiv:2508.10104). Shapes: N = T + P tokens; d dimensions of a head.
"""

from math import pi

import torch
from torch import Tensor, nn

from vitreous.layers.layout import Layout

SINGLE = torch.float32


class GridRotary(nn.Module):
    """Half of a head's pairs of dimensions turn with the row, half with the column; each pair at a rate
    of its own, from once in half a picture's side to ``base`` times slower. Prefix tokens do not turn.

    ``step`` travels with the weights, because libraries round otherwise: "period" divides by how far it is
    to a whole turn (timm), "rate" multiplies by the inverse (transformers). They agree to 1e-7.
    """

    def __init__(self, head_width: int, base: float = 100.0, step: str = "period") -> None:
        super().__init__()
        self.pairs = head_width // 4  # along each axis
        self.base = base
        self.step = step

    def angles(self, count: int, like: Tensor) -> Tensor:
        """``count`` patches along one axis -> (count, d / 4) in radians, in float32 or a finer type.

        The type is that of ``like``, but coordinates and periods are numbers of float32 in any type,
        as they were when the weights were trained.
        """
        real, device = torch.promote_types(like.dtype, SINGLE), like.device
        places = (torch.arange(count, dtype=SINGLE, device=device) + 0.5) / count * 2 - 1  # (count,)
        if self.step == "rate":
            steps = torch.arange(0, 1, 1 / self.pairs, dtype=SINGLE, device=device)[: self.pairs]
            rates = 1 / self.base**steps  # (d / 4,)
            return (2 * pi * places)[:, None] * rates.to(real)
        periods = self.base ** (torch.arange(self.pairs, dtype=SINGLE, device=device) / self.pairs)
        return 2 * pi * places.to(real)[:, None] / periods.to(real)

    def turns(self, layout: Layout, like: Tensor) -> tuple[Tensor, Tensor]:
        """A layout -> the cosines and sines of all patches, (P, d / 2) each, in the type of ``like``."""
        down, across = self.angles(layout.rows, like), self.angles(layout.cols, like)
        parts = []
        for wave in (torch.cos, torch.sin):
            rows = wave(down)[:, None].expand(-1, layout.cols, -1)  # (rows, cols, d / 4)
            cols = wave(across)[None].expand(layout.rows, -1, -1)
            parts.append(torch.cat([rows, cols], dim=2).flatten(0, 1).to(like.dtype))  # (P, d / 2)
        return parts[0], parts[1]

    def forward(self, vectors: Tensor, layout: Layout) -> Tensor:
        """Queries or keys (B, heads, N, d) -> the same, turned: dimensions i and i + d / 2 are a pair."""
        cos, sin = self.turns(layout, vectors)
        prefix, patches = vectors[:, :, : layout.prefix], vectors[:, :, layout.prefix :]
        first, second = patches.chunk(2, dim=-1)  # (B, heads, P, d / 2)
        turned = torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
        return torch.cat([prefix, turned], dim=2)  # (B, heads, N, d)
