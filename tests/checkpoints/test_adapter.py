"""Adapters alone: with their base they are the merged model, with any other they are refused."""

import json
import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.checkpoints.make import random_checkpoint, same
from vitreous.checkpoints.adapt import adapt
from vitreous.checkpoints.adapter import (
    AdapterConfig,
    find_adapter,
    fingerprint,
    read_adapter_config,
    save_adapter,
)
from vitreous.checkpoints.conversion import convert, open_origin
from vitreous.checkpoints.destination import write_any
from vitreous.checkpoints.directory import write_directory
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.passport import inspect
from vitreous.checkpoints.source import read_any
from vitreous.errors import CheckpointError
from vitreous.layers.lora import adapted_layers, inject, linear_layers, merge

CLASSES = ("yes", "no")


class Made:
    """A base, an adapter trained on it, and what both are together."""

    def __init__(self, root: Path, *, layout: str = "vitreous", size: int = 32, **options: Any) -> None:
        self.base, self.adapter = root / "base", root / "run" / "adapter"
        write_any(self.base, random_checkpoint(**options), layout)
        before = read_any(self.base)
        begun = {"source": str(self.base), "sha256": fingerprint(before.model.state_dict())}
        torch.manual_seed(1)
        adapted, _ = adapt(before, classes=CLASSES, image_size=(size, size))
        model = adapted.model
        inject(model, [name for name in linear_layers(model) if "attention" in name], 3, 6.0)
        with torch.no_grad():
            for layer in adapted_layers(model).values():
                layer.up.normal_()
        state = model.state_dict()
        merged: Any = merge(deepcopy(model))
        self.checkpoint = Checkpoint(merged, adapted.preprocess, CLASSES, 1.5, {"from": begun})
        save_adapter(self.adapter, model, self.checkpoint)
        self.learnt = {key for key in state if key.endswith((".down", ".up")) or key.startswith("head")}

    def change(self, edit: Callable[[dict[str, Any]], None]) -> None:
        """Edit its configuration, with a manifest that knows of it."""
        values = json.loads((self.adapter / "config.json").read_bytes())
        edit(values)
        weights = (self.adapter / "adapter.safetensors").read_bytes()
        content = {"config.json": json.dumps(values).encode(), "adapter.safetensors": weights}
        write_directory(self.adapter, content)

    def retensor(self, edit: Callable[[dict[str, torch.Tensor]], None]) -> None:
        """Edit its tensors, with a manifest that knows of it."""
        tensors = load_file(self.adapter / "adapter.safetensors")
        edit(tensors)
        config = (self.adapter / "config.json").read_bytes()
        content = {"config.json": config, "adapter.safetensors": lambda path: save_file(tensors, path)}
        write_directory(self.adapter, content)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


@pytest.mark.parametrize(
    "options",
    [{}, {"size": 48}, {"layout": "timm"}, {"layout": "transformers", "size": 24}, {"mlp": "swiglu"}],
    ids=lambda options: "-".join(map(str, options.values())) or "plain",
)
def test_base_and_adapter_are_the_merged_model(tmp_path: Path, options: dict[str, Any]) -> None:
    made = Made(tmp_path, **options)
    found = read_any(made.adapter)
    assert same(found.model, made.checkpoint.model)
    assert found.model.config == made.checkpoint.model.config
    assert (found.classes, found.temperature, found.lineage) == (CLASSES, 1.5, made.checkpoint.lineage)
    assert found.preprocess == made.checkpoint.preprocess
    assert not adapted_layers(found.model)
    assert not same(found.model, adapt(read_any(made.base), classes=CLASSES)[0].model)


def test_only_what_was_learnt_is_in_the_file(made: Made) -> None:
    assert set(load_file(made.adapter / "adapter.safetensors")) == made.learnt
    assert sorted(path.name for path in made.adapter.iterdir()) == [
        "adapter.safetensors",
        "config.json",
        "manifest.json",
    ]


def test_a_file_of_it_or_a_half_finished_save_is_found(made: Made) -> None:
    for name in ("adapter.safetensors", "config.json"):
        assert same(read_any(made.adapter / name).model, made.checkpoint.model)
    made.adapter.rename(made.adapter.with_name("adapter.previous"))
    assert same(read_any(made.adapter).model, made.checkpoint.model)
    assert find_adapter(made.base) is None
    assert find_adapter(made.base / "config.json") is None


def test_reading_draws_no_random_numbers(made: Made) -> None:
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    read_any(made.adapter)
    assert torch.equal(torch.rand(3), wanted)


def test_both_can_be_moved_together(made: Made, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for name in ("base", "run"):
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    assert same(read_any(tmp_path / "elsewhere" / "run" / "adapter").model, made.checkpoint.model)


def test_the_same_weights_in_another_layout_are_the_same_base(made: Made) -> None:
    before = read_any(made.base)
    shutil.rmtree(made.base)
    write_any(made.base, before, "timm")
    assert same(read_any(made.adapter).model, made.checkpoint.model)


def test_a_base_that_is_not_there_is_named(made: Made) -> None:
    shutil.rmtree(made.base)
    with pytest.raises(
        CheckpointError, match=r"of use only with its base .*base, which is not there"
    ) as caught:
        read_any(made.adapter)
    assert str(caught.value).startswith(f"{made.adapter}: ")
    assert "\n" not in str(caught.value)


def test_a_base_that_was_a_path_is_not_asked_of_the_hub(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("vitreous.checkpoints.source._download", asked.append)
    made.change(lambda values: values["adapter"].update(base="runs/mae", beside="../../runs/mae"))
    with pytest.raises(CheckpointError, match="runs/mae, which is not there"):
        read_any(made.adapter)
    made.change(lambda values: values["adapter"].update(base="run\0s", beside="\0"))
    with pytest.raises(CheckpointError, match="which is not there"):
        read_any(made.adapter)
    assert not asked


def test_another_base_is_refused(made: Made) -> None:
    write_any(made.base, random_checkpoint(seed=1))
    with pytest.raises(CheckpointError, match=r"is not the one that it was trained on \(SHA-256"):
        read_any(made.adapter)
    changed = random_checkpoint()
    with torch.no_grad():
        changed.model.backbone.norm.weight[3] = torch.nextafter(
            changed.model.backbone.norm.weight[3], torch.tensor(99.0)
        )
    write_any(made.base, changed)
    with pytest.raises(CheckpointError, match="is not the one that it was trained on"):
        read_any(made.adapter)


def test_a_damaged_file_is_refused(made: Made) -> None:
    content = bytearray((made.adapter / "adapter.safetensors").read_bytes())
    content[-5] ^= 4
    (made.adapter / "adapter.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"adapter/adapter\.safetensors: damaged, its SHA-256"):
        read_any(made.adapter)


def test_it_says_its_own_architecture(made: Made) -> None:
    with pytest.raises(CheckpointError, match="leave out name='vit_ti_16'"):
        read_any(made.adapter, "vit_ti_16")


def test_an_adapter_is_not_the_base_of_itself(made: Made) -> None:
    def edit(values: dict[str, Any]) -> None:
        values["adapter"] |= {"base": str(made.adapter), "beside": None}

    made.change(edit)
    with pytest.raises(CheckpointError, match="an adapter that is the base of itself"):
        read_any(made.adapter)


def test_an_adapter_can_be_the_base_of_another(made: Made, tmp_path: Path) -> None:
    first = read_any(made.adapter)
    above = tmp_path / "above"
    begun = {"source": str(made.adapter), "sha256": fingerprint(first.model.state_dict())}
    model = deepcopy(first.model)
    inject(model, ["backbone.encoder.blocks.0.mlp.expand"], 2, 2.0)
    merged: Any = merge(deepcopy(model))
    save_adapter(above, model, replace(first, model=merged, lineage={"from": begun}))
    assert same(read_any(above).model, merged)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda values: values.update(format="vitreous-adapter/9"), "format 'vitreous-adapter/9'"),
        (lambda values: values.pop("adapter"), "adapter: wanted an object"),
        (lambda values: values["adapter"].pop("rank"), "missing key 'adapter.rank'"),
        (lambda values: values["adapter"].update(rank=64), "a rank of 64 for .*wanted from 1 to"),
        (lambda values: values["adapter"].update(rank=10**12), "a rank of 1000000000000 for"),
        (
            lambda values: values["adapter"].update(rank=2),
            "the weights do not fit the model; .* of another shape",
        ),
        (
            lambda values: values["adapter"].update(layers=["backbone.norm"]),
            "backbone.norm is no linear layer",
        ),
        (lambda values: values["adapter"]["layers"].pop(), "2 unexpected"),
        (lambda values: values["adapter"].update(alpha=float("1e39")), "NaN or infinity"),
        (lambda values: values.update(classes=["a", "b", "c"]), "3 class names for a model of 2 classes"),
        (lambda values: values["model"].update(pool="mean"), "cannot become the model that it describes"),
        (lambda values: values.update(more=1), "wanted the keys"),
    ],
)
def test_configurations_that_contradict_are_refused(
    made: Made, edit: Callable[[dict[str, Any]], None], said: str
) -> None:
    made.change(edit)
    with pytest.raises(CheckpointError, match=said) as caught:
        read_any(made.adapter)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda tensors: tensors.pop("head.weight"), "1 missing: head.weight"),
        (lambda tensors: tensors.update({"backbone.norm.weight": torch.ones(64)}), "1 unexpected"),
        (lambda tensors: tensors["head.bias"].fill_(torch.nan), "NaN or infinity: head.bias"),
        (
            lambda tensors: tensors.update({"head.bias": torch.zeros(2, dtype=torch.int8)}),
            "got others in head.bias",
        ),
    ],
)
def test_tensors_that_contradict_are_refused(
    made: Made, edit: Callable[[dict[str, torch.Tensor]], None], said: str
) -> None:
    made.retensor(edit)
    with pytest.raises(CheckpointError, match=said):
        read_any(made.adapter)


def test_the_passport_says_what_it_is_and_whose(made: Made) -> None:
    found = inspect(made.adapter)
    config = read_adapter_config(made.adapter, "it")[0]
    assert found.origin == "vitreous, an adapter"
    assert found.adapter == config
    assert isinstance(config, AdapterConfig)
    assert (config.base, config.rank, config.alpha) == (str(made.base), 3, 6.0)
    assert found.tensors == len(made.learnt)
    assert found.first_classes == CLASSES
    assert "timm" in found.writable
    shutil.rmtree(made.base)
    found = inspect(made.adapter)
    assert not found.loadable
    assert "of use only with its base" in (found.problem or "")
    assert found.to_dict()["adapter"]["sha256"] == config.sha256


@pytest.mark.parametrize("layout", ["vitreous", "timm", "transformers", "torchvision"])
def test_it_is_converted_with_its_base(made: Made, tmp_path: Path, layout: str) -> None:
    images = torch.randn(2, 3, 32, 32)
    origin = open_origin(str(made.adapter))
    assert [path.name for path in origin.files] == ["adapter.safetensors", "config.json"]
    convert(origin, tmp_path / "written", layout)
    with torch.no_grad():
        wanted, found = made.checkpoint.model.eval()(images), read_any(tmp_path / "written").model(images)
    # The temperature is divided out where a layout has no place for it.
    scale = 1.0 if layout == "vitreous" else 1.5
    assert torch.allclose(found.logits * scale, wanted.logits, atol=1e-4)
