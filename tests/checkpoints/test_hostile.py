"""Files made to do harm: each is refused with a line that names it, and nothing in it is run."""

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file

from tests.checkpoints.make import random_checkpoint
from tests.parity.twins import google_arrays
from vitreous.checkpoints.directory import MANIFEST, write_directory
from vitreous.checkpoints.file import save as save_checkpoint
from vitreous.checkpoints.passport import inspect
from vitreous.checkpoints.source import read_any
from vitreous.errors import CheckpointError

TENSORS = {"blocks.0.norm1.weight": torch.ones(4), "patch_embed.proj.weight": torch.ones(4, 3, 2, 2)}


class Payload:
    """What a pickle runs when it is read: it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, (f"touch {self.mark}",)


def header(entries: dict[str, Any], data: bytes = b"", length: int | None = None) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(start: int, stop: int, shape: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def npz(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def npy(array: np.ndarray, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=allow_pickle)
    return buffer.getvalue()


def saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def repacked(data: bytes, rename: Callable[[str], str], compression: int) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = {rename(name): archive.read(name) for name in archive.namelist()}
    return npz(entries, compression)


def lying_array() -> bytes:
    """An array whose header claims a million values, and which holds four."""
    whole = npy(np.zeros(4, np.float32))
    return whole.replace(b"(4,)", b"(1000000,)").replace(b"      \n", b"\n", 1)


def script() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), buffer)
    return buffer.getvalue()


FILES: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "pickle of torch.save": (lambda mark: saved({"w": Payload(mark)}), r"system"),
    "pickle of the old torch.save": (
        lambda mark: saved({"w": Payload(mark)}, _use_new_zipfile_serialization=False),
        r"system",
    ),
    "bare pickle": (lambda mark: pickle.dumps(Payload(mark), 2), "refused|damaged"),
    "bare pickle of protocol 0": (lambda mark: pickle.dumps(Payload(mark), 0), "not a file of weights"),
    "whole model in a pickle": (lambda _: saved(torch.nn.Linear(2, 2)), r"modules\.linear\.Linear"),
    "TorchScript": (lambda _: script(), "a TorchScript archive is code"),
    "pickle of a number": (lambda _: saved(3), "holds a int"),
    "pickle of other values": (lambda _: saved({"a": 3, "b": [1]}), "a, b is no tensor"),
    "pickle of nothing": (lambda _: saved({}), "it is empty"),
    "expanded tensor": (
        lambda _: saved({"head.weight": torch.zeros(1).expand(10**12)}), "more numbers than the file holds"
    ),
    "tensor without numbers": (lambda _: saved({"a": torch.empty(10**9, device="meta")}), "plain numbers"),
    "sparse tensor": (lambda _: saved({"a": torch.eye(3).to_sparse()}), "plain numbers|damaged"),
    "object array": (
        lambda mark: npz({"embedding/kernel.npy": npy(np.array([Payload(mark)], object), True)}), "objects"
    ),
    "array of text": (lambda _: npz({"embedding/kernel.npy": npy(np.array(["a"]))}), "array of numbers"),
    "array of structures": (
        lambda _: npz({"a.npy": npy(np.zeros(2, [("x", "f4"), ("y", "O")]), True)}), "objects"
    ),
    "array that claims more": (lambda _: npz({"embedding/kernel.npy": lying_array()}), "damaged"),
    "npz that unpacks to 40 MB": (
        lambda _: npz({"embedding/kernel.npy": npy(np.zeros(10**7, np.float32))}, zipfile.ZIP_DEFLATED),
        "unpack to more",
    ),
    "pth that unpacks to more": (
        lambda _: repacked(saved({"w": torch.zeros(10**6)}), str, zipfile.ZIP_DEFLATED), "unpack to more"
    ),
    "npz that points upwards": (lambda _: npz({"../../evil.npy": npy(np.zeros(3))}), "outside itself"),
    "npz that points to the root": (lambda _: npz({"/etc/evil.npy": npy(np.zeros(3))}), "outside itself"),
    "pth that points upwards": (
        lambda _: repacked(saved(TENSORS), lambda name: "../" + name, zipfile.ZIP_STORED), "outside itself"
    ),
    "npz with something else in it": (lambda _: npz({"a.npy": npy(np.zeros(3)), "b.txt": b"x"}), "damaged"),
    "zip of nothing": (lambda _: npz({}), "damaged|refused|not a file"),
    "zip cut short": (lambda _: npz({"a.npy": npy(np.zeros(999))})[:-30], "damaged"),
    "safetensors with an endless header": (lambda _: header({}, length=2**62), "cut short"),
    "safetensors with a header of 40 MB": (
        lambda _: header({}, b" " * 40 * 2**20, length=40 * 2**20), "more than .* are refused"
    ),
    "safetensors nested deeply": (
        lambda _: struct.pack("<Q", 200_000) + b'{"a":' + b"[" * 199_995, "damaged safetensors header"
    ),
    "safetensors that points behind its end": (
        lambda _: header({"a": tensor(0, 10**9, [250_000_000])}, bytes(16)), "damaged safetensors header"
    ),
    "safetensors that points ahead of its start": (
        lambda _: header({"a": tensor(-8, 8, [4])}, bytes(16)), "damaged safetensors header"
    ),
    "safetensors of a negative size": (
        lambda _: header({"a": tensor(0, 16, [-4])}, bytes(16)), "damaged|no known layout"
    ),
    "safetensors whose tensors overlap": (
        lambda _: header(
            {"patch_embed.proj.weight": tensor(0, 16, [4]), "blocks.0.x": tensor(0, 16, [4])}, bytes(16)
        ),
        "damaged|patch projection",
    ),
    "safetensors cut short": (lambda _: save(TENSORS)[:-5], "damaged"),
    "safetensors whose header is a list": (lambda _: struct.pack("<Q", 4) + b'{"a"' + bytes(8), "damaged"),
    "text": (lambda _: b"hello, I am a model", "not a file of weights"),
    "nothing": (lambda _: b"", "not a file of weights"),
    "picture": (lambda _: b"\x89PNG\r\n\x1a\n" + bytes(100), "not a file of weights"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:Validating sparse:UserWarning")
@pytest.mark.parametrize("verb", [read_any, inspect])
@pytest.mark.parametrize("kind", FILES)
def test_a_hostile_file_is_refused(tmp_path: Path, kind: str, verb: Callable[[Path], Any]) -> None:
    build, reason = FILES[kind]
    mark = tmp_path / "executed"
    path = tmp_path / "weights.bin"
    path.write_bytes(build(mark))
    with pytest.raises(CheckpointError, match=reason) as caught:
        result = verb(path)
        if verb is inspect and result.problem:  # sound, but nobody's: the passport says so
            raise CheckpointError(f"{path}: {result.problem}")
    assert not mark.exists()
    assert "\n" not in str(caught.value) and str(caught.value).startswith(str(path))


def test_the_payload_would_run(tmp_path: Path) -> None:
    """The negative control: what vitreous refuses does run in a plain unpickler."""
    pickle.loads(pickle.dumps(Payload(tmp_path / "executed")))
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.safetensors"])
def test_a_pickle_in_a_directory_is_refused_under_any_name(tmp_path: Path, file: str) -> None:
    mark = tmp_path / "executed"
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    (tmp_path / file).write_bytes(saved({"w": Payload(mark)}))
    with pytest.raises(CheckpointError, match="system"):
        read_any(tmp_path)
    assert not mark.exists()


@pytest.mark.parametrize("shard", ["../outside.safetensors", "/etc/passwd", "..", "a/b.safetensors"])
def test_an_index_that_points_outside(tmp_path: Path, shard: str) -> None:
    directory = tmp_path / "model"
    directory.mkdir()
    save_file(TENSORS, tmp_path / "outside.safetensors")
    index = {"weight_map": dict.fromkeys(TENSORS, shard)}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="it names a file outside"):
        read_any(directory)


def test_a_manifest_that_points_outside(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("x")
    write_directory(tmp_path / "model", {"a": b"x"})
    manifest = tmp_path / "model" / MANIFEST
    manifest.write_text(manifest.read_text().replace('"a"', '"../outside"'))
    with pytest.raises(CheckpointError, match="is damaged"):
        inspect(tmp_path / "model")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "weights")
    with pytest.raises(CheckpointError, match="no such file of weights"):
        read_any(tmp_path / "weights")


def test_weights_swapped_for_a_pickle(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "model", random_checkpoint())
    config = (tmp_path / "model/config.json").read_bytes()
    mark = tmp_path / "executed"
    swapped = {"config.json": config, "model.safetensors": saved({"w": Payload(mark)})}
    write_directory(tmp_path / "model", swapped)
    with pytest.raises(CheckpointError, match="safetensors"):
        read_any(tmp_path / "model")
    assert not mark.exists()


def test_an_array_of_another_shape_is_listed(tmp_path: Path) -> None:
    arrays = google_arrays()
    arrays["cls"] = np.zeros((1, 1, 63), np.float32)
    np.savez(tmp_path / "vit.npz", **arrays)
    with pytest.raises(CheckpointError, match=r"cls \(wanted 1x1x64, found 1x1x63\)"):
        read_any(tmp_path / "vit.npz")
