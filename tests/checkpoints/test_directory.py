"""Directories that are there whole or not at all: kills, full disks, flipped bits."""

import errno
import json
import os
import resource
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vitreous.checkpoints.directory import (
    MANIFEST,
    FileContent,
    locate,
    read_json,
    to_json,
    verify_directory,
    write_directory,
)
from vitreous.errors import CheckpointError, StorageError

OLD: Mapping[str, FileContent] = {"a.json": b'{"version": "old"}', "b.bin": b"old" * 1000}
NEW: Mapping[str, FileContent] = {"a.json": b'{"version": "new"}', "b.bin": b"new" * 2000}


def content(directory: Path) -> dict[str, bytes]:
    """What a reader of ``directory`` gets, verified."""
    whole = verify_directory(directory)
    return {path.name: path.read_bytes() for path in whole.iterdir() if path.name != MANIFEST}


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def in_place(directory: Path, files: Mapping[str, FileContent]) -> None:
    """The negative control: files written one after another where they are to stand."""
    import hashlib

    entries = {}
    for name, data in files.items():
        assert isinstance(data, bytes)
        (directory / name).write_bytes(data)
        entries[name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (directory / MANIFEST).write_bytes(to_json({"files": entries}))


def killed_at(event: int, work: Callable[[], object]) -> bool:
    """Run ``work`` in a process of its own that dies at its n-th access to a file; whether it died."""
    child = os.fork()
    if child == 0:
        seen = 0

        def die(name: str, _: object) -> None:
            nonlocal seen
            if name == "open" or name.startswith(("os.", "shutil.")):
                seen += 1
                if seen > event:
                    os._exit(9)

        sys.addaudithook(die)
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 9


def test_written_and_replaced(tmp_path: Path) -> None:
    place = tmp_path / "made/on/the/way/model"
    write_directory(place, OLD)
    assert content(place) == OLD
    write_directory(place, NEW)
    assert content(place) == NEW
    assert names(place.parent) == ["model"]


def test_a_function_writes_its_own_file(tmp_path: Path) -> None:
    write_directory(tmp_path / "model", {"x.txt": lambda path: path.write_text("x") and None})
    assert content(tmp_path / "model") == {"x.txt": b"x"}


def test_a_kill_at_any_file_event_leaves_a_whole_one(tmp_path: Path) -> None:
    outcomes = set()
    for event in range(200):
        parent = tmp_path / str(event)
        write_directory(parent / "model", OLD)
        died = killed_at(event, lambda parent=parent: write_directory(parent / "model", NEW))
        found = content(parent / "model")
        assert found in (OLD, NEW), event
        outcomes.add(found["a.json"])
        write_directory(parent / "model", NEW)  # the next save works, and clears away what was left
        assert content(parent / "model") == NEW and names(parent) == ["model"]
        if not died:
            break
    assert not died and event > 10
    assert len(outcomes) == 2


def test_kill_after_kill_leaves_a_whole_one(tmp_path: Path) -> None:
    place = tmp_path / "model"
    write_directory(place, OLD)
    for event in range(0, 40, 2):
        killed_at(event, lambda: write_directory(place, NEW))
        assert content(place) in (OLD, NEW)
    write_directory(place, NEW)
    assert names(tmp_path) == ["model"]


def test_the_kill_test_can_fail(tmp_path: Path) -> None:
    broken = 0
    for event in range(20):
        place = tmp_path / str(event)
        write_directory(place, OLD)
        killed_at(event, lambda place=place: in_place(place, NEW))
        try:
            content(place)
        except CheckpointError:
            broken += 1
    assert broken > 0


def test_the_previous_one_is_read_where_a_kill_fell_between_the_renames(tmp_path: Path) -> None:
    write_directory(tmp_path / "model", OLD)
    (tmp_path / "model").rename(tmp_path / "model.previous")
    assert content(tmp_path / "model") == OLD
    write_directory(tmp_path / "model", NEW)
    assert content(tmp_path / "model") == NEW and names(tmp_path) == ["model"]


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Within, no file of this process can grow beyond ``size`` bytes: the system refuses the write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("exists", [True, False])
def test_a_disk_that_takes_no_more_leaves_the_old_one_and_no_litter(tmp_path: Path, exists: bool) -> None:
    if exists:
        write_directory(tmp_path / "model", OLD)
    for size in range(0, 6000, 150):
        with file_size_limit(size), pytest.raises(StorageError) as caught:
            write_directory(tmp_path / "model", NEW)
        assert os.strerror(errno.EFBIG) in str(caught.value) and "\n" not in str(caught.value)
        assert names(tmp_path) == (["model"] if exists else [])
    if exists:
        assert content(tmp_path / "model") == OLD


def test_an_interrupted_save_leaves_no_litter(tmp_path: Path) -> None:
    def interrupt(_: Path) -> None:
        raise KeyboardInterrupt

    write_directory(tmp_path / "model", OLD)
    with pytest.raises(KeyboardInterrupt):
        write_directory(tmp_path / "model", {"a.json": b"{}", "b.bin": interrupt})
    assert content(tmp_path / "model") == OLD and names(tmp_path) == ["model"]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (
        tmp_path / "file",
        tmp_path / "file/model",
        tmp_path / ("x" * 300),
        Path("/proc/none/model"),
    ):
        with pytest.raises(StorageError) as caught:
            write_directory(place, NEW)
        assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "mine" and names(tmp_path) == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not hold for root")
def test_a_missing_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="Permission denied"):
        write_directory(tmp_path / "model", NEW)


def test_somebody_elses_directory_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    write_directory(tmp_path / "photos", OLD)  # an empty one is free
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.txt").write_text("years of work")
    with pytest.raises(StorageError, match="not written by vitreous"):
        write_directory(tmp_path / "thesis", NEW)
    assert (tmp_path / "thesis/chapter.txt").read_text() == "years of work"


def test_a_link_is_written_through(tmp_path: Path) -> None:
    write_directory(tmp_path / "run-7", OLD)
    (tmp_path / "latest").symlink_to("run-7")
    write_directory(tmp_path / "latest", NEW)
    assert (tmp_path / "latest").is_symlink() and content(tmp_path / "run-7") == NEW


@pytest.mark.parametrize("name", ["../up", "a/b", "", "..", MANIFEST, "c:evil", "back\\slash"])
def test_names_of_files_are_plain(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="plain file name"):
        write_directory(tmp_path / "model", {name: b""})


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_flipped_bit_and_every_cut_is_refused(tmp_path: Path, data: st.DataObject) -> None:
    place = tmp_path / "model"
    write_directory(place, OLD)
    path = place / data.draw(st.sampled_from(sorted(OLD)))
    whole = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        whole[position] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del whole[position:]
    path.write_bytes(whole)
    with pytest.raises(CheckpointError, match="damaged"):
        verify_directory(place)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_damaged_manifest_is_refused_or_says_the_same(tmp_path: Path, position: int, bit: int) -> None:
    place = tmp_path / "model"
    write_directory(place, OLD)
    path = place / MANIFEST
    whole = bytearray(path.read_bytes())
    before = json.loads(bytes(whole))
    whole[position % len(whole)] ^= 1 << bit
    path.write_bytes(whole)
    try:
        verify_directory(place)
    except CheckpointError:
        return
    assert json.loads(path.read_bytes()) == before  # a blank became another blank


def test_missing_files_and_missing_directories(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no directory of vitreous"):
        verify_directory(tmp_path / "nowhere")
    write_directory(tmp_path / "model", OLD)
    (tmp_path / "model/b.bin").unlink()
    with pytest.raises(CheckpointError, match=r"b\.bin: missing"):
        verify_directory(tmp_path / "model", name="that model")
    assert locate(tmp_path) is None


@pytest.mark.parametrize("text", ["[1]", '{"a": NaN}', "{", "[" * 100_000, "\xff"])
def test_json_that_is_no_object(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"^x: damaged"):
        read_json(tmp_path / "x.json", "x")


def test_numbers_that_json_does_not_have() -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_json({"a": float("nan")})
