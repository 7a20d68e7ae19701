"""``vitreous patches``: the patch-embedding figure of one picture. No torch."""

from pathlib import Path
from typing import Annotated

import typer

from vitreous.cli.files import check_output, write_result
from vitreous.cli.models import sizes_of
from vitreous.cli.output import show, show_json
from vitreous.errors import ConfigError

LARGEST = 4096**2  # pixels


def patches(
    picture: Annotated[Path, typer.Argument(help="A picture file.")],
    patch: Annotated[int, typer.Option(help="The side of a patch in pixels.", min=1)] = 16,
    size: Annotated[
        str, typer.Option(help="The model's picture in pixels: 224 or 480x640 (height x width).")
    ] = "224",
    output: Annotated[Path, typer.Option(help="Where to write it: .svg or .png.")] = Path("patches.svg"),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Draw how a picture becomes tokens: patches, their vectors, [CLS] and positions."""
    check_output(output, (".svg", ".png"), inputs=[picture])
    sizes = sizes_of(size, "--size")
    if len(sizes) != 1:
        raise ConfigError(f"--size {size}: wanted one size, for example 224 or 480x640")
    if sizes[0][0] * sizes[0][1] > LARGEST:
        raise ConfigError(f"--size {size}: more pixels than a figure can show; wanted at most 4096x4096")
    from vitreous.data.images import open_picture
    from vitreous.report.patch_figure import patch_figure

    figure = patch_figure(open_picture(picture), patch=patch, size=sizes[0])
    write_result(output, figure.encode(output.suffix))
    if json:
        height, width = sizes[0]
        rows, cols = -(-height // patch), -(-width // patch)
        show_json({"output": str(output), "patch": patch, "rows": rows, "cols": cols, "patches": rows * cols})
    else:
        show(f"wrote {output}")
