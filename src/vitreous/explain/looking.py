"""One picture looked at once, and kept for the gradients of any number of scores.

Shapes: B is 1, the picture; C channels and h x w cells of a map; d dimensions of a head.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vitreous.explain.recording import Record, gradients_on, recording


class Gradients(NamedTuple):
    """Of one score: with respect to what the attention inside a part of the model put out, (B, heads, M, d),
    and to each map of a ``Look``."""

    attention: Callable[[nn.Module], Tensor]
    maps: tuple[Tensor, ...]


class Look(NamedTuple):
    """A forward pass: what the model answered, what its attentions saw, and the maps (1, C, h, w), fine to
    coarse, that its head was given. All of it is part of autograd's graph."""

    answer: Any
    record: Record
    maps: tuple[Tensor, ...]
    size: tuple[int, int]  # of the picture, (h, w) pixels

    def gradients(self, score: Tensor) -> Gradients:
        """Of a scalar that was computed from the answer; others may be asked afterwards."""
        outputs = [recorded.output for recorded in self.record.layers]
        with gradients_on():
            found = torch.autograd.grad(
                score, [*outputs, *self.maps], retain_graph=True, allow_unused=True, materialize_grads=True
            )
        by_output = {id(output): gradient for output, gradient in zip(outputs, found, strict=False)}
        return Gradients(
            lambda part: by_output[id(self.record.of(part).output)], tuple(found[len(outputs) :])
        )


def look(model: nn.Module, images: Tensor, head: nn.Module) -> Look:
    """One picture (1, C, H, W), and the part of the model that is given the backbone's maps.

    It works inside ``torch.inference_mode`` and on frozen models, and leaves no gradient in the model.
    """
    maps: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        # What the head sees is to be its own: a Mix Transformer's next stage reads the same map.
        given = inputs[0]
        own = given.view_as(given) if isinstance(given, Tensor) else [grid.view_as(grid) for grid in given]
        maps.extend([own] if isinstance(own, Tensor) else own)
        return (own, *inputs[1:])

    handle = head.register_forward_pre_hook(keep)
    try:
        with gradients_on(), recording(model, gradients=True) as record:
            # A picture that asks for its gradient puts all that follows into the graph, frozen or not.
            answer = model(images.clone().requires_grad_())
    finally:
        handle.remove()
    return Look(answer, record, tuple(maps), (images.shape[-2], images.shape[-1]))


def gradient_map(looked: Look, gradients: Gradients) -> Tensor:
    """(h, w) of the finest map: gradient times activation, summed over channels and maps, where it is above
    zero.

    "Use HiResCAM instead of Grad-CAM" (arXiv:2011.08891), section 3: gradients are not averaged over the
    map, so every cell counts by what it itself did for the score. A coarser map's share is spread evenly
    over the finer cells that it covers.
    """
    with gradients_on(), torch.no_grad():
        rows, cols = looked.maps[0].shape[-2:]
        total = looked.maps[0].new_zeros(rows, cols)
        for grid, gradient in zip(looked.maps, gradients.maps, strict=True):
            counted = (grid * gradient).sum(dim=1, keepdim=True)  # (1, 1, h, w)
            share = counted.shape[-2] * counted.shape[-1] / (rows * cols)
            total += share * nn.functional.interpolate(counted, size=(rows, cols), mode="nearest")[0, 0]
        return total.clamp(min=0)


def reading_of(grid: Tensor, gradient: Tensor) -> Tensor:
    """A map and a gradient (1, C, h, w) -> (h, w): how much the head read from each cell for the score."""
    return (grid * gradient).sum(dim=1)[0].detach().clamp(min=0)
