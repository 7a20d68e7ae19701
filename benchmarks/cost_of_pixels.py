"""What a forward pass costs as pictures grow: a plain ViT asks every token about every other, Swin only those
of its windows.

    python -m benchmarks.cost_of_pixels [--sides 224,448,672,896,1120] [--rounds 5] [--threads 2]
                                        [--clock wall|cpu] [--figure FILE.svg]

ViT-S/16 and Swin-T (22 M and 28 M parameters) answer one square picture in float32, taking turns. Printed for
each side: seconds (medians), seconds a megapixel, multiply-accumulates and how many of them are attention's.
The last lines fit cost ~ pixels ^ exponent to all sides, for seconds and for multiply-accumulates, and to the
two largest: 1 is linear. Large maps fall out of a processor's caches, which seconds show and MACs do not. The
fused attention of torch never writes its N x N weights down: time bends upward, memory does not.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np
import torch

from vitreous.models import catalog
from vitreous.models.accounting import account
from vitreous.report.canvas import Canvas
from vitreous.report.marks import Palette

MODELS = ("vit_s_16", "swin_t")
Forward = Callable[[], object]


def measured(sides: list[int], rounds: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Median seconds of each model at each side."""
    models = {name: catalog.build(catalog.configure(name)).eval() for name in MODELS}
    found: dict[str, list[float]] = {name: [] for name in MODELS}
    with torch.inference_mode():
        for side in sides:
            images = torch.randn(1, 3, side, side)
            seconds: dict[str, list[float]] = {name: [] for name in MODELS}
            for turn in range(rounds + 1):
                for name in MODELS if turn % 2 else reversed(MODELS):
                    begun = clock()
                    models[name](images)
                    if turn:  # the first warms up
                        seconds[name].append(clock() - begun)
            for name in MODELS:
                found[name].append(median(seconds[name]))
    return found


def exponent(sides: list[int], costs: list[float]) -> float:
    """Of pixels, that fits the costs best."""
    return float(np.polyfit(np.log([side**2 for side in sides]), np.log(costs), 1)[0])


def figure(sides: list[int], found: dict[str, list[float]]) -> Canvas:
    """Seconds a megapixel over sides: level where cost is linear."""
    left, top, width, height = 70, 60, 400, 230
    rates = {
        name: [taken / (side**2 / 1e6) for side, taken in zip(sides, found[name], strict=True)]
        for name in MODELS
    }
    most = 1.1 * max(map(max, rates.values()))
    canvas = Canvas(
        520,
        340,
        title="Seconds a megapixel",
        description="A forward pass of ViT-S/16 and Swin-T, by the side of a square picture.",
    )
    canvas.text(left, 28, "Seconds a megapixel, by the side of the picture", size=13, bold=True)

    def at(side: float, rate: float) -> tuple[float, float]:
        return left + width * side / max(sides), top + height * (1 - rate / most)

    for part in range(5):
        rate = most * part / 4
        canvas.line(at(0, rate), at(max(sides), rate), stroke=Palette.LINE, thickness=0.8)
        canvas.text(left - 8, at(0, rate)[1] + 4, f"{rate:.2g}", size=11, fill=Palette.MUTED, anchor="end")
    for side in sides:
        canvas.text(
            at(side, 0)[0], top + height + 18, str(side), size=11, fill=Palette.MUTED, anchor="middle"
        )
    for name, colour in zip(MODELS, (Palette.ACCENT, Palette.WARM), strict=True):
        canvas.line(*(at(*pair) for pair in zip(sides, rates[name], strict=True)), stroke=colour, thickness=2)
        across, down = at(sides[-1], rates[name][-1])
        canvas.text(across - 6, down - 8, name, size=11.5, fill=colour, anchor="end")
    return canvas


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sides", default="224,448,672,896,1120")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    sides = [int(side) for side in arguments.sides.split(",")]
    found = measured(sides, arguments.rounds, perf_counter if arguments.clock == "wall" else process_time)
    print(f"torch {torch.__version__}, {arguments.threads} threads, {arguments.clock} clock, batch 1")
    heads = "".join(f"{name:>12}{'s/Mpx':>8}{'GMACs':>8}{'attn':>7}" for name in MODELS)
    print(f"{'side':>6}{'tokens':>8}  {heads}")
    for place, side in enumerate(sides):
        line = f"{side:6}{(side // 16) ** 2:8}  "
        for name in MODELS:
            counted = account(catalog.configure(name), (side, side))
            seconds = found[name][place]
            line += f"{seconds:10.3f} s{seconds / (side**2 / 1e6):8.2f}{counted.macs / 1e9:8.1f}"
            line += f"{counted.attention_macs / counted.macs:7.0%}"
        print(line)
    for name in MODELS:
        macs = [float(account(catalog.configure(name), (side, side)).macs) for side in sides]
        print(
            f"{name}: seconds grow as pixels ^ {exponent(sides, found[name]):.2f}, MACs as"
            f" ^ {exponent(sides, macs):.2f}; between the two largest"
            f" ^ {exponent(sides[-2:], found[name][-2:]):.2f} and ^ {exponent(sides[-2:], macs[-2:]):.2f}"
        )
    if arguments.figure is not None:
        arguments.figure.write_bytes(figure(sides, found).encode(".svg"))


if __name__ == "__main__":
    main()
