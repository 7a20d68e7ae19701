"""How long a command takes from the shell's point of view, beside the least that could do the same.

Each pair runs in turn, so that a busy machine slows both; the table has the medians of whole
processes in wall-clock seconds. The predictions of both sides are compared before anything is timed.

    python -m benchmarks.startup [--rounds 11] [--model vit_ti_16]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
PYTHON = sys.executable
VITREOUS = [PYTHON, str(Path(PYTHON).with_name("vitreous"))]


class Pair(NamedTuple):
    """A command of ours and its bare rival; ``ratio`` or ``extra`` seconds is what it may cost."""

    name: str
    ours: Sequence[str]
    bare: Sequence[str]
    ratio: float | None = None
    extra: float | None = None


class Timing(NamedTuple):
    """Medians in seconds, and whether the bar is kept."""

    ours: float
    bare: float
    kept: bool


def main() -> int:
    """Print the table; the exit code is 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--model", default="vit_ti_16")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model, picture = Path(folder) / "model", Path(folder) / "one.jpg"
        prepare(arguments.model, model, picture)
        pairs = [
            Pair(
                "--help", [*VITREOUS, "--help"], [PYTHON, str(HERE / "bare/typer_program.py"), "--help"], 1.5
            ),
            Pair("import vitreous", [PYTHON, "-c", "import vitreous"], [PYTHON, "-c", ""], extra=0.1),
            Pair(
                "predict one.jpg",
                [*VITREOUS, "predict", str(model), str(picture)],
                [PYTHON, str(HERE / "bare/predict.py"), str(model), str(picture)],
                1.3,
            ),
        ]
        compare_answers(pairs[-1])
        timings = [timed(pair, arguments.rounds) for pair in pairs]
    print(f"{arguments.rounds} rounds, medians of whole processes; predict with {arguments.model}")
    print(f"{'':<16} {'vitreous':>10} {'bare':>10} {'ratio':>7} {'extra':>9}  bar")
    for pair, timing in zip(pairs, timings, strict=True):
        bar = f"ratio <= {pair.ratio}" if pair.ratio else f"extra <= {pair.extra} s"
        print(
            f"{pair.name:<16} {timing.ours:>8.3f} s {timing.bare:>8.3f} s {timing.ours / timing.bare:>7.2f}"
            f" {timing.ours - timing.bare:>7.3f} s  {bar}: {'kept' if timing.kept else 'MISSED'}"
        )
    return 0 if all(timing.kept for timing in timings) else 1


def prepare(name: str, model: Path, picture: Path) -> None:
    """A model directory with random weights, and a photograph."""
    import torch
    from PIL import Image
    from sklearn.datasets import load_sample_image

    import vitreous

    torch.manual_seed(0)
    classes = tuple(f"class {index}" for index in range(1000))
    built = vitreous.create(name, classes=classes)
    preprocess = vitreous.Preprocess(size=(224, 224), shorter=256, interpolation="bicubic")
    vitreous.save(vitreous.Predictor(built, preprocess, classes, device="cpu"), model)
    Image.fromarray(load_sample_image("flower.jpg")).save(picture)


def compare_answers(pair: Pair) -> None:
    """Both must name the same five classes, or their times mean nothing."""
    ours, bare = (
        [line.split("class ")[1].split()[0] for line in output(command).splitlines() if "%" in line]
        for command in (pair.ours, pair.bare)
    )
    if ours != bare or len(ours) != 5:
        raise SystemExit(f"the answers differ: {ours} and {bare}")


def timed(pair: Pair, rounds: int) -> Timing:
    """Run both in turn; the first round fills the disk cache and is not counted."""
    seconds: list[tuple[float, float]] = []
    for _ in range(rounds + 1):
        seconds.append((elapsed(pair.ours), elapsed(pair.bare)))
    ours, bare = map(statistics.median, zip(*seconds[1:], strict=True))
    kept = ours <= pair.ratio * bare if pair.ratio else ours - bare <= (pair.extra or 0.0)
    return Timing(ours, bare, kept)


def elapsed(command: Sequence[str]) -> float:
    """Seconds of one process, from its start to its end."""
    started = time.perf_counter()
    output(command)
    return time.perf_counter() - started


def output(command: Sequence[str]) -> str:
    """What a command writes; it must succeed."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    raise SystemExit(main())
