"""BEiT under a UPerNet, as transformers has it."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.parity.case import Case, Loaded
from tests.parity.twins import Twin, randomise


def upernet_twin(path: Path, *, seed: int = 0, **arguments: Any) -> Twin:
    """transformers' BeitForSemanticSegmentation with a random value in every tensor and running statistic."""
    from transformers import BeitConfig, BeitForSemanticSegmentation, BeitImageProcessor

    values: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 5,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "image_size": 32,
        "patch_size": 8,
        "out_indices": [2, 3, 4, 5],
        "use_relative_position_bias": True,
        "auxiliary_channels": 16,
        "id2label": dict(enumerate(["sky", "tree", "road"])),
    }
    model = randomise(BeitForSemanticSegmentation(BeitConfig(**values | arguments)), seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.copy_(torch.randn(module.num_features, generator=generator) / 4)
                module.running_var.copy_(0.5 + torch.rand(module.num_features, generator=generator))
    model.save_pretrained(path)
    BeitImageProcessor(size={"height": 32, "width": 32}).save_pretrained(path)
    return Twin(model, path, _forward(model))


def from_transformers(path: Path) -> Loaded:
    """What ``from_pretrained`` makes of a directory."""
    from transformers import BeitForSemanticSegmentation

    model = BeitForSemanticSegmentation.from_pretrained(path).eval()
    return model, _forward(model)


def _forward(model: nn.Module) -> Any:
    def forward(images: Tensor) -> Tensor:
        return model(images).logits

    return forward


SIZES = ((32, 32), (48, 48), (40, 56))
CASES = (
    Case("transformers", "beit upernet", upernet_twin, SIZES, from_transformers),
    Case(
        "transformers",
        "beit upernet, shared bias",
        lambda path: upernet_twin(
            path, use_relative_position_bias=False, use_shared_relative_position_bias=True
        ),
        SIZES,
        from_transformers,
    ),
)
