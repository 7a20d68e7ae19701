"""What every configuration of a model on a backbone says alike; no torch here."""

from vitreous.backbones.config import BackboneConfig, ViTConfig
from vitreous.backbones.convnet_config import ConvNetBackboneConfig
from vitreous.errors import ConfigError


class OnBackbone:
    """What a configuration says of pictures, its backbone says."""

    backbone: BackboneConfig | ConvNetBackboneConfig

    @property
    def image_size(self) -> tuple[int, int]:
        """The native picture size (height, width) in pixels."""
        return self.backbone.image_size

    @property
    def channels(self) -> int:
        """3 for colour, 1 for grey."""
        return self.backbone.channels

    @property
    def vit(self) -> ViTConfig:
        """The backbone, for those who know that it is a plain ViT; ConfigError where it is none."""
        if not isinstance(self.backbone, ViTConfig):
            raise ConfigError(f"wanted a model on a plain ViT, got one on {type(self.backbone).__name__}")
        return self.backbone


class WithoutClasses(OnBackbone):
    """Of a model that is pretrained without classes."""

    @property
    def classes(self) -> int:
        """Pretraining tells no classes apart."""
        return 0
