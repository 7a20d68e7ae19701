"""How loud position embeddings should start: validation accuracy on the digits after a short training.

    python -m benchmarks.positions [--epochs 30] [--seeds 2]

The patches come out of the embedding with unit variance. The standard deviation of the first positions is
what differs. Only the validation part is judged.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import mean

import torch
from torch import nn

from vitreous.layers.positions import LearnedPositions
from vitreous.models import catalog
from vitreous.models.classifier import Classifier
from vitreous.training.config import TrainConfig
from vitreous.training.fit import fit
from vitreous.training.recipes import digits


def build(config: TrainConfig, deviation: float) -> Classifier:
    """The recipe's model with first positions of that standard deviation."""
    torch.manual_seed(config.seed)
    model = catalog.build(config.model.configure(10))
    for module in model.modules():
        if isinstance(module, LearnedPositions):
            nn.init.trunc_normal_(module.table, std=deviation)
    return model


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    print(f"digits, {arguments.epochs} epochs, mean of {arguments.seeds} seeds, validation part")
    print(f"{'deviation':>9} {'accuracy':>9} {'loss':>7}")
    with tempfile.TemporaryDirectory() as folder:
        for deviation in (0.02, 0.2, 1.0):
            runs = []
            for seed in range(arguments.seeds):
                config = replace(
                    digits("digits", str(Path(folder) / f"{deviation}-{seed}")),
                    epochs=arguments.epochs,
                    seed=seed,
                )
                runs.append(fit(config, model=build(config, deviation)).measures)
            accuracy = mean(run["accuracy"] for run in runs)
            loss = mean(run["validation_loss"] for run in runs)
            print(f"{deviation:9} {accuracy:9.2%} {loss:7.3f}", flush=True)


if __name__ == "__main__":
    main()
