"""Whether explanations of a trained detector or segmenter point at the objects of scenes, whose pixels are
known.

    python -m benchmarks.explain_scenes RUN [--data scenes:detection] [--part test] [--pictures 200]
        [--threshold 0.5]

RUN is a trained run or a model directory. Of a detector every object counts that was found: the right class,
and a box that overlaps the true one by half. Of a segmenter every object counts whose middle pixel has the
right class; that pixel is explained, and a square of 7 x 7 around it takes no part in the last two columns,
since to look at the place itself is no finding.

points     the hottest pixel lies on the object (the pointing game, arXiv:1608.00507) mass       how much of
the heat lies on the object chance     how much of the picture the object covers: what both are for heat that
knows nothing centre     the middle of the picture lies on the object: what points is for who always looks
there other      heat of one object, judged by another one of the same picture: what points is for heat that
only finds
           objects (detectors)

Means over objects; the interval of points is 95%, by drawing pictures again.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vitreous.data.annotation import Objects
from vitreous.data.collection import Sample
from vitreous.data.folder import read_data
from vitreous.errors import ConfigError
from vitreous.explain.explained import Seen, says_of, to_source
from vitreous.explain.objects import (
    Object,
    attention_of,
    look_for_objects,
    object_gradient,
    object_relevance,
    objects_in,
    query_attention,
)
from vitreous.explain.regions import at_place, look_for_regions, region_gradient, region_relevance
from vitreous.predictor import Predictor, load

Heat = NDArray[np.float32]
Truth = NDArray[np.bool_]

AROUND = 3  # pixels beside a segmenter's place that are left out


class Judged(NamedTuple):
    """One map of one object of one picture: what the table means over."""

    picture: int
    points: bool
    mass: float
    chance: float
    centre: bool
    other: bool | None


@dataclass(frozen=True)
class Answered:
    """An object that was found: its maps by method, and where it truly is."""

    maps: dict[str, Heat]
    truth: Truth


def overlap(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Intersection over union of two boxes."""
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    shared = float(np.clip(sides, 0, None).prod())
    areas = float((first[2:] - first[:2]).prod() + (second[2:] - second[:2]).prod())
    return shared / (areas - shared) if shared else 0.0


def found_objects(predictor: Predictor, sample: Sample, threshold: float) -> Iterator[Answered]:
    """Every object of a picture that a detector found, with a map of each method."""
    objects, view = sample.held_objects(), predictor.prepare(sample.open())
    if objects is None or objects.masks is None:
        raise ConfigError(f"{sample.name} has no masks of objects; wanted scenes:detection")
    model = predictor.model
    images = view.image[None].to(predictor.device)
    looked = look_for_objects(model, images)
    weights, _ = query_attention(model, images)
    free = [thing for thing in objects_in(looked.answer, view) if thing.score > threshold]
    for number in range(len(objects.boxes)):
        thing = _match(free, objects, number)
        if thing is None:
            continue
        free.remove(thing)
        ways = {
            "relevance": object_relevance(model, looked, thing.query, thing.index),
            "attention": attention_of(model, weights, thing.query),
            "gradient": object_gradient(model, looked, thing.query, thing.index),
        }
        maps = {name: _heat(way.grid, view, way.stride) for name, way in ways.items()}
        yield Answered(maps, objects.masks[number].decode())


def _match(free: list[Object], objects: Objects, number: int) -> Object | None:
    """The surest answer of the right class and about the right place."""
    for thing in free:
        right = thing.index == int(objects.labels[number])
        if right and overlap(np.array(thing.box), objects.boxes[number]) >= 0.5:
            return thing
    return None


def right_places(predictor: Predictor, sample: Sample) -> Iterator[tuple[Answered, tuple[int, int]]]:
    """Every object whose middle pixel a segmenter has right, with a map of that pixel, and the pixel x, y."""
    objects, region = sample.held_objects(), sample.held_region()
    drawn = getattr(sample.source, "scene", None)
    if region is None or (drawn is None and objects is None):
        raise ConfigError(f"{sample.name} has no regions with objects; wanted scenes:segmentation")
    view = predictor.prepare(sample.open())
    model = predictor.model
    looked = look_for_regions(model, view.image[None].to(predictor.device))
    height, width = view.where.source
    for number in range(1, int(drawn.instances.max()) + 1 if drawn is not None else 1):
        truth: Truth = drawn.instances == number
        rows, cols = np.nonzero(truth)
        if not len(rows):
            continue
        y, x = int(np.median(rows)), int(np.median(cols))
        across, down = view.where.forth_boxes(np.array([[x + 0.5, y + 0.5] * 2]))[0, :2]
        place = (float(across) / view.image.shape[-1], float(down) / view.image.shape[-2])
        if not truth[y, x] or not all(0 <= part < 1 for part in place):
            continue
        asked = at_place(looked, place)
        if asked.index != int(region[y, x]):
            continue
        ways = {
            "relevance": region_relevance(model, looked, asked.logit),
            "gradient": region_gradient(looked, asked.logit),
        }
        maps = {name: _heat(way.grid, view, way.stride) for name, way in ways.items()}
        yield Answered(maps, truth), (min(x, width - 1), min(y, height - 1))


def judge(picture: int, heat: Heat, truth: Truth, other: Truth | None) -> Judged:
    """One map against where the object is."""
    row, col = np.unravel_index(int(heat.argmax()), heat.shape)
    total = float(heat.sum())
    return Judged(
        picture,
        bool(truth[row, col]),
        float(heat[truth].sum()) / total if total else 0.0,
        float(truth.mean()),
        bool(truth[truth.shape[0] // 2, truth.shape[1] // 2]),
        None if other is None else bool(other[row, col]),
    )


def interval(found: list[Judged], seed: int = 0, draws: int = 2000) -> tuple[float, float]:
    """95% of the mean of ``points`` over pictures that are drawn again."""
    pictures = sorted({one.picture for one in found})
    hits = np.array([sum(one.points for one in found if one.picture == number) for number in pictures])
    counts = np.array([sum(one.picture == number for one in found) for number in pictures])
    drawn = np.random.default_rng(seed).integers(0, len(pictures), (draws, len(pictures)))
    means = hits[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def detector(predictor: Predictor, samples: list[Sample], threshold: float) -> dict[str, list[Judged]]:
    """Every map of every object that was found."""
    table: dict[str, list[Judged]] = defaultdict(list)
    for picture, sample in enumerate(samples):
        answered = list(found_objects(predictor, sample, threshold))
        for number, one in enumerate(answered):
            beside = answered[(number + 1) % len(answered)].truth if len(answered) > 1 else None
            for name, heat in one.maps.items():
                table[name].append(judge(picture, heat, one.truth, beside))
    return table


def segmenter(predictor: Predictor, samples: list[Sample]) -> dict[str, list[Judged]]:
    """Every map of every right pixel, whole, and without the place itself."""
    table: dict[str, list[Judged]] = defaultdict(list)
    for picture, sample in enumerate(samples):
        for one, (x, y) in right_places(predictor, sample):
            beyond = np.ones_like(one.truth)
            beyond[max(0, y - AROUND) : y + AROUND + 1, max(0, x - AROUND) : x + AROUND + 1] = False
            for name, heat in one.maps.items():
                table[name].append(judge(picture, heat, one.truth, None))
                if (one.truth & beyond).any():
                    chance = float((one.truth & beyond).sum() / beyond.sum())
                    judged = judge(picture, heat * beyond, one.truth & beyond, None)
                    table[f"{name}, beyond the place"].append(judged._replace(chance=chance))
    return table


def show(table: dict[str, list[Judged]]) -> None:
    """Print a line for each method."""
    print(
        f"{'method':<28} {'objects':>7} {'points':>7} {'95%':>15} {'mass':>7} {'chance':>7} {'centre':>7}",
        end="",
    )
    print(f" {'other':>7}")
    for name, found in table.items():
        points, mass, chance, centre = (
            float(np.mean([getattr(one, part) for one in found]))
            for part in ("points", "mass", "chance", "centre")
        )
        low, high = interval(found)
        others = [one.other for one in found if one.other is not None]
        other = f"{np.mean(others):>7.1%}" if others else f"{'-':>7}"
        print(
            f"{name:<28} {len(found):>7} {points:>7.1%} {f'{low:.1%} to {high:.1%}':>15} {mass:>7.1%}"
            f" {chance:>7.1%} {centre:>7.1%} {other}"
        )


def _heat(grid: object, view: Seen, stride: int) -> Heat:
    return to_source(grid.detach().float().cpu(), view, stride)  # type: ignore[attr-defined]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", help="a trained run or a model directory")
    parser.add_argument("--data", help="scenes:detection or scenes:segmentation, with options")
    parser.add_argument("--part", choices=("train", "validation", "test"), default="test")
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--threshold", type=float, default=0.5)
    arguments = parser.parse_args()
    predictor = load(arguments.run, device="cpu")
    says = says_of(predictor.model)
    if says == "classes":
        raise SystemExit(f"{arguments.run} tells classes; wanted a detector or a segmenter")
    data = arguments.data or {"objects": "scenes:detection", "regions": "scenes:segmentation"}[says]
    part = getattr(read_data(data, wanted=says), arguments.part)
    if tuple(part.classes) != tuple(predictor.classes):
        raise SystemExit(f"{data} has other classes than {arguments.run}; give --data as it was trained on")
    samples = list(part.samples)[: arguments.pictures]
    if says == "objects":
        table = detector(predictor, samples, arguments.threshold)
    else:
        table = segmenter(predictor, samples)
    if not table:
        raise SystemExit(f"nothing was found on {len(samples)} pictures; nothing to explain")
    print(f"{arguments.run} on {len(samples)} pictures of {data}, {arguments.part}")
    show(table)


if __name__ == "__main__":
    main()
