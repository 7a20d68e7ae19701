"""How much memory tensors hold while something is computed: counted, not asked of the system.

Every operation, those of the backward pass among them, is seen by a dispatch mode of torch; a storage is
counted when a tensor in it is first seen, and counted off when nothing refers to it any more. What a kernel
takes and gives back inside an operation is not seen.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any
from weakref import finalize

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Ledger(TorchDispatchMode):
    """A context: inside, ``timeline`` gets the bytes that are held after each operation."""

    def __init__(self, standing: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0  # bytes
        self.timeline: list[int] = []
        self.sizes: dict[int, int] = {}
        for tensor in standing:
            self._enter(tensor)
        self.standing = self.live

    def __torch_dispatch__(
        self,
        operation: Callable[..., Any],
        types: Sequence[type],
        arguments: tuple[Any, ...] = (),
        options: dict[str, Any] | None = None,
    ) -> Any:
        """Do the operation, and count what came out of it."""
        result = operation(*arguments, **(options or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._enter(leaf)
        self.timeline.append(self.live)
        return result

    def _enter(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self.sizes:
            self.sizes[key] = storage.nbytes()
            self.live += self.sizes[key]
            finalize(storage, partial(self._leave, key))

    def _leave(self, key: int) -> None:
        self.live -= self.sizes.pop(key)


def most_at(size: int, small: Ledger, large: Ledger, sizes: tuple[int, int]) -> int:
    """The most bytes that would be held at a time for a batch of ``size`` beside what stood before, told from
    the same computation on batches of two other ``sizes``.

    After each operation there are so many bytes, and so many more for each picture; after which there are
    the most depends on the size.
    """
    low = [live - small.standing for live in small.timeline]
    high = [live - large.standing for live in large.timeline]
    if len(low) != len(high):  # computed in another way: the hungriest moments are all that can be compared
        low, high = [max(low)], [max(high)]
    steps = (size - sizes[0]) / (sizes[1] - sizes[0])
    return max(0, round(max(few + steps * (more - few) for few, more in zip(low, high, strict=True))))
