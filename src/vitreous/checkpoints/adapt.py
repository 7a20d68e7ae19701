"""A checkpoint made ready for other classes or another picture size. What is new is said aloud."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vitreous.backbones.config import MiTConfig, SwinConfig
from vitreous.backbones.convnet_config import ConvNetBackboneConfig
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.weights import load_weights
from vitreous.data.preprocess import Preprocess
from vitreous.errors import ConfigError
from vitreous.layers.attention_bias import resize_bias
from vitreous.layers.layout import Layout
from vitreous.layers.positions import resize_positions
from vitreous.models.averaging import as_classifier
from vitreous.models.classifier import build_head
from vitreous.models.config import (
    ClassifierConfig,
    ConvNetConfig,
    DeiTConfig,
    DetrConfig,
    DVAEConfig,
    MAEConfig,
    MaskedTokensConfig,
    ModelConfig,
    SegFormerConfig,
    SimMIMConfig,
    UPerNetConfig,
    YolosConfig,
    is_classifier,
    way_to_classes,
    with_image_size,
)

POSITIONS = "backbone.embed.positions.table"
DECODER_POSITIONS = "decoder.positions.table"
POSITIONS_BETWEEN = "positions_between."
BIAS = ".attention.bias.table"


def adapt(
    checkpoint: Checkpoint,
    *,
    classes: tuple[str, ...] | None = None,
    image_size: tuple[int, int] | None = None,
) -> tuple[Checkpoint, tuple[str, ...]]:
    """The checkpoint with a head for ``classes`` and native pictures of ``image_size`` (h, w) pixels.

    Where both are what it has, it comes back as it is. Otherwise a new model comes back, which shares
    the tensors that did not change, and a sentence on each thing that did. A new head is linear, small
    and random (from torch's global generator), tells one class of several, and has no fitted temperature.
    What was pretrained without classes becomes a classifier on the mean of its patches; a SegFormer goes on
    telling the classes of places, and a detector those of objects.

    Raises:
        ConfigError: ``classes`` for a tokenizer, which tells none apart.
    """
    notes: list[str] = []
    config, preprocess = checkpoint.model.config, checkpoint.preprocess
    state = dict(checkpoint.model.state_dict())
    names, temperature, answers = checkpoint.classes, checkpoint.temperature, checkpoint.answers
    if image_size is not None and image_size != config.image_size:
        notes.append(_size_note(config, image_size))
        preprocess = _resized(preprocess, image_size)
        config = _moved(config, state, image_size)
    if classes is not None and classes != names:
        notes += _head_notes(config, len(classes), len(names))
        config, state = _with_head(config, state, len(classes))
        names, temperature, answers = classes, 1.0, "one"
    if not notes:
        return checkpoint, ()
    model = load_weights(config, state, "the adapted model", dtype=None)
    model.train(checkpoint.model.training)
    return Checkpoint(model, preprocess, names, temperature, checkpoint.lineage, answers), tuple(notes)


def _with_head(
    config: ModelConfig, state: dict[str, Tensor], classes: int
) -> tuple[ModelConfig, dict[str, Tensor]]:
    """The configuration and the tensors with new heads for so many classes."""
    if isinstance(config, DVAEConfig):
        raise ConfigError(
            "a dVAE makes tokens of pictures and cannot be tuned to tell classes apart; wanted a backbone:"
            f" {way_to_classes(config)}"
        )
    if isinstance(config, MAEConfig | MaskedTokensConfig | SimMIMConfig | UPerNetConfig):
        state = {key: value for key, value in state.items() if key.startswith("backbone.")}
        config, state = as_classifier(config.backbone, state)
    if isinstance(config, ConvNetConfig):
        from vitreous.models.convnet import head_of  # torchvision, which takes a second to import

        name, width = head_of(config.architecture)
        heads = {name: width}
    elif isinstance(config, DeiTConfig):
        heads = dict.fromkeys(("head", "distillation_head"), config.backbone.out_channels)
    elif isinstance(config, SegFormerConfig):
        heads = {"head.classify": config.decoder_width}
    elif isinstance(config, DetrConfig):
        return replace(config, classes=classes), _with_labels(state, "classify", config.width, classes)
    elif isinstance(config, YolosConfig):
        width = config.backbone.encoder.width
        return replace(config, classes=classes), _with_labels(state, "classify.layers.2", width, classes)
    else:
        heads = {"head": config.pooled}
    config = replace(config, classes=classes)
    if isinstance(config, ClassifierConfig):
        config = replace(config, head="linear")
    some = next(iter(state.values()))
    kept = {key: value for key, value in state.items() if not key.startswith(tuple(f"{h}." for h in heads))}
    for head, width in heads.items():
        new = build_head("linear", width, classes).state_dict()
        if isinstance(config, SegFormerConfig):  # which tells classes by a convolution of one cell
            new["weight"] = new["weight"][:, :, None, None]
        kept |= {f"{head}.{key}": value.detach().to(some) for key, value in new.items()}
    return config, kept


def _with_labels(state: dict[str, Tensor], head: str, width: int, classes: int) -> dict[str, Tensor]:
    """The tensors of a detector with new classes. What says that there is no object, the last row, stays."""
    new = build_head("linear", width, classes).state_dict()
    found = dict(state)
    for leaf, value in new.items():
        key = f"{head}.{leaf}"
        found[key] = torch.cat([value.detach().to(state[key]), state[key][-1:]])
    return found


def _moved(config: ModelConfig, state: dict[str, Tensor], image_size: tuple[int, int]) -> ModelConfig:
    """The configuration for another picture size; learned tables in ``state`` are resized for it."""
    moved = with_image_size(config, image_size)
    if isinstance(config, ConvNetConfig | DVAEConfig):
        return moved
    before = config.backbone
    if isinstance(before, MiTConfig | ConvNetBackboneConfig):
        return moved
    if isinstance(before, SwinConfig):  # whose windows, and so their tables of offsets, stay as they are
        if POSITIONS in state:
            origin, target = (Layout(0, *before.grid_at(size)) for size in (before.image_size, image_size))
            state[POSITIONS] = resize_positions(state[POSITIONS], origin, target, "plain")
        return moved
    rows, cols = replace(before, image_size=image_size).grid
    tables = [(POSITIONS, before.placed, before.position_resize)]
    if isinstance(config, MAEConfig):
        tables.append((DECODER_POSITIONS, before.prefix, config.decoder_position_resize))
    if isinstance(config, YolosConfig):
        between = [key for key in state if key.startswith(POSITIONS_BETWEEN)]
        tables += [(key, config.prefix, before.position_resize) for key in between]
    for key, placed, method in tables:
        if key in state:
            origin, target = Layout(placed, *before.grid), Layout(placed, rows, cols)
            state[key] = resize_positions(state[key], origin, target, method)
    for key in state:
        if key.endswith(BIAS):
            origin, target = Layout(before.prefix, *before.grid), Layout(before.prefix, rows, cols)
            state[key] = resize_bias(state[key], origin, target, before.bias_resize)
    if before.bias_resize == "bilinear_swapped":  # the new tables have their sides in order
        backbone: Any = replace(before, image_size=image_size, bias_resize="bilinear")
        moved = replace(config, backbone=backbone)
    return moved


def _resized(preprocess: Preprocess, image_size: tuple[int, int]) -> Preprocess:
    # The share of the picture that a crop keeps stays the same.
    shorter, squashed = preprocess.shorter, preprocess.squashed
    if shorter is not None:
        shorter = max(1, round(shorter * min(image_size) / min(preprocess.size)))
    longest = preprocess.longest
    if longest is not None and shorter is not None and preprocess.shorter is not None:
        longest = max(shorter, round(longest * shorter / preprocess.shorter))
    if squashed is not None:
        ratios = [new / old for new, old in zip(image_size, preprocess.size, strict=True)]
        squashed = (max(1, round(squashed[0] * ratios[0])), max(1, round(squashed[1] * ratios[1])))
    return replace(preprocess, size=image_size, shorter=shorter, longest=longest, squashed=squashed)


def _size_note(config: ModelConfig, after: tuple[int, int]) -> str:
    backbone = None if isinstance(config, ConvNetConfig | DVAEConfig) else config.backbone
    blind = backbone is None or isinstance(backbone, MiTConfig)
    blind = blind or (isinstance(backbone, SwinConfig) and backbone.positions == "none")
    what = "preprocessing" if blind else "positions and preprocessing"
    sizes = "x".join(map(str, config.image_size)), "x".join(map(str, after))
    return f"{what} went from pictures of {sizes[0]} to {sizes[1]} pixels"


def _head_notes(config: ModelConfig, classes: int, before: int) -> list[str]:
    notes = []
    if not is_classifier(config) and not isinstance(config, SegFormerConfig | DetrConfig | YolosConfig):
        parts = {
            MAEConfig: "decoder",
            MaskedTokensConfig: "mask token and visual-token head",
            SimMIMConfig: "mask token and decoder",
        }
        part = parts.get(type(config), "head for every place")
        notes.append(
            f"the {part} of the pretraining is left out; classes are told from the mean of the patches"
        )
    heads = "two new heads" if isinstance(config, DeiTConfig) else "a new head"
    verb = "take" if isinstance(config, DeiTConfig) else "takes"
    place = f"the one for {before}" if before else "none"
    notes.append(
        f"{heads} with random weights for {classes} classes {verb} the place of {place}; all else is kept"
    )
    return notes
