"""The configuration of a classifier as plain values; no torch here."""

from dataclasses import dataclass
from typing import Literal

from vitreous.backbones.config import ViTConfig
from vitreous.errors import ConfigError

Pool = Literal["class", "mean"]
Head = Literal["linear", "mlp"]


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """A ViT with a head. ``head`` "mlp" is the paper's pretraining head, one hidden layer with tanh;
    ``pool_norm`` normalises after mean pooling, in the place of the encoder's final norm."""

    backbone: ViTConfig
    classes: int = 1000
    pool: Pool = "class"
    pool_norm: bool = False
    head: Head = "linear"

    def __post_init__(self) -> None:
        if self.classes < 0:
            raise ConfigError(f"classes must be 0 (no head) or more, got {self.classes}")
        if self.pool == "class" and not self.backbone.class_token:
            raise ConfigError("pool 'class' needs a class token; give pool=mean or class_token=true")
