"""One way in: what a path is, told by contents."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.checkpoints.hostile import timm_directory
from tests.checkpoints.hostile_shards import INDEX, sharded
from tests.checkpoints.make import random_checkpoint, same
from tests.parity.twins import google_arrays
from vitreous.checkpoints.destination import LAYOUTS, write_any
from vitreous.checkpoints.file import save
from vitreous.checkpoints.source import read_any
from vitreous.errors import CheckpointError

HUB_REFUSED = "nobody/no-such-model: no such path here, and the Hub did not give it: "


def test_a_run_is_read_at_its_best(tmp_path: Path) -> None:
    last, best = random_checkpoint(seed=1), random_checkpoint(seed=2)
    save(tmp_path / "run/last", last)
    assert same(read_any(tmp_path / "run").model, last.model)
    save(tmp_path / "run/best", best)
    (tmp_path / "run/config.json").write_text('{"model": "vit_tiny"}')
    assert same(read_any(tmp_path / "run").model, best.model)
    assert same(read_any(str(tmp_path / "run/last")).model, last.model)


def test_a_file_inside_a_model_stands_for_it(tmp_path: Path) -> None:
    checkpoint = random_checkpoint()
    save(tmp_path, checkpoint)
    assert same(read_any(tmp_path / "model.safetensors").model, checkpoint.model)


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout != "dall_e"])
def test_every_layout_is_told_by_its_contents(tmp_path: Path, layout: str) -> None:
    checkpoint = random_checkpoint()
    write_any(tmp_path / "model", checkpoint, layout)
    back = read_any(tmp_path / "model")
    assert same(back.model, checkpoint.model)
    assert back.lineage.get("layout", "vitreous") == layout


def test_a_foreign_directory_that_we_wrote_is_verified(tmp_path: Path) -> None:
    write_any(tmp_path / "model", random_checkpoint(), "transformers")
    path = tmp_path / "model/config.json"
    path.write_text(path.read_text().replace('"ant"', '"ape"'))
    with pytest.raises(CheckpointError, match=r"delete manifest\.json"):
        read_any(tmp_path / "model")
    (tmp_path / "model/manifest.json").unlink()
    assert read_any(tmp_path / "model").classes[0] == "ape"


def test_names_of_files_decide_nothing(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **google_arrays())
    (tmp_path / "a.npz").rename(tmp_path / "a.pth")
    assert read_any(tmp_path / "a.pth").lineage["layout"] == "google"


def test_a_name_where_the_file_says_it_already(tmp_path: Path) -> None:
    save(tmp_path, random_checkpoint())
    with pytest.raises(CheckpointError, match="leave out name='vit_tiny'"):
        read_any(tmp_path, name="vit_tiny")


def test_an_unknown_name_has_near_ones(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **google_arrays())
    with pytest.raises(CheckpointError, match="did you mean 'vit_tiny'"):
        read_any(tmp_path / "a.npz", name="vit_tyny")


def test_what_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file or directory"):
        read_any(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="no such file or directory"):
        read_any("x" * 5000)
    with pytest.raises(CheckpointError, match="no weights are there"):
        read_any(tmp_path)
    for file in ("a.pth", "b.pth"):
        torch.save({}, tmp_path / file)
    with pytest.raises(CheckpointError, match="several files of weights"):
        read_any(tmp_path)


def test_an_unknown_layout_to_write(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="did you mean 'transformers'"):
        write_any(tmp_path / "model", random_checkpoint(), "transformer")


@pytest.mark.parametrize("given", ["", INDEX, "model-00002-of-00003.safetensors"])
@pytest.mark.parametrize("indexed", [True, False])
def test_shards_are_one_model_whichever_is_given(tmp_path: Path, given: str, indexed: bool) -> None:
    whole = read_any(timm_directory(tmp_path / "whole"))
    directory = sharded(tmp_path / "shards")
    if not indexed:
        if given == INDEX:
            return
        (directory / INDEX).unlink()
    back = read_any(directory / given)
    assert same(back.model, whole.model) and back.classes == whole.classes


def test_links_out_of_a_directory_are_followed(tmp_path: Path) -> None:
    """The Hub's cache is made of them."""
    directory = timm_directory(tmp_path)
    for name in ("model.safetensors", "config.json"):
        (directory / name).rename(tmp_path / f"blob-{name}")
        (directory / name).symlink_to(tmp_path / f"blob-{name}")
    assert same(read_any(directory).model, random_checkpoint().model)


STATE = "weights under their own names"
WRAPPINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing around them": ({"": STATE}, {}),
    "model and the rest of a training": (
        {"model": STATE, "epoch": 3, "optimizer": {"state": {}, "param_groups": []}},
        {"entry": "model", "beside": {"epoch": "3", "optimizer": "the state of an optimizer"}},
    ),
    "the averaged ones of timm": (
        {"state_dict": "other", "state_dict_ema": STATE, "arch": "vit"},
        {"entry": "state_dict_ema", "beside": {"state_dict": "32 tensors", "arch": "vit"}},
    ),
    "DeiT's": ({"model": "other", "model_ema": STATE}, {
        "entry": "model_ema", "beside": {"model": "32 tensors"},
    }),
    "the teacher of DINO, with its head": (
        {"student": "other", "teacher": ("module.backbone.", STATE)},
        {
            "entry": "teacher",
            "prefix": "module.backbone.",
            "beside": {"student": "32 tensors"},
            "dropped": ["module.head.mlp.0.weight", "module.head.last_layer.weight_v"],
        },
    ),
    "Lightning's": ({"state_dict": ("model.", STATE), "global_step": 7}, {
        "entry": "state_dict", "prefix": "model.", "beside": {"global_step": "7"},
    }),
    "compiled and distributed": ({"": ("_orig_mod.module.", STATE)}, {"prefix": "_orig_mod.module."}),
    "an encoder": ({"encoder_q": ("encoder.", STATE), "step": 1}, {
        "entry": "encoder_q", "prefix": "encoder.", "beside": {"step": "1"},
    }),
    "torch's average": ({"": ("module.", STATE, "n_averaged")}, {
        "prefix": "module.", "dropped": ["n_averaged"],
    }),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRAPPINGS)
def test_weights_are_found_in_what_a_training_saved(kind: str, tmp_path: Path) -> None:
    saved, said = WRAPPINGS[kind]
    directory = timm_directory(tmp_path)
    state = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()

    def filled(value: Any) -> Any:
        if value == "other":
            return {key: tensor + 1 for key, tensor in state.items()}
        if value == STATE:
            return state
        if isinstance(value, tuple):
            whole = {value[0] + key: tensor for key, tensor in state.items()}
            if "teacher" in kind:
                heads = ("module.head.mlp.0.weight", "module.head.last_layer.weight_v")
                whole |= dict.fromkeys(heads, torch.ones(2))
            return whole | dict.fromkeys(value[2:], torch.tensor(3))
        return value

    values = {key: filled(value) for key, value in saved.items()}
    torch.save(values.get("", values), directory / "pytorch_model.bin")
    back = read_any(directory)
    assert same(back.model, random_checkpoint().model)
    assert {
        key: back.lineage[key] for key in ("entry", "prefix", "beside", "dropped") if key in back.lineage
    } == said


def test_two_entries_that_could_be_meant_are_not_chosen_between(tmp_path: Path) -> None:
    torch.save({"first": {"w": torch.ones(2)}, "second": {"w": torch.ones(2)}}, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="several entries hold tensors, first, second"):
        read_any(tmp_path / "weights.pth")


def test_a_prefix_of_some_names_is_not_taken_off(tmp_path: Path) -> None:
    directory = timm_directory(tmp_path)
    state = load_file(directory / "model.safetensors")
    mixed = {key if key.startswith("head") else f"module.{key}": value for key, value in state.items()}
    save_file(mixed, directory / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"no known layout.*once 'module\.' is taken off"):
        read_any(directory)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    directory = timm_directory(tmp_path)
    state = {key: value.to(dtype) for key, value in load_file(directory / "model.safetensors").items()}
    save_file(state, directory / "model.safetensors")
    model = read_any(directory).model
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    assert torch.equal(model.state_dict()["head.weight"], state["head.weight"].float())
    assert {value.dtype for value in read_any(directory, dtype=None).model.parameters()} == {dtype}


def test_large_finite_numbers_are_no_infinities(tmp_path: Path) -> None:
    """Their sum overflows; each of them is finite."""
    directory = timm_directory(tmp_path)
    state = load_file(directory / "model.safetensors")
    state["head.weight"] = torch.full_like(state["head.weight"], 3e38)
    save_file(state, directory / "model.safetensors")
    assert read_any(directory).model.state_dict()["head.weight"].min() == torch.tensor(3e38)


def _hub(tmp_path: Path, **environment: str) -> tuple[str, float]:
    """What is said of a Hub id, and after how many seconds of work."""
    code = (
        "import time, huggingface_hub\n"
        "from vitreous.checkpoints.source import read_any\n"
        "from vitreous.errors import CheckpointError\n"
        "started = time.perf_counter()\n"
        "try:\n    read_any('nobody/no-such-model')\n"
        "except CheckpointError as error:\n    print(error)\n"
        "print(time.perf_counter() - started)\n"
    )
    environment = os.environ | {"HF_HOME": str(tmp_path)} | environment
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    said, seconds = done.stdout.splitlines()
    return said, float(seconds)


def test_the_hub_without_a_network_is_one_line(tmp_path: Path) -> None:
    said, seconds = _hub(tmp_path, HF_HUB_OFFLINE="1")
    assert said.startswith(HUB_REFUSED + "HF_HUB_OFFLINE forbids to ask it")
    assert seconds < 5


def test_a_hub_that_is_not_there_is_given_up_at_once(tmp_path: Path) -> None:
    said, seconds = _hub(tmp_path, HF_HUB_OFFLINE="0", HF_ENDPOINT="http://127.0.0.1:9")
    assert said.startswith(HUB_REFUSED + "there is no connection to it")
    assert seconds < 5


def test_a_hub_that_never_answers_is_given_up_soon(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        started = time.perf_counter()
        said, seconds = _hub(tmp_path, HF_HUB_OFFLINE="0", HF_ENDPOINT=endpoint)
    assert said.startswith(HUB_REFUSED + "it does not answer")
    assert seconds <= time.perf_counter() - started < 60 and seconds < 12


def test_reading_imports_no_other_library() -> None:
    code = (
        "import sys, vitreous.checkpoints.source, vitreous.checkpoints.destination,"
        " vitreous.checkpoints.passport\n"
        "heavy = {'timm', 'transformers', 'torchvision', 'huggingface_hub', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_index_that_is_read_is_said_in_the_error(tmp_path: Path) -> None:
    directory = sharded(tmp_path)
    table = json.loads((directory / INDEX).read_text())
    table["weight_map"]["surprise"] = "model-00001-of-00003.safetensors"
    (directory / INDEX).write_text(json.dumps(table))
    with pytest.raises(CheckpointError, match=rf"{INDEX}: the shards do not hold what it lists: surprise"):
        read_any(directory)
