"""Ways to go on with weights: a masked autoencoder of the digits, tuned to 200 labelled ones.

    python -m benchmarks.tuning [--pretraining 60] [--epochs 40] [--seeds 3] [--pictures 200]

The training part alone is used: all of it, without labels, for the pretraining; a seeded choice of it to tune
on, and the rest of it to judge by; each seed chooses others. The learning rates are those that did best in a
first look at another pretraining: of 0.001, 0.003 and 0.01, LoRA's of 0.003, 0.01 and 0.03, and the head's of
0.01, 0.03 and 0.1. The last row begins with random weights.
"""

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean

import torch

from vitreous.checkpoints.file import Checkpoint, save
from vitreous.checkpoints.source import read_any
from vitreous.data.collection import Collection, Splits
from vitreous.data.digits import digits
from vitreous.models import catalog
from vitreous.training.config import ModelChoice, OptimizerConfig, TrainConfig
from vitreous.training.fit import fit
from vitreous.training.recipes import mae, tune
from vitreous.training.tuning_config import TuningConfig

PLAIN = TuningConfig()
WAYS: Mapping[str, tuple[TuningConfig, float]] = {
    "all layers alike": (PLAIN, 0.003),
    "layer decay 0.75": (replace(PLAIN, layer_decay=0.75), 0.003),
    "layer decay 0.65": (replace(PLAIN, layer_decay=0.65), 0.01),
    "frozen for a quarter, then all": (replace(PLAIN, frozen_epochs=10), 0.003),
    "block by block from the top": (
        replace(PLAIN, frozen_epochs=4, unfreezing="top_down", block_epochs=4),
        0.003,
    ),
    "LoRA of rank 8": (TuningConfig(train="lora"), 0.01),
    "the head alone": (TuningConfig(train="head"), 0.1),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pretraining", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base, blank = Path(folder) / "mae", Path(folder) / "blank"
        fit(_pretraining(str(base), arguments.pretraining))
        _save_untaught(read_any(base), blank)
        print(
            f"{arguments.pictures} digits, {arguments.epochs} epochs, {arguments.seeds} seeds, held-out rest"
        )
        print(f"{'what learns':31} {'rate':>6} {'accuracy':>9} {'lowest':>8} {'highest':>8}")
        for name, (tuning, rate) in {**WAYS, "random weights, all layers": (PLAIN, 0.003)}.items():
            source = blank if name.startswith("random") else base
            config = replace(
                tune("digits", ""),
                model=ModelChoice(source=str(source)),
                tuning=tuning,
                optimizer=OptimizerConfig(learning_rate=rate),
                epochs=arguments.epochs,
                evaluate_every=arguments.epochs,
                batch_size=32,
                workers=0,
                threads=1,
                track="none",
            )
            found = [
                _accuracy(replace(config, seed=seed, output=f"{folder}/{name}-{seed}"), arguments.pictures)
                for seed in range(arguments.seeds)
            ]
            print(
                f"{name:31} {rate:6} {mean(found):9.2%} {min(found):8.2%} {max(found):8.2%}",
                flush=True,
            )


def _pretraining(output: str, epochs: int) -> TrainConfig:
    options = {"patch": 2, "depth": 4, "positions": "learned", "mask_ratio": 0.5}
    model = ModelChoice(name="mae_tiny", image_size=8, channels=1, options=options)
    plain = mae("digits", output)
    return replace(
        plain, model=model, epochs=epochs, evaluate_every=epochs, workers=0, threads=1, track="none"
    )


def _save_untaught(taught: Checkpoint, directory: Path) -> None:
    """The same model with the random weights that it began with."""
    torch.manual_seed(0)
    blank = catalog.build(taught.model.config)
    save(directory, replace(taught, model=blank, lineage={}))


def _accuracy(config: TrainConfig, pictures: int) -> float:
    train = digits().train
    assert isinstance(train, Collection)
    generator = torch.Generator().manual_seed(config.seed)
    order = torch.randperm(len(train), generator=generator).tolist()
    some, rest = sorted(order[:pictures]), sorted(order[pictures:])
    splits = Splits(train.select(some), train.select(rest), None, f"{pictures} digits")
    return fit(config, splits=splits).measures["accuracy"]


if __name__ == "__main__":
    main()
