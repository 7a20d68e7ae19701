"""Low-rank adapters: a matrix that rests, and beside it a product of two small ones that learns.

"LoRA: Low-Rank Adaptation of Large Language Models" (arXiv:2106.09685), section 4.1: the output is
W x + b + (alpha / rank) * up (down x), where up starts at zero, so that nothing changes at first.

Queries, keys and values are three matrices of the paper, each with a pair of its own, and here they lie on
top of one another in one layer; so do gate and values of a gated MLP. Such a layer has as many pairs, and
``rank`` means what it means where they are apart.

Shapes: D numbers in, E numbers out; r the rank; F matrices that lie in one layer.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from vitreous.errors import ConfigError
from vitreous.layers.attention import Attention
from vitreous.layers.mlp import SwiGLU
from vitreous.layers.reduced_attention import ReducedAttention


class AdaptedLinear(nn.Linear):
    """A linear layer with an adapter: ``weight`` and ``bias`` are the layer's own tensors, under the
    names that they had; ``down`` (F, r, D) and ``up`` (F, E / F, r) are new."""

    def __init__(self, layer: nn.Linear, rank: int, alpha: float, fused: int = 1) -> None:
        """``fused`` is F; ``down`` is drawn from torch's generator."""
        # Without memory: both tensors are replaced at once.
        super().__init__(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.rank, self.alpha, self.fused = rank, alpha, fused
        self.down = nn.Parameter(layer.weight.new_empty(fused, rank, layer.in_features))
        self.up = nn.Parameter(layer.weight.new_zeros(fused, layer.out_features // fused, rank))
        nn.init.normal_(self.down, std=layer.in_features**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., D) -> (..., E)."""
        return super().forward(tokens) + self.alpha / self.rank * self._added(tokens)

    def merged(self) -> Tensor:
        """The one matrix (E, D) that does what this layer does, rounded once."""
        product = (self.up.double() @ self.down.double()).flatten(0, 1)  # (E, D)
        return (self.weight.double() + self.alpha / self.rank * product).to(self.weight.dtype)

    def extra_repr(self) -> str:
        """What ``print(model)`` shows."""
        return f"{super().extra_repr()}, rank={self.rank}, alpha={self.alpha:g}"

    def _added(self, tokens: Tensor) -> Tensor:
        """(..., D) -> (..., E)."""
        if self.fused == 1:
            return linear(linear(tokens, self.down[0]), self.up[0])
        hidden = linear(tokens, self.down.flatten(0, 1))
        hidden = hidden.view(*hidden.shape[:-1], self.fused, self.rank)  # (..., F, r)
        return torch.einsum("...fr,fer->...fe", hidden, self.up).flatten(-2)


def linear_layers(model: nn.Module) -> dict[str, nn.Linear]:
    """The linear layers of a model by name, in its order."""
    return {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}


def adapted_layers(model: nn.Module) -> dict[str, AdaptedLinear]:
    """The layers of a model that have an adapter."""
    return {name: module for name, module in model.named_modules() if isinstance(module, AdaptedLinear)}


def inject(model: nn.Module, names: Iterable[str], rank: int, alpha: float) -> None:
    """Give the linear layers of these names adapters, in place.

    Raises:
        ConfigError: no linear layer has such a name, or a rank as large as a side of its matrix, which would
            save nothing.
    """
    layers = linear_layers(model)
    for name in names:
        layer = layers.get(name)
        if layer is None or isinstance(layer, AdaptedLinear):
            raise ConfigError(f"{name} is no linear layer without an adapter")
        fused = _fused(model.get_submodule(name.rpartition(".")[0]), layer)
        side = min(layer.in_features, layer.out_features // fused)
        if not 1 <= rank < side:
            raise ConfigError(
                f"a rank of {rank} for {name}, whose smaller side is {side}; wanted from 1 to {side - 1}"
            )
        model.set_submodule(name, AdaptedLinear(layer, rank, alpha, fused))


@torch.no_grad()
def merge(model: nn.Module) -> nn.Module:
    """Put plain linear layers in the place of all that have adapters; the same model comes back, and answers
    as before to rounding."""
    for name, layer in adapted_layers(model).items():
        plain = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
        plain.weight, plain.bias = nn.Parameter(layer.merged()), layer.bias
        model.set_submodule(name, plain)
    return model


def _fused(parent: nn.Module, layer: nn.Linear) -> int:
    """F, how many matrices lie in a layer."""
    if isinstance(parent, Attention) and layer is parent.qkv:
        return 3
    if isinstance(parent, ReducedAttention) and layer is parent.keys_values:
        return 2
    return 2 if isinstance(parent, SwiGLU) and layer is parent.expand else 1
