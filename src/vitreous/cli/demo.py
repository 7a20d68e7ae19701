"""``vitreous demo``: the whole journey on real data that is embedded, in two minutes.

Doctor, training from scratch, held-out scores beside two rivals, predictions, explanations; every file
that was written is named.
"""

from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from vitreous.cli.files import write_result
from vitreous.cli.output import duration, percent, show, show_json, show_table
from vitreous.errors import ConfigError

if TYPE_CHECKING:
    from vitreous.data.collection import Splits
    from vitreous.doctor import Examination
    from vitreous.predictor import Predictor
    from vitreous.report.run_page import Example
    from vitreous.training.config import TrainConfig
    from vitreous.training.fit import Moment

EXAMPLES = 12  # test pictures that the report shows, wrong answers first


class Rivalry(NamedTuple):
    """One row of the comparison: who, its scores on the test part, and its training time in seconds."""

    name: str
    scores: dict[str, Any]
    seconds: float


def demo(
    output: Annotated[Path, typer.Option(help="A new folder for all that is written.")] = Path("runs/demo"),
    seed: Annotated[int, typer.Option(help="Of the random weights and views.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
) -> None:
    """Train a small ViT on real handwritten digits, judge it, and show what it looked at."""
    _check_free(output)
    begun = monotonic()
    from vitreous.data.folder import read_data
    from vitreous.doctor import examine

    say = _silent if json else show
    splits = read_data("digits")
    say(f"1. {splits.how}")
    say("   They are real: written by hand, scanned, 8 x 8 pixels, from scikit-learn.")
    examination = examine(splits)
    say(f"2. doctor: {_summary(examination)}")

    from vitreous.training.recipes import digits

    config = replace(digits("digits", str(output / "run")), seed=seed, track="none")
    say(f"3. training a Vision Transformer from scratch, {config.epochs} epochs")
    predictor, ours = _train(config, splits, json)
    say("4. its rivals: the same data, the CNN for the same time")
    rivals = _rivals(config, splits, predictor, ours.seconds)
    rows = [ours, *rivals]
    if not json:
        _show_rows(rows)
    say("5. a report with examples, and a page on one picture")
    written = _write(predictor, splits, examination, rows, output)
    if json:
        show_json(
            {
                "seconds": monotonic() - begun,
                "models": [{"name": row.name, "seconds": row.seconds, "scores": row.scores} for row in rows],
                "written": list(map(str, written)),
            }
        )
        return
    show()
    show(f"done in {duration(monotonic() - begun)}; it wrote")
    widest = max(len(str(path)) for path in written)
    for path, what in written.items():
        show(f"  {str(path).ljust(widest)}  {what}".rstrip())
    show()
    show("go on with your own pictures, one folder for each class:")
    show("  vitreous train pictures/")


def _check_free(output: Path) -> None:
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigError(f"{output} is there already; remove it, or give another --output")


def _silent(text: str) -> None:
    """With --json only JSON is printed."""


def _summary(examination: "Examination") -> str:
    worst = [finding.text for finding in examination.findings[:2]]
    return f"{examination.readable} of {examination.pictures} pictures can be read; " + (
        "; ".join(worst) or "nothing wrong was found"
    )


def _train(config: "TrainConfig", splits: "Splits", json: bool) -> tuple["Predictor", Rivalry]:
    from vitreous.cli.train import watching
    from vitreous.evaluation.evaluate import evaluate
    from vitreous.predictor import load
    from vitreous.training.fit import fit

    with watching(config.epochs, json=False, quiet=json) as watcher:

        def watch(moment: "Moment") -> None:
            # The data's note was printed already, and an epoch without a measure says little.
            if moment.kind == "step" or "accuracy" in moment.values:
                watcher(moment)

        run = fit(config, watch=watch)
    predictor = load(str(run.path))
    scores = evaluate(predictor, splits, split="test")
    return predictor, Rivalry("Vision Transformer", scores, run.seconds)


def _rivals(config: "TrainConfig", splits: "Splits", predictor: "Predictor", seconds: float) -> list[Rivalry]:
    from tempfile import TemporaryDirectory

    import numpy as np

    from vitreous.evaluation.classification import scores as judge
    from vitreous.evaluation.evaluate import evaluate
    from vitreous.predictor import Predictor
    from vitreous.training.rivals import support_vector_machine, train_cnn

    prepare, classes = predictor.preprocess, predictor.classes
    assert splits.train is not None and splits.validation is not None and splits.test is not None
    with TemporaryDirectory() as folder:
        cnn, run = train_cnn(replace(config, output=folder), len(classes), seconds)
    begun = monotonic()
    decisions = support_vector_machine(splits.train, splits.validation, splits.test, prepare)
    machine = monotonic() - begun
    return [
        Rivalry(
            "small CNN",
            evaluate(Predictor(cnn, prepare, classes), splits, split="test"),
            run.seconds,
        ),
        Rivalry(
            "support-vector machine",
            judge(decisions, np.asarray(splits.test.labels), classes),
            machine,
        ),
    ]


def _show_rows(rows: list[Rivalry]) -> None:
    pictures = rows[0].scores["n"]
    table = []
    for row in rows:
        low, high = row.scores["intervals"]["accuracy"]
        wrong = round((1 - row.scores["accuracy"]) * pictures)
        interval = f"{percent(low)} to {percent(high)}"
        accuracy = percent(row.scores["accuracy"])
        table.append([row.name, accuracy, interval, str(wrong), duration(row.seconds)])
    titles = [f"on {pictures} held-out digits", "accuracy", "95% interval", "wrong", "training"]
    show()
    show_table(titles, table, numbers=titles[1:])
    show()


def _write(
    predictor: "Predictor",
    splits: "Splits",
    examination: "Examination",
    rows: list[Rivalry],
    output: Path,
) -> dict[Path, str]:
    """The report of the run, the page on one picture, and that picture; returns every file that the demo
    has written, with what it is."""
    import json

    from vitreous.report.figures import confusion_figure
    from vitreous.report.page import explanation_page
    from vitreous.report.raster import png_bytes

    test = splits.test
    assert test is not None
    ours = rows[0].scores
    example = test.samples[0]
    kept = json.dumps([row._asdict() for row in rows], indent=2) + "\n"
    contents: dict[str, str | bytes] = {
        "report.html": _report(predictor, splits, examination, rows, output),
        "explanation.html": explanation_page(predictor, example.open(), f"{example.name}.png"),
        f"{example.name}.png": png_bytes(example.open().convert("L")),
        "confusion.png": confusion_figure(ours["confusion"], ours["classes"]).encode(".png"),
        "scores.json": kept,
    }
    for name, content in contents.items():
        write_result(output / name, content)
    told = {
        "report.html": "the run: scores, examples, curves; open this first",
        "explanation.html": "one digit: move over a patch to see what it attends to",
        f"{example.name}.png": "that digit",
        "confusion.png": "what was taken for what",
        "scores.json": "every figure, for machines",
        "run/best/model.safetensors": "the best weights: 'vitreous predict' reads the folder run",
        "run/last/model.safetensors": "the last weights",
        "run/metrics.jsonl": "measures, a line for each epoch",
        "run/config.json": "all settings",
    }
    files = [output / name for name in told]
    files += sorted(path for path in output.rglob("*") if path.is_file() and path not in files)
    return {path: told.get(path.relative_to(output).as_posix(), "") for path in files}


def _report(
    predictor: "Predictor",
    splits: "Splits",
    examination: "Examination",
    rows: list[Rivalry],
    output: Path,
) -> str:
    import json

    from vitreous.report.run_page import RunReport, run_page

    assert splits.test is not None
    ours = rows[0]
    run = output / "run"
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    parameters = sum(parameter.numel() for parameter in predictor.model.parameters())
    low, high = ours.scores["intervals"]["accuracy"]
    return run_page(
        RunReport(
            title="Handwritten digits, from scratch",
            lead=splits.how,
            summary=[
                ("accuracy on held-out digits", percent(ours.scores["accuracy"])),
                ("95% interval", f"{percent(low)} to {percent(high)}"),
                ("training time", duration(ours.seconds)),
                ("parameters", f"{parameters:,}"),
            ],
            doctor=examination.to_dict(),
            metrics=metrics,
            scores=ours.scores,
            baselines=[
                {
                    "model": row.name,
                    "accuracy": percent(row.scores["accuracy"]),
                    "95% interval": " to ".join(map(percent, row.scores["intervals"]["accuracy"])),
                    "training": duration(row.seconds),
                    "mine": row is ours,
                }
                for row in rows
            ],
            examples=_examples(predictor, splits),
            commands=[
                f"vitreous demo --output {output} --seed {predictor.lineage['training']['seed']}",
                f"vitreous evaluate {run} digits",
                f"vitreous explain {run} {output / (splits.test.samples[0].name + '.png')}",
            ],
        )
    )


def _examples(predictor: "Predictor", splits: "Splits") -> list["Example"]:
    """Test pictures with the relevance of the answer laid over them, the wrong answers first."""
    from vitreous.explain.explanation import explain
    from vitreous.explain.overlay import overlay
    from vitreous.predictor import Answer
    from vitreous.report.run_page import Example

    assert splits.test is not None
    judged = [
        (sample, splits.test.classes[label], answer)
        for (sample, answer), label in zip(
            predictor.predict(splits.test.samples), splits.test.labels, strict=True
        )
        if isinstance(answer, Answer)
    ]
    judged.sort(key=lambda one: one[1] == one[2].label)  # stable: the wrong ones, then the data's order
    return [
        Example(
            picture=sample.open(),
            overlay=overlay(sample.open(), explain(predictor, sample.open(), target=answer.index).heat),
            truth=truth,
            answer=answer.label,
            score=answer.score,
            name=sample.name,
        )
        for sample, truth, answer in judged[:EXAMPLES]
    ]
