"""Swin in four layouts. Native pictures are not square, and their maps do not divide into windows: what
libraries do differently about that is what is compared."""

import copy
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.parity.case import Case, Loaded
from tests.parity.twins import Forward, Twin, randomise

LABELS = ("ant", "bee", "cat", "dog", "eel")


def timm_model(**arguments: Any) -> nn.Module:
    """timm's SwinTransformer, which takes any multiple of its patch."""
    import timm

    values = {
        "img_size": (32, 48),
        "embed_dim": 24,
        "depths": (2, 2, 1),
        "num_heads": (2, 3, 4),
        "window_size": 4,
        "num_classes": 5,
        "strict_img_size": False,
    }
    name = "swin_tiny_patch4_window7_224"
    return randomise(timm.create_model(name, **values | arguments))


def timm_swin(path: Path, **arguments: Any) -> Twin:
    """The same, saved by ``save_for_hf``."""
    from timm.models import save_for_hf

    model = timm_model(**arguments)
    save_for_hf(model, str(path), safe_serialization=True)
    return Twin(model, path, model)


def from_timm(path: Path, **arguments: Any) -> Loaded:
    """What ``create_model`` makes of a directory."""
    import timm

    values = {"strict_img_size": False} | arguments
    model = timm.create_model(f"local-dir:{path}", pretrained=True, **values).eval()
    return model, model


def transformers_swin(path: Path, **arguments: Any) -> Twin:
    """transformers' SwinForImageClassification and its image processor, saved by ``save_pretrained``."""
    from transformers import SwinConfig, SwinForImageClassification, ViTImageProcessor

    values: dict[str, Any] = {
        "image_size": [32, 48],
        "embed_dim": 24,
        "depths": [2, 2, 1],
        "num_heads": [2, 3, 4],
        "window_size": 2,
        "layer_norm_eps": 1e-3,
        "id2label": dict(enumerate(LABELS)),
    }
    model = randomise(SwinForImageClassification(SwinConfig(**values | arguments)))
    model.save_pretrained(path)
    channels = model.config.num_channels
    statistics = {"image_mean": [0.4] * channels, "image_std": [0.3] * channels}
    size = model.config.image_size
    height, width = (size, size) if isinstance(size, int) else size
    ViTImageProcessor(size={"height": height, "width": width}, **statistics).save_pretrained(path)
    return Twin(model, path, transformers_forward(model))


def transformers_forward(model: nn.Module) -> Forward:
    """The logits of a model that has seen no other picture: one that has remembers how its windows were
    shifted for it."""
    native = model.config.image_size
    native = (native, native) if isinstance(native, int) else tuple(native)

    def forward(images: Tensor) -> Tensor:
        fresh = copy.deepcopy(model)
        return fresh(images, interpolate_pos_encoding=tuple(images.shape[-2:]) != native).logits

    return forward


def from_transformers(path: Path) -> Loaded:
    """What ``from_pretrained`` makes of a directory."""
    from transformers import AutoModelForImageClassification

    model = AutoModelForImageClassification.from_pretrained(path).eval()
    return model, transformers_forward(model)


def torchvision_model(**arguments: Any) -> nn.Module:
    """torchvision's SwinTransformer."""
    from torchvision.models import SwinTransformer

    values: dict[str, Any] = {
        "patch_size": [4, 4],
        "embed_dim": 24,
        "depths": [2, 2, 1],
        "num_heads": [2, 3, 4],
        "window_size": [4, 4],
        "num_classes": 5,
    }
    return randomise(SwinTransformer(**values | arguments))


def torchvision_swin(path: Path, **arguments: Any) -> Twin:
    """The same; its state dict saved by ``torch.save``."""
    model = torchvision_model(**arguments)
    torch.save(model.state_dict(), path)
    return Twin(model, path, model)


def from_torchvision(path: Path) -> Loaded:
    """The two lines that ``checkpoints/foreign/torchvision`` documents."""
    import safetensors.torch
    from torchvision.models import SwinTransformer

    model = SwinTransformer(**json.loads((path / "config.json").read_text())["swin_transformer"])
    model.load_state_dict(safetensors.torch.load_file(path / "model.safetensors"))
    return model.eval(), model


def official_state(model: nn.Module) -> dict[str, Tensor]:
    """A timm model's tensors as the authors name them: stages end with what merges, the head has no layer
    in it, and what follows from sizes is kept."""
    state = {}
    for key, value in model.state_dict().items():
        parts = key.replace("head.fc.", "head.").split(".")
        if parts[2:3] == ["downsample"]:
            parts[1] = str(int(parts[1]) - 1)
        state[".".join(parts)] = value
    for stage, layer in enumerate(model.layers):
        for index, block in enumerate(layer.blocks):
            place = f"layers.{stage}.blocks.{index}"
            state[f"{place}.attn.relative_position_index"] = block.attn.relative_position_index
            mask = block.get_attn_mask(device=torch.device("cpu"), dtype=torch.float32)
            if mask is not None:
                state[f"{place}.attn_mask"] = mask
    return state


def microsoft_swin(path: Path, **arguments: Any) -> Twin:
    """A file as the authors publish it, and timm's model as timm's own loader fills it from that."""
    from timm.models import load_checkpoint
    from timm.models.swin_transformer import checkpoint_filter_fn

    values = {"img_size": 64} | arguments
    torch.save({"model": official_state(timm_model(**values))}, path)
    twin = randomise(timm_model(**values), seed=9)
    load_checkpoint(twin, str(path), filter_fn=checkpoint_filter_fn)
    return Twin(twin, path, twin)


def hidden_in(images: Tensor, patch: int = 4) -> Tensor:
    """Which patches are hidden (B, P), the same for pictures of the same size."""
    patches = -(-images.shape[-2] // patch) * -(-images.shape[-1] // patch)
    return torch.rand(len(images), patches, generator=torch.Generator().manual_seed(7)) < 0.6


def transformers_simmim(path: Path, **arguments: Any) -> Twin:
    """transformers' SwinForMaskedImageModeling, saved by ``save_pretrained``."""
    from transformers import SwinConfig, SwinForMaskedImageModeling, ViTImageProcessor

    values: dict[str, Any] = {
        "image_size": 32,
        "embed_dim": 24,
        "depths": [2, 2, 1],
        "num_heads": [2, 3, 4],
        "window_size": 2,
        "encoder_stride": 16,
        "layer_norm_eps": 1e-3,
    }
    model = randomise(SwinForMaskedImageModeling(SwinConfig(**values | arguments)))
    model.save_pretrained(path)
    channels = model.config.num_channels
    statistics = {"image_mean": [0.4] * channels, "image_std": [0.3] * channels}
    ViTImageProcessor(size={"height": 32, "width": 32}, **statistics).save_pretrained(path)
    return Twin(model, path, simmim_forward(model))


def simmim_forward(model: nn.Module) -> Forward:
    """What is rebuilt of square pictures with hidden patches; its loss wants to be told their size."""

    def forward(images: Tensor) -> Tensor:
        fresh, side = copy.deepcopy(model), images.shape[-1]
        fresh.config.image_size = side
        moved = side != model.config.image_size
        hidden = hidden_in(images)
        return fresh(images, bool_masked_pos=hidden, interpolate_pos_encoding=moved).reconstruction

    return forward


def simmim_from_transformers(path: Path) -> Loaded:
    """What ``from_pretrained`` makes of a directory."""
    from transformers import AutoModelForMaskedImageModeling

    model = AutoModelForMaskedImageModeling.from_pretrained(path).eval()
    return model, simmim_forward(model)


def rebuilt(model: nn.Module, images: Tensor) -> Tensor:
    """What ours rebuilds, the same patches hidden."""
    return model(images, hidden_in(images)).images


CASES = (
    Case(
        "transformers",
        "simmim",
        transformers_simmim,
        ((32, 32), (64, 64), (48, 48)),
        simmim_from_transformers,
        answer=rebuilt,
    ),
    Case("timm", "swin", timm_swin, ((32, 48), (64, 64), (36, 52), (16, 12)), from_timm),
    Case(
        "transformers",
        "swin",
        transformers_swin,
        ((32, 48), (64, 64), (50, 37), (32, 80)),
        from_transformers,
    ),
    Case(
        "torchvision",
        "swin",
        torchvision_swin,
        ((64, 64), (32, 48), (50, 37), (16, 12)),
        from_torchvision,
    ),
    # The authors' code takes native pictures alone; timm keeps their shifts at the other sizes.
    Case("microsoft", "swin", microsoft_swin, ((64, 64), (64, 96), (128, 64))),
)
