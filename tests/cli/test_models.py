"""``vitreous models``: the table, and how costs change with picture and patch size."""

import json

import pytest

from tests.cli.conftest import Run
from vitreous.models import catalog
from vitreous.models.accounting import account


def test_every_model_has_a_row_in_the_catalogs_order(run: Run) -> None:
    said = run("models")
    assert said.code == 0
    assert [row[0] for row in said.rows[1:]] == list(catalog.names())


def test_a_row_has_the_figures_of_the_paper(run: Run) -> None:
    said = run("models", "vit_b_16")
    row = dict(zip(said.rows[0], said.rows[1], strict=False))
    assert (row["layers"], row["width"]) == ("12", "768")
    assert (row["MLP"], row["heads"], row["tokens"]) == ("3072", "12", "197")
    assert (row["params"], row["GMACs"], row["GFLOPs"]) == ("86.57M", "17.56", "35.13")


def test_json_has_exact_numbers(run: Run) -> None:
    said = run("models", "vit_ti_16", "--json")
    (row,) = json.loads(said.out)
    costs = account(catalog.configure("vit_ti_16"))
    assert row["parameters"] == costs.parameters == 5_717_416
    assert row["flops"] == 2 * row["macs"] == 2 * costs.macs
    assert row["training_bytes"] == costs.training_bytes


def test_the_quadratic_part_grows_with_the_picture(run: Run) -> None:
    said = run("models", "vit_b_16", "--image-size", "224,384,1024", "--json")
    rows = json.loads(said.out)
    assert [row["image_size"] for row in rows] == [[224, 224], [384, 384], [1024, 1024]]
    assert [round(100 * row["attention_share"]) for row in rows] == [4, 11, 47]


def test_smaller_patches_cost_more(run: Run) -> None:
    said = run("models", "vit_b_16", "--patch", "32,16,14,8", "--json")
    rows = json.loads(said.out)
    assert [row["patches"] for row in rows] == [49, 196, 256, 784]
    assert [row["macs"] for row in rows] == sorted(row["macs"] for row in rows)
    table = run("models", "vit_b_16", "--patch", "32,16,14,8")
    assert table.rows[0][2] == "patch"
    assert [row[2] for row in table.rows[1:]] == ["32", "16", "14", "8"]


def test_pictures_need_not_be_square(run: Run) -> None:
    (row,) = json.loads(run("models", "vit_s_16", "--image-size", "480x640", "--json").out)
    assert (row["image_size"], row["patches"]) == ([480, 640], 30 * 40)


def test_without_classes_there_is_no_head(run: Run) -> None:
    (row,) = json.loads(run("models", "vit_ti_16", "--classes", "0", "--json").out)
    assert row["parameters"] == 5_524_416


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["vit_b16"], "did you mean 'vit_b_16'"),
        (["resnet50"], "'vitreous models' lists them all"),
        (["vit_b_16", "--image-size", "big"], "--image-size big: 'big' is no number of pixels"),
        (["vit_b_16", "--image-size", "1x2x3"], "height x width"),
        (["vit_b_16", "--image-size", "0"], "is no number of pixels"),
        (["vit_b_16", "--patch", "16,-4"], "'-4' is no number of pixels"),
        (["vit_b_16", "--patch", "300"], "patch 300 is larger than the picture of 224x224"),
        (["--classes", "-1"], "--classes"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(run: Run, arguments: list[str], wanted: str) -> None:
    said = run("models", *arguments)
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert wanted in said.err
