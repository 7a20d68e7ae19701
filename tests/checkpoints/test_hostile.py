"""Files made to do harm, and damaged ones: each is refused with a line that says what it is, while nothing
in it is run, nothing is written, and neither time nor memory is taken. ``hostile.py`` has the cases."""

import argparse
import io
import os
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.checkpoints.hostile import Case, every_case, judge, saved, timm_directory
from tests.checkpoints.hostile_containers import npy
from tests.checkpoints.hostile_pickles import Call, command
from tests.checkpoints.make import random_checkpoint, same
from tests.checkpoints.watch import MARK, watched
from tests.parity.twins import google_arrays
from vitreous.checkpoints.directory import write_directory
from vitreous.checkpoints.file import save
from vitreous.checkpoints.source import read_any
from vitreous.checkpoints.stored import open_file
from vitreous.errors import CheckpointError

SLOW = ("tuples 100,000 deep", "1,200,000 opcodes", "1,000,001 opcodes")  # half a second each
CASES = [case for case in every_case() if case.name not in SLOW]


@pytest.fixture(scope="module", autouse=True)
def warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is imported at the first reading of a sound file is no offence of a later one."""
    read_any(timm_directory(tmp_path_factory.mktemp("warm")))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_refused_by_name_and_nothing_happens(case: Case, tmp_path: Path) -> None:
    assert judge(case, tmp_path)[0] == []


def test_there_are_many_cases_and_no_two_of_one_name() -> None:
    names = [case.name for case in every_case()]
    assert len(names) > 300
    assert len(set(names)) > 0.99 * len(names)


@pytest.mark.parametrize("trusting", ["torch", "pickle", "numpy"])
def test_the_watcher_catches_readers_that_trust(trusting: str, tmp_path: Path) -> None:
    """The negative control: what vitreous refuses does run elsewhere, and is seen."""
    payload = Call(os.system, command(tmp_path))
    data = saved({"w": payload})
    objects = npy(np.array([payload], object), True)
    readers = {
        "torch": lambda: torch.load(io.BytesIO(data), weights_only=False),
        "pickle": lambda: pickle.loads(pickle.dumps(payload)),
        "numpy": lambda: np.load(io.BytesIO(objects), allow_pickle=True),
    }
    seen = watched(readers[trusting], tmp_path)
    assert (tmp_path / MARK).exists()
    assert any("os.system" in offence for offence in seen.offences)
    assert any("the folder changed" in offence for offence in seen.offences)


def test_the_watcher_catches_writing(tmp_path: Path) -> None:
    seen = watched(lambda: (tmp_path / "written").write_text("x"), tmp_path)
    assert any("to write" in offence for offence in seen.offences)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "manifest.json"])
def test_a_damaged_file_of_ours_is_always_noticed(file: str, tmp_path: Path) -> None:
    save(tmp_path / "model", random_checkpoint())
    path = tmp_path / "model" / file
    data = path.read_bytes()
    generator = random.Random(0)
    for damaged in (*_cut(data, 8), *(_changed(data, generator.randrange(8 * len(data))) for _ in range(24))):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            read_any(tmp_path / "model")


@pytest.mark.parametrize("container", ["pth", "npz"])
def test_a_damaged_zip_is_noticed_or_unharmed(container: str, tmp_path: Path) -> None:
    """Both have checksums of their numbers; a bit of a time or of a comment harms nothing."""
    if container == "pth":
        source = timm_directory(tmp_path)
        state = open_file(source / "model.safetensors", "a test").load()
        (source / "model.safetensors").unlink()
        path = source / "pytorch_model.bin"
        path.write_bytes(saved(dict(state)))
    else:
        source = path = tmp_path / "vit.npz"
        np.savez(path, **google_arrays())
    data, whole = path.read_bytes(), read_any(source).model
    generator = random.Random(0)
    for damaged in _cut(data, 8):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            read_any(source)
    for _ in range(24):
        path.write_bytes(_changed(data, generator.randrange(8 * len(data))))
        try:
            assert same(read_any(source).model, whole)
        except CheckpointError as error:
            assert "\n" not in str(error)


def test_checksums_that_torch_did_not_compute_are_not_asked_for(tmp_path: Path) -> None:
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": torch.arange(4.0)}, tmp_path / "weights.pth")
    finally:
        torch.serialization.set_crc32_options(before)
    assert torch.equal(open_file(tmp_path / "weights.pth", "x").load()["w"], torch.arange(4.0))


def test_settings_beside_the_weights_are_read_as_words(tmp_path: Path) -> None:
    """Files of training scripts hold a Namespace and paths; their classes are never looked for."""
    args = argparse.Namespace(lr=0.1, output=Path("/x"), names={"a", "b"})
    values: dict[str, Any] = {"model": {"w": torch.ones(2)}, "args": args, "best": np.float64(0.5)}
    for new in (True, False):
        path = tmp_path / f"{new}.pth"
        torch.save(values, path, _use_new_zipfile_serialization=new)
        open_file(path, "x").load()  # codecs are looked up once
        seen = watched(lambda path=path: open_file(path, "x").load(), tmp_path)
        assert torch.equal(seen.result["w"], torch.ones(2))
        assert seen.offences == ()


def test_weights_swapped_for_a_pickle(tmp_path: Path) -> None:
    save(tmp_path / "model", random_checkpoint())
    config = (tmp_path / "model/config.json").read_bytes()
    swapped = {"config.json": config, "model.safetensors": saved({"w": Call(os.system, command(tmp_path))})}
    write_directory(tmp_path / "model", swapped)
    with pytest.raises(CheckpointError, match="safetensors"):
        read_any(tmp_path / "model")
    assert not (tmp_path / MARK).exists()


def test_an_array_of_another_shape_is_listed(tmp_path: Path) -> None:
    arrays = google_arrays()
    arrays["cls"] = np.zeros((1, 1, 63), np.float32)
    np.savez(tmp_path / "vit.npz", **arrays)
    with pytest.raises(CheckpointError, match=r"cls \(wanted 1x1x64, found 1x1x63\)"):
        read_any(tmp_path / "vit.npz")


def test_arrays_in_another_order_of_bytes_are_the_same(tmp_path: Path) -> None:
    arrays = google_arrays()
    np.savez(tmp_path / "little.npz", **arrays)
    np.savez(tmp_path / "big.npz", **{key: value.astype(">f4") for key, value in arrays.items()})
    assert same(read_any(tmp_path / "little.npz").model, read_any(tmp_path / "big.npz").model)


def _cut(data: bytes, places: int) -> list[bytes]:
    return [data[: len(data) * place // places] for place in range(places)]


def _changed(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]
