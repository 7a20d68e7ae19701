"""Quoted accuracies: of names that exist, with a source, and equal to what the installed source says."""

import re
from pathlib import Path

import pytest

from vitreous.models import catalog
from vitreous.models.published import ONE, PUBLISHED, SOURCES, Published, published

BUILDERS = {f"resnet_{depth}": f"resnet{depth}" for depth in (18, 34, 50, 101, 152)}  # torchvision's names
FIGURES = [(name, figure) for name, figures in PUBLISHED.items() for figure in figures]
TORCHVISION = [(name, figure) for name, figure in FIGURES if figure.source == "torchvision"]


def test_every_name_is_a_classifier_or_becomes_one() -> None:
    assert set(PUBLISHED) <= set(catalog.names())
    assert not any("_tiny" in name or name.endswith(("_masked", "_upernet")) for name in PUBLISHED)
    assert published("vit_tiny") == ()


@pytest.mark.parametrize(("name", "figure"), FIGURES)
def test_a_figure_says_where_it_is_from(name: str, figure: Published) -> None:
    assert figure.source in SOURCES
    assert 60 < figure.top1 < 90
    assert figure.image_size % 2 == 0 and 224 <= figure.image_size <= 600
    assert figure.data in (ONE, "IN-22k", "JFT-300M", "IG-3.6B", "LVD-142M")


def test_no_figure_stands_twice() -> None:
    for figures in PUBLISHED.values():
        assert len(set(figures)) == len(figures) > 0
    assert {figure.source for _, figure in FIGURES} == set(SOURCES)


@pytest.mark.parametrize(("name", "figure"), TORCHVISION)
def test_torchvision_says_the_same(name: str, figure: Published) -> None:
    from torchvision.models import get_model_weights

    weights = get_model_weights(BUILDERS.get(name, name))[figure.weights]
    assert weights.meta["_metrics"]["ImageNet-1K"]["acc@1"] == figure.top1
    assert weights.transforms().crop_size == [figure.image_size]
    assert (figure.data == "IG-3.6B") == ("SWAG" in figure.weights)


def test_every_weight_of_torchvision_for_these_names_is_quoted() -> None:
    from torchvision.models import get_model_weights

    quoted = {(name, figure.weights) for name, figure in TORCHVISION}
    for name in {name for name, _ in TORCHVISION}:
        assert {(name, weights.name) for weights in get_model_weights(BUILDERS.get(name, name))} <= quoted


@pytest.mark.parametrize(
    ("name", "top1", "image_size"),
    [
        ("deit_ti_16", 74.476, 224),
        ("deit_s_16", 81.164, 224),
        ("deit_b_16", 83.372, 224),
        ("vit_ti_16", 72.202, 224),
        ("vit_s_16", 79.854, 224),
        ("swin_t", 81.2, 224),
        ("swin_s", 83.2, 224),
        ("swin_b", 83.5, 224),
        ("beit_b_16", 83.2, 224),
        ("beit_l_16", 86.0, 224),
        ("mae_b_16", 83.664, 224),
        ("mae_l_16", 85.952, 224),
        ("mae_h_14", 86.928, 224),
    ],
)
def test_the_first_figure_is_the_one_that_is_quoted_most(name: str, top1: float, image_size: int) -> None:
    assert published(name)[0][:2] == (top1, image_size)


def test_the_facts_quote_the_same_figures() -> None:
    facts = (Path(__file__).parents[2] / "docs" / "facts.md").read_text()
    accuracy = facts.split("## Accuracy")[1]
    printed = {float(number) for number in re.findall(r"\b\d\d\.\d+\b", accuracy)}
    known = {round(figure.top1, digits) for _, figure in FIGURES for digits in (1, 2, 3)}
    assert {77.91, 81.8, 83.4, 85.2, 84.15, 88.55} <= printed & known
