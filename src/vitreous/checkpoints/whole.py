"""Two models that their makers published as whole modules and not as tensors: DALL-E's encoder and decoder.

Such a file names the classes that it was made of. Here they are words: none is imported, none is built, and
only these, at these places, are let through. What is taken out are the parameters, under the names that they
have in a state dict.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vitreous.errors import CheckpointError

# What may be the whole file, and what may stand inside one of them.
MODELS = frozenset({"dall_e.encoder.Encoder", "dall_e.decoder.Decoder"})
BLOCKS = frozenset({"dall_e.encoder.EncoderBlock", "dall_e.decoder.DecoderBlock"})
PARTS = BLOCKS | {
    "dall_e.utils.Conv2d",
    "torch.nn.modules.activation.ReLU",
    "torch.nn.modules.container.Sequential",
    "torch.nn.modules.linear.Identity",
    "torch.nn.modules.pooling.MaxPool2d",
    "torch.nn.modules.upsampling.Upsample",
}
MODULES = MODELS | PARTS
GAIN = "post_gain"  # what a block's result is multiplied with
DEEPEST = 8  # modules inside one another; theirs are 5 deep


@dataclass(eq=False)
class Module:
    """A module as it lies in a file: its class by name, and what it held."""

    kind: str
    state: dict[str, Any] = field(default_factory=dict)


def state_of(model: Module) -> dict[str, Any]:
    """The parameters of all modules inside one another, by name.

    Raises:
        CheckpointError: blocks whose gain does not follow from how many there are.
        ValueError: modules that are not inside one another as a tree, or hold something else.
    """
    found: dict[str, Any] = {}
    gains: list[Any] = []
    for prefix, module in _walk(model, "", set()):
        if module.kind in BLOCKS:
            gains.append(module.state.get(GAIN))
        if _held(module, "_buffers"):
            raise ValueError("a module with buffers")
        found |= {f"{prefix}{name}": value for name, value in _held(module, "_parameters").items()}
    if any(gain != 1 / len(gains) ** 2 for gain in gains):
        raise CheckpointError(
            f"{len(gains)} blocks that are not scaled by 1/{len(gains) ** 2}, as DALL-E's are, are not read"
        )
    return found


def _walk(module: Any, prefix: str, seen: set[int]) -> Iterator[tuple[str, Module]]:
    """Every module and what stands ahead of the names of its parameters."""
    if not isinstance(module, Module) or id(module) in seen or prefix.count(".") > DEEPEST:
        raise ValueError("no tree of modules")
    seen.add(id(module))
    yield prefix, module
    for name, inner in _held(module, "_modules").items():
        yield from _walk(inner, f"{prefix}{name}.", seen)


def _held(module: Module, kind: str) -> Mapping[str, Any]:
    """What a module holds of a kind, without names that stand for nothing."""
    held = module.state.get(kind, {})
    if not isinstance(held, Mapping) or not all(isinstance(name, str) and "." not in name for name in held):
        raise ValueError("a module without names")
    return {name: value for name, value in held.items() if value is not None}
