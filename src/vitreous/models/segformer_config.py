"""SegFormer as plain values: any backbone, and one head over all its maps. No torch here."""

from dataclasses import dataclass

from vitreous.backbones.config import MiTConfig, SwinConfig, ViTConfig
from vitreous.errors import ConfigError
from vitreous.models.on_backbone import OnBackbone


@dataclass(frozen=True, kw_only=True)
class SegFormerConfig(OnBackbone):
    """A class for each place: every map of the backbone is brought to ``decoder_width`` and to the finest
    map's size, and one layer reads them all. ``decoder_dropout`` is the share of channels that a picture
    learns without, ahead of the last layer."""

    backbone: MiTConfig | ViTConfig | SwinConfig
    classes: int = 150
    decoder_width: int = 256
    decoder_dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise ConfigError(f"classes must be 1 or more, got {self.classes}")
        if self.decoder_width < 1:
            raise ConfigError(f"decoder_width must be 1 or more, got {self.decoder_width}")
        if not 0 <= self.decoder_dropout < 1:
            raise ConfigError(f"decoder_dropout is a share from 0 to below 1, got {self.decoder_dropout}")

    @property
    def map_widths(self) -> tuple[int, ...]:
        """Channels of each of the backbone's maps, fine to coarse."""
        return (self.backbone.out_channels,) if isinstance(self.backbone, ViTConfig) else self.backbone.widths
