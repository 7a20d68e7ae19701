"""What a model costs, counted from its configuration alone: no weights, no picture.

A multiply-accumulate (MAC) is one multiplication and one addition, so two FLOPs. Many published
"GFLOPs" of vision models are giga-MACs. Counted are the matrix products and convolutions, as torch's
own FLOP counter does; norms, softmax and additions are left out (below 1% of a ViT).
"""

from vitreous.backbones.config import MiTConfig, SwinConfig
from vitreous.models.accounting.convnet import account_convnet
from vitreous.models.accounting.detr import account_detr
from vitreous.models.accounting.dvae import account_dvae
from vitreous.models.accounting.mix_transformer import account_mix_transformer
from vitreous.models.accounting.plain import Account, account_autoencoder, account_plain, under_head
from vitreous.models.accounting.segformer import account_segformer
from vitreous.models.accounting.swin import account_swin
from vitreous.models.accounting.upernet import account_upernet
from vitreous.models.accounting.yolos import account_yolos
from vitreous.models.config import (
    ConvNetConfig,
    DetrConfig,
    DVAEConfig,
    MAEConfig,
    ModelConfig,
    SegFormerConfig,
    SimMIMConfig,
    UPerNetConfig,
    YolosConfig,
)

__all__ = ["Account", "account"]


def account(config: ModelConfig, image_size: tuple[int, int] | None = None) -> Account:
    """Count a model at a picture size (height, width) in pixels; None is its native one."""
    size = image_size or config.image_size
    if isinstance(config, ConvNetConfig):
        return account_convnet(config, size)
    if isinstance(config, DVAEConfig):
        return account_dvae(config, size)
    if isinstance(config, MAEConfig):
        return account_autoencoder(config, size)
    if isinstance(config, UPerNetConfig):
        return account_upernet(config, size)
    if isinstance(config, DetrConfig):
        return account_detr(config, size)
    if isinstance(config, YolosConfig):
        return account_yolos(config, size)
    if isinstance(config, SegFormerConfig):
        return account_segformer(config, size)
    if isinstance(config, SimMIMConfig):
        return account_swin(config, size)
    if isinstance(config.backbone, SwinConfig):
        return account_swin(config, size)
    if isinstance(config.backbone, MiTConfig):
        return under_head(config, account_mix_transformer(config.backbone, size))
    return account_plain(config, config.backbone, size)
