"""DINOv2 in the layouts of two libraries and of its authors, whose code is no library here: their files are
made from timm's twin by renaming, and compared with that twin."""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from tests.parity.case import Case, Loaded
from tests.parity.cases_vit import from_timm
from tests.parity.twins import Forward, Twin, randomise

WORDS = ("ant", "bee", "cat", "dog", "eel")
WHOLE = ((28, 28), (42, 42), (28, 70))
# The last two are no multiples of the patch: transformers leaves out what is beyond the last whole one.
SIZES = (*WHOLE, (30, 57), (42, 29))
VALUES: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "mlp_ratio": 2,
    "image_size": 28,
    "patch_size": 14,
    "layerscale_value": 0.5,
    "id2label": dict(enumerate(WORDS)),
}
TIMM: dict[str, Any] = {"embed_dim": 64, "depth": 2, "num_heads": 4, "img_size": 28, "num_classes": 5}


def timm_dinov2(path: Path, name: str = "vit_small_patch14_dinov2", **arguments: Any) -> Twin:
    """timm's VisionTransformer under a name of DINOv2, saved by its ``save_for_hf``."""
    import timm
    from timm.models import save_for_hf

    model = timm.create_model(name, **TIMM | {"dynamic_img_size": True} | arguments)
    save_for_hf(randomise(model), str(path), safe_serialization=True)
    return Twin(model, path, model)


def transformers_dinov2(
    path: Path, *, registers: bool = False, kind: str = "ForImageClassification", **arguments: Any
) -> Twin:
    """transformers' Dinov2 or Dinov2WithRegisters and its processor, saved by ``save_pretrained``."""
    import transformers

    library = "Dinov2WithRegisters" if registers else "Dinov2"
    config = getattr(transformers, f"{library}Config")(**VALUES | arguments)
    model = randomise(getattr(transformers, library + kind)(config))
    model.save_pretrained(path)
    processor(config.num_channels).save_pretrained(path)
    return Twin(model, path, answer_of(model))


def processor(channels: int = 3) -> Any:
    """What the published models look at pictures with, smaller."""
    from transformers import BitImageProcessor

    return BitImageProcessor(
        size={"shortest_edge": 32},
        crop_size={"height": 28, "width": 28},
        image_mean=[0.4] * channels,
        image_std=[0.3] * channels,
        do_convert_rgb=channels == 3,
    )


def answer_of(model: nn.Module) -> Forward:
    """The logits of a classifier of transformers, or what a model without a head pools."""

    def forward(images: Tensor) -> Tensor:
        found = model(images)
        return found.logits if hasattr(found, "logits") else found.pooler_output

    return forward


def from_transformers_dinov2(path: Path) -> Loaded:
    """What ``AutoModelForImageClassification`` makes of a directory."""
    from transformers import AutoModelForImageClassification

    model = AutoModelForImageClassification.from_pretrained(path).eval()
    return model, answer_of(model)


def from_model(path: Path) -> Loaded:
    """What ``AutoModel`` makes of a directory."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(path).eval()
    return model, answer_of(model)


class Official(nn.Module):
    """What the authors' model computes, by timm's blocks: its table is resized as their code does, and a
    linear head may stand on the class token and the mean of the patches."""

    def __init__(self, registers: int, *, gated: bool, head: bool) -> None:
        super().__init__()
        import timm

        self.registers = registers
        self.name = f"vit_{'giant' if gated else 'small'}_patch14_{'reg4_' if registers else ''}dinov2"
        # So wide that the number of heads is known.
        self.sizes = {"embed_dim": 384, "depth": 2, "num_heads": 6, "num_classes": 0}
        self.sizes |= {"mlp_ratio": 3.0} if gated else {}
        self.sizes |= {"reg_tokens": registers} if registers else {}
        self.vit = timm.create_model(self.name, img_size=28, **self.sizes)
        self.linear_head = nn.Linear(768, 5) if head else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        import timm

        rows, cols = images.shape[-2] // 14, images.shape[-1] // 14
        sized = timm.create_model(self.name, img_size=(14 * rows, 14 * cols), **self.sizes)
        state = dict(self.vit.state_dict())
        prefix = 0 if self.registers else 1
        state["pos_embed"] = official_resize(state["pos_embed"], prefix, rows, cols, bool(self.registers))
        sized.to(images.dtype).eval().load_state_dict(state)
        tokens = sized.forward_features(images)
        if isinstance(self.linear_head, nn.Identity):
            return tokens[:, 0]
        patches = tokens[:, 1 + self.registers :]
        return self.linear_head(torch.cat([tokens[:, 0], patches.mean(1)], dim=1))


def official_dinov2(
    path: Path,
    *,
    registers: int = 0,
    gated: bool = False,
    head: bool = False,
    chunks: int = 0,
    base: str = "",
) -> Twin:
    """A file as the authors publish it; ``chunks`` are as many blocks as it keeps together."""
    model = Official(registers, gated=gated, head=head)
    randomise(model)
    generator = torch.Generator().manual_seed(3)
    state = {}
    for key, value in model.vit.state_dict().items():
        if gated:
            key = key.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3")
        state[key.replace("reg_token", "register_tokens")] = value.clone()
    if registers:  # timm's model has taken the class token's position into the token: numbers of few bits
        position = (torch.randn(1, 1, 384, generator=generator) * 32).round() / 64
        together = (model.vit.cls_token.data * 1024).round() / 1024
        model.vit.cls_token.data = together
        state["cls_token"] = together - position
        state["pos_embed"] = torch.cat([position, state["pos_embed"]], dim=1)
    state["mask_token"] = torch.randn(1, 384, generator=generator)
    if chunks:
        state = {
            re.sub(
                r"^blocks\.(\d+)", lambda found: f"blocks.{int(found[1]) // chunks}.{found[1]}", key
            ): value
            for key, value in state.items()
        }
    state = {base + key: value for key, value in state.items()}
    if head:
        state |= {f"linear_head.{key}": value for key, value in model.linear_head.state_dict().items()}
    torch.save(state, path)
    return Twin(model, path, model)


def official_resize(table: Tensor, prefix: int, rows: int, cols: int, antialias: bool) -> Tensor:
    """``interpolate_pos_encoding`` of the authors' ``DinoVisionTransformer``, written out."""
    side = int((table.shape[1] - prefix) ** 0.5)
    if (rows, cols) == (side, side):
        return table
    grid = table[:, prefix:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    if antialias:
        resized = interpolate(grid, size=(rows, cols), mode="bicubic", antialias=True)
    else:
        scale = (float(rows + 0.1) / side, float(cols + 0.1) / side)
        resized = interpolate(grid, scale_factor=scale, mode="bicubic", antialias=False)
    assert resized.shape[-2:] == (rows, cols)
    patches = resized.permute(0, 2, 3, 1).reshape(1, rows * cols, -1).to(table.dtype)
    return torch.cat([table[:, :prefix], patches], dim=1)


CASES = (
    Case("timm", "dinov2", timm_dinov2, WHOLE, from_timm),
    Case(
        "timm",
        "dinov2 with registers, gated",
        lambda path: timm_dinov2(path, "vit_giant_patch14_reg4_dinov2", mlp_ratio=3.0, global_pool="avg"),
        WHOLE,
        from_timm,
    ),
    Case("transformers", "dinov2", transformers_dinov2, SIZES, from_transformers_dinov2),
    Case(
        "transformers",
        "dinov2 gated",
        lambda path: transformers_dinov2(path, use_swiglu_ffn=True),
        SIZES,
        from_transformers_dinov2,
    ),
    Case(
        "transformers",
        "dinov2 with registers",
        lambda path: transformers_dinov2(path, registers=True, num_register_tokens=3),
        SIZES,
        from_transformers_dinov2,
    ),
    Case(
        "transformers",
        "dinov2 without a head",
        lambda path: transformers_dinov2(path, kind="Model"),
        SIZES,
        from_model,
    ),
    Case("facebookresearch", "dinov2", official_dinov2, WHOLE),
    Case("facebookresearch", "dinov2 gated", lambda path: official_dinov2(path, gated=True), WHOLE),
    Case(
        "facebookresearch",
        "dinov2 with registers and a head",
        lambda path: official_dinov2(path, registers=4, head=True, base="backbone."),
        WHOLE,
    ),
)
