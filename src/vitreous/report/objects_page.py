"""The page about the objects that a detector found in one picture, and what it looked at for each."""

from collections.abc import Sequence
from typing import Any

from PIL import Image

from vitreous.data.images import as_rgb
from vitreous.data.preprocess import View
from vitreous.errors import ConfigError
from vitreous.explain.explained import name_of
from vitreous.explain.objects import (
    THRESHOLD,
    Detector,
    Object,
    attention_of,
    look_for_objects,
    object_gradient,
    object_relevance,
    objects_in,
    query_attention,
)
from vitreous.explain.overlay import COLOURS
from vitreous.models.detr import Detr
from vitreous.models.yolos import Yolos
from vitreous.report.anatomy import Subject
from vitreous.report.dense import backbone_steps, hue, is_coarse, packed, source_of
from vitreous.report.html import json_inside, render
from vitreous.report.page import Step

MOST = 24  # objects on the page, the surest
SMALL = 160  # side in pixels of the picture beside others
SHARES = 5  # of the classes that a query says most of


def objects_page(
    predictor: Subject,
    picture: Image.Image,
    name: str,
    *,
    chosen: int = 0,
    threshold: float = THRESHOLD,
) -> str:
    """What a detector found, as one HTML file that loads nothing from outside.

    ``name`` is what people call the picture; it is shown as text, whatever it holds. ``chosen`` is the object
    that is shown first, by its place in the answer. Where nothing scores ``threshold`` the page says so, with
    what came closest. ConfigError for a model that finds no objects.
    """
    model = predictor.model
    if not isinstance(model, Detector):
        raise ConfigError(f"a {type(model).__name__} finds no objects; wanted a detector")
    picture = as_rgb(picture)
    view: View = predictor.preprocess(picture)
    images = view.image[None].to(predictor.device)
    looked = look_for_objects(model, images)
    found = objects_in(looked.answer, view)
    sure = [thing for thing in found if thing.score > threshold]
    kept = sure[:MOST]
    if chosen >= len(kept) and chosen < len(sure):
        kept = [*kept, sure[chosen]]
    logits = looked.answer.logits.detach()[0].float().softmax(-1).cpu()  # (Q, K + 1)
    names = [name_of(predictor.classes, index) for index in range(model.config.classes)]
    shown = [_told(thing, names, picture) for thing in kept]
    for told, thing in zip(shown, kept, strict=True):
        order = logits[thing.query].argsort(descending=True)[:SHARES].tolist()
        told["shares"] = [
            [[*names, "no object"][index], float(logits[thing.query, index])] for index in order
        ]
    data: dict[str, Any] = {
        "objects": [{key: told[key] for key in ("label", "score", "shares")} for told in shown],
        "chosen": min(chosen, max(0, len(kept) - 1)),
        "colours": list(COLOURS),
    }
    if kept:
        reached = [object_relevance(model, looked, thing.query, thing.index) for thing in kept]
        weights, layer = query_attention(model, images)
        attended = [attention_of(model, weights, thing.query) for thing in kept]
        slopes = [object_gradient(model, looked, thing.query, thing.index) for thing in kept]
        data["relevance"] = packed(reached, view)
        data["gradient"] = packed(slopes, view)
        data["attention"] = packed(attended, view)
        data["attention"]["way"] += f": the last of {layer + 1} layers, the mean of {len(weights)} heads"
    return render(
        "objects.html.j2",
        styles=("page.css", "heat.css", "dense.css"),
        scripts=("theme.js", "heat.js", "objects.js"),
        values={
            "name": name,
            "objects": shown,
            "guesses": [_told(thing, names, picture) for thing in found[:SHARES]],
            "facts": {
                "found": len(sure),
                "threshold": f"{threshold:g}",
                "queries": model.config.queries,
                "width": picture.width,
                "height": picture.height,
            },
            "pipeline": detector_steps(model, view, len(sure), threshold),
            "source": source_of(picture),
            "small": source_of(picture, SMALL) if len(kept) > 1 else "",
            "coarse": is_coarse(picture),
            "data": json_inside(data),
        },
    )


def detector_steps(model: Detector, view: View, found: int, threshold: float) -> list[Step]:
    """A detector's steps with the shapes that this picture had in them: DETR's, arXiv:2005.12872, section
    3.2, or those of YOLOS, arXiv:2106.00666, section 3."""
    config = model.config
    backbone = backbone_steps(config.backbone, view)
    if isinstance(model, Yolos):
        wide = model.config.backbone.encoder.width
        asking = Step(
            "Put queries in front", f"{config.queries} × {wide}", "learned tokens that ask for objects"
        )
        backbone.insert(len(backbone) - 1, asking)
        steps = backbone
    else:
        steps = [*backbone, *_decoding(model, view)]
    return [
        *steps,
        Step(
            "Two heads",
            f"{config.queries} × {config.classes + 1} and {config.queries} × 4",
            "the classes and “no object”; a box as shares of the picture",
        ),
        Step("Keep", f"{found} of {config.queries}", f"whose likeliest class has more than {threshold:g}"),
    ]


def _decoding(model: Detr, view: View) -> list[Step]:
    config = model.config
    rows, cols = config.map_at((view.image.shape[-2], view.image.shape[-1]))
    heads = f"{config.heads} heads of {config.width // config.heads}"
    asking = "queries consult one another and then the cells"
    if config.references == "boxes":
        asking += ", each from a box that every layer betters"
    return [
        Step("Project", f"{rows} × {cols} × {config.width}", f"{rows * cols} cells of the last map"),
        Step(
            f"{config.encoder_depth} × encoder layer",
            f"{rows * cols} × {config.width}",
            f"cells consult one another and know their places, {heads}",
        ),
        Step(
            f"{config.decoder_depth} × decoder layer",
            f"{config.queries} × {config.width}",
            f"{asking}, {heads}",
        ),
    ]


def _told(thing: Object, names: Sequence[str], picture: Image.Image) -> dict[str, Any]:
    """One object for the template: its box in percent of the picture, small ones on top of large ones."""
    left, top, right, bottom = thing.box
    across, down = 100 / picture.width, 100 / picture.height
    area = (right - left) * (bottom - top) / (picture.width * picture.height)
    return {
        "label": names[thing.index],
        "score": thing.score,
        "left": f"{left * across:.3f}",
        "top": f"{top * down:.3f}",
        "width": f"{(right - left) * across:.3f}",
        "height": f"{(bottom - top) * down:.3f}",
        "depth": 2 + round(100 * (1 - min(area, 1.0))),
        **hue(thing.index),
    }
