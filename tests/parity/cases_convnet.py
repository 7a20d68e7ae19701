"""Convolutional networks: torchvision's own modules, with a random value in every tensor and statistic."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tests.parity.case import Case, Loaded
from tests.parity.twins import Twin, pictures, randomise

SIZES = {
    "resnet50": ((64, 64), (96, 96), (64, 96), (71, 50)),
    "efficientnet_b7": ((48, 48), (32, 64), (47, 39)),
    "regnet_y_16gf": ((48, 48), (32, 64), (47, 39)),
}


@torch.no_grad()
def randomise_statistics(model: nn.Module, seed: int = 5) -> nn.Module:
    """The running statistics of noisy pictures in every batch norm, and a random count of batches. Numbers
    out of the air would not do: in a deep network the picture then drowns in the biases, or explodes."""
    generator = torch.Generator().manual_seed(seed)
    norms = [module for module in model.eval().modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [module.momentum for module in norms]
    for module in norms:
        module.train().momentum = 1.0
    model(pictures((64, 64), seed=seed).float())
    for module, momentum in zip(norms, momenta, strict=True):
        module.eval().momentum = momentum
        module.running_var.clamp_(min=0.05)  # or a channel that was silent would shout at other pictures
        module.num_batches_tracked.copy_(torch.randint(1, 1000, (), generator=generator))
    return model


def convnet_twin(path: Path, architecture: str, **arguments: Any) -> Twin:
    """A network of torchvision by name; its state dict saved by ``torch.save``."""
    from torchvision.models import get_model

    model = get_model(architecture, weights=None, **{"num_classes": 5} | arguments)
    randomise_statistics(randomise(model))
    torch.save(model.state_dict(), path)
    return Twin(model, path, model)


def from_torchvision(path: Path) -> Loaded:
    """The lines that ``checkpoints/foreign/torchvision/convnet`` documents."""
    import safetensors.torch
    from torchvision.models import get_model

    values = json.loads((path / "config.json").read_text())["convnet"]
    model = get_model(values["architecture"], weights=None, num_classes=values["num_classes"])
    model.load_state_dict(safetensors.torch.load_file(path / "model.safetensors"))
    return model.eval(), model


def _case(architecture: str) -> Case:
    build: Callable[[Path], Twin] = partial(convnet_twin, architecture=architecture)
    return Case("torchvision", f"convnet {architecture}", build, SIZES[architecture], from_torchvision)


CASES = tuple(map(_case, SIZES))
