"""torchvision's convolutional networks: told from their tensors alone, and written back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torchvision.models import get_model, get_model_weights

from tests.checkpoints.make import same
from tests.parity.cases_convnet import convnet_twin, from_torchvision
from tests.parity.twins import BOUND, difference, pictures
from vitreous.checkpoints.adapt import adapt
from vitreous.checkpoints.destination import write_any
from vitreous.checkpoints.file import Checkpoint, read, save
from vitreous.checkpoints.foreign.torchvision.convnet import published
from vitreous.checkpoints.passport import inspect
from vitreous.checkpoints.source import read_any
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError
from vitreous.models import catalog
from vitreous.models.config import ConvNetConfig

SMALL = ("resnet18", "efficientnet_b0", "regnet_y_400mf")
CONFIGS = [config for config in catalog.CATALOG.values() if isinstance(config, ConvNetConfig)]


@pytest.mark.parametrize("architecture", [*SMALL, "resnet34", "efficientnet_b5", "regnet_y_800mf"])
def test_others_of_the_three_classes(tmp_path: Path, architecture: str) -> None:
    twin = convnet_twin(tmp_path / "weights.pth", architecture)
    checkpoint = read_any(twin.path)
    assert checkpoint.model.config.architecture == architecture
    assert checkpoint.lineage["assumed"] == ["preprocessing", "class names"]
    assert not checkpoint.model.training
    one, other = twin.forward(pictures((64, 64)).float())[:2]
    assert (one - other).abs().max() > 1e-3 * one.abs().max()  # the pictures speak, not the biases alone
    for dtype, bound in BOUND.items():
        checkpoint.model.to(dtype)
        twin.model.to(dtype)
        for size in ((64, 64), (64, 96)):
            assert difference(checkpoint.model, twin.forward, pictures(size).to(dtype)).relative < bound


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.architecture)
def test_preprocessing_is_that_of_the_best_published_weights(config: ConvNetConfig) -> None:
    theirs = get_model_weights(config.architecture).DEFAULT.transforms()
    ours = published(config)
    assert [ours.size[0]] == theirs.crop_size
    assert [ours.shorter] == theirs.resize_size
    assert ours.interpolation == theirs.interpolation.value
    assert (list(ours.mean), list(ours.std)) == (theirs.mean, theirs.std)


def test_statistics_and_counters_survive_bit_for_bit(tmp_path: Path) -> None:
    twin = convnet_twin(tmp_path / "weights.pth", "resnet18")
    checkpoint = read_any(twin.path)
    for directory, layout in (("ours", "vitreous"), ("back", "torchvision")):
        write_any(tmp_path / directory, checkpoint, layout)
        again = read_any(tmp_path / directory)
        assert same(again.model, checkpoint.model)
        assert again.model.config == checkpoint.model.config
        assert (again.classes, again.preprocess) == (checkpoint.classes, checkpoint.preprocess)
    state = load_file(tmp_path / "back" / "model.safetensors")
    theirs = twin.model.state_dict()
    assert state.keys() == theirs.keys()
    assert all(torch.equal(state[key], theirs[key]) for key in theirs)
    assert state["bn1.num_batches_tracked"].dtype == torch.int64


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_counters_stay_whole_numbers_whatever_the_weights_become(tmp_path: Path, dtype: torch.dtype) -> None:
    convnet_twin(tmp_path / "weights.pth", "resnet18")
    model = read_any(tmp_path / "weights.pth", dtype=dtype).model
    kinds = {key: value.dtype for key, value in model.state_dict().items()}
    assert {kind for key, kind in kinds.items() if key.endswith("tracked")} == {torch.int64}
    assert {kind for key, kind in kinds.items() if not key.endswith("tracked")} == {dtype}


def test_a_file_without_counters_and_one_from_a_wrapper(tmp_path: Path) -> None:
    twin = convnet_twin(tmp_path / "weights.pth", "resnet18")
    state = {key: value for key, value in twin.model.state_dict().items() if not key.endswith("tracked")}
    save_file(state, tmp_path / "old.safetensors")
    checkpoint = read_any(tmp_path / "old.safetensors")
    assert checkpoint.model.state_dict()["network.bn1.num_batches_tracked"].dtype == torch.int64
    assert inspect(tmp_path / "old.safetensors").problem is None
    assert difference(checkpoint.model, twin.forward, pictures((64, 64)).float()).relative < 1e-4
    wrapped = {f"module.{key}": value for key, value in twin.model.state_dict().items()}
    torch.save({"state_dict": wrapped, "epoch": 3}, tmp_path / "wrapped.pth")
    assert read_any(tmp_path / "wrapped.pth").model.config.architecture == "resnet18"


@pytest.mark.parametrize("architecture", SMALL)
def test_a_backbone_without_its_head(tmp_path: Path, architecture: str) -> None:
    twin = convnet_twin(tmp_path / "weights.pth", architecture)
    head = "classifier.1." if architecture.startswith("eff") else "fc."
    state = {key: value for key, value in twin.model.state_dict().items() if not key.startswith(head)}
    torch.save(state, tmp_path / "headless.pth")
    checkpoint = read_any(tmp_path / "headless.pth")
    assert (checkpoint.classes, checkpoint.model.config.classes) == ((), 0)
    twin.model.set_submodule(head.rstrip("."), torch.nn.Identity())
    assert difference(checkpoint.model, twin.model, pictures((64, 64)).float()).relative < 1e-4
    with pytest.raises(CheckpointError, match="cannot hold this model: it has no head"):
        write_any(tmp_path / "back", checkpoint, "torchvision")


@pytest.mark.parametrize("architecture", SMALL)
def test_a_new_head_keeps_all_else(tmp_path: Path, architecture: str) -> None:
    twin = convnet_twin(tmp_path / "weights.pth", architecture)
    checkpoint = read_any(twin.path)
    adapted, notes = adapt(checkpoint, classes=("x", "y"), image_size=(64, 96))
    assert len(notes) == 2 and "a new head with random weights for 2 classes" in notes[1]
    assert adapted.model.config.image_size == adapted.preprocess.size == (64, 96)
    before, after = checkpoint.model.state_dict(), adapted.model.state_dict()
    changed = [key for key in before if not torch.equal(before[key], after[key])]
    assert len(changed) == 2
    assert adapted.model(pictures((64, 96)).float()).logits.shape == (3, 2)


def test_the_fitted_temperature_divides_the_head(tmp_path: Path) -> None:
    twin = convnet_twin(tmp_path / "weights.pth", "efficientnet_b0")
    found = read_any(twin.path)
    warm = Checkpoint(found.model, found.preprocess, found.classes, temperature=2.5)
    write_any(tmp_path / "back", warm, "torchvision")
    _, forward = from_torchvision(tmp_path / "back")
    images = pictures((64, 64)).float()
    with torch.no_grad():
        assert torch.allclose(forward(images), twin.forward(images) / 2.5, atol=1e-5)


def test_native_size_and_class_names_travel_with_what_we_write(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = catalog.configure("regnet_y_400mf", classes=2, image_size=(96, 64))
    model = catalog.build(config).eval()
    checkpoint = Checkpoint(model, Preprocess(size=(96, 64), shorter=None), ("ant", "bee"))
    write_any(tmp_path / "back", checkpoint, "torchvision")
    again = read_any(tmp_path / "back")
    assert (again.classes, again.preprocess) == (("ant", "bee"), checkpoint.preprocess)
    assert again.model.config == config and "assumed" not in again.lineage


def test_the_passport_says_what_it_is(tmp_path: Path) -> None:
    convnet_twin(tmp_path / "weights.pth", "efficientnet_b0", num_classes=1000)
    found = inspect(tmp_path / "weights.pth")
    assert (found.layout, found.family, found.model) == ("torchvision", "convnet", "efficientnet_b0")
    assert found.model_parameters == 5_288_548 and found.problem is None
    save(tmp_path / "ours", read_any(tmp_path / "weights.pth"))
    ours = inspect(tmp_path / "ours")
    assert (ours.model_parameters, ours.problem, ours.model) == (5_288_548, None, "efficientnet_b0")
    assert same(read(tmp_path / "ours").model, read_any(tmp_path / "weights.pth").model)


@pytest.mark.parametrize("name", ["resnet_18", "resnet18"])
def test_the_name_may_be_given(tmp_path: Path, name: str) -> None:
    convnet_twin(tmp_path / "weights.pth", "resnet18")
    assert read_any(tmp_path / "weights.pth", name).model.config.architecture == "resnet18"


def test_another_name_is_refused(tmp_path: Path) -> None:
    convnet_twin(tmp_path / "weights.pth", "resnet18")
    with pytest.raises(CheckpointError, match="'resnet_34' is another network"):
        read_any(tmp_path / "weights.pth", "resnet_34")


@pytest.mark.parametrize(
    "architecture", ["resnext50_32x4d", "wide_resnet50_2", "regnet_x_400mf", "efficientnet_v2_s"]
)
def test_relatives_are_refused_by_name(tmp_path: Path, architecture: str) -> None:
    torch.save(get_model(architecture, weights=None).state_dict(), tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="no network that is read; wanted one of") as caught:
        read_any(tmp_path / "weights.pth")
    assert "\n" not in str(caught.value)
    assert inspect(tmp_path / "weights.pth").problem is not None


Change = Callable[[dict[str, Tensor]], dict[str, Tensor]]
DAMAGES: dict[str, tuple[Change, str]] = {
    "a missing statistic": (
        lambda state: {key: value for key, value in state.items() if key != "layer3.0.bn1.running_var"},
        r"1 missing: layer3\.0\.bn1\.running_var",
    ),
    "a missing counter": (
        lambda state: {key: value for key, value in state.items() if key != "bn1.num_batches_tracked"},
        r"1 missing: bn1\.num_batches_tracked",
    ),
    "a tensor of another shape": (
        lambda state: state | {"layer3.0.conv1.weight": torch.zeros(256, 128, 1, 1)},
        "layer3.0.conv1.weight .wanted 256x128x3x3, found 256x128x1x1",
    ),
    "a stranger": (lambda state: state | {"layer3.0.strange": torch.zeros(1)}, "strange"),
    "a block too many": (
        lambda state: state | {"layer4.7.conv1.weight": torch.zeros(512, 512, 3, 3)},
        "stages of 2, 2, 2, 8 blocks",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_one_line(tmp_path: Path, damage: str) -> None:
    change, reason = DAMAGES[damage]
    torch.save(change(get_model("resnet18", weights=None).state_dict()), tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_any(tmp_path / "weights.pth")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"convnet": {"architecture": "resnet34", "num_classes": 5}}, "'resnet34', but the weights are"),
        ({"convnet": None}, "give the file of weights alone"),
        ({"classes": ["ant"]}, "1 class names for a head of 5"),
        ({"classes": 5}, "classes must be a list of names"),
        ({"image_size": 0}, "image_size: wanted a positive whole number"),
        ({"preprocess": {"size": "big"}}, "size"),
    ],
)
def test_a_config_that_does_not_fit(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    convnet_twin(tmp_path / "weights.pth", "resnet18")
    write_any(tmp_path / "back", read_any(tmp_path / "weights.pth"), "torchvision")
    (tmp_path / "back" / "manifest.json").unlink()
    path = tmp_path / "back" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_any(tmp_path / "back")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("layout", ["timm", "transformers"])
def test_other_libraries_have_no_place_for_it(tmp_path: Path, layout: str) -> None:
    convnet_twin(tmp_path / "weights.pth", "resnet18")
    with pytest.raises(CheckpointError, match="no class for a model of family 'convnet'"):
        write_any(tmp_path / "back", read_any(tmp_path / "weights.pth"), layout)
