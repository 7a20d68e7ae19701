"""What is kept comes back as it was, or not at all."""

import os
from pathlib import Path

import numpy as np
import pytest

from vitreous.data import cache
from vitreous.data.cache import cache_directory, read_cached, write_cached
from vitreous.errors import StorageError

ARRAYS = {"numbers": np.arange(12, dtype=np.float32).reshape(3, 4), "marks": np.ones(3, dtype=np.uint8)}


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    write_cached(tmp_path / "deep" / "a.safetensors", ARRAYS)
    found = read_cached(tmp_path / "deep" / "a.safetensors")
    assert found is not None and found.keys() == ARRAYS.keys()
    assert all(np.array_equal(found[name], array) for name, array in ARRAYS.items())
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "missing", "unsigned"])
def test_what_is_damaged_is_as_good_as_none(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.safetensors"
    write_cached(path, ARRAYS)
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[-2] ^= 4
    elif damage == "unsigned":
        content = content.replace(b'"sha256"', b'"sha257"')
    path.write_bytes({"cut": content[:-5], "empty": b""}.get(damage, content))
    if damage == "missing":
        path.unlink()
    assert read_cached(path) is None


def test_a_place_that_cannot_be_written_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        write_cached(tmp_path / "file" / "a.safetensors", ARRAYS)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate("abc"):
        write_cached(tmp_path / f"{name}.safetensors", ARRAYS)
        os.utime(tmp_path / f"{name}.safetensors", (number, number))
    assert read_cached(tmp_path / "a.safetensors") is not None  # now b is the one that rests for longest
    size = (tmp_path / "a.safetensors").stat().st_size
    monkeypatch.setattr(cache, "LIMIT", 3 * size)
    write_cached(tmp_path / "d.safetensors", ARRAYS)
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["a", "c", "d"]


def test_the_place_is_the_one_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VITREOUS_CACHE", str(tmp_path))
    assert cache_directory("features") == tmp_path / "features"
    monkeypatch.delenv("VITREOUS_CACHE")
    assert cache_directory("features") == Path.home() / ".cache" / "vitreous" / "features"
