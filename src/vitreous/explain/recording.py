"""Watch what goes in and out of every attention of a model, and change nothing in it.

The weights are softmax(Q K^T / sqrt(d) + bias), so queries and keys are enough to have any row of
them; the output is weights @ values, so the gradient with respect to the weights is the gradient with
respect to the output, times values^T. The N x N matrix exists only while somebody looks at it.

Shapes: B pictures, or windows of them; M tokens that ask, N that are asked: the same ones, except where a
decoder looks at a map or where keys are those of a coarser grid; T prefix tokens, P patches; d dimensions of
a head.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vitreous.errors import ConfigError
from vitreous.layers.attention import Attention, ScaledDotProduct
from vitreous.layers.layout import Layout


@dataclass(eq=False)
class Recorded:
    """One call of one attention: queries and output (B, heads, M, d), keys and values (B, heads, N, d)."""

    queries: Tensor
    keys: Tensor
    values: Tensor
    bias: Tensor | None
    output: Tensor
    layout: Layout | None = None  # known once the attention around it has returned
    mix: nn.Module | None = None  # which of the model's ``ScaledDotProduct`` it was

    @property
    def heads(self) -> int:
        """How many heads looked."""
        return self.queries.shape[1]

    def weights(self, rows: slice | None = None) -> Tensor:
        """(B, heads, rows, N): what the tokens of ``rows`` attend to; all M of them by default.

        A row costs O(N), so the class token's alone is linear in the number of tokens.
        """
        queries, bias = self.queries, self.bias
        if rows is not None:
            queries = queries[..., rows, :]
            if bias is not None and bias.shape[-2] > 1:  # else one row of bias is broadcast to all
                bias = bias[..., rows, :]
        return ScaledDotProduct.weights(queries, self.keys, bias)

    def weights_gradient(self, output_gradient: Tensor, rows: slice | None = None) -> Tensor:
        """The output's gradient (B, heads, M, d) -> that of the weights' ``rows`` (B, heads, rows, N)."""
        if rows is not None:
            output_gradient = output_gradient[..., rows, :]
        return output_gradient @ self.values.transpose(-2, -1)


@dataclass(eq=False)
class Record:
    """What was seen in one ``recording``: a Recorded for each attention, in the order of the calls."""

    layers: list[Recorded] = field(default_factory=list)

    @property
    def layout(self) -> Layout:
        """How the tokens lay in the last attention."""
        layouts = [recorded.layout for recorded in self.layers if recorded.layout is not None]
        if not layouts:
            raise ConfigError("nothing was recorded; run the model inside 'with recording(model)'")
        return layouts[-1]

    def weights(self, layer: int, rows: slice | None = None) -> Tensor:
        """(B, heads, M, N) of one layer, counted from 0; see ``Recorded.weights``."""
        return self.layers[layer].weights(rows)

    def of(self, part: nn.Module) -> Recorded:
        """What the one attention inside a part of the model saw, in its last call. ConfigError where it has
        none that was recorded, or several."""
        mixes = [module for module in part.modules() if isinstance(module, ScaledDotProduct)]
        found = [recorded for recorded in self.layers if len(mixes) == 1 and recorded.mix is mixes[0]]
        if not found:
            raise ConfigError(
                f"nothing was recorded of a {type(part).__name__}; wanted one attention that ran"
            )
        return found[-1]

    def output_gradients(self, score: Tensor, *, keep_graph: bool = False) -> tuple[Tensor, ...]:
        """A scalar -> its gradient with respect to the output of every attention, (B, heads, M, d) each.

        The ``grad`` of the model's parameters is neither used nor touched. ``keep_graph`` allows
        another score of the same forward pass to be asked afterwards.
        """
        outputs = [recorded.output for recorded in self.layers]
        return torch.autograd.grad(score, outputs, retain_graph=keep_graph)


@contextmanager
def recording(model: nn.Module, *, gradients: bool = False) -> Iterator[Record]:
    """Record every attention that runs while the context is open.

    Without ``gradients`` it works under ``torch.inference_mode`` too. With them the outputs stay part
    of autograd's graph, for ``Record.output_gradients``, even where all parameters are frozen. The hooks
    are gone when the context is left, also by an error.

    Raises:
        ConfigError: the model has no attention that could be recorded.
    """
    record = Record()

    def watch(
        mix: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Tensor
    ) -> Tensor | None:
        queries, keys, values, bias = _arguments(*inputs, **named)
        replaced = None
        if gradients and not output.requires_grad:
            # A frozen model up to here: the graph may as well begin at this output.
            output = replaced = output.detach().requires_grad_()
        kept = output if gradients else output.detach()
        bias = None if bias is None else bias.detach()
        asked = Recorded(queries.detach(), keys.detach(), values.detach(), bias, kept, mix=mix)
        record.layers.append(asked)
        return replaced

    def place(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], __: Tensor) -> None:
        record.layers[-1].layout = named["layout"] if "layout" in named else inputs[1]

    mixes = [module for module in model.modules() if isinstance(module, ScaledDotProduct)]
    if not mixes:
        raise ConfigError(f"{type(model).__name__} has no attention to record; wanted a Vision Transformer")
    around = [module for module in model.modules() if isinstance(module, Attention)]
    handles = [mix.register_forward_hook(watch, with_kwargs=True) for mix in mixes]
    handles += [module.register_forward_hook(place, with_kwargs=True) for module in around]
    try:
        yield record
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def gradients_on() -> Iterator[None]:
    """Gradients on, whatever mode the caller is in."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def _arguments(
    queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """The arguments of ``ScaledDotProduct.forward``, however they were handed over."""
    return queries, keys, values, bias
