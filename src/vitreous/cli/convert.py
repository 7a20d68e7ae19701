"""``vitreous convert``: a model in another library's layout, with proof that it answers the same."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitreous.cli.files import check_source
from vitreous.cli.output import Progress, complain, show, show_json, show_table
from vitreous.errors import CheckpointError, InputError, MissingPackage, nearest

if TYPE_CHECKING:
    from vitreous.checkpoints.conversion import Origin

LAYOUTS = ("vitreous", "transformers", "timm", "torchvision", "dall_e")
OTHERS = ("transformers", "timm", "dall_e")  # libraries that are not installed with vitreous
TITLES = ("part", "against", "what", "size", "type", "difference", "of scale", "bound", "verdict", "note")


def convert(
    source: Annotated[str, typer.Argument(help="A run, a model directory, a file of weights or a Hub id.")],
    destination: Annotated[str, typer.Argument(help="The directory to write.")],
    to: Annotated[str, typer.Option("--to", help=f"The layout: {', '.join(LAYOUTS)}.")],
    name: Annotated[
        str | None,
        typer.Option(help="The model's name in the catalog or in timm, if the weights do not say it."),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Run both libraries on pictures; write parity.json, or nothing where they differ.",
        ),
    ] = False,
    pictures: Annotated[
        str | None, typer.Option(help="A file or folder of pictures to compare on; photographs by default.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a model in another layout: ours, or a directory that another library loads by itself.

    Exit code 1 where --verify finds a difference, or misses a library; DESTINATION is then as it was.
    """
    if to not in LAYOUTS:
        raise CheckpointError(
            f"unknown layout {to!r}; wanted one of {', '.join(LAYOUTS)}{nearest(to, LAYOUTS)}"
        )
    if pictures is not None and not verify:
        raise InputError("--pictures is what --verify compares on; give both")
    check_source(source)
    from vitreous.checkpoints.directory import refuse_overlap

    refuse_overlap(source, destination)
    try:
        if verify and to in OTHERS and find_spec(to) is None:
            raise MissingPackage(to, "parity")
        _convert(source, destination, to, name, verify, pictures, json)
    except MissingPackage as error:
        # The input is good; what was asked for could not be done.
        complain(f"{error}, or leave out --verify; nothing was written")
        raise typer.Exit(1) from error


def _convert(
    source: str, destination: str, to: str, name: str | None, verify: bool, pictures: str | None, json: bool
) -> None:
    from vitreous.data.folder import expand
    from vitreous.data.photographs import photographs

    # What is wrong with the pictures is said before torch is imported.
    compared_on = photographs(None if pictures is None else expand([pictures])) if verify else ()
    from vitreous.checkpoints.certificate import CERTIFICATE, NotTheSame
    from vitreous.checkpoints.conversion import convert as write
    from vitreous.checkpoints.conversion import open_origin
    from vitreous.checkpoints.directory import read_json
    from vitreous.checkpoints.verify import prover
    from vitreous.config import to_plain

    origin = open_origin(source, name)
    read = _origin_record(origin)
    if not json:
        _show_origin(read)
    try:
        with Progress("comparing", quiet=json) as progress:
            prove = prover(origin, destination, to, compared_on, progress) if verify else None
            written = write(origin, destination, to, prove=prove)
    except NotTheSame as error:
        certificate = to_plain(error.certificate)
        if json:
            show_json({"source": read, "destination": None, "certificate": certificate})
        else:
            _show_certificate(certificate)
        raise
    proof = read_json(Path(destination) / CERTIFICATE, CERTIFICATE) if verify else None
    if json:
        left = {"name": destination, "layout": to, **to_plain(written._asdict())}
        show_json({"source": read, "destination": left, "certificate": proof})
        return
    show(f"wrote    {destination}: {written.holder}; {', '.join(written.sha256)}")
    for change in written.changed:
        show(f"changed  {change}")
    if proof is not None:
        _show_certificate(proof)


def _origin_record(origin: "Origin") -> dict[str, Any]:
    """What was read, as plain values."""
    return {
        "name": origin.said,
        "layout": origin.layout,
        "family": origin.family,
        "model": origin.model,
        "parameters": origin.parameters,
        "types": list(origin.dtypes),
        "image_size": list(origin.checkpoint.model.config.image_size),
        "classes": len(origin.checkpoint.classes),
        "assumed": list(origin.assumed),
    }


def _show_origin(read: dict[str, Any]) -> None:
    size = "x".join(map(str, read["image_size"]))
    what = f"{read['layout']} {read['family']}" + (f", {read['model']}" if read["model"] else "")
    show(
        f"read     {read['name']}: {what}; {read['parameters']:,} parameters in {', '.join(read['types'])},"
        f" pictures of {size}, {read['classes']} classes"
    )
    if read["assumed"]:
        show(f"assumed  {', '.join(read['assumed'])}: the file does not say, the layout's defaults stand")


def _show_certificate(certificate: dict[str, Any]) -> None:
    versions = ", ".join(f"{name} {version}" for name, version in certificate["versions"].items())
    show()
    show(f"compared on {len(certificate['pictures'])} pictures with {versions}")
    show()
    show_table(TITLES, [_row(check) for check in certificate["checks"]], numbers=TITLES[5:8])
    for line in certificate["not_run"]:
        show(f"not run  {line}")
    show()
    if certificate["verdict"] == "passed":
        show("every bound is kept; parity.json holds the proof")


def _row(check: dict[str, Any]) -> list[str]:
    """A comparison on one line: pixels are in levels of 255, answers in their own numbers."""
    size = "x".join(map(str, check["size"])) if check["size"] else ""
    share = "" if check["relative"] is None else f"{check['relative']:.1e}"
    bound = "" if check["bound"] is None else f"{check['bound']:.0e}" if share else f"{check['bound']:g}"
    apart = "" if check["absolute"] is None else f"{check['absolute']:.1e}"
    word = "ok" if check["bound"] is not None else "told"
    word = word if check["passed"] else "FAILED"
    measured = [size, check["dtype"], apart, share, bound]
    return [check["part"], check["against"], check["what"], *measured, word, check["note"]]
