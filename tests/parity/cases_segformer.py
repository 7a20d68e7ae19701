"""SegFormer and its Mix Transformer, as transformers has them."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.parity.case import Case, Loaded
from tests.parity.twins import Twin, randomise

VALUES: dict[str, Any] = {
    "hidden_sizes": [8, 16, 24, 32],
    "depths": [1, 2, 1, 1],
    "num_attention_heads": [1, 2, 3, 4],
    "decoder_hidden_size": 20,
    "id2label": dict(enumerate(["sky", "tree", "road"])),
}


def segformer_twin(path: Path, *, seed: int = 0, reduce_labels: bool = False, **arguments: Any) -> Twin:
    """SegformerForSemanticSegmentation with a random value in every tensor and running statistic."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

    model = randomise(SegformerForSemanticSegmentation(SegformerConfig(**VALUES | arguments)), seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        norm = model.decode_head.batch_norm
        norm.running_mean.copy_(torch.randn(norm.num_features, generator=generator) / 4)
        norm.running_var.copy_(0.5 + torch.rand(norm.num_features, generator=generator))
    model.save_pretrained(path)
    channels = model.config.num_channels
    SegformerImageProcessor(
        size={"height": 64, "width": 64},
        do_reduce_labels=reduce_labels,
        image_mean=[0.485, 0.456, 0.406][:channels],
        image_std=[0.229, 0.224, 0.225][:channels],
    ).save_pretrained(path)
    return Twin(model, path, logits_of(model))


def mit_twin(path: Path, *, seed: int = 0, **arguments: Any) -> Twin:
    """SegformerForImageClassification, which the published encoders are saved as."""
    from transformers import SegformerConfig, SegformerForImageClassification, SegformerImageProcessor

    model = randomise(SegformerForImageClassification(SegformerConfig(**VALUES | arguments)), seed)
    model.save_pretrained(path)
    SegformerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(path)
    return Twin(model, path, logits_of(model))


def from_transformers(path: Path) -> Loaded:
    """What ``from_pretrained`` makes of a directory."""
    from transformers import SegformerForSemanticSegmentation

    model = SegformerForSemanticSegmentation.from_pretrained(path).eval()
    return model, logits_of(model)


def classifier_from_transformers(path: Path) -> Loaded:
    """The same for a classifier."""
    from transformers import AutoModelForImageClassification

    model = AutoModelForImageClassification.from_pretrained(path).eval()
    return model, logits_of(model)


def logits_of(model: nn.Module) -> Any:
    """Pictures -> what a model of theirs says of them."""

    def forward(images: Tensor) -> Tensor:
        return model(images).logits

    return forward


SIZES = ((64, 64), (96, 64), (67, 101), (33, 130))
CASES = (
    Case("transformers", "segformer", segformer_twin, SIZES, from_transformers),
    Case(
        "transformers",
        "segformer three stages",
        lambda path: segformer_twin(
            path,
            num_encoder_blocks=3,
            hidden_sizes=[16, 24, 40],
            depths=[2, 1, 2],
            num_attention_heads=[2, 3, 5],
            sr_ratios=[4, 1, 2],
            patch_sizes=[5, 3, 5],
            strides=[2, 2, 3],
            mlp_ratios=[2, 4, 3],
            hidden_act="quick_gelu",
        ),
        SIZES,
        from_transformers,
    ),
    Case("transformers", "mit", mit_twin, SIZES, classifier_from_transformers),
)
