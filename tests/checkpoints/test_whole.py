"""Whole models of DALL-E's package: their tensors are taken out of the file, and nothing of it is run."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.checkpoints.make import same
from tests.checkpoints.watch import watched
from tests.parity.twins import randomise
from vitreous.checkpoints.passport import inspect
from vitreous.checkpoints.source import read_any
from vitreous.checkpoints.stored import open_directory, open_file
from vitreous.checkpoints.whole import Module, state_of
from vitreous.errors import CheckpointError

dall_e = pytest.importorskip("dall_e")
SIZES = {"n_hid": 8, "vocab_size": 12}


def encoder(**sizes: int) -> torch.nn.Module:
    return randomise(dall_e.Encoder(**SIZES | sizes))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("half", ["Encoder", "Decoder"])
def test_the_tensors_are_those_of_its_state_dict(half: str, zipped: bool, tmp_path: Path) -> None:
    model = randomise(getattr(dall_e, half)(**SIZES))
    torch.save(model, tmp_path / "half.pkl", _use_new_zipfile_serialization=zipped)
    stored = open_file(tmp_path / "half.pkl", "x")
    found, wanted = stored.load(), model.state_dict()
    assert list(found) == list(wanted) == list(stored.described)
    for key, value in wanted.items():
        assert torch.equal(found[key], value) and stored.shapes[key] == tuple(value.shape)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_type_of_numbers(dtype: torch.dtype, tmp_path: Path) -> None:
    model = encoder().to(dtype)
    torch.save(model, tmp_path / "half.pkl")
    found = open_file(tmp_path / "half.pkl", "x").load()
    assert all(torch.equal(found[key], value) for key, value in model.state_dict().items())


def test_tensors_that_share_a_storage_and_lie_across(tmp_path: Path) -> None:
    model = encoder()
    block = model.blocks.group_1.block_1.res_path
    block.conv_3.w = torch.nn.Parameter(block.conv_2.w.data.flip(0).transpose(0, 1))
    block.conv_3.b = torch.nn.Parameter(torch.arange(4.0)[2:])
    block.conv_2.b = block.conv_3.b
    for zipped in (True, False):
        torch.save(model, tmp_path / "half.pkl", _use_new_zipfile_serialization=zipped)
        found = open_file(tmp_path / "half.pkl", "x").load()
        assert all(torch.equal(found[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_of_the_file_is_run(zipped: bool, tmp_path: Path) -> None:
    torch.save(encoder(), tmp_path / "encoder.pkl", _use_new_zipfile_serialization=zipped)
    read_any(tmp_path / "encoder.pkl")  # what is imported at the first reading is no offence
    for verb in (read_any, inspect):
        seen = watched(lambda verb=verb: verb(tmp_path / "encoder.pkl"), tmp_path)
        assert seen.error is None and seen.offences == ()


def test_the_package_is_not_imported(tmp_path: Path) -> None:
    torch.save(encoder(), tmp_path / "encoder.pkl")
    script = (
        "import sys\n"
        "from vitreous.checkpoints.source import read_any\n"
        "model = read_any(sys.argv[1]).model\n"
        "assert model.config.codes == 12 and 'dall_e' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "encoder.pkl")], check=True)


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    torch.save(encoder(), tmp_path / "encoder.pkl")
    data = bytearray((tmp_path / "encoder.pkl").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "encoder.pkl").write_bytes(data)
    with pytest.raises(CheckpointError, match="is not what its checksum says"):
        read_any(tmp_path / "encoder.pkl")


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    for zipped in (True, False):
        torch.save(encoder(), tmp_path / "whole.pkl", _use_new_zipfile_serialization=zipped)
        data = (tmp_path / "whole.pkl").read_bytes()
        for place in range(1, 8):
            (tmp_path / "cut.pkl").write_bytes(data[: len(data) * place // 8])
            with pytest.raises(CheckpointError):
                read_any(tmp_path / "cut.pkl")


def test_halves_lie_side_by_side(tmp_path: Path) -> None:
    torch.save(encoder(), tmp_path / "encoder.pkl")
    assert all(key.startswith("encoder.") for key in open_directory(tmp_path, "x").described)
    assert not read_any(tmp_path).model.config.decoder
    torch.save(randomise(dall_e.Decoder(**SIZES)), tmp_path / "decoder.pkl")
    stored = open_directory(tmp_path, "x")
    assert [path.name for path in stored.files] == ["encoder.pkl", "decoder.pkl"]
    assert stored.container == "torch, 2 files"
    whole = read_any(tmp_path).model
    assert whole.config.decoder
    save_file(dict(randomise(dall_e.Decoder(**SIZES)).state_dict()), tmp_path / "decoder.safetensors")
    stored = open_directory(tmp_path, "x")  # of two the safer one
    assert [path.name for path in stored.files] == ["encoder.pkl", "decoder.safetensors"]
    assert stored.container == "torch and safetensors, 2 files"
    assert same(read_any(tmp_path).model, whole)


def test_a_module_holds_modules_and_parameters() -> None:
    inner = Module("dall_e.utils.Conv2d", {"_parameters": {"w": 1, "b": None}, "kw": 3})
    outer = Module(
        "dall_e.encoder.Encoder", {"_modules": {"one": inner, "none": None}, "_parameters": {"x": 2}}
    )
    assert state_of(outer) == {"x": 2, "one.w": 1}
    with pytest.raises(ValueError, match="no tree"):
        state_of(Module("dall_e.encoder.Encoder", {"_modules": {"one": inner, "two": inner}}))
