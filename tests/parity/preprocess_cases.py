"""Every row of the ledger of preprocessing: the libraries' own processors with their default values, the
configurations of timm's published weights, and what torchvision measured its own with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

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
SMALL_VIT = {"embed_dim": 64, "depth": 1, "num_heads": 4, "num_classes": 5}

VIT = (
    PreprocessCase(
        "transformers",
        "vit",
        "ViTImageProcessor",
        by_processor(transformers_twin, "ViTImageProcessor", model=SIZED),
    ),
    PreprocessCase(
        "transformers",
        "vit",
        "ViTImageProcessor, bicubic, 97x161",
        by_processor(
            transformers_twin,
            "ViTImageProcessor",
            model=SIZED,
            size={"height": 97, "width": 161},
            resample=3,
        ),
    ),
    PreprocessCase(
        "transformers",
        "vit",
        "CLIPImageProcessor",
        by_processor(transformers_twin, "CLIPImageProcessor", model=SIZED),
    ),
    *(
        PreprocessCase("timm", "vit", name, by_timm(name, **SMALL_VIT))
        for name in (
            "vit_tiny_patch16_224.augreg_in21k_ft_in1k",
            "vit_base_patch16_384.augreg_in21k_ft_in1k",
            "vit_base_patch16_224_miil.in21k_ft_in1k",
        )
    ),
    PreprocessCase(
        "torchvision",
        "vit",
        "ViT_B_16 IMAGENET1K_V1",
        by_torchvision("vit_b_16", "ViT_B_16_Weights.IMAGENET1K_V1"),
    ),
    PreprocessCase(
        "torchvision",
        "vit",
        "ViT_B_32 IMAGENET1K_V1",
        by_torchvision("vit_b_32", "ViT_B_32_Weights.IMAGENET1K_V1"),
    ),
    PreprocessCase(
        "torchvision",
        "vit",
        "ViT_B_16 SWAG_E2E",
        by_torchvision("vit_b_16", "ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1", image_size=384),
    ),
)

PREPROCESS: tuple[PreprocessCase, ...] = (*VIT,)
