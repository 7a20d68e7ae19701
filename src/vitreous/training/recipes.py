"""Runs as functions: each returns a configuration, and says what to expect of it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from vitreous.data.augment import AugmentConfig
from vitreous.errors import ConfigError, nearest
from vitreous.models.catalog import CATALOG
from vitreous.models.config import family_of
from vitreous.tasks.config import (
    ClassificationConfig,
    DetectionConfig,
    DistillationConfig,
    MaskedAutoencodingConfig,
    MaskedPixelsConfig,
    SegmentationConfig,
    TokenizerConfig,
    VisualTokensConfig,
    marks_places,
)
from vitreous.training.config import (
    ModelChoice,
    OptimizerConfig,
    TrainConfig,
    with_model,
    with_settings,
)
from vitreous.training.tuning_config import TuningConfig


def digits(data: str, output: str) -> TrainConfig:
    """A small ViT on the embedded 8 x 8 handwritten digits, from scratch.

    Command: ``vitreous train digits``. Expect 99.6% on the held-out digits (mean of five seeds, from 99.2%
    to 100%: ``python -m benchmarks.digits_seeds``) after half a minute on two CPU cores.
    """
    return TrainConfig(
        data=data,
        output=output,
        model=ModelChoice(
            name="vit_tiny",
            image_size=8,
            channels=1,
            options={"patch": 2, "depth": 3, "stem": "conv"},
        ),
        augment=_upright(AugmentConfig(mixup=0.2)),
        optimizer=OptimizerConfig(learning_rate=2e-3, weight_decay=0.05),
        epochs=50,
        batch_size=64,
        average=0.99,
        evaluate_every=10,
        workers=1,
        threads=1,  # products this small gain nothing from a second thread; the loader uses the core
    )


def scratch(data: str, output: str) -> TrainConfig:
    """A ViT on a folder of photographs, from random weights.

    Command: ``vitreous train pictures/``. It needs some hundred pictures a class to be worth its time; with
    fewer, start from weights that have seen many (recipe ``tune``). What to expect depends on the pictures
    and was not measured on a public set; at 224 pixels two CPU cores train about 15 pictures a second
    (``python -m benchmarks.training_throughput``).
    """
    return TrainConfig(
        data=data,
        output=output,
        model=ModelChoice(name="vit_ti_16", options={"drop_path": 0.05}),
        augment=_views(data, AugmentConfig(mixup=0.2, cutmix=1.0, erase=0.1)),
        optimizer=OptimizerConfig(learning_rate=1e-3, weight_decay=0.05),
        epochs=100,
        patience=30,
    )


def tune(data: str, output: str) -> TrainConfig:
    """Go on with weights that have learnt elsewhere (``--from SOURCE``): a new head, and all layers, the
    deeper they lie the slower.

    Command: ``vitreous train pictures/ --from SOURCE``. An epoch takes as long as in ``scratch``; what to
    expect depends on the weights, and was not measured on a public set. A small model that was pretrained on
    few pictures wants a larger rate, 0.01 for the digits (``python -m benchmarks.tuning``).
    """
    return TrainConfig(
        data=data,
        output=output,
        augment=_views(data, AugmentConfig()),
        optimizer=OptimizerConfig(learning_rate=5e-4, weight_decay=0.05),
        tuning=TuningConfig(layer_decay=0.65),
        epochs=15,
        average=0.99,
        patience=5,
    )


def distil(data: str, output: str) -> TrainConfig:
    """A DeiT that learns from labels and from a teacher: any classifier of the same classes, best one of
    another kind.

    Command: ``vitreous train pictures/ --recipe distil --set task.teacher=SOURCE``. The run is that of
    ``scratch`` (of ``digits`` on the embedded digits) with two tokens; an epoch takes longer by what the
    teacher takes to look at every view. What to expect depends on the teacher.
    """
    plain = digits(data, output) if data == "digits" else scratch(data, output)
    small = data == "digits"
    return replace(
        plain,
        model=replace(plain.model, name="deit_tiny" if small else "deit_ti_16"),
        task=DistillationConfig(),
    )


def head(data: str, output: str) -> TrainConfig:
    """A new head on weights that stay as they are (``--from SOURCE``), learnt from views that vary.

    Command: ``vitreous train pictures/ --recipe head --from SOURCE``. Nothing is kept for a gradient
    of the backbone; ``probe`` is quicker still, and sees each picture in one view.
    """
    return TrainConfig(
        data=data,
        output=output,
        augment=_views(data, AugmentConfig()),
        optimizer=OptimizerConfig(learning_rate=1e-2, weight_decay=0.05),
        tuning=TuningConfig(train="head"),
        epochs=15,
        average=0.99,
        patience=5,
    )


def lora(data: str, output: str) -> TrainConfig:
    """Low-rank adapters and a new head beside weights that stay as they are (``--from SOURCE``).

    Command: ``vitreous train pictures/ --recipe lora --from SOURCE``. The run holds the merged model, and in
    ``adapter`` what was learnt alone, a few percent of its size.
    """
    return TrainConfig(
        data=data,
        output=output,
        augment=_views(data, AugmentConfig()),
        optimizer=OptimizerConfig(learning_rate=1e-3, weight_decay=0.05),
        tuning=TuningConfig(train="lora"),
        epochs=15,
        average=0.99,
        patience=5,
    )


def mae(data: str, output: str) -> TrainConfig:
    """A masked autoencoder on pictures, with or without labels; then ``tune`` goes on with its backbone.

    Command: ``vitreous train pictures/ --recipe mae``, then ``vitreous train pictures/ --from RUN``. What to
    expect depends on the pictures (``python -m benchmarks.small_sets``).
    """
    return TrainConfig(
        data=data,
        output=output,
        model=ModelChoice(name="mae_tiny", options={"normalised_targets": True}),
        # The paper's: a crop and a flip, and nothing else; hiding most of a picture is change enough.
        augment=_views(data, AugmentConfig(crop=(0.2, 1.0), rand_augment=None)),
        task=MaskedAutoencodingConfig(),
        optimizer=OptimizerConfig(learning_rate=1.5e-3, weight_decay=0.05, betas=(0.9, 0.95)),
        epochs=400,
        evaluate_every=20,
    )


def tokenizer(data: str, output: str) -> TrainConfig:
    """A discrete VAE on pictures, with or without labels: its tokens are what ``beit`` learns to tell.

    Command: ``vitreous train pictures/ --recipe tokenizer``, then ``vitreous train pictures/ --recipe beit
    --set task.tokenizer=RUN``. On the embedded digits, as pictures of 32 pixels, expect an error of 0.009 on
    held-out ones, where 1 is what their mean colour would have, with 154 of 512 codes used, after four
    minutes of one core; what to expect elsewhere depends on the pictures.
    """
    return TrainConfig(
        data=data,
        output=output,
        model=ModelChoice(name="dvae_tiny"),
        augment=_views(data, AugmentConfig(crop=(0.35, 1.0), rand_augment=None)),
        task=TokenizerConfig(),
        optimizer=OptimizerConfig(learning_rate=1e-2, weight_decay=0.0),
        epochs=40,
        average=0.99,
        evaluate_every=5,
    )


def beit(data: str, output: str) -> TrainConfig:
    """BEiT's pretraining on pictures, with or without labels; then ``tune`` goes on with its backbone.

    Command: ``vitreous train pictures/ --recipe beit --set task.tokenizer=SOURCE``, where the source is a
    discrete VAE (recipe ``tokenizer``, or the DALL-E encoder); then ``vitreous train pictures/ --from RUN``.
    The model learns as many visual tokens as the tokenizer has. What to expect depends on the pictures
    (``python -m benchmarks.small_sets``).
    """
    return TrainConfig(
        data=data,
        output=output,
        model=ModelChoice(name="beit_tiny_masked"),
        augment=_views(data, AugmentConfig(crop=(0.2, 1.0), rand_augment=None)),
        task=VisualTokensConfig(),
        optimizer=OptimizerConfig(learning_rate=1.5e-3, weight_decay=0.05, clip=3.0),
        epochs=400,
        evaluate_every=20,
    )


def simmim(data: str, output: str) -> TrainConfig:
    """SimMIM's pretraining of Swin on pictures, with or without labels; then ``tune`` goes on with it.

    Command: ``vitreous train pictures/ --recipe simmim``, then ``vitreous train pictures/ --from RUN``. What
    to expect depends on the pictures, and was not measured on a public set.
    """
    return TrainConfig(
        data=data,
        output=output,
        model=ModelChoice(name="simmim_swin_tiny"),
        augment=_views(data, AugmentConfig(crop=(0.67, 1.0), rand_augment=None)),  # the paper's, with a flip
        task=MaskedPixelsConfig(),
        optimizer=OptimizerConfig(learning_rate=1e-3, weight_decay=0.05),
        epochs=400,
        evaluate_every=20,
    )


def probe(data: str, output: str) -> TrainConfig:
    """A linear probe: weights stay as they are (``--from SOURCE``), a head is solved for on their features.

    Command: ``vitreous train pictures/ --recipe probe --from SOURCE``. Every picture is looked at once, and
    never again for the same weights; then seconds. What to expect depends on the weights: it is the quickest
    way to see what they are worth for these pictures, and with few pictures often the best one.
    """
    return TrainConfig(
        data=data,
        output=output,
        augment=AugmentConfig(crop=None, flip=0.0, rand_augment=None),
        task=ClassificationConfig(smoothing=0.0),
        tuning=TuningConfig(train="probe"),
        epochs=1,
        average=0.0,
    )


def detr(data: str, output: str) -> TrainConfig:
    """A DETR on pictures with boxes, whose queries start from boxes of their own.

    Command: ``vitreous train pictures/ --recipe detr``; with ``--from SOURCE`` the backbone of a classifier,
    or a detector, is gone on with. On the embedded scenes (``vitreous train scenes:detection,pictures=8000``)
    twenty minutes of two CPU cores are enough (``python -m benchmarks.detection``); what to expect elsewhere
    depends on the pictures.
    """
    return TrainConfig(
        data=data,
        output=output,
        model=ModelChoice(name="detr_resnet_tiny", options={"references": "boxes"}),
        augment=_placed(data),
        task=DetectionConfig(),
        optimizer=OptimizerConfig(learning_rate=2e-3, weight_decay=0.05, betas=(0.9, 0.98), warmup=0.05),
        epochs=100,
        batch_size=32,
        average=0.99,
        evaluate_every=5,
    )


def segformer(data: str, output: str) -> TrainConfig:
    """A SegFormer on pictures with a class for each pixel.

    Command: ``vitreous train pictures/ --recipe segformer``; with ``--from SOURCE`` the backbone of a
    classifier, or a segmenter, is gone on with. What to expect depends on the pictures (``python -m
    benchmarks.segmentation``).
    """
    return TrainConfig(
        data=data,
        output=output,
        model=ModelChoice(name="segformer_tiny"),
        augment=_placed(data),
        task=SegmentationConfig(),
        optimizer=OptimizerConfig(learning_rate=2e-3, weight_decay=0.05, betas=(0.9, 0.98), warmup=0.05),
        epochs=100,
        batch_size=16,
        average=0.99,
        evaluate_every=5,
    )


RECIPES: Mapping[str, Callable[[str, str], TrainConfig]] = {
    "digits": digits,
    "scratch": scratch,
    "tune": tune,
    "head": head,
    "lora": lora,
    "distil": distil,
    "mae": mae,
    "tokenizer": tokenizer,
    "beit": beit,
    "simmim": simmim,
    "probe": probe,
    "detr": detr,
    "segformer": segformer,
}


def recipe(name: str) -> Callable[[str, str], TrainConfig]:
    """A recipe by name. ConfigError, with the nearest names, where there is none."""
    if name not in RECIPES:
        known = ", ".join(RECIPES)
        raise ConfigError(f"unknown recipe {name!r}; wanted one of {known}{nearest(name, RECIPES)}")
    return RECIPES[name]


def configured(
    data: str,
    output: str,
    name: str,
    model: str | None = None,
    source: str | None = None,
    settings: Iterable[str] = (),
) -> TrainConfig:
    """A recipe by name with what a user may say beside it: another model, or weights to go on with; settings.

    Raises:
        ConfigError: an unknown name, model or setting, or a model and weights at once where only one of them
            can say what is learnt.
    """
    config = recipe(name)(data, output)
    placed = marks_places(config.task)
    if model and source and not placed:
        raise ConfigError("--model and --from: the weights say which model they are; give one of the two")
    if model is not None:
        config = with_model(config, model)
    if source is not None:
        # Weights say which model they are; those of a classifier only what a head for places stands on.
        config = _slower(config, source) if placed else replace(config, model=ModelChoice(source=source))
    return with_settings(config, settings)


def _slower(config: TrainConfig, source: str) -> TrainConfig:
    """The run where its backbone has learnt already: smaller steps, the deeper a layer lies the smaller."""
    return replace(
        config,
        model=replace(config.model, source=source),
        optimizer=replace(config.optimizer, learning_rate=2e-4),
        tuning=TuningConfig(layer_decay=0.75),
        epochs=50,
    )


def _placed(data: str) -> AugmentConfig:
    """How pictures are varied of which places are learnt: most of each stays in sight."""
    return _views(data, AugmentConfig(crop=(0.6, 1.0), rand_augment=(1, 5)))


def _views(data: str, photographs: AugmentConfig) -> AugmentConfig:
    """How the pictures of a data set are varied: what suits photographs, and on the embedded digits nothing
    that makes another digit of one."""
    return _upright(photographs) if data == "digits" else photographs


def _upright(photographs: AugmentConfig) -> AugmentConfig:
    # No flips and no crops: a mirrored 2 is no 2, and at 8 pixels nothing can be cut off.
    return replace(photographs, crop=None, flip=0.0, rand_augment=None, rotate=10.0, shift=0.1, zoom=0.1)


# What a model is taught in a run that named no recipe, where that is not to tell classes apart.
OF_FAMILY: Mapping[str, str] = {
    "mae": "mae",
    "beit_masked": "beit",
    "simmim": "simmim",
    "dvae": "tokenizer",
    "detr": "detr",
    "yolos": "detr",
    "segformer": "segformer",
    "upernet": "segformer",
}


def default_recipe(data: str, source: str | None, model: str | None = None) -> str:
    """The recipe for a run that named none."""
    if source is not None:
        return "tune"
    if model is not None and model in CATALOG and (taught := OF_FAMILY.get(family_of(CATALOG[model]))):
        return taught
    return "digits" if data == "digits" else "scratch"
