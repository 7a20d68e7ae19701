"""``vitreous models``: the table, and how costs change with picture and patch size."""

import json

import pytest
import torch

from tests.cli.conftest import Run
from vitreous.evaluation import throughput
from vitreous.models import catalog
from vitreous.models.accounting import account


def test_every_model_has_a_row_in_the_catalogs_order(run: Run) -> None:
    for option in ([], ["--costs"]):
        said = run("models", *option)
        assert said.code == 0
        table = said.out.split("\n\n")[0].splitlines()
        assert [line.split()[0] for line in table[1:]] == list(catalog.names())


@pytest.mark.parametrize(
    "arguments", [[], ["--costs"], ["vit_*", "--image-size", "480x640"], ["vit_b_*", "--patch", "32,16,8"]]
)
def test_no_line_is_wider_than_100_columns(run: Run, arguments: list[str]) -> None:
    said = run("models", *arguments)
    assert max(map(len, said.out.splitlines())) <= 100


def test_a_row_has_the_figures_of_the_paper(run: Run) -> None:
    said = run("models", "vit_b_16")
    row = dict(zip(said.rows[0], said.rows[1], strict=True))
    assert (row["layers"], row["width"], row["heads"]) == ("12", "768", "12")
    assert (row["params"], row["GMACs"]) == ("86.57M", "17.56")
    said = run("models", "vit_b_16", "--costs")
    row = dict(zip(said.rows[0][:3], said.rows[1][:3], strict=True))
    assert row == {"name": "vit_b_16", "image": "224", "tokens": "197"}
    assert said.rows[1][3:6] == ["86.57M", "17.56", "35.13"]


def test_a_published_accuracy_stands_with_its_picture_size_its_data_and_its_source(run: Run) -> None:
    said = run("models", "vit_[bh]_1[46]")
    rows = {row[0]: row[-4:] for row in said.rows[1:] if row}
    assert rows["vit_b_16"] == ["81.1", "224", "IN-1k", "[1]"]
    assert rows["vit_h_14"] == ["88.6", "518", "IG-3.6B", "[1]"]
    assert rows["vit_b_14"] == ["-", "-", "-", "-"]
    assert "not measured here" in said.out
    assert said.out.splitlines()[-1] == "[1] torchvision, metadata of its weights"


def test_without_published_figures_nothing_is_said_of_sources(run: Run) -> None:
    said = run("models", "vit_tiny")
    assert len(said.rows) == 2 and "top-1:" not in said.out


def test_json_has_every_published_figure(run: Run) -> None:
    (row,) = json.loads(run("models", "beit_l_16", "--json").out)
    assert [figure["top1"] for figure in row["published"]] == [86.0, 87.4, 88.4, 88.6, 86.3]
    assert row["published"][3] == {
        "top1": 88.6,
        "image_size": 512,
        "data": "IN-22k",
        "source": "github.com/microsoft/unilm, beit/README.md",
        "weights": "beit_large_patch16_512_pt22k_ft22kto1k",
    }
    (row,) = json.loads(run("models", "vit_tiny", "--json").out)
    assert row["published"] == [] and "throughput" not in row


def test_measuring_adds_a_column_and_says_how(run: Run) -> None:
    said = run("models", "vit_tiny", "--measure", "--batch-size", "3", "--device", "cpu")
    assert said.code == 0
    assert said.rows[0][-1] == "pictures/s"
    speed = float(said.rows[1][-1].replace(",", ""))
    assert speed > 1
    last = said.out.splitlines()[-1]
    assert "median" in last and "batches of 3, on cpu" in last and "float32, random weights" in last
    assert max(map(len, said.out.splitlines())) <= 100
    (row,) = json.loads(run("models", "mae_tiny", "--measure", "--json", "--device", "cpu").out)
    measured = row["throughput"]
    assert measured["pictures_per_second"] > 1
    assert (measured["batch_size"], measured["device"], measured["dtype"]) == (8, "cpu", "float32")
    assert measured["threads"] == torch.get_num_threads()
    assert 3 <= measured["rounds"] <= 7


def test_what_does_not_fit_is_said_and_the_others_are_measured(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throughput, "free_memory", lambda device: 20 * 2**20)
    said = run("models", "vit_t*_*16", "--measure", "--device", "cpu")
    assert (said.code, said.rows[1][-1]) == (1, "-")
    assert "vit_ti_16 was not measured: it takes about" in said.err
    said = run("models", "vit_ti[n_]*[y6]", "--measure", "--device", "cpu", "--json")
    rows = {row["name"]: row["throughput"] for row in json.loads(said.out)}
    assert said.code == 0
    assert "problem" in rows["vit_ti_16"] and rows["vit_tiny"]["pictures_per_second"] > 1


def test_a_device_that_is_not_there_is_refused(run: Run) -> None:
    said = run("models", "vit_tiny", "--measure", "--device", "gpu")
    assert said.code == 2 and "unknown device 'gpu'" in said.err


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
        (["yolo"], "'vitreous models' lists them all"),
        (["resnet50"], "did you mean 'resnet_50'"),
        (["resnet_50", "--patch", "16"], "no model of this name is cut into patches"),
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
