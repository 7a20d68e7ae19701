"""``vitreous evaluate``: how good a model is on labelled pictures, and how sure that is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitreous.cli.files import check_source
from vitreous.cli.marked import show_marked
from vitreous.cli.output import Progress, complain, percent, show, show_json, show_table
from vitreous.cli.several import show_several
from vitreous.cli.source_kind import wanted_by
from vitreous.errors import InputError

if TYPE_CHECKING:
    from vitreous.data.collection import Splits
    from vitreous.predictor import Predictor

CLASSES_SHOWN = 30


def evaluate(
    source: Annotated[str, typer.Argument(help="A run, a model directory or a file of weights.")],
    data: Annotated[
        str,
        typer.Argument(help="Pictures with labels, objects or masks: folders, CSV, COCO, 'digits', ..."),
    ],
    split: Annotated[
        str, typer.Option(help="auto (the held-out part), train, validation, test or all.")
    ] = "auto",
    output: Annotated[
        Path | None,
        typer.Option(help="A folder for scores.json, figures and, of marked pictures, gallery.html."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The model's catalog name, if the weights do not say it.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    batch_size: Annotated[
        int | None, typer.Option(help="Pictures at a time; 64, or 8 of marked ones.", min=1)
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(help="Tell classes of pixels by windows of so many pixels of large pictures.", min=1),
    ] = None,
    allow_unreadable: Annotated[
        bool, typer.Option("--allow-unreadable", help="Judge the rest where files cannot be read.")
    ] = False,
    neighbours: Annotated[
        bool,
        typer.Option("--neighbours", help="Let the nearest train pictures answer; no head needed."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Judge a model on pictures whose truth is known.

    Prints accuracy and calibration with their 95% intervals, and precision and recall of every class; of a
    detector the twelve figures of COCO, of a model that tells the class of each pixel mean and boundary IoU.
    """
    check_source(source)
    if output is not None and output.exists() and not output.is_dir():
        raise InputError(f"{output}: a file; wanted the name of a folder for the results")
    wanted = wanted_by(source)
    if neighbours:
        _refuse_marked(wanted is not None)
    if wanted == "detection":
        from vitreous.evaluation.detection import faster_coco_eval

        faster_coco_eval()
    from vitreous.data.folder import read_data

    splits = read_data(data, wanted=wanted)  # what is wrong with the data is said before torch is imported
    if neighbours:
        _check_neighbours(splits, output)
    from vitreous.evaluation.evaluate import evaluate as judge
    from vitreous.evaluation.evaluate import to_judge
    from vitreous.evaluation.judged import WANTED
    from vitreous.predictor import load

    predictor = load(source, name=name, device=device)
    if neighbours:
        _refuse_marked(predictor.says != "classes")
        _judge_neighbours(predictor, splits, data, split, batch_size or 64, allow_unreadable, json)
        return
    # Only its reader can tell of some weights for what data they are; then that is read once more.
    fitting = WANTED[predictor.says] == wanted
    pictures = _split_as_trained(predictor, splits, data) if fitting else data
    with Progress(f"evaluating on {data}", quiet=json) as progress:
        result = judge(
            predictor,
            pictures,
            split=split,
            batch_size=batch_size,
            allow_unreadable=allow_unreadable,
            progress=progress,
            window=window,
        )
    written = []
    if output is not None:
        from vitreous.cli.scores_files import write_scores

        _, judged, _ = to_judge(predictor, pictures, split)
        written = write_scores(result, output, predictor, judged, window=window)
    if json:
        show_json(result)
        return
    if predictor.says != "classes":
        show_marked(result)
    elif result.get("answers") == "several":
        show_several(result)
    else:
        _show(result)
    for path in written:
        show(f"wrote {path}")
    for row in result["unreadable"]:
        complain(f"left out {row['name']}: {row['reason']}")


def _refuse_marked(marked: bool) -> None:
    if marked:
        raise InputError(
            "--neighbours tells which class a whole picture shows, and this model finds objects or tells the"
            " class of each pixel; leave it out"
        )


def _check_neighbours(splits: "Splits", output: Path | None) -> None:
    from vitreous.data.folder import check_trainable
    from vitreous.evaluation.judged import check_told

    if output is not None:
        raise InputError("--neighbours writes no files; leave out --output, or take --json")
    check_trainable(splits if splits.validation is not None else splits._replace(validation=splits.test))
    if splits.train is not None:
        check_told("classes", splits.train)
        splits.train.refuse_tags("--neighbours")


def _judge_neighbours(
    predictor: "Predictor",
    splits: "Splits",
    data: str,
    split: str,
    batch_size: int,
    allow_unreadable: bool,
    json: bool,
) -> None:
    from vitreous.data.folder import read_data
    from vitreous.evaluation.frozen import evaluate_neighbours

    seed = predictor.lineage.get("data", {}).get("seed", 0)
    if splits.seeded and seed:
        splits = read_data(data, seed=seed)
    with Progress(f"looking at {data}", quiet=json) as progress:
        result = evaluate_neighbours(
            predictor,
            splits,
            split=split,
            batch_size=batch_size,
            allow_unreadable=allow_unreadable,
            progress=progress,
        )
    if json:
        show_json(result)
        return
    told, vote = result["data"], result["neighbours"]
    show(f"{result['n']} pictures of {told['name']}, part {told['part']}; {told['how']}")
    show(
        f"answered by the {vote['k']} nearest of {vote['bank']} train pictures ({vote['how']}):"
        f" cosine similarity of {vote['width']} frozen features, votes weighed at temperature"
        f" {vote['temperature']:g}"
    )
    for note in (told["note"], result["note"]):
        if note is not None:
            show(note)
    show()
    rows = [
        _measure("accuracy", result["accuracy"], result["intervals"]["accuracy"]),
        _measure("mean recall", result["macro"]["recall"], None),
    ]
    show_table(["measure", "value", "95% interval"], rows, numbers=["value", "95% interval"])
    show()
    _show_classes(result["per_class"])
    for row in result["unreadable"]:
        complain(f"left out {row['name']}: {row['reason']}")


def _split_as_trained(predictor: "Predictor", splits: "Splits", data: str) -> "Splits | str":
    """The splits at hand, or the data's name where the model was trained on those of another seed."""
    seed = predictor.lineage.get("data", {}).get("seed", 0)
    return data if splits.seeded and seed else splits


def _show(result: dict[str, Any]) -> None:
    data, intervals = result["data"], result["intervals"]
    show(f"{result['n']} pictures of {data['name']}, part {data['part']}: {data['why']}")
    if data["note"] is not None:
        show(data["note"])
    show()
    rows = [
        _measure("accuracy", result["accuracy"], intervals["accuracy"]),
        *_top(result),
        _measure("calibration error", result["ece"], intervals["ece"]),
        _measure(f"  at temperature {result['temperature']:.2f}", result["ece_calibrated"], None),
    ]
    show_table(["measure", "value", "95% interval"], rows, numbers=["value", "95% interval"])
    show()
    # Of a model that knows more classes than the data has, the others would only be rows of zeros.
    some = data["classes"] < len(result["per_class"])
    per_class = [row for row in result["per_class"] if row["support"] or not some]
    _show_classes(per_class)
    if result["mistakes"]:
        show()
        worst = result["mistakes"][0]
        show(
            f"surest mistake: {worst['name']} is {worst['truth']}, answered {worst['answer']}"
            f" with {percent(worst['score'])}"
        )


def _show_classes(per_class: list[dict[str, Any]]) -> None:
    """Precision and recall of every class, or of those that went worst."""
    shown = per_class
    if len(per_class) > CLASSES_SHOWN:
        shown = sorted(per_class, key=lambda row: row["f1"])[:CLASSES_SHOWN]
        show(f"the {CLASSES_SHOWN} of {len(per_class)} classes that went worst:")
    table = [
        [row["class"], *(percent(row[key]) for key in ("precision", "recall", "f1")), str(row["support"])]
        for row in shown
    ]
    titles = ["class", "precision", "recall", "f1", "pictures"]
    show_table(titles, table, numbers=titles[1:])


def _top(result: dict[str, Any]) -> list[list[str]]:
    if result["top5_k"] >= len(result["classes"]):
        return []  # the truth is always among all classes
    return [_measure(f"top-{result['top5_k']} accuracy", result["top5"], result["intervals"]["top5"])]


def _measure(title: str, value: float, interval: list[float] | None) -> list[str]:
    ends = "" if interval is None else f"{percent(interval[0])} to {percent(interval[1])}"
    return [title, percent(value), ends]
