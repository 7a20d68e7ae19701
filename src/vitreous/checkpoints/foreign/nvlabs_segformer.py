"""The authors' own ``.pth`` files of SegFormer (arXiv:2105.15203), ``segformer.b0.512x512.ade.160k.pth`` for
one, and of the encoders pretrained on ImageNet, ``mit_b0.pth``. Read only.

A file holds no settings. Widths, depths, kernels and reductions are those of its tensors; heads and the steps
between patches are those of the published sizes, told from the widths or by ``name=``. Norms of patches and
of the coarser grid have torch's epsilon there, all others 1e-6.
"""

from typing import Any

from vitreous.backbones.config import LARGEST_STAGES, MiTConfig
from vitreous.checkpoints.foreign.class_names import ASSUMED, ClassNames, unnamed
from vitreous.checkpoints.foreign.names import Names, layer
from vitreous.checkpoints.foreign.plan import (
    NVLABS,
    Found,
    Plan,
    Reader,
    Shapes,
    imagenet_statistics,
    missing_biases,
    numbered,
    refuse,
    rows_of,
)
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.catalog import CATALOG, configure
from vitreous.models.config import ClassifierConfig, SegFormerConfig, family_of

BASES = ("backbone.", "")  # ahead of the encoder's names, where it stands under a head or alone
PATCHES = "{}patch_embed{}.proj.weight"
MARK = "{}block1.0.mlp.dwconv.dwconv.weight"
PLACES = "decode_head.linear_pred.weight"
FUSE = "decode_head.linear_fuse.conv.weight"
CLASSIFIER = "head.weight"
UNUSED = ("decode_head.conv_seg.weight", "decode_head.conv_seg.bias")  # of the head's base class
NORM_EPS, MERGE_EPS = 1e-6, 1e-5
NOT_SEGFORMER = {
    "pos_embed": "a table of positions (PVT)",
    "cls_token": "a class token (PVT)",
    "auxiliary_head": "an auxiliary head",
}
STATISTICS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
HEADS = {
    "head.fuse.weight": (FUSE,),
    **{f"head.norm.{leaf}": (f"decode_head.linear_fuse.bn.{leaf}",) for leaf in STATISTICS},
    **layer("head.classify", "decode_head.linear_pred"),
}


def stage_names(stage: int, reduction: int, base: str = "") -> Names:
    """A stage's names, which count from 1 there; where nothing is reduced, queries, keys and values are one
    layer of ours."""
    asked = layer("attention.qkv", "attn.q", "attn.kv")
    if reduction > 1:
        asked = {
            **layer("attention.queries", "attn.q"),
            **layer("attention.keys_values", "attn.kv"),
            **layer("attention.reduce", "attn.sr"),
            **layer("attention.norm", "attn.norm"),
        }
    ours, theirs = f"backbone.stages.{stage}", stage + 1
    return Names(
        outside={
            **layer(f"{ours}.embed.projection", f"{base}patch_embed{theirs}.proj"),
            **layer(f"{ours}.embed.norm", f"{base}patch_embed{theirs}.norm"),
            **layer(f"{ours}.norm", f"{base}norm{theirs}"),
        },
        block=f"{base}block{theirs}.{{}}",
        inside={
            **layer("attention_norm", "norm1"),
            **asked,
            **layer("attention.projection", "attn.proj"),
            **layer("mlp_norm", "norm2"),
            **layer("mlp.expand", "mlp.fc1"),
            **layer("mlp.mix", "mlp.dwconv.dwconv"),
            **layer("mlp.contract", "mlp.fc2"),
        },
        ours=f"{ours}.blocks",
    )


def recognises(found: Found) -> bool:
    """Whether these are the names of the authors' code."""
    names = found.stored.described
    return found.config is None and any(
        {PATCHES.format(base, 1), MARK.format(base)} <= set(names) for base in BASES
    )


def plan(found: Found, model: str | None) -> Plan:
    """Read what the shapes show; ``model`` is a name of our catalog.

    Raises:
        CheckpointError: parts that a SegFormer does not have, sizes that contradict one another, or widths
            whose heads nobody told.
    """
    shapes, name = found.shapes, found.name
    refuse(shapes, NOT_SEGFORMER, name, "SegFormer")
    base = next(base for base in BASES if MARK.format(base) in shapes)
    try:
        config = _config(shapes, model, base, name)
    except (ConfigError, ArithmeticError) as error:
        raise CheckpointError(f"{name}: {error}") from error
    labels = unnamed(config.classes)
    if isinstance(config, SegFormerConfig):
        labels = ClassNames(numbered(config.classes), (ASSUMED,))
    backbone: Any = config.backbone
    table: dict[str, tuple[str, ...]] = {}
    for stage, (reduction, depth) in enumerate(zip(backbone.reductions, backbone.depths, strict=True)):
        table |= stage_names(stage, reduction, base).table(depth)
    if isinstance(config, SegFormerConfig):
        table |= HEADS
        for stage in range(len(backbone.widths)):
            table |= layer(f"head.projections.{stage}", f"decode_head.linear_c{stage + 1}.proj")
    elif config.classes:
        table |= layer("head", "head")
    return Plan(
        NVLABS,
        config,
        _preprocess(config),
        labels.names,
        table,
        zeros=missing_biases(table, shapes, [f"attention.{part}.bias" for part in ("qkv", "queries")])
        | missing_biases(table, shapes, ["attention.keys_values.bias"]),
        unused=tuple(key for key in UNUSED if key in shapes),
        assumed=(*(() if model else ("heads",)), "preprocessing", *labels.assumed),
    )


def _config(shapes: Shapes, model: str | None, base: str, name: str) -> ClassifierConfig | SegFormerConfig:
    backbone = _backbone(shapes, model, base, name)
    if PLACES not in shapes:
        classes = rows_of(shapes, CLASSIFIER, name) if CLASSIFIER in shapes else 0
        return ClassifierConfig(backbone=backbone, classes=classes, pool="mean")
    classes, width = rows_of(shapes, PLACES, name), rows_of(shapes, FUSE, name)
    return SegFormerConfig(backbone=backbone, classes=classes, decoder_width=width)


def _backbone(shapes: Shapes, model: str | None, base: str, name: str) -> MiTConfig:
    patches: list[tuple[int, ...]] = []
    while (key := PATCHES.format(base, len(patches) + 1)) in shapes and len(patches) < LARGEST_STAGES:
        if len(shapes[key]) != 4 or shapes[key][2] != shapes[key][3]:
            raise CheckpointError(f"{name}: {key} is no square kernel, found {shapes[key]}")
        patches.append(shapes[key])
    widths = tuple(shape[0] for shape in patches)
    known = _published(widths, model, PLACES in shapes, name)
    reductions, depths, ratios = [], [], []
    for stage, width in enumerate(widths):
        block = f"{base}block{stage + 1}.0."
        reduction = shapes.get(f"{block}attn.sr.weight", (0, 0, 1, 1))
        if len(reduction) != 4:
            raise CheckpointError(f"{name}: {block}attn.sr.weight is no kernel, found {reduction}")
        reductions.append(reduction[2])
        depths.append(stage_names(stage, 1, base).depth(shapes))
        ratios.append(rows_of(shapes, f"{block}mlp.fc1.weight", name) / width)
    return MiTConfig(
        widths=widths,
        depths=tuple(depths),
        heads=known.heads,
        reductions=tuple(reductions),
        kernels=tuple(shape[2] for shape in patches),
        steps=known.steps,
        mlp_ratios=tuple(ratios),
        norm_eps=NORM_EPS,
        merge_eps=MERGE_EPS,
        drop_path=known.drop_path,
        image_size=known.image_size,
        channels=patches[0][1],
    )


def _published(widths: tuple[int, ...], model: str | None, places: bool, name: str) -> MiTConfig:
    """The entry of the catalog whose heads and steps these are: the one of that name, else one of these
    widths."""
    family, said = "segformer" if places else "mit", ", ".join(map(str, widths))
    if model is not None:
        wanted = configure(model)
        if family_of(wanted) != family:
            raise CheckpointError(
                f"{name}: holds a model of family {family!r}, but {model} is {family_of(wanted)!r}"
            )
        found: Any = wanted.backbone  # type: ignore[union-attr]  # what is of these families has one
        if not isinstance(found, MiTConfig) or found.widths != widths:
            raise CheckpointError(f"{name}: holds a Mix Transformer of widths {said}, which {model} is not")
        return found
    for config in CATALOG.values():
        backbone = getattr(config, "backbone", None)
        if family_of(config) == family and isinstance(backbone, MiTConfig) and backbone.widths == widths:
            return backbone
    raise CheckpointError(
        f"{name}: the number of heads of widths {said} is not in the file; give name= of the model"
    )


def _preprocess(config: ClassifierConfig | SegFormerConfig) -> Preprocess:
    """What the authors' code does for evaluation: the whole picture, its shorter side 512; for the encoders,
    as on ImageNet."""
    mean, std = imagenet_statistics(config.channels)
    height, width = config.image_size
    side = min(height, width)
    if isinstance(config, ClassifierConfig):
        shorter = int(256 / 224 * side)
        return Preprocess(size=(height, width), shorter=shorter, interpolation="bicubic", mean=mean, std=std)
    return Preprocess(
        size=(height, width), shorter=side, longest=4 * side, interpolation="bilinear", mean=mean, std=std
    )


EXPLAINED = tuple(stage_names(stage, reduction, "backbone.") for stage, reduction in enumerate((8, 4, 2, 1)))
READER = Reader(NVLABS, "segformer", recognises, plan, EXPLAINED)
