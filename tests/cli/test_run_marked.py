"""The page of a run that learnt to find objects, or the class of each pixel."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.marked import SHAPES
from vitreous.cli.run_marked import look_at
from vitreous.cli.run_report import write_report
from vitreous.cli.train import _recipe_with
from vitreous.data.folder import read_data
from vitreous.predictor import load
from vitreous.tasks.config import DetectionConfig, SegmentationConfig, TaskConfig
from vitreous.training.config import ModelChoice, TrainConfig, with_settings
from vitreous.training.fit import Run, fit
from vitreous.training.recipes import configured

PARTS = {"train": 12, "val": 6}


def write_objects(root: Path) -> Path:
    """Scenes as COCO writes them, in two parts."""
    test = read_data("scenes:detection").test
    assert test is not None
    samples = iter(test.samples)
    for part, count in PARTS.items():
        (root / part).mkdir(parents=True)
        images, annotations = [], []
        for number in range(count):
            sample = next(samples)
            sample.open().save(root / part / f"{number}.png")
            images.append({"id": number, "file_name": f"{number}.png", "width": 64, "height": 64})
            objects = sample.held_objects()
            assert objects is not None
            for box, label in zip(objects.boxes.tolist(), objects.labels.tolist(), strict=True):
                left, top, right, bottom = box
                size = [left, top, right - left, bottom - top]
                annotations.append(
                    {"id": len(annotations) + 1, "image_id": number, "bbox": size, "category_id": label}
                )
        told = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for number, name in enumerate(SHAPES)],
        }
        (root / part / "annotations.json").write_text(json.dumps(told))
    return root


def write_regions(root: Path) -> Path:
    """Scenes as pictures and masks, in two parts."""
    test = read_data("scenes:segmentation").test
    assert test is not None
    samples = iter(test.samples)
    for part, count in PARTS.items():
        for folder in ("images", "masks"):
            (root / folder / part).mkdir(parents=True)
        for number in range(count):
            sample = next(samples)
            sample.open().save(root / "images" / part / f"{number}.png")
            Image.fromarray(np.asarray(sample.held_region())).save(root / "masks" / part / f"{number}.png")
    (root / "classes.txt").write_text("\n".join(("background", *SHAPES)))
    return root


def learnt(data: Path, output: Path, name: str, task: TaskConfig) -> tuple[Run, TrainConfig]:
    config = TrainConfig(
        data=str(data),
        output=str(output),
        model=ModelChoice(name=name, image_size=64),
        task=task,
        epochs=2,
        batch_size=6,
        workers=0,
        threads=1,
        device="cpu",
        track="none",
    )
    return fit(config), config


@pytest.fixture(scope="module")
def detected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, TrainConfig]:
    root = tmp_path_factory.mktemp("detected")
    return learnt(write_objects(root / "shapes"), root / "run", "detr_vit_tiny", DetectionConfig())


@pytest.fixture(scope="module")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, TrainConfig]:
    root = tmp_path_factory.mktemp("segmented")
    return learnt(write_regions(root / "shapes"), root / "run", "segformer_tiny", SegmentationConfig())


def test_the_page_of_a_detector(detected: tuple[Run, TrainConfig]) -> None:
    run, config = detected
    page = write_report(run, config, ["vitreous evaluate RUN DATA"], resumed=False).read_text("utf-8")
    looked = look_at(run, config)
    assert looked.result is not None and looked.result["n"] == looked.pictures == looked.of == 6
    assert "A detector on shapes" in page and "The 6 validation pictures, judged with the best" in page
    for words in ("Average precision", "AP, overlaps 0.50 to 0.95", "Its mistakes", "truth", "answer"):
        assert words in page, words
    drawn = sum(len(section.pairs) for section in looked.sections)
    assert drawn and page.count("<figure") == drawn and page.count("<img") == 2 * drawn
    assert page.count(">ap50<") and "http" not in page.replace("http://www.w3.org/2000/svg", "").replace(
        "http-equiv", ""
    )


def test_the_page_of_a_segmenter(segmented: tuple[Run, TrainConfig]) -> None:
    run, config = segmented
    page = write_report(run, config, [], resumed=False).read_text("utf-8")
    assert "A model for the class of each pixel on shapes" in page
    for words in ("Intersection over union", "boundary IoU", "Worst", "Best", "mean iou"):
        assert words in page, words
    looked = look_at(run, config)
    assert looked.result is not None and looked.warning is None
    assert f"{looked.result['boundary_iou']:.1%}" in page


def test_of_many_held_out_pictures_some_are_judged(
    segmented: tuple[Run, TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitreous.cli.run_marked.PICTURES", 3)
    run, config = segmented
    looked = look_at(run, config)
    assert looked.result is not None
    assert (looked.result["n"], looked.pictures, looked.of) == (3, 3, 6)
    page = write_report(run, config, [], resumed=False).read_text("utf-8")
    assert "3 of 6 validation pictures, evenly chosen" in page


def test_without_the_package_there_are_pictures_still(
    detected: tuple[Run, TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    run, config = detected
    looked = look_at(run, config)
    assert looked.result is None and looked.sections
    page = write_report(run, config, [], resumed=False).read_text("utf-8")
    assert "The figures of COCO were not computed: faster-coco-eval is not installed" in page
    assert "<figure" in page and "AP of small objects" not in page


def test_what_cannot_be_judged_costs_no_page(segmented: tuple[Run, TrainConfig]) -> None:
    run, config = segmented
    for mask in (Path(config.data) / "masks/val").iterdir():
        mask.write_bytes(b"")
    page = write_report(run, config, [], resumed=False).read_text("utf-8")
    assert "Held-out pictures could not be judged: " in page
    assert "Intersection over union" in page, "the curves are there still"


@pytest.mark.parametrize(
    ("of", "data", "recipe"),
    [("detected", "scenes:detection", "detr"), ("segmented", "scenes:segmentation", "segformer")],
)
def test_without_a_recipe_weights_say_what_is_learnt(
    of: str, data: str, recipe: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = request.getfixturevalue(of)
    assert _recipe_with(data, str(run.path)) == recipe
    # Where the weights are of a classifier, the data does.
    monkeypatch.setattr("vitreous.cli.source_kind.wanted_by", lambda source: None)
    assert _recipe_with(data, "somebody's") == recipe
    assert _recipe_with("digits", "somebody's") is None


def test_a_detector_is_gone_on_with(detected: tuple[Run, TrainConfig], tmp_path: Path) -> None:
    run, config = detected
    further = configured(config.data, str(tmp_path / "further"), "detr", source=str(run.path))
    settings = ("epochs=1", "batch_size=6", "workers=0", "device=cpu", "track=none")
    notes: list[str] = []
    fit(
        with_settings(further, settings),
        watch=lambda moment: notes.append(str(moment.values.get("text", ""))),
    )
    assert any("the weights go on as the detr that they are" in note for note in notes)
    assert load(tmp_path / "further", device="cpu").model.config == load(run.path, device="cpu").model.config
