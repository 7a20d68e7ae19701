"""Where a token is, said by turning its queries and keys: rotary position embedding on a grid.

"RoFormer" (arXiv:2104.09864), section 3.2; on two axes, with coordinates from -1 to 1 whatever the
picture's size, as in "DINOv3" (arXiv:2508.10104). Shapes: N = T + P tokens; d dimensions of a head.
"""

from math import pi

import torch
from torch import Tensor, nn

from vitreous.layers.layout import Layout


class GridRotary(nn.Module):
    """Half of a head's pairs of dimensions turn with the row, half with the column; each pair at a rate
    of its own, from once in two pictures' sides to ``base`` times slower. Prefix tokens do not turn."""

    def __init__(self, head_width: int, base: float = 100.0) -> None:
        super().__init__()
        count = head_width // 4
        self.periods: Tensor
        periods = base ** (torch.arange(count, dtype=torch.float32, device="cpu") / count)
        # Not a parameter and not saved: it follows from the sizes alone.
        self.register_buffer("periods", periods, persistent=False)

    def angles(self, layout: Layout) -> Tensor:
        """A layout -> (P, d) in radians; dimension i and i + d / 2 make a pair and have the same one."""
        down = (torch.arange(layout.rows, device=self.periods.device) + 0.5) / layout.rows * 2 - 1
        across = (torch.arange(layout.cols, device=self.periods.device) + 0.5) / layout.cols * 2 - 1
        turned_down = (2 * pi * down[:, None] / self.periods).repeat_interleave(layout.cols, 0)
        turned_across = (2 * pi * across[:, None] / self.periods).repeat(layout.rows, 1)  # (P, d / 4)
        return torch.cat([turned_down, turned_across], dim=1).repeat(1, 2)  # (P, d)

    def forward(self, vectors: Tensor, layout: Layout) -> Tensor:
        """Queries or keys (B, heads, N, d) -> the same, turned."""
        angles = self.angles(layout)
        sin, cos = angles.sin().to(vectors.dtype), angles.cos().to(vectors.dtype)  # (P, d)
        prefix, patches = vectors[:, :, : layout.prefix], vectors[:, :, layout.prefix :]
        first, second = patches.chunk(2, dim=-1)  # (B, heads, P, d / 2)
        turned = patches * cos + torch.cat([-second, first], dim=-1) * sin
        return torch.cat([prefix, turned], dim=2)  # (B, heads, N, d)
