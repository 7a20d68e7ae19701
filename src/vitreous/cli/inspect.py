"""``vitreous inspect``: what a file of weights or a model directory is."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from vitreous.cli.files import check_source
from vitreous.cli.output import show_json, show_table

SHOWN = 8  # entries of a long list
# What people ask first; the rest follows. Left to --json: what would not fit on a line.
FIRST = (
    "name",
    "layout",
    "container",
    "problem",
    "family",
    "model",
    "parameters",
    "image_size",
    "patch",
    "grid",
    "channels",
    "layers",
    "width",
    "mlp_width",
    "heads",
    "positions",
    "pool",
    "head",
    "classes",
    "first_classes",
    "preprocess",
    "temperature",
)
NESTED = ("config", "lineage", "sha256")


def inspect(
    file: Annotated[str, typer.Argument(help="A file of weights, a model directory, a run or a Hub id.")],
    name: Annotated[
        str | None, typer.Option(help="The model's catalog name, if the weights do not say it.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, with configuration and lineage.")] = False,
) -> None:
    """Say what a file is: family, size, patch, positions, classes, tensors left over.

    Exit code 1 where it cannot be loaded; why is said under "problem".
    """
    check_source(file)
    from vitreous.checkpoints.passport import inspect as read_passport

    passport = read_passport(file, name).to_dict()
    if json:
        show_json(passport)
    else:
        flat = {key: value for key, value in passport.items() if key not in NESTED}
        flat["sha256"] = "; ".join(f"{file} {digest}" for file, digest in passport["sha256"].items())
        order = [key for key in FIRST if key in flat] + [key for key in flat if key not in FIRST]
        show_table(["property", "value"], [[key.replace("_", " "), _cell(key, flat[key])] for key in order])
    if passport["problem"] is not None:
        raise typer.Exit(1)


def _cell(key: str, value: Any) -> str:
    """A value as people read it; of a long list the first ones."""
    if value is None:
        return "none" if key == "problem" else "not said"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_cell(name, item)}" for name, item in value.items()) or "none"
    if isinstance(value, list):
        if key in ("image_size", "grid", "size"):
            return " x ".join(map(str, value))
        tail = f", ... ({len(value)} in all)" if len(value) > SHOWN else ""
        return (", ".join(map(str, value[:SHOWN])) or "none") + tail
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and value >= 10_000 else str(value)
