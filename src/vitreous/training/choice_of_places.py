"""The run for pictures with boxes, or with a class for each pixel, that nobody described: which model, how
large, for how long. ``choice.py`` does the same for labels."""

from dataclasses import replace
from shlex import quote
from typing import Any

from vitreous.data.splitting import many
from vitreous.training.choice import EPOCHS, PATIENCE, Choice, Facts, Size, epochs_for, seconds_of
from vitreous.training.config import ModelChoice, TrainConfig
from vitreous.training.recipes import detr, segformer

FEW = 500  # training pictures, below which weights that have seen more are worth more than time
STEP = 32  # pixels of which a side is a multiple
SMALLEST, LARGEST = 64, 256  # sides of a small model, in pixels


_REFERENCES: dict[str, Any] = {"references": "boxes"}
_DEEPER: dict[str, Any] = {"widths": (32, 64, 128), "depths": (2, 2, 2)}


def choose_places(facts: Facts, data: str, output: str) -> Choice:
    """The run for these pictures on this machine; ``facts.classes`` are those of objects or pixels."""
    boxed = facts.places == "objects"
    sizes = _detectors(facts.side) if boxed else _segmenters(facts.side)
    fitting = [size for size in sizes if size.pictures <= facts.pictures or size is sizes[-1]]
    epochs = epochs_for(facts.pictures, EPOCHS)
    size = next(
        (size for size in fitting if seconds_of(_model(size), facts, epochs) <= PATIENCE), fitting[-1]
    )
    plain = (detr if boxed else segformer)(data, output)
    alone = facts.device == "cpu" and facts.cores <= 2
    config = replace(
        plain,
        model=_model(size),
        epochs=epochs,
        batch_size=next((batch for batch in (32, 16) if facts.pictures >= 5 * batch), 8),
        average=0.999 if epochs * facts.pictures >= 5000 * plain.batch_size else 0.99,
        evaluate_every=max(1, epochs // 20),
        workers=1 if alone else 2 if facts.device == "cpu" else min(8, max(2, facts.cores)),
    )
    return Choice(config, None if size is fitting[0] else fitting[0].called)


def reasons_of_places(config: TrainConfig, facts: Facts, dearest: str | None) -> list[str]:
    """Sentences on what is learnt, how and why."""
    height, width = config.model.configure(classes=2).image_size
    boxed = facts.places == "objects"
    told = "boxes around objects" if boxed else "a class for each pixel"
    smaller = "" if dearest is None else f"; {dearest} would take more than an hour"
    notes = [
        f"chosen: {told}, by {config.model.name} at {height}x{width} pixels, for {facts.pictures:,} pictures"
        f" of about {facts.side} pixels with {many(facts.classes, 'kind')} of things{smaller}",
        f"{many(config.epochs, 'epoch')} in batches of {config.batch_size}; views may be mirrored"
        " (--set augment.flip=0 where left and right matter)",
    ]
    if facts.pictures < FEW:
        notes.append(
            f"few pictures to learn from scratch: vitreous train {quote(config.data)} --recipe"
            f" {'detr' if boxed else 'segformer'} --from SOURCE stands on a backbone that has"
            " seen more, any classifier's"
        )
    return notes


def _detectors(side: int) -> list[Size]:
    """The dearest first."""
    small = [
        Size(name="detr_resnet_tiny", image_size=size, options=_REFERENCES | (_DEEPER if size > 128 else {}))
        for size in dict.fromkeys((_side(side), 128, SMALLEST))
        if size <= _side(side)
    ]
    if side < 2 * LARGEST:
        return small
    large = {**_REFERENCES, "queries": 100}
    return [Size(name="detr_resnet_50", image_size=640, pictures=5000, options=large), *small]


def _segmenters(side: int) -> list[Size]:
    small = [
        Size(name="segformer_tiny", image_size=size)
        for size in dict.fromkeys((_side(side), 128, SMALLEST))
        if size <= _side(side)
    ]
    if side < 2 * LARGEST:
        return small
    return [Size(name="segformer_b0", image_size=512, pictures=2000), *small]


def _side(side: int) -> int:
    """A multiple of ``STEP`` near the pictures' own side."""
    return min(LARGEST, max(SMALLEST, STEP * round(side / STEP)))


def _model(size: Size) -> ModelChoice:
    return ModelChoice(name=size.name, image_size=size.image_size, options=dict(size.options))
