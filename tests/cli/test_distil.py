"""``vitreous train --recipe distil``: a student, who taught it, and what cannot teach."""

from pathlib import Path

import pytest

from tests.cli.conftest import Run, tiny_predictor
from tests.cli.test_bad_input import files
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.file import save as save_checkpoint
from vitreous.data.preprocess import Preprocess
from vitreous.models import catalog
from vitreous.predictor import load, save

SMALL = (
    "--model=deit_tiny",
    "--set=model.image_size=8",
    "--set=model.options={width: 16, depth: 1, heads: 2}",
    "--set=epochs=2",
    "--set=batch_size=4",
    "--set=workers=0",
    "--set=augment.rand_augment=null",
    "--set=augment.mixup=0",
    "--set=augment.cutmix=0",
)


def distil(*arguments: str) -> tuple[object, ...]:
    return ("train", "pictures", "--recipe", "distil", *SMALL, *arguments)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITREOUS_CACHE", str(tmp_path / "cache"))


def test_a_student_is_distilled_judged_asked_and_knows_its_teacher(
    run: Run, model: Path, pictures: Path
) -> None:
    said = run(*distil("--set", "task.teacher=model", "--set", "task.cached_views=1", "--output", "student"))
    assert said.code == 0, said.err
    assert "taught by model: vit, 8x8 pixels" in said.err
    assert "the teacher has answered: 1 views of" in said.err
    assert run("evaluate", "student", "pictures").code == 0
    assert run("predict", "student", "pictures/ant/00.png").code == 0
    told = run("inspect", "student").out
    assert "source model, family vit, classes 2, sha256 " in told
    assert "task distillation" in told


def test_weights_that_are_gone_on_with_may_have_a_teacher(run: Run, model: Path, pictures: Path) -> None:
    save(tiny_predictor(), "other")
    said = run(
        *("train", "pictures", "--from", "other", "--output", "tuned", "--set=epochs=1", "--set=workers=0"),
        *("--set=task.kind=distillation", "--set=task.teacher=model", "--set=task.share=0.3"),
    )
    assert said.code == 0, said.err
    lineage = load("tuned", device="cpu").lineage
    assert lineage["from"]["source"] == "other" and lineage["teacher"]["source"] == "model"


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], "distillation needs a teacher; give --set task.teacher=SOURCE"),
        (["task.teacher=modle"], "modle: no such file or directory; wanted a run, a model directory"),
        (["task.teacher=pictures"], "pictures: "),
        (["task.techer=model"], "did you mean 'teacher'"),
        (["task.teacher=model", "task.share=1.5"], "task.share is a share from 0 to 1, got 1.5"),
        (["task.teacher=model", "task.temperature=0"], "task.temperature must be above 0"),
        (["task.teacher=model", "task.targets=firm"], "wanted one of hard, soft"),
        (["task.teacher=model", "task.cached_views=-1"], "from 0 to 1000"),
        (
            ["task.teacher=model", "task.cached_views=2", "augment.mixup=0.2"],
            "set both to 0, or cached_views",
        ),
        (["task.teacher=model", "output=model/best"], "give another --output, or other weights"),
        (["task.teacher=mae"], "a model of the family mae that tells no classes apart cannot teach them"),
        (["task.teacher=bees"], "knows the classes 2 (bee, cow), the data has 2 (ant, bee)"),
        (
            ["task.teacher=bees"],
            "it does not know 1 (ant); give a teacher that knows all classes of the data",
        ),
    ],
)
def test_what_cannot_teach_begins_nothing(
    run: Run, model: Path, pictures: Path, tmp_path: Path, arguments: list[str], wanted: str
) -> None:
    save(tiny_predictor(("bee", "cow")), tmp_path / "bees")
    mae = catalog.build(catalog.configure("mae_tiny"))
    save_checkpoint(tmp_path / "mae", Checkpoint(mae, Preprocess(size=(32, 32), shorter=None), ()))
    before = files(tmp_path)
    said = run(*distil(*(f"--set={setting}" for setting in arguments)))
    assert (said.code, said.out) == (2, ""), said.err
    assert said.err.count("\n") == 1
    assert wanted in said.err
    assert files(tmp_path) == before
