"""What the heads of a classifier are given, caught in the very forward that gives its logits.

``Model.features`` would be a second forward, and one that gradients of several processes are not averaged
over.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from vitreous.models.layering import heads_of
from vitreous.models.model import Model


@contextmanager
def catching(model: Model) -> Iterator[list[Tensor]]:
    """Inside, a forward of the model fills the list with what each of its heads is given, (B, D), in the
    order of ``heads_of``."""
    given: list[Tensor] = []

    def catch(head: nn.Module, inputs: tuple[Tensor]) -> None:
        given.append(inputs[0])

    hooks = [model.get_submodule(name).register_forward_pre_hook(catch) for name in heads_of(model.config)]
    try:
        yield given
    finally:
        for hook in hooks:
            hook.remove()
