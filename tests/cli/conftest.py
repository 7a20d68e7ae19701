"""A model and pictures on disk, and the command line run inside this process."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from vitreous.cli import main
from vitreous.data.preprocess import Preprocess
from vitreous.models import catalog
from vitreous.predictor import Predictor, save

CLASSES = ("ant", "bee")


class Said(NamedTuple):
    """How a command ended, and what it wrote to its two outputs."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[list[str]]:
        """The words of every line of a plain table."""
        return [line.split() for line in self.out.splitlines()]


Run = Callable[..., Said]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in ``tmp_path``, as ``run("predict", source, picture)``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "300")

    def run_command(*arguments: object) -> Said:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Said(code, *capsys.readouterr())

    return run_command


def tiny_predictor(classes: tuple[str, ...] = CLASSES) -> Predictor:
    """A small model with random weights whose answers differ from picture to picture."""
    torch.manual_seed(0)
    options = {"width": 16, "depth": 2, "heads": 2, "patch": 4}
    config = catalog.configure("vit_tiny", classes=len(classes), image_size=8, options=options)
    model = catalog.build(config)
    with torch.no_grad():
        model.head.weight.normal_(0, 1)
    return Predictor(model, Preprocess(size=(8, 8), shorter=None), classes, device="cpu")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save(tiny_predictor(), tmp_path / "model")
    return tmp_path / "model"


def write_pictures(root: Path, counts: dict[str, int], seed: int = 0) -> Path:
    """ROOT/CLASS/00.png and so on, of random pixels."""
    generator = np.random.default_rng(seed)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for index in range(count):
            pixels = generator.integers(0, 256, (12, 10, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index:02d}.png")
    return root


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures", {"ant": 6, "bee": 5})
