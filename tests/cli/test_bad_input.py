"""Bad input: one line on standard error that says what came and what to do, exit code 2, nothing lost."""

import hashlib
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Run, Said, tiny_predictor, write_pictures
from vitreous.predictor import save

Files = dict[Path, str]


def files(root: Path) -> Files:
    """Every path below ``root`` with the hash of what it holds."""
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in root.rglob("*")
    }


def refused(said: Said, *wanted: str) -> None:
    assert said.code == 2, said
    assert said.out == ""
    assert said.err.startswith("vitreous: ")
    assert said.err.count("\n") == 1
    for part in wanted:
        assert part in said.err


@pytest.fixture
def unharmed(run: Run, tmp_path: Path) -> Callable[..., None]:
    """Run a command that must be refused with these words, and leave every file as it was."""

    def check(arguments: list[object], *wanted: str) -> None:
        before = files(tmp_path)
        refused(run(*arguments), *wanted)
        assert files(tmp_path) == before

    return check


Unharmed = Callable[..., None]
USES = (["train", "{}"], ["evaluate", "model", "{}"])


def told(use: list[str], data: str) -> list[object]:
    return [part.format(data) for part in use]


@pytest.mark.parametrize("use", USES, ids=lambda use: use[0])
def test_a_folder_without_classes(unharmed: Unharmed, model: Path, pictures: Path, use: list[str]) -> None:
    unharmed(told(use, "pictures/ant"), "pictures/ant", "without labels")


def test_one_class_only(unharmed: Unharmed, tmp_path: Path) -> None:
    write_pictures(tmp_path / "data", {"ant": 4})
    unharmed(["train", "data"], "data: one class only, ant; a classifier needs two or more")


@pytest.mark.parametrize("use", USES, ids=lambda use: use[0])
def test_an_empty_class(unharmed: Unharmed, model: Path, pictures: Path, use: list[str]) -> None:
    (pictures / "cow").mkdir()
    unharmed(told(use, "pictures"), "class folders without pictures: 'cow'")


@pytest.mark.parametrize("use", USES, ids=lambda use: use[0])
def test_classes_that_differ_between_train_and_val(
    unharmed: Unharmed, model: Path, tmp_path: Path, use: list[str]
) -> None:
    write_pictures(tmp_path / "data/train", {"ant": 3, "bee": 3})
    write_pictures(tmp_path / "data/val", {"ant": 1, "cow": 1})
    unharmed(
        told(use, "data"),
        "train and val differ in their classes",
        "train has 'ant', 'bee'",
        "val has 'ant', 'cow'",
    )


@pytest.mark.parametrize("use", USES, ids=lambda use: use[0])
def test_a_picture_as_data(unharmed: Unharmed, model: Path, pictures: Path, use: list[str]) -> None:
    unharmed(told(use, "pictures/ant/00.png"), "one picture is no data set; wanted ROOT/CLASS/*.jpg")


@pytest.mark.parametrize("use", [*USES, ["doctor", "{}"]], ids=lambda use: use[0])
def test_data_that_is_not_there(unharmed: Unharmed, model: Path, use: list[str]) -> None:
    unharmed(told(use, "digit"), "digit: no such file or folder", "did you mean 'digits'?")


@pytest.mark.parametrize(
    "arguments", [["train", "digits", "--model", "vit_b16"], ["models", "vit_b16"]], ids=lambda a: a[0]
)
def test_an_unknown_model(unharmed: Unharmed, arguments: list[str]) -> None:
    unharmed(arguments, "'vit_b16'; did you mean 'vit_b_16'")


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "pictures", "--model", "vit_b_16", "--set", "model.image_size=8"],
        ["models", "vit_b_16", "--image-size", "8"],
        ["patches", "pictures/ant/00.png", "--patch", "16", "--size", "8"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_patch_larger_than_the_picture(unharmed: Unharmed, pictures: Path, arguments: list[str]) -> None:
    unharmed(arguments, "patch 16 is larger than the picture of 8")


def test_a_checkpoint_of_another_size_lists_the_tensors(
    unharmed: Unharmed, pictures: Path, tmp_path: Path
) -> None:
    save(tiny_predictor(), tmp_path / "timm", layout="timm")
    shutil.copy(tmp_path / "timm/model.safetensors", tmp_path / "weights.safetensors")
    unharmed(
        ["predict", "weights.safetensors", "pictures/ant/00.png", "--name", "vit_ti_16"],
        "weights.safetensors",
        "192",
    )


def test_classes_that_differ_from_the_models_are_both_listed(
    unharmed: Unharmed, model: Path, tmp_path: Path
) -> None:
    write_pictures(tmp_path / "data", {"ant": 3, "cow": 3})
    unharmed(["evaluate", "model", "data"], "the model knows 2 (ant, bee)", "data has 2 (ant, cow)")


@pytest.mark.parametrize(
    "use",
    [["predict", "{}", "a.png"], ["evaluate", "{}", "digits"], ["explain", "{}", "a.png"], ["inspect", "{}"]],
    ids=lambda use: use[0],
)
def test_a_model_that_is_not_there(unharmed: Unharmed, model: Path, use: list[str]) -> None:
    unharmed(told(use, "modle"), "modle: no such file or directory", "did you mean 'model'?")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_damaged_model_is_refused(unharmed: Unharmed, model: Path, pictures: Path, name: str) -> None:
    content = bytearray((model / name).read_bytes())
    content[len(content) // 2] ^= 1
    (model / name).write_bytes(content)
    unharmed(["predict", "model", "pictures/ant/00.png"], f"model/{name}")


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "model", "pictures", "--output", "results"],
        ["explain", "model", "pictures/ant/00.png", "--output", "report.html"],
        ["patches", "pictures/ant/00.png", "--output", "patches.png"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_full_disk_leaves_the_old_result(
    model: Path, pictures: Path, tmp_path: Path, arguments: list[str]
) -> None:
    output = tmp_path / arguments[-1]
    if output.suffix:
        output.write_text("an old result of vitreous")
    else:
        output.mkdir()
        (output / "scores.json").write_text("an old result of vitreous")
    before = files(tmp_path)

    def no_room() -> None:
        # A file may grow to so many bytes and no further, as on a disk that fills up.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    done = subprocess.run(
        [sys.executable, "-B", "-m", "vitreous", *arguments],
        cwd=tmp_path,
        preexec_fn=no_room,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"vitreous: {arguments[-1]}")
    assert "cannot be written" in done.stderr
    assert files(tmp_path) == before


def test_a_place_without_permission_is_named(unharmed: Unharmed, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    unharmed(
        ["patches", "pictures/ant/00.png", "--output", "file/patches.svg"],
        "file/patches.svg: cannot be written",
    )
