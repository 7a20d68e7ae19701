"""Which parts of a model learn, epoch by epoch, and a look at whether they did.

What never learns in a run is settled by ``prepare``, before the optimizer is built; what merely rests for
some epochs is in the optimizer from the start, and has no gradient until its epoch comes.
"""

import hashlib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from vitreous.data.draws import drawing
from vitreous.errors import ConfigError, TrainingError, nearest
from vitreous.layers.lora import adapted_layers, inject, linear_layers
from vitreous.models.config import ModelConfig
from vitreous.models.layering import heads_of, layer_of, top_layer
from vitreous.models.model import Model
from vitreous.training.tuning_config import LoraConfig, TuningConfig


def prepare(model: Model, config: TuningConfig, seed: int) -> None:
    """Give a model its adapters, and put to rest what never learns; in place.

    Raises:
        ConfigError: a model without a head, or patterns that match no layer, with the layers that it has.
    """
    if config.train == "all":
        return
    heads = tuple(f"{head}." for head in heads_of(model.config))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(heads))
    if config.train == "lora":
        names = _targets(model, config.lora)
        with drawing("adapters", seed):
            try:
                inject(model, names, config.lora.rank, config.lora.alpha)
            except ConfigError as error:
                raise ConfigError(f"tuning.lora: {error}") from error
    if not any(name.startswith(heads) for name, _ in model.named_parameters()):
        raise ConfigError("the model has no head that could learn; wanted one that tells classes apart")


class Tuning:
    """What of one prepared model learns at the moment, in a run of so many epochs."""

    def __init__(self, model: nn.Module, config: TuningConfig, epochs: int) -> None:
        self.model, self.config, self.epochs = model, config, epochs
        self.learning = {name for name, value in model.named_parameters() if value.requires_grad}
        self.lowest: int | None = None  # layer that learns
        self.resting: tuple[nn.Module, ...] = ()
        self.kept = self._digests(model.state_dict()) if config.train != "all" else {}

    def scale(self, name: str) -> float:
        """What the learning rate of a parameter is multiplied by."""
        if self.config.layer_decay == 1:
            return 1.0
        return self.config.layer_decay ** (top_layer(self._shape) - layer_of(name, self._shape))

    def begin_epoch(self, epoch: int) -> bool:
        """Let learn what learns in this epoch, from 0; whether that is something else than before."""
        lowest = self._lowest(epoch)
        if lowest == self.lowest:
            return False
        self.lowest = lowest
        if self.config.scheduled:
            heads = tuple(f"{head}." for head in heads_of(self._shape))
            for name, parameter in self.model.named_parameters():
                if name in self.learning:
                    learns = name.startswith(heads) or layer_of(name, self._shape) >= lowest
                    parameter.requires_grad_(learns)
        self.resting = tuple(_resting(self.model))
        return True

    def rest(self) -> None:
        """Put what rests into evaluation mode, as whoever calls ``train`` has to: its batch norms keep their
        statistics, and it drops nothing, so that it is the same function in every step."""
        for module in self.resting:
            module.eval()

    @property
    def settled(self) -> bool:
        """Whether all that will ever learn does by now: before that, no gain is no reason to stop."""
        return self.lowest is not None and self.lowest <= self._lowest(self.epochs - 1)

    def plan(self) -> tuple[str, ...]:
        """A sentence on what will learn; none where it is all of the model, all the time."""
        config, (learn, total) = self.config, self._counts()
        share = f"{_counted(learn, total)} parameters learn ({learn / total:.1%})"
        if config.train == "lora":
            return (f"LoRA: {self._adapters()}; {share}",)
        if config.train == "head":
            return (f"the head alone: {share}",)
        if not config.scheduled:
            return ()
        alone = f"for {config.frozen_epochs} of {self.epochs} epochs the head learns alone"
        if config.unfreezing == "at_once":
            return (f"{alone}, then all of the model",)
        every = "epoch" if config.block_epochs == 1 else f"{config.block_epochs} epochs"
        downwards = f"one block more every {every}, from the top"
        below = self._lowest(self.epochs - 1)
        never = f"; the run ends before the lowest {below} layers learn" if below > 0 else ""
        return (f"{alone}, then {downwards}{never}" if config.frozen_epochs else f"{downwards}{never}",)

    def verified(self, *states: Mapping[str, Tensor]) -> tuple[str, ...]:
        """Look whether in these weights what was to learn has learnt, and nothing else; a sentence on it,
        none where all of the model was to learn.

        Raises:
            TrainingError: an adapter still adds nothing, or something that was to rest has changed.
        """
        if self.config.train == "all":
            return ()
        for state in states:
            self._verify(state)
        learn, total = self._counts()
        share = f"{_counted(learn, total)} parameters trained ({learn / total:.1%})"
        if self.config.train == "head":
            return (f"the head alone: {share}; no other weight has changed",)
        return (f"LoRA: {self._adapters()}, {share}; all have moved, and no other weight has changed",)

    def _verify(self, state: Mapping[str, Tensor]) -> None:
        for name, found in self._digests(state).items():
            if found != self.kept[name]:
                raise TrainingError(f"{name} was to rest, and is not what it was when the run began")
        for name in adapted_layers(self.model):
            if not state[f"{name}.up"].any():
                raise TrainingError(
                    f"the adapter of {name} has not moved from zero, so nothing was learnt there; give a"
                    " larger optimizer.learning_rate, or tuning.lora.targets without it"
                )

    @property
    def _shape(self) -> ModelConfig:
        if not isinstance(self.model, Model):
            raise ConfigError(f"a {type(self.model).__name__} cannot be tuned by layers; leave out tuning")
        shape: ModelConfig = self.model.config
        return shape

    def _lowest(self, epoch: int) -> int:
        """The lowest layer that learns in an epoch; one above the top where it is the head alone."""
        if not self.config.scheduled:
            return 0
        top, since = top_layer(self._shape), epoch - self.config.frozen_epochs
        if since < 0:
            return top + 1
        # The last norm belongs to no block; it begins with the highest.
        below = 1 + since // self.config.block_epochs
        return 0 if self.config.unfreezing == "at_once" else max(0, top - below)

    def _digests(self, state: Mapping[str, Tensor]) -> dict[str, bytes]:
        """Of every tensor that is to rest throughout, buffers among them."""
        return {name: digest(value) for name, value in state.items() if name not in self.learning}

    def _counts(self) -> tuple[int, int]:
        sizes = {name: value.numel() for name, value in self.model.named_parameters()}
        return sum(sizes[name] for name in self.learning), sum(sizes.values())

    def _adapters(self) -> str:
        count = len(adapted_layers(self.model))
        return f"{count} adapter{'s' * (count != 1)} of rank {self.config.lora.rank} and the head"


def digest(tensor: Tensor) -> bytes:
    """The SHA-256 of a tensor's numbers."""
    plain = tensor.detach().cpu().contiguous().flatten()
    return hashlib.sha256(plain.view(torch.uint8).numpy().data).digest()


def _targets(model: Model, config: LoraConfig) -> list[str]:
    """The layers that the patterns mean, the head left out: it learns as a whole."""
    heads = heads_of(model.config)
    names = [name for name in linear_layers(model) if not name.startswith(heads)]
    for pattern in config.patterns:
        if not any(_matches(name, pattern) for name in names):
            kinds = list(dict.fromkeys(_kind(name) for name in names))
            ends = [name.rpartition(".")[2] for name in kinds]
            raise ConfigError(
                f"tuning.lora.targets: {pattern!r} matches no layer that can have an adapter; the linear"
                f" layers below the head are {', '.join(kinds) or 'none'}{nearest(pattern, [*kinds, *ends])}"
            )
    return [name for name in names if any(_matches(name, pattern) for pattern in config.patterns)]


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"*.{pattern}")


def _kind(name: str) -> str:
    """The end of a name, behind its last number: what such a layer is called in every block."""
    parts = name.split(".")
    numbers = [place for place, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[numbers[-1] + 1 :] if numbers and numbers[-1] + 1 < len(parts) else parts)


def _resting(module: nn.Module) -> Iterator[nn.Module]:
    """The largest parts of which every parameter rests. What has no parameters does as what holds it."""
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        yield module
        return
    for child in module.children():
        yield from _resting(child)


def _counted(some: int, total: int) -> str:
    """0.3 of 5.5 million; small numbers in full."""
    if total < 1_000_000:
        return f"{some:,} of {total:,}"
    return f"{some / 1e6:.2g} of {total / 1e6:.1f} million"
