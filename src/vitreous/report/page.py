"""The page about one picture: a single HTML file that shows what the model saw in it.

The page about a training run is ``run_page``.
"""

from typing import Any, NamedTuple

from PIL import Image

from vitreous.explain.attention import READINGS
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
    places = data["positions"] and {key: data["positions"][key] for key in ("kind", "low", "high")}
    return render(
        "explanation.html.j2",
        styles=("page.css", "heat.css", "explanation.css"),
        scripts=("theme.js", "heat.js", "explanation.js"),
        values={
            "name": name,
            "facts": facts,
            "answer": anatomy.answer,
            "targets": data["targets"],
            "prefix": data["prefix"],
            "reader": READINGS[facts["pool"]].name,
            "places": places,
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
        steps.append(Step("Put in front", f"{tokens} × {wide}", facts["ahead"]))
    steps += _placing(facts)
    heads = facts["heads"]
    mlp = f"{'gated ' * facts['gated']}MLP of {facts['mlp_width']:,} (eq. 2 and 3)"
    steps.append(
        Step(
            f"{facts['layers']} × attention and MLP",
            f"{tokens} × {wide}",
            f"{heads} heads of {wide // heads}: {tokens} × {tokens} weights each; {mlp}"
            + "; LayerScale on what both add" * facts["layer_scale"],
        )
    )
    steps += _answering(facts)
    return steps


def _placing(facts: dict[str, Any]) -> list[Step]:
    """How the model is told where its patches are: in the tokens, or inside every layer."""
    tokens, wide, heads = facts["tokens"], facts["dimensions"], facts["heads"]
    size = wide // heads
    steps = []
    if facts["positions"] != "none":
        how = f"E_pos, {facts['positions']} (eq. 1)"
        if facts["unplaced"]:
            how += f"; nothing to {facts['unplaced']}"
        steps.append(Step("Add positions", f"{tokens} × {wide}", how))
    if facts["attention"] == "relative":
        down, across = facts["offsets"]
        low, high = facts["bias_range"]
        numbers = f"{down} × {across} offsets of two patches"
        if facts["prefix"]:
            numbers += f", 3 for {facts['ahead']}"
        steps.append(
            Step(
                "Add to the scores",
                f"{heads} × {tokens} × {tokens}",
                f"in every layer and head a learned bias: {numbers}; from {_signed(low)} to {_signed(high)}",
            )
        )
    if facts["attention"] == "rotary":
        still = f"; {facts['ahead']} stay as they are" if facts["prefix"] else ""
        steps.append(
            Step(
                "Turn queries and keys",
                f"{heads} × {tokens} × {size}",
                f"in every layer {size // 2} pairs of a patch's {size} numbers, half by its row, half by its"
                f" column: once in half a side, down to {facts['slowest']:.3g} times slower{still}",
            )
        )
    return steps


def _answering(facts: dict[str, Any]) -> list[Step]:
    """From the last layer's tokens to scores."""
    wide, pooled, classes = facts["dimensions"], facts["pooled"], f"{facts['classes']:,}"
    read = READINGS[facts["pool"]].name
    if facts["final_norm"]:
        read = f"{read}, once all tokens are normalised (eq. 4)"
    if facts["pool_norm"]:
        read = f"{read}; what is read is normalised"
    softmax = Step("Softmax", f"{classes} scores", "that sum to 1")
    if facts.get("several"):
        softmax = Step("Sigmoid", f"{classes} scores", "from 0 to 1, each by itself")
    if facts["pool"] == "distilled":
        return [
            Step("Read", f"2 × {wide}", read),
            Step("Two heads", f"2 × {classes} logits", f"{wide} × {classes} each"),
            Step("Mean", f"{classes} logits", "of what both heads say"),
            softmax,
        ]
    shape = f"{wide} + {wide} = {pooled}" if facts["pool"] == "class_mean" else f"{pooled}"
    hidden = f"{pooled} × {pooled}, tanh, " if facts["head"] == "mlp" else ""
    return [
        Step("Read", shape, read),
        Step("Head", f"{classes} logits", f"{hidden}{pooled} × {classes}"),
        softmax,
    ]


def _signed(value: float) -> str:
    """With a minus that is as long as a plus."""
    return f"{value:.2f}".replace("-", "−")
