"""``vitreous predict``: what each picture shows; a bad file is named and counted, and the work goes on."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from vitreous.cli.files import check_source
from vitreous.cli.output import complain, display_width, percent, show, show_json_line
from vitreous.errors import printable

if TYPE_CHECKING:
    from vitreous.predictor import Answer, Predictor

NONE = "none above 50%"


def predict(
    source: Annotated[str, typer.Argument(help="A run, a model directory or a file of weights.")],
    pictures: Annotated[
        list[str], typer.Argument(help="Files, folders, globs, or - for names on standard input.")
    ],
    top: Annotated[int, typer.Option(help="How many classes to show.", min=1)] = 5,
    name: Annotated[
        str | None, typer.Option(help="The model's catalog name, if the weights do not say it.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    batch_size: Annotated[int, typer.Option(help="Pictures at a time.", min=1)] = 32,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, one line a picture.")] = False,
) -> None:
    """Say what pictures show; where that may be several things, all with a score above 50%.

    Exit code 1 where some picture could not be read; the others are answered all the same.
    """
    check_source(source)
    from vitreous.data.folder import expand
    from vitreous.errors import PictureError
    from vitreous.predictor import load

    predictor = load(source, name=name, device=device)
    heading = sys.stdout is not None and sys.stdout.isatty()
    width = max((display_width(printable(label)) for label in predictor.classes), default=0)
    width += len(f" ({NONE})") if predictor.answers == "several" else 0
    if not json and not heading:
        show(f"{'score':>8}  {'class':<{width}}  picture")
    bad = total = 0
    for sample, answer in predictor.predict(expand(pictures, sys.stdin), batch_size):
        total += 1
        if isinstance(answer, PictureError):
            bad += 1
            complain(str(answer))
            if json:
                show_json_line({"picture": sample.name, "error": answer.reason})
        elif json:
            show_json_line(_record(predictor, sample.name, answer, top))
        elif heading:
            typer.secho(sample.name, bold=True)
            for label, score in _shown(predictor, answer, top):
                show(f"{percent(score):>8}  {'█' * round(20 * score):<20}  {label}")
        else:
            for label, score in _shown(predictor, answer, top):
                shown = printable(label)
                show(f"{percent(score):>8}  {shown}{' ' * (width - display_width(shown))}  {sample.name}")
    if bad:
        complain(f"{bad} of {total} pictures could not be read")
        raise typer.Exit(1)


def _shown(predictor: "Predictor", answer: "Answer", top: int) -> list[tuple[str, float]]:
    """The likeliest classes, or where a picture may show several all whose score is above one half; where
    none has one, the likeliest, and that it has not."""
    if predictor.answers == "one":
        return predictor.top(answer, top)
    if not answer.labels:
        return [(f"{answer.label} ({NONE})", answer.score)]
    return predictor.top(answer, len(answer.labels))


def _record(predictor: "Predictor", name: str, answer: "Answer", top: int) -> dict[str, object]:
    ranked = [{"label": label, "score": score} for label, score in predictor.top(answer, top)]
    record = {"picture": name, "label": answer.label, "score": answer.score, "top": ranked}
    return record if predictor.answers == "one" else record | {"labels": list(answer.labels)}
