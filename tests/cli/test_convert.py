"""``vitreous convert``: layouts, proof, and what is refused."""

import json
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.cli.conftest import Run, tiny_predictor
from tests.cli.test_bad_input import files
from tests.test_startup import imported
from vitreous.checkpoints import destination
from vitreous.checkpoints.source import read_any
from vitreous.cli.convert import LAYOUTS
from vitreous.predictor import load, save


def test_layouts_are_those_that_are_written() -> None:
    assert LAYOUTS == destination.LAYOUTS


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout != "dall_e"])
def test_every_layout_is_written_and_read_back(run: Run, model: Path, layout: str, tmp_path: Path) -> None:
    said = run("convert", "model", "there", "--to", layout)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("read     model: vitreous vit; ")
    assert "wrote    there: " in said.out
    assert "parity.json" not in said.out
    before, after = read_any(tmp_path / "model"), read_any(tmp_path / "there")
    assert after.classes == before.classes
    images = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(after.model(images).logits, before.model(images).logits)


def test_what_had_to_be_assumed_is_said(run: Run, model: Path, tmp_path: Path) -> None:
    assert run("convert", "model", "timm", "--to", "timm").code == 0
    shutil.copy(tmp_path / "timm/model.safetensors", tmp_path / "bare.safetensors")
    said = run("convert", "bare.safetensors", "there", "--to", "vitreous", "--name", "vit_ti_16")
    assert said.code == 2  # not that size
    torch.save({"state_dict": torchvision_weights()}, tmp_path / "bare.pth")
    said = run("convert", "bare.pth", "there", "--to", "timm")
    assert said.code == 0
    assert said.rows[1][:4] == ["assumed", "preprocessing,", "class", "names:"]


def torchvision_weights() -> dict[str, torch.Tensor]:
    from torchvision.models import VisionTransformer

    return VisionTransformer(
        image_size=16, patch_size=8, num_layers=1, num_heads=3, hidden_dim=192, mlp_dim=64, num_classes=3
    ).state_dict()


def test_json(run: Run, model: Path) -> None:
    found = json.loads(run("convert", "model", "there", "--to", "torchvision", "--json").out)
    assert found["source"]["layout"] == "vitreous"
    assert found["destination"]["layout"] == "torchvision"
    assert set(found["destination"]["sha256"]) == {"config.json", "model.safetensors"}
    assert found["certificate"] is None


def test_a_proof_needs_no_other_library_for_our_own_layout(run: Run, model: Path) -> None:
    said = run("convert", "model", "there", "--to", "vitreous", "--verify")
    assert said.code == 0
    assert "every bound is kept; parity.json holds the proof" in said.out
    assert "not run  source: a model of vitreous" in said.out
    load("there", device="cpu")


def test_a_proof_with_another_library_is_a_table(run: Run, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("timm")
    said = run("convert", "model", "there", "--to", "timm", "--verify")
    assert said.code == 0
    assert said.rows[5][:5] == ["part", "against", "what", "size", "type"]
    assert any(
        row[:6] == ["destination", "timm", "VisionTransformer", "logits", "8x8", "float32"]
        for row in said.rows
    )
    certificate = json.loads((tmp_path / "there/parity.json").read_text())
    assert certificate["verdict"] == "passed"
    assert len(certificate["pictures"]) >= 6
    assert any(side % 2 for picture in certificate["pictures"] for side in picture["size"])
    again = json.loads(run("convert", "model", "there", "--to", "timm", "--verify", "--json").out)
    assert again["certificate"]["checks"] == certificate["checks"]
    said = run("convert", "there", "back", "--to", "vitreous", "--verify")
    assert said.code == 0
    assert any(row[:3] == ["source", "timm", "VisionTransformer"] for row in said.rows)


def test_pictures_of_the_users(run: Run, model: Path, pictures: Path, tmp_path: Path) -> None:
    said = run("convert", "model", "there", "--to", "torchvision", "--verify", "--pictures", "pictures")
    assert said.code == 0
    certificate = json.loads((tmp_path / "there/parity.json").read_text())
    assert len(certificate["pictures"]) == 11
    assert certificate["pictures"][0]["name"] == "pictures/ant/00.png"
    said = run(
        "convert", "model", "there", "--to", "torchvision", "--verify", "--pictures", "pictures/ant/01.png"
    )
    assert said.code == 0
    assert "compared on 1 pictures" in said.out


def test_of_many_pictures_some_are_looked_at(run: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    for index in range(70):
        Image.new("RGB", (9, 7), (index, 0, 0)).save(tmp_path / f"many/{index:02}.png")
    run("convert", "model", "there", "--to", "torchvision", "--verify", "--pictures", "many")
    certificate = json.loads((tmp_path / "there/parity.json").read_text())
    names = [picture["name"] for picture in certificate["pictures"]]
    assert len(names) == 32
    assert (names[0], names[-1]) == ("many/00.png", "many/67.png")


def test_a_proof_that_fails_leaves_nothing_and_says_why(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    from vitreous.checkpoints.foreign.transformers import vit

    written = vit.WRITER.write

    def with_another_epsilon(checkpoint):  # type: ignore[no-untyped-def]
        found = written(checkpoint)
        return found | {"config.json": found["config.json"].replace(b"1e-06", b"1e-03")}

    wrong = vit.WRITER._replace(write=with_another_epsilon)
    monkeypatch.setattr(destination, "writer_for", lambda config, layout: wrong)
    before = files(tmp_path)
    said = run("convert", "model", "there", "--to", "transformers", "--verify")
    assert said.code == 1
    assert said.err.count("\n") == 1
    assert said.err.startswith("vitreous: there: not written, ")
    assert "norm_eps 1e-06 became 0.001" in said.err
    assert any("FAILED" in row for row in said.rows)
    assert files(tmp_path) == before
    said = run("convert", "model", "there", "--to", "transformers", "--verify", "--json")
    assert said.code == 1
    assert json.loads(said.out)["certificate"]["verdict"] == "failed"
    said = run("convert", "model", "there", "--to", "transformers")
    assert said.code == 1
    assert said.err.startswith("vitreous: there: not written, norm_eps 1e-06 became 0.001")
    assert files(tmp_path) == before


@pytest.mark.parametrize("layout", ["timm", "transformers"])
def test_a_library_that_is_missing(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    assert run("convert", "model", "theirs", "--to", layout).code == 0  # writing needs no other library
    monkeypatch.setitem(sys.modules, layout, None)
    before = files(tmp_path)
    for arguments in (["model", "there", "--to", layout], ["theirs", "there", "--to", "vitreous"]):
        said = run("convert", *arguments, "--verify")
        assert said.code == 1
        assert said.err.splitlines()[-1] == (
            f"vitreous: {layout} is not installed; run: pip install 'vitreous[parity]',"
            " or leave out --verify; nothing was written"
        )
        assert files(tmp_path) == before
    assert run("convert", "theirs", "there", "--to", "vitreous").code == 0


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["model", "there", "--to", "transformer"], ["'transformer'", "did you mean 'transformers'"]),
        (["model", "there", "--to", ""], ["unknown layout ''", "vitreous, transformers, timm, torchvision"]),
        (["model", "there"], ["--to"]),
        (["modle", "there", "--to", "timm"], ["modle: no such file", "did you mean 'model'?"]),
        (["model", "model", "--to", "timm"], ["model: overlaps model"]),
        (["model", "model/there", "--to", "timm"], ["model/there: overlaps model"]),
        (["model/model.safetensors", "model", "--to", "timm"], ["model: overlaps model/model.safetensors"]),
        (["model/model.safetensors", ".", "--to", "timm"], ["overlaps"]),
        (["model", "linked", "--to", "timm"], ["linked: overlaps model"]),
        (["a.previous", "a", "--to", "vitreous"], ["a: overlaps a.previous"]),
        (["model", "pictures", "--to", "timm"], ["pictures: not written by vitreous and not empty"]),
        (["model", "pictures/ant/00.png", "--to", "timm"], ["pictures/ant/00.png: a file stands there"]),
        (["model", "pictures/ant/00.png/there", "--to", "timm"], ["nothing was changed there"]),
        (["model", "there", "--to", "timm", "--name", "vit_b_16"], ["leave out name='vit_b_16'"]),
        (["pictures/ant/00.png", "there", "--to", "timm"], ["pictures/ant/00.png"]),
        (["model", "there", "--to", "timm", "--pictures", "pictures"], ["--verify"]),
        (["model", "there", "--to", "timm", "--verify", "--pictures", "no"], ["no: no such file"]),
        (["model", "there", "--to", "timm", "--verify", "--pictures", "empty"], ["empty: a folder"]),
        (["registers", "there", "--to", "torchvision"], ["cannot hold this model", "register"]),
    ],
)  # fmt: skip
def test_what_is_refused_leaves_everything_as_it_was(
    run: Run, model: Path, pictures: Path, tmp_path: Path, arguments: list[str], wanted: list[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "linked").symlink_to("model")
    shutil.copytree(model, tmp_path / "a.previous")
    if "registers" in arguments:
        from tests.checkpoints.make import random_checkpoint
        from vitreous.checkpoints.file import save as save_checkpoint

        save_checkpoint(tmp_path / "registers", random_checkpoint(registers=2))
    before = files(tmp_path)
    said = run("convert", *arguments)
    assert said.code == 2, said
    assert said.err.startswith("vitreous: ")
    assert said.err.count("\n") == 1
    for part in wanted:
        assert part in said.err
    assert files(tmp_path) == before


def test_our_own_directory_is_replaced(run: Run, model: Path, tmp_path: Path) -> None:
    assert run("convert", "model", "there", "--to", "timm").code == 0
    assert run("convert", "model", "there", "--to", "torchvision").code == 0
    assert "conv_proj.weight" in load_file(tmp_path / "there/model.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "there"]


def test_a_run_is_converted(run: Run, tmp_path: Path) -> None:
    save(tiny_predictor(), tmp_path / "run/best")
    said = run("convert", "run", "there", "--to", "timm")
    assert said.code == 0
    assert said.out.startswith("read     run: vitreous vit; ")
    assert run("convert", "run", "run/there", "--to", "timm").code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("model", "there", "--to", "tim"),
        ("runs/nothing", "there", "--to", "timm"),
        ("model", "model/there", "--to", "timm"),
        ("model", "there", "--to", "timm", "--pictures", "no"),
        ("model", "there", "--to", "timm", "--verify", "--pictures", "no"),
    ],
)
def test_bad_arguments_are_answered_before_torch(arguments: tuple[str, ...], tmp_path: Path) -> None:
    for folder in ("model", "runs"):
        (tmp_path / folder).mkdir()
    code, loaded = imported("convert", *arguments, folder=tmp_path)
    assert code == 2
    assert "torch" not in loaded


def test_a_full_disk_leaves_the_old_directory(run: Run, model: Path, tmp_path: Path) -> None:
    assert run("convert", "model", "there", "--to", "torchvision").code == 0
    before = files(tmp_path)

    def no_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    done = subprocess.run(
        [
            sys.executable,
            "-B",
            "-m",
            "vitreous",
            "convert",
            "model",
            "there",
            "--to",
            "torchvision",
            "--verify",
        ],
        cwd=tmp_path,
        preexec_fn=no_room,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "vitreous: there: File too large; nothing was changed there"
    assert files(tmp_path) == before
