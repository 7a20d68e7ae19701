"""``vitreous advise``: which way of learning suits these pictures, measured within a budget of time."""

import re
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitreous.cli.files import check_output, check_source, write_result
from vitreous.cli.output import Progress, complain, duration, percent, show, show_json, show_table
from vitreous.errors import ConfigError, DataError

if TYPE_CHECKING:
    from vitreous.data.collection import Collection
    from vitreous.training.advisor.advise import Moment

UNITS = {"s": 1, "m": 60, "h": 3600}


def advise(
    data: Annotated[
        str, typer.Argument(help="Labelled pictures: class folders, a CSV, 'digits' or 'scenes'.")
    ],
    budget: Annotated[str, typer.Option(help="How long it may take: 90s, 10m, 2h.")] = "10m",
    sources: Annotated[
        list[str] | None,
        typer.Option("--from", metavar="SOURCE", help="Weights at hand to try; may be given again."),
    ] = None,
    output: Annotated[Path, typer.Option(help="The page that is written.")] = Path("advice.html"),
    seed: Annotated[int, typer.Option(help="Of folds, weights and views.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Try the ways of learning on your pictures, and say which one to take.

    All candidates are judged on the same held-out pictures, a convolutional network among them.
    """
    begun = monotonic()
    seconds = parse_budget(budget)
    check_output(output, (".html",))
    for source in sources or ():
        check_source(source)
    from vitreous.data.folder import read_data
    from vitreous.training.advisor.advise import advise as compare
    from vitreous.training.advisor.plain import to_plain
    from vitreous.training.advisor.plan import forecast_stage, plan

    splits = read_data(data, seed=seed)
    for part in splits[:3]:
        if part is not None:
            _refuse_marked(part)
            part.refuse_tags("vitreous advise (it compares accuracies)")
    candidates = plan(data, splits, sources or (), seed=seed)
    with Progress("comparing", quiet=json) as progress:

        def watch(moment: "Moment") -> None:
            if moment.text:
                progress.note(moment.text)
            else:
                progress(int(seconds - moment.seconds_left), int(seconds), left=max(0.0, moment.seconds_left))

        advice = compare(
            data, splits, candidates, forecast_stage, budget=seconds, begun=begun, seed=seed, watch=watch
        )
    plain = to_plain(advice)
    from vitreous.report.advice_page import advice_page

    write_result(output, advice_page(plain))
    if json:
        show_json({**plain, "output": str(output)})
    else:
        _show(plain, output)
    if plain["recommended"] is None:
        raise typer.Exit(1)


def _refuse_marked(part: "Collection") -> None:
    if part.detects or part.segments:
        told = "objects are marked on its pictures" if part.detects else "each pixel has a class"
        raise DataError(
            f"{part.name}: {told}, and vitreous advise compares ways to tell what a whole picture shows; give"
            " pictures with labels, or go on with vitreous train and a detr_* or segformer_* model"
        )


def parse_budget(text: str) -> float:
    """90s, 10m, 1.5h -> seconds. ConfigError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", text.strip().lower())
    if found is None:
        raise ConfigError(f"--budget {text!r}: wanted a time with its unit, such as 90s, 10m or 2h")
    return float(found[1]) * UNITS[found[2]]


def _show(advice: dict[str, Any], output: Path) -> None:
    from vitreous.report.advice_page import epochs, memory, points

    rows = [row for row in advice["candidates"] if row["accuracy"]]
    rows.sort(key=lambda row: -row["accuracy"]["value"])
    titles = [
        f"on {advice['pictures']} held-out pictures",
        "accuracy",
        "95% interval",
        "behind, points",
        "time",
        "memory, forecast | measured",
        "epoch, forecast | measured",
    ]
    table = []
    for row in rows:
        found = row["accuracy"]
        star = "* " if row["candidate"] == advice["recommended"] else "  "
        interval = f"{percent(found['low'])} to {percent(found['high'])}"
        beaten = "" if row["behind"] is None else "" if row["beaten"] else ", noise"
        table.append(
            [
                star + row["title"],
                percent(found["value"]),
                interval,
                points(row["behind"]) + beaten,
                duration(row["seconds"]),
                memory(row),
                epochs(row),
            ]
        )
    show()
    if table:
        show_table(titles, table, numbers=titles[1:])
    for row in advice["candidates"]:
        if not row["accuracy"]:
            show(f"  {row['title']}: {row['status']}, {row['why']}")
    show()
    if advice["recommended"] is None:
        complain(f"{advice['why']}; give a longer --budget, or fewer and smaller pictures")
        return
    show(f"* take it: {advice['why']}")
    show(f"  {advice['command']}")
    show(f"wrote {output} after {duration(advice['seconds'])}")
