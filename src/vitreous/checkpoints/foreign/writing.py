"""What all writers of foreign layouts share: refusing what the other library cannot say, and turning
into plain weights what it can compute but has no name for.

Exact and silent: LayerScale is multiplied into the layer before it, the fitted temperature divides the
last layer, fixed sine-cosine positions become the table of the native picture size, and a class token
or registers without a position get one of zeros.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from vitreous.backbones.config import ViTConfig
from vitreous.checkpoints.directory import FileContent
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.names import BLOCK, POSITIONS, Table, scatter
from vitreous.checkpoints.weights import write_safetensors
from vitreous.layers.layout import Layout
from vitreous.layers.positions import build_positions
from vitreous.models.config import ClassifierConfig, ConvNetConfig, DVAEConfig, ModelConfig


class Writer(NamedTuple):
    """One class of another library that models are written for.

    ``families`` are those of ours that it may hold; ``reasons`` say why it cannot hold a given model, and
    are empty where it can; ``write`` gives the files of a directory.
    """

    library: str
    families: tuple[str, ...]
    reasons: Callable[[ModelConfig], list[str]]
    write: Callable[[Checkpoint], dict[str, FileContent]]


# Where a classifier's last norm stands, and what is said of it where there is no place for it.
NORMS = {
    "end": "its norm stands ahead of pooling",
    "pool": "its norm stands after pooling",
    "both": "it normalises ahead of pooling and after it",
    "none": "it has no norm at its end",
}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a library's class on a plain ViT can be. An empty tuple or None leaves that value free;
    ``norms`` are keys of ``NORMS``."""

    eps: float | None = None
    activations: Collection[str] = ()
    channels: Collection[int] = ()
    square: bool = False
    mlp_head: bool = False
    registers: bool = False
    mean_pool: bool = False
    class_mean_pool: bool = False
    no_class_token: bool = False
    headless: bool = False
    swiglu: bool = False
    distillation: bool = False
    attention: str | None = None
    no_layer_scale: bool = False
    cut_edges: bool = False
    norms: Collection[str] = ()

    def reasons(self, config: ModelConfig) -> list[str]:
        """Why the class has no place for a model; empty where it has."""
        if isinstance(config, ConvNetConfig | DVAEConfig) or not isinstance(config.backbone, ViTConfig):
            return ["it does not stand on a plain ViT"]
        backbone, encoder = config.backbone, config.backbone.encoder
        pool, head, norm = "class", "linear", "end"
        if isinstance(config, ClassifierConfig):
            pool, head, norm = config.pool, config.head, _norm_of(config)
        height, width = backbone.image_size
        lossy = height % backbone.patch or width % backbone.patch
        lossy = lossy and not (backbone.cut_edges and self.cut_edges)
        known = ", ".join(self.activations)
        checks = {
            "it has a convolutional stem": backbone.stem != "linear",
            f"it has {backbone.registers} register tokens": bool(backbone.registers) and not self.registers,
            "it pools the mean of its patches": pool == "mean" and not self.mean_pool,
            "it pools class token and mean": pool == "class_mean" and not self.class_mean_pool,
            "its MLP is gated": encoder.mlp == "swiglu" and not self.swiglu,
            "it has LayerScale": encoder.layer_scale is not None and self.no_layer_scale,
            NORMS[norm]: bool(self.norms) and norm not in self.norms,
            "it has a distillation token": backbone.distillation_token and not self.distillation,
            f"its attention is {backbone.attention}, there it is {self.attention}": self.attention is not None
            and backbone.attention != self.attention,
            "it has no class token": not backbone.class_token and not self.no_class_token,
            "it has a head of two layers": head == "mlp" and not self.mlp_head,
            "it has no head": config.classes == 0 and not self.headless,
            f"its norm epsilon is {encoder.norm_eps}, there it is {self.eps}": self.eps is not None
            and encoder.norm_eps != self.eps,
            f"its activation is {encoder.activation}, there is only {known}": bool(self.activations)
            and encoder.activation not in self.activations,
            f"it takes {backbone.channels} channels": bool(self.channels)
            and backbone.channels not in self.channels,
            f"its pictures of {height}x{width} pixels are not square": self.square and height != width,
            f"its pictures of {height}x{width} pixels are no multiple of patch {backbone.patch}": bool(lossy),
        }
        return [reason for reason, holds in checks.items() if holds]


def _norm_of(config: ClassifierConfig) -> str:
    ahead = not isinstance(config.backbone, ViTConfig) or config.backbone.final_norm
    if config.pool_norm:
        return "both" if ahead else "pool"
    return "end" if ahead else "none"


def plain_state(checkpoint: Checkpoint, *, keep_layer_scale: bool = False) -> dict[str, Tensor]:
    """The model's tensors under our names, without what most libraries have no name for."""
    state = {key: value.detach() for key, value in checkpoint.model.state_dict().items()}
    config = checkpoint.model.config
    if config.vit.encoder.layer_scale is not None and not keep_layer_scale:
        state = _without_layer_scale(state, config.vit.depth)
    if checkpoint.temperature != 1.0 and config.classes:
        # The mean of two heads is divided with them.
        for last in ("head", "head.output", "distillation_head"):
            for key in (f"{last}.weight", f"{last}.bias"):
                if key in state:
                    state[key] = state[key] / checkpoint.temperature
    return state


def native_positions(backbone: ViTConfig, state: Mapping[str, Tensor], prefix: int) -> Tensor:
    """The table of the native picture size with ``prefix`` rows ahead of the patches: (1, T+P, D)."""
    placed = backbone.placed
    if backbone.positions == "learned":
        table = state[POSITIONS]
    else:
        layout = Layout(placed, *backbone.grid)
        fixed = build_positions(backbone.positions, backbone.encoder.width, layout, backbone.position_resize)
        table = fixed(layout).clone()
    class_rows, patches = table[:, : min(placed, prefix)], table[:, placed:]
    empty = table.new_zeros(1, prefix - class_rows.shape[1], table.shape[2])
    return torch.cat([class_rows, empty, patches], dim=1)


def written_names(table: Table, state: dict[str, Tensor], config: ClassifierConfig) -> dict[str, Tensor]:
    """The state under their names, with one position for the class token and each patch."""
    state = {**state, POSITIONS: native_positions(config.vit, state, 1)}
    return scatter(table, state)


def weights_file(tensors: Mapping[str, Tensor]) -> FileContent:
    """A safetensors file for ``write_directory``."""
    return partial(write_safetensors, tensors, metadata={"format": "pt"})


def _without_layer_scale(state: dict[str, Tensor], depth: int) -> dict[str, Tensor]:
    merged = dict(state)
    for index in range(depth):
        for scale, last in (("attention_scale", "attention.projection"), ("mlp_scale", "mlp.contract")):
            factors = merged.pop(f"{BLOCK}.{index}.{scale}.scale")  # (D,)
            weight, bias = (f"{BLOCK}.{index}.{last}.{leaf}" for leaf in ("weight", "bias"))
            merged[weight] = merged[weight] * factors[:, None]
            merged[bias] = merged[bias] * factors
    return merged
