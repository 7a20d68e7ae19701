"""Writing transformers' BEiT: a classifier, a headless model, or one for masked pretraining."""

from typing import Any

from torch import Tensor

from vitreous.backbones.config import ViTConfig
from vitreous.checkpoints.directory import FileContent, to_json
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.names import POSITIONS, scatter
from vitreous.checkpoints.foreign.plan import LAYER_SCALE
from vitreous.checkpoints.foreign.transformers.beit import MODEL_TYPES, names_of
from vitreous.checkpoints.foreign.transformers.processor import write_processor
from vitreous.checkpoints.foreign.transformers.vit import written_config
from vitreous.checkpoints.foreign.writing import (
    Limits,
    Writer,
    native_positions,
    plain_state,
    weights_file,
)
from vitreous.models.config import (
    ClassifierConfig,
    ConvNetConfig,
    DVAEConfig,
    MaskedTokensConfig,
    ModelConfig,
)

UNSAID = ("qkv_bias", "encoder_stride")  # of ViT's values
LABELS = ("id2label", "label2id")
LIMITS = Limits(attention="relative", mean_pool=True, headless=True, cut_edges=True, norms=("end", "pool"))


def reasons(config: ModelConfig) -> list[str]:
    """Why none of transformers' BEiT classes has a place for a model; empty where one has."""
    found = backbone_reasons(config)
    if isinstance(config, MaskedTokensConfig):
        if not config.vit.final_norm:
            found.append("its backbone has no norm at its end")
        if (
            config.head_norm
        ):  # transformers 5.23 loads "beit.layernorm" into "layernorm", and the other way round
            found.append("it has two norms ahead of its head, which the library takes for one another")
    if isinstance(config, ClassifierConfig) and config.pool_norm != (config.pool == "mean"):
        found.append("there the norm stands after a mean, or ahead of the class token")
    return found


def backbone_reasons(config: ModelConfig) -> list[str]:
    """The reasons that lie in what is below the head."""
    found = LIMITS.reasons(config)
    if isinstance(config, ConvNetConfig | DVAEConfig) or not isinstance(config.backbone, ViTConfig):
        return found
    if config.backbone.positions != "none" and config.backbone.grid[0] != config.backbone.grid[1]:
        found.append("it has position embeddings on a grid that is not square")
    return found


def write(checkpoint: Checkpoint) -> dict[str, FileContent]:
    """The files of a directory that the library's classes and ``AutoImageProcessor`` load.

    The bias of keys is left out, because softmax cancels it.

    Raises:
        CheckpointError: the preprocessing has a part that transformers has no place for.
    """
    config = checkpoint.model.config
    headless = isinstance(config, ClassifierConfig) and config.classes == 0
    table = names_of(config, "" if headless else MODEL_TYPES["beit"])
    state = placed_state(config.vit, plain_state(checkpoint, keep_layer_scale=True))
    return {
        "config.json": to_json(_values(checkpoint)),
        "preprocessor_config.json": to_json(write_processor(checkpoint.preprocess)),
        "model.safetensors": weights_file(scatter(table, state)),
    }


def placed_state(backbone: ViTConfig, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under our names, with a table of positions as the library has it, or none."""
    if backbone.positions == "none":
        return {key: value for key, value in state.items() if key != POSITIONS}
    return {**state, POSITIONS: native_positions(backbone, state, 1)}


def backbone_values(checkpoint: Checkpoint) -> dict[str, Any]:
    """What ``config.json`` says of the backbone and of the names of classes."""
    config = checkpoint.model.config
    backbone = config.vit
    scale = backbone.encoder.layer_scale
    values = written_config(checkpoint) | {
        "model_type": "beit",
        "use_relative_position_bias": True,
        "use_shared_relative_position_bias": False,
        "use_absolute_position_embeddings": backbone.positions != "none",
        # A first value of 0 means none there.
        "layer_scale_init_value": 0.0 if scale is None else scale if scale > 0 else LAYER_SCALE,
    }
    if backbone.grid[0] != backbone.grid[1] and backbone.bias_resize != "bilinear_swapped":
        # The library takes the sides of its tables for one another, and so finds these in order.
        values["image_size"] = list(reversed(backbone.image_size))
    unsaid = UNSAID if config.classes else (*UNSAID, *LABELS)
    return {key: value for key, value in values.items() if key not in unsaid}


def _values(checkpoint: Checkpoint) -> dict[str, Any]:
    config = checkpoint.model.config
    values = backbone_values(checkpoint)
    if isinstance(config, MaskedTokensConfig):
        return values | {
            "architectures": ["BeitForMaskedImageModeling"],
            "use_mean_pooling": True,
            "use_mask_token": True,
            "vocab_size": config.visual_tokens,
        }
    return values | {
        "architectures": ["BeitForImageClassification" if config.classes else "BeitModel"],
        "use_mean_pooling": config.pool == "mean",
    }


WRITER = Writer("transformers' BEiT", ("beit", "beit_masked"), reasons, write)
