"""YOLOS as plain values: a plain ViT that is asked for objects by tokens of its own. No torch here."""

from dataclasses import dataclass

from vitreous.backbones.config import ViTConfig
from vitreous.errors import ConfigError
from vitreous.models.detr_config import LARGEST_QUERIES
from vitreous.models.on_backbone import OnBackbone


@dataclass(frozen=True, kw_only=True)
class YolosConfig(OnBackbone):
    """``queries`` are how many objects a picture may have at most. ``positions_between`` says that positions
    are told anew after every block but the last, as the larger published models do."""

    backbone: ViTConfig
    classes: int = 91
    queries: int = 100
    positions_between: bool = False

    def __post_init__(self) -> None:
        for name, size in (("classes", self.classes), ("queries", self.queries)):
            if size < 1:
                raise ConfigError(f"{name} must be 1 or more, got {size}")
        if self.queries > LARGEST_QUERIES:
            raise ConfigError(f"{self.queries} queries, more than {LARGEST_QUERIES} are refused")
        if self.backbone.attention != "plain":
            raise ConfigError(
                f"YOLOS needs plain attention, got {self.backbone.attention}: its queries stand among the"
                " patches, and only their positions tell them apart"
            )

    @property
    def prefix(self) -> int:
        """Tokens ahead of the patches: those of the ViT and the queries."""
        return self.backbone.prefix + self.queries
