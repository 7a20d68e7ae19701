"""What the documentation shows is drawn by a file that runs."""

import importlib.util
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vitreous.cli import main
from vitreous.training.fit import fit
from vitreous.training.recipes import detr, digits, segformer

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium to photograph the page with")
def test_the_pictures_of_the_documentation_can_be_drawn_anew(tmp_path: Path) -> None:
    module = _example("pictures")
    run = fit(replace(digits("digits", str(tmp_path / "run")), epochs=1, workers=0))
    module.main(str(run.path), tmp_path / "pictures")
    drawn = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    shown = sorted(path.name for path in (ROOT / "docs" / "pictures").iterdir())
    # Of runs that take minutes (``examples/gallery.py`` and ``found.py`` draw them), and of a benchmark.
    elsewhere = {"gallery.png": "learn.md", "found.jpg": "detect.md", "cost-of-pixels.svg": "detect.md"}
    for name, page in elsewhere.items():
        shown.remove(name)
        assert f"pictures/{name}" in (ROOT / "docs" / page).read_text()
    assert drawn == shown
    for readme in ("README.md", "README.zh-CN.md"):
        text = (ROOT / readme).read_text()
        assert all(f"docs/pictures/{name}" in text for name in shown)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium to photograph the page with")
def test_the_gallery_of_a_pretraining_run_can_be_photographed(tmp_path: Path) -> None:
    settings = ("model.image_size=8", "model.channels=1", "model.options.patch=2", "epochs=1", "workers=0")
    run = tmp_path / "run"
    arguments = ["train", "digits", "--recipe", "mae", "--output", str(run)]
    assert main([*arguments, *(part for setting in settings for part in ("--set", setting))]) == 0
    _example("gallery").main(str(run), tmp_path / "gallery.png")
    picture = Image.open(tmp_path / "gallery.png")
    assert picture.width > 1000 and 300 < picture.height < 500  # two rows of three cards
    assert (tmp_path / "gallery.png").stat().st_size < 150_000


def test_what_was_found_can_be_drawn_anew(tmp_path: Path) -> None:
    runs = []
    for make in (detr, segformer):
        data = "scenes:detection,pictures=16" if make is detr else "scenes:segmentation,pictures=16"
        config = make(data, str(tmp_path / make.__name__))
        runs.append(str(fit(replace(config, epochs=1, workers=0, device="cpu", track="none")).path))
    _example("found").main(*runs, tmp_path / "found.jpg")
    picture = Image.open(tmp_path / "found.jpg")
    assert picture.size == Image.open(ROOT / "docs" / "pictures" / "found.jpg").size


def test_the_two_readmes_have_the_same_shape() -> None:
    english, chinese = ((ROOT / name).read_text().splitlines() for name in ("README.md", "README.zh-CN.md"))
    for mark in ("## ", "```", "| ", "!["):
        counts = [sum(line.startswith(mark) for line in text) for text in (english, chinese)]
        assert counts[0] == counts[1], mark
    fenced = [_commands(text) for text in (english, chinese)]
    assert fenced[0] == fenced[1]


def _example(name: str) -> Any:
    specification = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def _commands(lines: list[str]) -> list[str]:
    """The fenced lines without what is said beside them, which is in the reader's language."""
    inside, found = False, []
    for line in lines:
        if line.startswith("```"):
            inside = not inside
        elif inside:
            found.append(line.split("  ")[0].split(" #")[0].strip())
    return found
