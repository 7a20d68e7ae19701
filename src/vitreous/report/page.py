"""The page about one picture: a single HTML file that shows what the model saw in it.

The page about a training run is ``run_page``.
"""

from typing import Any, NamedTuple

from PIL import Image

from vitreous.report.anatomy import Subject, dissect
from vitreous.report.html import json_inside, render
from vitreous.report.run_page import Example as Example  # offered here too
from vitreous.report.run_page import RunReport as RunReport
from vitreous.report.run_page import run_page as run_page


class Step(NamedTuple):
    """One step from pixels to scores: its name, the shape that comes out, and how."""

    name: str
    shape: str
    how: str


def explanation_page(
    predictor: Subject, picture: Image.Image, name: str, *, top: int = 5, target: int | None = None
) -> str:
    """What a model saw in a picture, as one HTML file that loads nothing from outside.

    ``name`` is what people call the picture; it is shown as text, whatever it holds. ``top`` classes are
    listed, each with its relevance, and ``target`` too, whose map is shown first. For ViT-B/16 at 224
    pixels the file stays under 3 MB.
    """
    anatomy = dissect(predictor, picture, top=top, target=target)
    data, facts = anatomy.data, anatomy.facts
    similarity = data["positions"] and {key: data["positions"][key] for key in ("low", "high")}
    return render(
        "explanation.html.j2",
        styles=("page.css", "explanation.css"),
        scripts=("theme.js", "explanation.js"),
        values={
            "name": name,
            "facts": facts,
            "answer": anatomy.answer,
            "targets": data["targets"],
            "prefix": data["prefix"],
            "similarity": similarity,
            "pipeline": pipeline(facts),
            "source": anatomy.source,
            "stage": anatomy.stage,
            "coarse": data["coarse"],
            "data": json_inside(data),
        },
    )


def pipeline(facts: dict[str, Any]) -> list[Step]:
    """The model's steps with the shapes that this picture had in them; equations of arXiv:2010.11929."""
    height, width = facts["view"]
    patch, patches, tokens, wide = facts["patch"], facts["patches"], facts["tokens"], facts["dimensions"]
    rows, cols, channels, vector = facts["rows"], facts["cols"], facts["channels"], facts["vector"]
    cut = f"{patch} × {patch} pixels"
    if facts["padded"] != (height, width):
        cut += f", padded to {facts['padded'][0]} × {facts['padded'][1]}"
    steps = [Step("Picture", f"{height} × {width} × {channels}", "resized, cut and normalised")]
    if facts["stem"] == "conv":
        small = " and ".join(f"{side} × {side}" for side in facts["kernels"])
        steps += [
            Step("Convolve", f"{rows} × {cols} × {wide}", f"kernels {small} in the place of cut and project"),
            Step("Unroll", f"{patches} × {wide}", f"one token for each patch of {cut}"),
        ]
    else:
        steps += [
            Step("Cut", f"{rows} × {cols} = {patches} patches", cut),
            Step("Flatten", f"{patches} × {vector:,}", f"{patch} · {patch} · {channels} numbers for a patch"),
            Step("Project", f"{patches} × {wide}", f"times E, {vector:,} × {wide} (eq. 1)"),
        ]
    if facts["prefix"]:
        parts = ["[CLS]"] * int(facts["class_token"])
        parts += [f"{facts['registers']} registers"] * bool(facts["registers"])
        steps.append(Step("Put in front", f"{tokens} × {wide}", " and ".join(parts)))
    if facts["positions"] != "none":
        steps.append(Step("Add positions", f"{tokens} × {wide}", f"E_pos, {facts['positions']} (eq. 1)"))
    heads = facts["heads"]
    steps += [
        Step(
            f"{facts['layers']} × attention and MLP",
            f"{tokens} × {wide}",
            f"{heads} heads of {wide // heads}: {tokens} × {tokens} weights each;"
            f" MLP of {facts['mlp_width']:,} (eq. 2 and 3)",
        ),
        Step(
            "Read",
            f"{wide}",
            "the [CLS] token, normalised (eq. 4)" if facts["pool"] == "class" else "the mean of all patches",
        ),
        Step("Head", f"{facts['classes']:,} logits", f"{wide} × {facts['classes']:,}"),
        Step("Softmax", f"{facts['classes']:,} scores", "that sum to 1"),
    ]
    return steps
