"""What looks at features cost a run without labels, and which alarms it raises: sound runs and spoilt ones.

    python -m benchmarks.monitors

Seconds are those of the processor, so that a busy machine does not change them. The spoilt runs shrink their
weights by half in each step (weight decay 50 at a rate of 0.01): soon no picture has a say in its features.
"""

import tempfile
from pathlib import Path
from time import process_time
from typing import Any

from vitreous.training.config import with_settings
from vitreous.training.fit import Moment, fit
from vitreous.training.monitor import Monitor
from vitreous.training.recipes import recipe

ALWAYS = ("workers=0", "threads=1", "track=none", "device=cpu")
DIGITS = ("model.image_size=8", "model.channels=1", "model.options.patch=2")
SPOILT = ("optimizer.weight_decay=50", "optimizer.learning_rate=0.01")
RUNS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("MAE, digits", "mae", "digits", (*DIGITS, "epochs=40", "evaluate_every=20")),
    ("MAE, digits, looked at often", "mae", "digits", (*DIGITS, "epochs=10", "evaluate_every=1")),
    ("MAE, scenes", "mae", "scenes:size=32", ("epochs=10", "evaluate_every=5")),
    ("dVAE, scenes", "tokenizer", "scenes:size=32", ("epochs=4", "evaluate_every=2")),
    ("MAE, digits, spoilt", "mae", "digits", (*DIGITS, *SPOILT, "epochs=10", "evaluate_every=2")),
    ("MAE, scenes, spoilt", "mae", "scenes:size=32", (*SPOILT, "epochs=4", "evaluate_every=1")),
)


class Stopwatch:
    """Counts the looks of a monitor and their seconds."""

    def __init__(self) -> None:
        self.looks, self.seconds = 0, 0.0
        self.look = Monitor._look

    def __enter__(self) -> "Stopwatch":
        watch = self

        def timed(monitor: Monitor, *arguments: Any) -> Any:
            begun = process_time()
            found = watch.look(monitor, *arguments)
            watch.looks, watch.seconds = watch.looks + 1, watch.seconds + process_time() - begun
            return found

        Monitor._look = timed  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        Monitor._look = self.look  # type: ignore[method-assign]


def main() -> None:
    """Print the table."""
    print(f"{'run':30}{'looks':>6}{'s':>7}{'of s':>7}{'share':>7}  rank before, after  alarms")
    for name, kind, data, settings in RUNS:
        ranks: list[float] = []
        alarms: list[str] = []

        def watch(
            moment: Moment, ranks: list[float] = ranks, alarms: list[str] = alarms
        ) -> None:  # bound now, not when it is called
            if moment.kind == "measured" and "effective_rank" in moment.values:
                ranks.append(moment.values["effective_rank"])
            if "alarm" in moment.values:
                alarms.append(f"epoch {moment.values['epoch']}: {moment.values['alarm'].partition(';')[0]}")

        with tempfile.TemporaryDirectory() as folder, Stopwatch() as stopwatch:
            config = recipe(kind)(data, str(Path(folder) / "run"))
            begun = process_time()
            run = fit(with_settings(config, (*settings, *ALWAYS)), watch=watch)
            spent = process_time() - begun
            before = _before(run.path)
        told = alarms[0] if alarms else "none"
        print(
            f"{name:30}{stopwatch.looks:6}{stopwatch.seconds:7.2f}{spent:7.1f}"
            f"{stopwatch.seconds / spent:7.1%}  {before:11.1f}, {ranks[-1]:5.1f}  {told}",
            flush=True,
        )


def _before(run: Path) -> float:
    """The effective rank before training, from what the weights keep of their origin."""
    from vitreous.predictor import load

    return float(load(str(run), device="cpu").lineage["training"]["before"]["effective_rank"])


if __name__ == "__main__":
    main()
