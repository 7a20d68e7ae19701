"""``vitreous explain``: one HTML file that shows what a model looked at in a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitreous.cli.files import check_output, check_source, write_result
from vitreous.cli.output import percent, show, show_json
from vitreous.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

    from vitreous.explain.explained import Explanation
    from vitreous.models.config import Says
    from vitreous.predictor import Predictor


def explain(
    source: Annotated[str, typer.Argument(help="A run, a model directory or a file of weights.")],
    picture: Annotated[Path, typer.Argument(help="A picture file.")],
    output: Annotated[
        Path, typer.Option(help="The page (.html), or the map of --method on the picture (.png).")
    ] = Path("report.html"),
    target: Annotated[
        str | None,
        typer.Option(
            help="The class to explain, by name or index; of a detector the class of an object, or its place"
            " in the answer, the surest being 0."
        ),
    ] = None,
    point: Annotated[
        str | None,
        typer.Option(metavar="X,Y", help="The pixel of the picture whose class or object is explained."),
    ] = None,
    threshold: Annotated[
        float, typer.Option(help="The least score of an object that counts as found.", min=0, max=1)
    ] = 0.5,
    method: Annotated[
        str,
        typer.Option(
            help="The map of a .png: relevance; rollout or attention of a classifier, attention or gradient"
            " of a detector, gradient of a segmenter."
        ),
    ] = "relevance",
    name: Annotated[
        str | None, typer.Option(help="The model's catalog name, if the weights do not say it.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print JSON, with the map by patches.")] = False,
) -> None:
    """Show what a model looked at.

    Of a classifier the page holds the picture cut into patches, what each patch attends to in every layer
    and head, and the relevance for each of the likeliest classes. Of a detector it holds the objects, and
    what the query of each looked at; of a segmenter the classes, and what the class of a place was read from.
    """
    check_source(source)
    check_output(output, (".html", ".png"), inputs=[picture])
    at = _point(point)
    from vitreous.data.images import open_picture

    opened = open_picture(picture)
    from vitreous.explain.explained import NotFound, says_of
    from vitreous.explain.explanation import explain as explain_picture
    from vitreous.predictor import load

    predictor = load(source, name=name, device=device)
    says = says_of(predictor.model)
    wanted = _target(target, predictor.classes)
    drawn = output.suffix.lower() == ".png"
    try:
        found = explain_picture(predictor, opened, method=method, target=wanted, at=at, threshold=threshold)
    except NotFound as nothing:
        # Nobody asked about anything special, and that there is nothing is an answer.
        if drawn or says != "objects" or (target, point) != (None, None):
            raise
        page = _page(predictor, opened, picture.name, says, None, threshold)
        write_result(output, page)
        if json:
            show_json({"picture": str(picture), "found": 0, "threshold": threshold, "output": str(output)})
        else:
            show(f"{picture}: {nothing}")
            show(f"wrote {output}")
        return
    if drawn:
        write_result(output, _map_on(opened, found, predictor.classes))
    else:
        write_result(output, _page(predictor, opened, picture.name, says, found, threshold, wanted))
    if json:
        show_json({"picture": str(picture), **_plain(found, says), "output": str(output)})
    else:
        show(f"{picture}: {_told(found, says)}")
        show(f"wrote {output}")


def _page(
    predictor: "Predictor",
    opened: "Image",
    name: str,
    says: "Says",
    found: "Explanation | None",
    threshold: float,
    wanted: str | int | None = None,
) -> str:
    """The page for what the model says; ``found`` is what it shows first."""
    if says == "objects":
        from vitreous.report.objects_page import objects_page

        chosen = 0 if found is None or found.number is None else found.number
        return objects_page(predictor, opened, name, chosen=chosen, threshold=threshold)
    if says == "regions" and found is not None:
        from vitreous.report.regions_page import regions_page

        target = None if found.at is not None and wanted is None else found.index
        return regions_page(predictor, opened, name, at=found.at, target=target)
    from vitreous.report.page import explanation_page

    return explanation_page(predictor, opened, name, target=None if found is None else found.index)


def _told(found: "Explanation", says: "Says") -> str:
    """What was explained, in a line."""
    line = f"{found.label} with {percent(found.score)}"
    if found.box is not None:
        left, top, right, bottom = found.box
        line = f"object {found.number}, {line}, at {left:.0f},{top:.0f} to {right:.0f},{bottom:.0f}"
    elif says == "regions":
        line += " in its region" if found.at is None else f" at {found.at[0]:g},{found.at[1]:g}"
    return line


def _plain(found: "Explanation", says: "Says") -> dict[str, object]:
    """An explanation as JSON values; what a model of this kind does not tell is left out."""
    plain: dict[str, object] = {
        "label": found.label,
        "index": found.index,
        "score": found.score,
        "method": found.method,
        "way": found.way,
    }
    if says == "objects":
        plain |= {"number": found.number, "box": None if found.box is None else list(found.box)}
    if says == "regions":
        plain["at"] = None if found.at is None else list(found.at)
    return plain | {"grid": found.grid.tolist()}


def _target(target: str | None, classes: tuple[str, ...]) -> str | int | None:
    """A class that is called like a number goes before the number of a class or of an object."""
    if target is not None and target.isdecimal() and target not in classes:
        return int(target)
    return target


def _point(text: str | None) -> tuple[float, float] | None:
    """InputError for what is no X,Y."""
    if text is None:
        return None
    parts = text.replace(" ", "").split(",")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise InputError(f"--point {text!r}: wanted X,Y in pixels of the picture, as in 120,80")
    return float(parts[0]), float(parts[1])


def _map_on(opened: "Image", found: "Explanation", classes: tuple[str, ...]) -> bytes:
    """The heat on the picture, and of an object its box."""
    from vitreous.explain.overlay import overlay
    from vitreous.report.raster import png_bytes

    drawn = overlay(opened, found.heat)
    if found.box is not None:
        from vitreous.data.drawing import Marks, draw_objects

        drawn = draw_objects(drawn, Marks([found.box], [found.index], [found.score]), classes)
    return png_bytes(drawn)
