"""DeiT with a distillation token, in the layouts of timm and transformers."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from tests.parity.case import Case, Loaded
from tests.parity.cases_vit import from_timm, from_transformers
from tests.parity.twins import Twin, randomise, transformers_forward

SIZES = ((32, 32), (48, 48), (24, 56))
TINY = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 4, "num_classes": 5}
HUGGING: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "image_size": 32,
    "patch_size": 8,
    "id2label": dict(enumerate(["ant", "bee", "cat", "dog", "eel"])),
}


def timm_deit(path: Path, *, seed: int = 0, **arguments: Any) -> Twin:
    """timm's VisionTransformerDistilled, saved by its ``save_for_hf``."""
    import timm
    from timm.models import save_for_hf

    values = TINY | {"dynamic_img_size": True} | arguments
    model = timm.create_model("deit_tiny_distilled_patch16_224", **values)
    save_for_hf(randomise(model, seed), str(path), safe_serialization=True)
    return Twin(model, path, model)


def transformers_deit(
    path: Path, *, seed: int = 0, kind: str = "DeiTForImageClassificationWithTeacher", **arguments: Any
) -> Twin:
    """One of transformers' DeiT classes and its image processor, saved by ``save_pretrained``."""
    import transformers

    model = getattr(transformers, kind)(transformers.DeiTConfig(**HUGGING | arguments))
    randomise(model, seed).save_pretrained(path)
    processor = transformers.DeiTImageProcessor(size={"height": 36, "width": 36}, crop_size=32)
    processor.save_pretrained(path)
    return Twin(model, path, transformers_forward(model))


def with_teacher(path: Path) -> Loaded:
    """What ``from_pretrained`` of the class with two heads makes of a directory."""
    from transformers import DeiTForImageClassificationWithTeacher

    model = DeiTForImageClassificationWithTeacher.from_pretrained(path).eval()
    return model, transformers_forward(model)


def one_head(path: Path) -> Twin:
    """DeiTForImageClassification, whose distillation token only takes part in attention."""
    return transformers_deit(path, kind="DeiTForImageClassification")


def tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors that a model is saved with."""
    return {key: value.clone() for key, value in model.state_dict().items()}


CASES = (
    Case("timm", "deit", timm_deit, SIZES, from_timm),
    Case("transformers", "deit", transformers_deit, (*SIZES, (45, 38)), with_teacher),
    Case("transformers", "deit with one head", one_head, (*SIZES, (45, 38)), from_transformers),
)
