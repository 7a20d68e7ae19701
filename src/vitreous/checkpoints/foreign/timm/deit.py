"""timm's ``VisionTransformerDistilled`` (DeiT with a distillation token), read and written: a directory
as its ``save_for_hf`` writes it, or a bare state dict. The ``.pth`` files of DeiT's own code have the same
names under "model"."""

from collections.abc import Mapping
from typing import Any

from vitreous.backbones.config import EncoderConfig, ViTConfig
from vitreous.checkpoints.directory import FileContent, to_json
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.fields import section
from vitreous.checkpoints.foreign.names import (
    CLASS_TOKEN,
    DISTILLATION_TOKEN,
    NORM,
    PATCHES,
    POSITIONS,
    Names,
    layer,
    scatter,
)
from vitreous.checkpoints.foreign.plan import (
    Found,
    Plan,
    Reader,
    Shapes,
    missing_biases,
    named,
    patch_kernel,
    refuse,
    rows_of,
    square_side,
    table_rows,
)
from vitreous.checkpoints.foreign.timm import vit
from vitreous.checkpoints.foreign.timm.architectures import Architecture
from vitreous.checkpoints.foreign.timm.common import (
    EPS,
    LAYOUT,
    activation_of,
    architecture_of,
    class_names_in,
    heads_in,
    init_values,
    layer_scale_in,
    mlp_ratio,
    pretrained_of,
    read_transform,
    refuse_arguments,
    stated_size,
    written_config,
)
from vitreous.checkpoints.foreign.writing import (
    Limits,
    Writer,
    native_positions,
    plain_state,
    weights_file,
)
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.catalog import CATALOG
from vitreous.models.config import ClassifierConfig, DeiTConfig, ModelConfig

NAMES = Names(
    outside={
        **layer(PATCHES, "patch_embed.proj"),
        CLASS_TOKEN: ("cls_token",),
        DISTILLATION_TOKEN: ("dist_token",),
        POSITIONS: ("pos_embed",),
        **layer(NORM, "norm"),
        **layer("head", "head"),
        **layer("distillation_head", "head_dist"),
    },
    block=vit.NAMES.block,
    inside=vit.NAMES.inside,
)
OWN = ("dist_token", "head_dist")
NOT_DEIT = {key: what for key, what in vit.NOT_PLAIN.items() if key not in OWN}
# Its forward pass goes by the registers and by a norm after pooling, whether or not it holds them.
UNUSED = ("fc_norm.weight", "fc_norm.bias", "reg_token")
SIZES = {(192, 3): "tiny", (384, 6): "small", (768, 12): "base"}
LIMITS = Limits(
    eps=EPS, distillation=True, attention="plain", headless=True, cut_edges=True, norms=("end", "none")
)


def recognises(found: Found) -> bool:
    """Whether these are the names of a timm ViT with a distillation token."""
    return "dist_token" in found.stored.described and vit.recognises(found)


def plan(found: Found, model: str | None) -> Plan:
    """Read what the shapes show, and the rest from ``config`` or from the name of the architecture.

    ``model`` is a timm architecture or a name of our catalog, for a bare file.

    Raises:
        CheckpointError: parts that a DeiT does not have, arguments that are not known, or a size that
            must be named.
    """
    shapes, name = found.shapes, found.name
    refuse(shapes, NOT_DEIT, name)
    values = found.config or {}
    told = architecture_of(values, model, "deit", name)
    arguments = section(values, "model_args", name)
    refuse_arguments(arguments, vit.ACCOUNTED, vit.OFF, "DeiT", name)
    if arguments.get("global_pool") not in (None, "token"):
        raise CheckpointError(f"{name}: global_pool {arguments['global_pool']!r} is not read; wanted token")
    pretrained = pretrained_of(values, name)
    config = _config(shapes, arguments, pretrained, told, model, name)
    if model is not None and model in CATALOG:
        config = named(config, model, name)
    table = NAMES.table(config.backbone.depth)
    classes = class_names_in(values, pretrained, config.classes, name)
    preprocess, assumed = read_transform(pretrained, config, name)
    assumed += classes.assumed
    if found.config is None and model is None:
        assumed += ("activation",)
    return Plan(
        LAYOUT,
        config,
        preprocess,
        classes.names,
        table,
        zeros=missing_biases(table, shapes, vit.BIASES),
        unused=tuple(key for key in UNUSED if key in shapes),
        assumed=assumed,
    )


def reasons(config: ModelConfig) -> list[str]:
    """Why timm's class has no place for a model; empty where it has."""
    found = LIMITS.reasons(config)
    if isinstance(config, ClassifierConfig):
        if config.vit.distillation_token and config.classes == 0:
            found.append("it hands out its class token alone, there it is the mean of two tokens")
        if not config.vit.distillation_token:
            found.append("it has no distillation token")
    return found


def write(checkpoint: Checkpoint) -> dict[str, FileContent]:
    """The files of a directory that ``timm.create_model("local-dir:...", pretrained=True)`` loads.

    A head on the class token alone is written as two, twice as large and zero, whose mean it is.

    Raises:
        CheckpointError: the preprocessing has a part that timm has no place for.
    """
    config = checkpoint.model.config
    state = plain_state(checkpoint, keep_layer_scale=True)
    state[POSITIONS] = native_positions(config.vit, state, 2)
    if isinstance(config, ClassifierConfig):
        for leaf in ("weight", "bias"):
            head = state[f"head.{leaf}"]
            state |= {f"head.{leaf}": 2 * head, f"distillation_head.{leaf}": 0 * head}
    return {
        "config.json": to_json(_written(checkpoint)),
        "model.safetensors": weights_file(scatter(NAMES.table(config.vit.depth), state)),
    }


def _config(
    shapes: Shapes,
    arguments: Mapping[str, Any],
    pretrained: Mapping[str, Any],
    told: Architecture,
    model: str | None,
    name: str,
) -> DeiTConfig:
    width, channels, patch = patch_kernel(shapes, "patch_embed.proj.weight", name)
    size = _size(shapes, arguments, pretrained, patch, name)
    size, cut = vit.with_edges(size, patch, arguments, name)
    heads = [key for key in ("head.weight", "head_dist.weight") if key in shapes]
    if len(heads) == 1:
        raise CheckpointError(f"{name}: holds {heads[0]} alone; DeiT has two heads, head and head_dist")
    try:
        return DeiTConfig(
            backbone=ViTConfig(
                encoder=EncoderConfig(
                    width=width,
                    mlp_width=rows_of(shapes, "blocks.0.mlp.fc1.weight", name),
                    norm_eps=EPS,
                    activation=activation_of(arguments, told.activation, name),
                    layer_scale=layer_scale_in(shapes, "blocks.0.ls1.gamma", arguments, name),
                ),
                depth=NAMES.depth(shapes),
                heads=heads_in(arguments, told, model, width, name),
                patch=patch,
                image_size=size,
                channels=channels,
                distillation_token=True,
                final_norm="norm.weight" in shapes,
                cut_edges=cut,
            ),
            classes=rows_of(shapes, "head.weight", name) if heads else 0,
        )
    except (ConfigError, ArithmeticError) as error:
        raise CheckpointError(f"{name}: {error}") from error


def _size(
    shapes: Shapes, arguments: Mapping[str, Any], pretrained: Mapping[str, Any], patch: int, name: str
) -> tuple[int, int]:
    """The native picture size: the stated one where the table of positions is of that size, else a square."""
    patches = table_rows(shapes, "pos_embed", name) - 2
    size = stated_size(arguments, pretrained, name)
    if size is not None and (size[0] // patch) * (size[1] // patch) == patches:
        return size
    return square_side(patches, patch, name)


def _written(checkpoint: Checkpoint) -> dict[str, Any]:
    config = checkpoint.model.config
    backbone, encoder = config.vit, config.vit.encoder
    arguments = {
        "img_size": list(backbone.image_size),
        "patch_size": backbone.patch,
        "in_chans": backbone.channels,
        "num_classes": config.classes,
        "global_pool": "token",
        "embed_dim": encoder.width,
        "depth": backbone.depth,
        "num_heads": backbone.heads,
        "mlp_ratio": mlp_ratio(encoder.width, encoder.mlp_width),
        "init_values": init_values(encoder.layer_scale),
        "final_norm": backbone.final_norm,
        "act_layer": encoder.activation,
        "dynamic_img_pad": not backbone.cut_edges,
    }
    size = SIZES.get((encoder.width, backbone.heads), "base")
    name = f"deit_{size}_distilled_patch16_224"
    return written_config(checkpoint, name, encoder.width, arguments, ["head", "head_dist"])


READER = Reader(LAYOUT, "deit", recognises, plan, (NAMES,))
WRITER = Writer("timm's VisionTransformerDistilled", ("deit", "vit"), reasons, write)
