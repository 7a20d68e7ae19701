"""DALL-E's own classes, filled with the weights that a file holds. Its published files are never loaded as
the package does it: they are pickles of whole modules, which that would run.

Shapes: B pictures; C channels; K codes; rows x cols tokens.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.peer import Hidden, Peer, require
from vitreous.checkpoints.stored import open_directory, open_file, peeled
from vitreous.models.config import DVAEConfig
from vitreous.models.dvae import DVAE

DECODER, ENCODER = "decoder.", "encoder."
WITHOUT = "what DALL-E does to pictures stands in its example, not in its files"


class _Halves(nn.Module):
    """An encoder, and a decoder where there is one."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module | None) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, K, rows, cols), or ``in_a_row``."""
        logits = self.encoder(images)
        return logits if self.decoder is None else in_a_row(logits, self.decoder(logits.softmax(1)))


def load_dall_e(place: Path, checkpoint: Checkpoint) -> Peer:
    """The package's Encoder, and its Decoder where the model has one, made with the sizes that were read and
    filled with the tensors of a file or a directory. MissingPackage where the package is not installed."""
    package = require("dall_e")
    config: DVAEConfig = checkpoint.model.config
    held = open_directory(place, place.name) if place.is_dir() else peeled(open_file(place, place.name))
    tensors = held.load()
    sizes = {"n_hid": config.width, "n_blk_per_group": config.blocks, "vocab_size": config.codes}
    encoder = package.Encoder(**sizes, input_channels=config.channels)
    encoder.load_state_dict(_half(tensors, ENCODER))
    decoder = None
    if config.decoder:
        decoder = package.Decoder(**sizes, n_init=config.code_width, output_channels=config.channels)
        decoder.load_state_dict(_half(tensors, DECODER))
    model = _Halves(encoder, decoder).eval()

    def answer(images: Tensor, _: Hidden) -> Tensor:
        return model(images)

    kind = "Encoder" if decoder is None else "Encoder and Decoder"
    return Peer("dall_e", kind, model, answer, (), WITHOUT)


def answer_of(model: Any, images: Tensor) -> Tensor:
    """What a model of ours answers where ``load_dall_e`` is asked the same."""
    if not isinstance(model, DVAE) or model.decoder is None:
        logits: Tensor = model(images)[0]
        return logits
    logits = model.encode(images)
    return in_a_row(logits, model.decoder(logits.softmax(1)))


def in_a_row(*maps: Tensor) -> Tensor:
    """Maps (B, ...) -> (B, N), all their numbers one after another."""
    return torch.cat([grid.flatten(1) for grid in maps], dim=1)


def _half(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors of one half without its name; those without any are an encoder's."""
    bare = (
        {}
        if prefix == DECODER
        else {key: value for key, value in tensors.items() if key.startswith("blocks.")}
    )
    return bare | {
        key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)
    }
