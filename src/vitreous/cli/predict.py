"""``vitreous predict``: what each picture shows; a bad file is named and counted, and the work goes on."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitreous.cli.files import check_source
from vitreous.cli.kept import RESULTS, CocoFiles, DrawnPictures, check_place, read_ids
from vitreous.cli.output import complain, show, show_json_line
from vitreous.cli.told import Telling
from vitreous.errors import InputError

if TYPE_CHECKING:
    from vitreous.cli.kept import Kept
    from vitreous.data.collection import Sample
    from vitreous.models.config import Says
    from vitreous.predictor import Predictor

TOP, THRESHOLD = 5, 0.5


def predict(
    source: Annotated[str, typer.Argument(help="A run, a model directory or a file of weights.")],
    pictures: Annotated[
        list[str], typer.Argument(help="Files, folders, globs, or - for names on standard input.")
    ],
    top: Annotated[int | None, typer.Option(help="How many classes of a picture to show: 5.", min=1)] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Tell objects with a score above this.", min=0, max=1, show_default="0.5"),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(help="Look at regions window by window at full size: a side in pixels.", min=1),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="A folder for pictures with what was found, or a .json of COCO results."),
    ] = None,
    ids: Annotated[Path | None, typer.Option(help="A COCO data set whose ids the results are given.")] = None,
    masks: Annotated[
        bool, typer.Option("--masks", help="With --json: the pixels of each region, as run lengths.")
    ] = False,
    name: Annotated[
        str | None, typer.Option(help="The model's catalog name, if the weights do not say it.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="Pictures, or windows, at a time.", min=1, show_default="32, of objects and regions 8"
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, one line a picture.")] = False,
) -> None:
    """Say what pictures show: classes, objects and their boxes, or regions, as the model was trained to.

    Where a picture may show several classes, all with a score above 50% are told.

    Exit code 1 where some picture could not be read; the others are answered all the same.
    """
    check_source(source)
    if output is not None:
        check_place(output)
    if masks and not json:
        raise InputError("--masks goes into JSON; give --json, or --output for a folder of maps")
    if ids is not None and (output is None or output.suffix.lower() != RESULTS):
        raise InputError(f"--ids is for COCO results; give --output NAME{RESULTS} too")
    if ids is not None:
        read_ids(ids)  # what is wrong with it is said before torch is imported
    from vitreous.data.folder import expand
    from vitreous.errors import PictureError
    from vitreous.predictor import Answer, load

    predictor = load(source, name=name, device=device)
    says = predictor.says
    _refuse(source, says, "--top", top is not None, "classes")
    _refuse(source, says, "--threshold", threshold is not None, "objects")
    _refuse(source, says, "--window", window is not None, "regions")
    _refuse(source, says, "--masks", masks, "regions")
    _refuse(source, says, "--output", output is not None, "objects", "regions")
    samples = expand(pictures, sys.stdin)
    kept: Kept | None = None
    if output is not None:
        listed = list(samples)
        samples, kept = iter(listed), _place_for(output, listed, predictor, ids)
    telling = Telling(
        predictor,
        top=TOP if top is None else top,
        threshold=THRESHOLD if threshold is None else threshold,
        masks=masks,
    )
    heading = sys.stdout is not None and sys.stdout.isatty()
    if not json and not heading:
        show(telling.title())
    bad = total = 0
    answers = predictor.predict(samples, batch_size, threshold=threshold, window=window)
    for place, (sample, answer) in enumerate(answers):
        total += 1
        files: list[Path] = []
        if kept is not None and not isinstance(answer, Answer | PictureError):
            try:
                files = kept.keep(place, sample, answer)
            except PictureError as error:  # it has changed since it was looked at
                answer = error
        if isinstance(answer, PictureError):
            bad += 1
            complain(str(answer))
            if json:
                show_json_line({"picture": sample.name, "error": answer.reason})
        elif json:
            written = {"output": [str(path) for path in files]} if files else {}
            show_json_line(telling.record(sample.name, answer) | written)
        elif heading:
            telling.show_large(sample.name, answer)
        else:
            telling.show(sample.name, answer)
    for path in kept.close() if kept is not None else ():
        if not json:
            show(f"wrote {path}")
    if bad:
        complain(f"{bad} of {total} pictures could not be read")
        raise typer.Exit(1)


def _refuse(source: str, says: "Says", option: str, given: bool, *wanted: "Says") -> None:
    """InputError where an option was given that this kind of model has no use for."""
    if given and says not in wanted:
        from vitreous.predictor.predictor import SAYS

        kinds = " or ".join(SAYS[kind] for kind in wanted)
        raise InputError(f"{option} is for a model that {kinds}; {source} {SAYS[says]}")


def _place_for(output: Path, samples: "list[Sample]", predictor: "Predictor", ids: Path | None) -> "Kept":
    if output.suffix.lower() == RESULTS:
        return CocoFiles(output, samples, predictor.classes, ids)
    return DrawnPictures(output, samples, predictor.says, predictor.classes)
