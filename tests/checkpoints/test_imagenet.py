"""The shipped lists of ImageNet's classes, what foreign files that tell no names get of them, and what the
lists are matched by."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.checkpoints import imagenet_data
from vitreous.checkpoints.foreign.class_names import ClassNames, from_id2label, unnamed
from vitreous.checkpoints.imagenet import COUNTS, SOURCES, class_list, places, recognised
from vitreous.checkpoints.source import read_any
from vitreous.errors import CheckpointError

SHORT, LONG, AUTUMN = (class_list(title) for title in ("ImageNet-1k", "ImageNet-21k", "ImageNet-22k"))
WIDTH = 16


def lemmas() -> list[str]:
    """The names that the published transformers checkpoints have: all the words of a synset."""
    lines = (imagenet_data.SHIPPED / "imagenet_1k.tsv").read_text().splitlines()
    return [line.split("\t")[2] for line in lines if not line.startswith("#")]


def test_the_files_are_what_the_installed_packages_say() -> None:
    pytest.importorskip("timm")
    text = (imagenet_data.SHIPPED / "imagenet_1k.tsv").read_text()
    assert text == imagenet_data.HEADER_1K + "\n".join(imagenet_data.lines_1k()) + "\n"
    rows = [f"{key}\t{name}" for key, name in zip(LONG.ids, LONG.names, strict=True)]
    assert rows == imagenet_data.lines_21k()


def test_orders_are_those_of_timm() -> None:
    pytest.importorskip("timm")
    from timm.data import ImageNetInfo

    for ours, theirs in ((SHORT, "imagenet-1k"), (LONG, "imagenet-21k-goog"), (AUTUMN, "imagenet-22k")):
        assert list(ours.ids) == ImageNetInfo(theirs).label_names()


def test_names_are_those_of_torchvision_and_every_name_is_one_class() -> None:
    from torchvision.models import ViT_B_16_Weights

    assert list(SHORT.names) == ViT_B_16_Weights.IMAGENET1K_V1.meta["categories"]
    for found in (SHORT, LONG, AUTUMN):
        assert len(set(found.names)) == len(set(found.ids)) == len(found.ids)
        assert COUNTS[len(found.ids)] == found.title
        assert all(name and name == name.strip() for name in found.names)
    assert (SHORT.names[134], SHORT.names[517]) == ("crane bird", "crane")
    assert (SHORT.names[638], SHORT.names[639]) == ("maillot", "maillot tank suit")
    assert "crane (n02012849)" in LONG.names


def test_the_shorter_long_list_lacks_two_classes() -> None:
    assert set(LONG.ids) - set(AUTUMN.ids) == {"n03931044", "n09859684"}
    assert (LONG.ids.index("n03931044"), LONG.ids.index("n09859684")) == (9205, 15027)
    assert list(AUTUMN.ids) == sorted(AUTUMN.ids)


@pytest.mark.parametrize(
    ("classes", "by_folder", "first", "assumed"),
    [
        (1000, False, "tench", "class names of ImageNet-1k"),
        (21_843, False, "organism", "class names of ImageNet-21k"),
        (21_841, True, "organism", "class names of ImageNet-22k"),
        (21_841, False, "class 0", "class names (their order in ImageNet-22k is not certain)"),
        (21_842, True, "class 0", "class names"),
        (11_821, False, "class 0", "class names"),
        (1001, False, "class 0", "class names"),
        (2, False, "class 0", "class names"),
    ],
)
def test_how_many_classes_tell_their_names(classes: int, by_folder: bool, first: str, assumed: str) -> None:
    names, said = unnamed(classes, by_folder=by_folder)
    assert (len(names), names[0], said) == (classes, first, (assumed,))


def test_a_model_without_a_head_has_nothing_to_assume() -> None:
    assert unnamed(0) == from_id2label({"id2label": {"0": "ant"}}, 0, "model") == ClassNames((), ())


def label(names: list[str]) -> dict[str, object]:
    return {"id2label": {str(index): name for index, name in enumerate(names)}}


def test_labels_that_transformers_makes_up_are_none() -> None:
    made_up = [f"LABEL_{index}" for index in range(1000)]
    assert from_id2label(label(made_up), 1000, "model") == unnamed(1000)
    assert from_id2label(label(made_up[:3]), 3, "model") == unnamed(3)
    assert from_id2label({}, 1000, "model") == unnamed(1000)
    one_is_real = [*made_up[:999], "toilet tissue"]
    assert from_id2label(label(one_is_real), 1000, "model") == ClassNames(tuple(one_is_real))


def test_names_that_a_file_tells_are_kept() -> None:
    assert from_id2label(label(lemmas()), 1000, "model") == ClassNames(tuple(lemmas()))
    with pytest.raises(CheckpointError, match="id2label does not name the 4 classes"):
        from_id2label(label(["ant", "bee", "cat"]), 4, "model")


def test_the_published_labels_of_the_long_list_are_numbered_for_another() -> None:
    numbers = [index for index in range(21_843) if index not in (9205, 15027)]
    config = {"id2label": {str(index): LONG.names[index] for index in numbers}}
    assert from_id2label(config, 21_841, "beit", by_folder=True).names == AUTUMN.names
    assert from_id2label(config, 21_841, "swin").names[:1] == ("class 0",)
    numbers[5] = 9205
    config = {"id2label": {str(index): "something" for index in numbers}}
    with pytest.raises(CheckpointError, match="id2label does not name the 21841 classes"):
        from_id2label(config, 21_841, "beit", by_folder=True)


@pytest.mark.parametrize("spelled", [SHORT.ids, SHORT.names, lemmas()], ids=["ids", "names", "words"])
def test_a_list_is_recognised_however_it_is_spelled(spelled: tuple[str, ...]) -> None:
    assert recognised(spelled) == SHORT
    turned = (spelled[1], spelled[0], *spelled[2:])
    assert recognised(turned) is None and recognised(spelled[:999]) is None


def test_the_long_lists_are_told_apart() -> None:
    assert recognised(LONG.names) == LONG and recognised(AUTUMN.names) == AUTUMN
    assert recognised(LONG.words) == LONG
    assert recognised(LONG.names[:21_841]) is None
    assert recognised(tuple(f"class {index}" for index in range(1000))) is None


@pytest.mark.parametrize("model", [SHORT.ids, SHORT.names, lemmas()], ids=["ids", "names", "words"])
def test_classes_are_found_by_id_and_by_name(model: tuple[str, ...]) -> None:
    assert places(SHORT.ids, model) == tuple(range(1000))
    assert places(["n15075141", "n02012849", "n03126707", "tench"], model) == (999, 134, 517, 0)
    assert places(["zebra2", "n99999999", "n00004475"], model) == (None, None, None)


def test_a_name_that_a_model_has_twice_is_not_told() -> None:
    assert places(["crane", "crane bird"], lemmas()) == (None, 134)
    assert places(["crane", "crane bird"], SHORT.names) == (517, 134)


def test_models_of_some_classes_and_of_the_long_list() -> None:
    assert places(["tench", "n01443537"], ["n01443537", "n01440764"]) == (1, 0)
    assert places(["n01443537", "n01440764"], ["goldfish", "my dog", "tench"]) == (0, 2)
    assert places(["n04399382", "n01440764"], LONG.names) == (None, LONG.ids.index("n01440764"))
    for model in (AUTUMN.ids, AUTUMN.names):
        assert places(["crane (n02012849)", "n03931044"], model) == (AUTUMN.ids.index("n02012849"), None)


def save_vit(path: Path, classes: int) -> None:
    """A tiny ViT under torchvision's names."""
    from torchvision.models import VisionTransformer

    torch.manual_seed(0)
    model = VisionTransformer(
        image_size=16,
        patch_size=8,
        num_layers=1,
        num_heads=3,
        hidden_dim=192,
        mlp_dim=WIDTH,
        num_classes=classes,
    )
    torch.save(model.state_dict(), path)


def test_a_foreign_file_of_1000_classes_gets_their_names_and_says_so(tmp_path: Path) -> None:
    save_vit(tmp_path / "a.pth", 1000)
    checkpoint = read_any(tmp_path / "a.pth")
    assert checkpoint.classes == SHORT.names
    assert checkpoint.lineage["assumed"] == ["preprocessing", "class names of ImageNet-1k"]
    assert checkpoint.lineage["class_names"] == SOURCES["ImageNet-1k"]
    save_vit(tmp_path / "b.pth", 999)
    checkpoint = read_any(tmp_path / "b.pth")
    assert (checkpoint.classes[998], checkpoint.lineage["assumed"]) == (
        "class 998",
        ["preprocessing", "class names"],
    )
    assert "class_names" not in checkpoint.lineage


def test_google_gets_its_own_order(tmp_path: Path) -> None:
    from tests.parity.twins import google_arrays

    np.savez(tmp_path / "a.npz", **google_arrays(classes=21_843))
    checkpoint = read_any(tmp_path / "a.npz")
    assert checkpoint.classes == LONG.names
    assert checkpoint.lineage["assumed"] == ["preprocessing", "class names of ImageNet-21k"]


def test_transformers_labels_of_its_own_making(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {
        "hidden_size": WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": WIDTH,
    }
    for count, names in ((1000, SHORT.names), (7, unnamed(7).names)):
        config = transformers.ViTConfig(image_size=16, patch_size=8, num_labels=count, **sizes)
        transformers.ViTForImageClassification(config).save_pretrained(tmp_path / str(count))
        written = json.loads((tmp_path / str(count) / "config.json").read_text())
        assert written["id2label"]["0"] == "LABEL_0"
        assert read_any(tmp_path / str(count)).classes == names


def test_nothing_is_read_before_somebody_asks() -> None:
    script = (
        "import vitreous.checkpoints.imagenet as imagenet, vitreous.evaluation.evaluate;"
        "print(imagenet.class_list.cache_info().currsize)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"


def test_the_lists_are_in_the_wheel(tmp_path: Path) -> None:
    hatchling = pytest.importorskip("hatchling.builders.wheel")
    root = imagenet_data.SHIPPED.parents[2]
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, tmp_path / name)
    shutil.copytree(root / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (built,) = hatchling.WheelBuilder(str(tmp_path)).build(directory=str(tmp_path / "dist"))
    with zipfile.ZipFile(built) as wheel:
        for name in ("imagenet_1k.tsv", "imagenet_21k.tsv.gz"):
            packed = wheel.getinfo(f"vitreous/checkpoints/{name}")
            assert wheel.read(packed) == (imagenet_data.SHIPPED / name).read_bytes()
            assert packed.compress_size < 400_000
