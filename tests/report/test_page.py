import json
import re
from base64 import b64encode
from hashlib import sha256

from PIL import Image

from vitreous.data.preprocess import Preprocess
from vitreous.models.catalog import build, configure
from vitreous.predictor import Predictor
from vitreous.report.html import json_inside, percent
from vitreous.report.page import explanation_page, pipeline

from .conftest import Make

HOSTILE = '</script><img src=x onerror="alert(1)">&{{ 7*7 }}.png'


def test_names_are_text_whatever_they_hold(make_predictor: Make, cat: Image.Image) -> None:
    predictor = make_predictor(classes=(HOSTILE, "b<i>", "c", "d", "e"))
    page = explanation_page(predictor, cat, HOSTILE)
    assert "<img src=x" not in page and "<i>" not in page.replace("<i style", "")
    assert "&lt;/script&gt;&lt;img src=x" in page
    assert "{{ 7*7 }}" in page  # not computed: no template is made of a name
    assert page.count("</script>") == 3
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
    from vitreous.report.anatomy import dissect

    facts = dissect(make_predictor((60, 90), registers=2, shorter=None), cat).facts
    shapes = {step.name: f"{step.shape}; {step.how}" for step in pipeline(facts)}
    assert shapes["Cut"] == "8 × 12 = 96 patches; 8 × 8 pixels, padded to 64 × 96"
    assert shapes["Flatten"].startswith("96 × 192")
    assert shapes["Put in front"] == "99 × 32; [CLS] and 2 registers"
    assert "99 × 99 weights each" in shapes["3 × attention and MLP"]
    assert shapes["Head"].startswith("6 logits")


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
