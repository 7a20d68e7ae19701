"""The run that ``vitreous train DATA`` makes of a folder when nothing else is said, and why. No torch here.

A table of sizes, from the dearest model to the cheapest; the first that the pictures are large and many
enough for, and that the hardware trains within ``PATIENCE``, is taken. What a picture costs is counted from
the configuration, what a core does in a second is a round figure: whoever shows the choice says what it will
really take (``training/forecast.py``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from shlex import quote
from typing import Any, Literal, NamedTuple

from vitreous.data.augment import AugmentConfig
from vitreous.data.splitting import many
from vitreous.errors import ConfigError
from vitreous.models.accounting import account
from vitreous.models.config import ClassifierConfig, MAEConfig
from vitreous.tasks.config import ClassificationConfig, MaskedAutoencodingConfig
from vitreous.training.config import ModelChoice, OptimizerConfig, TrainConfig

PATIENCE = 3600.0  # seconds that a run nobody asked to be long may take
# Floating-point operations a second in training: of a core, of a graphics card.
SPEEDS: Mapping[str, float] = {"cpu": 40e9, "mps": 1e12, "cuda": 1e13}
VIEWS = 200_000  # pictures that a run sees, each as often as it takes; more than that where there are many
EPOCHS = (10, 200)  # fewest and most
MASKED_EPOCHS = (20, 400)  # hidden patches are new each time
TINY = 64  # pixels: pictures up to this size are seen whole by a grid of 8 x 8 patches
FEW = 2000  # training pictures, below which labels alone teach a ViT little
FEW_OF_A_CLASS = 100
LONG = 5000  # steps, from which on weights are averaged over more of them
SKEW = 5.0  # times as many pictures in the largest class as in the smallest


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of the data and of the machine.

    ``classes`` is 0 where pictures have no labels; ``fewest`` and ``most`` are training pictures of a class.
    ``side`` is the longer side of the middle picture in pixels; ``grey`` whether all that were looked at are;
    ``several`` whether a picture may have several labels; ``places`` what else is told of pictures, objects
    or regions, whose classes these then are.
    """

    pictures: int  # to train on
    classes: int
    fewest: int = 0
    most: int = 0
    side: int
    grey: bool = False
    several: bool = False
    places: Literal["objects", "regions"] | None = None
    cores: int = 2
    device: str = "cpu"


class Choice(NamedTuple):
    """A run. ``dearest`` is the model that pictures like these would have where time does not matter, None
    where it is this one."""

    config: TrainConfig
    dearest: str | None


@dataclass(frozen=True, kw_only=True)
class Size:
    """A row of the table: a model at a picture size, from how many pictures on, and for which side."""

    name: str
    image_size: int
    pictures: int = 0
    rate: float = 1e-3
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def called(self) -> str:
        """For people."""
        return f"{self.name} at {self.image_size}x{self.image_size} pixels"


_SMALL: Mapping[str, Any] = {"width": 128, "depth": 6, "heads": 4}
_MASKED_TI: Mapping[str, Any] = {
    **{"width": 192, "depth": 12, "heads": 3},
    **{"decoder_width": 128, "decoder_depth": 4, "decoder_heads": 4, "decoder_mlp_width": 512},
}


def _photographs() -> list[Size]:
    """For pictures larger than ``TINY``, the dearest first. A convolutional stem learns from fewer pictures
    (arXiv:2106.14881)."""
    stem = {"stem": "conv"}
    return [
        Size(name="vit_s_16", image_size=224, pictures=50_000, options={**stem, "drop_path": 0.1}),
        *(
            Size(name="vit_ti_16", image_size=side, pictures=FEW, options={**stem, "drop_path": 0.05})
            for side in (224, 160, 128)
        ),
        Size(name="vit_tiny", image_size=128, rate=2e-3, options={**stem, **_SMALL, "patch": 16}),
        Size(name="vit_tiny", image_size=64, rate=2e-3, options={**stem, **_SMALL, "patch": 8}),
        Size(name="vit_tiny", image_size=64, rate=3e-3, options={**stem, "patch": 8}),
    ]


def _tiny(side: int) -> list[Size]:
    """For pictures up to ``TINY`` pixels: 8 x 8 patches of 2, 4 or 8 pixels."""
    patch = next(patch for patch in (2, 4, 8) if side <= 8 * patch or patch == 8)
    options = {"stem": "conv", "patch": patch}
    large = {"width": 192, "depth": 9, "heads": 3, "drop_path": 0.05}
    size = 8 * patch
    return [
        Size(name="vit_tiny", image_size=size, pictures=40_000, options={**options, **large}),
        Size(name="vit_tiny", image_size=size, pictures=5_000, rate=2e-3, options={**options, **_SMALL}),
        Size(name="vit_tiny", image_size=size, rate=3e-3, options=options),
    ]


def _masked(side: int) -> list[Size]:
    """For pictures without labels."""
    if side <= TINY:
        size = _tiny(side)[0]
        options = {"patch": size.options["patch"]}
        return [Size(name="mae_tiny", image_size=size.image_size, rate=1.5e-3, options=options)]
    return [
        Size(name="mae_b_16", image_size=224, pictures=FEW, options=_MASKED_TI),
        Size(name="mae_b_16", image_size=128, pictures=FEW, options=_MASKED_TI),
        Size(name="mae_tiny", image_size=64, rate=1.5e-3, options={"patch": 8}),
    ]


def choose(facts: Facts, data: str, output: str) -> Choice:
    """The run for these pictures on this machine."""
    masked = not facts.classes
    sizes = _masked(facts.side) if masked else _tiny(facts.side) if facts.side <= TINY else _photographs()
    # Nothing is seen in a picture that was blown up.
    fitting = [size for size in sizes if size.image_size <= 1.5 * facts.side or size is sizes[-1]]
    fitting = [size for size in fitting if size.pictures <= facts.pictures or size is fitting[-1]]
    epochs = epochs_for(facts.pictures, MASKED_EPOCHS if masked else EPOCHS)
    size = next(
        (size for size in fitting if _seconds(size, facts, epochs) <= PATIENCE),
        fitting[-1],
    )
    config = _config(size, facts, epochs, data, output)
    return Choice(config, None if size is fitting[0] else fitting[0].called)


def _config(size: Size, facts: Facts, epochs: int, data: str, output: str) -> TrainConfig:
    masked = not facts.classes
    batch = _batch(facts)
    steps = epochs * max(1, facts.pictures // batch)
    # Scores of several labels are read by themselves, and weights would shift them.
    skewed = not facts.several and facts.most >= SKEW * max(1, facts.fewest)
    labels = ClassificationConfig(balance="loss" if skewed else "none")
    options = dict(size.options) | ({"normalised_targets": True} if masked else {})
    betas = (0.9, 0.95) if masked else (0.9, 0.999)
    # Products this small gain nothing from a second thread; the loader uses the core.
    alone = facts.device == "cpu" and size.name.endswith("tiny") and facts.cores <= 2
    return TrainConfig(
        data=data,
        output=output,
        model=_model(size, facts, options),
        augment=_views(facts),
        optimizer=OptimizerConfig(learning_rate=size.rate, weight_decay=0.05, betas=betas),
        task=MaskedAutoencodingConfig() if masked else labels,
        epochs=epochs,
        batch_size=batch,
        average=0.999 if steps >= LONG else 0.99,
        evaluate_every=max(1, epochs // (20 if masked else 50)),
        workers=1 if alone else 2 if facts.device == "cpu" else min(8, max(2, facts.cores)),
        threads=1 if alone else None,
    )


def _batch(facts: Facts) -> int:
    if facts.device != "cpu" and facts.pictures >= 50_000:
        return 256
    return next((size for size, least in ((64, 640), (32, 160), (16, 32)) if facts.pictures >= least), 8)


def _model(size: Size, facts: Facts, options: dict[str, Any]) -> ModelChoice:
    channels = 1 if facts.grey else 3
    return ModelChoice(name=size.name, image_size=size.image_size, channels=channels, options=options)


def _views(facts: Facts) -> AugmentConfig:
    """How pictures are varied. Whether a mirrored picture shows the same cannot be seen: small grey ones may
    be writing."""
    mixup = 0.2 if facts.classes else 0.0
    if _writing(facts):
        return AugmentConfig(
            crop=None, flip=0.0, rand_augment=None, rotate=10.0, shift=0.1, zoom=0.1, mixup=mixup
        )
    if not facts.classes:
        # The paper's: a crop and a flip, and nothing else; hiding most of a picture is change enough.
        return AugmentConfig(crop=(0.2, 1.0), rand_augment=None)
    if facts.side <= TINY:
        return AugmentConfig(crop=(0.6, 1.0), rand_augment=(1, 5), mixup=mixup)
    enough = facts.pictures >= FEW
    return AugmentConfig(mixup=mixup, cutmix=1.0 if enough else 0.0, erase=0.1 if enough else 0.0)


def _writing(facts: Facts) -> bool:
    return facts.grey and facts.side <= TINY


def epochs_for(pictures: int, bounds: tuple[int, int]) -> int:
    """How often so many pictures are seen; ``bounds`` are the fewest and the most epochs."""
    fewest, most = bounds
    return min(most, max(fewest, ceil(VIEWS * most / EPOCHS[1] / max(1, pictures))))


def _seconds(size: Size, facts: Facts, epochs: int) -> float:
    return seconds_of(_model(size, facts, dict(size.options)), facts, epochs)


def seconds_of(model: ModelChoice, facts: Facts, epochs: int) -> float:
    """What a run takes, roughly: a picture costs three passes, a MAC is two operations."""
    counted = account(model.configure(classes=max(2, facts.classes)))
    speed = SPEEDS[facts.device] * (facts.cores if facts.device == "cpu" else 1)
    return 3 * counted.flops * facts.pictures * epochs / speed


def reasons(config: TrainConfig, facts: Facts, dearest: str | None) -> list[str]:
    """Sentences on what is learnt, how and why: of the run that was chosen, with what was changed since."""
    shape = config.model.configure(classes=2)
    if not isinstance(shape, ClassifierConfig | MAEConfig):
        raise ConfigError(f"{config.model.name} is not chosen here")
    vit = shape.vit
    model = f"{config.model.name}, {vit.encoder.width} wide and {vit.depth} deep, at"
    seen = f"{vit.image_size[0]}x{vit.image_size[1]} pixels in {vit.grid[0]}x{vit.grid[1]} patches"
    shown = f"{facts.pictures:,} {'grey' if facts.grey else 'colour'} pictures of about {facts.side} pixels"
    kinds = f"in {facts.classes} classes" if facts.classes else "without labels"
    kinds = f"with any of {many(facts.classes, 'label')}" if facts.several else kinds
    where = many(facts.cores, "core") if facts.device == "cpu" else facts.device
    smaller = "" if dearest is None else f"; {dearest} would take more than an hour on {where}"
    how = "" if facts.classes else "a masked autoencoder, "
    notes = [
        f"chosen: {how}{model} {seen}, for {shown} {kinds}{smaller}",
        f"{many(config.epochs, 'epoch')} in batches of {config.batch_size}; {_said_of_views(config)}",
    ]
    if isinstance(config.task, ClassificationConfig) and config.task.balance != "none":
        notes.append(
            f"classes have from {facts.fewest} to {facts.most} pictures: rare ones weigh more"
            " (--set task.balance=none otherwise)"
        )
    if facts.classes and (facts.pictures < FEW or facts.pictures < FEW_OF_A_CLASS * facts.classes):
        advice = "" if facts.several else f"; vitreous advise {quote(config.data)} measures which way is best"
        notes.append(
            "few pictures to learn from scratch: where weights that have seen more are at hand, --from goes"
            f" on with them{advice}"
        )
    return notes


def _said_of_views(config: TrainConfig) -> str:
    if config.augment.flip:
        return "views may be mirrored (--set augment.flip=0 where left and right matter)"
    return "views are never mirrored: it may be writing (--set augment.flip=0.5 if it is not)"
