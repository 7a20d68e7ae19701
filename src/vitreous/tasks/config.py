"""What a run is to learn, as plain values; no torch here. ``kind`` tells the configurations apart in a file.

Each kind of learning wants models of certain families: ``check_fits`` says so before any long work.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Literal

from vitreous.backbones.config import SwinConfig
from vitreous.data.masks import Blockwise, RandomUnits
from vitreous.errors import ConfigError
from vitreous.models.config import (
    DVAEConfig,
    MAEConfig,
    MaskedTokensConfig,
    ModelConfig,
    SimMIMConfig,
    family_of,
)

Balance = Literal["none", "loss", "sampling"]
Truth = Literal["labels", "objects", "regions", "nothing"]


@dataclass(frozen=True, kw_only=True)
class ClassificationConfig:
    """Cross-entropy against labels. ``balance``: each class counts as much as any other, because pictures of
    rare ones weigh more in the "loss", or because "sampling" draws them more often."""

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
    """SimMIM: paint the hidden squares of ``unit`` x ``unit`` pixels (arXiv:2111.09886, section 3); None: as
    large as what one cell of the last map stands for (32 for Swin)."""

    kind: Literal["masked_pixels"] = "masked_pixels"
    mask_ratio: float = 0.6
    unit: int | None = None

    def __post_init__(self) -> None:
        _check_ratio(self.mask_ratio)
        if self.unit is not None and self.unit < 1:
            raise ConfigError(f"task.unit must be 1 pixel or more, got {self.unit}")

    def masks(self, backbone: SwinConfig) -> RandomUnits:
        """What hides patches of native pictures. ConfigError where squares are made of no whole patches, or
        hide nothing or everything."""
        unit = self.unit or backbone.patch * 2 ** (len(backbone.depths) - 1)
        if unit % backbone.patch:
            raise ConfigError(
                f"task.unit must be a multiple of the patch of {backbone.patch} pixels, got {unit}"
            )
        return RandomUnits(grid=backbone.grid, unit=unit // backbone.patch, mask_ratio=self.mask_ratio)


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

    def masks(self, grid: tuple[int, int]) -> Blockwise:
        """What hides patches of a grid (rows, cols). ConfigError where that is none or all of them."""
        return Blockwise(
            grid=grid,
            mask_ratio=self.mask_ratio,
            smallest_block=self.smallest_block,
            aspect=self.aspect,
        )


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """dVAE: pictures as few discrete tokens, from which they are painted again (arXiv:2102.12092, section
    2.1). ``temperature`` of the Gumbel softmax falls from the first value to the second over the run, along
    half a cosine; ``divergence`` weighs, beside the error of the pixels, how far the choice of each token is
    from an even one, in nats: a little of it keeps more codes in use."""

    kind: Literal["tokenizer"] = "tokenizer"
    temperature: tuple[float, float] = (1.0, 0.0625)
    divergence: float = 0.003

    def __post_init__(self) -> None:
        if not all(0 < value < inf for value in self.temperature):
            raise ConfigError(f"task.temperature must be above 0, got {self.temperature}")
        if not 0 <= self.divergence < inf:
            raise ConfigError(f"task.divergence must be 0 or more, got {self.divergence}")


@dataclass(frozen=True, kw_only=True)
class SegmentationConfig:
    """A class for every pixel: cross-entropy over the pixels that take part.

    balance    "loss": pixels of rare classes weigh more (arXiv:1606.02147), by how often the training regions
               have each class
    dice       weight of the soft Dice loss beside the cross-entropy (arXiv:1606.04797); 0: off
    auxiliary  weight of the cross-entropy of an auxiliary head, where the model has one (arXiv:1612.01105)
    """

    kind: Literal["segmentation"] = "segmentation"
    balance: Literal["none", "loss"] = "none"
    dice: float = 0.0
    auxiliary: float = 0.4

    def __post_init__(self) -> None:
        for name in ("dice", "auxiliary"):
            if not 0 <= getattr(self, name) < inf:
                raise ConfigError(f"task.{name} must be 0 or more, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class DetectionConfig:
    """DETR: objects as a set (arXiv:2005.12872, section 3.1 and appendix A.4).

    class_cost, box_cost, overlap_cost        what giving an object to a query costs: that its class is
                                              unlikely, the distance of the boxes, their lacking overlap
    class_weight, box_weight, overlap_weight  the same in what is minimised
    no_object                                 what a query without an object weighs, beside 1 for one with
    """

    kind: Literal["detection"] = "detection"
    class_cost: float = 1.0
    box_cost: float = 5.0
    overlap_cost: float = 2.0
    class_weight: float = 1.0
    box_weight: float = 5.0
    overlap_weight: float = 2.0
    no_object: float = 0.1

    def __post_init__(self) -> None:
        costs = ("class_cost", "box_cost", "overlap_cost")
        for name in (*costs, "class_weight", "box_weight", "overlap_weight"):
            if not 0 <= getattr(self, name) < inf:
                raise ConfigError(f"task.{name} must be 0 or more, got {getattr(self, name)}")
        if not any(getattr(self, name) for name in costs):
            raise ConfigError(f"all costs of matching are 0; wanted one of {', '.join(costs)} above 0")
        if not 0 < self.no_object <= 1:
            raise ConfigError(f"task.no_object must be above 0 and at most 1, got {self.no_object}")


TaskConfig = (
    ClassificationConfig
    | DistillationConfig
    | MaskedAutoencodingConfig
    | MaskedPixelsConfig
    | VisualTokensConfig
    | TokenizerConfig
    | DetectionConfig
    | SegmentationConfig
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
    "detection": ("detr", "yolos"),
    "segmentation": ("segformer", "upernet"),
}

_TRUTHS: Mapping[str, Truth] = {"detection": "objects", "segmentation": "regions"}


def needs_labels(task: TaskConfig) -> bool:
    """Whether every training picture must have a class."""
    return isinstance(task, ClassificationConfig | DistillationConfig)


def truth_of(task: TaskConfig) -> Truth:
    """What must be told of every training picture."""
    return "labels" if needs_labels(task) else _TRUTHS.get(task.kind, "nothing")


def marks_places(task: TaskConfig) -> bool:
    """Whether boxes, or a class for each pixel, are learnt."""
    return truth_of(task) in ("objects", "regions")


def sources_of(task: TaskConfig) -> tuple[str, ...]:
    """The sources of weights that a task needs beside the model's own."""
    if isinstance(task, DistillationConfig):
        return (task.teacher,)
    return (task.tokenizer,) if isinstance(task, VisualTokensConfig) else ()


def balance_of(task: TaskConfig) -> Balance:
    """What is done about classes with fewer pictures than others."""
    return task.balance if isinstance(task, ClassificationConfig | DistillationConfig) else "none"


def views_of(task: TaskConfig) -> int:
    """How many random views each picture has, which the epochs take in turn; 0: a new one in every epoch."""
    return task.cached_views if isinstance(task, DistillationConfig) else 0


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
    """ConfigError unless models of this family learn so, and some of their patches are hidden, or tokens are
    painted, where that is how they learn."""
    family = family_of(model)
    wanted = TAUGHT[task.kind]
    if family in wanted:
        _check_masks(task, model)
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


def _check_masks(task: TaskConfig, model: ModelConfig) -> None:
    if isinstance(task, VisualTokensConfig) and isinstance(model, MaskedTokensConfig):
        task.masks(model.backbone.grid)
    elif isinstance(task, MaskedPixelsConfig) and isinstance(model, SimMIMConfig):
        task.masks(model.backbone)
    elif isinstance(model, DVAEConfig) and not model.decoder:
        raise ConfigError(
            "a discrete VAE learns by painting pictures from its tokens, and this one has no decoder; give"
            " one with both halves, or leave out model.options.decoder"
        )
    elif isinstance(task, MaskedAutoencodingConfig) and isinstance(model, MAEConfig):
        patches = model.backbone.grid[0] * model.backbone.grid[1]
        if model.visible(patches) == patches:
            raise ConfigError(
                f"a mask_ratio of {model.mask_ratio} hides none of {patches} patches, and a masked"
                " autoencoder learns from hidden ones; give a higher one: --set model.options.mask_ratio=0.75"
            )


def _check_smoothing(smoothing: float) -> None:
    if not 0 <= smoothing < 1:
        raise ConfigError(f"task.smoothing is a share from 0 to below 1, got {smoothing}")


def _check_ratio(ratio: float) -> None:
    if not 0 < ratio < 1:
        raise ConfigError(
            f"task.mask_ratio must hide some patches and leave some: wanted above 0 and below 1, got {ratio}"
        )
