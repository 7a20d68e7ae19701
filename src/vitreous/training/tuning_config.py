"""What of a model learns when a run goes on with its weights, as plain values; no torch here."""

from dataclasses import dataclass, field
from math import inf
from typing import Literal

from vitreous.errors import ConfigError
from vitreous.tasks.config import Truth

Learns = Literal["all", "head", "lora", "probe"]
Unfreezing = Literal["at_once", "top_down"]


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Low-rank adapters (arXiv:2106.09685). What an adapter adds is multiplied by ``alpha / rank``.

    ``targets`` are shell patterns of the names of linear layers, or of their ends behind any dot:
    "attention.qkv" is that layer of every block, "blocks.[0-3].*" all layers of the first four.
    """

    rank: int = 8
    alpha: float = 16.0
    targets: str | tuple[str, ...] = ("attention.qkv", "attention.projection")

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ConfigError(f"tuning.lora.rank must be 1 or more, got {self.rank}")
        if not 0 < self.alpha < inf:
            raise ConfigError(f"tuning.lora.alpha must be above 0, got {self.alpha}")
        if not self.patterns or not all(self.patterns):
            raise ConfigError("tuning.lora.targets names no layer; wanted patterns such as attention.qkv")

    @property
    def patterns(self) -> tuple[str, ...]:
        """The targets, one or many."""
        return (self.targets,) if isinstance(self.targets, str) else self.targets


@dataclass(frozen=True, kw_only=True)
class TuningConfig:
    """What learns, from when on, and how fast.

    train          "all"; "head": the backbone rests; "lora": adapters and the head; "probe": the head is
                   solved for on features of a backbone that rests, in no epochs at all
    frozen_epochs  the backbone rests for so many epochs while the head learns (arXiv:2202.10054)
    unfreezing     what happens then: all of it learns "at_once", or "top_down", one block more every
                   ``block_epochs`` epochs (arXiv:1801.06146, section 3.3)
    layer_decay    each layer's learning rate is that of the layer above it times so much, the head's the
                   whole (arXiv:2003.10555, arXiv:2106.08254); 1: all are alike
    """

    train: Learns = "all"
    frozen_epochs: int = 0
    unfreezing: Unfreezing = "at_once"
    block_epochs: int = 1
    layer_decay: float = 1.0
    lora: LoraConfig = field(default_factory=LoraConfig)

    def __post_init__(self) -> None:
        if self.frozen_epochs < 0:
            raise ConfigError(f"tuning.frozen_epochs must be 0 or more, got {self.frozen_epochs}")
        if self.block_epochs < 1:
            raise ConfigError(f"tuning.block_epochs must be 1 or more, got {self.block_epochs}")
        if not 0 < self.layer_decay <= 1:
            raise ConfigError(f"tuning.layer_decay must be above 0 and at most 1, got {self.layer_decay}")
        if self.train != "all":
            for name in ("frozen_epochs", "unfreezing", "layer_decay"):
                if getattr(self, name) != getattr(TuningConfig, name):
                    raise ConfigError(
                        f"tuning.{name} is for a backbone that learns, and with tuning.train={self.train} its"
                        " weights rest throughout; leave out one of the two"
                    )
        if self.unfreezing == "at_once" and self.block_epochs != 1:
            raise ConfigError("tuning.block_epochs is for tuning.unfreezing=top_down; give both")
        if self.train != "lora" and self.lora != LoraConfig():
            raise ConfigError("tuning.lora describes the adapters of tuning.train=lora; give both")

    @property
    def scheduled(self) -> bool:
        """Whether what learns changes on the way."""
        return self.frozen_epochs > 0 or self.unfreezing == "top_down"


def check_tunable(tuning: TuningConfig, epochs: int, *, goes_on: bool, truth: Truth) -> None:
    """ConfigError where a run of so many epochs cannot be tuned so. ``goes_on`` says whether it has weights
    to start from, ``truth`` what is told of its pictures."""
    changed = next((name for name in _FIELDS if getattr(tuning, name) != getattr(TuningConfig, name)), None)
    if changed is None:
        return
    said = f"tuning.{changed}={getattr(tuning, changed)}"
    if not goes_on:
        raise ConfigError(f"{said} is for weights that have learnt; say which ones with --from SOURCE")
    if truth == "nothing":
        raise ConfigError(
            f"{said} is for telling classes apart; without labels the whole model learns, so leave it out or"
            " take another --recipe"
        )
    if truth != "labels" and changed != "layer_decay":
        raise ConfigError(
            f"{said} is for labels of whole pictures; where {truth} are learnt all of the model learns, its"
            " lower layers slower with tuning.layer_decay"
        )
    if tuning.frozen_epochs >= epochs:
        raise ConfigError(
            f"tuning.frozen_epochs={tuning.frozen_epochs} leaves none of {epochs} epochs in which the"
            " backbone learns; wanted fewer, or tuning.train=head"
        )


_FIELDS = ("train", "frozen_epochs", "unfreezing", "layer_decay")
