"""The configurations of models as plain values, one class for each kind of head; no torch here.

Every model's configuration has ``classes`` (0 where it tells none apart), ``image_size`` (height,
width) in pixels and ``channels``. ``family_of`` names what a paper would call it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from vitreous.backbones.config import (
    EncoderConfig,
    MiTConfig,
    PositionResize,
    SwinConfig,
    ViTConfig,
)
from vitreous.errors import ConfigError, nearest
from vitreous.models.detr_config import DetrConfig as DetrConfig
from vitreous.models.dvae_config import DVAEConfig as DVAEConfig
from vitreous.models.on_backbone import OnBackbone, WithoutClasses
from vitreous.models.segformer_config import SegFormerConfig as SegFormerConfig
from vitreous.models.yolos_config import YolosConfig as YolosConfig

Pool = Literal["class", "mean", "class_mean"]
Head = Literal["linear", "mlp"]
Says = Literal["classes", "objects", "regions"]
ConvNetName = Literal[
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_b5",
    "efficientnet_b6",
    "efficientnet_b7",
    "regnet_y_400mf",
    "regnet_y_800mf",
    "regnet_y_1_6gf",
    "regnet_y_3_2gf",
    "regnet_y_8gf",
    "regnet_y_16gf",
    "regnet_y_32gf",
    "regnet_y_128gf",
]


LARGEST_HEAD = 16  # convolutions of an auxiliary head, scales of pooling; published ones have 1 and 4
LARGEST_POOL = 64
LEVELS = 4  # maps in a pyramid of features


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(OnBackbone):
    """A backbone with a head. ``pool`` "class_mean" lays the class token and the mean of the patches side by
    side (DINOv2); ``pool_norm`` normalises after pooling, in the place of the backbone's final norm;
    ``head`` "mlp" is the ViT paper's pretraining head, one hidden layer with tanh."""

    backbone: ViTConfig | SwinConfig | MiTConfig
    classes: int = 1000
    pool: Pool = "class"
    pool_norm: bool = False
    head: Head = "linear"

    def __post_init__(self) -> None:
        _check_classes(self.classes)
        has_class = isinstance(self.backbone, ViTConfig) and self.backbone.class_token
        if self.pool != "mean" and not has_class:
            raise ConfigError(f"pool {self.pool!r} needs a class token; give pool=mean or class_token=true")

    @property
    def pooled(self) -> int:
        """How many numbers the head is given."""
        return self.backbone.out_channels * (2 if self.pool == "class_mean" else 1)


@dataclass(frozen=True, kw_only=True)
class DeiTConfig(OnBackbone):
    """A ViT with a class and a distillation token, each with a head of its own."""

    backbone: ViTConfig
    classes: int = 1000

    def __post_init__(self) -> None:
        _check_classes(self.classes)
        if not (self.backbone.class_token and self.backbone.distillation_token):
            raise ConfigError("DeiT needs a class token and a distillation token")


@dataclass(frozen=True, kw_only=True)
class MaskedTokensConfig(WithoutClasses):
    """BEiT's pretraining: hidden patches are replaced by a mask token, and a head says which visual token
    each patch had. ``head_norm`` normalises once more between backbone and head."""

    backbone: ViTConfig
    visual_tokens: int = 8192
    head_norm: bool = False

    def __post_init__(self) -> None:
        if self.visual_tokens < 1:
            raise ConfigError(f"visual_tokens must be 1 or more, got {self.visual_tokens}")


@dataclass(frozen=True, kw_only=True)
class MAEConfig(WithoutClasses):
    """A masked autoencoder: the backbone sees the visible patches only, a light decoder rebuilds the rest.
    Norm epsilon and activation of the decoder are the backbone's. ``normalised_targets`` says what the
    rebuilt patches stand for: pixels, or pixels of which each patch's mean and deviation were taken away."""

    backbone: ViTConfig
    decoder_width: int = 512
    decoder_depth: int = 8
    decoder_heads: int = 16
    decoder_mlp_width: int = 2048
    decoder_positions: Literal["learned", "sincos2d"] = "sincos2d"
    decoder_position_resize: PositionResize = "antialias"
    mask_ratio: float = 0.75  # share of the patches that is hidden
    normalised_targets: bool = False

    def __post_init__(self) -> None:
        if not self.backbone.class_token:
            raise ConfigError("a masked autoencoder needs a class token")
        if self.backbone.attention != "plain":
            raise ConfigError(
                f"a masked autoencoder needs plain attention, got {self.backbone.attention}: which patches"
                " its encoder sees changes, and only their positions tell where they are"
            )
        for name in ("decoder_width", "decoder_depth", "decoder_heads", "decoder_mlp_width"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.decoder_width % self.decoder_heads:
            raise ConfigError(
                f"decoder width {self.decoder_width} cannot be shared by {self.decoder_heads} heads"
            )
        if self.decoder_positions == "sincos2d" and self.decoder_width % 4:
            raise ConfigError(f"sincos2d positions need a width divisible by 4, got {self.decoder_width}")
        if not 0 <= self.mask_ratio < 1:
            raise ConfigError(f"mask_ratio is a share from 0 to below 1, got {self.mask_ratio}")
        self.visible(self.backbone.grid[0] * self.backbone.grid[1])

    def visible(self, patches: int) -> int:
        """V, how many of so many patches the encoder sees. ConfigError where that is none."""
        visible = int(patches * (1 - self.mask_ratio))
        if visible < 1:
            raise ConfigError(
                f"mask_ratio {self.mask_ratio} hides all {patches} patches; wanted a lower one, smaller"
                " patches or a larger picture"
            )
        return visible

    @property
    def decoder(self) -> EncoderConfig:
        """The stack of blocks that rebuilds."""
        return replace(
            self.backbone.encoder,
            width=self.decoder_width,
            mlp_width=self.decoder_mlp_width,
            layer_scale=None,
            drop_path=0.0,
        )


@dataclass(frozen=True, kw_only=True)
class SimMIMConfig(WithoutClasses):
    """SimMIM's pretraining of Swin: hidden patches are replaced by a mask token, and one layer rebuilds the
    picture from the last map."""

    backbone: SwinConfig


@dataclass(frozen=True, kw_only=True)
class ConvNetConfig:
    """A convolutional network of torchvision: rival, teacher and baseline."""

    architecture: ConvNetName
    classes: int = 1000
    image_size: tuple[int, int] = (224, 224)
    channels: int = 3

    def __post_init__(self) -> None:
        _check_classes(self.classes)
        known = get_args(ConvNetName)
        if self.architecture not in known:
            tail = nearest(str(self.architecture), known)
            raise ConfigError(f"unknown convolutional network {self.architecture!r}{tail}")
        if self.channels != 3:
            raise ConfigError(f"{self.architecture} takes 3 channels, got {self.channels}")
        if min(self.image_size) < 1:
            raise ConfigError(f"image size must be positive, got {self.image_size}")


@dataclass(frozen=True, kw_only=True)
class UPerNetConfig(OnBackbone):
    """A class for each place: the maps after four blocks of a ViT (``taps``; 0 is the embedded patches), a
    pyramid of them, and an auxiliary head for training, whose depth of 0 means none."""

    backbone: ViTConfig
    taps: tuple[int, int, int, int]
    classes: int = 150
    pool_scales: tuple[int, ...] = (1, 2, 3, 6)
    auxiliary_depth: int = 1
    auxiliary_width: int = 256
    auxiliary_join: bool = False  # lay the auxiliary head's input beside what came out of it

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise ConfigError(f"classes must be 1 or more, got {self.classes}")
        if not all(0 <= tap <= self.backbone.depth for tap in self.taps):
            taps = ", ".join(map(str, self.taps))
            raise ConfigError(f"taps are blocks from 0 to {self.backbone.depth}, got {taps}")
        scales = self.pool_scales
        if not 1 <= len(scales) <= LARGEST_HEAD or not 1 <= min(scales) <= max(scales) <= LARGEST_POOL:
            raise ConfigError(
                f"pool_scales must be 1 to {LARGEST_HEAD} values from 1 to {LARGEST_POOL},"
                f" got {len(scales)} from {min(scales, default=0)} to {max(scales, default=0)}"
            )
        if not 0 <= self.auxiliary_depth <= LARGEST_HEAD:
            raise ConfigError(f"auxiliary_depth must be 0 to {LARGEST_HEAD}, got {self.auxiliary_depth}")
        if self.auxiliary_width < 1:
            raise ConfigError(f"auxiliary_width must be 1 or more, got {self.auxiliary_width}")
        if min(self.backbone.grid) < 2:
            rows, cols = self.backbone.grid
            raise ConfigError(f"UPerNet needs two rows and two columns of patches, got {rows}x{cols}")


ModelConfig = (
    ClassifierConfig
    | DeiTConfig
    | MaskedTokensConfig
    | MAEConfig
    | SimMIMConfig
    | UPerNetConfig
    | SegFormerConfig
    | DetrConfig
    | YolosConfig
    | DVAEConfig
    | ConvNetConfig
)

# What a checkpoint's "family" is read with; several families share a configuration.
FAMILIES: Mapping[str, type[ModelConfig]] = {
    "vit": ClassifierConfig,
    "beit": ClassifierConfig,
    "rotary": ClassifierConfig,
    "swin": ClassifierConfig,
    "mit": ClassifierConfig,
    "deit": DeiTConfig,
    "beit_masked": MaskedTokensConfig,
    "mae": MAEConfig,
    "simmim": SimMIMConfig,
    "upernet": UPerNetConfig,
    "segformer": SegFormerConfig,
    "detr": DetrConfig,
    "yolos": YolosConfig,
    "dvae": DVAEConfig,
    "convnet": ConvNetConfig,
}


def family_of(config: ModelConfig) -> str:
    """The family that a configuration belongs to, one of ``FAMILIES``."""
    if isinstance(config, ClassifierConfig):
        if isinstance(config.backbone, SwinConfig):
            return "swin"
        if isinstance(config.backbone, MiTConfig):
            return "mit"
        return {"plain": "vit", "relative": "beit", "rotary": "rotary"}[config.backbone.attention]
    kinds = {
        DeiTConfig: "deit",
        MaskedTokensConfig: "beit_masked",
        MAEConfig: "mae",
        SimMIMConfig: "simmim",
        UPerNetConfig: "upernet",
        SegFormerConfig: "segformer",
        DetrConfig: "detr",
        YolosConfig: "yolos",
        DVAEConfig: "dvae",
        ConvNetConfig: "convnet",
    }
    return kinds[type(config)]


def is_classifier(config: ModelConfig) -> bool:
    """Whether the model says of a whole picture which class it shows."""
    return isinstance(config, ClassifierConfig | DeiTConfig | ConvNetConfig)


def says_of(config: ModelConfig | None) -> Says:
    """What a model says of a picture: classes of the whole of it, which are none where it tells none apart,
    objects with their boxes, or the class of each pixel."""
    if isinstance(config, DetrConfig | YolosConfig):
        return "objects"
    return "regions" if isinstance(config, SegFormerConfig | UPerNetConfig) else "classes"


def way_to_classes(config: ModelConfig | None) -> str:
    """Where a classifier comes from, as the end of a sentence about a model that is none."""
    if isinstance(config, DVAEConfig):
        return "pretrain one with its tokens (--recipe beit --set task.tokenizer=SOURCE), and tune that"
    return "tune one from these weights with vitreous train --from"


def with_image_size(config: ModelConfig, image_size: tuple[int, int]) -> ModelConfig:
    """The same model for another native picture size (height, width) in pixels."""
    if isinstance(config, ConvNetConfig | DVAEConfig):
        return replace(config, image_size=image_size)
    backbone: Any = replace(config.backbone, image_size=image_size)
    return replace(config, backbone=backbone)


def _check_classes(classes: int) -> None:
    if classes < 0:
        raise ConfigError(f"classes must be 0 (no head) or more, got {classes}")
