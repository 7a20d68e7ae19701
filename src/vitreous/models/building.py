"""The model that a configuration describes, whichever family it is of."""

from vitreous.backbones.config import BackboneConfig, MiTConfig, SwinConfig
from vitreous.backbones.convnet_config import ConvNetBackboneConfig
from vitreous.backbones.interface import Backbone
from vitreous.backbones.mix_transformer import build_mix_transformer
from vitreous.backbones.swin import build_swin
from vitreous.backbones.vit import build_vit
from vitreous.models.beit import MaskedTokens
from vitreous.models.classifier import Classifier
from vitreous.models.config import (
    ClassifierConfig,
    ConvNetConfig,
    DeiTConfig,
    DetrConfig,
    DVAEConfig,
    MaskedTokensConfig,
    ModelConfig,
    SegFormerConfig,
    SimMIMConfig,
    UPerNetConfig,
    YolosConfig,
)
from vitreous.models.deit import DeiT
from vitreous.models.detr import Detr
from vitreous.models.dvae import DVAE
from vitreous.models.mae import build_mae
from vitreous.models.model import Model
from vitreous.models.segformer import SegFormer
from vitreous.models.simmim import SimMIM
from vitreous.models.upernet import UPerNet
from vitreous.models.yolos import Yolos


def build_model(config: ModelConfig) -> Model:
    """The model with random weights."""
    if isinstance(config, ClassifierConfig):
        return Classifier(config, build_backbone(config.backbone))
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
    if isinstance(config, SegFormerConfig):
        return SegFormer(config, build_backbone(config.backbone))
    if isinstance(config, DetrConfig):
        return Detr(config, build_backbone(config.backbone))
    if isinstance(config, YolosConfig):
        return Yolos(config, build_vit(config.backbone))
    if isinstance(config, DVAEConfig):
        return DVAE(config)
    return build_mae(config)


def build_backbone(config: BackboneConfig | ConvNetBackboneConfig) -> Backbone:
    """The backbone with random weights."""
    if isinstance(config, ConvNetBackboneConfig):
        from vitreous.backbones.convnet import ConvNetBackbone  # torchvision, which takes a second to import

        return ConvNetBackbone(config)
    if isinstance(config, SwinConfig):
        return build_swin(config)
    return build_mix_transformer(config) if isinstance(config, MiTConfig) else build_vit(config)
