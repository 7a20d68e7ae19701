"""A run on pictures with several labels: it learns, it resumes to the same bits, and says what cannot be."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score

from tests.training.test_fit import Stop, assert_same_end, rows
from vitreous.data.augment import AugmentConfig
from vitreous.data.folder import read_data
from vitreous.errors import DataError, Interrupted
from vitreous.evaluation.evaluate import evaluate
from vitreous.predictor import load
from vitreous.tasks.config import ClassificationConfig, DistillationConfig, MaskedAutoencodingConfig
from vitreous.training.choice import choose
from vitreous.training.config import ModelChoice, TrainConfig
from vitreous.training.facts import facts_of
from vitreous.training.fit import Moment, fit
from vitreous.training.tuning_config import TuningConfig


@pytest.fixture
def tagged(config: TrainConfig, tmp_path: Path) -> TrainConfig:
    """Bright above, bright below, both or neither; 12 x 12 pixels."""
    random = np.random.default_rng(0)
    folder = tmp_path / "halves"
    folder.mkdir()
    lines = ["path,labels,split"]
    for number in range(72):
        own = [name for name in ("above", "below") if random.random() < 0.5]
        pixels = random.integers(0, 90, (12, 12, 3), dtype=np.uint8)
        for name in own:
            pixels[slice(0, 6) if name == "above" else slice(6, 12)] += 140
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
        lines.append(f"{number:02d}.png,{'|'.join(own)},{'train' if number < 48 else 'val'}")
    (folder / "labels.csv").write_text("\n".join(lines))
    return replace(config, data=str(folder / "labels.csv"), epochs=10, evaluate_every=5)


def test_it_learns_and_leaves_a_run_that_tells_several(tagged: TrainConfig) -> None:
    said: list[Moment] = []
    run = fit(tagged, watch=said.append)
    losses = [row["loss"] for row in rows(run.path)]
    assert losses[-1] < 0.8 * losses[0]
    assert run.measures["mean_average_precision"] > 0.95
    notes = [moment.values["text"] for moment in said if moment.kind == "note"]
    assert any("a sigmoid for each class" in note for note in notes)
    kept = json.loads((run.path / "best" / "config.json").read_text())
    assert (kept["answers"], kept["temperature"]) == ("several", 1.0)
    predictor = load(str(run.path), device="cpu")
    validation = read_data(tagged.data).validation
    found = evaluate(predictor, tagged.data, split="validation")
    logits = np.stack([row for _, row in predictor.logits(validation.samples)])
    exact = average_precision_score(validation.tags(), logits, average="macro")
    assert found["mean_average_precision"] == pytest.approx(exact)
    assert run.measures["mean_average_precision"] == pytest.approx(exact, abs=0.02)
    assert found["exact_match"] == run.measures["exact_match"]


@pytest.mark.parametrize("balance", ["none", "loss"])
def test_a_resumed_run_ends_with_the_same_bits(tagged: TrainConfig, tmp_path: Path, balance: str) -> None:
    mixed = replace(
        tagged,
        augment=AugmentConfig(mixup=0.2, cutmix=1.0, rand_augment=None),
        task=ClassificationConfig(balance=balance),
        epochs=4,
        evaluate_every=2,
        micro_batch=3,
    )
    fit(mixed)
    stopped = replace(mixed, output=str(tmp_path / "stopped"), workers=1)
    for step in (2, 15):
        with pytest.raises(Interrupted):
            fit(stopped, resume=True, watch=Stop(step))
    fit(stopped, resume=True)
    assert_same_end(tmp_path / "run", tmp_path / "stopped")


def test_weights_that_tell_one_class_go_on_to_tell_several(config: TrainConfig, tagged: TrainConfig) -> None:
    first = fit(replace(config, epochs=2))
    assert "answers" not in json.loads((first.path / "best" / "config.json").read_text())
    output = str(first.path.with_name("tuned"))
    fit(replace(tagged, model=ModelChoice(source=str(first.path)), epochs=2, output=output))
    assert load(output, device="cpu").answers == "several"
    # And back: the head is kept, as the classes are the same.
    back = str(first.path.with_name("back"))
    fit(replace(config, model=ModelChoice(source=output), epochs=1, output=back))
    assert load(back, device="cpu").answers == "one"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"task": DistillationConfig(teacher="teacher")}, "distillation"),
        ({"task": ClassificationConfig(balance="sampling")}, "task.balance=sampling"),
        (
            {"tuning": TuningConfig(train="probe"), "model": ModelChoice(source="weights")},
            "a linear probe",
        ),
    ],
)
def test_what_needs_one_label_is_refused_before_any_work(
    tagged: TrainConfig, change: dict[str, object], what: str
) -> None:
    with pytest.raises(DataError, match=f"may have several labels, and {what}"):
        fit(replace(tagged, **change))
    assert not Path(tagged.output).exists()


def test_pictures_alone_are_learnt_from_whatever_their_labels(tagged: TrainConfig) -> None:
    options = {"width": 16, "depth": 1, "heads": 2, "patch": 4}
    model = ModelChoice(name="mae_tiny", image_size=12, options=options)
    fit(replace(tagged, model=model, task=MaskedAutoencodingConfig(), epochs=1))
    assert "answers" not in json.loads((Path(tagged.output) / "best" / "config.json").read_text())


def test_a_run_is_chosen_for_several_labels(tagged: TrainConfig) -> None:
    facts = facts_of(read_data(tagged.data))
    assert (facts.classes, facts.several) == (2, True)
    rare = replace(facts, fewest=1, most=40)
    assert choose(rare, tagged.data, "run").config.task == ClassificationConfig(balance="none")
