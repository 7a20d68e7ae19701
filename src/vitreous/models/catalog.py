"""Every model by name: one table of sizes, and what a name's options may be. No torch here; it is
imported when a model is built.

Sizes: ViT Ti and S are DeiT's (arXiv:2012.12877, table 1), B, L and H the ViT paper's (arXiv:2010.11929,
table 1); BEiT arXiv:2106.08254, MAE arXiv:2111.06377, DINOv2 arXiv:2304.07193 (table 17), DINOv3
arXiv:2508.10104, Swin arXiv:2103.14030, SimMIM arXiv:2111.09886, SegFormer and its MiT arXiv:2105.15203
(table 6), DETR arXiv:2005.12872, YOLOS arXiv:2106.00666, dVAE arXiv:2102.12092. A ``_tiny`` member is small
enough to learn on two CPU cores in minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from vitreous.backbones.config import MiTConfig
from vitreous.backbones.convnet_config import ConvNetBackboneConfig
from vitreous.config import from_plain, to_plain
from vitreous.errors import ConfigError, nearest
from vitreous.models import sizes
from vitreous.models.config import (
    DetrConfig,
    DVAEConfig,
    MaskedTokensConfig,
    ModelConfig,
    SegFormerConfig,
    YolosConfig,
)

if TYPE_CHECKING:
    from vitreous.models.model import Model


CATALOG: Mapping[str, ModelConfig] = {
    # name                width  depth heads patch
    "vit_tiny": sizes.vit(64, 4, 4, 4, image_size=32),
    "vit_ti_8": sizes.vit(192, 12, 3, 8),
    "vit_ti_14": sizes.vit(192, 12, 3, 14),
    "vit_ti_16": sizes.vit(192, 12, 3, 16),
    "vit_ti_32": sizes.vit(192, 12, 3, 32),
    "vit_s_8": sizes.vit(384, 12, 6, 8),
    "vit_s_14": sizes.vit(384, 12, 6, 14),
    "vit_s_16": sizes.vit(384, 12, 6, 16),
    "vit_s_32": sizes.vit(384, 12, 6, 32),
    "vit_b_8": sizes.vit(768, 12, 12, 8),
    "vit_b_14": sizes.vit(768, 12, 12, 14),
    "vit_b_16": sizes.vit(768, 12, 12, 16),
    "vit_b_32": sizes.vit(768, 12, 12, 32),
    "vit_l_8": sizes.vit(1024, 24, 16, 8),
    "vit_l_14": sizes.vit(1024, 24, 16, 14),
    "vit_l_16": sizes.vit(1024, 24, 16, 16),
    "vit_l_32": sizes.vit(1024, 24, 16, 32),
    "vit_h_8": sizes.vit(1280, 32, 16, 8),
    "vit_h_14": sizes.vit(1280, 32, 16, 14),
    "vit_h_16": sizes.vit(1280, 32, 16, 16),
    "vit_h_32": sizes.vit(1280, 32, 16, 32),
    "deit_tiny": sizes.deit(64, 4, 4, 4, image_size=32),
    "deit_ti_16": sizes.deit(192, 12, 3, 16),
    "deit_s_16": sizes.deit(384, 12, 6, 16),
    "deit_b_16": sizes.deit(768, 12, 12, 16),
    "beit_tiny": sizes.beit(64, 4, 4, 4, layer_scale=0.1, image_size=32),
    "beit_b_16": sizes.beit(768, 12, 12, 16, layer_scale=0.1),
    "beit_l_16": sizes.beit(1024, 24, 16, 16, layer_scale=1e-5),
    "beit_tiny_masked": MaskedTokensConfig(
        backbone=sizes.relative(64, 4, 4, 4, layer_scale=0.1, image_size=32), visual_tokens=512
    ),
    "beit_b_16_masked": MaskedTokensConfig(backbone=sizes.relative(768, 12, 12, 16, layer_scale=0.1)),
    "beit_l_16_masked": MaskedTokensConfig(backbone=sizes.relative(1024, 24, 16, 16, layer_scale=1e-5)),
    "beit_tiny_upernet": sizes.upernet(sizes.beit(32, 4, 4, 4, layer_scale=0.1, image_size=32), (1, 2, 3, 4)),
    "beit_b_16_upernet": sizes.upernet(sizes.beit(768, 12, 12, 16, 0.1, image_size=640), (4, 6, 8, 12)),
    "beit_l_16_upernet": sizes.upernet(sizes.beit(1024, 24, 16, 16, 1e-5, image_size=640), (8, 12, 16, 24)),
    # name              width  depths          heads
    "swin_tiny": sizes.swin(32, (2, 2, 2), (2, 4, 8), window=4, patch=2, image_size=32),
    "swin_t": sizes.swin(96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "swin_s": sizes.swin(96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "swin_b": sizes.swin(128, (2, 2, 18, 2), (4, 8, 16, 32)),
    "swin_l": sizes.swin(192, (2, 2, 18, 2), (6, 12, 24, 48)),
    "simmim_swin_tiny": sizes.simmim(32, (2, 2, 2), (2, 4, 8), window=4, patch=2, image_size=32),
    "simmim_swin_b": sizes.simmim(128, (2, 2, 18, 2), (4, 8, 16, 32), window=6, image_size=192),
    # name                     widths              depths         head
    "segformer_tiny": SegFormerConfig(
        backbone=MiTConfig(
            widths=(32, 64, 128, 192),
            depths=(1, 1, 2, 1),
            heads=(1, 2, 4, 6),
            reductions=(4, 2, 1, 1),
            kernels=(3, 3, 3, 3),
            steps=(2, 2, 2, 2),
            image_size=(64, 64),
        ),
        decoder_width=96,
        decoder_dropout=0.0,
    ),
    "segformer_b0": sizes.segformer((32, 64, 160, 256), (2, 2, 2, 2), 256),
    "segformer_b1": sizes.segformer(sizes.MIT_WIDTHS, (2, 2, 2, 2), 256),
    "segformer_b2": sizes.segformer(sizes.MIT_WIDTHS, (3, 4, 6, 3), 768),
    "segformer_b3": sizes.segformer(sizes.MIT_WIDTHS, (3, 4, 18, 3), 768),
    "segformer_b4": sizes.segformer(sizes.MIT_WIDTHS, (3, 8, 27, 3), 768),
    "segformer_b5": sizes.segformer(sizes.MIT_WIDTHS, (3, 6, 40, 3), 768),
    "mit_b0": sizes.mit_classifier((32, 64, 160, 256), (2, 2, 2, 2)),
    "mit_b1": sizes.mit_classifier(sizes.MIT_WIDTHS, (2, 2, 2, 2)),
    "mit_b2": sizes.mit_classifier(sizes.MIT_WIDTHS, (3, 4, 6, 3)),
    "mit_b3": sizes.mit_classifier(sizes.MIT_WIDTHS, (3, 4, 18, 3)),
    "mit_b4": sizes.mit_classifier(sizes.MIT_WIDTHS, (3, 8, 27, 3)),
    "mit_b5": sizes.mit_classifier(sizes.MIT_WIDTHS, (3, 6, 40, 3)),
    # The same head on other backbones.
    "segformer_vit_tiny": SegFormerConfig(
        backbone=sizes.plain_vit(64, 4, 4, 4, image_size=64), decoder_width=64, decoder_dropout=0.0
    ),
    "segformer_vit_s_16": SegFormerConfig(backbone=sizes.plain_vit(384, 12, 6, 16, image_size=512)),
    "segformer_swin_tiny": SegFormerConfig(
        backbone=sizes.swin_backbone(32, (2, 2, 2), (2, 4, 8), window=4, patch=2, image_size=64),
        decoder_width=64,
        decoder_dropout=0.0,
    ),
    "segformer_swin_t": SegFormerConfig(
        backbone=sizes.swin_backbone(96, (2, 2, 6, 2), (3, 6, 12, 24), image_size=512)
    ),
    # DETR on a plain ViT, on Swin, and on the residual networks of the paper.
    "detr_vit_tiny": sizes.detr_tiny(sizes.whole_map(128, 4, 4, 8, image_size=64)),
    "detr_vit_s_16": DetrConfig(backbone=sizes.whole_map(384, 12, 6, 16, image_size=640)),
    "detr_vit_b_16": DetrConfig(backbone=sizes.whole_map(768, 12, 12, 16, image_size=640)),
    "detr_swin_tiny": sizes.detr_tiny(
        sizes.swin_backbone(32, (2, 2, 2), (2, 4, 8), window=4, patch=2, image_size=64)
    ),
    "detr_swin_t": DetrConfig(backbone=sizes.swin_backbone(96, (2, 2, 6, 2), (3, 6, 12, 24), image_size=640)),
    "detr_resnet_tiny": sizes.detr_tiny(
        ConvNetBackboneConfig(
            widths=(32, 64),
            depths=(2, 2),
            bottleneck=False,
            stem_width=32,
            norm="batch",
            image_size=(64, 64),
        )
    ),
    "detr_resnet_50": DetrConfig(backbone=sizes.residual((3, 4, 6, 3))),
    "detr_resnet_101": DetrConfig(backbone=sizes.residual((3, 4, 23, 3))),
    "yolos_tiny": YolosConfig(backbone=sizes.plain_vit(128, 4, 4, 8, image_size=64), queries=16),
    "yolos_ti_16": sizes.yolos(192, 12, 3),
    "yolos_s_16": sizes.yolos(384, 12, 6, positions_between=True),
    "mae_tiny": sizes.mae(
        64, 4, 4, 4, 32, decoder_width=32, decoder_depth=2, decoder_heads=4, decoder_mlp_width=128
    ),
    "mae_b_16": sizes.mae(768, 12, 12, 16),
    "mae_l_16": sizes.mae(1024, 24, 16, 16),
    "mae_h_14": sizes.mae(1280, 32, 16, 14),
    # Tokenizers; DALL-E's own paints a distribution of each pixel.
    "dvae_tiny": DVAEConfig(codes=512, groups=3, blocks=1, width=16, code_width=64, image_size=(32, 32)),
    "dvae": DVAEConfig(paints="logit_laplace"),
    "dinov2_tiny": sizes.dinov2(64, 4, 4, 32, patch=4),
    "dinov2_s_14": sizes.dinov2(384, 12, 6),
    "dinov2_b_14": sizes.dinov2(768, 12, 12),
    "dinov2_l_14": sizes.dinov2(1024, 24, 16),
    "dinov2_g_14": sizes.gated(sizes.dinov2(1536, 40, 24), 4096),
    "dinov3_tiny": sizes.dinov3(64, 4, 4, 32, patch=4),
    "dinov3_s_16": sizes.dinov3(384, 12, 6),
    "dinov3_b_16": sizes.dinov3(768, 12, 12),
    "dinov3_l_16": sizes.dinov3(1024, 24, 16),
    "dinov3_h_16": sizes.gated(sizes.dinov3(1280, 32, 20), 5120),
    # Convolutional networks at the sizes of torchvision's published weights.
    "resnet_18": sizes.convnet("resnet18"),
    "resnet_34": sizes.convnet("resnet34"),
    "resnet_50": sizes.convnet("resnet50"),
    "resnet_101": sizes.convnet("resnet101"),
    "resnet_152": sizes.convnet("resnet152"),
    "efficientnet_b0": sizes.convnet("efficientnet_b0"),
    "efficientnet_b1": sizes.convnet("efficientnet_b1", 240),
    "efficientnet_b2": sizes.convnet("efficientnet_b2", 288),
    "efficientnet_b3": sizes.convnet("efficientnet_b3", 300),
    "efficientnet_b4": sizes.convnet("efficientnet_b4", 380),
    "efficientnet_b5": sizes.convnet("efficientnet_b5", 456),
    "efficientnet_b6": sizes.convnet("efficientnet_b6", 528),
    "efficientnet_b7": sizes.convnet("efficientnet_b7", 600),
    "regnet_y_400mf": sizes.convnet("regnet_y_400mf"),
    "regnet_y_800mf": sizes.convnet("regnet_y_800mf"),
    "regnet_y_1_6gf": sizes.convnet("regnet_y_1_6gf"),
    "regnet_y_3_2gf": sizes.convnet("regnet_y_3_2gf"),
    "regnet_y_8gf": sizes.convnet("regnet_y_8gf"),
    "regnet_y_16gf": sizes.convnet("regnet_y_16gf"),
    "regnet_y_32gf": sizes.convnet("regnet_y_32gf"),
    "regnet_y_128gf": sizes.convnet("regnet_y_128gf", 384),
}


GIVEN = ("classes", "channels", "image_size")  # what ``configure`` takes by name


def names(pattern: str = "*") -> tuple[str, ...]:
    """The catalog's names that match a shell pattern, in the table's order."""
    return tuple(name for name in CATALOG if fnmatchcase(name, pattern))


def configure(
    name: str,
    *,
    classes: int = 1000,
    image_size: int | tuple[int, int] | None = None,
    channels: int = 3,
    options: Mapping[str, Any] | None = None,
) -> ModelConfig:
    """The configuration of a catalog name, with some of its plain values changed.

    ``image_size`` is one side or (height, width) in pixels. ``classes`` mean nothing to a model that tells
    none apart (MAE, masked BEiT). ``options`` are fields of the family's configuration, whichever level
    they stand on: patch, registers, positions, pool, drop_path, ...

    Raises:
        ConfigError: an unknown name or option (with the nearest known ones), or values that do not
            fit one another.
    """
    if name not in CATALOG:
        tail = nearest(name, CATALOG) or "; 'vitreous models' lists them all"
        raise ConfigError(f"unknown model {name!r}{tail}")
    for key in GIVEN:
        if key in (options or {}):
            raise ConfigError(f"{key} is no option; give it beside the model's name")
    base = CATALOG[name]
    plain = to_plain(base)
    levels = _levels(plain)
    values = dict(options or {})
    if isinstance(values.get("width"), int) and "encoder" in plain.get("backbone", {}):
        encoder = plain["backbone"]["encoder"]
        values.setdefault("mlp_width", values["width"] * encoder["mlp_width"] // encoder["width"])
    values["channels"] = channels
    if "classes" in plain:
        values["classes"] = classes
    if image_size is not None:
        values["image_size"] = _side(image_size)
    known = {key for level in levels for key, value in level.items() if not isinstance(value, dict)}
    for key, value in values.items():
        if key not in known:
            raise ConfigError(f"{name} has no option {key!r}{nearest(key, known)}")
        next(level for level in levels if key in level)[key] = value
    return from_plain(type(base), plain)


def build(config: ModelConfig) -> Model:
    """The model that a configuration describes, with random weights."""
    from vitreous.models.building import build_model

    return build_model(config)


def _levels(plain: dict[str, Any]) -> list[dict[str, Any]]:
    """A configuration's objects, the outer ones first."""
    inner = [value for value in plain.values() if isinstance(value, dict)]
    return [plain, *(level for value in inner for level in _levels(value))]


def _side(image_size: int | tuple[int, int]) -> tuple[int, int]:
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if height < 1 or width < 1:
        raise ConfigError(f"image size must be positive, got {height}x{width}")
    return height, width
