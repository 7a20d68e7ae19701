"""``vitreous train``: a model from a folder of pictures; stopped at any time, it goes on."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitreous.cli.chosen import Chosen, choose_run, leaves_open, tell
from vitreous.cli.files import check_source
from vitreous.cli.output import Progress, complain, duration, percent, show, show_json_line
from vitreous.errors import ConfigError, VitreousError

if TYPE_CHECKING:
    from vitreous.training.config import TrainConfig
    from vitreous.training.fit import Moment, Run

RUNS = Path("runs")


def train(
    data: Annotated[
        str | None, typer.Argument(help="Class folders, a CSV, COCO, YOLO, VOC, masks, 'digits' or 'scenes'.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="A catalog name; 'vitreous models' lists them.")] = None,
    source: Annotated[
        str | None, typer.Option("--from", help="Weights to go on with: a run, directory or file.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="scratch, tune, detr, mae, ...; chosen by default.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=C", help="Change one setting; may be given again."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="The run's directory; runs/ and the data's name by default.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --output.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, one line a measure.")] = False,
) -> None:
    """Train a model: to tell classes, to find objects, to tell what each pixel shows, or without labels.

    Ctrl-C saves; --resume goes on, to the same result as a run that was never stopped.
    """
    if source is not None:
        check_source(source)
    config, notes = _config(data, output, model, source, recipe, settings or (), resume)
    _check(config, resume)
    from vitreous.training.fit import fit

    with watching(config.epochs, json=json) as watcher:
        config = tell(config, notes, watcher.progress.note)
        run = fit(config, resume=resume, watch=watcher)
    if _speaks():
        _show(run, config, json, report=_report(run, config, resume))


@contextmanager
def watching(epochs: int, *, json: bool, quiet: bool = False) -> "Iterator[Watcher]":
    """Whoever tells of a run while it goes, and nothing but what was left out where ``quiet``."""
    with Progress("training", quiet=json or quiet or not _speaks()) as progress:
        yield Watcher(progress, epochs, json=json and not quiet)


class Watcher:
    """Tells of a run while it goes: a bar on a terminal, lines in a pipe, JSON lines for machines."""

    def __init__(self, progress: Progress, epochs: int, *, json: bool) -> None:
        self.progress = progress
        self.epochs = epochs
        self.json = json

    def __call__(self, moment: "Moment") -> None:
        values = moment.values
        if moment.kind == "step":
            self.progress(moment.step, moment.steps, left=moment.seconds_left)
        elif moment.kind == "troubled":
            complain(f"left out {values['name']}: {values['reason']}")
        elif moment.kind == "note":
            self.progress.note(values["text"])
        elif self.json:
            show_json_line(values)
        else:
            self.progress.note(f"epoch {values['epoch']} of {self.epochs}: {_listed(values)}")


def _config(
    data: str | None,
    output: Path | None,
    model: str | None,
    source: str | None,
    recipe: str | None,
    settings: Sequence[str],
    resume: bool,
) -> Chosen:
    """What the arguments ask for; without DATA, what the run to go on with was begun with. What they leave
    open is chosen, and only then there are sentences on it."""
    from vitreous.training.config import with_settings
    from vitreous.training.output import CONFIG, read_config
    from vitreous.training.recipes import configured, default_recipe

    if data is None:
        if not resume or output is None:
            raise ConfigError("what to train on? give DATA, or --resume with --output RUN")
        if model or source or recipe:
            raise ConfigError(
                "--resume without DATA takes all from its run; leave out --model, --from, --recipe"
            )
        return Chosen(with_settings(replace(read_config(output), output=str(output)), settings))
    place = output or RUNS / (Path(data).resolve().name or "data")
    if not (recipe or model or source) and leaves_open(data, settings):
        if resume and (place / CONFIG).exists():
            begun = replace(read_config(place), data=data, output=str(place))
            return Chosen(with_settings(begun, settings))
        return choose_run(data, place, settings)
    name = recipe or _recipe_with(data, source) or default_recipe(data, source, model)
    return Chosen(configured(data, str(place), name, model, source, settings))


def _recipe_with(data: str, source: str | None) -> str | None:
    """The recipe where weights are gone on with and places are learnt, which the weights say, or the data."""
    if source is None:
        return None
    from vitreous.cli.source_kind import wanted_by
    from vitreous.data.folder import read_data
    from vitreous.evaluation.judged import told_of

    wanted = wanted_by(source)
    if wanted is not None:
        return {"detection": "detr", "segmentation": "segformer"}.get(wanted)
    splits = read_data(data)
    part = splits.train or splits.validation or splits.test
    return None if part is None else {"objects": "detr", "regions": "segformer"}.get(told_of(part))


def _check(config: "TrainConfig", resume: bool) -> None:
    """What is wrong with the data or the place is said before torch is imported."""
    from vitreous.data.folder import read_data
    from vitreous.data.layouts import wanted_of
    from vitreous.data.parts import learning_parts
    from vitreous.tasks.config import check_complete, needs_labels, sources_of, truth_of
    from vitreous.training.output import check_free
    from vitreous.training.several import check_several
    from vitreous.training.tuning_config import check_tunable

    if _speaks():
        check_free(Path(config.output), config, resume=resume)
    check_complete(config.task)
    goes_on = config.model.source is not None
    check_tunable(config.tuning, config.epochs, goes_on=goes_on, truth=truth_of(config.task))
    for needed in sources_of(config.task):
        check_source(needed)
    wanted = wanted_of(config.task.kind)
    splits = read_data(config.data, seed=config.seed, wanted=wanted)
    labelled = needs_labels(config.task)
    check_several(config, learning_parts(splits, seed=config.seed, labelled=labelled, wanted=wanted).train)


def _speaks() -> bool:
    # Of torchrun's processes one checks, writes and prints for all.
    return os.environ.get("RANK", "0") == "0"


def _report(run: "Run", config: "TrainConfig", resumed: bool) -> Path | None:
    """Write the page of the run. Its weights are there already: without the page it is a run still."""
    from vitreous.cli.run_report import write_report

    try:
        return write_report(run, config, [f"vitreous {way}" for way in _ways_on(config)], resumed=resumed)
    except VitreousError as error:
        complain(f"no report was written: {error}")
        return None


def _show(run: "Run", config: "TrainConfig", json: bool, report: Path | None) -> None:
    best = str(run.path)
    if json:
        values = {"run": best, "seconds": run.seconds, "steps": run.steps, "epochs": run.epochs}
        values["report"] = None if report is None else str(report)
        show_json_line({**values, "measures": run.measures})
        return
    measures = _listed(run.measures) or "no validation part"
    epochs = "1 epoch" if run.epochs == 1 else f"{run.epochs} epochs"
    done = "fitted a linear probe" if config.tuning.train == "probe" else f"trained {epochs}"
    show(f"{done} in {duration(run.seconds)}; best on validation: {measures}")
    show(f"wrote {best}{'' if report is None else f', to look at: {report}'}; go on with:")
    for command in _ways_on(config):
        show(f"  vitreous {command}")


def _ways_on(config: "TrainConfig") -> list[str]:
    from vitreous.tasks.config import truth_of

    run, data = quote(config.output), quote(config.data)
    if truth_of(config.task) != "nothing":
        alone = [f"inspect {run}/adapter"] if config.tuning.train == "lora" else []
        return [f"evaluate {run} {data}", f"predict {run} PICTURE...", *alone]
    if config.task.kind == "tokenizer":
        told = f"--recipe beit --set {quote(f'task.tokenizer={config.output}')}"
        return [f"inspect {run}", f"train {data} {told} --output {quote(f'{config.output}-beit')}"]
    return [f"train {data} --from {run} --output {quote(f'{config.output}-tuned')}"]


def _listed(values: Mapping[str, Any]) -> str:
    """Measures for people: loss 0.712, accuracy 97.22%."""
    parts = []
    for name, value in values.items():
        if any(kind in name for kind in ("accuracy", "precision", "exact_match")) or name.startswith("top"):
            parts.append(f"{name} {percent(value)}")
        elif isinstance(value, float) and name != "learning_rate":
            parts.append(f"{name} {value:.4f}")
    return ", ".join(parts)
