"""Masked autoencoders and convolutional networks at the command line: what the verbs do, and refuse."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.cli.conftest import Run
from tests.cli.test_train import SMALL
from vitreous.checkpoints.file import Checkpoint, save
from vitreous.checkpoints.source import read_any
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError
from vitreous.models import catalog
from vitreous.predictor import load


@pytest.fixture
def autoencoder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    options = {"width": 16, "depth": 2, "heads": 2}
    model = catalog.build(catalog.configure("mae_tiny", image_size=16, options=options))
    save(tmp_path / "mae", Checkpoint(model, Preprocess(size=(16, 16), shorter=None), ()))
    return tmp_path / "mae"


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        (("predict", "mae", "pictures/ant/00.png"), "vitreous train --from"),
        (("explain", "mae", "pictures/ant/00.png"), "vitreous train --from"),
        (("evaluate", "mae", "pictures"), "vitreous train --from"),
        (("train", "pictures", "--model", "mae_tiny"), "9 pictures to learn from without labels; wanted 20"),
    ],
)
def test_one_line_says_that_it_is_no_classifier(
    run: Run, autoencoder: Path, pictures: Path, verb: tuple[str, ...], words: str
) -> None:
    said = run(*verb)
    assert said.code == 2
    assert said.err.count("\n") == 1 and words in said.err and "unexpected" not in said.err


def test_a_predictor_says_the_same(autoencoder: Path, pictures: Path) -> None:
    predictor = load(autoencoder, device="cpu")
    with pytest.raises(CheckpointError, match="vitreous train --from"):
        predictor(pictures / "ant" / "00.png")


def test_a_classifier_starts_on_its_backbone_and_what_is_left_out_is_said(
    run: Run, autoencoder: Path, pictures: Path
) -> None:
    settings = [word for word in SMALL if "model" not in word]
    still = "--set=optimizer.learning_rate=1e-12"
    said = run("train", "pictures", "--from", "mae", "--output", "run", *settings, still)
    assert said.code == 0, said.err
    assert "the decoder of the pretraining is left out" in said.err
    trained, pretrained = read_any("run").model, read_any("mae").model
    # The last norm is taken after the mean, not before it.
    assert trained.config.pool == "mean" and trained.config.pool_norm
    assert trained.config.backbone == replace(pretrained.config.backbone, final_norm=False)
    before = pretrained.backbone.state_dict()
    for key, value in trained.backbone.state_dict().items():
        assert torch.allclose(value, before[key], atol=1e-6), key
    assert run("predict", "run", "pictures/ant/00.png").code == 0
    assert run("explain", "run", "pictures/ant/00.png").code == 0


def test_a_convolutional_network_is_trained_and_judged_and_has_nothing_to_explain(
    run: Run, pictures: Path
) -> None:
    settings = [word for word in SMALL if "model" not in word and "epochs" not in word]
    said = run(
        "train", "pictures", "--model", "resnet_18", "--set=model.image_size=64", "--set=epochs=1",
        "--output", "run", *settings,
    )  # fmt: skip
    assert said.code == 0, said.err
    trained = read_any("run").model.state_dict()
    assert trained["network.bn1.num_batches_tracked"] > 0
    assert not torch.equal(trained["network.bn1.running_mean"], torch.zeros(64))
    assert run("evaluate", "run", "pictures").code == 0
    assert run("predict", "run", "pictures/ant/00.png").code == 0
    said = run("explain", "run", "pictures/ant/00.png")
    assert said.code == 2 and said.err.count("\n") == 1
    assert "a resnet18 has no attention to explain it by" in said.err


def test_models_and_inspect_show_it(run: Run, autoencoder: Path) -> None:
    assert run("models", "mae_tiny").rows[1][:4] == ["mae_tiny", "32", "4", "64"]
    said = run("inspect", "mae")
    assert said.code == 0 and "decoder" in said.out
    assert ["loads", "yes"] in said.rows
