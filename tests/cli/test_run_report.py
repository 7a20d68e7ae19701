"""The report that a run leaves: for every kind of learning, and never at the cost of the run."""

import json
import re
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Run, Said

MAE = (
    *("--recipe", "mae", "--set", "model.image_size=8", "--set", "epochs=2", "--set", "evaluate_every=1"),
    *("--set", "model.options={width: 16, depth: 1, heads: 2, patch: 2, normalised_targets: true}"),
    *("--set", "batch_size=16", "--set", "workers=0"),
)
HOSTILE = "<b>a&b.png"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Forty pictures without labels, one of them called as no page should believe it."""
    folder, generator = tmp_path / "photos", np.random.default_rng(0)
    folder.mkdir()
    for number in range(40):
        name = HOSTILE if number == 7 else f"{number:02d}.png"
        Image.fromarray(generator.integers(0, 256, (12, 10, 3), dtype=np.uint8)).save(folder / name)
    return folder


def pretrain(run: Run, *arguments: object) -> Said:
    return run("train", "photos", *MAE, *arguments)


def test_pretraining_leaves_a_page_with_a_gallery(run: Run, photos: Path) -> None:
    said = pretrain(run, "--output", "seen")
    assert said.code == 0, said.err
    assert "wrote seen, to look at: seen/report.html; go on with:" in said.out
    page = Path("seen/report.html").read_text("utf-8")
    assert "A masked autoencoder on photos" in page
    assert page.count("<figure") == 4 and page.count("<img") == 12  # a tenth of forty is held out
    assert "its true mean and contrast" in page
    for words in ("Effective rank", "masked error", "before training", "vitreous train photos --from seen"):
        assert words in page, words
    assert "masked_autoencoding" in page and "after step" in page
    assert HOSTILE not in page and len(page) < 3_000_000


def test_the_same_run_has_the_same_page_but_for_its_time(run: Run, photos: Path) -> None:
    pages = []
    for name in ("first-run", "second-run"):
        pretrain(run, "--output", name)
        page = Path(name, "report.html").read_text("utf-8").replace(name, "the-run")
        pages.append(re.sub(r"<b>\d+ s</b>", "", page))
    assert pages[0] == pages[1]


def test_learning_from_labels_leaves_curves(run: Run, pictures: Path) -> None:
    said = run(
        *("train", "pictures", "--model", "vit_tiny", "--set", "model.image_size=8", "--output", "there"),
        *(
            "--set",
            "model.options={width: 16, depth: 1, heads: 2}",
            "--set",
            "epochs=2",
            "--set",
            "workers=0",
        ),
        *("--set", "batch_size=4", "--json"),
    )
    assert said.code == 0, said.err
    assert json.loads(said.out.splitlines()[-1])["report"] == "there/report.html"
    page = Path("there/report.html").read_text("utf-8")
    for words in ("A classifier on pictures", "validation loss", "vitreous evaluate there pictures"):
        assert words in page, words
    assert "What it makes of pictures" not in page and "<img" not in page


def test_collapse_is_on_the_page(run: Run, photos: Path) -> None:
    said = pretrain(
        run,
        *("--output", "bad", "--set", "epochs=15", "--set", "optimizer.learning_rate=0.01"),
        *("--set", "optimizer.weight_decay=50", "--set", "optimizer.warmup=0"),
    )
    assert said.code == 0, said.err
    assert "collapse: the features of all pictures are the same" in said.err
    page = Path("bad/report.html").read_text("utf-8")
    assert "What went wrong" in page and "After epoch 15, collapse: the features" in page


def test_a_page_that_cannot_be_written_costs_no_run(run: Run, photos: Path) -> None:
    assert pretrain(run, "--output", "mine").code == 0
    copytree("mine", "copy")
    Path("copy/report.html").write_text("my own notes")
    said = run("train", "--resume", "--output", "copy")
    assert said.code == 0
    assert "no report was written: copy/report.html: vitreous did not make this file" in said.err
    assert Path("copy/report.html").read_text() == "my own notes"
    assert "to look at" not in said.out and "wrote copy; go on with:" in said.out
    assert run("train", "--resume", "--output", "mine").code == 0  # its own page is written anew
    page = Path("mine/report.html").read_text("utf-8")
    assert "training time" not in page and page.count("<figure") == 4
