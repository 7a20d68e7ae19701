"""Segmenters that learn from nothing on the embedded scenes, each for the same time, judged on the test part.

    python -m benchmarks.segmentation [--rows segformer,transformers] [--seconds 600] [--clock wall|cpu]
                                      [--data scenes:segmentation,pictures=8000] [--threads 1] [--jobs 1]
                                      [--output FOLDER]

``segformer`` is what ``vitreous train --recipe segformer`` does; ``vit`` and ``swin`` are the same head and
recipe on another backbone. ``transformers`` is its SegformerForSemanticSegmentation of the same sizes, which
our loop teaches with our loss on the same views.

A trial of two epochs tells the pace; the rest of the time is one run, whose schedule fits it. Printed: mean
IoU with its 95% interval, boundary IoU, the class with the least IoU, and the seconds really taken.
"""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vitreous.data.collection import Collection
from vitreous.data.folder import read_data
from vitreous.data.loader import batches
from vitreous.data.preprocess import Preprocess
from vitreous.evaluation.segmentation import Segmented
from vitreous.models import catalog
from vitreous.models.segformer import SegmentationLogits
from vitreous.predictor import load
from vitreous.tasks.segmentation import enlarged, truths
from vitreous.training.config import ModelChoice, TrainConfig
from vitreous.training.fit import fit
from vitreous.training.pace import Clock, measure_pace
from vitreous.training.recipes import segformer
from vitreous.training.setup import set_up

CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}
ROWS: dict[str, ModelChoice] = {
    "segformer": ModelChoice(name="segformer_tiny"),
    "vit": ModelChoice(name="segformer_vit_tiny"),
    "swin": ModelChoice(name="segformer_swin_tiny"),
    "transformers": ModelChoice(name="segformer_tiny"),
}


@dataclass(frozen=True, kw_only=True)
class Job:
    """One row, for so many seconds."""

    row: str
    seconds: float
    clock: str
    data: str
    threads: int
    folder: str
    seed: int


class Rival(nn.Module):
    """transformers' SegFormer behind our interface."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        from transformers import SegformerConfig, SegformerForSemanticSegmentation

        ours: Any = catalog.configure("segformer_tiny", classes=classes)
        backbone = ours.backbone
        config = SegformerConfig(
            num_labels=classes,
            hidden_sizes=list(backbone.widths),
            depths=list(backbone.depths),
            num_attention_heads=list(backbone.heads),
            sr_ratios=list(backbone.reductions),
            patch_sizes=list(backbone.kernels),
            strides=list(backbone.steps),
            mlp_ratios=[int(ratio) for ratio in backbone.mlp_ratios],
            decoder_hidden_size=ours.decoder_width,
            classifier_dropout_prob=ours.decoder_dropout,
            drop_path_rate=backbone.drop_path,
        )
        self.model = SegformerForSemanticSegmentation(config)

    def forward(self, images: Tensor) -> SegmentationLogits:
        """(B, C, H, W) -> logits (B, K, h, w)."""
        return SegmentationLogits(self.model(pixel_values=images).logits)


def configure(job: Job, output: Path) -> TrainConfig:
    """The recipe, with the row's model."""
    return replace(
        segformer(job.data, str(output)),
        model=ROWS[job.row],
        threads=job.threads,
        workers=0 if job.clock == "cpu" else 1,
        device="cpu",
        track="none",
        seed=job.seed,
    )


def learn(job: Job) -> dict[str, Any]:
    """Train a row and judge it on the test part."""
    torch.set_num_threads(job.threads)
    clock = CLOCKS[job.clock]
    place = Path(job.folder) / job.row
    config = configure(job, place)
    splits = read_data(config.data, wanted="segmentation")
    test = splits.test
    if test is None:
        raise SystemExit(f"{config.data}: no test part")
    torch.manual_seed(job.seed)

    def model() -> nn.Module | None:
        return Rival(len(test.classes)) if job.row == "transformers" else None

    pace = measure_pace(replace(config, output=f"{place}-trial"), model=model(), splits=splits, clock=clock)
    epochs = max(1, int(job.seconds / pace.epoch))
    begun = clock()
    rival = model()
    every = max(1, epochs // 10)
    run = fit(replace(config, epochs=epochs, evaluate_every=every), model=rival, splits=splits)
    taken = clock() - begun
    if rival is None:
        predictor = load(place, device="cpu")
        judged, preprocess = predictor.model, predictor.preprocess
    else:
        judged, preprocess = rival.eval(), set_up(config, splits).preprocess
    scores = judge(judged, preprocess, test)
    size = sum(parameter.numel() for parameter in judged.parameters())
    return scores | {"row": job.row, "seconds": taken, "epochs": epochs, "steps": run.steps, "size": size}


@torch.inference_mode()
def judge(model: nn.Module, preprocess: Preprocess, test: Collection) -> dict[str, Any]:
    """The figures on pictures of the size of the views."""
    tally = Segmented(test.classes)
    for batch in batches(test, preprocess, batch_size=50):
        truth = truths(batch, len(test.classes))
        guess = enlarged(model(batch.images).logits, truth).argmax(1)
        for said, true in zip(guess.numpy(), truth.numpy(), strict=True):
            tally.add(said.astype(np.uint8), true.astype(np.uint8))
    return tally.figures()


def show(result: dict[str, Any]) -> None:
    """One line of the table."""
    low, high = result["intervals"]["mean_iou"]
    worst = min((row for row in result["per_class"] if row["iou"] is not None), key=lambda row: row["iou"])
    print(
        f"{result['row']:14}{result['mean_iou']:9.3f}  [{low:.3f}, {high:.3f}]{result['boundary_iou']:10.3f}"
        f"  {worst['class']:>12} {worst['iou']:.3f}{result['size'] / 1e6:8.2f} M{result['epochs']:7}"
        f"{result['steps']:8}{result['seconds']:9.0f}",
        flush=True,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", default="segformer,transformers")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--data", default="scenes:segmentation,pictures=8000")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", help="keep the runs here")
    arguments = parser.parse_args()
    print(
        f"torch {torch.__version__}, {arguments.data}, {arguments.seconds:g} s of {arguments.clock} time"
        f" for a row, {arguments.threads} thread(s) each, {arguments.jobs} row(s) at a time"
    )
    print(
        f"{'row':14}{'mean IoU':>9}  {'95%':14}{'boundary':>10}  {'worst class':>18}{'size':>10}{'epochs':>7}"
        f"{'steps':>8}{'seconds':>9}",
        flush=True,
    )
    with TemporaryDirectory() as folder:
        jobs = [
            Job(
                row=row,
                seconds=arguments.seconds,
                clock=arguments.clock,
                data=arguments.data,
                threads=arguments.threads,
                folder=arguments.output or folder,
                seed=arguments.seed,
            )
            for row in arguments.rows.split(",")
        ]
        with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
            for result in pool.map(learn, jobs):
                show(result)


if __name__ == "__main__":
    main()
