"""``vitreous explain``: one HTML file that shows what a model looked at in a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitreous.cli.files import check_output, check_source, write_result
from vitreous.cli.output import percent, show, show_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image


def explain(
    source: Annotated[str, typer.Argument(help="A run, a model directory or a file of weights.")],
    picture: Annotated[Path, typer.Argument(help="A picture file.")],
    output: Annotated[
        Path, typer.Option(help="The page (.html), or the map of --method on the picture (.png).")
    ] = Path("report.html"),
    target: Annotated[
        str | None, typer.Option(help="The class to explain, by name or index; the answer by default.")
    ] = None,
    method: Annotated[
        str, typer.Option(help="relevance, rollout or attention: the map of a .png.")
    ] = "relevance",
    name: Annotated[
        str | None, typer.Option(help="The model's catalog name, if the weights do not say it.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print JSON, with the map by patches.")] = False,
) -> None:
    """Show what a model looked at.

    The page holds the picture cut into patches, what each patch attends to in every layer and head, and
    the relevance for each of the likeliest classes.
    """
    check_source(source)
    check_output(output, (".html", ".png"), inputs=[picture])
    from vitreous.data.images import open_picture

    opened = open_picture(picture)
    from vitreous.explain.explanation import explain as explain_picture
    from vitreous.predictor import load

    predictor = load(source, name=name, device=device)
    found = explain_picture(predictor, opened, method=method, target=_class(target, predictor.classes))
    if output.suffix.lower() == ".png":
        write_result(output, _map_on(opened, found.heat))
    else:
        from vitreous.report.page import explanation_page

        write_result(output, explanation_page(predictor, opened, picture.name, target=found.index))
    if json:
        show_json(
            {
                "picture": str(picture),
                "label": found.label,
                "index": found.index,
                "score": found.score,
                "method": found.method,
                "grid": found.grid.tolist(),
                "output": str(output),
            }
        )
    else:
        show(f"{picture}: {found.label} with {percent(found.score)}")
        show(f"wrote {output}")


def _class(target: str | None, classes: tuple[str, ...]) -> str | int | None:
    """A class that is called like a number goes before the number of a class."""
    if target is not None and target.isdecimal() and target not in classes:
        return int(target)
    return target


def _map_on(opened: "Image", heat: "NDArray[np.float32]") -> bytes:
    from vitreous.explain.overlay import overlay
    from vitreous.report.raster import png_bytes

    return png_bytes(overlay(opened, heat))
