from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vitreous.explain
from vitreous.errors import ConfigError, PictureError
from vitreous.explain.explanation import explain
from vitreous.explain.recording import recording
from vitreous.explain.saliency import relevance
from vitreous.predictor import Predictor

Make = Callable[..., Predictor]


@pytest.mark.parametrize("method", ["relevance", "rollout", "attention"])
def test_heat_lies_on_the_source_with_the_crop_undone(predictor: Make, cat: Image.Image, method: str) -> None:
    guide = predictor()
    found = explain(guide, cat, method)
    assert found.heat.shape == (cat.height, cat.width) and found.heat.dtype == np.float32
    assert found.grid.shape == (4, 4) and found.grid.dtype == np.float32
    assert np.isfinite(found.heat).all()
    # 451 x 300 was resized to 54 x 36 and 32 x 32 cut out of its middle.
    assert (found.heat[:, :80] == 0).all() and (found.heat[:, -80:] == 0).all()
    assert found.heat[:, 100:-100].max() > 0
    answer = guide.answer(guide.prepare(cat))
    assert (found.index, found.label, found.score) == (answer.index, answer.label, answer.score)
    assert found.method == method
    hottest = np.unravel_index(found.grid.argmax(), found.grid.shape)
    across = np.unravel_index(found.heat.argmax(), found.heat.shape)[1]
    left, right = (451 - 451 * 32 / 54) / 2, (451 + 451 * 32 / 54) / 2
    assert abs((across - left) / (right - left) * 4 - (hottest[1] + 0.5)) < 0.6


def test_relevance_is_for_the_asked_class(predictor: Make, cat: Image.Image) -> None:
    guide = predictor()
    view = guide.prepare(cat)
    for target, index in (("dog", 3), (3, 3), ("ant", 0)):
        found = explain(guide, cat, target=target)
        assert (found.index, found.label) == (index, guide.classes[index])
        wanted = relevance(guide.model, view.image[None], index)[0]
        assert np.allclose(found.grid, wanted.numpy(), atol=1e-6)
        assert found.score == pytest.approx(float(guide.answer(view).scores[index]))


def test_attention_of_one_layer_and_head(predictor: Make, cat: Image.Image) -> None:
    guide = predictor(registers=2)
    with torch.inference_mode(), recording(guide.model) as record:
        guide.model(guide.prepare(cat).image[None])
    found = explain(guide, cat, "attention", layer=1, head=2)
    assert (found.layer, found.head) == (1, 2)
    wanted = record.weights(1)[0, 2, 0, 3:].reshape(4, 4)
    assert np.allclose(found.grid, wanted, atol=1e-6)
    mean = explain(guide, cat, "attention")
    assert (mean.layer, mean.head) == (2, None)
    assert np.allclose(mean.grid, record.weights(2)[0, :, 0, 3:].mean(0).reshape(4, 4), atol=1e-6)


def test_the_padded_part_of_the_grid_is_cut_off(predictor: Make) -> None:
    guide = predictor(shorter=None, image_size=(30, 21))
    picture = Image.effect_noise((210, 300), 60).convert("RGB")
    found = explain(guide, picture, "rollout")
    assert found.grid.shape == (4, 3)
    assert found.heat.shape == (300, 210)
    # 8-pixel patches: the centre of the patch in row 0, column 1 is view pixel (4, 12).
    assert found.heat[40, 120] == pytest.approx(found.grid[0, 1], rel=0.05)
    # Column 2 covers view pixels 16..24, of which the picture ends at 21: its centre is still inside.
    assert found.heat[200, 200] == pytest.approx(found.grid[2, 2], rel=0.05)


def test_a_file_and_the_callable_room(predictor: Make, cat: Image.Image, tmp_path: Path) -> None:
    cat.save(tmp_path / "cat.png")
    guide = predictor(pool="mean")
    found = vitreous.explain(guide, tmp_path / "cat.png", "rollout")
    assert np.array_equal(found.heat, explain(guide, cat, "rollout").heat)
    assert "array" not in repr(found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "relevence"}, "unknown method 'relevence'.*did you mean 'relevance'"),
        ({"target": "cet"}, "unknown class 'cet'; did you mean 'cat'"),
        ({"target": "whale"}, "unknown class 'whale'; the model knows 'ant', 'bee'"),
        ({"target": 5}, "no class 5; the model has 5, from 0 to 4"),
        ({"target": -1}, "no class -1"),
        ({"method": "attention", "layer": 3}, "no layer 3; the model has 3 layers, from 0 to 2"),
        ({"method": "attention", "head": 4}, "no head 4; the model has 4 heads, from 0 to 3"),
        ({"method": "rollout", "layer": 0}, "rollout goes through all layers"),
    ],
)
def test_bad_input_is_one_line(
    predictor: Make, cat: Image.Image, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        explain(predictor(), cat, **arguments)
    assert "\n" not in str(caught.value)


def test_a_bad_file_is_named(predictor: Make, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"broken\.png"):
        explain(predictor(), tmp_path / "broken.png")
