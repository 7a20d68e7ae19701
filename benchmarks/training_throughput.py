"""Training steps a second, vitreous beside timm: the same sizes, the same batch, one process.

    python -m benchmarks.training_throughput [--rounds 7] [--batch 32] [--models ti,s]

A step is forward, cross-entropy, backward, gradient clipping, AdamW. The two models take turns, and the
order is swapped each round, so that a change of the machine's speed meets both. Two comparisons: with
the same fused AdamW for both (the models alone), and with AdamW as each library's own training makes it
(timm's ``create_optimizer_v2`` leaves torch's default).
"""

import argparse
from collections.abc import Callable
from statistics import median
from time import perf_counter

import timm
import torch
from timm.optim import create_optimizer_v2
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import AdamW

from vitreous.models import catalog
from vitreous.training.config import OptimizerConfig
from vitreous.training.optimizer import build_optimizer

NAMES = {
    "ti": ("vit_ti_16", "vit_tiny_patch16_224"),
    "s": ("vit_s_16", "vit_small_patch16_224"),
    "b": ("vit_b_16", "vit_base_patch16_224"),
}


def stepper(
    forward: Callable[[Tensor], Tensor], model: nn.Module, optimizer: torch.optim.Optimizer, batch: int
) -> Callable[[], float]:
    """A function that does one step and returns its seconds."""
    images, labels = torch.randn(batch, 3, 224, 224), torch.randint(0, 1000, (batch,))

    def step() -> float:
        begun = perf_counter()
        cross_entropy(forward(images), labels).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return perf_counter() - begun

    return step


def compare(size: str, batch: int, rounds: int, same_optimizer: bool) -> tuple[float, float, float]:
    """Median seconds of a vitreous step, of a timm step, and the median of their ratios."""
    torch.manual_seed(0)
    ours = catalog.build(catalog.configure(NAMES[size][0])).train()
    theirs = timm.create_model(NAMES[size][1]).train()
    if same_optimizer:
        optimizer: torch.optim.Optimizer = AdamW(theirs.parameters(), lr=1e-3, weight_decay=0.05, fused=True)
    else:
        optimizer = create_optimizer_v2(theirs, opt="adamw", lr=1e-3, weight_decay=0.05)
    steps = [
        stepper(lambda images: ours(images).logits, ours, build_optimizer(ours, OptimizerConfig()), batch),
        stepper(theirs, theirs, optimizer, batch),
    ]
    for step in steps:
        step()  # warm up
    times: list[list[float]] = [[], []]
    for number in range(rounds):
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            times[side].append(steps[side]())
    ratios = [their / our for our, their in zip(*times, strict=True)]
    return median(times[0]), median(times[1]), median(ratios)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--models", default="ti,s")
    arguments = parser.parse_args()
    print(
        f"torch {torch.__version__}, timm {timm.__version__}, {torch.get_num_threads()} threads,"
        f" batch {arguments.batch} at 224, medians of {arguments.rounds} interleaved rounds"
    )
    print(f"{'model':6} {'AdamW':16} {'vitreous s':>11} {'timm s':>9} {'throughput vs timm':>19}")
    for size in arguments.models.split(","):
        for same in (True, False):
            ours, theirs, ratio = compare(size, arguments.batch, arguments.rounds, same)
            label = "fused for both" if same else "each its own"
            print(f"{size + '/16':6} {label:16} {ours:11.3f} {theirs:9.3f} {ratio:18.2f}x", flush=True)


if __name__ == "__main__":
    main()
