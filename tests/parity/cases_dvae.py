"""Discrete VAEs: DALL-E's package, both halves or the encoder alone, and transformers' FlavaImageCodebook."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from tests.parity.case import Case, Loaded
from tests.parity.twins import Forward, Twin, pictures, randomise

SIZES: dict[str, Any] = {"n_hid": 24, "n_blk_per_group": 2, "vocab_size": 40}
FLAVA: dict[str, Any] = {"hidden_size": 24, "num_blocks_per_group": 2, "vocab_size": 40}


class Both(nn.Module):
    """The package's two halves: pictures to logits of codes, and logits, as shares of codes, to pixels."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder


def dall_e_encoder(path: Path, **arguments: Any) -> Twin:
    """The package's Encoder, saved whole as it was published."""
    from dall_e import Encoder

    model = diverse(randomise(Encoder(**SIZES | arguments)))
    torch.save(model, path.with_suffix(".pkl"))
    return Twin(model, path.with_suffix(".pkl"), half(model))


def dall_e_state(path: Path, **arguments: Any) -> Twin:
    """The same as a state dict."""
    twin = dall_e_encoder(path, **arguments)
    torch.save(twin.model.state_dict(), path.with_suffix(".pth"))
    return twin._replace(path=path.with_suffix(".pth"))


def dall_e_both(path: Path, *, decoder: dict[str, Any] | None = None, **arguments: Any) -> Twin:
    """Encoder and Decoder, saved whole into one directory."""
    from dall_e import Decoder, Encoder

    model = Both(Encoder(**SIZES | arguments), Decoder(**SIZES | {"n_init": 20} | (decoder or {})))
    diverse(randomise(model).encoder)
    path.mkdir()
    torch.save(model.encoder, path / "encoder.pkl")
    torch.save(model.decoder, path / "decoder.pkl")
    return Twin(model, path, both(model))


def flava(path: Path, **arguments: Any) -> Twin:
    """transformers' FlavaImageCodebook and its image processor, saved by ``save_pretrained``."""
    from transformers import FlavaImageCodebook, FlavaImageCodebookConfig, FlavaImageProcessor

    model = FlavaImageCodebook(FlavaImageCodebookConfig(**FLAVA | arguments))
    diverse(randomise(model)).save_pretrained(path)
    channels = model.config.input_channels
    statistics = {"codebook_image_mean": [0.0] * channels, "codebook_image_std": [1.0] * channels}
    FlavaImageProcessor(**statistics).save_pretrained(path)
    return Twin(model, path, model)


@torch.no_grad()
def diverse(model: nn.Module) -> nn.Module:
    """The same encoder, with what all places have in common taken out of its last convolution: or else random
    weights give all of them one code."""
    last = model.blocks.output.conv
    weight, bias = last.parameters()
    channels = next(model.blocks.input.parameters()).shape[1]
    given: list[Tensor] = []
    handle = last.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0]))
    model.blocks(pictures((48, 48), channels).float())
    handle.remove()
    mean = given[0].mean((0, 2, 3))
    weight -= (weight.flatten(1) @ mean / mean.dot(mean))[:, None, None, None] * mean[None, :, None, None]
    bias *= 0.1
    return model


def half(model: nn.Module) -> Forward:
    """What the package's blocks make of their input, in the type of their weights: its own forward turns all
    into float32."""
    from dall_e.utils import Conv2d

    def convolve(layer: nn.Module) -> Callable[[Tensor], Tensor]:
        return lambda grid: conv2d(grid, layer.w, layer.b, padding=(layer.kw - 1) // 2)

    for layer in model.modules():
        if isinstance(layer, Conv2d):
            layer.forward = convolve(layer)
    return lambda images: model.blocks(images)


def both(model: Both) -> Forward:
    """Logits of the codes, and what is painted from their softmax and from the likeliest codes, in a row."""
    encode, decode = half(model.encoder), half(model.decoder)

    def forward(images: Tensor) -> Tensor:
        logits = encode(images)
        likeliest = nn.functional.one_hot(logits.argmax(1), logits.shape[1]).movedim(3, 1).to(logits)
        return in_a_row(logits, decode(logits.softmax(1)), decode(likeliest))

    return forward


def answer_both(model: nn.Module, images: Tensor) -> Tensor:
    """What our model gives for ``both``."""
    logits, painted = model(images)
    return in_a_row(logits, model.decoder(logits.softmax(1)), painted)


def in_a_row(*maps: Tensor) -> Tensor:
    """(B, ...) each -> (B, N)."""
    return torch.cat([grid.flatten(1) for grid in maps], dim=1)


def from_dall_e(path: Path) -> Loaded:
    """The package's Encoder of the written arguments, with the written state dict."""
    model = _filled(path, "encoder", "Encoder")
    return model, half(model)


def both_from_dall_e(path: Path) -> Loaded:
    """Both halves likewise."""
    model = Both(_filled(path, "encoder", "Encoder"), _filled(path, "decoder", "Decoder"))
    return model, both(model)


def _filled(path: Path, name: str, kind: str) -> nn.Module:
    import dall_e
    from safetensors.torch import load_file

    arguments = json.loads((path / "config.json").read_text())[name]
    model = getattr(dall_e, kind)(**arguments)
    model.load_state_dict(load_file(path / f"{name}.safetensors"))
    return model


def from_flava(path: Path) -> Loaded:
    """What ``from_pretrained`` makes of a directory; nothing may be missing or left over."""
    from transformers import FlavaImageCodebook

    model, told = FlavaImageCodebook.from_pretrained(path, output_loading_info=True)
    assert not any(told.values()), told
    return model.eval(), model


SHAPES = ((112, 112), (48, 48), (24, 56), (35, 50))  # of the last, edges are cut off
CASES = (
    Case("dall_e", "dvae encoder.pkl", dall_e_encoder, SHAPES, from_dall_e),
    Case("dall_e", "dvae state dict", dall_e_state, SHAPES, from_dall_e),
    Case(
        "dall_e",
        "dvae encoder.pkl and decoder.pkl",
        dall_e_both,
        SHAPES,
        both_from_dall_e,
        answer=answer_both,
    ),
    Case("transformers", "dvae", flava, SHAPES, from_flava),
)
