"""Peak memory of a forward pass against the number of tokens: fused attention grows linearly.

    python -m benchmarks.attention_memory [--model vit_s_16]

Each size runs in a process of its own; what counts is the peak resident memory of the pass above that
of the process just before it. An explicit softmax, for comparison, grows with the square.
"""

import argparse
import multiprocessing
import resource

import torch
from torch import Tensor

from vitreous.layers.attention import ScaledDotProduct
from vitreous.models import catalog
from vitreous.models.accounting import account

SIDES = (224, 448, 896)


def peak(name: str, side: int, explicit: bool) -> float:
    """Mebibytes that a forward pass of one picture adds to the process."""
    torch.manual_seed(0)
    model = catalog.build(catalog.configure(name)).eval()
    if explicit:
        ScaledDotProduct.forward = _explicit  # type: ignore[method-assign]
    with torch.inference_mode():
        model(torch.randn(1, 3, 64, 64))  # the libraries' own buffers
        before = _peak_kilobytes()
        model(torch.randn(1, 3, side, side))
    return (_peak_kilobytes() - before) / 1024


def _explicit(
    self: ScaledDotProduct, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None = None
) -> Tensor:
    return self.weights(queries, keys, bias) @ values


def _peak_kilobytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="vit_s_16")
    arguments = parser.parse_args()
    config = catalog.configure(arguments.model)
    print(f"{arguments.model}, float32, one picture, {torch.get_num_threads()} threads; MiB above the model")
    print(f"{'side':>5} {'tokens':>7} {'fused':>8} {'per 1000 tokens':>16} {'counted':>9} {'explicit':>9}")
    context = multiprocessing.get_context("spawn")
    for side in SIDES:
        counted = account(config, (side, side))
        figures = []
        for explicit in (False, True):
            with context.Pool(1) as pool:
                figures.append(pool.apply(peak, (arguments.model, side, explicit)))
        fused, naive = figures
        share = 1000 * fused / counted.tokens
        print(
            f"{side:5} {counted.tokens:7} {fused:8.1f} {share:16.1f}"
            f" {counted.forward_bytes / 2**20:9.1f} {naive:9.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
