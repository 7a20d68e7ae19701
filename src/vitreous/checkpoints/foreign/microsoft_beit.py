"""The authors' own ``.pth`` files of BEiT (arXiv:2106.08254) and BEiT v2 (arXiv:2208.06366): pretrained
(one table of relative positions for all blocks, a mask token, a head for visual tokens) or fine-tuned (a
table for each block, a head for classes). Names are nearly timm's, and a file holds no settings.

The head that BEiT v2 hangs on the class token in pretraining is left out: no answer depends on it.
"""

from vitreous.backbones.config import ViTConfig
from vitreous.checkpoints.foreign import relative
from vitreous.checkpoints.foreign.class_names import unnamed
from vitreous.checkpoints.foreign.names import RELATIVE_INDEX, Names, layer
from vitreous.checkpoints.foreign.plan import (
    MICROSOFT,
    Found,
    Plan,
    Reader,
    Shapes,
    missing_biases,
    named,
    rows_of,
)
from vitreous.checkpoints.foreign.timm import beit
from vitreous.checkpoints.foreign.timm.common import architecture_of, read_transform
from vitreous.checkpoints.weights import shape_text
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.catalog import CATALOG
from vitreous.models.config import ClassifierConfig, MaskedTokensConfig

MASK = "mask_token"
PRETRAINING = {"mask_token": (MASK,), **layer("head", "lm_head")}
CLASS_TOKEN_HEAD = "cls_pt_"
CROP = 224 / 256
# For telling which kind an unknown file is nearest to.
NAMES = Names(outside={**beit.NAMES.outside, **PRETRAINING}, block=beit.NAMES.block, inside=beit.NAMES.inside)


def recognises(found: Found) -> bool:
    """Whether these are the names of the authors' code: timm's, and something that timm does not keep."""
    names = found.stored.described
    own = "lm_head.weight" in names or any(key.endswith(RELATIVE_INDEX) for key in names)
    return own and found.config is None and beit.recognises(found)


def plan(found: Found, model: str | None) -> Plan:
    """Read what the shapes show; ``model`` is a timm architecture or a name of our catalog.

    Raises:
        CheckpointError: parts that a BEiT does not have, or a size that must be named.
    """
    shapes, name = found.shapes, found.name
    beit.refuse_another(shapes, model, name)
    told = architecture_of({}, model, "beit", name)
    names, backbone = beit.backbone_of(shapes, {}, {}, told, model, name)
    _refuse_another_grid(shapes, backbone, name)
    config = _config(shapes, backbone, model, name)
    masked = isinstance(config, MaskedTokensConfig)
    table = names.table(config.vit.depth)
    if masked:
        table |= PRETRAINING
    biases = relative.arrange(table, shapes, beit.SHARED, config.vit.heads, config.vit.grid, name)
    classes = unnamed(config.classes, by_folder=True)
    preprocess, _ = read_transform(beit.usual_transform(config, model, CROP), config, name)
    pooling = () if masked or "fc_norm.weight" in shapes else ("pooling",)
    return Plan(
        MICROSOFT,
        config,
        preprocess,
        classes.names,
        biases.table,
        zeros={**biases.zeros, **missing_biases(table, shapes, ["attention.qkv.bias"])},
        unused=tuple(
            key
            for key in shapes
            if key.endswith(RELATIVE_INDEX)
            or key.startswith(CLASS_TOKEN_HEAD)
            or (key == MASK and not masked)
        ),
        assumed=("preprocessing", *classes.assumed, *pooling),
        finish=biases.finish,
    )


def _refuse_another_grid(shapes: Shapes, backbone: ViTConfig, name: str) -> None:
    """A table does not tell a square grid from every other; what points into it has a row for each token."""
    rows, cols = backbone.grid
    tokens = 1 + rows * cols
    for key, shape in shapes.items():
        if key.endswith(RELATIVE_INDEX) and shape != (tokens, tokens):
            raise CheckpointError(
                f"{name}: {key} is {shape_text(shape)}, but a grid of {rows}x{cols} patches wants"
                f" {tokens}x{tokens}; only square grids are read from a bare file"
            )


def _config(
    shapes: Shapes, backbone: ViTConfig, model: str | None, name: str
) -> ClassifierConfig | MaskedTokensConfig:
    try:
        if "lm_head.weight" in shapes:
            tokens = rows_of(shapes, "lm_head.weight", name)
            masked = MaskedTokensConfig(backbone=backbone, visual_tokens=tokens)
            return named(masked, model, name) if model in CATALOG and model else masked
        pooled = "fc_norm.weight" in shapes
        classifier = ClassifierConfig(
            backbone=backbone,
            classes=rows_of(shapes, "head.weight", name) if "head.weight" in shapes else 0,
            pool="mean" if pooled else "class",
            pool_norm=pooled,
        )
        return named(classifier, model, name) if model in CATALOG and model else classifier
    except ConfigError as error:
        raise CheckpointError(f"{name}: {error}") from error


READER = Reader(MICROSOFT, "beit", recognises, plan, (NAMES,))
