"""Going on with a model whose classes the data has, in another order or called by WordNet ids."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vitreous.checkpoints.adapt import adapt
from vitreous.checkpoints.file import Checkpoint, read, save
from vitreous.data.preprocess import Preprocess
from vitreous.errors import DataError
from vitreous.evaluation.evaluate import evaluate
from vitreous.models import catalog
from vitreous.predictor import load
from vitreous.training.config import ModelChoice, TrainConfig
from vitreous.training.fit import fit
from vitreous.training.setup import Setup, set_up

IDS = {"above": "n01440764", "below": "n01443537"}  # tench and goldfish


def saved(path: Path, classes: tuple[str, ...]) -> Path:
    options = {"width": 16, "depth": 2, "heads": 2}
    torch.manual_seed(0)
    config = catalog.configure("vit_tiny", classes=len(classes), image_size=12, options=options)
    model = catalog.build(config)
    with torch.no_grad():
        model.head.weight.normal_(0, 1)
    save(path, Checkpoint(model, Preprocess(size=(12, 12), shorter=None), classes))
    return path


def begun(config: TrainConfig, source: Path) -> tuple[Setup, bool]:
    """The setup of going on with a model, and whether its head was kept."""
    setup = set_up(replace(config, model=ModelChoice(source=str(source))))
    head = read(source).model.head.weight
    return setup, torch.equal(setup.model.head.weight, head)


def test_data_with_the_classes_in_another_order_keeps_the_head(config: TrainConfig, tmp_path: Path) -> None:
    setup, kept = begun(config, saved(tmp_path / "model", ("below", "above")))
    assert kept
    assert setup.train.classes == setup.validation.classes == ("below", "above")
    for part in (setup.train, setup.validation):
        assert all((sample.label == 0) == ("below" in sample.name) for sample in part.samples)
    assert setup.notes[1:] == ("the data has the model's classes in another order; the head is kept",)


def test_data_in_the_models_order_says_nothing(config: TrainConfig, tmp_path: Path) -> None:
    setup, kept = begun(config, saved(tmp_path / "model", ("above", "below")))
    assert kept and len(setup.notes) == 1


@pytest.fixture
def by_id(pictures: Path) -> Path:
    """The pictures in folders of WordNet ids."""
    for part in ("train", "val"):
        for name, key in IDS.items():
            (pictures / part / name).rename(pictures / part / key)
    return pictures


def test_folders_of_wordnet_ids_train_and_judge_a_model_of_names(
    config: TrainConfig, by_id: Path, tmp_path: Path
) -> None:
    source = saved(tmp_path / "model", ("goldfish", "tench"))
    setup, kept = begun(config, source)
    assert kept and setup.train.classes == ("goldfish", "tench")
    assert setup.notes[1] == "the classes of the data were told by WordNet id; the head is kept"
    run = fit(replace(config, epochs=2, model=ModelChoice(source=str(source))))
    predictor = load(run.path, device="cpu")
    assert predictor.classes == ("goldfish", "tench")
    result = evaluate(predictor, by_id)
    assert result["accuracy"] == pytest.approx(run.measures["accuracy"])


def test_some_of_the_classes_of_a_list_take_a_new_head(
    config: TrainConfig, by_id: Path, tmp_path: Path
) -> None:
    setup, kept = begun(config, saved(tmp_path / "model", ("goldfish", "tench", "great white shark")))
    assert not kept and "a new head" in setup.notes[-1]
    assert setup.train.classes == tuple(sorted(IDS.values()))


def test_a_tuned_head_of_ids_is_judged_on_folders_of_names(
    config: TrainConfig, by_id: Path, pictures: Path, tmp_path: Path
) -> None:
    source = read(saved(tmp_path / "model", ("goldfish", "tench")))
    tuned, _ = adapt(source, classes=tuple(sorted(IDS.values())))
    save(tmp_path / "tuned", tuned)
    for part in ("train", "val"):
        (pictures / part / IDS["above"]).rename(pictures / part / "tench")
        (pictures / part / IDS["below"]).rename(pictures / part / "goldfish")
    assert evaluate(load(tmp_path / "tuned", device="cpu"), pictures)["n"] == 16
    (pictures / "val" / "tench").rename(pictures / "val" / "my fish")
    (pictures / "train" / "tench").rename(pictures / "train" / "my fish")
    with pytest.raises(DataError, match=r"the classes differ.*the model does not know 1 \(my fish\)"):
        evaluate(load(tmp_path / "tuned", device="cpu"), pictures)
