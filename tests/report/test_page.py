import json
import re
from base64 import b64encode
from hashlib import sha256
from typing import Any

import pytest
from PIL import Image

from vitreous.backbones.config import ViTConfig
from vitreous.data.preprocess import Preprocess
from vitreous.models.catalog import CATALOG, build, configure
from vitreous.models.config import ModelConfig, is_classifier
from vitreous.predictor import Predictor
from vitreous.report.anatomy import dissect
from vitreous.report.html import json_inside, percent
from vitreous.report.page import explanation_page, pipeline

from .conftest import Make

HOSTILE = '</script><img src=x onerror="alert(1)">&{{ 7*7 }}.png'


def is_explained(config: ModelConfig) -> bool:
    return is_classifier(config) and isinstance(getattr(config, "backbone", None), ViTConfig)


def test_names_are_text_whatever_they_hold(make_predictor: Make, cat: Image.Image) -> None:
    predictor = make_predictor(classes=(HOSTILE, "b<i>", "c", "d", "e"))
    page = explanation_page(predictor, cat, HOSTILE)
    assert "<img src=x" not in page and "<i>" not in page.replace("<i style", "")
    assert "&lt;/script&gt;&lt;img src=x" in page
    assert "{{ 7*7 }}" in page  # not computed: no template is made of a name
    assert page.count("</script>") == 4
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])
    assert HOSTILE in [target["label"] for target in data["targets"]]


def test_nothing_comes_from_outside(make_predictor: Make, cat: Image.Image) -> None:
    page = explanation_page(make_predictor(), cat, "cat.png")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe-inline" not in policy.split("script-src")[1]
    for script in re.findall(r"<script>(.*?)</script>", page, re.S):
        digest = b64encode(sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page) + re.findall(r"url\(\"([^\"]*)\"", page)
    assert addresses and all(address.startswith("data:") for address in addresses)
    assert "http://" not in page and "https://" not in page


def test_vit_b_16_stays_under_three_megabytes(cat: Image.Image) -> None:
    # The size follows from layers, heads and patches alone; a narrow model answers sooner.
    model = build(configure("vit_b_16", options={"width": 96}))
    classes = tuple(f"a class with quite a long name, number {index}" for index in range(1000))
    page = explanation_page(Predictor(model, Preprocess(), classes, device="cpu"), cat, "cat.png")
    assert len(page.encode()) < 3_000_000
    assert "squares of 2 × 2 patches" in page


def test_the_pipeline_has_the_shapes_of_the_model(make_predictor: Make, cat: Image.Image) -> None:
    facts = dissect(make_predictor((60, 90), registers=2, shorter=None), cat).facts
    shapes = {step.name: f"{step.shape}; {step.how}" for step in pipeline(facts)}
    assert shapes["Cut"] == "8 × 12 = 96 patches; 8 × 8 pixels, padded to 64 × 96"
    assert shapes["Flatten"].startswith("96 × 192")
    assert shapes["Put in front"] == "99 × 32; [CLS] and 2 registers"
    assert "99 × 99 weights each" in shapes["3 × attention and MLP"]
    assert shapes["Head"].startswith("6 logits")


TINY = [name for name, config in CATALOG.items() if name.endswith("_tiny") and is_explained(config)]


def test_every_kind_of_classifier_on_a_plain_vit_is_there() -> None:
    assert TINY == ["vit_tiny", "deit_tiny", "beit_tiny", "dinov2_tiny", "dinov3_tiny"]


@pytest.mark.parametrize("name", TINY)
def test_every_family_has_a_page(name: str, cat: Image.Image) -> None:
    config = configure(name, classes=3)
    predictor = Predictor(build(config), Preprocess(size=config.image_size), ("a", "b", "c"), device="cpu")
    page = explanation_page(predictor, cat, "cat.png")
    said = re.sub(r"\s+", " ", page)
    read, place, shape, positions = {
        "vit_tiny": ("[CLS]", "Add positions", "64", "cosine similarity of position embeddings (learned)"),
        "deit_tiny": ("[CLS] and [DIST]", "Add positions", "2 × 64", "cosine similarity"),
        "beit_tiny": ("the mean of all patches", "Add to the scores", "64", "has a learned number"),
        "dinov2_tiny": ("[CLS] and the mean of all patches", "Add positions", "64 + 64 = 128", "cosine"),
        "dinov3_tiny": ("[CLS]", "Turn queries and keys", "64", "are turned by its row and column"),
    }[name]
    assert f"The answer is read from {read}." in said and f">What {read} attended to" in said
    assert f"<b>{place}</b>" in said and "bag of patches" not in said
    assert f'<b>Read</b><span class="shape">{shape}</span><span class="how">{read}' in said
    assert positions in said


def steps_of(make_predictor: Make, cat: Image.Image, **options: Any) -> dict[str, str]:
    facts = dissect(make_predictor(**options), cat).facts
    return {step.name: f"{step.shape}; {step.how}" for step in pipeline(facts)}


def test_the_pipeline_of_other_families(make_predictor: Make, cat: Image.Image) -> None:
    deit = steps_of(make_predictor, cat, name="deit_tiny", registers=1)
    assert deit["Put in front"] == "67 × 32; [CLS], [DIST] and 1 register"
    assert deit["Add positions"] == "67 × 32; E_pos, learned (eq. 1); nothing to register"
    assert deit["Read"].startswith("2 × 32; [CLS] and [DIST], once all")
    assert deit["Two heads"] == "2 × 6 logits; 32 × 6 each"
    assert deit["Mean"] == "6 logits; of what both heads say"

    beit = steps_of(make_predictor, cat, name="beit_tiny")
    assert "Add positions" not in beit
    assert beit["Add to the scores"].startswith(
        "4 × 65 × 65; in every layer and head a learned bias: 15 × 15"
    )
    assert "3 for [CLS]; from −" in beit["Add to the scores"]
    assert beit["Read"] == "32; the mean of all patches; what is read is normalised"
    assert beit["3 × attention and MLP"].endswith("LayerScale on what both add")

    dinov2 = steps_of(make_predictor, cat, name="dinov2_tiny", mlp="swiglu", mlp_width=88)
    assert dinov2["Head"] == "6 logits; 64 × 6"
    assert "gated MLP of 88" in dinov2["3 × attention and MLP"]

    dinov3 = steps_of(make_predictor, cat, name="dinov3_tiny")
    assert dinov3["Turn queries and keys"].startswith(
        "4 × 69 × 8; in every layer 4 pairs of a patch's 8 numbers"
    )
    assert dinov3["Turn queries and keys"].endswith("10 times slower; [CLS] and 4 registers stay as they are")

    paper = steps_of(make_predictor, cat, head="mlp")
    assert paper["Head"] == "6 logits; 32 × 32, tanh, 32 × 6"


def test_json_cannot_end_its_element() -> None:
    value = {"</script>": "<!-- \u2028 & >"}
    text = json_inside(value)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == value


def test_percent_never_rounds_to_all_or_nothing() -> None:
    assert [percent(part) for part in (0, 0.0001, 0.5, 0.99949, 0.99999, 1)] == [
        "0.0%",
        "<0.1%",
        "50.0%",
        "99.9%",
        ">99.9%",
        "100.0%",
    ]
