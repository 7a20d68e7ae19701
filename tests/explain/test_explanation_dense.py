"""``explain`` for detectors and segmenters: one call from a picture to a map in its own pixels."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

import vitreous
from vitreous.errors import ConfigError, InputError
from vitreous.explain.explained import METHODS
from vitreous.explain.explanation import NotFound, explain
from vitreous.explain.regions import at_place, look_for_regions

from .dense_models import CLASSES, DETECTORS, SEGMENTERS, dense, predictor_of


@pytest.mark.parametrize("method", METHODS["objects"])
@pytest.mark.parametrize("name", DETECTORS)
def test_an_object_is_explained_in_source_pixels(name: str, method: str, cat: Image.Image) -> None:
    guide = predictor_of(dense(name), shorter=64)
    found = explain(guide, cat, method, target=3, threshold=0.0)
    assert found.heat.shape == (300, 451) and found.heat.dtype == np.float32
    assert found.number == 3 and found.method == method and found.way and found.at is None
    # What the crop left out has no heat.
    assert (found.heat[:, :70] == 0).all() and found.heat.max() > 0 and np.isfinite(found.heat).all()
    answer = guide(cat, threshold=0.0)
    assert found.label == answer.labels[3] and found.index == answer.indices[3]
    assert found.score == pytest.approx(float(answer.scores[3]), abs=1e-5)
    assert found.box == pytest.approx(answer.boxes[3].tolist(), abs=0.05)
    assert (found.layer is not None) == (method == "attention")


def test_the_decoders_layers_and_heads_can_be_asked_for(cat: Image.Image) -> None:
    guide = predictor_of(dense("detr_vit_tiny"))
    whole = explain(guide, cat, "attention", threshold=0.0, layer=1)
    heads = [explain(guide, cat, "attention", threshold=0.0, layer=1, head=head).grid for head in range(8)]
    assert np.allclose(whole.grid, np.mean(heads, axis=0), atol=1e-6)
    assert float(whole.grid.sum()) == pytest.approx(1, abs=1e-5)
    with pytest.raises(ConfigError, match="no layer 3; the model has 3 layers"):
        explain(guide, cat, "attention", threshold=0.0, layer=3)
    with pytest.raises(ConfigError, match="no head 8; the model has 8 heads"):
        explain(guide, cat, "attention", threshold=0.0, head=8)


@pytest.mark.parametrize("method", METHODS["regions"])
@pytest.mark.parametrize("name", SEGMENTERS)
def test_a_place_and_a_region_are_explained(name: str, method: str, cat: Image.Image) -> None:
    guide = predictor_of(dense(name))
    here = vitreous.explain(guide, cat, method, at=(120, 40))
    looked = look_for_regions(guide.model, guide.prepare(cat).image[None])
    asked = at_place(looked, (120.5 / 451, 40.5 / 300))
    assert (here.index, here.label, here.at) == (asked.index, CLASSES[asked.index], (120, 40))
    assert here.score == pytest.approx(asked.score, abs=1e-5)
    assert here.heat.shape == (300, 451) and np.isfinite(here.heat).all()
    other = (asked.index + 1) % 5
    why_not = explain(guide, cat, method, target=CLASSES[other], at=(120, 40))
    assert why_not.index == other and not np.array_equal(why_not.heat, here.heat)
    region = explain(guide, cat, method)
    shown = guide(cat).shown()
    assert region.at is None and region.index == shown[0] and region.heat.max() > 0


@pytest.mark.parametrize(
    ("name", "asked", "kind", "said"),
    [
        ("detr_vit_tiny", {"method": "rollout"}, ConfigError, "wanted relevance, attention or gradient"),
        ("detr_vit_tiny", {"method": "gradiant"}, ConfigError, "did you mean 'gradient'"),
        ("detr_vit_tiny", {"threshold": 1.0}, NotFound, "nothing was found above 1; the surest is"),
        ("detr_vit_tiny", {"at": (451, 0)}, ConfigError, "the point 451,0 is outside the picture"),
        ("detr_vit_tiny", {"layer": 1}, ConfigError, "layer and head are for 'attention'"),
        ("segformer_tiny", {"at": (-1, 0)}, ConfigError, "wanted x from 0 to 450 and y from 0 to 299"),
        ("segformer_tiny", {"at": (float("nan"), 0)}, ConfigError, "is outside the picture"),
        ("segformer_tiny", {"target": 5}, ConfigError, "no class 5; the model has 5"),
    ],
)
def test_bad_input_is_one_line(
    cat: Image.Image, name: str, asked: dict[str, Any], kind: type[InputError], said: str
) -> None:
    with pytest.raises(kind) as caught:
        explain(predictor_of(dense(name)), cat, **asked)
    assert said in str(caught.value) and "\n" not in str(caught.value)
