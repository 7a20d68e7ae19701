"""Every row of the ledger of preprocessing: the libraries' own processors with their default values, the
configurations of timm's published weights, and what torchvision measured its own with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.parity.cases_beit import transformers_beit
from tests.parity.cases_deit import transformers_deit
from tests.parity.cases_dinov2 import transformers_dinov2
from tests.parity.cases_dinov3 import transformers_dinov3
from tests.parity.cases_dvae import flava
from tests.parity.cases_mae import transformers_mae
from tests.parity.cases_swin import transformers_swin
from tests.parity.preprocess_case import (
    PreprocessCase,
    Way,
    timm_ways,
    torchvision_ways,
    transformers_ways,
)
from tests.parity.twins import Twin, transformers_twin

Built = tuple[Path, tuple[Way, ...]]


def by_processor(
    twin: Callable[..., Twin], processor: str, *, model: dict[str, Any] | None = None, **values: Any
) -> Callable[[Path], Built]:
    """A tiny model of transformers with one of its processors beside it."""

    def build(path: Path) -> Built:
        import transformers

        twin(path, **(model or {}))
        getattr(transformers, processor)(**values).save_pretrained(path)
        return path, transformers_ways(path)

    return build


def by_timm(name: str, **arguments: Any) -> Callable[[Path], Built]:
    """A tiny model under the name of published weights of timm, whose configuration it takes over."""

    def build(path: Path) -> Built:
        import timm
        from timm.models import save_for_hf

        model = timm.create_model(name, **arguments).eval()
        save_for_hf(model, str(path), safe_serialization=True)
        return path, timm_ways(path)

    return build


def by_torchvision(builder: str, weights: str, **arguments: Any) -> Callable[[Path], Built]:
    """A bare file of one of torchvision's sizes, and the transform of its published weights."""

    def build(path: Path) -> Built:
        from torchvision import models

        model = getattr(models, builder)(num_classes=5, **arguments)
        path = path.with_suffix(".pth")
        torch.save(model.state_dict(), path)
        return path, torchvision_ways(models.get_weight(weights).transforms())

    return build


SIZED = {"image_size": 224, "patch_size": 32}
FOURTEEN = {"image_size": 224, "patch_size": 56}
SMALL = {"embed_dim": 64, "depth": 1, "num_heads": 4, "num_classes": 5}
SMALL_SWIN = {"embed_dim": 24, "depths": (1, 1), "num_heads": (2, 3), "num_classes": 5}
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


def timm(family: str, arguments: dict[str, Any], *names: str) -> tuple[PreprocessCase, ...]:
    """A row for each of these names of published weights."""
    return tuple(PreprocessCase("timm", family, name, by_timm(name, **arguments)) for name in names)


def torchvision(family: str, builder: str, *weights: str, **arguments: Any) -> tuple[PreprocessCase, ...]:
    """A row for each of these names of published weights."""
    return tuple(
        PreprocessCase("torchvision", family, name, by_torchvision(builder, name, **arguments))
        for name in weights
    )


def transformers(
    family: str, twin: Callable[..., Twin], model: dict[str, Any], processor: str, says: str, **values: Any
) -> PreprocessCase:
    """A row for a processor with these values; ``says`` is what they are in short."""
    return PreprocessCase(
        "transformers", family, f"{processor}, {says}", by_processor(twin, processor, model=model, **values)
    )


DEFAULTS = "its defaults"
PUBLISHED = "as published weights have it"

PREPROCESS: tuple[PreprocessCase, ...] = (
    transformers("vit", transformers_twin, SIZED, "ViTImageProcessor", DEFAULTS),
    transformers(
        "vit",
        transformers_twin,
        SIZED,
        "ViTImageProcessor",
        "bicubic, 97x161",
        size={"height": 97, "width": 161},
        resample=3,
    ),
    transformers("vit", transformers_twin, SIZED, "CLIPImageProcessor", DEFAULTS),
    *timm(
        "vit",
        SMALL,
        "vit_tiny_patch16_224.augreg_in21k_ft_in1k",
        "vit_base_patch16_384.augreg_in21k_ft_in1k",
        "vit_base_patch16_224_miil.in21k_ft_in1k",
    ),
    *torchvision("vit", "vit_b_16", "ViT_B_16_Weights.IMAGENET1K_V1"),
    *torchvision("vit", "vit_b_16", "ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1", image_size=384),
    transformers("deit", transformers_deit, SIZED, "DeiTImageProcessor", DEFAULTS),
    *timm(
        "deit", SMALL, "deit_tiny_distilled_patch16_224.fb_in1k", "deit_base_distilled_patch16_384.fb_in1k"
    ),
    transformers("beit", transformers_beit, SIZED, "BeitImageProcessor", DEFAULTS),
    *timm(
        "beit",
        SMALL,
        "beit_base_patch16_224.in22k_ft_in22k_in1k",
        "beit_base_patch16_384.in22k_ft_in22k_in1k",
        "beitv2_base_patch16_224.in1k_ft_in22k_in1k",
    ),
    transformers("mae", transformers_mae, SIZED, "ViTImageProcessor", PUBLISHED, resample=3, **IMAGENET),
    transformers("dvae", flava, {}, "FlavaImageProcessor", DEFAULTS),
    transformers(
        "dvae",
        flava,
        {},
        "FlavaImageProcessor",
        "bicubic, shorter side 120, pixels not mapped",
        codebook_size={"shortest_edge": 120},
        codebook_resample=3,
        codebook_do_map_pixels=False,
    ),
    transformers("dinov2", transformers_dinov2, FOURTEEN, "BitImageProcessor", DEFAULTS),
    transformers(
        "dinov2",
        transformers_dinov2,
        FOURTEEN,
        "BitImageProcessor",
        PUBLISHED,
        size={"shortest_edge": 256},
        **IMAGENET,
    ),
    *timm("dinov2", SMALL, "vit_small_patch14_dinov2.lvd142m", "vit_small_patch14_reg4_dinov2.lvd142m"),
    transformers("dinov3", transformers_dinov3, SIZED, "DINOv3ViTImageProcessor", DEFAULTS),
    *timm("dinov3", SMALL, "vit_small_patch16_dinov3.lvd1689m"),
    transformers(
        "swin", transformers_swin, {"image_size": 224}, "ViTImageProcessor", PUBLISHED, resample=3, **IMAGENET
    ),
    *timm(
        "swin",
        SMALL_SWIN,
        "swin_tiny_patch4_window7_224.ms_in1k",
        "swin_base_patch4_window12_384.ms_in22k_ft_in1k",
    ),
    *torchvision("swin", "swin_t", "Swin_T_Weights.IMAGENET1K_V1"),
    *torchvision("swin", "swin_s", "Swin_S_Weights.IMAGENET1K_V1"),
    *torchvision("swin", "swin_b", "Swin_B_Weights.IMAGENET1K_V1"),
    *torchvision("convnet", "resnet50", "ResNet50_Weights.IMAGENET1K_V2"),
    *torchvision("convnet", "efficientnet_b7", "EfficientNet_B7_Weights.IMAGENET1K_V1"),
    *torchvision("convnet", "regnet_y_16gf", "RegNet_Y_16GF_Weights.IMAGENET1K_V2"),
)
