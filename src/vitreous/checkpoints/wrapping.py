"""Where a training script put the weights: which of its entries they are, and which prefix their names
have. What was chosen is said; nothing is guessed where more than one choice would make sense.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from vitreous.checkpoints.weights import listed
from vitreous.errors import CheckpointError, printable

# The names under which training scripts save weights, the one that is taken first. Averaged weights and
# a teacher's are what such a training is measured by, so they stand ahead of the raw ones.
ENTRIES = (
    "model_ema", "state_dict_ema", "ema_state_dict", "ema", "teacher",
    "model", "state_dict", "model_state_dict", "module", "net", "network", "student",
)  # fmt: skip
# What wrappers of a model put ahead of every name.
PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "encoder.", "net.", "network.")
COUNTERS = ("n_averaged",)  # of torch's AveragedModel
# The projections of self-supervised training beside a backbone (DINO, iBOT, DINOv2).
PROJECTIONS = ("head.", "dino_head.", "ibot_head.")
SHOWN = 40  # letters of a value
WORDS = {
    "numpy.core.multiarray.scalar": "a number",
    "numpy._core.multiarray.scalar": "a number",
    "pathlib.PosixPath": "a path",
    "pathlib.WindowsPath": "a path",
}


class Wrapping(NamedTuple):
    """How weights lay in what was saved. ``taken`` is the entry that holds them, None for the top;
    ``beside`` the other entries and what each is; ``prefix`` what was taken off every name; ``dropped``
    tensors that belong to the training alone."""

    taken: str | None = None
    beside: Mapping[str, str] = {}
    prefix: str = ""
    dropped: tuple[str, ...] = ()

    def lineage(self) -> dict[str, Any]:
        """What is worth keeping beside the model, as JSON values; empty where there is nothing to say."""
        values: dict[str, Any] = {"entry": self.taken, "prefix": self.prefix}
        values |= {"beside": dict(self.beside), "dropped": list(self.dropped)}
        return {key: value for key, value in values.items() if value}


def choose_entry(saved: Any, name: str, is_tensor: Callable[[Any], bool], kind: str) -> Wrapping:
    """The entry of ``saved`` that holds the weights: the top if it is nothing but tensors, else the first
    of ``ENTRIES``, else the only one that is nothing but tensors.

    Raises:
        CheckpointError: there is none.
    """
    if not isinstance(saved, Mapping):
        raise CheckpointError(f"{name}: holds a {kind}, wanted tensors by name")
    if not saved:
        raise CheckpointError(f"{name}: wanted a state dict, tensors by name, but it is empty")

    def full(value: Any) -> bool:
        return isinstance(value, Mapping) and bool(value) and all(map(is_tensor, value.values()))

    if full(saved):
        return Wrapping()
    every = [str(key) for key, value in saved.items() if full(value)]
    named = [key for key in ENTRIES if key in every]
    if named or len(every) == 1:
        taken = (named or every)[0]
        beside = {str(key): describe(value, is_tensor) for key, value in saved.items() if key != taken}
        return Wrapping(taken, beside)
    if every:
        raise CheckpointError(
            f"{name}: several entries hold tensors, {listed(every)}; save one of them alone"
        )
    if any(is_tensor(value) for value in saved.values()):
        strange = [str(key) for key, value in saved.items() if not is_tensor(value)]
        what = f"{listed(map(printable, strange))} is no tensor"
        raise CheckpointError(f"{name}: wanted a state dict, tensors by name, but {what}")
    if "param_groups" in saved:
        raise CheckpointError(f"{name}: holds the state of an optimizer and no weights; wanted a state dict")
    entries = {printable(str(key))[:SHOWN]: describe(value, is_tensor) for key, value in saved.items()}
    held = listed(f"{key} ({what})" for key, what in entries.items())
    raise CheckpointError(f"{name}: holds no weights, wanted a state dict; it has {held}")


def describe(value: Any, is_tensor: Callable[[Any], bool]) -> str:
    """What an entry beside the weights is, in a few words."""
    if is_tensor(value):
        return "a tensor"
    if isinstance(value, Mapping):
        if "param_groups" in value:
            return "the state of an optimizer"
        if value and all(map(is_tensor, value.values())):
            return f"{len(value)} tensors"
        return f"{len(value)} values"
    if value is None or isinstance(value, bool | int | float | str):
        return printable(str(value))[:SHOWN]
    kind = getattr(value, "kind", None)
    if kind in WORDS:
        return WORDS[kind]
    if kind is not None:
        state = getattr(value, "state", None)
        return f"{len(state)} settings" if isinstance(state, Mapping) and state else f"a {kind}"
    return f"{len(value)} values" if isinstance(value, Sequence) else f"a {type(value).__name__}"


def peel(names: Sequence[str]) -> tuple[Wrapping, dict[str, str]]:
    """What wrappers put ahead of every name is taken off: how, and the bare names with the full ones."""
    dropped = tuple(name for name in names if name in COUNTERS)
    left = [name for name in names if name not in COUNTERS]
    prefix = ""
    while left:
        known = (prefix + word for word in PREFIXES)
        found = next((whole for whole in known if all(name.startswith(whole) for name in left)), None)
        if found is None:
            backbone, beside = _projected(left, prefix)
            if not beside:
                break
            left, dropped, found = backbone, (*dropped, *beside), f"{prefix}backbone."
        prefix = found
    if not prefix:
        return Wrapping(), {name: name for name in names}
    return Wrapping(prefix=prefix, dropped=dropped), {name.removeprefix(prefix): name for name in left}


def _projected(names: Sequence[str], prefix: str) -> tuple[list[str], list[str]]:
    """The backbone's names and those of a self-supervised training's heads; the latter empty unless the
    names are those two and nothing else."""
    backbone = [name for name in names if name.startswith(f"{prefix}backbone.")]
    beside = [name for name in names if not name.startswith(f"{prefix}backbone.")]
    heads = all(name.startswith(tuple(prefix + head for head in PROJECTIONS)) for name in beside)
    projects = any(part in name for name in beside for part in (".mlp.", ".last_layer."))
    return (backbone, beside) if backbone and heads and projects else ([], [])
