"""The shapes of whole families: a few numbers of a paper's table -> the configuration of a model of it.

Which numbers a name of the catalog stands for is in ``catalog.py``.
"""

from dataclasses import replace
from typing import Any

from vitreous.backbones.config import EncoderConfig, MiTConfig, SwinConfig, ViTConfig
from vitreous.backbones.convnet_config import ConvNetBackboneConfig
from vitreous.models.config import (
    ClassifierConfig,
    ConvNetConfig,
    ConvNetName,
    DeiTConfig,
    DetrConfig,
    MAEConfig,
    SegFormerConfig,
    SimMIMConfig,
    UPerNetConfig,
    YolosConfig,
)


def plain_vit(width: int, depth: int, heads: int, patch: int, image_size: int = 224) -> ViTConfig:
    """A ViT without a head, its MLPs four times as wide."""
    encoder = EncoderConfig(width=width, mlp_width=4 * width)
    side = (image_size, image_size)
    return ViTConfig(encoder=encoder, depth=depth, heads=heads, patch=patch, image_size=side)


def vit(width: int, depth: int, heads: int, patch: int, image_size: int = 224) -> ClassifierConfig:
    """ViT and a linear head."""
    return ClassifierConfig(backbone=plain_vit(width, depth, heads, patch, image_size))


def deit(width: int, depth: int, heads: int, patch: int, image_size: int = 224) -> DeiTConfig:
    """ViT with the token that learns from a teacher."""
    return DeiTConfig(
        backbone=replace(plain_vit(width, depth, heads, patch, image_size), distillation_token=True)
    )


def relative(
    width: int, depth: int, heads: int, patch: int, layer_scale: float, image_size: int = 224
) -> ViTConfig:
    """BEiT's backbone: no table of positions, but offsets in every block."""
    plain = plain_vit(width, depth, heads, patch, image_size)
    encoder = replace(plain.encoder, layer_scale=layer_scale)
    return replace(plain, encoder=encoder, positions="none", class_position=False, attention="relative")


def beit(
    width: int, depth: int, heads: int, patch: int, layer_scale: float, image_size: int = 224
) -> ClassifierConfig:
    """BEiT as a classifier: the normalised mean of its patches."""
    backbone = replace(relative(width, depth, heads, patch, layer_scale, image_size), final_norm=False)
    return ClassifierConfig(backbone=backbone, pool="mean", pool_norm=True)


def upernet(classifier: ClassifierConfig, taps: tuple[int, int, int, int]) -> UPerNetConfig:
    """The backbone of a classifier under a head for every place."""
    return UPerNetConfig(backbone=classifier.vit, taps=taps)


def mae(width: int, depth: int, heads: int, patch: int, image_size: int = 224, **decoder: Any) -> MAEConfig:
    """A masked autoencoder on a ViT with fixed positions."""
    backbone = replace(plain_vit(width, depth, heads, patch, image_size), positions="sincos2d")
    return MAEConfig(backbone=backbone, **decoder)


def convnet(architecture: ConvNetName, image_size: int = 224) -> ConvNetConfig:
    """A convolutional network to compare with."""
    return ConvNetConfig(architecture=architecture, image_size=(image_size, image_size))


def dinov2(width: int, depth: int, heads: int, image_size: int = 518, patch: int = 14) -> ClassifierConfig:
    """DINOv2's ViT under a linear head on the class token and the mean of the patches."""
    plain = plain_vit(width, depth, heads, patch, image_size)
    return ClassifierConfig(
        backbone=replace(plain, encoder=replace(plain.encoder, layer_scale=1e-5)), pool="class_mean"
    )


def gated(config: ClassifierConfig, mlp_width: int) -> ClassifierConfig:
    """The same with a gated MLP."""
    encoder = replace(config.vit.encoder, mlp="swiglu", mlp_width=mlp_width)
    return replace(config, backbone=replace(config.vit, encoder=encoder))


def dinov3(width: int, depth: int, heads: int, image_size: int = 256, patch: int = 16) -> ClassifierConfig:
    """DINOv3's ViT: rotary positions and four registers."""
    plain = plain_vit(width, depth, heads, patch, image_size)
    backbone = replace(
        plain,
        encoder=replace(plain.encoder, norm_eps=1e-5, layer_scale=1e-5),
        registers=4,
        positions="none",
        class_position=False,
        attention="rotary",
    )
    return ClassifierConfig(backbone=backbone)


def swin_backbone(
    width: int,
    depths: tuple[int, ...],
    heads: tuple[int, ...],
    window: int = 7,
    patch: int = 4,
    image_size: int = 224,
) -> SwinConfig:
    """Swin without a head."""
    side = (image_size, image_size)
    return SwinConfig(width=width, depths=depths, heads=heads, window=window, patch=patch, image_size=side)


def swin(width: int, depths: tuple[int, ...], heads: tuple[int, ...], **sizes: int) -> ClassifierConfig:
    """Swin as a classifier: the mean of its last map."""
    return ClassifierConfig(backbone=swin_backbone(width, depths, heads, **sizes), pool="mean")


def simmim(width: int, depths: tuple[int, ...], heads: tuple[int, ...], **sizes: int) -> SimMIMConfig:
    """Swin that paints what is hidden of a picture."""
    return SimMIMConfig(backbone=swin_backbone(width, depths, heads, **sizes))


MIT_WIDTHS = (64, 128, 320, 512)  # of B1 to B5


def mit(widths: tuple[int, ...], depths: tuple[int, ...], image_size: int = 512) -> MiTConfig:
    """SegFormer's backbone."""
    return MiTConfig(
        widths=widths, depths=depths, heads=(1, 2, 5, 8), drop_path=0.1, image_size=(image_size, image_size)
    )


def mit_classifier(widths: tuple[int, ...], depths: tuple[int, ...]) -> ClassifierConfig:
    """What the backbone of SegFormer is pretrained as."""
    return ClassifierConfig(backbone=mit(widths, depths, 224), pool="mean")


def segformer(widths: tuple[int, ...], depths: tuple[int, ...], decoder_width: int) -> SegFormerConfig:
    """MiT under the head of SegFormer."""
    return SegFormerConfig(backbone=mit(widths, depths), decoder_width=decoder_width)


def residual(depths: tuple[int, ...], image_size: int = 800) -> ConvNetBackboneConfig:
    """A residual network of bottlenecks at the paper's widths."""
    widths = (256, 512, 1024, 2048)[: len(depths)]
    side = (image_size, image_size)
    return ConvNetBackboneConfig(widths=widths, depths=depths, bottleneck=True, image_size=side)


def detr_tiny(backbone: ViTConfig | SwinConfig | ConvNetBackboneConfig) -> DetrConfig:
    """A small DETR on a small backbone."""
    return DetrConfig(
        backbone=backbone,
        width=128,
        encoder_depth=2,
        decoder_depth=3,
        heads=8,
        mlp_width=256,
        queries=16,
        dropout=0.0,
    )


def whole_map(width: int, depth: int, heads: int, patch: int, image_size: int) -> ViTConfig:
    """A plain ViT that nobody asks for one vector of a picture."""
    plain = plain_vit(width, depth, heads, patch, image_size)
    return replace(plain, class_token=False, class_position=False)


def yolos(width: int, depth: int, heads: int, *, positions_between: bool = False) -> YolosConfig:
    """A ViT with queries among its tokens, for pictures of 512x864 pixels as a published one."""
    backbone = replace(plain_vit(width, depth, heads, 16), image_size=(512, 864))
    return YolosConfig(backbone=backbone, positions_between=positions_between)
