"""How loading and inspecting answer hostile and damaged checkpoints.

    python -m benchmarks.hostile_checkpoints [--flips 200]

Each case of ``tests/checkpoints/hostile.py`` has to be refused with one line that says what it is, by
``load`` and by ``inspect``, in under 2 seconds and 512 MB each, while an audit hook watches: no code of
the file is run, no module or name is looked up for it, nothing is written, nobody is called. Then sound
files of every container are cut short at 20 places, and single bits are changed: each such file is refused,
or gives exactly the weights that it had. The numbers of a safetensors file have no checksum; a changed
bit there shows in our own directories alone, whose manifest has one.

The negative controls show that the watcher can fail: readers that trust their files are watched as well,
and have to be caught. Exit code 1 unless all is as it should be.
"""

import argparse
import io
import logging
import os
import pickle
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from tests.checkpoints import hostile_containers, hostile_directories, hostile_pickles, hostile_shards
from tests.checkpoints.hostile import Case, judge, saved, timm_directory, transformers_directory
from tests.checkpoints.make import random_checkpoint, same
from tests.checkpoints.watch import MARK, watched
from tests.parity.twins import google_arrays

from vitreous.checkpoints.file import save
from vitreous.checkpoints.passport import inspect
from vitreous.checkpoints.source import read_any
from vitreous.errors import CheckpointError

GROUPS = {
    "pickles that call": hostile_pickles.CALLS_CASES,
    "pickles in odd wrappings": hostile_pickles.WRAPPED,
    "tensors that lie": hostile_pickles.TENSORS,
    "safetensors": hostile_containers.SAFETENSORS,
    "npz and zip": hostile_containers.NPZ,
    "something else": hostile_containers.OTHERS,
    "hostile JSON": hostile_directories.CONFIGS,
    "numbers": hostile_directories.NUMBERS,
    "shards": hostile_shards.SHARDS,
    "directories": hostile_directories.DIRECTORIES,
}
CUTS = 20


class Sound(NamedTuple):
    """A sound checkpoint: what a user gives, the file that is damaged, and where its bits are changed."""

    name: str
    source: Path
    file: Path
    start: int
    stop: int


def run(name: str, cases: list[Case]) -> list[str]:
    """Print the line of a group, and return what went wrong."""
    wrong, slowest, most = [], 0.0, 0.0
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            faults, seconds, megabytes = judge(case, Path(folder))
        slowest, most = max(slowest, seconds), max(most, megabytes)
        if faults:
            wrong.append(f"{case.name}: {faults[0]}")
    right = len(cases) - len(wrong)
    print(f"{name:<28}{len(cases):>6}{right:>9}{slowest:>10.2f} s{most:>8.0f} MB", flush=True)
    return wrong


def sound_files(folder: Path) -> Iterator[Sound]:
    """One of each container, with the part of it in which a changed bit can be noticed."""
    timm = timm_directory(folder / "safetensors")
    weights = timm / "model.safetensors"
    header = 8 + int.from_bytes(weights.read_bytes()[:8], "little")
    yield Sound("safetensors, its header", timm, weights, 0, header)
    state = load_file(weights)
    pickled = timm_directory(folder / "pth")
    (pickled / "model.safetensors").unlink()
    file = pickled / "pytorch_model.bin"
    file.write_bytes(saved(state))
    yield Sound("pth", pickled, file, 0, file.stat().st_size)
    np.savez(folder / "vit.npz", **google_arrays())
    yield Sound("npz", folder / "vit.npz", folder / "vit.npz", 0, (folder / "vit.npz").stat().st_size)
    save(folder / "ours", random_checkpoint())
    for name in ("model.safetensors", "config.json", "manifest.json"):
        file = folder / "ours" / name
        yield Sound(f"ours, {name}", folder / "ours", file, 0, file.stat().st_size)
    old = timm_directory(folder / "old")
    (old / "model.safetensors").unlink()
    (old / "pytorch_model.bin").write_bytes(saved(state, _use_new_zipfile_serialization=False))
    yield Sound("pth before zip, only cut", old, old / "pytorch_model.bin", 0, 0)


def damage(sound: Sound, flips: int) -> list[str]:
    """Cut short and change bits; print the line, and return what was not noticed."""
    data = sound.file.read_bytes()
    whole = read_any(sound.source)
    cuts = [data[: len(data) * place // CUTS] for place in range(CUTS)]
    generator = random.Random(0)
    places = [generator.randrange(8 * sound.start, 8 * sound.stop) for _ in range(flips if sound.stop else 0)]
    changed = [data[: at // 8] + bytes([data[at // 8] ^ 1 << at % 8]) + data[at // 8 + 1 :] for at in places]
    wrong, refused, slowest = [], 0, 0.0
    for index, damaged in enumerate(cuts + changed):
        sound.file.write_bytes(damaged)
        started = time.perf_counter()
        try:
            if not same(read_any(sound.source).model, whole.model):
                wrong.append(f"{sound.name}, damage {index}: other weights, unnoticed")
            elif index < len(cuts):
                wrong.append(f"{sound.name}, cut {index}: not noticed")
        except CheckpointError as error:
            refused += 1
            if "\n" in str(error):
                wrong.append(f"{sound.name}, damage {index}: {error!r}")
        except Exception as error:
            wrong.append(f"{sound.name}, damage {index}: {type(error).__name__} {error}")
        slowest = max(slowest, time.perf_counter() - started)
    sound.file.write_bytes(data)
    total = len(cuts) + len(changed)
    unharmed = total - refused - len(wrong)
    print(f"{sound.name:<28}{total:>6}{refused:>9}{unharmed:>10}{slowest:>10.2f} s", flush=True)
    return wrong


def controls(folder: Path) -> list[tuple[str, bool]]:
    """Readers and deeds that must be caught, and whether they were."""
    payload = hostile_pickles.Call(os.system, hostile_pickles.command(folder))
    objects = hostile_containers.npy(np.array([payload], object), True)
    (folder / "payload.pth").write_bytes(saved({"w": payload}))

    def hog() -> int:
        return len(bytearray(600 * 2**20))

    works: dict[str, Callable[[], Any]] = {
        "torch.load(weights_only=False)": lambda: torch.load(folder / "payload.pth", weights_only=False),
        "pickle.loads": lambda: pickle.loads(pickle.dumps(payload)),
        "numpy.load(allow_pickle=True)": lambda: np.load(io.BytesIO(objects), allow_pickle=True),
        "a file that is written": lambda: (folder / "written").write_text("x"),
        "600 MB": hog,
        "2.1 seconds": lambda: time.sleep(2.1),
    }
    found = []
    for name, work in works.items():
        (folder / MARK).unlink(missing_ok=True)
        seen = watched(work, folder)
        ran = (folder / MARK).exists() or "load" not in name
        found.append(
            (
                f"{name}: {seen.offences[0] if seen.offences else 'nothing seen'}"[:90],
                bool(seen.offences) and ran,
            )
        )
    return found


def unnoticed_by_torch(flips: int) -> int:
    """How many changed bits in the numbers of a .pth torch.load itself lets pass."""
    data = saved({"w": torch.full((4096,), 1.5)})
    first = data.index(b"\x00\x00\xc0?" * 16)
    generator = random.Random(1)
    passed = 0
    for _ in range(flips):
        at = generator.randrange(8 * first, 8 * (first + 4 * 4096 - 8))
        changed = data[: at // 8] + bytes([data[at // 8] ^ 1 << at % 8]) + data[at // 8 + 1 :]
        passed += not torch.equal(
            torch.load(io.BytesIO(changed), weights_only=True)["w"], torch.full((4096,), 1.5)
        )
    return passed


def main() -> int:
    """Print the tables; 1 where anything was not refused, or a control was not caught."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--flips", type=int, default=200, help="bits changed in each file")
    arguments = parser.parse_args()
    for build in (timm_directory, transformers_directory):  # what is imported once is no offence later
        with tempfile.TemporaryDirectory() as folder:
            source = build(Path(folder))
            read_any(source)
            inspect(source)
    wrong = []
    print(f"{'hostile or damaged':<28}{'cases':>6}{'refused':>9}{'slowest':>12}{'memory':>11}")
    for name, cases in GROUPS.items():
        wrong += run(name, list(cases))
    total = sum(map(len, GROUPS.values()))
    print(f"{total - len(wrong)} of {total} refused by name, nothing executed, nothing written")
    title = f"cut at {CUTS} places, bits changed"
    print(f"\n{title:<28}{'files':>6}{'refused':>9}{'unharmed':>10}{'slowest':>12}")
    with tempfile.TemporaryDirectory() as folder:
        for sound in sound_files(Path(folder)):
            wrong += damage(sound, arguments.flips)
    print("\n".join(wrong), end="\n" if wrong else "")
    print("\nnegative controls")
    with tempfile.TemporaryDirectory() as folder:
        caught = controls(Path(folder))
    passed = unnoticed_by_torch(50)
    caught.append((f"torch.load alone: {passed} of 50 changed numbers of a .pth pass", passed > 0))
    for text, was in caught:
        print(f"  {'caught' if was else 'NOT CAUGHT'}  {text}")
    return int(bool(wrong) or not all(was for _, was in caught))


if __name__ == "__main__":
    logging.disable()
    warnings.simplefilter("ignore")
    sys.exit(main())
