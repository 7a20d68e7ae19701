"""What is done to each token alone, and what is done to a residual branch before it is added.

The MLP: arXiv:2010.11929, eq. 3; gated, arXiv:2002.05202. LayerScale: "Going deeper with Image Transformers"
(arXiv:2103.17239), eq. 4. Stochastic depth: "Deep Networks with Stochastic Depth" (arXiv:1603.09382).
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import silu


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), the approximation that the first CLIP weights were trained with."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return tokens * torch.sigmoid(1.702 * tokens)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "gelu_tanh": partial(nn.GELU, approximate="tanh"),
    "quick_gelu": QuickGELU,
    "relu": nn.ReLU,
}


class Mlp(nn.Module):
    """Two layers with a non-linearity between them, the same for every token."""

    def __init__(self, width: int, mlp_width: int, activation: str = "gelu") -> None:
        super().__init__()
        self.expand = nn.Linear(width, mlp_width)
        self.activation = ACTIVATIONS[activation]()
        self.contract = nn.Linear(mlp_width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        return self.contract(self.activation(self.expand(tokens)))


class SwiGLU(nn.Module):
    """A gated MLP, "GLU Variants Improve Transformer" (arXiv:2002.05202), eq. 6: one half of the hidden
    layer, through SiLU, says how much of the other half passes. ``expand`` holds the gate's rows first."""

    def __init__(self, width: int, mlp_width: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, 2 * mlp_width)
        self.contract = nn.Linear(mlp_width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        gate, passing = self.expand(tokens).chunk(2, dim=-1)  # two of (B, N, M)
        return self.contract(silu(gate) * passing)


class LayerScale(nn.Module):
    """One learned factor per channel of a residual branch, small at first so that depth does no harm."""

    def __init__(self, width: int, initial: float) -> None:
        super().__init__()
        self.initial = initial
        self.scale = nn.Parameter(torch.full((width,), initial))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        return tokens * self.scale


class DropPath(nn.Module):
    """Stochastic depth: in training a picture skips the whole branch with the given probability.

    ``rows`` says which pictures of the global batch (start, stop, total) this process holds at the
    moment. The draw is made for the whole global batch and cut, so that one process, several processes
    and accumulated small batches drop the same pictures, given the same random state.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability
        self.rows: tuple[int, int, int] | None = None

    def forward(self, branch: Tensor) -> Tensor:
        """(B, ...) -> (B, ...), whole pictures zeroed and the others scaled up to keep the mean."""
        if not self.training or self.probability == 0.0:
            return branch
        start, stop, total = self.rows or (0, branch.shape[0], branch.shape[0])
        keep = 1.0 - self.probability
        # Drawn on the CPU, whatever the device: one generator to seed, and the same draw everywhere.
        kept = torch.rand(total)[start:stop].to(branch.device) < keep  # (B,)
        shape = (-1, *(1 for _ in branch.shape[1:]))
        return branch * (kept.to(branch.dtype) / keep).view(shape)

    def extra_repr(self) -> str:
        """What ``print(model)`` shows."""
        return f"probability={self.probability:g}"


class DropChannels(DropPath):
    """Dropout of whole channels: in training each channel of a picture's map is left out with the given
    probability. Drawn for the whole global batch, as ``DropPath`` does."""

    def forward(self, branch: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w), some channels zeroed and the others scaled up to keep the mean."""
        if not self.training or self.probability == 0.0:
            return branch
        start, stop, total = self.rows or (0, branch.shape[0], branch.shape[0])
        keep = 1.0 - self.probability
        kept = torch.rand(total, branch.shape[1])[start:stop].to(branch.device) < keep  # (B, C)
        return branch * (kept.to(branch.dtype) / keep)[:, :, None, None]
