"""``inspect`` and ``convert --verify`` on detectors and segmenters of transformers, with as many classes as
COCO (ids from 0 to 90, eleven of which are none) and ADE20K (150) have."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.parity.cases_detr import detr_twin
from tests.parity.cases_segformer import segformer_twin
from tests.parity.cases_yolos import yolos_twin
from vitreous.checkpoints.foreign.class_names import of_objects

pytest.importorskip("transformers")

COCO = dict(enumerate(name.partition(" (")[0] for name in of_objects(91).names))
PLACES = {index: f"place {index}" for index in range(150)}


def build(kind: str, path: Path) -> int:
    """A tiny model with as many classes as published ones; how many."""
    if kind == "segformer":
        segformer_twin(path, id2label=PLACES, reduce_labels=True)
        return len(PLACES)
    (yolos_twin if kind == "yolos" else detr_twin)(path, id2label=COCO)
    return len(COCO)


@pytest.mark.parametrize("kind", ["detr", "yolos", "segformer"])
def test_there_and_back_with_proof(run: Run, tmp_path: Path, kind: str) -> None:
    count = build(kind, tmp_path / "theirs")
    labels = json.loads((tmp_path / "theirs" / "config.json").read_text())["id2label"]
    assert len(labels) == count
    found = json.loads(run("inspect", "theirs", "--json").out)
    assert (found["family"], found["classes"], found["problem"]) == (kind, count, None)
    assert found["loadable"] and found["writable"] == ["vitreous", "transformers"]
    assert found["class_names"] == "id2label in config.json"
    pictures = str(tmp_path / "picture.png")
    picture(pictures)
    for source, to in (("theirs", "vitreous"), ("there_vitreous", "transformers")):
        said = run("convert", source, f"there_{to}", "--to", to, "--verify", "--pictures", pictures)
        assert said.code == 0, said.err
        assert "every bound is kept" in said.out
    again = json.loads((tmp_path / "there_transformers" / "config.json").read_text())["id2label"]
    assert len(set(again.values())) == count
    if kind != "segformer":
        assert again["0"] == "N/A (0)" and again["17"] == "cat" and again["90"] == "toothbrush"


def picture(path: str) -> None:
    """One with an odd size."""
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (97, 130, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def test_what_is_seen_of_a_picture_is_said(run: Run, tmp_path: Path) -> None:
    build("yolos", tmp_path / "theirs")
    said = run("inspect", "theirs").out
    assert "shorter side to 48, longer one at most 96, bilinear; nothing is cut off" in said
    assert "sides down to multiples of 16" in said
    assert "91: N/A (0), person, bicycle" in said
