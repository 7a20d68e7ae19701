"""Detectors that learn from nothing on the embedded scenes, each for the same time, judged on the test part.

    python -m benchmarks.detection [--rows boxes,transformers] [--seconds 1200] [--clock wall|cpu]
                                   [--data scenes:detection,pictures=8000] [--threads 1] [--jobs 1]
                                   [--rate 1e-3] [--output FOLDER]

``boxes`` is what ``vitreous train --recipe detr`` does: queries that start from boxes of their own;
``grouped`` has three groups of them in training; ``plain`` has the queries of the paper; ``vit`` and ``swin``
are ``boxes`` on another backbone. ``transformers`` is its DetrForObjectDetection with a ResNet of the same
widths and depths and a transformer of the same sizes, which our loop teaches with our loss (equal to its
own, see tests/tasks/test_detection.py) on the same views; its frozen batch norms, which only make sense for
pretrained weights, are replaced by ones that learn. All rows have the same recipe but for what their names
say; rows without boxes of their own take smaller steps (``--rate``), with which they learn sooner.

A trial of two epochs tells the pace; the rest of the time is one run, whose schedule fits it. Printed: COCO's
figures on the test part by faster-coco-eval, with the 95% interval of AP50, and the seconds really taken.
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

from vitreous.data.annotation import Objects
from vitreous.data.collection import Collection
from vitreous.data.folder import read_data
from vitreous.data.loader import batches
from vitreous.data.preprocess import Preprocess
from vitreous.evaluation.detection import Found, detection_scores
from vitreous.models import catalog
from vitreous.models.detr import Detections, best_of
from vitreous.predictor import load
from vitreous.tasks.set_matching import corners
from vitreous.training.config import ModelChoice, OptimizerConfig, TrainConfig
from vitreous.training.fit import fit
from vitreous.training.pace import Clock, measure_pace
from vitreous.training.recipes import detr
from vitreous.training.setup import set_up

CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}
BOXES = {"references": "boxes"}
ROWS: dict[str, ModelChoice] = {
    "grouped": ModelChoice(name="detr_resnet_tiny", options=BOXES | {"groups": 3}),
    "boxes": ModelChoice(name="detr_resnet_tiny", options=BOXES),
    "plain": ModelChoice(name="detr_resnet_tiny"),
    "vit": ModelChoice(name="detr_vit_tiny", options=BOXES | {"stem": "conv", "positions": "sincos2d"}),
    "swin": ModelChoice(name="detr_swin_tiny", options=BOXES),
    "transformers": ModelChoice(name="detr_resnet_tiny"),
}

# With the recipe's steps of 2e-3 queries without boxes of their own learn nothing at all.
PLAIN = OptimizerConfig(weight_decay=0.05, warmup=0.05)
PLAIN_ROWS = ("plain", "transformers")


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
    rate: float


class Rival(nn.Module):
    """transformers' DETR behind our interface."""

    def __init__(self, classes: int, side: int) -> None:
        super().__init__()
        from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig

        ours: Any = catalog.configure("detr_resnet_tiny", classes=classes)
        backbone = ResNetConfig(
            embedding_size=ours.backbone.stem_width,
            hidden_sizes=list(ours.backbone.widths),
            depths=list(ours.backbone.depths),
            layer_type="basic",
            out_features=[f"stage{len(ours.backbone.widths)}"],
        )
        config = DetrConfig(
            backbone_config=backbone,
            d_model=ours.width,
            encoder_layers=ours.encoder_depth,
            decoder_layers=ours.decoder_depth,
            encoder_attention_heads=ours.heads,
            decoder_attention_heads=ours.heads,
            encoder_ffn_dim=ours.mlp_width,
            decoder_ffn_dim=ours.mlp_width,
            num_queries=ours.queries,
            num_labels=classes,
            auxiliary_loss=True,
            dropout=0.0,
        )
        self.model = DetrForObjectDetection(config)
        self.register_buffer("mask", torch.ones(1, side, side, dtype=torch.long))
        thaw(self.model)

    def forward(self, images: Tensor, valid: Tensor | None = None) -> Detections:
        """(B, C, H, W) -> what it finds."""
        mask = self.mask.expand(len(images), -1, -1) if valid is None else valid.long()
        told = self.model(pixel_values=images, pixel_mask=mask)
        layers = told.auxiliary_outputs if self.training else []
        auxiliary = tuple((layer["logits"], layer["pred_boxes"]) for layer in layers or [])
        return Detections(told.logits, told.pred_boxes, auxiliary)


def thaw(model: nn.Module) -> None:
    """Batch norms that learn in the place of frozen ones, and no frozen parameter."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if "Frozen" in type(child).__name__:
                setattr(parent, name, nn.BatchNorm2d(child.weight.numel()))
    for parameter in model.parameters():
        parameter.requires_grad_(True)


def configure(job: Job, output: Path) -> TrainConfig:
    """The recipe, with the row's model."""
    recipe = detr(job.data, str(output))
    return replace(
        recipe,
        optimizer=replace(PLAIN, learning_rate=job.rate) if job.row in PLAIN_ROWS else recipe.optimizer,
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
    splits = read_data(config.data, wanted="detection")
    test = splits.test
    if test is None:
        raise SystemExit(f"{config.data}: no test part")
    torch.manual_seed(job.seed)

    def model() -> nn.Module | None:
        if job.row != "transformers":
            return None
        return Rival(len(test.classes), config.model.configure(classes=2).image_size[0])

    pace = measure_pace(replace(config, output=f"{place}-trial"), model=model(), splits=splits, clock=clock)
    epochs = max(1, int(job.seconds / pace.epoch))
    begun = clock()
    rival = model()
    every = max(1, epochs // 10)
    run = fit(replace(config, epochs=epochs, evaluate_every=every), model=rival, splits=splits)
    taken = clock() - begun
    if rival is None:
        predictor = load(place, device="cpu")
        scores = judge(predictor.model, predictor.preprocess, test)
    else:
        scores = judge(rival.eval(), set_up(config, splits).preprocess, test)
    parameters = sum(parameter.numel() for parameter in (rival or predictor.model).parameters())
    return scores | {
        "row": job.row,
        "seconds": taken,
        "epochs": epochs,
        "steps": run.steps,
        "size": parameters,
    }


@torch.inference_mode()
def judge(model: nn.Module, preprocess: Preprocess, test: Collection) -> dict[str, Any]:
    """The figures of COCO on pictures of the size of the views."""
    found: list[Found] = []
    truths: list[Objects] = []
    for batch in batches(test, preprocess, batch_size=50):
        best = best_of(model(batch.images, batch.valid))
        for row, index in enumerate(batch.indices.tolist()):
            source = test.open(index)
            boxes = corners(best.boxes[row]).numpy() * np.array([*source.size, *source.size])
            found.append(Found.of(boxes, best.labels[row].numpy(), best.scores[row].numpy()))
            marked = test.samples[index].held_objects()
            truths.append(marked if marked is not None else Objects.of([], []))
    return detection_scores(found, truths, test.classes)


def show(result: dict[str, Any]) -> None:
    """One line of the table."""
    low, high = result["intervals"]["ap50"]
    print(
        f"{result['row']:14}{result['ap']:7.3f}{result['ap50']:7.3f}  [{low:.3f}, {high:.3f}]"
        f"{result['ap75']:7.3f}{result['ap_small']:9.3f}{result['size'] / 1e6:8.2f} M{result['epochs']:7}"
        f"{result['steps']:8}{result['seconds']:9.0f}",
        flush=True,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", default="boxes,transformers")
    parser.add_argument("--seconds", type=float, default=1200.0)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--data", default="scenes:detection,pictures=8000")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=1e-3, help="of plain and transformers")
    parser.add_argument("--output", help="keep the runs here")
    arguments = parser.parse_args()
    print(
        f"torch {torch.__version__}, {arguments.data}, {arguments.seconds:g} s of {arguments.clock} time"
        f" for a row, {arguments.threads} thread(s) each, {arguments.jobs} row(s) at a time"
    )
    print(
        f"{'row':14}{'AP':>7}{'AP50':>7}  {'95%':14}{'AP75':>7}{'AP small':>9}{'size':>10}{'epochs':>7}"
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
                rate=arguments.rate,
            )
            for row in arguments.rows.split(",")
        ]
        with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
            for result in pool.map(learn, jobs):
                show(result)


if __name__ == "__main__":
    main()
