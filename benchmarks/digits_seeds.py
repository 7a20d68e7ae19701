"""The demo's training, seed by seed: accuracy on the held-out digits, mean and range.

    python -m benchmarks.digits_seeds [--seeds 5]

The split is fixed (``src/vitreous/data/digits.py`` writes it down). Settings were chosen by
cross-validation within train and validation; the test part is looked at here and in the demo alone.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

from vitreous.data.folder import read_data
from vitreous.evaluation.evaluate import evaluate
from vitreous.predictor import load
from vitreous.training.fit import fit
from vitreous.training.recipes import digits


def main() -> None:
    """Print a row for each seed, then the mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    splits = read_data("digits")
    print(splits.how)
    print(f"{'seed':>4} {'validation':>11} {'test':>8} {'wrong':>6} {'seconds':>8}")
    accuracies = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(arguments.seeds):
            run = fit(replace(digits("digits", str(Path(folder) / str(seed))), seed=seed))
            scores = evaluate(load(str(run.path)), splits, split="test")
            accuracies.append(scores["accuracy"])
            wrong = round((1 - scores["accuracy"]) * scores["n"])
            print(
                f"{seed:4} {run.measures['accuracy']:11.2%} {scores['accuracy']:8.2%} {wrong:6}"
                f" {run.seconds:8.1f}",
                flush=True,
            )
    spread = stdev(accuracies) if len(accuracies) > 1 else 0.0
    print(
        f"mean {mean(accuracies):.2%}, standard deviation {spread:.2%}, lowest {min(accuracies):.2%},"
        f" highest {max(accuracies):.2%}"
    )


if __name__ == "__main__":
    main()
