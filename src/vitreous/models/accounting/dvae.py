"""Discrete VAEs, counted convolution by convolution.

Memory is per picture, float32; what a kernel unfolds or lays out anew beside it is not counted, which where
there are few channels may be half as much again. A forward pass paints from the likeliest codes, which are
looked up; in training they are mixed, and a convolution keeps its input, ReLU its result, which is the same,
and max-pooling its input and where the largest number was.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from vitreous.models.accounting.plain import FLOAT_BYTES, Account
from vitreous.models.config import DVAEConfig

ENCODER_KERNELS, DECODER_KERNELS, FIRST_KERNEL = (3, 3, 3, 1), (1, 3, 3, 3), 7
INDEX = 2  # floats that a whole number of 8 bytes takes


class _Step(NamedTuple):
    """One part of the model: ``kept`` floats for the backward pass, and the ``most`` that live at one time,
    beside what lives all the while."""

    parameters: int = 0
    macs: int = 0
    kept: int = 0
    most: int = 0


def account_dvae(config: DVAEConfig, image_size: tuple[int, int]) -> Account:
    """Count at a picture size (height, width) in pixels. ``tokens`` and ``patches`` are those that a picture
    becomes; none of them attends to another."""
    rows, cols = config.grid_at(image_size)
    cells = rows * cols
    steps = list(_encoder(config, image_size))
    if config.decoder:
        logits = config.codes * cells  # alive while it is painted
        steps += [step._replace(most=logits + step.most) for step in _decoder(config, cells)]
    return Account(
        parameters=sum(step.parameters for step in steps),
        tokens=cells,
        patches=cells,
        macs=sum(step.macs for step in steps),
        attention_macs=0,
        forward_bytes=FLOAT_BYTES * max(step.most for step in steps),
        training_bytes=FLOAT_BYTES * sum(step.kept for step in steps),
    )


def _encoder(config: DVAEConfig, image_size: tuple[int, int]) -> Iterator[_Step]:
    height, width = image_size
    places, channels = height * width, config.width
    yield _convolution(config.channels, channels, FIRST_KERNEL, places)._replace(most=channels * places)
    for number, out in enumerate(config.widths):
        if number:
            before, places = places, (height >> number) * (width >> number)
            indices = INDEX * channels * places
            yield _Step(kept=channels * before + indices, most=channels * (before + places) + indices)
        yield from _group(channels, out, ENCODER_KERNELS, config.blocks, places)
        channels = out
    yield _Step(most=2 * channels * places)  # before and after ReLU
    last = _convolution(channels, config.codes, 1, places)
    yield last._replace(most=(channels + config.codes) * places)


def _decoder(config: DVAEConfig, cells: int) -> Iterator[_Step]:
    places, channels = cells, config.code_width
    looked_up = _convolution(config.codes, channels, 1, places)
    yield looked_up._replace(macs=0, most=(2 * channels + INDEX) * places)
    for number, out in enumerate(config.widths[::-1]):
        if number:
            places *= 4
            yield _Step(most=channels * (places // 4 + places))
        yield from _group(channels, out, DECODER_KERNELS, config.blocks, places)
        channels = out
    painted = config.channels * (2 if config.paints == "logit_laplace" else 1)
    last = _convolution(channels, painted, 1, places)
    yield last._replace(most=(2 * channels + painted) * places)


def _group(channels: int, out: int, kernels: Sequence[int], blocks: int, places: int) -> Iterator[_Step]:
    """Blocks on one grid. What the group was given is there until its last block is done."""
    given = channels * places
    for number in range(blocks):
        step = _block(channels, out, kernels, places)
        yield step._replace(most=step.most + (given if number else 0))
        channels = out


def _block(channels: int, out: int, kernels: Sequence[int], places: int) -> _Step:
    hidden = out // 4
    sizes = (channels, hidden, hidden, hidden, out)
    parts = [
        _convolution(below, above, kernel, places)
        for below, above, kernel in zip(sizes[:-1], sizes[1:], kernels, strict=True)
    ]
    changed = channels != out
    if changed:
        parts.append(_convolution(channels, out, 1, places))
    # At its beginning: input, its ReLU, the first hidden map. At its end: input, what the convolutions made,
    # the shortcut, their sum; ahead of that, input, the last hidden map, its ReLU, what is made of it.
    most = max(2 * channels + hidden, channels + (3 if changed else 2) * out, channels + 2 * hidden + out)
    return _Step(
        parameters=sum(part.parameters for part in parts),
        macs=sum(part.macs for part in parts),
        kept=sum(part.kept for part in parts),
        most=most * places,
    )


def _convolution(channels: int, out: int, kernel: int, places: int) -> _Step:
    weights = channels * out * kernel**2
    return _Step(parameters=weights + out, macs=weights * places, kept=channels * places)
