"""What BeitForSemanticSegmentation's settings can say, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.parity.case import compare
from tests.parity.cases_upernet import CASES, upernet_twin
from tests.parity.twins import pictures
from vitreous.checkpoints.destination import write_any
from vitreous.checkpoints.source import read_any
from vitreous.errors import CheckpointError, VitreousError
from vitreous.predictor import RegionsAnswer, load

pytest.importorskip("transformers")

VARIANTS: dict[str, dict[str, Any]] = {
    "no auxiliary head": {"use_auxiliary_head": False},
    "auxiliary head of three convolutions": {"auxiliary_num_convs": 3},
    "auxiliary head beside its input": {"auxiliary_concat_input": True},
    "other pools": {"pool_scales": [1, 4]},
    "the embedded patches": {"out_indices": [1, 2, 3, 4]},
    "class token pooling": {"use_mean_pooling": False},
    "positions": {"use_absolute_position_embeddings": True},
    "no LayerScale": {"layer_scale_init_value": 0.0},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants(tmp_path: Path, variant: str) -> None:
    twin = upernet_twin(tmp_path, **VARIANTS[variant])
    model = read_any(tmp_path).model
    assert compare(CASES[0], model, twin.forward, (32, 32)).relative < 1e-4


def test_the_auxiliary_head_says_the_same(tmp_path: Path) -> None:
    twin = upernet_twin(tmp_path, auxiliary_concat_input=True)
    caught: list[torch.Tensor] = []
    twin.model.auxiliary_head.register_forward_hook(lambda _, __, output: caught.append(output))
    images = pictures((32, 48)).float()
    with torch.no_grad():
        twin.forward(images)
        ours = read_any(tmp_path).model(images).auxiliary
    assert torch.allclose(ours, caught[0], atol=1e-4 * caught[0].abs().max().item())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"out_indices": [2, 3]}, "out_indices must name 4 blocks"),
        ({"out_indices": [2, 3, 4, 9]}, "taps are blocks from 0 to 5"),
        ({"pool_scales": 3}, "pool_scales must be a list"),
        ({"pool_scales": [1, 2]}, "decode_head"),
        ({"auxiliary_num_convs": 0}, "auxiliary_num_convs: wanted a positive whole number"),
        ({"auxiliary_channels": 8}, "wanted 8x32x3x3, found 16x32x3x3"),
        ({"model_type": "data2vec-vision"}, "with model_type 'beit'"),
    ],
)
def test_what_does_not_fit_is_an_error(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    upernet_twin(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(values | change))
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_any(tmp_path)
    assert "\n" not in str(caught.value)


def test_every_pixel_is_answered_and_the_whole_picture_is_not(tmp_path: Path) -> None:
    upernet_twin(tmp_path)
    predictor = load(tmp_path, device="cpu")
    assert predictor.classes == ("sky", "tree", "road")
    answer = predictor(Image.new("RGB", (40, 30)))
    assert isinstance(answer, RegionsAnswer) and answer.region.shape == (30, 40)
    with pytest.raises(VitreousError, match="does not say which class a whole picture shows"):
        predictor.answer(predictor.prepare(Image.new("RGB", (40, 30))))


def test_no_other_library_has_a_place_for_it(tmp_path: Path) -> None:
    upernet_twin(tmp_path / "theirs")
    checkpoint = read_any(tmp_path / "theirs")
    with pytest.raises(CheckpointError, match="no class for a model of family 'upernet'"):
        write_any(tmp_path / "there", checkpoint, "timm")
