"""``vitreous predict`` with a segmenter: lines, JSON, maps, windows."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vitreous
from tests.cli.conftest import Run
from vitreous.data.annotation import Rle
from vitreous.data.drawing import colour_of
from vitreous.data.mask_file import mask_values
from vitreous.data.preprocess import Preprocess
from vitreous.predictor import Predictor, RegionsAnswer, load, save

NAMES = ["pictures/ant/00.png", "pictures/bee/01.png"]


def write_segmenter(path: Path, classes: int) -> Path:
    torch.manual_seed(0)
    model = vitreous.create("segformer_tiny", classes=classes)
    with torch.no_grad():
        model.head.classify.weight.normal_(0, 1)
    names = tuple(f"class {number}" for number in range(classes))
    save(Predictor(model, Preprocess(size=(64, 64), shorter=None), names, device="cpu"), path)
    return path


@pytest.fixture
def segmenter(tmp_path: Path) -> Path:
    return write_segmenter(tmp_path / "segmenter", 4)


def answer_of(segmenter: Path, name: str, window: int | None = None) -> RegionsAnswer:
    answer = load(segmenter, device="cpu")(name, window=window)
    assert isinstance(answer, RegionsAnswer)
    return answer


def test_a_line_has_the_share_of_one_class(run: Run, segmenter: Path, pictures: Path) -> None:
    said = run("predict", segmenter, *NAMES)
    assert (said.code, said.err) == (0, "")
    assert said.rows[0] == ["share", "class", "picture"]
    assert [row[-1] for row in said.rows[1:]] == sorted(row[-1] for row in said.rows[1:])
    for name in NAMES:
        region = answer_of(segmenter, name).region
        counts = np.bincount(region.ravel(), minlength=4)
        rows = [row for row in said.rows if row[-1] == name]
        assert {row[2]: row[0] for row in rows} == {
            str(number): f"{100 * count / region.size:.2f}%" for number, count in enumerate(counts) if count
        }


@pytest.mark.parametrize("window", [None, 32])
def test_json_has_shares_and_masks_that_make_the_map_again(
    run: Run, segmenter: Path, pictures: Path, window: int | None
) -> None:
    Image.fromarray(np.random.default_rng(5).integers(0, 256, (90, 70, 3), dtype=np.uint8)).save("large.png")
    given = [] if window is None else ["--window", str(window)]
    said = run("predict", segmenter, "large.png", "--json", "--masks", *given)
    assert (said.code, said.err) == (0, "")
    found = json.loads(said.out)
    assert (found["width"], found["height"]) == (70, 90)
    region = np.full((90, 70), 255)
    for one in found["regions"]:
        mask = Rle(tuple(one["mask"]["size"]), one["mask"]["counts"].encode()).decode()
        assert mask.mean() == pytest.approx(one["share"])
        region[mask] = one["index"]
        assert one["label"] == f"class {one['index']}"
    assert np.array_equal(region, answer_of(segmenter, "large.png", window).region)
    plain = json.loads(run("predict", segmenter, "large.png", "--json", *given).out)
    assert all(set(one) == {"label", "index", "share"} for one in plain["regions"])


def test_maps_are_lossless_and_have_the_classes_colours(run: Run, segmenter: Path, pictures: Path) -> None:
    said = run("predict", segmenter, "pictures/ant/00.png", "pictures/bee/00.png", "--output", "maps")
    assert said.code == 0
    assert sorted(path.name for path in Path("maps").iterdir()) == [
        "00-2.index.png", "00-2.png", "00.index.png", "00.png",
    ]  # fmt: skip
    region = answer_of(segmenter, "pictures/bee/00.png").region
    assert np.array_equal(mask_values(Path("maps/00-2.index.png"), "map"), region)
    with Image.open("maps/00-2.index.png") as image:
        shown = np.asarray(image.convert("RGB"))
    assert tuple(shown[3, 4].tolist()) == colour_of(int(region[3, 4]))
    with Image.open("maps/00-2.png") as image:
        assert image.mode == "RGB" and max(image.size) >= 480


def test_maps_of_many_classes_have_16_bits(run: Run, tmp_path: Path, pictures: Path) -> None:
    many = write_segmenter(tmp_path / "many", 300)
    assert run("predict", many, NAMES[0], "--output", "maps").code == 0
    values = mask_values(Path("maps/00.index.png"), "map")
    assert values.dtype == np.uint16
    assert np.array_equal(values, answer_of(many, NAMES[0]).region)


def test_coco_results_are_masks(run: Run, segmenter: Path, pictures: Path) -> None:
    tools = pytest.importorskip("faster_coco_eval")
    assert run("predict", segmenter, *NAMES, "--output", "found.json").code == 0
    found = tools.COCO("found.images.json").loadRes("found.json")
    for number, name in enumerate(NAMES, start=1):
        region = answer_of(segmenter, name).region
        for row in found.imgToAnns[number]:
            mask = found.annToMask(row).astype(bool)
            assert np.array_equal(mask, region == row["category_id"])
            assert row["area"] == mask.sum()


def test_a_bad_file_is_passed_over_and_has_no_map(run: Run, segmenter: Path, pictures: Path) -> None:
    (pictures / "ant" / "02.png").write_bytes(b"no picture")
    said = run("predict", segmenter, "pictures/ant", "--output", "maps")
    assert said.code == 1
    assert said.err.splitlines()[-1] == "vitreous: 1 of 6 pictures could not be read"
    assert {path.name for path in Path("maps").glob("*.index.png")} == {
        f"{number:02d}.index.png" for number in (0, 1, 3, 4, 5)
    }


def test_what_does_not_fit_is_refused_in_one_line(run: Run, segmenter: Path, pictures: Path) -> None:
    for arguments in (["--top", "2"], ["--threshold", "0.2"]):
        said = run("predict", "segmenter", NAMES[0], *arguments)
        assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
        assert f"{arguments[0]} is for a model that" in said.err
        assert "segmenter tells the class of each pixel" in said.err
