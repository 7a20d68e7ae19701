"""The backbone of one model under the head of another: what was pretrained as a classifier, or without
classes, goes on as a model of places or of objects. What is new is said aloud."""

from dataclasses import replace
from typing import Any, get_args, get_type_hints

from vitreous.backbones.config import BackboneConfig, ViTConfig
from vitreous.checkpoints.adapt import adapt
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.weights import load_weights
from vitreous.errors import ConfigError
from vitreous.models.averaging import NORM, POOL_NORM
from vitreous.models.catalog import build
from vitreous.models.config import ClassifierConfig, ModelConfig, family_of

BACKBONE = "backbone."


def transplant(
    checkpoint: Checkpoint, wanted: ModelConfig, classes: tuple[str, ...]
) -> tuple[Checkpoint, tuple[str, ...]]:
    """A model of the ``wanted`` kind, native pictures and head on the checkpoint's own backbone.

    The backbone keeps its sizes, whatever those of ``wanted`` are, and every tensor, its positions resized;
    where a classifier normalised after pooling, that norm goes back to the end of the backbone. All else is
    random, from torch's global generator.

    Raises:
        ConfigError: the checkpoint has no backbone, or one that the wanted head does not stand on.
    """
    given: Any = checkpoint.model.config
    template: Any = wanted
    if not hasattr(given, "backbone") or not hasattr(template, "backbone"):
        raise ConfigError(
            f"a model of family {family_of(given)} has no backbone that one of family {family_of(wanted)}"
            " could stand on; wanted the weights of a ViT, a Swin or a Mix Transformer"
        )
    resized, notes = adapt(checkpoint, image_size=template.image_size)
    state = dict(resized.model.state_dict())
    backbone, state = _backbone(resized.model.config, state)
    stands = get_type_hints(type(template))["backbone"]
    if not isinstance(backbone, get_args(stands) or stands):
        kind = type(backbone).__name__.removesuffix("Config")
        raise ConfigError(f"a model of family {family_of(wanted)} does not stand on a {kind}")
    config = replace(template, backbone=backbone, classes=len(classes))
    kept = {key: value for key, value in state.items() if key.startswith(BACKBONE)}
    like = next(iter(kept.values()))
    fresh = build(config).to(like.device, like.dtype).state_dict()
    new = {key: value for key, value in fresh.items() if not key.startswith(BACKBONE)}
    model = load_weights(config, kept | new, "the transplanted model", dtype=None)
    model.train(checkpoint.model.training)
    said = (
        f"the backbone of the {family_of(given)} is kept; a {family_of(wanted)} head with random weights for"
        f" {len(classes)} classes stands on it"
    )
    return Checkpoint(model, resized.preprocess, classes, lineage=checkpoint.lineage), (*notes, said)


def _backbone(config: Any, state: dict[str, Any]) -> tuple[BackboneConfig, dict[str, Any]]:
    """The backbone with a norm at its end, and its tensors."""
    backbone: BackboneConfig = config.backbone
    pooled = isinstance(config, ClassifierConfig) and config.pool_norm and config.pool != "class_mean"
    if isinstance(backbone, ViTConfig) and not backbone.final_norm and pooled:
        backbone = replace(backbone, final_norm=True)
        moved = {NORM + key.removeprefix(POOL_NORM): key for key in state if key.startswith(POOL_NORM)}
        state = state | {ours: state[key] for ours, key in moved.items()}
    return backbone, state
