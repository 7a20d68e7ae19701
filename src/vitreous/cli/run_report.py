"""The report that ``vitreous train`` leaves in a run: RUN/report.html.

What was measured, where the weights come from, and how to go on; of a run that learnt without labels also
what its model makes of held-out pictures, and of one that learnt objects or pixels how held-out pictures are
judged.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from vitreous.cli.files import write_result
from vitreous.cli.output import duration, percent
from vitreous.cli.run_marked import Looked, look_at
from vitreous.errors import VitreousError

if TYPE_CHECKING:
    from vitreous.report.reconstruction import TokenPainter
    from vitreous.report.run_page import Trio
    from vitreous.training.config import TrainConfig
    from vitreous.training.fit import Run

NAME = "report.html"
PICTURES = 12  # held-out pictures that are rebuilt
TITLES = {
    "classification": "A classifier",
    "distillation": "A classifier with a teacher",
    "masked_autoencoding": "A masked autoencoder",
    "masked_pixels": "A model that rebuilds hidden squares (SimMIM)",
    "visual_tokens": "A model that tells visual tokens (BEiT)",
    "tokenizer": "A tokenizer (dVAE)",
    "detection": "A detector",
    "segmentation": "A model for the class of each pixel",
}
FILES = {
    "best": "the weights that were best on validation: every verb reads the run's folder as these",
    "last": "the weights after the last step",
    "adapter": "what was learnt alone, for the weights that it was learnt on",
    "metrics.jsonl": "every measure, a line for each epoch",
    "config.json": "all settings",
}
TRUE_COLOURS = (
    " Where patches are rebuilt, each is given its true mean and contrast: the model learns patches without"
    " them, so colours and brightness are not its own."
)
REBUILDING = {
    "masked_autoencoding": "Beside each held-out picture is what the encoder saw of it, and the picture with"
    " the hidden patches as they were rebuilt; the visible ones are kept.",
    "masked_pixels": "Beside each held-out picture is what the model saw of it, and the picture with the"
    " hidden squares as they were painted; the visible ones are kept.",
    "visual_tokens": "Beside each held-out picture is what the model saw of it.",
    "tokenizer": "Beside each held-out picture is what the decoder paints from its tokens alone.",
}
PAINTED = (
    " Of each hidden patch it told one token; the tokenizer painted them, among the tokens of the visible"
    " patches."
)


def write_report(run: "Run", config: "TrainConfig", commands: Sequence[str], *, resumed: bool) -> Path:
    """Write the page of a finished run into its folder; returns where it is. ``commands`` are what to go on
    with.

    Raises:
        VitreousError: the run's files cannot be read, or the page not be written.
    """
    from vitreous.report.run_page import RunReport, run_page

    place = run.path / NAME
    metrics = _rows(run.path / "metrics.jsonl")
    kept = _lineage(run.path / "best" / "config.json")
    training: Mapping[str, Any] = kept.get("training", {})
    before: Mapping[str, float] = training.get("before", {})
    gallery, rebuilding = _gallery(run, config)
    looked = look_at(run, config)
    curves = [{"epoch": 0, **before}, *metrics] if before else metrics
    page = run_page(
        RunReport(
            title=f"{TITLES.get(config.task.kind, 'A model')} on {PurePath(config.data).name or config.data}",
            lead=kept.get("data", {}).get("how", ""),
            summary=_tiles(run, metrics, before, resumed),
            warnings=_warnings(metrics, training) + ([looked.warning] if looked.warning else []),
            gallery=gallery,
            rebuilding=rebuilding,
            marked=looked.result,
            marked_note=_note(looked),
            sections=looked.sections,
            metrics=curves if len(curves) > 1 else (),
            lineage=_ancestry(config, kept, run),
            commands=commands,
            files=[
                (str(run.path / name), what) for name, what in FILES.items() if (run.path / name).exists()
            ],
            further="Go on, and where things are",
        )
    )
    write_result(place, page)
    return place


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():  # of what is learnt in no steps, as a linear probe is
        return []
    try:
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise VitreousError(f"{path}: cannot be read ({error})") from error


def _lineage(path: Path) -> dict[str, Any]:
    """Where the best weights come from; nothing where they were not kept as a model of ours."""
    try:
        lineage = json.loads(path.read_bytes()).get("lineage", {})
    except (OSError, ValueError):
        return {}
    return lineage if isinstance(lineage, dict) else {}


def _tiles(
    run: "Run", metrics: Sequence[Mapping[str, Any]], before: Mapping[str, float], resumed: bool
) -> list[tuple[str, str]]:
    """The best measures, a guess's and those of the untrained features beside them, and what it took."""
    measures, epochs = dict(run.measures), {}
    for row in metrics:  # not every evaluation comes with a look at the features
        for name in (before.keys() - run.measures.keys()) & row.keys():
            measures[name], epochs[name] = row[name], f" after epoch {row['epoch']}"
    tiles = []
    for name, value in measures.items():
        what = name.replace("_", " ") + epochs.get(name, "")
        guess = "guessing_iou" if name == "mean_iou" else name.replace("masked_", "guessing_")
        if name.startswith("guessing_"):
            continue
        if guess != name and guess in measures:
            what += f", {_told(name, measures[guess])} by guessing"
        if name in before:
            what += f", {_told(name, before[name])} before training"
        tiles.append((what, _told(name, value)))
    if run.epochs:
        tiles.append(("epochs", f"{run.epochs:,}"))
    if not resumed:  # or the time would be that of its last part
        tiles.append(("training time", duration(run.seconds)))
    return tiles


def _note(looked: Looked) -> str:
    some = f"{looked.pictures} of {looked.of} validation pictures, evenly chosen"
    which = some if looked.pictures < looked.of else f"The {looked.of} validation pictures"
    return f"{which}, judged with the best weights. Intervals hold 95% of resamples of the pictures."


def _told(name: str, value: float) -> str:
    shares = ("accuracy", "precision", "exact_match", "iou", "matched_right")
    if any(kind in name for kind in shares) or name in ("ap", "ap50", "ap75"):
        return percent(value)
    if name == "effective_rank":
        return f"{value:.1f}"
    return f"{value:,.0f}" if value >= 2 and value == int(value) else f"{value:.4f}"


def _warnings(metrics: Sequence[Mapping[str, Any]], training: Mapping[str, Any]) -> list[str]:
    """What went wrong, as sentences."""
    found = []
    for row in metrics:
        if "alarm" in row:
            found.append(f"After epoch {row['epoch']}, {row['alarm']}.")
    if len(found) > 3:
        found[1:-1] = [f"It was seen {len(found) - 2} times in between."]
    skipped = metrics[-1].get("skipped_steps", 0) if metrics else 0
    if skipped:
        found.append(f"{skipped} steps had no finite gradient and were skipped.")
    for name, reason in training.get("unusable_pictures", {}).items():
        found.append(f"{name} could not be used: {reason}.")
    return found


def _ancestry(config: "TrainConfig", lineage: Mapping[str, Any], run: "Run") -> list[tuple[str, str]]:
    """(what, value): model, task, data, and what the run went on from."""
    training: Mapping[str, Any] = lineage.get("training", {})
    data: Mapping[str, Any] = lineage.get("data", {})
    rows = [("model", config.model.name)] if config.model.source is None else []
    rows.append(("learnt", config.task.kind))
    rows += [(name, str(data[key])) for name, key in (("data", "source"), ("split", "how")) if key in data]
    if "fingerprint" in data:
        rows.append(("fingerprint of the training pictures", str(data["fingerprint"])[:16]))
    rows.append(("seed", str(config.seed)))
    if "step" in training:
        rows.append(("best weights", f"after step {training['step']:,} of {run.steps:,}"))
    for what, key in (("went on from", "from"), ("tokens by", "tokenizer")):
        parent: Any = lineage.get(key)
        while isinstance(parent, Mapping):
            rows.append((what, str(parent.get("source", "?"))))
            parent = (parent.get("lineage") or {}).get(key)
    if "torch" in training:
        rows.append(("torch", str(training["torch"])))
    return rows


def _gallery(run: "Run", config: "TrainConfig") -> tuple[list["Trio"], str]:
    """Held-out pictures, evenly chosen, as the best weights rebuild them, and what is to be seen in them."""
    from vitreous.tasks.config import needs_labels

    kind = config.task.kind
    if needs_labels(config.task) or kind not in REBUILDING:
        return [], ""
    from vitreous.checkpoints.source import read_any
    from vitreous.data.folder import read_data
    from vitreous.data.parts import learning_parts
    from vitreous.models.config import MAEConfig
    from vitreous.report.reconstruction import masks_of, rebuild
    from vitreous.report.run_page import Trio

    splits = learning_parts(read_data(config.data, seed=config.seed), seed=config.seed, labelled=False)
    held_out = splits.validation
    if held_out is None:
        return [], ""
    checkpoint = read_any(run.path)
    count = min(PICTURES, len(held_out))
    chosen = held_out.select(place * len(held_out) // count for place in range(count))
    painter = _painter(config, checkpoint.preprocess, checkpoint.model.config)
    model = checkpoint.model.config
    masks = masks_of(config.task, model)
    found = rebuild(checkpoint.model, checkpoint.preprocess, chosen, masks, painter)
    said = REBUILDING[kind] + PAINTED * (painter is not None)
    if isinstance(model, MAEConfig) and model.normalised_targets:
        said += TRUE_COLOURS
    return [Trio(*one) for one in found], said


def _painter(config: "TrainConfig", ours: Any, model: Any) -> "TokenPainter | None":
    """Who paints the tokens that a model tells; None where it tells none, or the tokenizer cannot paint."""
    from vitreous.tasks.config import VisualTokensConfig

    if not isinstance(config.task, VisualTokensConfig):
        return None
    from vitreous.checkpoints.source import read_any
    from vitreous.models.dvae import DVAE
    from vitreous.report.reconstruction import TokenPainter

    tokenizer = read_any(Path(config.task.tokenizer))
    if not isinstance(tokenizer.model, DVAE) or tokenizer.model.decoder is None:
        return None
    return TokenPainter(tokenizer.model.eval(), tokenizer.preprocess, ours, model)
