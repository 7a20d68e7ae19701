"""The small sets, ways to learn from them, and what is claimed of those; see ``benchmarks/small_sets.py``.

Of the sets named ``few_...`` some pictures of each class have labels, and all are there to be seen without.

Every row sees a set's pictures in the same views (``Small.augment``), but for ``plain``, whose views are
those of the recipe ``scratch``, and for pretraining, which hides most of a picture and so varies it less.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from vitreous.data.augment import AugmentConfig
from vitreous.tasks.config import (
    DistillationConfig,
    MaskedAutoencodingConfig,
    TokenizerConfig,
    VisualTokensConfig,
)
from vitreous.training.config import ModelChoice, OptimizerConfig, TrainConfig
from vitreous.training.recipes import scratch


@dataclass(frozen=True, kw_only=True)
class Small:
    """One set: ``source`` as ``read_data`` takes it, or "" for the pieces of photographs that the benchmark
    builds; ``time`` is its share of ``--seconds``."""

    title: str
    source: str
    image_size: int
    channels: int
    patch: int  # of a convolutional stem
    fine: int  # the patch of a linear stem, and of what is hidden in pretraining
    depth: int
    augment: AugmentConfig
    rows: tuple[str, ...]  # by default
    time: float = 1.0
    positions: str = "sincos2d"  # of a linear stem
    labels: int | None = None  # a class, of the training part; None: all
    rate: float = 3e-3  # of a ViT that learns from labels


_LABELLED = ("plain", "small", "resnet", "bare", "mae", "beit", "student", "taught")
_FEW = ("bare", "mae", "beit", "student", "taught")

_ALL: Mapping[str, Small] = {
    "digits": Small(
        title="1293 handwritten digits of 8 x 8 pixels, 10 classes",
        source="digits",
        image_size=8,
        channels=1,
        patch=2,
        fine=2,
        depth=3,
        # No flips and no crops: a mirrored 2 is no 2, and at 8 pixels nothing can be cut off.
        augment=AugmentConfig(
            crop=None, flip=0, rand_augment=None, rotate=10, shift=0.1, zoom=0.1, mixup=0.2
        ),
        rows=_LABELLED,
        time=0.5,
        positions="learned",
    ),
    "scenes": Small(
        title="1500 hard scenes of 32 x 32 pixels, 10 shapes of the main object",
        source="scenes:hard,size=32",
        image_size=32,
        channels=3,
        patch=8,
        fine=4,
        depth=4,
        augment=AugmentConfig(crop=(0.5, 1.0), rand_augment=None),
        rows=_LABELLED,
        rate=2e-3,  # with a larger one some seeds learn nothing for long
    ),
    "pieces": Small(
        title="760 pieces of 32 x 32 pixels, from 19 photographs",
        source="",
        image_size=32,
        channels=1,
        patch=8,
        fine=4,
        depth=4,
        augment=AugmentConfig(crop=(0.5, 1.0), rand_augment=None, mixup=0.4),
        rows=_LABELLED,
    ),
}


def _few(name: str, labels: int, fine: int) -> Small:
    known = _ALL[name]
    title = f"{known.title}; {labels} labels a class, the others are seen without"
    return replace(known, title=title, labels=labels, fine=fine, rows=_FEW)


SETS: Mapping[str, Small] = {
    **_ALL,
    "few_digits": _few("digits", 10, 2),
    "few_scenes": _few("scenes", 50, 8),
    "few_pieces": _few("pieces", 10, 8),
}


class Run(NamedTuple):
    """What a stage is for: the set, where its pictures are, where the stages before it lie, the seed, and a
    model that was trained before the benchmark's clock ran, for longer."""

    small: Small
    data: str
    place: Path
    seed: int
    teacher: Path


@dataclass(frozen=True)
class Stage:
    """One ``fit`` of a row: its share of the row's seconds, and its configuration but for its length."""

    name: str
    share: float
    configure: Callable[[Run], TrainConfig]


@dataclass(frozen=True)
class Row:
    """A way to learn: the last stage leaves what is judged."""

    title: str
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class Claim:
    """One row is more accurate than another, on at least so many of the sets; ``level``: or as accurate."""

    text: str
    row: str
    rival: str
    sets: int
    level: bool = field(default=False)


# AdamW forgets sooner than by default: in some hundred steps 0.999 never settles.
_BETAS = (0.9, 0.98)
_RESNET_RATE = 1e-3  # this, and those of the sets, about the best of a few on validation parts


def _run(config: TrainConfig, run: Run) -> TrainConfig:
    """A configuration on one thread, without what costs time and changes nothing."""
    return replace(
        config,
        data=run.data,
        seed=run.seed,
        workers=0,
        threads=1,
        device="cpu",
        track="none",
        save_seconds=1e9,
        patience=None,
    )


def _model(run: Run, name: str, **options: Any) -> ModelChoice:
    channels = 3 if name.startswith("resnet") else run.small.channels
    return ModelChoice(name=name, image_size=run.small.image_size, channels=channels, options=options)


def _stemmed(run: Run, name: str) -> ModelChoice:
    """A tiny model on a convolutional stem, with positions that are waves from the start."""
    return _model(
        run,
        name,
        patch=run.small.patch,
        stem="conv",
        stem_width=32,
        positions="sincos2d",
        depth=run.small.depth,
    )


def _fine(run: Run, name: str, **options: Any) -> ModelChoice:
    """A tiny model of small patches, whose projection is one matrix: what can be hidden patch by patch."""
    places = run.small.positions
    return _model(run, name, patch=run.small.fine, positions=places, depth=run.small.depth, **options)


def _taught(run: Run, model: ModelChoice, rate: float | None = None, **values: Any) -> TrainConfig:
    """A classifier on the set's views, but for what ``values`` say."""
    views = {"augment": run.small.augment} | values
    optimizer = OptimizerConfig(learning_rate=rate or run.small.rate, betas=_BETAS)
    config = TrainConfig(data=run.data, output="", model=model, optimizer=optimizer, average=0.99, **views)
    return _run(config, run)


def _pretrained(run: Run, model: ModelChoice, **values: Any) -> TrainConfig:
    """A model that learns from the pictures alone."""
    return _taught(run, model, 3e-3, augment=_unmixed(run), **values)


def _plain(run: Run) -> TrainConfig:
    config = scratch(run.data, "")
    model = _model(run, "vit_tiny", patch=run.small.fine, drop_path=0.05)
    return _run(replace(config, model=model), run)


def _small(run: Run) -> TrainConfig:
    return _taught(run, _stemmed(run, "vit_tiny"))


def _resnet(run: Run) -> TrainConfig:
    return _taught(run, _model(run, "resnet_18"), _RESNET_RATE)


def _bare(run: Run) -> TrainConfig:
    return _taught(run, _fine(run, "vit_tiny", pool="mean", pool_norm=True, final_norm=False))


def _mae(run: Run) -> TrainConfig:
    return _pretrained(
        run, _fine(run, "mae_tiny", normalised_targets=True, decoder_depth=1), task=MaskedAutoencodingConfig()
    )


def _tokenizer(run: Run) -> TrainConfig:
    halvings = run.small.fine.bit_length()  # so that a token stands for a patch
    model = _model(run, "dvae_tiny", groups=halvings, blocks=1, width=16, codes=128)
    return _pretrained(run, model, task=TokenizerConfig())


def _beit(run: Run) -> TrainConfig:
    tokenizer = VisualTokensConfig(tokenizer=str(run.place / "tokenizer"))
    return _pretrained(run, _fine(run, "beit_tiny_masked", attention="plain"), task=tokenizer)


def _tuned(stage: str) -> Callable[[Run], TrainConfig]:
    return lambda run: _taught(run, ModelChoice(source=str(run.place / stage)))


def _student(run: Run) -> TrainConfig:
    return _taught(run, _stemmed(run, "vit_tiny"), augment=_unmixed(run))


def _distilled(run: Run, teacher: Path) -> TrainConfig:
    # Each picture has eight views, about which the teacher is asked once: its time is not the student's.
    task = DistillationConfig(
        teacher=str(teacher), targets="soft", share=0.9, temperature=2.0, cached_views=8
    )
    return _taught(run, _stemmed(run, "vit_tiny"), task=task, augment=_unmixed(run))


def _unmixed(run: Run) -> AugmentConfig:
    return replace(run.small.augment, mixup=0.0)


ROWS: Mapping[str, Row] = {
    "plain": Row("the recipe scratch on vit_tiny", (Stage("scratch", 1.0, _plain),)),
    "small": Row("a ViT on a convolutional stem", (Stage("train", 1.0, _small),)),
    "resnet": Row("torchvision's ResNet-18", (Stage("train", 1.0, _resnet),)),
    "bare": Row("the model of mae and beit without pretraining", (Stage("train", 1.0, _bare),)),
    "mae": Row("MAE, then tuned", (Stage("mae", 0.6, _mae), Stage("tune", 0.4, _tuned("mae")))),
    "beit": Row(
        "BEiT on tokens of its own, then tuned",
        (
            Stage("tokenizer", 0.15, _tokenizer),
            Stage("beit", 0.4, _beit),
            Stage("tune", 0.45, _tuned("beit")),
        ),
    ),
    "student": Row("small without mixup", (Stage("train", 1.0, _student),)),
    "distilled": Row(
        "student with a ResNet-18 as its teacher, whose training counts",
        (
            Stage("teacher", 0.35, _resnet),
            Stage("distil", 0.65, lambda run: _distilled(run, run.place / "teacher")),
        ),
    ),
    "taught": Row(
        "student with a teacher that was there before",
        (Stage("distil", 1.0, lambda run: _distilled(run, run.teacher)),),
    ),
}

TEACHER = Row("small, trained for longer: the teacher of taught", (Stage("train", 3.0, _small),))

CLAIMS = (
    Claim("The best ViT from scratch is at least as accurate as ResNet-18", "small", "resnet", 3, level=True),
    Claim("It is ahead of a plainly supervised ViT", "small", "plain", 3),
    Claim("MAE beats no pretraining", "mae", "bare", 2),
    Claim("BEiT beats no pretraining", "beit", "bare", 2),
    Claim("A teacher helps, its training counted", "distilled", "student", 2),
    Claim("A teacher that is there already helps", "taught", "student", 2),
)
