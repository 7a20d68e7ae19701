"""Is a forecast true? Peak memory and the seconds of an epoch, forecast beside measured.

    python -m benchmarks.forecast [--rounds 1] [--cases vit_ti_16,vit_s_16] [--threads 2]

Both sides run in fresh processes of their own, in turn, on the same pictures: cuts of two photographs as JPEG
files, 96 to train on and 64 to judge by. Measured are two epochs of ``vitreous.fit`` with its two loading
processes: the second one's seconds, from the end of the first to its own, judging included; and the most
memory that the training process held in the whole run, saving included (VmHWM of /proc/self/status). The
forecast's process does nothing else. Medians over the rounds. What the loading processes hold beside it
(their own pages, and what they hand over in shared memory) is shown and not part of the peak.

The bar, 25% either way, holds for ViT-Ti/16 and ViT-S/16 at 224 pixels; the other rows are shown.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

BAR = 0.25
TRAIN, VALIDATION = 96, 64


class Case(NamedTuple):
    """A configuration to forecast; ``held`` is whether the bar holds for it."""

    model: str
    size: int
    batch: int
    recipe: str = "scratch"
    held: bool = False


CASES = (
    *(Case(model, 224, batch, held=True) for model in ("vit_ti_16", "vit_s_16") for batch in (4, 16, 32)),
    Case("deit_ti_16", 224, 16),
    Case("vit_tiny", 32, 32),
    Case("resnet_18", 32, 32),
    Case("resnet_18", 64, 32),
    Case("swin_tiny", 32, 32),
    Case("mae_tiny", 32, 32, "mae"),
)


def main() -> int:
    """Print the table; the exit code is 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--cases", default="", help="names of models, all by default")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", choices=["forecast", "measured"], help=argparse.SUPPRESS)
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side is not None:
        side = foreseen if arguments.side == "forecast" else measured
        print(json.dumps(side(CASES[arguments.case], arguments.folder)))
        return 0
    wanted = arguments.cases.split(",") if arguments.cases else []
    return table([case for case in CASES if not wanted or case.model in wanted], arguments)


def table(cases: list[Case], arguments: argparse.Namespace) -> int:
    """Run every case on both sides, and compare."""
    print(f"{arguments.threads} threads, 2 loading processes; medians of {arguments.rounds} round(s)")
    print(
        f"{'model':<11} {'size':>4} {'batch':>5}  {'peak MiB':>8} {'measured':>8} {'off':>5}"
        f"  {'epoch s':>8} {'measured':>8} {'off':>5}  {'taken':>6} {'loaders MiB':>11}  bar {BAR:.0%}"
    )
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder) / "pictures")
        for case in cases:
            pairs = [
                [answer(case, side, Path(folder), arguments.threads) for side in ("forecast", "measured")]
                for _ in range(arguments.rounds)
            ]
            told, found = (
                {name: median(row[name] for row in rows) for name in rows[0]}
                for rows in zip(*pairs, strict=True)
            )
            off = [told[name] / found[name] - 1 for name in ("peak", "epoch")]
            kept = all(abs(share) <= BAR for share in off)
            missed += case.held and not kept
            verdict = ("kept" if kept else "MISSED") if case.held else "shown"
            print(
                f"{case.model:<11} {case.size:>4} {case.batch:>5}"
                f"  {told['peak']:>8.0f} {found['peak']:>8.0f} {off[0]:>+5.0%}"
                f"  {told['epoch']:>8.2f} {found['epoch']:>8.2f} {off[1]:>+5.0%}"
                f"  {told['taken']:>4.1f} s {found['loaders']:>11.0f}  {verdict}",
                flush=True,
            )
    return 1 if missed else 0


def answer(case: Case, side: str, folder: Path, threads: int) -> dict[str, float]:
    """One side of a case, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.forecast", "--side", side, "--folder", str(folder)]
    done = subprocess.run(
        [*command, "--case", str(CASES.index(case))],
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    values: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return values


def foreseen(case: Case, folder: Path) -> dict[str, float]:
    """The forecast: MiB, and seconds."""
    from vitreous.training.forecast import forecast

    found = forecast(configuration(case, folder / "unused"))
    return {"peak": found.peak_bytes / 2**20, "epoch": found.epoch_seconds, "taken": found.taken}


def measured(case: Case, folder: Path) -> dict[str, float]:
    """The run: MiB, and seconds."""
    from vitreous.training.fit import Moment, fit

    ends: list[float] = []
    loaders: list[float] = []

    def watch(moment: Moment) -> None:
        if moment.kind == "measured":
            ends.append(perf_counter())
        elif moment.kind == "step" and not ends:
            loaders.append(held_by_children())

    with tempfile.TemporaryDirectory(dir=folder) as output:
        fit(configuration(case, Path(output) / "run"), watch=watch)
    return {"peak": own_peak(), "epoch": ends[1] - ends[0], "loaders": max(loaders)}


def configuration(case: Case, output: Path):  # type: ignore[no-untyped-def]
    """A few epochs, each of them judged."""
    from vitreous.training.recipes import configured

    settings = [f"model.image_size={case.size}", f"batch_size={case.batch}", "device=cpu", "track=none"]
    data = str(output.parent / "pictures") if output.name == "unused" else str(output.parents[1] / "pictures")
    config = configured(data, str(output), case.recipe, case.model, settings=settings)
    # Where features are looked at in between, the last epoch is no ordinary one.
    return replace(config, epochs=3 if case.recipe == "mae" else 2, evaluate_every=1, patience=None)


def own_peak() -> float:
    """The most memory that this process has held, MiB. Not ``getrusage``, which begins with the most that
    its parent had held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) / 1024


def held_by_children() -> float:
    """What the loading processes hold for themselves alone or hand over in shared memory, MiB."""
    total = 0
    for children in Path("/proc/self/task").glob("*/children"):
        for child in children.read_text().split():
            for line in Path(f"/proc/{child}/smaps_rollup").read_text().splitlines():
                if line.startswith(("Private_Dirty:", "Pss_Shmem:")):
                    total += int(line.split()[1])
    return total / 1024


def draw(folder: Path) -> None:
    """The pictures, two classes."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_sample_images

    random = np.random.default_rng(0)
    photographs = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    for part, count in (("train", TRAIN), ("val", VALIDATION)):
        for number in range(count):
            label = number % 2
            width, height = photographs[label].size
            side = int(random.integers(200, 400))
            left, top = int(random.integers(0, width - side)), int(random.integers(0, height - side))
            place = folder / part / ("temple", "flower")[label] / f"{number:03d}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            photographs[label].crop((left, top, left + side, top + side)).save(place, quality=90)


if __name__ == "__main__":
    raise SystemExit(main())
