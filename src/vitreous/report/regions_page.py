"""The page about what a segmenter sees where in one picture, and what the class of a place was read from.

A page that computes nothing needs its maps ready: one for each place of a coarse grid, and one for the
region of each class.
"""

from typing import Any

import numpy as np
import torch
from PIL import Image

from vitreous.data.annotation import Regions
from vitreous.data.drawing import colour_of
from vitreous.data.images import as_rgb
from vitreous.data.preprocess import View
from vitreous.errors import ConfigError
from vitreous.explain.explained import checked_place, name_of
from vitreous.explain.looking import Look
from vitreous.explain.overlay import COLOURS
from vitreous.explain.regions import (
    Asked,
    Segmenter,
    at_place,
    logits_at,
    look_for_regions,
    over_region,
    region_relevance,
)
from vitreous.models.upernet import UPerNet
from vitreous.predictor.regions import enlarged
from vitreous.report.anatomy import SOURCE, Subject
from vitreous.report.dense import backbone_steps, hue, is_coarse, packed, source_of
from vitreous.report.html import json_inside, render
from vitreous.report.page import Step
from vitreous.report.svg import data_address

PLACES, LARGE_PLACES = 8, 6  # along the longer side of what the model saw; of large views, which take long
LARGE = 256  # pixels of a view's longer side, above which it is large
MOST = 12  # classes with a map of their own, the largest regions
SHARES = 3  # of the classes at a place


def regions_page(
    predictor: Subject,
    picture: Image.Image,
    name: str,
    *,
    at: tuple[float, float] | None = None,
    target: int | None = None,
    places: int | None = None,
) -> str:
    """What a segmenter sees where, as one HTML file that loads nothing from outside.

    ``name`` is what people call the picture; it is shown as text, whatever it holds. ``at`` is a place x, y
    in source pixels that is shown first, ``target`` a class: the one that is asked about there, or whose
    region is shown first. ``places`` is how many of them lie along the longer side; each costs a backward
    pass.

    Raises:
        ConfigError: a model that tells no regions, or a place that the model does not see.
    """
    model = predictor.model
    if not isinstance(model, Segmenter):
        raise ConfigError(f"a {type(model).__name__} tells no regions; wanted a SegFormer or a UPerNet")
    picture = as_rgb(picture)
    view: View = predictor.preprocess(picture)
    if at is not None:
        checked_place(at, view)
    looked = look_for_regions(model, view.image[None].to(predictor.device))
    classes = [name_of(predictor.classes, index) for index in range(model.config.classes)]
    painted = enlarged(looked.answer.logits.detach()[0], view.where)  # (H, W)
    counts = np.bincount(painted.ravel(), minlength=len(classes))
    order = [int(index) for index in np.argsort(-counts, kind="stable") if counts[index]]
    regions: list[tuple[int, Asked]] = []
    for index in order[:MOST] + ([target] if target in order[MOST:] else []):
        asked = over_region(looked, int(index or 0))
        if asked is not None:  # thinner than a cell of the logits
            regions.append((asked.index, asked))
    if places is None:
        places = PLACES if max(view.image.shape[-2:]) <= LARGE else LARGE_PLACES
    spots, rows, cols = grid_of_places(view, places)
    first = -1
    if at is not None:
        first = len(spots)
        spots = [*spots, at]
    told, asked_at = [], []
    for number, spot in enumerate(spots):
        asked = at_place(looked, checked_place(spot, view), target if number == first else None)
        asked_at.append(asked)
        told.append(_place(looked, view, spot, asked, classes, picture))
    reached = [region_relevance(model, looked, asked.logit) for asked in asked_at]
    over = [region_relevance(model, looked, asked.logit) for _, asked in regions]
    points = packed(reached, view)
    shown = [
        {"label": classes[index], "score": asked.score, "share": counts[index] / counts.sum(), **hue(index)}
        for index, asked in regions
    ]
    known = [index for index, _ in regions]
    region = known.index(target) if target in known and at is None else -1
    data: dict[str, Any] = {
        "rows": points["rows"],
        "cols": points["cols"],
        "place": points["place"],
        "width": picture.width,
        "height": picture.height,
        "way": points["way"],
        "points": {"rows": rows, "cols": cols, "places": told, "maps": points},
        "regions": packed(over, view),
        "classes": [{key: one[key] for key in ("label", "score")} for one in shown],
        "chosen": {"region": region, "point": first if region < 0 and first >= 0 else -1},
        "colours": list(COLOURS),
    }
    if data["chosen"] == {"region": -1, "point": -1}:
        data["chosen"] = {"region": 0, "point": -1}
    return render(
        "regions.html.j2",
        styles=("page.css", "heat.css", "dense.css"),
        scripts=("theme.js", "heat.js", "regions.js"),
        values={
            "name": name,
            "classes": shown,
            "facts": {
                "shown": len(order),
                "classes": len(classes),
                "points": len(spots),
                "width": picture.width,
                "height": picture.height,
            },
            "pipeline": segmenter_steps(model, view, looked),
            "source": source_of(picture),
            "painted": data_address(_as_picture(painted, len(classes))),
            "coarse": is_coarse(picture),
            "data": json_inside(data),
        },
    )


def grid_of_places(view: View, places: int) -> tuple[list[tuple[float, float]], int, int]:
    """Pixels x, y of the source in the middle of even parts of what the model sees, row by row; and how many
    rows and columns of them there are."""
    high, wide = view.image.shape[-2:]
    left, top, right, bottom = view.where.back_boxes(np.array([[0.0, 0.0, wide, high]]))[0].tolist()
    across, down = right - left, bottom - top
    longer = max(across, down)
    rows = max(1, min(round(places * down / longer), int(down)))
    cols = max(1, min(round(places * across / longer), int(across)))
    xs = [int(left + (col + 0.5) * across / cols) for col in range(cols)]
    ys = [int(top + (row + 0.5) * down / rows) for row in range(rows)]
    return [(float(x), float(y)) for y in ys for x in xs], rows, cols


def segmenter_steps(model: Segmenter, view: View, looked: Look) -> list[Step]:
    """A segmenter's steps with the shapes that this picture had in them."""
    config = model.config
    _, count, rows, cols = looked.answer.logits.shape
    read = len(looked.maps)
    if isinstance(model, UPerNet):
        head = Step(
            "Pyramid head (arXiv:1807.10221)",
            f"{rows} × {cols} × {config.backbone.out_channels}",
            f"maps after blocks {', '.join(str(tap) for tap in model.config.taps)}, at four scales",
        )
    else:
        maps = "one map" if read == 1 else f"{read} maps, enlarged to the finest"
        head = Step(
            "All-MLP head (arXiv:2105.15203)",
            f"{rows} × {cols} × {model.config.decoder_width}",
            f"reads {maps}",
        )
    height, width = view.where.source
    return [
        *backbone_steps(config.backbone, view),
        head,
        Step("Classify", f"{rows} × {cols} × {count}", "a logit for each class and cell"),
        Step("Enlarge", f"{height} × {width}", "to the source's pixels, each taking its likeliest class"),
    ]


def _place(
    looked: Look,
    view: View,
    spot: tuple[float, float],
    asked: Asked,
    classes: list[str],
    picture: Image.Image,
) -> dict[str, Any]:
    """A place for the page: where it is, and what the model says of it, the class that was asked about
    first."""
    with torch.no_grad():
        shares = logits_at(looked, checked_place(spot, view)).float().softmax(0)
    order = [int(index) for index in shares.argsort(descending=True)]
    first = [asked.index, *(index for index in order if index != asked.index)][:SHARES]
    return {
        "x": (spot[0] + 0.5) / picture.width,
        "y": (spot[1] + 0.5) / picture.height,
        "across": spot[0],
        "down": spot[1],
        "shares": [[classes[index], float(shares[index])] for index in first],
    }


def _as_picture(painted: Regions, classes: int) -> Image.Image:
    """A map of classes in their colours."""
    table = np.array([colour_of(index) for index in range(classes)], dtype=np.uint8)
    small = Image.fromarray(table[painted])
    small.thumbnail((SOURCE, SOURCE), Image.Resampling.NEAREST)
    return small
