"""What a masked autoencoder saves: a step of its encoder on the visible quarter, beside one on all patches.

    python -m benchmarks.masked_encoder [--rounds 7] [--batch 16] [--models s,b]

A step is forward, backward, gradient clipping and AdamW, of the backbone alone; the two take turns in one
process, and the order is swapped each round. The last column is the whole pretraining step, decoder and
loss included, against the step on all patches. Bar: the encoder's step on the visible patches costs at most
40% of the one on all of them, at 75% masking.
"""

import argparse
from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch
from torch import Tensor, nn

from vitreous.backbones.interface import Layout
from vitreous.data.loader import Labelled
from vitreous.models import catalog
from vitreous.models.mae import MaskedAutoencoder
from vitreous.tasks.masked_autoencoding import MaskedAutoencoding
from vitreous.training.config import OptimizerConfig
from vitreous.training.optimizer import build_optimizer

BAR = 0.40
SIZES = {"ti": (192, 3), "s": (384, 6), "b": (768, 12)}  # width, heads
DECODER = {"decoder_width": 512, "decoder_depth": 8, "decoder_heads": 16}  # the paper's


def build(size: str) -> MaskedAutoencoder:
    """A masked autoencoder of this size on 16-pixel patches of 224 pixels."""
    width, heads = SIZES[size]
    config = catalog.configure("mae_b_16", options={"width": width, "heads": heads, **DECODER})
    model = catalog.build(config)
    if not isinstance(model, MaskedAutoencoder):
        raise TypeError(type(model).__name__)
    return model.train()


def stepper(forward: Callable[[], Tensor], module: nn.Module) -> Callable[[], float]:
    """A function that does one step and returns its seconds."""
    optimizer = build_optimizer(module, OptimizerConfig())

    def step() -> float:
        begun = perf_counter()
        forward().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return perf_counter() - begun

    return step


def compare(size: str, batch: int, rounds: int) -> tuple[float, float, float]:
    """Median seconds of the step on all patches, and the shares of it that the encoder's step on the visible
    ones and the whole pretraining step take."""
    torch.manual_seed(0)
    model = build(size)
    images = torch.randn(batch, 3, 224, 224)
    layout = model.embed_layout(images)
    visible = model.config.visible(layout.patches)
    masks = torch.rand(batch, layout.patches)
    task = MaskedAutoencoding(model.config)
    pictures = Labelled(images, torch.zeros(batch), torch.arange(batch), masks)

    def all_patches() -> Tensor:
        return model.backbone.encode(model.backbone.embed(images, layout), layout).square().mean()

    def visible_patches() -> Tensor:
        kept = masks.argsort(1)[:, :visible]
        seen = model._seen(images, kept, layout)
        return model.backbone.encode(seen, Layout(layout.prefix, 1, visible)).square().mean()

    def pretraining() -> Tensor:
        return task.loss(model, pictures).total

    steps = [
        stepper(all_patches, model.backbone),
        stepper(visible_patches, model.backbone),
        stepper(pretraining, model),
    ]
    for step in steps:
        step()  # warm up
    times: list[list[float]] = [[], [], []]
    for number in range(rounds):
        for side in (0, 1, 2) if number % 2 == 0 else (2, 1, 0):
            times[side].append(steps[side]())
    shares = [median(one / whole for one, whole in zip(some, times[0], strict=True)) for some in times[1:]]
    return median(times[0]), shares[0], shares[1]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--models", default="s,b")
    arguments = parser.parse_args()
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, batch {arguments.batch} at 224,"
        f" 75% hidden, medians of {arguments.rounds} interleaved rounds"
    )
    print(f"{'backbone':9} {'all patches s':>14} {'visible only':>13} {'with decoder':>13}  bar")
    for size in arguments.models.split(","):
        seconds, encoder, whole = compare(size, arguments.batch, arguments.rounds)
        verdict = "kept" if encoder <= BAR else "MISSED"
        print(
            f"{size + '/16':9} {seconds:>14.3f} {encoder:>13.2f} {whole:>13.2f}  <= {BAR:.2f}: {verdict}",
            flush=True,
        )


if __name__ == "__main__":
    main()
