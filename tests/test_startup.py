"""What is not imported: help, bad arguments and light verbs must not wait for torch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitreous.cli import app

VERBS = sorted(command.name or command.callback.__name__ for command in app.registered_commands)
HEAVY = ("torch", "torchvision", "sklearn", "scipy", "numpy", "PIL", "jinja2", "yaml", "huggingface_hub")

# Runs a command in a fresh interpreter and says which heavy packages were imported by it.
SCRIPT = """
import json, sys
from vitreous.cli import main
code = main(sys.argv[2:])
loaded = [name for name in json.loads(sys.argv[1]) if name in sys.modules]
print(json.dumps([code, loaded]), file=sys.stderr)
"""


def imported(*arguments: str, folder: Path | None = None) -> tuple[int, set[str]]:
    """The exit code of a command and the heavy packages that it imported."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(HEAVY), *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    code, loaded = json.loads(done.stderr.splitlines()[-1])
    return code, set(loaded)


def test_importing_vitreous_imports_next_to_nothing() -> None:
    script = "import sys; before = set(sys.modules); import vitreous; print(len(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 40


def test_the_check_itself_sees_what_is_imported(tmp_path: Path) -> None:
    # A negative control: the doctor decodes pictures, so these two must be found.
    (tmp_path / "data/a").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "data/a/one.png")
    _, loaded = imported("doctor", "data", folder=tmp_path)
    assert {"numpy", "PIL"} <= loaded


def test_help_imports_nothing_heavy() -> None:
    assert imported("--help") == (0, set())
    assert imported("--version") == (0, set())


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_every_verb_imports_nothing_heavy(verb: str) -> None:
    assert imported(verb, "--help") == (0, set())


@pytest.mark.parametrize("verb", VERBS)
def test_unknown_options_are_answered_before_anything_heavy(verb: str) -> None:
    assert imported(verb, "--no-such-option") == (2, set())


@pytest.mark.parametrize(
    "arguments",
    [
        ("models",),
        ("models", "vit_b_16", "--image-size", "224,384", "--patch", "16,8", "--json"),
    ],
)
def test_the_catalog_is_counted_without_torch_or_numpy(arguments: tuple[str, ...]) -> None:
    assert imported(*arguments) == (0, set())


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "runs/nothing", "one.jpg"),
        ("evaluate", "runs/nothing", "digits"),
        ("evaluate", "model", "no-such-data"),
        ("train", "no-such-data"),
        ("train", "digits", "--model", "vit_b16"),
        ("train", "digits", "--set", "epoch=3"),
        ("train", "digits", "--recipe", "digit"),
        ("train", "digits", "--from", "runs/nothing"),
        ("train", "digits", "--output", "full"),
        ("train", "--resume", "--output", "runs"),
        ("inspect", "runs/nothing"),
        ("models", "vit_b16"),
        ("patches", "one.jpg", "--patch", "999"),
        ("patches", "missing.jpg"),
        ("doctor", "no-such-data"),
    ],
)
def test_bad_arguments_are_answered_before_torch(arguments: tuple[str, ...], tmp_path: Path) -> None:
    for folder in ("runs", "model", "full/something"):
        (tmp_path / folder).mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "one.jpg")
    code, loaded = imported(*arguments, folder=tmp_path)
    assert code == 2
    assert "torch" not in loaded


def test_predicting_needs_torch_and_neither_torchvision_nor_scikit_learn(tmp_path: Path) -> None:
    import vitreous

    model = vitreous.create("vit_tiny", classes=2)
    preprocess = vitreous.Preprocess(size=(32, 32), shorter=None)
    vitreous.save(vitreous.Predictor(model, preprocess, ("a", "b"), device="cpu"), tmp_path / "model")
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "one.png")
    code, loaded = imported("predict", "model", "one.png", folder=tmp_path)
    assert code == 0
    assert "torch" in loaded
    assert not loaded & {"torchvision", "sklearn", "scipy", "jinja2", "yaml", "huggingface_hub"}
