"""From pictures without labels to a classifier: one run feeds the next, and what is wrong is said at once."""

import json
from pathlib import Path

import pytest
import torch

from tests.cli.conftest import Run, Said, write_pictures
from vitreous.checkpoints.file import Checkpoint, save
from vitreous.data.preprocess import Preprocess
from vitreous.models import catalog
from vitreous.models.config import DVAEConfig
from vitreous.predictor import load

SHORT = ("--set=epochs=2", "--set=workers=0", "--set=batch_size=8", "--set=evaluate_every=1")
SMALL = ("--set=model.image_size=8", "--set=model.options={width: 16, depth: 1, heads: 2}")
MAE = (
    "--recipe=mae",
    "--set=model.image_size=8",
    "--set=model.options={width: 16, depth: 1, heads: 2, patch: 2, decoder_depth: 1}",
)
BEIT = ("--recipe=beit", *SMALL, "--set=model.options.patch=2")


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Two classes of a dozen."""
    return write_pictures(tmp_path / "labelled", {"ant": 12, "bee": 12})


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A folder of two dozen pictures without classes."""
    return write_pictures(tmp_path, {"plain": 24})


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """A discrete VAE with random weights."""
    torch.manual_seed(0)
    config = DVAEConfig(codes=16, groups=2, blocks=1, width=8, code_width=8, image_size=(8, 8))
    save(
        tmp_path / "tokenizer",
        Checkpoint(catalog.build(config), Preprocess(size=(8, 8), shorter=None), ()),
    )
    return tmp_path / "tokenizer"


def refused(said: Said, words: str) -> None:
    """Said in one line, before anything was written."""
    assert said.code == 2 and said.out == ""
    assert words in said.err and said.err.count("\n") == 1, said.err
    assert not Path("runs").exists()


def test_a_masked_autoencoder_feeds_a_classifier(run: Run, plain: Path, labelled: Path) -> None:
    said = run("train", "plain", *MAE, *SHORT)
    assert said.code == 0, said.err
    assert "24 pictures without labels; 2 of 24 held out by seed 0" in said.err
    assert "best on validation: masked_error " in said.out
    assert "vitreous train plain --from runs/plain --output runs/plain-tuned" in said.out
    tuned = run("train", "labelled", "--from=runs/plain", *SHORT, "--json")
    assert tuned.code == 0, tuned.err
    assert json.loads(tuned.out.splitlines()[-1])["measures"]["accuracy"] >= 0
    predictor = load("runs/labelled", device="cpu")
    assert predictor.classes == ("ant", "bee")
    assert predictor.lineage["from"]["source"] == "runs/plain"
    assert predictor.lineage["from"]["lineage"]["training"]["task"] == "masked_autoencoding"
    assert run("predict", "runs/labelled", "labelled/ant/00.png").code == 0


def test_visual_tokens_feed_a_classifier(run: Run, plain: Path, labelled: Path, tokenizer: Path) -> None:
    said = run("train", "plain", *BEIT, *SHORT, "--set=task.tokenizer=tokenizer")
    assert said.code == 0, said.err
    assert "visual tokens of tokenizer: " in said.err
    assert "best on validation: masked_accuracy " in said.out and "guessing_loss " in said.out
    tuned = run("train", "labelled", "--from=runs/plain", *SHORT)
    assert tuned.code == 0, tuned.err
    assert "mask token and visual-token head of the pretraining is left out" in tuned.err
    pretraining = load("runs/labelled", device="cpu").lineage["from"]["lineage"]
    assert pretraining["training"]["task"] == "visual_tokens"
    assert pretraining["tokenizer"]["source"] == "tokenizer"


def test_pretraining_goes_on_from_pretrained_weights(run: Run, plain: Path) -> None:
    assert run("train", "plain", *MAE, *SHORT).code == 0
    said = run("train", "plain", "--recipe=mae", "--from=runs/plain", *SHORT, "--output=runs/longer")
    assert said.code == 0, said.err
    assert json.loads(Path("runs/longer/config.json").read_text())["model"]["source"] == "runs/plain"


def test_a_model_brings_the_recipe_that_teaches_it(run: Run, plain: Path, labelled: Path) -> None:
    options = "--set=model.options={width: 8, depths: [1, 1], heads: [1, 2], window: 2}"
    said = run("train", "plain", "--model=simmim_swin_tiny", "--set=model.image_size=8", options, *SHORT)
    assert said.code == 0, said.err
    assert "masked_error " in said.out and "guessing_error " in said.out
    tuned = run("train", "labelled", "--from=runs/plain", *SHORT)
    assert tuned.code == 0, tuned.err
    assert (
        load("runs/labelled", device="cpu").lineage["from"]["lineage"]["training"]["task"] == "masked_pixels"
    )


def test_three_pictures_are_refused(run: Run, tmp_path: Path) -> None:
    write_pictures(tmp_path, {"three": 3})
    refused(run("train", "three", *MAE), "3 pictures to learn from without labels; wanted 20 or more")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("task.mask_ratio=0", "must hide some patches and leave some"),
        ("task.mask_ratio=1.0", "must hide some patches and leave some"),
        ("task.mask_ratio=0.01", "hides none of 16 patches"),
        ("task.smallest_block=9", "9 patches, and 6 are hidden"),
        ("task.tokenizer=nothing", "nothing: no such file or directory"),
        ("task.tokenizer=classifier", "family vit makes no visual tokens"),
        ("model.options.visual_tokens=99", "visual_tokens is 99, and the tokenizer tokenizer has 16 tokens"),
        ("augment.mixup=0.5", "mix labels, and visual_tokens has none"),
    ],
)
def test_what_cannot_be_learnt_is_refused(
    run: Run, plain: Path, tokenizer: Path, model: Path, setting: str, words: str
) -> None:
    model.rename("classifier")
    refused(run("train", "plain", *BEIT, "--set=task.tokenizer=tokenizer", f"--set={setting}"), words)


def test_without_a_tokenizer_the_way_to_one_is_told(run: Run, plain: Path) -> None:
    refused(run("train", "plain", *BEIT), "needs a tokenizer; give --set task.tokenizer=SOURCE, or train one")
