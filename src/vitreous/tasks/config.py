"""What a run is to learn, as plain values; no torch here. ``kind`` tells the configurations apart in a file.

Each kind of learning wants models of certain families: ``check_fits`` says so before any long work.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Literal

from vitreous.errors import ConfigError
from vitreous.models.config import ModelConfig, family_of

Balance = Literal["none", "loss", "sampling"]


@dataclass(frozen=True, kw_only=True)
class ClassificationConfig:
    """Cross-entropy against labels. ``balance``: rare classes weigh more in the loss, or are drawn more
    often."""

    kind: Literal["classification"] = "classification"
    smoothing: float = 0.1  # of the labels
    balance: Balance = "none"

    def __post_init__(self) -> None:
        _check_smoothing(self.smoothing)


@dataclass(frozen=True, kw_only=True)
class DistillationConfig:
    """Labels and a teacher (arXiv:2012.12877, section 4; arXiv:1503.02531).

    teacher       a source of weights that tells the same classes apart
    targets       "hard": the teacher's answer is the label; "soft": its whole distribution
    share         of the loss that the teacher has (lambda); the labels have the rest
    temperature   divides the logits of both before "soft" compares them
    features      weight of the distance between the pooled features of both, beside the rest; 0: off
    cached_views  0: the teacher is asked about every view as it comes; n: each picture has n views, about
                  which it is asked once
    """

    kind: Literal["distillation"] = "distillation"
    teacher: str = ""
    smoothing: float = 0.1
    balance: Balance = "none"
    targets: Literal["hard", "soft"] = "hard"
    share: float = 0.5
    temperature: float = 3.0
    features: float = 0.0
    cached_views: int = 0

    def __post_init__(self) -> None:
        _check_smoothing(self.smoothing)
        if not 0 <= self.share <= 1:
            raise ConfigError(f"task.share is a share from 0 to 1, got {self.share}")
        if not 0 < self.temperature < inf:
            raise ConfigError(f"task.temperature must be above 0, got {self.temperature}")
        if not 0 <= self.features < inf:
            raise ConfigError(f"task.features must be 0 or more, got {self.features}")
        if not 0 <= self.cached_views <= 1000:
            raise ConfigError(f"task.cached_views must be from 0 to 1000, got {self.cached_views}")


@dataclass(frozen=True, kw_only=True)
class MaskedAutoencodingConfig:
    """MAE: rebuild the hidden patches (arXiv:2111.06377). How many are hidden, and whether the targets are
    normalised, are the model's own options ``mask_ratio`` and ``normalised_targets``."""

    kind: Literal["masked_autoencoding"] = "masked_autoencoding"


@dataclass(frozen=True, kw_only=True)
class MaskedPixelsConfig:
    """SimMIM: paint the hidden squares of ``unit`` x ``unit`` pixels (arXiv:2111.09886, section 3)."""

    kind: Literal["masked_pixels"] = "masked_pixels"
    mask_ratio: float = 0.6
    unit: int = 32

    def __post_init__(self) -> None:
        _check_ratio(self.mask_ratio)
        if self.unit < 1:
            raise ConfigError(f"task.unit must be 1 pixel or more, got {self.unit}")


@dataclass(frozen=True, kw_only=True)
class VisualTokensConfig:
    """BEiT: say which visual token a hidden patch has (arXiv:2106.08254, section 2.3 and algorithm 1).

    tokenizer       a source of dVAE weights; its tokens are the answers
    mask_ratio      share of the patches that is hidden, in rectangles
    smallest_block  patches of the smallest rectangle; None: a twelfth of all (16 of 196)
    aspect          of the flattest rectangle, height to width or width to height
    """

    kind: Literal["visual_tokens"] = "visual_tokens"
    tokenizer: str = ""
    mask_ratio: float = 0.4
    smallest_block: int | None = None
    aspect: float = 0.3

    def __post_init__(self) -> None:
        _check_ratio(self.mask_ratio)
        if self.smallest_block is not None and self.smallest_block < 1:
            raise ConfigError(f"task.smallest_block must be 1 or more, got {self.smallest_block}")
        if not 0 < self.aspect <= 1:
            raise ConfigError(f"task.aspect must be above 0 and at most 1, got {self.aspect}")


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """dVAE: pictures as few discrete tokens, from which they are painted again (arXiv:2102.12092, section
    2.1). ``temperature`` of the Gumbel softmax falls from the first value to the second over the run;
    ``divergence`` weighs how far the use of tokens is from even."""

    kind: Literal["tokenizer"] = "tokenizer"
    temperature: tuple[float, float] = (1.0, 0.0625)
    divergence: float = 0.0

    def __post_init__(self) -> None:
        if not all(0 < value < inf for value in self.temperature):
            raise ConfigError(f"task.temperature must be above 0, got {self.temperature}")
        if not 0 <= self.divergence < inf:
            raise ConfigError(f"task.divergence must be 0 or more, got {self.divergence}")


TaskConfig = (
    ClassificationConfig
    | DistillationConfig
    | MaskedAutoencodingConfig
    | MaskedPixelsConfig
    | VisualTokensConfig
    | TokenizerConfig
)

_CLASSIFIERS = ("vit", "beit", "rotary", "swin", "deit", "convnet")

# The families of models that each kind of learning teaches.
TAUGHT: Mapping[str, tuple[str, ...]] = {
    "classification": _CLASSIFIERS,
    "distillation": _CLASSIFIERS,
    "masked_autoencoding": ("mae",),
    "masked_pixels": ("simmim",),
    "visual_tokens": ("beit_masked",),
    "tokenizer": ("dvae",),
}


def needs_labels(task: TaskConfig) -> bool:
    """Whether every training picture must have a class."""
    return isinstance(task, ClassificationConfig | DistillationConfig)


def check_complete(task: TaskConfig) -> None:
    """ConfigError where something that has no default was not said."""
    if isinstance(task, DistillationConfig) and not task.teacher:
        raise ConfigError("distillation needs a teacher; give --set task.teacher=SOURCE")
    if isinstance(task, VisualTokensConfig) and not task.tokenizer:
        raise ConfigError(
            "BEiT's pretraining needs a tokenizer; give --set task.tokenizer=SOURCE, or train one with"
            " --recipe tokenizer"
        )


def check_fits(task: TaskConfig, model: ModelConfig) -> None:
    """ConfigError unless models of this family learn so."""
    family = family_of(model)
    wanted = TAUGHT[task.kind]
    if family in wanted:
        return
    others = [kind for kind, families in TAUGHT.items() if family in families]
    if not others:
        raise ConfigError(
            f"a model of the family {family} cannot be trained here yet; wanted one of"
            f" {', '.join(sorted({name for names in TAUGHT.values() for name in names}))}"
        )
    raise ConfigError(
        f"{task.kind} teaches models of the family {' or '.join(wanted)}, got one of {family}, which learns"
        f" by {' or '.join(others)}; give another --model or --recipe"
    )


def _check_smoothing(smoothing: float) -> None:
    if not 0 <= smoothing < 1:
        raise ConfigError(f"task.smoothing is a share from 0 to below 1, got {smoothing}")


def _check_ratio(ratio: float) -> None:
    if not 0 < ratio < 1:
        raise ConfigError(
            f"task.mask_ratio must hide some patches and leave some: wanted above 0 and below 1, got {ratio}"
        )
