"""Judged pictures to look at: what is there and what the model said of it, drawn side by side.

Shapes: n objects of a picture; H x W pixels.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from vitreous.data.annotation import Objects, Regions
from vitreous.data.collection import Collection, Sample
from vitreous.data.drawing import Marks, draw_objects, draw_region
from vitreous.errors import DataError, PictureError
from vitreous.evaluation.detection import Found
from vitreous.evaluation.judged import Judged
from vitreous.report.html import percent
from vitreous.report.svg import data_address

SIDE = 480  # pixels of the longer side of a drawing; larger pictures are made smaller first
LEAST = 288  # smaller pictures are enlarged to it, so that names can be read
SCORE = 0.5  # from which on an answer is drawn
TITLES = {"worst": "Worst", "confused": "Most confused", "best": "Best"}
NOTES: Mapping[str, Mapping[str, str]] = {
    "objects": {
        "worst": "Pictures with the least F1, the harmonic mean of precision and recall; answers with a score"
        f" of {SCORE:g} or more are drawn.",
        "confused": "Pictures on which most objects were found and called by another class.",
        "best": "Pictures on which all, or nearly all, was found and nothing else.",
    },
    "regions": {
        "worst": "Pictures with the least mean IoU of their classes.",
        "confused": "Pictures with the largest share of pixels of one class that were taken for one other.",
        "best": "Pictures with the greatest mean IoU of their classes.",
    },
}


class Pair(NamedTuple):
    """A picture with its truth and with the answer drawn on it, both as ``data:`` addresses. ``ratio`` is
    that of its sides as CSS wants it; ``coarse`` where its pixels are to be seen as squares."""

    name: str
    caption: str
    truth: str
    answer: str
    ratio: str
    coarse: bool


class Section(NamedTuple):
    """Pictures of one kind under a title."""

    title: str
    note: str
    pairs: tuple[Pair, ...]


class Drawn(NamedTuple):
    """Both drawings of a picture."""

    truth: str
    answer: str
    ratio: str
    coarse: bool


def gallery_of(
    predictor: Judged, collection: Collection, result: Mapping[str, Any], *, window: int | None = None
) -> list[Section]:
    """The ``gallery`` of a result of ``judge_objects`` or ``judge_regions`` as drawings. ``collection`` are
    the pictures that were judged, with the model's classes; those in the gallery are looked at once more,
    as they were before. What cannot be read any more is left out."""
    gallery, says = result["gallery"], result["says"]
    chosen = {row["name"] for rows in gallery.values() for row in rows}
    samples = [sample for sample in collection.samples if sample.name in chosen]
    drawn = dict(_drawn(predictor, samples, says, window))
    caption = _objects_caption if says == "objects" else _regions_caption
    sections = []
    for kind, title in TITLES.items():
        rows = [row for row in gallery[kind] if row["name"] in drawn]
        pairs = tuple(Pair(row["name"], caption(row), *drawn[row["name"]]) for row in rows)
        if pairs:
            sections.append(Section(title, NOTES[says][kind], pairs))
    return sections


def _drawn(
    predictor: Judged, samples: Sequence[Sample], says: str, window: int | None
) -> Iterator[tuple[str, Drawn]]:
    classes = predictor.classes
    if says == "objects":
        for sample, found in predictor.objects(samples):
            if not isinstance(found, PictureError):
                yield sample.name, _with_objects(sample, found, classes)
        return
    for sample, region in predictor.regions(samples, window=window):
        try:
            truth = sample.held_region()
        except DataError:
            continue
        if truth is not None and not isinstance(region, PictureError):
            yield sample.name, _with_regions(sample, truth, region, classes)


def _with_objects(sample: Sample, found: Found, classes: Sequence[str]) -> Drawn:
    picture, scale = _fitted(sample.open())
    objects = sample.held_objects() or Objects.of([], [])
    shown = np.flatnonzero(found.scores >= SCORE)
    truth = Marks(objects.boxes * scale, objects.labels.tolist())
    answer = Marks(found.boxes[shown] * scale, found.labels[shown].tolist(), found.scores[shown].tolist())
    drawings = (draw_objects(picture, marks, classes, least=LEAST) for marks in (truth, answer))
    return _encoded(picture, *drawings)


def _with_regions(sample: Sample, truth: Regions, region: Regions, classes: Sequence[str]) -> Drawn:
    picture, _ = _fitted(sample.open())
    drawings = (
        draw_region(picture, _resized(regions, picture.size), classes, least=LEAST)
        for regions in (truth, region)
    )
    return _encoded(picture, *drawings)


def _fitted(picture: Image.Image) -> tuple[Image.Image, float]:
    """The picture no larger than ``SIDE``, and the factor that its lengths were multiplied by."""
    scale = min(1.0, SIDE / max(picture.size))
    if scale == 1:
        return picture, 1.0
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS), scale


def _resized(region: Regions, size: tuple[int, int]) -> Regions:
    """(H, W) -> (height, width) of a picture of this (width, height), each pixel the nearest one's class."""
    width, height = size
    rows = (np.arange(height) * region.shape[0]) // height
    columns = (np.arange(width) * region.shape[1]) // width
    return region[np.ix_(rows, columns)]


def _encoded(picture: Image.Image, truth: Image.Image, answer: Image.Image) -> Drawn:
    coarse = truth.size != picture.size
    there, said = (data_address(drawing, lossy=not coarse) for drawing in (truth, answer))
    return Drawn(there, said, f"{picture.width} / {picture.height}", coarse)


def _objects_caption(row: Mapping[str, Any]) -> str:
    one = row["mistakes"] == 1
    wrong = "1 mistake" if one else f"{row['mistakes']} mistakes"
    classes = (", in the class" if one else f", {row['confused']} in the class") if row["confused"] else ""
    return f"F1 {percent(row['f1'])}: {row['right']} right, {wrong}{classes}"


def _regions_caption(row: Mapping[str, Any]) -> str:
    told = f"mean IoU {percent(row['mean_iou'])}"
    if row["confused"] is None:
        return told
    pair = row["confused"]
    return f"{told}; {pair['class']} taken for {pair['said']} in {percent(pair['share'])} of the pixels"
