"""The model that a configuration describes, whichever family it is of."""

from vitreous.backbones.config import SwinConfig
from vitreous.backbones.interface import Backbone
from vitreous.backbones.swin import build_swin
from vitreous.backbones.vit import build_vit
from vitreous.models.beit import MaskedTokens
from vitreous.models.classifier import Classifier
from vitreous.models.config import (
    ClassifierConfig,
    ConvNetConfig,
    DeiTConfig,
    DVAEConfig,
    MaskedTokensConfig,
    ModelConfig,
    SimMIMConfig,
    UPerNetConfig,
)
from vitreous.models.deit import DeiT
from vitreous.models.dvae import DVAE
from vitreous.models.mae import build_mae
from vitreous.models.model import Model
from vitreous.models.simmim import SimMIM
from vitreous.models.upernet import UPerNet


def build_model(config: ModelConfig) -> Model:
    """The model with random weights."""
    if isinstance(config, ClassifierConfig):
        backbone: Backbone
        if isinstance(config.backbone, SwinConfig):
            backbone = build_swin(config.backbone)
        else:
            backbone = build_vit(config.backbone)
        return Classifier(config, backbone)
    if isinstance(config, ConvNetConfig):
        from vitreous.models.convnet import ConvNet  # torchvision, which takes a second to import

        return ConvNet(config)
    if isinstance(config, DeiTConfig):
        return DeiT(config, build_vit(config.backbone))
    if isinstance(config, MaskedTokensConfig):
        return MaskedTokens(config, build_vit(config.backbone))
    if isinstance(config, SimMIMConfig):
        return SimMIM(config, build_swin(config.backbone))
    if isinstance(config, UPerNetConfig):
        return UPerNet(config, build_vit(config.backbone))
    if isinstance(config, DVAEConfig):
        return DVAE(config)
    return build_mae(config)
