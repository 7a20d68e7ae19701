"""Runs as functions: each returns a configuration, and says what to expect of it."""

from collections.abc import Callable, Mapping

from vitreous.data.augment import AugmentConfig
from vitreous.errors import ConfigError, nearest
from vitreous.models.catalog import CATALOG
from vitreous.models.config import family_of
from vitreous.tasks.config import MaskedAutoencodingConfig
from vitreous.training.config import ModelChoice, OptimizerConfig, TrainConfig


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
        # No flips and no crops: a mirrored 2 is no 2, and at 8 pixels nothing can be cut off.
        augment=AugmentConfig(
            crop=None, flip=0.0, rand_augment=None, rotate=10.0, shift=0.1, zoom=0.1, mixup=0.2
        ),
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
        augment=AugmentConfig(mixup=0.2, cutmix=1.0, erase=0.1),
        optimizer=OptimizerConfig(learning_rate=1e-3, weight_decay=0.05),
        epochs=100,
        patience=30,
    )


def tune(data: str, output: str) -> TrainConfig:
    """Go on with weights that have learnt elsewhere (``--from SOURCE``): a new head, all layers, a
    small learning rate.

    Command: ``vitreous train pictures/ --from SOURCE``. An epoch takes as long as in ``scratch``; what to
    expect depends on the weights, and was not measured on a public set.
    """
    return TrainConfig(
        data=data,
        output=output,
        optimizer=OptimizerConfig(learning_rate=5e-5, weight_decay=0.05),
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
        augment=AugmentConfig(crop=(0.2, 1.0), rand_augment=None),
        task=MaskedAutoencodingConfig(),
        optimizer=OptimizerConfig(learning_rate=1.5e-3, weight_decay=0.05, betas=(0.9, 0.95)),
        epochs=400,
        evaluate_every=20,
    )


RECIPES: Mapping[str, Callable[[str, str], TrainConfig]] = {
    "digits": digits,
    "scratch": scratch,
    "tune": tune,
    "mae": mae,
}


def recipe(name: str) -> Callable[[str, str], TrainConfig]:
    """A recipe by name. ConfigError, with the nearest names, where there is none."""
    if name not in RECIPES:
        known = ", ".join(RECIPES)
        raise ConfigError(f"unknown recipe {name!r}; wanted one of {known}{nearest(name, RECIPES)}")
    return RECIPES[name]


# What a model is taught in a run that named no recipe, where that is not to tell classes apart.
OF_FAMILY: Mapping[str, str] = {"mae": "mae"}


def default_recipe(data: str, source: str | None, model: str | None = None) -> str:
    """The recipe for a run that named none."""
    if source is not None:
        return "tune"
    if model is not None and model in CATALOG and (taught := OF_FAMILY.get(family_of(CATALOG[model]))):
        return taught
    return "digits" if data == "digits" else "scratch"
