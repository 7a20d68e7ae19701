"""The plain ViT in the layouts of four libraries."""

import json
from pathlib import Path

from tests.parity.case import Case, Loaded
from tests.parity.twins import (
    google_arrays,
    google_twin,
    timm_twin,
    torchvision_forward,
    torchvision_twin,
    transformers_forward,
    transformers_twin,
)

SIZES = ((32, 32), (48, 48), (24, 56))


def from_timm(path: Path) -> Loaded:
    """What ``create_model`` makes of a directory."""
    import timm

    model = timm.create_model(f"local-dir:{path}", pretrained=True, dynamic_img_size=True).eval()
    return model, model


def from_transformers(path: Path) -> Loaded:
    """What ``from_pretrained`` makes of a directory."""
    from transformers import AutoModelForImageClassification

    model = AutoModelForImageClassification.from_pretrained(path).eval()
    return model, transformers_forward(model)


def from_torchvision(path: Path) -> Loaded:
    """The two lines that ``checkpoints/foreign/torchvision`` documents."""
    import safetensors.torch
    from torchvision.models import VisionTransformer

    model = VisionTransformer(**json.loads((path / "config.json").read_text())["vision_transformer"])
    model.load_state_dict(safetensors.torch.load_file(path / "model.safetensors"))
    return model.eval(), torchvision_forward(model)


CASES = (
    Case("timm", "vit", timm_twin, SIZES, from_timm),
    Case("transformers", "vit", transformers_twin, SIZES, from_transformers),
    Case("torchvision", "vit", torchvision_twin, ((32, 32), (48, 48), (64, 64)), from_torchvision),
    Case("google .npz", "vit", lambda path: google_twin(path.with_suffix(".npz"), google_arrays()), SIZES),
)
