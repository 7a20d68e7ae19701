"""``vitreous patches``: the figure as SVG and PNG, and files that must not be lost."""

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.conftest import Run


def test_the_figure_is_written_as_its_suffix_says(run: Run, pictures: Path) -> None:
    said = run("patches", "pictures/ant/00.png")
    assert (said.code, said.out, said.err) == (0, "wrote patches.svg\n", "")
    assert "<svg" in Path("patches.svg").read_text()
    assert run("patches", "pictures/ant/00.png", "--output", "figures/cat.png").code == 0
    with Image.open("figures/cat.png") as picture:
        assert picture.format == "PNG"


def test_json_counts_the_patches(run: Run, pictures: Path) -> None:
    said = run("patches", "pictures/ant/00.png", "--size", "64x100", "--patch", "32", "--json")
    wanted = {"output": "patches.svg", "patch": 32, "rows": 2, "cols": 4, "patches": 8}
    assert json.loads(said.out) == wanted


def test_an_old_figure_is_replaced(run: Run, pictures: Path) -> None:
    assert run("patches", "pictures/ant/00.png").code == 0
    first = Path("patches.svg").read_text()
    assert run("patches", "pictures/ant/00.png", "--patch", "32").code == 0
    assert Path("patches.svg").read_text() != first
    assert [path.name for path in Path().glob(".patches*")] == []


@pytest.mark.parametrize("name", ["pictures/ant/01.png", "drawing.svg"])
def test_what_somebody_else_made_is_never_replaced(run: Run, pictures: Path, name: str) -> None:
    Path("drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    before = Path(name).read_bytes()
    said = run("patches", "pictures/ant/00.png", "--output", name)
    assert said.code == 2
    assert "did not make this file" in said.err
    assert Path(name).read_bytes() == before


def test_a_size_that_no_figure_can_show_is_refused(run: Run, pictures: Path) -> None:
    said = run("patches", "pictures/ant/00.png", "--size", "100000")
    assert (said.code, "at most 4096x4096" in said.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (
            ["pictures/ant/00.png", "--output", "pictures/ant/00.png"],
            "the picture itself would be overwritten",
        ),
        (
            ["pictures/ant/00.png", "--output", "weights.safetensors"],
            "wanted a name that ends in .svg or .png",
        ),
        (["pictures/ant/00.png", "--output", "folder.svg"], "a folder"),
        (["pictures/ant/00.png", "--size", "64", "--patch", "65"], "larger than the picture"),
        (["pictures/ant/00.png", "--size", "64,32"], "wanted one size"),
        (["pictures/ant/00.png", "--patch", "0"], "--patch"),
        (["missing.png"], "missing.png: no such file"),
        (["pictures"], "pictures: a folder, not a picture"),
    ],
)
def test_bad_arguments_lose_nothing(run: Run, pictures: Path, arguments: list[str], wanted: str) -> None:
    Path("folder.svg").mkdir()
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    said = run("patches", *arguments)
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert wanted in said.err
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
