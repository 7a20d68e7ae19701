"""DETR as plain values: any backbone, an encoder over its last map, a decoder over queries. No torch here."""

from dataclasses import dataclass
from typing import Literal

from vitreous.backbones.config import SwinConfig, ViTConfig
from vitreous.backbones.convnet_config import ConvNetBackboneConfig
from vitreous.errors import ConfigError
from vitreous.models.on_backbone import OnBackbone

Activation = Literal["relu", "gelu", "gelu_tanh", "quick_gelu"]
References = Literal["none", "boxes"]

LARGEST_QUERIES = 100_000
LARGEST_DEPTH = 500  # the deepest published ones have 6


@dataclass(frozen=True, kw_only=True)
class DetrConfig(OnBackbone):
    """``queries`` are how many objects a picture may have at most.

    ``references`` says where boxes are told from: "none", as in the paper, from nowhere, so that each query
    has to learn which part of pictures it looks at; "boxes", from a box of its own, which every layer betters
    (``detr_references.py``). Of such queries there may be several ``groups`` in training, each of which
    learns all objects by itself. ``norm_between`` normalises what a decoder layer hands to
    the next one by the decoder's last norm, as transformers does where ``auxiliary_loss`` is on; the paper
    normalises only what the heads see.
    """

    backbone: ViTConfig | SwinConfig | ConvNetBackboneConfig
    classes: int = 91
    width: int = 256
    encoder_depth: int = 6
    decoder_depth: int = 6
    heads: int = 8
    mlp_width: int = 2048
    queries: int = 100
    activation: Activation = "relu"
    dropout: float = 0.1
    references: References = "none"
    groups: int = 1
    norm_between: bool = False

    def __post_init__(self) -> None:
        sizes = {"classes": self.classes, "width": self.width, "heads": self.heads}
        sizes |= {"mlp_width": self.mlp_width, "queries": self.queries, "decoder_depth": self.decoder_depth}
        for name, size in sizes.items():
            if size < 1:
                raise ConfigError(f"{name} must be 1 or more, got {size}")
        if self.encoder_depth < 0:
            raise ConfigError(f"encoder_depth must be 0 or more, got {self.encoder_depth}")
        if max(self.encoder_depth, self.decoder_depth) > LARGEST_DEPTH:
            deepest = max(self.encoder_depth, self.decoder_depth)
            raise ConfigError(f"{deepest} layers, more than {LARGEST_DEPTH} are refused")
        if self.groups < 1:
            raise ConfigError(f"groups must be 1 or more, got {self.groups}")
        if self.references == "none" and self.groups > 1:
            raise ConfigError(f"groups of queries need references=boxes, got {self.groups} groups without")
        if self.references == "boxes" and self.norm_between:
            raise ConfigError("norm_between is for queries without references; wanted one of the two")
        if self.queries * self.groups > LARGEST_QUERIES:
            raise ConfigError(
                f"{self.queries * self.groups} queries, more than {LARGEST_QUERIES} are refused"
            )
        if self.width % 4:
            raise ConfigError(f"places of two axes need a width divisible by 4, got {self.width}")
        if self.width % self.heads:
            raise ConfigError(f"width {self.width} cannot be shared by {self.heads} heads")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is a probability from 0 to below 1, got {self.dropout}")

    def map_at(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """(rows, cols) of the map that the encoder reads, for a picture size."""
        if isinstance(self.backbone, SwinConfig):
            return self.backbone.grids_at(image_size)[-1]
        return self.backbone.grid_at(image_size)
