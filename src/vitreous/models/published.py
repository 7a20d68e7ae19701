"""Accuracies on ImageNet-1k that others have published for models of the catalog; none is measured here.

Only what its makers printed stands here, as printed; a name without a certain figure is left out. A
figure belongs to weights trained in one way: what they saw besides ImageNet-1k, and the picture size that
they were judged at, say more than a tenth of a percent does.
"""

from collections.abc import Mapping
from typing import NamedTuple

SOURCES: Mapping[str, str] = {
    "torchvision": "torchvision, metadata of its weights",
    "ViT": "arXiv:2010.11929, tables 2 and 5",
    "DeiT": "github.com/facebookresearch/deit, README_deit.md",
    "DINO": "github.com/facebookresearch/dino, README.md: a linear head on frozen features",
    "BEiT": "arXiv:2106.08254, abstract",
    "BEiT weights": "github.com/microsoft/unilm, beit/README.md",
    "MAE": "github.com/facebookresearch/mae, FINETUNE.md: tuned as classifiers",
    "DINOv2": "github.com/facebookresearch/dinov2, README.md: a linear head on frozen features",
    "Swin": "github.com/microsoft/Swin-Transformer, README.md",
}


class Published(NamedTuple):
    """Top-1 accuracy in percent, at pictures of this many pixels a side; ``data`` is what the weights were
    trained on, ImageNet-1k itself apart; ``weights`` is which ones of the source's are meant."""

    top1: float
    image_size: int
    data: str
    source: str
    weights: str = ""


ONE = "IN-1k"
FULL = "IN-22k"  # all of ImageNet, 14 million pictures; called ImageNet-21k as well
PRIVATE = "JFT-300M"
TAGGED = "IG-3.6B"  # pictures of Instagram with their tags
CURATED = "LVD-142M"

FIRST = "IMAGENET1K_V1"  # torchvision's names of weights
SECOND = "IMAGENET1K_V2"  # the same networks, trained for longer by newer recipes
TUNED = "IMAGENET1K_SWAG_E2E_V1"
LINEAR = "IMAGENET1K_SWAG_LINEAR_V1"  # only a linear head was trained on ImageNet-1k


def _torchvision(top1: float, image_size: int, weights: str = FIRST, data: str = ONE) -> Published:
    return Published(top1, image_size, data, "torchvision", weights)


# The first of several is the one that a table has room for.
PUBLISHED: Mapping[str, tuple[Published, ...]] = {
    "vit_ti_16": (Published(72.202, 224, ONE, "DeiT", "deit_tiny_patch16_224"),),
    "vit_s_8": (Published(79.7, 224, ONE, "DINO"),),
    "vit_s_16": (
        Published(79.854, 224, ONE, "DeiT", "deit_small_patch16_224"),
        Published(77.0, 224, ONE, "DINO"),
    ),
    "vit_b_8": (Published(80.1, 224, ONE, "DINO"),),
    "vit_b_16": (
        _torchvision(81.072, 224),
        Published(81.846, 224, ONE, "DeiT", "deit_base_patch16_224"),
        Published(82.890, 384, ONE, "DeiT", "deit_base_patch16_384"),
        Published(77.91, 384, ONE, "ViT"),
        Published(84.15, 384, PRIVATE, "ViT"),
        _torchvision(85.304, 384, TUNED, TAGGED),
        _torchvision(81.886, 224, LINEAR, TAGGED),
        Published(78.2, 224, ONE, "DINO"),
    ),
    "vit_b_32": (_torchvision(75.912, 224),),
    "vit_l_16": (
        _torchvision(79.662, 224),
        _torchvision(88.064, 512, TUNED, TAGGED),
        _torchvision(85.146, 224, LINEAR, TAGGED),
    ),
    "vit_l_32": (_torchvision(76.972, 224),),
    "vit_h_14": (
        _torchvision(88.552, 518, TUNED, TAGGED),
        _torchvision(85.708, 224, LINEAR, TAGGED),
        Published(88.55, 518, PRIVATE, "ViT"),
    ),
    "deit_ti_16": (Published(74.476, 224, ONE, "DeiT", "deit_tiny_distilled_patch16_224"),),
    "deit_s_16": (Published(81.164, 224, ONE, "DeiT", "deit_small_distilled_patch16_224"),),
    "deit_b_16": (
        Published(83.372, 224, ONE, "DeiT", "deit_base_distilled_patch16_224"),
        Published(85.224, 384, ONE, "DeiT", "deit_base_distilled_patch16_384"),
    ),
    "beit_b_16": (
        Published(83.2, 224, ONE, "BEiT"),
        Published(83.7, 224, FULL, "BEiT weights", "beit_base_patch16_224_pt22k_ft1k"),
        Published(85.2, 224, FULL, "BEiT weights", "beit_base_patch16_224_pt22k_ft22kto1k"),
        Published(86.8, 384, FULL, "BEiT weights", "beit_base_patch16_384_pt22k_ft22kto1k"),
    ),
    "beit_l_16": (
        Published(86.0, 224, FULL, "BEiT weights", "beit_large_patch16_224_pt22k_ft1k"),
        Published(87.4, 224, FULL, "BEiT weights", "beit_large_patch16_224_pt22k_ft22kto1k"),
        Published(88.4, 384, FULL, "BEiT weights", "beit_large_patch16_384_pt22k_ft22kto1k"),
        Published(88.6, 512, FULL, "BEiT weights", "beit_large_patch16_512_pt22k_ft22kto1k"),
        Published(86.3, 384, ONE, "BEiT"),
    ),
    "mae_b_16": (Published(83.664, 224, ONE, "MAE", "mae_finetuned_vit_base"),),
    "mae_l_16": (Published(85.952, 224, ONE, "MAE", "mae_finetuned_vit_large"),),
    "mae_h_14": (Published(86.928, 224, ONE, "MAE", "mae_finetuned_vit_huge"),),
    "dinov2_s_14": (Published(81.1, 224, CURATED, "DINOv2"),),
    "dinov2_b_14": (Published(84.5, 224, CURATED, "DINOv2"),),
    "dinov2_l_14": (Published(86.3, 224, CURATED, "DINOv2"),),
    "dinov2_g_14": (Published(86.5, 224, CURATED, "DINOv2"),),
    "swin_t": (
        Published(81.2, 224, ONE, "Swin", "swin_tiny_patch4_window7_224"),
        _torchvision(81.474, 224),
    ),
    "swin_s": (
        Published(83.2, 224, ONE, "Swin", "swin_small_patch4_window7_224"),
        _torchvision(83.196, 224),
    ),
    "swin_b": (
        Published(83.5, 224, ONE, "Swin", "swin_base_patch4_window7_224"),
        _torchvision(83.582, 224),
        Published(85.2, 224, FULL, "Swin", "swin_base_patch4_window7_224_22kto1k"),
        Published(84.5, 384, ONE, "Swin", "swin_base_patch4_window12_384"),
        Published(86.4, 384, FULL, "Swin", "swin_base_patch4_window12_384_22kto1k"),
    ),
    "swin_l": (
        Published(86.3, 224, FULL, "Swin", "swin_large_patch4_window7_224_22kto1k"),
        Published(87.3, 384, FULL, "Swin", "swin_large_patch4_window12_384_22kto1k"),
    ),
    "resnet_18": (_torchvision(69.758, 224),),
    "resnet_34": (_torchvision(73.314, 224),),
    "resnet_50": (_torchvision(80.858, 224, SECOND), _torchvision(76.13, 224)),
    "resnet_101": (_torchvision(81.886, 224, SECOND), _torchvision(77.374, 224)),
    "resnet_152": (_torchvision(82.284, 224, SECOND), _torchvision(78.312, 224)),
    "efficientnet_b0": (_torchvision(77.692, 224),),
    "efficientnet_b1": (_torchvision(79.838, 240, SECOND), _torchvision(78.642, 240)),
    "efficientnet_b2": (_torchvision(80.608, 288),),
    "efficientnet_b3": (_torchvision(82.008, 300),),
    "efficientnet_b4": (_torchvision(83.384, 380),),
    "efficientnet_b5": (_torchvision(83.444, 456),),
    "efficientnet_b6": (_torchvision(84.008, 528),),
    "efficientnet_b7": (_torchvision(84.122, 600),),
    "regnet_y_400mf": (_torchvision(75.804, 224, SECOND), _torchvision(74.046, 224)),
    "regnet_y_800mf": (_torchvision(78.828, 224, SECOND), _torchvision(76.42, 224)),
    "regnet_y_1_6gf": (_torchvision(80.876, 224, SECOND), _torchvision(77.95, 224)),
    "regnet_y_3_2gf": (_torchvision(81.982, 224, SECOND), _torchvision(78.948, 224)),
    "regnet_y_8gf": (_torchvision(82.828, 224, SECOND), _torchvision(80.032, 224)),
    "regnet_y_16gf": (
        _torchvision(82.886, 224, SECOND),
        _torchvision(80.424, 224),
        _torchvision(86.012, 384, TUNED, TAGGED),
        _torchvision(83.976, 224, LINEAR, TAGGED),
    ),
    "regnet_y_32gf": (
        _torchvision(83.368, 224, SECOND),
        _torchvision(80.878, 224),
        _torchvision(86.838, 384, TUNED, TAGGED),
        _torchvision(84.622, 224, LINEAR, TAGGED),
    ),
    "regnet_y_128gf": (
        _torchvision(88.228, 384, TUNED, TAGGED),
        _torchvision(86.068, 224, LINEAR, TAGGED),
    ),
}


def published(name: str) -> tuple[Published, ...]:
    """What is published of a catalog name; empty where nothing is certain."""
    return PUBLISHED.get(name, ())
