"""Swin-T beside timm's and torchvision's at 224 pixels: the same sizes, the same batch, one process.

    python -m benchmarks.swin [--rounds 9] [--batches 1,8] [--threads 2] [--clock wall|cpu]
    python -m benchmarks.swin --draws        how weights are drawn, and what a small training makes of them

A step of training is forward, cross-entropy and backward; no optimizer, which is not Swin's. The models take
turns, and the order is reversed each round, so that a change of the machine's speed meets all; on a busy
machine, one thread and the clock of the processor disturb least. Stochastic depth is off everywhere.
"""

import argparse
from collections.abc import Callable
from statistics import median
from time import perf_counter, process_time

import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vitreous.layers.attention_bias import RelativeBias
from vitreous.models import catalog

Forward = Callable[[Tensor], Tensor]
Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": perf_counter, "cpu": process_time}


def contestants() -> dict[str, tuple[nn.Module, Forward]]:
    """The three models, and how each is asked for logits."""
    ours = catalog.build(catalog.configure("swin_t"))
    theirs = timm.create_model("swin_tiny_patch4_window7_224", drop_path_rate=0.0)
    others = torchvision.models.SwinTransformer(
        [4, 4], 96, [2, 2, 6, 2], [3, 6, 12, 24], [7, 7], stochastic_depth_prob=0.0
    )
    return {
        "vitreous": (ours, lambda images: ours(images).logits),
        "timm": (theirs, theirs),
        "torchvision": (others, others),
    }


def answer(model: nn.Module, forward: Forward, images: Tensor, labels: Tensor, clock: Clock) -> float:
    """The seconds of one answer without gradients."""
    model.eval()
    with torch.inference_mode():
        begun = clock()
        forward(images)
        return clock() - begun


def step(model: nn.Module, forward: Forward, images: Tensor, labels: Tensor, clock: Clock) -> float:
    """The seconds of one forward and backward pass."""
    model.train()
    begun = clock()
    cross_entropy(forward(images), labels).backward()
    taken = clock() - begun
    model.zero_grad(set_to_none=True)
    return taken


def speed(batches: list[int], rounds: int, clock: str) -> None:
    """Print the table of times."""
    models = contestants()
    print(
        f"torch {torch.__version__}, timm {timm.__version__}, torchvision {torchvision.__version__},"
        f" {torch.get_num_threads()} threads, medians of {rounds} interleaved rounds, seconds of {clock} time"
    )
    titles = "".join(f"{name:>13}" for name in models)
    print(f"{'':9}{'batch':>6}{titles}{'vs timm':>10}{'vs torchvision':>16}")
    for kind, measure in (("forward", answer), ("training", step)):
        for batch in batches:
            images, labels = torch.randn(batch, 3, 224, 224), torch.randint(0, 1000, (batch,))
            times: dict[str, list[float]] = {name: [] for name in models}
            for number in range(rounds + 1):
                order = list(models) if number % 2 == 0 else list(models)[::-1]
                for name in order:
                    taken = measure(*models[name], images, labels, CLOCKS[clock])
                    if number:  # the first round warms up
                        times[name].append(taken)
            middle = "".join(f"{median(values):13.3f}" for values in times.values())
            ratios = [
                median(their / our for our, their in zip(times["vitreous"], times[name], strict=True))
                for name in ("timm", "torchvision")
            ]
            print(f"{kind:9}{batch:6}{middle}{ratios[0]:9.2f}x{ratios[1]:15.2f}x", flush=True)


@torch.no_grad()
def draw_quietly(model: nn.Module) -> None:
    """All matrices and tables with the deviation of 0.02 of the authors' code."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
        elif isinstance(module, RelativeBias):
            nn.init.trunc_normal_(module.table, std=0.02)


def learnt(quiet: bool, seed: int, epochs: int) -> float:
    """The accuracy of ``swin_tiny`` on the digits' validation part after a few epochs."""
    from vitreous.data.digits import digits
    from vitreous.data.preprocess import Preprocess

    prepare = Preprocess(size=(32, 32), shorter=None, interpolation="bilinear")
    splits = digits()
    parts = []
    for part in (splits.train, splits.validation):
        assert part is not None
        images = torch.stack([prepare(part.open(index)).image for index in range(len(part))])
        parts.append((images, torch.tensor(part.labels)))
    (images, labels), (held_out, wanted) = parts
    torch.manual_seed(seed)
    model = catalog.build(catalog.configure("swin_tiny", classes=10))
    if quiet:
        draw_quietly(model)
    steps = len(images) // 64
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, epochs * steps, pct_start=0.2)
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(images))[: steps * 64].split(64):
            loss = cross_entropy(model(images[batch]).logits, labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.no_grad():
        return (model(held_out).logits.argmax(1) == wanted).float().mean().item()


def draws(epochs: int) -> None:
    """Print the table of accuracies."""
    print(f"swin_tiny on the digits, {epochs} epochs, accuracy on the validation part for three seeds")
    for label, quiet in (("deviation of 0.02", True), ("as they are drawn here", False)):
        found = "".join(f"{learnt(quiet, seed, epochs):8.1%}" for seed in range(3))
        print(f"{label:24}{found}", flush=True)


def main() -> None:
    """Print what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--draws", action="store_true")
    parser.add_argument("--epochs", type=int, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.draws:
        draws(arguments.epochs)
    else:
        speed([int(batch) for batch in arguments.batches.split(",")], arguments.rounds, arguments.clock)


if __name__ == "__main__":
    main()
