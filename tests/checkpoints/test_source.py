"""One way in: what a path is, told by contents."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.checkpoints.make import random_checkpoint, same
from tests.parity.twins import google_arrays
from vitreous.checkpoints.destination import LAYOUTS, write_any
from vitreous.checkpoints.file import save
from vitreous.checkpoints.source import read_any
from vitreous.errors import CheckpointError


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


@pytest.mark.parametrize("layout", LAYOUTS)
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
    with pytest.raises(CheckpointError, match="no weights are there"):
        read_any(tmp_path)
    for file in ("a.pth", "b.pth"):
        torch.save({}, tmp_path / file)
    with pytest.raises(CheckpointError, match="several files of weights"):
        read_any(tmp_path)


def test_an_unknown_layout_to_write(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="did you mean 'transformers'"):
        write_any(tmp_path / "model", random_checkpoint(), "transformer")


def test_the_hub_without_a_network_is_one_line(tmp_path: Path) -> None:
    code = (
        "from vitreous.checkpoints.source import read_any\n"
        "from vitreous.errors import CheckpointError\n"
        "try:\n    read_any('nobody/no-such-model')\n"
        "except CheckpointError as error:\n    print(error)\n"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.startswith("nobody/no-such-model: no such path here, and the Hub did not give it")
    assert done.stdout.count("\n") == 1


def test_reading_imports_no_other_library() -> None:
    code = (
        "import sys, vitreous.checkpoints.source, vitreous.checkpoints.destination,"
        " vitreous.checkpoints.passport\n"
        "heavy = {'timm', 'transformers', 'torchvision', 'huggingface_hub', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
