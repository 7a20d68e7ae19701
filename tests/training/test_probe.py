"""A probe is a run like any other, and its model says exactly what the probe says."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vitreous.checkpoints.file import Checkpoint, save
from vitreous.data.folder import read_data
from vitreous.data.preprocess import Preprocess
from vitreous.errors import ConfigError, DataError, Interrupted, PictureError, TrainingError
from vitreous.evaluation.evaluate import evaluate
from vitreous.evaluation.features import extract
from vitreous.evaluation.probe import fit_probe
from vitreous.models import catalog
from vitreous.predictor import load
from vitreous.tasks.config import ClassificationConfig, DistillationConfig
from vitreous.training import probe
from vitreous.training.config import ModelChoice, OptimizerConfig, TrainConfig
from vitreous.training.fit import Moment, fit
from vitreous.training.recipes import probe as recipe
from vitreous.training.tuning_config import TuningConfig

PREPARE = Preprocess(size=(32, 32), shorter=None)
SMALL = {"width": 16, "depth": 1, "heads": 2}
FAMILIES = {
    "vit": ("vit_tiny", SMALL),
    "both pools": ("vit_tiny", {**SMALL, "pool": "class_mean", "pool_norm": True}),
    "mlp head": ("vit_tiny", {**SMALL, "head": "mlp"}),
    "deit": ("deit_tiny", SMALL),
    "beit": ("beit_tiny", SMALL),
    "beit_masked": ("beit_tiny_masked", SMALL),
    "mae": ("mae_tiny", SMALL),
    "simmim": ("simmim_swin_tiny", {}),
    "swin": ("swin_tiny", {}),
    "resnet": ("resnet_18", {}),
    "efficientnet": ("efficientnet_b0", {}),
    "regnet": ("regnet_y_400mf", {}),
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VITREOUS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def weights(place: Path, family: str = "vit", classes: int = 3) -> str:
    """Random weights as a model directory."""
    name, options = FAMILIES[family]
    torch.manual_seed(0)
    model = catalog.build(catalog.configure(name, classes=classes, image_size=32, options=options)).eval()
    names = tuple(f"other {number}" for number in range(model.config.classes))
    save(place, Checkpoint(model, PREPARE, names))
    return str(place)


@pytest.fixture
def probed(pictures: Path, tmp_path: Path) -> TrainConfig:
    """A probe of random weights on the two classes."""
    config = recipe(str(pictures), str(tmp_path / "run"))
    return replace(config, model=ModelChoice(source=weights(tmp_path / "weights")), device="cpu")


def watched(config: TrainConfig, **options: bool) -> tuple[list[Moment], Path]:
    heard: list[Moment] = []
    return heard, fit(config, watch=heard.append, **options).path  # type: ignore[arg-type]


def said(heard: list[Moment]) -> str:
    return "\n".join(moment.values["text"] for moment in heard if moment.kind == "note")


@pytest.mark.parametrize(
    ("family", "classes"), [*((family, 3) for family in FAMILIES), ("vit", 2), ("deit", 2)]
)
def test_the_models_logits_are_the_probes(
    probed: TrainConfig, pictures: Path, tmp_path: Path, family: str, classes: int
) -> None:
    if classes == 3:
        for part in ("train", "val"):
            (pictures / part / "third").mkdir()
            for file in sorted((pictures / part / "above").iterdir())[::2]:
                file.rename(pictures / part / "third" / file.name)
    source = weights(tmp_path / family, family, classes=5)
    run = fit(replace(probed, model=ModelChoice(source=source)))
    predictor = load(run.path, device="cpu")
    splits = read_data(pictures)
    assert splits.train is not None and splits.validation is not None
    model = load(source, device="cpu").model
    own, held = (
        extract(model, PREPARE, part.samples, device=torch.device("cpu"))  # type: ignore[arg-type]
        for part in (splits.train, splits.validation)
    )
    found = fit_probe(own.features, splits.train.labels, splits.train.classes)
    wanted = found.logits(held.features)
    answers = [row for _, row in predictor.logits(splits.validation.samples)]
    np.testing.assert_allclose(np.stack(answers), wanted, rtol=1e-4, atol=1e-4)  # type: ignore[arg-type]
    right = (wanted.argmax(1) == np.array(splits.validation.labels)).mean()
    assert run.measures["accuracy"] == pytest.approx(right)
    assert predictor.classes == splits.train.classes


def test_a_head_with_a_hidden_layer_gives_way_even_where_its_classes_stay(
    probed: TrainConfig, tmp_path: Path
) -> None:
    source = weights(tmp_path / "hidden", "mlp head", classes=2)
    kept = load(source, device="cpu")
    names = Checkpoint(kept.model, PREPARE, ("above", "below"))  # type: ignore[arg-type]
    save(tmp_path / "hidden", names)
    run = fit(replace(probed, model=ModelChoice(source=source)))
    model = load(run.path, device="cpu").model
    assert model.config.head == "linear"
    assert model.head.weight.shape == (2, 16)


def test_it_leaves_a_run_that_the_other_verbs_understand(probed: TrainConfig, pictures: Path) -> None:
    heard, run = watched(probed)
    assert [moment.kind for moment in heard if moment.kind != "note"][-1] == "measured"
    assert "chosen by 5-fold cross-validation" in said(heard)
    (row,) = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    predictor = load(run, device="cpu")
    result = evaluate(predictor, str(pictures), split="validation")
    assert result["accuracy"] == row["accuracy"]
    assert result["nll"] == pytest.approx(row["validation_loss"], rel=1e-4)
    assert result["temperature_from"] == "checkpoint"
    lineage = predictor.lineage
    assert lineage["from"]["source"] == probed.model.source
    assert lineage["training"]["tuned"] == "probe"
    assert lineage["training"]["probe"]["pictures"] == 48
    assert lineage["data"]["source"] == pictures.name
    # And the weights below the head are what they were.
    before = load(lineage["from"]["source"], device="cpu").model.state_dict()
    after = predictor.model.state_dict()
    for name, value in before.items():
        assert name.startswith("head.") or torch.equal(value, after[name]), name


def test_two_runs_are_equal_whether_or_not_features_were_kept(
    probed: TrainConfig, tmp_path: Path, cache: Path
) -> None:
    first = fit(probed).path
    again = fit(replace(probed, output=str(tmp_path / "again"))).path
    for file in cache.rglob("*.safetensors"):
        file.unlink()
    anew = fit(replace(probed, output=str(tmp_path / "anew"))).path
    for name in ("best/model.safetensors", "metrics.jsonl"):
        assert len({(run / name).read_bytes() for run in (first, again, anew)}) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_keeps_what_was_seen_and_resume_ends_with_the_same_bits(
    probed: TrainConfig, tmp_path: Path, number: int, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    probed = replace(probed, batch_size=8)
    whole = fit(probed).path
    monkeypatch.setenv("VITREOUS_CACHE", str(tmp_path / "another"))
    stopped = replace(probed, output=str(tmp_path / "stopped"))

    def stop(moment: Moment) -> None:
        if moment.kind == "step" and moment.step == 20:
            os.kill(os.getpid(), number)

    with pytest.raises(Interrupted, match=r"20 of 64 pictures.*--resume --output") as caught:
        fit(stopped, watch=stop)
    assert caught.value.exit_code == code
    heard, run = watched(stopped, resume=True)
    assert min(moment.step for moment in heard if moment.kind == "step") > 16
    for name in ("best/model.safetensors", "metrics.jsonl"):
        assert (whole / name).read_bytes() == (run / name).read_bytes()


def test_a_finished_probe_is_not_fitted_again(probed: TrainConfig) -> None:
    first = fit(probed)
    before = {path: path.stat().st_mtime_ns for path in first.path.rglob("*")}
    heard: list[Moment] = []
    again = fit(probed, resume=True, watch=heard.append)
    assert "is finished" in said(heard)
    assert again.measures == first.measures
    assert {path: path.stat().st_mtime_ns for path in first.path.rglob("*")} == before
    with pytest.raises(ConfigError, match="not empty"):
        fit(probed)


def test_a_few_bad_pictures_are_left_out_and_named_and_many_stop_it(
    probed: TrainConfig, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pictures / "train" / "above" / "03.png").write_bytes(b"broken")
    with pytest.raises(TrainingError, match=r"1 of 64 pictures cannot be used.*03\.png"):
        fit(probed)
    monkeypatch.setattr("vitreous.training.fit.TROUBLED_SHARE", 0.02)
    heard, run = watched(probed, resume=True)
    assert [moment.values["name"] for moment in heard if moment.kind == "troubled"] == ["train/above/03.png"]
    lineage = load(run, device="cpu").lineage
    assert list(lineage["training"]["unusable_pictures"]) == ["train/above/03.png"]
    assert lineage["training"]["probe"]["pictures"] == 47


def test_what_a_probe_cannot_do_is_said_before_a_picture_is_looked_at(
    probed: TrainConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(probe, "extract_once", lambda *_, **__: pytest.fail("it looked"))
    sampled = replace(probed, task=ClassificationConfig(smoothing=0.0, balance="sampling"))
    for config, match in (
        (replace(probed, model=ModelChoice()), "--from SOURCE"),
        (sampled, "task.balance=loss"),
        (replace(probed, task=DistillationConfig(teacher=str(tmp_path / "weights"))), "labels alone"),
    ):
        with pytest.raises(ConfigError, match=match):
            fit(config)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="without torchrun"):
        fit(probed)
    assert not (tmp_path / "run").exists()


def test_one_class_is_refused(probed: TrainConfig, pictures: Path) -> None:
    for part in ("train", "val"):
        for file in (pictures / part / "above").iterdir():
            file.unlink()
        (pictures / part / "above").rmdir()
    with pytest.raises(DataError, match="one class only, below"):
        fit(probed)
    assert not Path(probed.output).exists()


def test_settings_that_make_no_difference_are_named(probed: TrainConfig) -> None:
    task = ClassificationConfig(smoothing=0.1)
    odd = replace(probed, optimizer=OptimizerConfig(learning_rate=0.3), task=task)
    heard, _ = watched(odd)
    assert "optimizer.learning_rate, task.smoothing made no difference" in said(heard)
    plain = recipe(probed.data, probed.output)
    assert plain.tuning == TuningConfig(train="probe")


def test_a_balanced_probe_weighs_rare_classes_more(
    probed: TrainConfig, pictures: Path, tmp_path: Path
) -> None:
    for file in sorted((pictures / "train" / "above").iterdir())[4:]:
        file.unlink()
    biases = []
    for balance in ("none", "loss"):
        task = ClassificationConfig(smoothing=0.0, balance=balance)  # type: ignore[arg-type]
        run = fit(replace(probed, task=task, output=str(tmp_path / balance)))
        predictor = load(run.path, device="cpu")
        rows = [row for _, row in predictor.logits(read_data(pictures).validation.samples)]  # type: ignore[union-attr]
        assert not any(isinstance(row, PictureError) for row in rows)
        biases.append(float(np.mean([row[0] - row[1] for row in rows])))  # type: ignore[index]
    assert biases[1] > biases[0]
