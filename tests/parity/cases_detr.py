"""DETR as transformers has it, on each backbone that is read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.parity.case import Case, Loaded
from tests.parity.twins import Twin, randomise

WORDS = ("ant", "bee", "cat")


def resnet(**values: Any) -> Any:
    """transformers' own ResNet, narrow."""
    from transformers import ResNetConfig

    usual = {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [2, 1], "out_features": ["stage2"]}
    return ResNetConfig(**usual | values)


def vitdet(**values: Any) -> Any:
    """A plain ViT as VitDet has it."""
    from transformers import VitDetConfig

    usual = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 64}
    usual |= {"pretrain_image_size": 64, "patch_size": 16, "out_features": ["stage2"]}
    return VitDetConfig(**usual | values)


def dinov2(**values: Any) -> Any:
    """DINOv2's backbone."""
    from transformers import Dinov2Config

    usual = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 64}
    usual |= {"patch_size": 16, "out_features": ["stage2"], "reshape_hidden_states": True}
    return Dinov2Config(**usual | values)


def timm_resnet(**values: Any) -> dict[str, Any]:
    """timm's ResNet-18, which has one width only."""
    usual = {"model_type": "timm_backbone", "backbone": "resnet18", "features_only": True}
    usual |= {"use_pretrained_backbone": False, "out_indices": [1, 2, 3, 4]}
    return usual | values


def swin(**values: Any) -> Any:
    """transformers' own Swin, narrow."""
    from transformers import SwinConfig

    usual = {"embed_dim": 16, "depths": [2, 3], "num_heads": [2, 4], "window_size": 4, "image_size": 64}
    usual |= {"patch_size": 4, "out_features": ["stage2"]}
    return SwinConfig(**usual | values)


def detr_twin(
    path: Path, backbone: Callable[..., Any] = vitdet, *, seed: int = 0, under: Any = None, **values: Any
) -> Twin:
    """DetrForObjectDetection with a random value in every tensor and running statistic."""
    from transformers import DetrConfig, DetrForObjectDetection, DetrImageProcessor

    usual: dict[str, Any] = {
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 48,
        "decoder_ffn_dim": 48,
        "num_queries": 7,
        "id2label": dict(enumerate(WORDS)),
    }
    config = DetrConfig(backbone_config=backbone(**under or {}), **usual | values)
    model = randomise(DetrForObjectDetection(config), seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, value in model.named_buffers():
            drawn = torch.randn(value.shape, generator=generator) / 4
            if name.endswith(("running_mean", "normalization.bias", "bn1.bias", "bn2.bias")):
                value.copy_(drawn)
            elif value.is_floating_point():
                value.copy_(0.5 + drawn.abs())
    model.save_pretrained(path)
    DetrImageProcessor(size={"shortest_edge": 64, "longest_edge": 128}).save_pretrained(path)
    return Twin(model, path, forward_of(model))


def from_transformers(path: Path) -> Loaded:
    """What ``from_pretrained`` makes of a directory."""
    from transformers import DetrForObjectDetection

    model = DetrForObjectDetection.from_pretrained(path).eval()
    return model, forward_of(model)


def forward_of(model: nn.Module) -> Any:
    """Logits and boxes side by side."""

    def forward(images: Tensor) -> Tensor:
        told = model(images)
        return torch.cat([told.logits, told.pred_boxes], dim=-1)

    return forward


def answer(model: nn.Module, images: Tensor) -> Tensor:
    """The same of a model of ours."""
    told = model(images)
    return torch.cat([told.logits, told.boxes], dim=-1)


SIZES = ((64, 64), (80, 96), (72, 100))
BACKBONES = {"vitdet": vitdet, "dinov2": dinov2, "resnet": resnet, "timm resnet": timm_resnet, "swin": swin}
CASES = tuple(
    Case(
        "transformers",
        f"detr {name}",
        lambda path, backbone=backbone: detr_twin(path, backbone),
        SIZES,
        from_transformers,
        answer=answer,
    )
    for name, backbone in BACKBONES.items()
)
