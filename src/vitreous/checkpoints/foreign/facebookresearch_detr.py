"""The authors' own ``.pth`` files of DETR (arXiv:2005.12872), ``detr-r50-e632da11.pth`` for one. Read only.

A file holds no settings. Sizes are those of its tensors; heads are those of the published width, or told by
``name=``. Whether the last stage of the backbone is dilated (DC5) nothing in a file tells, and it is read as
if it were not. Queries, keys and values stand in one matrix there.
"""

from torch import Tensor

from vitreous.backbones.convnet_config import LARGEST_STAGES, ConvNetBackboneConfig
from vitreous.checkpoints.foreign.class_names import of_objects
from vitreous.checkpoints.foreign.names import Names, layer
from vitreous.checkpoints.foreign.plan import (
    FACEBOOKRESEARCH,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Found,
    Plan,
    Reader,
    Shapes,
    refuse,
    rows_of,
)
from vitreous.checkpoints.foreign.transformers.detr_residual import counts_in, torchvision_table
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.catalog import configure
from vitreous.models.config import DetrConfig

BASE = "backbone.0.body."
MARK = "transformer.decoder.layers.0.multihead_attn.in_proj_weight"
QUERIES = "query_embed.weight"
HEADS = {256: 8}  # of the published width
SHORTER, LONGEST = 800, 1333
JOINED = ("queries", "keys", "values")
NOT_DETR = {
    "mask_head": "a head of masks (panoptic DETR)",
    "bbox_attention": "a head of masks (panoptic DETR)",
    "level_embed": "attention to several maps (Deformable DETR)",
    "sampling_offsets": "deformable attention (Deformable DETR)",
    "ca_qcontent_proj": "attention to contents and places apart (Conditional DETR)",
    "transformer.encoder.norm": "a norm ahead of each layer",
}


def _attention(ours: str, theirs: str) -> dict[str, tuple[str, ...]]:
    """The joined matrix stands under the name of our queries, until it is cut apart."""
    joined = {f"{ours}.queries.{leaf}": (f"{theirs}.in_proj_{leaf}",) for leaf in ("weight", "bias")}
    return joined | layer(f"{ours}.projection", f"{theirs}.out_proj")


MLP = {**layer("mlp.expand", "linear1"), **layer("mlp.contract", "linear2")}
ENCODER = Names(
    outside={
        **layer("project", "input_proj"),
        "query_places": (QUERIES,),
        **layer("transformer.norm", "transformer.decoder.norm"),
        **layer("classify", "class_embed"),
        **{
            ours: theirs
            for number in range(3)
            for ours, theirs in layer(f"locate.layers.{number}", f"bbox_embed.layers.{number}").items()
        },
    },
    block="transformer.encoder.layers.{}",
    inside={
        **_attention("attention", "self_attn"),
        **MLP,
        **layer("attention_norm", "norm1"),
        **layer("mlp_norm", "norm2"),
    },
    ours="transformer.encoder",
)
DECODER = Names(
    outside={},
    block="transformer.decoder.layers.{}",
    inside={
        **_attention("attention", "self_attn"),
        **_attention("cross_attention", "multihead_attn"),
        **MLP,
        **layer("attention_norm", "norm1"),
        **layer("cross_norm", "norm2"),
        **layer("mlp_norm", "norm3"),
    },
    ours="transformer.decoder",
)


def recognises(found: Found) -> bool:
    """Whether these are the names of the authors' code, or of a relative that is refused."""
    names = found.stored.described
    if found.config is not None:
        return False
    return any(f"{base}{QUERIES}" in names and f"{base}{MARK}" in names for base in ("", "detr."))


def plan(found: Found, model: str | None) -> Plan:
    """Read what the shapes show; ``model`` is a name of our catalog.

    Raises:
        CheckpointError: a relative of DETR, another backbone than a ResNet, or a width whose heads nobody
            told.
    """
    shapes, name = found.shapes, found.name
    refuse(shapes, NOT_DETR, name, "DETR")
    try:
        config = _config(shapes, model, name)
    except ConfigError as error:
        raise CheckpointError(f"{name}: {error}") from error
    backbone = config.backbone
    if not isinstance(backbone, ConvNetBackboneConfig):  # which _config has made
        raise CheckpointError(f"{name}: stands on no ResNet")
    labels = of_objects(config.classes)
    told = () if model else ("heads",)
    table = {**ENCODER.table(config.encoder_depth), **DECODER.table(config.decoder_depth)}
    return Plan(
        FACEBOOKRESEARCH,
        config,
        Preprocess(
            size=config.image_size,
            shorter=SHORTER,
            longest=LONGEST,
            interpolation="bilinear",
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
        ),
        labels.names,
        table | torchvision_table(backbone, BASE),
        unused=counts_in(shapes, BASE),
        assumed=(
            *told,
            "a last stage that is not dilated",
            "preprocessing",
            *labels.assumed,
        ),
        finish=_cut,
    )


def _config(shapes: Shapes, model: str | None, name: str) -> DetrConfig:
    queries = shapes.get(QUERIES, ())
    if len(queries) != 2:
        raise CheckpointError(f"{name}: {QUERIES} is no table of queries, found {queries}")
    width = queries[1]
    heads = HEADS.get(width)
    if model is not None:
        known = configure(model)
        if not isinstance(known, DetrConfig):
            raise CheckpointError(f"{name}: holds a DETR, which {model} is not")
        heads = known.heads
    if heads is None:
        raise CheckpointError(
            f"{name}: the number of heads of width {width} is not in the file; give name= of the model"
        )
    return DetrConfig(
        backbone=_backbone(shapes, name),
        classes=rows_of(shapes, "class_embed.weight", name) - 1,
        width=width,
        encoder_depth=ENCODER.depth(shapes),
        decoder_depth=DECODER.depth(shapes),
        heads=heads,
        mlp_width=rows_of(shapes, "transformer.decoder.layers.0.linear1.weight", name),
        queries=queries[0],
    )


def _backbone(shapes: Shapes, name: str) -> ConvNetBackboneConfig:
    stem = shapes.get(f"{BASE}conv1.weight", ())
    if len(stem) != 4:
        raise CheckpointError(f"{name}: stands on no ResNet, whose first layer would be {BASE}conv1.weight")
    bottleneck = f"{BASE}layer1.0.conv3.weight" in shapes
    last = "conv3" if bottleneck else "conv2"
    widths: list[int] = []
    depths: list[int] = []
    while (key := f"{BASE}layer{len(widths) + 1}.0.{last}.weight") in shapes and len(widths) < LARGEST_STAGES:
        stage = Names(outside={}, block=f"{BASE}layer{len(widths) + 1}.{{}}", inside={})
        widths.append(rows_of(shapes, key, name))
        depths.append(stage.depth(shapes))
    return ConvNetBackboneConfig(
        widths=tuple(widths),
        depths=tuple(depths),
        bottleneck=bottleneck,
        stem_width=stem[0],
        channels=stem[1],
    )


def _cut(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The matrices of queries, keys and values apart."""
    made = dict(tensors)
    for key, whole in tensors.items():
        if ".queries." in key:
            for part, tensor in zip(JOINED, whole.chunk(3), strict=True):
                made[key.replace(".queries.", f".{part}.")] = tensor.contiguous()
    return made


READER = Reader(FACEBOOKRESEARCH, "detr", recognises, plan, (ENCODER, DECODER))
