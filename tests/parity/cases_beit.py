"""BEiT in the layouts of timm, transformers and its authors."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.parity.case import Case, Loaded
from tests.parity.cases_deit import HUGGING
from tests.parity.twins import Forward, Twin, randomise

SIZES = ((32, 32), (48, 48), (24, 56), (45, 38))
TINY: dict[str, Any] = {
    "img_size": 32,
    "patch_size": 8,
    "embed_dim": 64,
    "depth": 2,
    "num_heads": 4,
    "num_classes": 5,
}


def timm_forward(model: nn.Module) -> Forward:
    """The answer of a timm model at any picture size: its own ``set_input_size`` first, on a copy."""

    def forward(images: Tensor) -> Tensor:
        size = tuple(images.shape[-2:])
        if size == tuple(model.patch_embed.img_size):
            return model(images)
        resized = deepcopy(model)
        resized.set_input_size(size)
        return resized(images)

    return forward


def timm_beit(path: Path, *, seed: int = 0, name: str = "beit_base_patch16_224", **arguments: Any) -> Twin:
    """timm's Beit, saved by its ``save_for_hf``."""
    import timm
    from timm.models import save_for_hf

    model = timm.create_model(name, **TINY | arguments)
    save_for_hf(randomise(model, seed), str(path), safe_serialization=True)
    return Twin(model, path, timm_forward(model))


def back_to_timm(path: Path) -> Loaded:
    """What ``create_model`` makes of a directory."""
    import timm

    model = timm.create_model(f"local-dir:{path}", pretrained=True).eval()
    return model, timm_forward(model)


def transformers_beit(
    path: Path,
    *,
    seed: int = 0,
    kind: str = "BeitForImageClassification",
    config: str = "BeitConfig",
    double: bool = False,
    **arguments: Any,
) -> Twin:
    """One of transformers' BEiT classes and its image processor, saved by ``save_pretrained``; ``double``
    keeps the tensors in float64."""
    import transformers

    values = HUGGING | {"use_relative_position_bias": True, "vocab_size": 40} | arguments
    model = randomise(getattr(transformers, kind)(getattr(transformers, config)(**values)), seed)
    (model.double() if double else model).save_pretrained(path)
    transformers.BeitImageProcessor(size={"height": 32, "width": 32}).save_pretrained(path)
    return Twin(model, path, lambda images: model(images).logits)


def hidden(images: Tensor, patch: int = 8, seed: int = 2) -> Tensor:
    """Which patches of these pictures a test hides, (B, P) bool: about half of them."""
    patches = (images.shape[-2] // patch) * (images.shape[-1] // patch)
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(len(images), patches, generator=generator) < 0.5


def masked_forward(model: nn.Module) -> Forward:
    """The logits of visual tokens where half of the patches are hidden."""
    return lambda images: model(images, bool_masked_pos=hidden(images)).logits


def transformers_masked(path: Path, *, seed: int = 0, **arguments: Any) -> Twin:
    """transformers' BeitForMaskedImageModeling."""
    values = {"use_mask_token": True, "use_shared_relative_position_bias": True}
    values |= {"use_relative_position_bias": False} | arguments
    twin = transformers_beit(path, seed=seed, kind="BeitForMaskedImageModeling", **values)
    return twin._replace(forward=masked_forward(twin.model))


def back_to_masked(path: Path) -> Loaded:
    """What ``from_pretrained`` makes of a directory."""
    from transformers import BeitForMaskedImageModeling

    model = BeitForMaskedImageModeling.from_pretrained(path).eval()
    return model, masked_forward(model)


def with_hidden(model: nn.Module, images: Tensor) -> Tensor:
    """Our masked model, told to hide the same patches."""
    return model(images, hidden(images)).logits


def authors_file(state: dict[str, Tensor], path: Path, change: Callable[[str], str] = str) -> Path:
    """The tensors of timm's BEiT as its authors save them: under "model", an index beside every table."""
    tables = [key for key in state if key.endswith("relative_position_bias_table")]
    for key in tables:
        index = key.removesuffix("bias_table") + "index"
        state = {**state, index: torch.zeros(17, 17, dtype=torch.long)}
    torch.save({"model": {change(key): value for key, value in state.items()}}, path)
    return path


def microsoft_beit(path: Path, *, seed: int = 0, **arguments: Any) -> Twin:
    """A fine-tuned file of the authors, of the width of a published one; timm's model is the reference."""
    import timm

    values = TINY | {"embed_dim": 192, "num_heads": 3} | arguments
    model = randomise(timm.create_model("beit_base_patch16_224", **values), seed)
    file = authors_file(dict(model.state_dict()), path.with_suffix(".pth"))
    return Twin(model, file, timm_forward(model))


def back_to_transformers(path: Path) -> Loaded:
    """What ``from_pretrained`` makes of a directory; it takes any picture size without being told."""
    from transformers import AutoModelForImageClassification

    model = AutoModelForImageClassification.from_pretrained(path).eval()
    return model, lambda images: model(images).logits


CASES = (
    Case("timm", "beit", timm_beit, SIZES, back_to_timm),
    Case("transformers", "beit", transformers_beit, SIZES, back_to_transformers),
    Case("transformers", "beit_masked", transformers_masked, SIZES, back_to_masked, answer=with_hidden),
    Case("microsoft", "beit", microsoft_beit, SIZES),
)
