"""Tiny random twins: models of other libraries with a random value in every tensor, saved as those
libraries save, and compared with what vitreous reads from the files."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

Forward = Callable[[Tensor], Tensor]
BOUND = {torch.float32: 1e-4, torch.float64: 1e-9}  # of the scale of the reference's logits


class Twin(NamedTuple):
    """A reference model, where it was saved, and its logits for pictures in the model's own dtype."""

    model: nn.Module
    path: Path
    forward: Forward


class Difference(NamedTuple):
    """The largest difference of two sets of logits, and the same as a share of their scale."""

    absolute: float
    relative: float


@torch.no_grad()
def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random values in every parameter, of such a size that no part of the model fades out."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.named_parameters():
        drawn = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        if value.ndim >= 2 and not any(word in name for word in ("token", "pos")):
            drawn = drawn / value[0].numel() ** 0.5
        elif value.ndim == 1 and name.endswith(("weight", "gamma")):
            drawn = 1 + drawn / 4
        else:
            drawn = drawn / 2
        value.copy_(drawn)
    return model.eval()


def pictures(size: tuple[int, int], channels: int = 3, seed: int = 1) -> Tensor:
    """Three noisy pictures, (3, C, h, w) float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, channels, *size, generator=generator, dtype=torch.float64)


@torch.no_grad()
def difference(model: nn.Module, reference: Forward, images: Tensor) -> Difference:
    """How far a model of ours is from a reference."""
    ours, theirs = model(images).logits, reference(images)
    assert ours.shape == theirs.shape
    absolute = (ours - theirs).abs().max().item()
    return Difference(absolute, absolute / theirs.abs().max().item())


def timm_twin(path: Path, *, seed: int = 0, **arguments: Any) -> Twin:
    """timm's VisionTransformer, saved by its ``save_for_hf``."""
    import timm
    from timm.models import save_for_hf

    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 4, "num_classes": 5}
    model = timm.create_model("vit_tiny_patch16_224", **sizes | {"dynamic_img_size": True} | arguments)
    save_for_hf(randomise(model, seed), str(path), safe_serialization=True)
    return Twin(model, path, model)


def transformers_twin(path: Path, *, seed: int = 0, **arguments: Any) -> Twin:
    """transformers' ViTForImageClassification and its image processor, saved by ``save_pretrained``."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    values: dict[str, Any] = {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 96,
        "image_size": 32,
        "patch_size": 8,
        "id2label": dict(enumerate(["ant", "bee", "cat", "dog", "eel"])),
    }
    model = ViTForImageClassification(ViTConfig(**values | arguments))
    randomise(model, seed).save_pretrained(path)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(path)
    return Twin(model, path, transformers_forward(model))


def transformers_forward(model: nn.Module) -> Forward:
    """The logits of a transformers model at any picture size."""
    native = model.config.image_size
    native = tuple(native) if isinstance(native, list | tuple) else (native, native)
    return lambda images: model(images, interpolate_pos_encoding=tuple(images.shape[-2:]) != native).logits


def torchvision_twin(path: Path, *, seed: int = 0, **arguments: Any) -> Twin:
    """torchvision's VisionTransformer; its state dict saved by ``torch.save``."""
    from torchvision.models import VisionTransformer

    values: dict[str, Any] = {
        "image_size": 32,
        "patch_size": 8,
        "num_layers": 2,
        "num_heads": 3,
        "hidden_dim": 192,
        "mlp_dim": 256,
        "num_classes": 5,
    }
    model = randomise(VisionTransformer(**values | arguments), seed)
    torch.save(model.state_dict(), path)
    return Twin(model, path, torchvision_forward(model))


def torchvision_forward(model: nn.Module) -> Forward:
    """The logits of a torchvision model at any square size: its own ``interpolate_embeddings`` first."""
    from torchvision.models import VisionTransformer
    from torchvision.models.vision_transformer import interpolate_embeddings

    def forward(images: Tensor) -> Tensor:
        side = images.shape[-1]
        if side == model.image_size:
            return model(images)
        resized = VisionTransformer(
            image_size=side,
            patch_size=model.patch_size,
            num_layers=len(model.encoder.layers),
            num_heads=model.encoder.layers[0].num_heads,
            hidden_dim=model.hidden_dim,
            mlp_dim=model.mlp_dim,
            num_classes=model.num_classes,
            representation_size=model.representation_size,
        )
        resized.to(images.dtype)
        resized.load_state_dict(interpolate_embeddings(side, model.patch_size, model.state_dict()))
        return resized.eval()(images)

    return forward


def google_arrays(*, seed: int = 0, classes: int = 5, pre_logits: bool = False) -> dict[str, np.ndarray]:
    """Random arrays under the names and with the axes that Google published."""
    generator = np.random.default_rng(seed)
    width, heads, depth, hidden, patch, grid = 64, 4, 2, 96, 8, 4
    each = width // heads

    def draw(*shape: int, fan_in: int = 4) -> np.ndarray:
        return (generator.standard_normal(shape) / fan_in**0.5).astype(np.float32)

    def scale() -> np.ndarray:
        return 1 + draw(width, fan_in=16)

    arrays = {
        "embedding/kernel": draw(patch, patch, 3, width, fan_in=3 * patch * patch),
        "embedding/bias": draw(width),
        "cls": draw(1, 1, width),
        "Transformer/posembed_input/pos_embedding": draw(1, 1 + grid * grid, width),
        "Transformer/encoder_norm/scale": scale(),
        "Transformer/encoder_norm/bias": draw(width),
        "head/kernel": draw(width, classes, fan_in=width),
        "head/bias": draw(classes),
    }
    if pre_logits:
        arrays |= {"pre_logits/kernel": draw(width, width, fan_in=width), "pre_logits/bias": draw(width)}
    for index in range(depth):
        block = f"Transformer/encoderblock_{index}"
        attention = f"{block}/MultiHeadDotProductAttention_1"
        for part in ("query", "key", "value"):
            arrays[f"{attention}/{part}/kernel"] = draw(width, heads, each, fan_in=width)
            arrays[f"{attention}/{part}/bias"] = draw(heads, each)
        arrays |= {
            f"{attention}/out/kernel": draw(heads, each, width, fan_in=width),
            f"{attention}/out/bias": draw(width),
            f"{block}/MlpBlock_3/Dense_0/kernel": draw(width, hidden, fan_in=width),
            f"{block}/MlpBlock_3/Dense_0/bias": draw(hidden),
            f"{block}/MlpBlock_3/Dense_1/kernel": draw(hidden, width, fan_in=hidden),
            f"{block}/MlpBlock_3/Dense_1/bias": draw(width),
        }
        for norm in ("LayerNorm_0", "LayerNorm_2"):
            arrays |= {f"{block}/{norm}/scale": scale(), f"{block}/{norm}/bias": draw(width)}
    return arrays


def google_twin(path: Path, arrays: Mapping[str, np.ndarray]) -> Twin:
    """The arrays saved by numpy, and timm's model as timm's own ``.npz`` loader fills it."""
    import timm

    np.savez(path, **arrays)
    model = timm.create_model(
        "vit_tiny_patch16_224",
        img_size=32,
        patch_size=8,
        embed_dim=64,
        depth=2,
        num_heads=4,
        mlp_ratio=1.5,
        num_classes=arrays["head/bias"].shape[0],
        dynamic_img_size=True,
    )
    model.load_pretrained(str(path))
    return Twin(model, path, model.eval())
