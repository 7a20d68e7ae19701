import json
import re
from base64 import b64decode
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vitreous.data.collection import Sample
from vitreous.errors import ConfigError
from vitreous.explain.explained import Told, checked_place
from vitreous.explain.regions import at_place, look_for_regions, region_relevance
from vitreous.report import regions_page as page_of_regions
from vitreous.report.regions_page import grid_of_places, regions_page

from .dense_models import CLASSES, dense_predictor

HOSTILE = '</script><img src=x onerror="alert(1)">&{{ 7*7 }}'
SEGMENTERS = ("segformer_tiny", "segformer_vit_tiny", "segformer_swin_tiny", "beit_tiny_upernet")


def data_of(page: str) -> dict[str, Any]:
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])


@pytest.mark.parametrize("name", SEGMENTERS)
def test_every_place_has_its_class_and_its_map(name: str, cat: Image.Image) -> None:
    predictor = dense_predictor(name)
    data = data_of(regions_page(predictor, cat, "cat.png", at=(100, 90), places=4))
    places = data["points"]["places"]
    assert (data["points"]["rows"], data["points"]["cols"]) == (3, 4) and len(places) == 13
    assert data["chosen"] == {"region": -1, "point": 12}
    assert (places[12]["across"], places[12]["down"]) == (100, 90)
    view = predictor.prepare(cat)
    looked = look_for_regions(predictor.model, view.image[None])
    maps = np.frombuffer(b64decode(data["points"]["maps"]["bytes"]), dtype=np.uint8)
    maps = maps.reshape(13, data["rows"], data["cols"])
    for number in (0, 5, 12):
        spot = (places[number]["across"], places[number]["down"])
        asked = at_place(looked, checked_place(spot, view))
        label, share = places[number]["shares"][0]
        assert label == CLASSES[asked.index] and share == pytest.approx(asked.score, abs=1e-5)
        grid = region_relevance(predictor.model, looked, asked.logit).grid
        wanted = (grid / grid.max().clamp(min=1e-30) * 255).detach().numpy()
        assert maps[number].shape == wanted.shape and np.abs(maps[number] - wanted).max() <= 1


def test_the_classes_are_those_that_the_predictor_paints(cat: Image.Image) -> None:
    predictor = dense_predictor("segformer_tiny", shorter=80)
    page = regions_page(predictor, cat, "cat.png", places=2)
    ((_, painted),) = predictor.regions([Sample("cat", np.asarray(cat))])
    shares = np.bincount(painted.ravel(), minlength=5) / painted.size
    shown = re.findall(r'title="(\w+)">.*?<span class="value">([^%]+)%', page)
    for label, share in shown:
        if not share.startswith("&"):  # less than can be told
            assert float(share) == pytest.approx(100 * shares[CLASSES.index(label)], abs=0.06)
    assert len(shown) == len(data_of(page)["classes"]) > 1


def test_a_class_or_a_class_at_a_place_may_be_asked_for(cat: Image.Image) -> None:
    predictor = dense_predictor("segformer_vit_tiny")
    classes = [told["label"] for told in data_of(regions_page(predictor, cat, "cat", places=1))["classes"]]
    second = data_of(regions_page(predictor, cat, "cat", places=1, target=CLASSES.index(classes[1])))
    assert second["chosen"] == {"region": 1, "point": -1}
    at = data_of(regions_page(predictor, cat, "cat", places=1, target=4, at=(30, 20)))
    assert at["chosen"]["point"] == 1 and at["points"]["places"][1]["shares"][0][0] == "eel"


def test_places_lie_in_what_the_model_sees() -> None:
    predictor = dense_predictor("segformer_tiny", shorter=64)
    view = predictor.prepare(Image.new("RGB", (320, 160)))  # of which the middle half is seen
    places, rows, cols = grid_of_places(view, 8)
    assert (rows, cols) == (8, 8)
    assert {x for x, _ in places} == {float(90 + 20 * col) for col in range(8)}
    assert all(0 < part < 1 for place in places for part in checked_place(place, view))
    tiny, rows, cols = grid_of_places(dense_predictor("segformer_tiny").prepare(Image.new("RGB", (3, 1))), 8)
    assert (rows, cols) == (1, 3) and tiny == [(0, 0), (1, 0), (2, 0)]


def test_names_are_text_whatever_they_hold(cat: Image.Image) -> None:
    predictor = dense_predictor("segformer_tiny", classes=(HOSTILE, "b<i>", HOSTILE + "2", "d", "e"))
    page = regions_page(predictor, cat, HOSTILE, places=2)
    assert "<img src=x" not in page and "<i>" not in page.replace("<i class", "")
    assert page.count("</script>") == 4
    assert "http://" not in page and "https://" not in page
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert addresses and all(address.startswith("data:") for address in addresses)


def test_a_page_with_all_places_on_a_fine_grid_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    fine = Told(torch.rand(128, 128), 2, "drawn")  # the size follows from the grids alone
    monkeypatch.setattr(page_of_regions, "region_relevance", lambda *_: fine)
    classes = tuple(f"a class with quite a long name, number {index}" for index in range(150))
    predictor = dense_predictor("segformer_tiny", classes=classes, image_size=256)
    picture = Image.effect_noise((1400, 1400), 80).convert("RGB")
    page = regions_page(predictor, picture, "noise.png")
    data = data_of(page)
    assert len(page.encode()) < 3_000_000
    assert len(data["points"]["places"]) == 64 and data["rows"] <= 60


def test_what_cannot_be_shown_is_refused(make_predictor: Any, cat: Image.Image) -> None:
    with pytest.raises(ConfigError, match="a Classifier tells no regions"):
        regions_page(make_predictor(), cat, "cat.png")
    with pytest.raises(ConfigError, match="the point 451,3 is outside the picture"):
        regions_page(dense_predictor("segformer_tiny"), cat, "cat.png", at=(451, 3))
    cropped = dense_predictor("segformer_tiny", shorter=64)
    with pytest.raises(ConfigError, match="the point 3,3 is not in what the model sees"):
        regions_page(cropped, cat, "cat.png", at=(3, 3))
