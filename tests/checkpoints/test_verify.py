"""The proof of a conversion: what it says, and that it sees whatever could silently differ."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from tests.checkpoints.make import checkpoint_of, random_checkpoint
from tests.parity.mistakes import ELSEWHERE, EVERYWHERE, Mistake, with_encoder
from tests.parity.twins import google_arrays, google_twin, timm_twin, transformers_twin
from vitreous.checkpoints import conversion, destination
from vitreous.checkpoints.certificate import CERTIFICATE, Certificate, NotTheSame, compared
from vitreous.checkpoints.conversion import Lost, Origin, convert, open_origin
from vitreous.checkpoints.directory import sha256, verify_directory
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.file import save as save_ours
from vitreous.checkpoints.verify import prover
from vitreous.data.photographs import photographs

pytest.importorskip("timm")
pytest.importorskip("transformers")

PICTURES = photographs()[:3]


def proven(origin: Origin, place: Path, layout: str) -> dict[str, Any]:
    """Convert with proof; the certificate."""
    convert(origin, place, layout, prove=prover(origin, "there", layout, PICTURES))
    return json.loads((place / CERTIFICATE).read_text())


def disproven(origin: Origin, place: Path, layout: str) -> Certificate:
    """Convert with proof, which must fail and leave nothing; the certificate."""
    with pytest.raises(NotTheSame) as caught:
        convert(origin, place, layout, prove=prover(origin, "there", layout, PICTURES))
    assert not place.exists()
    assert [path for path in place.parent.iterdir() if path.name.startswith(".")] == []
    assert str(caught.value).startswith("there: not written, ")
    return caught.value.certificate


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A directory of transformers, with the norm epsilon that timm has."""
    return transformers_twin(tmp_path / "theirs", layer_norm_eps=1e-6).path


def test_a_certificate_says_what_was_compared_and_with_what(theirs: Path, tmp_path: Path) -> None:
    origin = open_origin(str(theirs))
    found = proven(origin, tmp_path / "there", "timm")
    assert found["verdict"] == "passed"
    assert set(found["versions"]) == {"vitreous", "torch", "pillow", "python", "timm", "transformers"}
    assert found["source"]["layout"] == "transformers"
    assert found["source"]["sha256"] == {
        name: sha256(theirs / name)
        for name in ("model.safetensors", "config.json", "preprocessor_config.json")
    }
    weights = found["destination"]["sha256"]["model.safetensors"]
    assert weights == sha256(tmp_path / "there/model.safetensors")
    assert [picture["name"] for picture in found["pictures"]] == [name for name, _, _ in PICTURES]
    assert all(len(picture["sha256"]) == 64 for picture in found["pictures"])
    logits = [check for check in found["checks"] if check["what"] == "logits"]
    for part, against in (
        ("source", "transformers ViTForImageClassification"),
        ("destination", "timm VisionTransformer"),
    ):
        rows = [check for check in logits if check["part"] == part]
        assert {check["against"] for check in rows} == {against}
        assert {(tuple(check["size"]), check["dtype"]) for check in rows} == {
            (size, dtype) for size in ((32, 32), (48, 48), (24, 56)) for dtype in ("float32", "float64")
        }
        assert all(check["relative"] < check["bound"] for check in rows)
    kept = [check for check in logits if check["part"] == "kept"]
    assert {check["note"] for check in kept} == {"every tensor bit for bit"}
    pixels = [check for check in found["checks"] if check["what"] == "pixels"]
    assert [(check["part"], check["bound"]) for check in pixels] == [
        ("source", 1.0),
        ("source", None),
        ("destination", 1.0),
    ]
    verify_directory(tmp_path / "there")
    manifest = json.loads((tmp_path / "there/manifest.json").read_text())["files"]
    assert set(manifest) == {"config.json", "model.safetensors", CERTIFICATE}


def test_the_same_is_proven_again_of_what_was_written(theirs: Path, tmp_path: Path) -> None:
    proven(open_origin(str(theirs)), tmp_path / "there", "timm")
    found = proven(open_origin(str(tmp_path / "there")), tmp_path / "back", "transformers")
    assert found["verdict"] == "passed"
    assert found["source"]["layout"] == "timm"


def test_a_file_of_google_is_asked_through_timms_loader(tmp_path: Path) -> None:
    twin = google_twin(tmp_path / "vit.npz", google_arrays())
    found = proven(open_origin(str(twin.path)), tmp_path / "there", "vitreous")
    assert {check["against"] for check in found["checks"] if check["part"] == "source"} == {
        "timm VisionTransformer"
    }
    assert found["source"]["assumed"][0] == "preprocessing"
    assert found["not_run"] == ["source: preprocessing, an .npz does not say its preprocessing"]


def test_torchvision_takes_square_pictures_only_and_the_certificate_says_so(tmp_path: Path) -> None:
    save_ours(tmp_path / "ours", random_checkpoint())
    found = proven(open_origin(str(tmp_path / "ours")), tmp_path / "there", "torchvision")
    sizes = {tuple(check["size"]) for check in found["checks"] if check["part"] == "destination"}
    assert sizes == {(32, 32), (48, 48), (64, 64)}
    assert found["not_run"][0] == "source: a model of vitreous, which no other library loads"
    assert "does not take pictures of 24x56 (" in found["not_run"][1]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize("layout", ["vitreous", "transformers", "timm", "torchvision"])
def test_weights_keep_their_type(tmp_path: Path, layout: str, dtype: str) -> None:
    checkpoint = random_checkpoint()
    checkpoint.model.to(getattr(torch, dtype))
    save_ours(tmp_path / "ours", checkpoint)
    found = proven(open_origin(str(tmp_path / "ours")), tmp_path / "there", layout)
    assert found["source"]["types"] == [dtype]
    written = load((tmp_path / "there/model.safetensors").read_bytes())
    assert {str(value.dtype) for value in written.values()} == {f"torch.{dtype}"}
    if layout == "transformers":
        assert json.loads((tmp_path / "there/config.json").read_text())["torch_dtype"] == dtype


def test_what_is_folded_into_half_precision_makes_it_float32(tmp_path: Path) -> None:
    checkpoint = random_checkpoint(temperature=1.7)
    checkpoint.model.half()
    save_ours(tmp_path / "ours", checkpoint)
    origin = open_origin(str(tmp_path / "ours"))
    written = convert(origin, tmp_path / "there", "timm", prove=prover(origin, "there", "timm", PICTURES))
    assert written.changed[:2] == (
        "float16 became float32, so that what is folded in is not rounded",
        "temperature 1.7 divides the head's weights now",
    )
    tensors = load((tmp_path / "there/model.safetensors").read_bytes())
    assert {value.dtype for value in tensors.values()} == {torch.float32}


def test_grey_pictures(tmp_path: Path) -> None:
    save_ours(tmp_path / "ours", random_checkpoint(channels=1))
    for layout in ("timm", "transformers"):
        found = proven(open_origin(str(tmp_path / "ours")), tmp_path / layout, layout)
        assert {check["part"] for check in found["checks"] if check["what"] == "pixels"} == {"destination"}


def test_a_crop_that_starts_elsewhere_is_told(tmp_path: Path) -> None:
    twin = timm_twin(tmp_path / "theirs")
    found = proven(open_origin(str(twin.path)), tmp_path / "there", "transformers")
    assert found["changed"][0].startswith("preprocessing crop_rounding even became down")
    told = [check for check in found["checks"] if check["part"] == "kept" and check["what"] == "pixels"]
    assert told[0]["bound"] is None


# Negative controls: something of ours is made wrong, and the library that the file comes from shows it.


def with_preprocess(checkpoint: Checkpoint, **values: Any) -> Checkpoint:
    return checkpoint_of(checkpoint, preprocess=replace(checkpoint.preprocess, **values))


PIXELS: dict[str, Mistake] = {
    "interpolation": lambda found: with_preprocess(found, interpolation="bicubic"),
    "mean": lambda found: with_preprocess(found, mean=(0.485, 0.456, 0.406)),
    "std": lambda found: with_preprocess(found, std=(0.5, 0.5, 0.52)),
    "a crop instead of a squash": lambda found: with_preprocess(found, shorter=36),
    "another size": lambda found: with_preprocess(found, size=(40, 40)),
}


@pytest.mark.parametrize("wrong", [*EVERYWHERE, *ELSEWHERE, *PIXELS])
def test_what_is_read_wrongly_is_seen(theirs: Path, tmp_path: Path, wrong: str) -> None:
    misread = {**EVERYWHERE, **ELSEWHERE, **PIXELS}[wrong]
    origin = open_origin(str(theirs))
    origin = origin._replace(checkpoint=misread(origin.checkpoint))
    found = disproven(origin, tmp_path / "there", "vitreous")
    failed = [check for check in found.checks if not check.passed]
    assert {check.part for check in failed} == {"source"}
    assert {check.what for check in failed} == {"pixels" if wrong in PIXELS else "logits"}
    if wrong in EVERYWHERE:
        assert ((32, 32), "float64") in {(check.size, check.dtype) for check in failed}
    if wrong in ELSEWHERE:
        assert all(check.size != (32, 32) for check in failed)


# Negative controls: what is written is spoilt on the way.


def edited(**values: Any) -> Callable[[Any], bytes]:
    """Replaces values of a JSON file."""
    return lambda content: json.dumps(json.loads(content) | values).encode()


def noisy(content: Any) -> Any:
    """Adds a little to one tensor of a file of weights."""

    def write(path: Path) -> None:
        content(path)
        tensors = load(path.read_bytes())
        tensors["vit.encoder.layer.1.output.dense.weight"] *= 1.01
        path.write_bytes(save(tensors, {"format": "pt"}))

    return write


def lacking(content: Any) -> Any:
    """Leaves out a tensor."""

    def write(path: Path) -> None:
        content(path)
        tensors = load(path.read_bytes())
        del tensors["vit.encoder.layer.1.output.dense.bias"]
        path.write_bytes(save(tensors, {"format": "pt"}))

    return write


SPOILT: dict[str, tuple[str, Callable[[Any], Any], str]] = {
    "weights": ("model.safetensors", noisy, "logits at 32x32 in float32 differ"),
    "norm epsilon": ("config.json", edited(layer_norm_eps=1e-12), "norm_eps 1e-06 became 1e-12"),
    "activation": ("config.json", edited(hidden_act="gelu_new"), "activation gelu became gelu_tanh"),
    "class names": (
        "config.json",
        edited(id2label=dict(enumerate("abcde"))),
        "5 class names became others",
    ),
    "mean": ("preprocessor_config.json", edited(image_mean=[0.5] * 3), "preprocessing mean"),
    "interpolation": ("preprocessor_config.json", edited(resample=3), "preprocessing interpolation"),
}


def spoil(monkeypatch: pytest.MonkeyPatch, file: str, change: Callable[[Any], Any]) -> None:
    """Every writer's ``file`` is changed before it reaches the disk."""
    chosen = destination.writer_for

    def writer_for(*arguments: Any) -> Any:
        writer = chosen(*arguments)

        def write(checkpoint: Checkpoint) -> dict[str, Any]:
            files = writer.write(checkpoint)
            return files | {file: change(files[file])}

        return writer._replace(write=write)

    monkeypatch.setattr(destination, "writer_for", writer_for)


@pytest.mark.parametrize("part", SPOILT)
def test_what_is_spoilt_in_writing_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    file, change, reason = SPOILT[part]
    save_ours(tmp_path / "ours", random_checkpoint())
    spoil(monkeypatch, file, change)
    found = disproven(open_origin(str(tmp_path / "ours")), tmp_path / "there", "transformers")
    failed = [check for check in found.checks if not check.passed]
    assert {check.part for check in failed} == {"kept"}
    notes = [
        check.note if check.absolute is None else f"{check.what} at 32x32 in {check.dtype} differ"
        for check in failed
    ]
    assert any(note.startswith(reason) for note in notes), notes


def test_a_directory_that_cannot_be_read_again_is_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_ours(tmp_path / "ours", random_checkpoint())
    spoil(monkeypatch, "model.safetensors", lacking)
    origin = open_origin(str(tmp_path / "ours"))
    with pytest.raises(Lost, match=r"there: not written, it could not be read again: .*1 missing") as caught:
        convert(origin, tmp_path / "there", "transformers")
    assert "writing-" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["ours"]


def test_what_is_lost_is_seen_without_a_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_ours(tmp_path / "ours", random_checkpoint())
    spoil(monkeypatch, "config.json", edited(layer_norm_eps=1e-12))
    with pytest.raises(Lost, match="norm_eps 1e-06 became 1e-12"):
        convert(open_origin(str(tmp_path / "ours")), tmp_path / "there", "transformers")
    assert [path.name for path in tmp_path.iterdir()] == ["ours"]


def test_a_mistake_made_in_both_directions_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing one activation for another and reading it back the same way looks right from here alone."""
    from vitreous.checkpoints.foreign.transformers import common, vit

    monkeypatch.setattr(vit, "ACTIVATION_NAMES", {**common.ACTIVATION_NAMES, "gelu": "quick_gelu"})
    monkeypatch.setattr(common, "ACTIVATIONS", {**common.ACTIVATIONS, "quick_gelu": "gelu"})
    save_ours(tmp_path / "ours", random_checkpoint())
    found = disproven(open_origin(str(tmp_path / "ours")), tmp_path / "there", "transformers")
    failed = [check for check in found.checks if not check.passed]
    assert {check.part for check in failed} == {"destination"}
    assert failed[0].size == (32, 32)


def test_a_head_of_zeros_proves_nothing(tmp_path: Path) -> None:
    checkpoint = random_checkpoint()
    with torch.no_grad():
        checkpoint.model.head.weight.zero_()
    save_ours(tmp_path / "ours", checkpoint)
    found = disproven(open_origin(str(tmp_path / "ours")), tmp_path / "there", "timm")
    assert found.checks[0].note.startswith("the answers are the same for every picture")


def test_an_older_directory_stays_when_a_proof_fails(theirs: Path, tmp_path: Path) -> None:
    proven(open_origin(str(theirs)), tmp_path / "there", "timm")
    before = {path.name: sha256(path) for path in (tmp_path / "there").iterdir()}
    origin = open_origin(str(theirs))
    wrong = origin._replace(checkpoint=with_encoder(origin.checkpoint, activation="quick_gelu"))
    with pytest.raises(NotTheSame):
        proven(wrong, tmp_path / "there", "timm")
    assert {path.name: sha256(path) for path in (tmp_path / "there").iterdir()} == before


@pytest.mark.parametrize(
    ("mine", "theirs", "relative", "passed"),
    [
        ([1.0, 2.0], [1.0, 4.0], 0.5, False),
        ([1.0, 4.0], [1.0, 4.0], 0.0, True),
        ([0.0, 0.0], [0.0, 0.0], None, False),
        ([3.0, 3.0], [3.0, 3.0], None, False),
        ([float("nan"), 1.0], [1.0, 1.0], None, False),
        ([1.0, 1.0], [float("inf"), 1.0], None, False),
        ([1.0], [1.0, 1.0], None, False),
    ],
)
def test_answers_that_prove_nothing_never_pass(
    mine: list[float], theirs: list[float], relative: float | None, passed: bool
) -> None:
    check = compared(torch.tensor(mine), torch.tensor(theirs), 1e-4)
    assert (check.relative, check.passed) == (relative, passed)


def test_sizes_and_digests(theirs: Path) -> None:
    origin = open_origin(str(theirs))
    assert origin.files[0].name == "model.safetensors"
    assert (origin.layout, origin.family, origin.dtypes) == ("transformers", "vit", ("float32",))
    assert set(origin.digests()) == {"model.safetensors", "config.json", "preprocessor_config.json"}
    assert conversion.differences(origin.checkpoint, origin.checkpoint).exact
