import json
import re
from base64 import b64decode
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vitreous.errors import ConfigError
from vitreous.explain.objects import look_for_objects, object_relevance, objects_in
from vitreous.report.objects_page import MOST, objects_page

from .dense_models import CLASSES, dense_predictor

HOSTILE = '</script><img src=x onerror="alert(1)">&{{ 7*7 }}'


def data_of(page: str) -> dict[str, Any]:
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])


def bytes_of(text: str) -> np.ndarray:
    return np.frombuffer(b64decode(text), dtype=np.uint8)


@pytest.mark.parametrize("name", ["detr_vit_tiny", "detr_swin_tiny", "detr_resnet_tiny", "yolos_tiny"])
def test_the_page_holds_every_object_and_its_map(name: str, cat: Image.Image) -> None:
    predictor = dense_predictor(name)
    page = objects_page(predictor, cat, "cat.png", threshold=0.0, chosen=1)
    data = data_of(page)
    view = predictor.prepare(cat)
    looked = look_for_objects(predictor.model, view.image[None])
    found = objects_in(looked.answer, view)
    assert len(data["objects"]) == len(found) == 16 and data["chosen"] == 1
    for told, thing in zip(data["objects"], found, strict=True):
        assert told["label"] == CLASSES[thing.index]
        assert told["score"] == pytest.approx(thing.score, abs=1e-5)
        assert sum(share for _, share in told["shares"]) <= 1 + 1e-5
    grid = object_relevance(predictor.model, looked, found[1].query, found[1].index).grid
    rows, cols = data["relevance"]["rows"], data["relevance"]["cols"]
    packed = bytes_of(data["relevance"]["bytes"]).reshape(16, rows, cols)[1]
    assert (rows, cols) == grid.shape
    wanted = (grid / grid.max() * 255).detach().numpy()
    assert np.abs(packed - wanted).max() <= 1
    assert page.count('class="box"') == 16
    left, _, right, _ = found[0].box
    style = re.search(r'id="box-0"[^>]*style="left:([\d.]+)%;top:[\d.]+%;width:([\d.]+)%', page)
    assert float(style[1]) == pytest.approx(100 * left / cat.width, abs=0.01)
    assert float(style[2]) == pytest.approx(100 * (right - left) / cat.width, abs=0.01)


def test_names_are_text_whatever_they_hold(cat: Image.Image) -> None:
    predictor = dense_predictor("detr_resnet_tiny", classes=(HOSTILE, "b<i>", "c", "d", "e"))
    with torch.no_grad():
        predictor.model.classify.bias[0] = 9
    page = objects_page(predictor, cat, HOSTILE, threshold=0.0)
    assert "<img src=x" not in page and "<i>" not in page.replace("<i class", "")
    assert page.count("</script>") == 4
    assert HOSTILE in [told["label"] for told in data_of(page)["objects"]]
    assert "http://" not in page and "https://" not in page
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page) + re.findall(r"url\(\"([^\"]*)\"", page)
    assert addresses and all(address.startswith("data:") for address in addresses)


def test_where_nothing_is_found_the_page_says_so_and_what_came_closest(cat: Image.Image) -> None:
    predictor = dense_predictor("detr_resnet_tiny")
    page = objects_page(predictor, cat, "cat.png", threshold=0.9999)
    assert "Nothing was found above 0.9999." in page and 'class="box"' not in page
    view = predictor.prepare(cat)
    surest = objects_in(predictor.model(view.image[None]), view)[0]
    assert f"The surest of 16 answers is {CLASSES[surest.index]}, with {surest.score:.1%}" in page
    assert data_of(page)["objects"] == []


def test_a_page_of_many_objects_on_a_fine_grid_stays_small() -> None:
    predictor = dense_predictor("detr_swin_tiny", image_size=144, queries=40)
    picture = Image.effect_noise((900, 1200), 80).convert("RGB")
    page = objects_page(predictor, picture, "noise.png", threshold=0.0, chosen=30)
    data = data_of(page)
    assert len(page.encode()) < 3_000_000
    assert f"The {MOST + 1} surest of 40" in page
    assert len(data["objects"]) == MOST + 1
    assert data["chosen"] == MOST  # the one that was asked for comes last
    assert data["relevance"]["rows"] <= 60 < 72


def test_a_classifier_is_refused(make_predictor: Any, cat: Image.Image) -> None:
    with pytest.raises(ConfigError, match="a Classifier finds no objects; wanted a detector"):
        objects_page(make_predictor(), cat, "cat.png")
