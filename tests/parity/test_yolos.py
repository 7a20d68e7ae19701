"""What YolosForObjectDetection's settings can say, what is refused, and its loss."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.parity.case import compare
from tests.parity.cases_yolos import CASES, from_transformers, yolos_twin
from vitreous.checkpoints.conversion import convert, open_origin
from vitreous.checkpoints.destination import write_any
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.source import read_any
from vitreous.data.batch import Labelled, Target
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError
from vitreous.models.catalog import build, configure
from vitreous.tasks.detection import Detection

pytest.importorskip("transformers")

VARIANTS: dict[str, dict[str, Any]] = {
    "no bias of queries": {"qkv_bias": False},
    "another activation": {"hidden_act": "gelu_pytorch_tanh"},
    "another epsilon": {"layer_norm_eps": 1e-5},
    "one block, so that nothing is between": {"num_hidden_layers": 1, "use_mid_position_embeddings": False},
    "a side that is no multiple of the patch": {"use_mid_position_embeddings": False, "image_size": [50, 71]},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_there_and_back(tmp_path: Path, variant: str) -> None:
    twin = yolos_twin(tmp_path / "theirs", **VARIANTS[variant])
    checkpoint = read_any(tmp_path / "theirs")
    assert compare(CASES[0], checkpoint.model, twin.forward, (56, 80)).relative < 1e-4
    write_any(tmp_path / "again", checkpoint, "transformers")
    _, forward = from_transformers(tmp_path / "again")
    assert compare(CASES[0], checkpoint.model, forward, (56, 80)).relative < 1e-4


def test_preprocessing_classes_and_costs_come_along(tmp_path: Path) -> None:
    yolos_twin(tmp_path, id2label={0: "N/A", 1: "cat", 2: "N/A"}, bbox_cost=7)
    checkpoint = read_any(tmp_path)
    assert checkpoint.classes == ("N/A (0)", "cat", "N/A (2)")
    prepare = checkpoint.preprocess
    assert (prepare.shorter, prepare.longest, prepare.multiple) == (48, 96, 16)
    assert prepare.placement((427, 640)).view == (48, 64)
    write_any(tmp_path / "again", checkpoint, "transformers")
    values = json.loads((tmp_path / "again" / "preprocessor_config.json").read_text())
    assert values["image_processor_type"] == "YolosImageProcessor"
    assert values["size"] == {"shortest_edge": 48, "longest_edge": 96}
    assert json.loads((tmp_path / "again" / "config.json").read_text())["bbox_cost"] == 7


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model_type": "vit"}, "only 'yolos' is read"),
        ({"hidden_act": "relu"}, "hidden_act 'relu' is not known"),
        ({"image_size": [64, 64]}, "position_embeddings of 1x72x32 .*but the weights have 1x56x32"),
        ({"num_hidden_layers": 5}, "mid_position_embeddings of 4x1x56x32 .*but the weights have 2x1x56x32"),
        ({"patch_size": 16}, "patch_size 16x16, but the weights have 8"),
        ({"use_mid_position_embeddings": False}, "1 tensors that transformers's yolos does not explain"),
    ],
)
def test_what_does_not_fit_is_an_error(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    yolos_twin(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(values | change))
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_any(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"positions": "sincos2d"}, "no learned position for each token"),
        ({"layer_scale": 0.1}, "it has LayerScale"),
        ({"registers": 2}, "2 register tokens"),
        ({"class_token": False}, "it has no class token"),
    ],
)
def test_what_the_class_has_no_place_for_is_not_written(
    tmp_path: Path, options: dict[str, Any], reason: str
) -> None:
    config = configure("yolos_tiny", classes=2, options=options)
    checkpoint = Checkpoint(build(config), Preprocess(size=(64, 64), shorter=None), ("a", "b"))
    with pytest.raises(CheckpointError, match=reason):
        write_any(tmp_path, checkpoint, "transformers")


def test_ours_goes_there(tmp_path: Path) -> None:
    config = configure("yolos_tiny", classes=2, options={"positions_between": True})
    whole = Preprocess(size=(64, 64), shorter=None, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    write_any(tmp_path, Checkpoint(build(config).eval(), whole, ("a", "b")), "transformers")
    again = read_any(tmp_path)
    assert again.preprocess == whole and again.classes == ("a", "b")
    _, forward = from_transformers(tmp_path)
    assert compare(CASES[0], again.model, forward, (64, 64)).relative < 1e-4


def test_the_loss_is_that_of_transformers(tmp_path: Path) -> None:
    twin = yolos_twin(tmp_path)
    model = read_any(tmp_path).model
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(3, 3, 48, 64, generator=generator)
    targets = tuple(
        Target(
            0.2 + 0.5 * torch.rand(count, 4, generator=generator),
            torch.randint(3, (count,), generator=generator),
            None,
            None,
            torch.tensor([48, 64]),
        )
        for count in (2, 0, 4)
    )
    labels = [{"class_labels": target.labels, "boxes": target.boxes} for target in targets]
    with torch.no_grad():
        theirs = twin.model(images, labels=labels)
        loss = Detection().loss(model, Labelled(images, torch.zeros(3), torch.arange(3), targets=targets))
    assert loss.total.item() == pytest.approx(theirs.loss.item(), rel=1e-5)
    for ours, name in (("classes", "loss_ce"), ("boxes", "loss_bbox"), ("overlap", "loss_giou")):
        assert loss.parts[ours].item() == pytest.approx(theirs.loss_dict[name].item(), rel=1e-5)


@pytest.mark.parametrize("size", [(427, 640), (640, 427), (48, 48), (300, 1000), (1000, 202)])
def test_views_are_as_large_as_theirs(tmp_path: Path, size: tuple[int, int]) -> None:
    from transformers import AutoImageProcessor

    yolos_twin(tmp_path)
    picture = Image.new("RGB", size[::-1], (40, 90, 200))
    theirs = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")(picture, return_tensors="pt")
    assert read_any(tmp_path).preprocess(picture).image.shape == theirs["pixel_values"][0].shape


def test_another_library_has_no_class_for_it(tmp_path: Path) -> None:
    yolos_twin(tmp_path / "theirs")
    with pytest.raises(CheckpointError, match="timm has no class for"):
        convert(open_origin(str(tmp_path / "theirs")), tmp_path / "there", "timm", prove=None)
