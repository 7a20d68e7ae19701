"""A tokenizer from the command line: trained on any pictures, told of, and refused where it says nothing."""

import json
from pathlib import Path

import pytest
import torch

from tests.cli.conftest import Run, write_pictures
from vitreous.checkpoints.file import Checkpoint, save
from vitreous.data.preprocess import Preprocess
from vitreous.models import catalog

SMALL = (
    *("--set", "model.image_size=8", "--set", "model.options={width: 8, codes: 16, groups: 2, blocks: 1}"),
    *("--set", "epochs=2", "--set", "batch_size=8", "--set", "workers=0", "--set", "evaluate_every=1"),
    *("--set", "device=cpu"),
)


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """A dVAE with random weights."""
    torch.manual_seed(0)
    config = catalog.configure("dvae_tiny", image_size=16, options={"width": 8, "codes": 16})
    checkpoint = Checkpoint(catalog.build(config), Preprocess(size=(16, 16), shorter=None), ())
    save(tmp_path / "tokenizer", checkpoint)
    return tmp_path / "tokenizer"


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Enough pictures to learn from."""
    return write_pictures(tmp_path / "many", {"ant": 14, "bee": 14})


@pytest.mark.parametrize("labelled", [True, False])
def test_it_is_trained_on_any_pictures(run: Run, many: Path, labelled: bool, tmp_path: Path) -> None:
    pictures = many
    if not labelled:
        (tmp_path / "flat").mkdir()
        for number, path in enumerate(sorted(many.rglob("*.png"))):
            path.rename(tmp_path / "flat" / f"{number}.png")
        pictures = tmp_path / "flat"
    said = run("train", pictures, "--recipe", "tokenizer", "--output", "run", *SMALL)
    assert said.code == 0, said.err
    assert "best on validation: painted_error " in said.out and "code_perplexity " in said.out
    assert "--recipe beit --set task.tokenizer=run --output run-beit" in said.out
    row = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[-1])
    assert {"painted_error", "code_perplexity", "codes_used"} <= set(row)
    told = run("inspect", "run")
    assert told.code == 0
    assert "16 codes, a grid of 4x4, one for 2x2 pixels (stride 2)" in told.out
    assert "2 groups of 1 blocks, width 8" in told.out and "paints pixels" in told.out
    assert json.loads(run("inspect", "run", "--json").out)["codes"] == 16


def test_the_model_says_the_recipe(run: Run, many: Path) -> None:
    said = run("train", many, "--model", "dvae_tiny", "--output", "run", *SMALL)
    assert said.code == 0, said.err
    assert json.loads(Path("run/config.json").read_text())["task"]["kind"] == "tokenizer"


def test_a_distribution_is_painted_of_pixels_that_are_mapped_for_it(run: Run, many: Path) -> None:
    paints = ("--set", "model.options.paints=logit_laplace")
    said = run("train", many, "--recipe", "tokenizer", "--output", "run", *SMALL, *paints)
    assert said.code == 0, said.err
    told = run("inspect", "run").out
    assert "paints a distribution of each pixel (logit-Laplace)" in told
    assert "mean -0.125 -0.125 -0.125; std 1.25 1.25 1.25" in told
    wrong = ("--set", "mean=[0.5,0.5,0.5]", "--set", "std=[0.5,0.5,0.5]")
    said = run("train", many, "--recipe", "tokenizer", "--output", "other", *SMALL, *paints, *wrong)
    assert said.code == 2 and "normalised to between 0 and 1, got from -1 to 1; leave out mean" in said.err
    assert not Path("other").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--set", "task.temperature=[1.0, 0.0]"), "task.temperature must be above 0"),
        (("--set", "task.temperature=1.0"), "task.temperature: wanted"),
        (("--set", "task.divergence=-1"), "task.divergence must be 0 or more"),
        (("--set", "task.temprature=[1, 1]"), "unknown key 'task.temprature'; did you mean 'temperature'"),
        (("--set", "model.options={decoder: false}"), "this one has no decoder"),
        (("--set", "model.options={paints: oil}"), "wanted one of pixels, logit_laplace; got 'oil'"),
        (("--set", "model.options={groups: 9}"), "groups must be 8 or fewer, got 9"),
        (("--set", "model.image_size=2"), "2x2 pixels are smaller than a token's square of 4x4"),
        (("--model", "vit_tiny"), "tokenizer teaches models of the family dvae, got one of vit"),
        (("--set", "augment.mixup=0.2"), "mix labels, and tokenizer has none"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    run: Run, pictures: Path, arguments: tuple[str, ...], says: str
) -> None:
    said = run("train", pictures, "--recipe", "tokenizer", "--output", "run", *arguments)
    assert said.code == 2 and says in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert not Path("run/metrics.jsonl").exists()


def test_three_pictures_are_refused(run: Run, tmp_path: Path, pictures: Path) -> None:
    (tmp_path / "few").mkdir()
    for number, path in enumerate(sorted(pictures.rglob("*.png"))[:3]):
        path.rename(tmp_path / "few" / f"{number}.png")
    said = run("train", "few", "--recipe", "tokenizer", "--output", "run")
    assert said.code == 2 and "3 pictures to learn from without labels; wanted 20 or more" in said.err


def test_a_tokenizer_answers_no_question_about_classes(run: Run, tokenizer: Path, pictures: Path) -> None:
    picture = next(pictures.rglob("*.png"))
    for verb, argument in (("predict", picture), ("explain", picture), ("evaluate", pictures)):
        said = run(verb, tokenizer, argument)
        assert said.code == 2 and len(said.err.strip().splitlines()) == 1, verb
    said = run("train", pictures, "--from", tokenizer, "--output", "run")
    assert said.code == 2 and "--recipe beit --set task.tokenizer=SOURCE" in said.err


def test_its_layouts(run: Run, tokenizer: Path) -> None:
    assert "dall_e" in run("inspect", tokenizer).out
    said = run("convert", tokenizer, "there", "--to", "dall_e")
    assert said.code == 2 and "it has 3 groups of blocks, there it is 4" in said.err
    assert "dall_e" not in run("inspect", "model").out  # what is for one family is no news to another


def test_the_catalog_lists_it(run: Run) -> None:
    rows = json.loads(run("models", "dvae*", "--json").out)
    assert [row["name"] for row in rows] == ["dvae_tiny", "dvae"]
    assert rows[1]["tokens"] == 196 and rows[1]["attention_share"] == 0
    assert run("models", "dvae", "--costs").code == 0
    said = run("models", "dvae", "--patch", "8")
    assert said.code == 2 and "is cut into patches" in said.err
