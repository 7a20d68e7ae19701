"""Other libraries' own loaders: which class they make of a file, and what they do not load."""

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.checkpoints.make import random_checkpoint
from tests.parity.twins import google_arrays, google_twin, timm_twin, torchvision_twin, transformers_twin
from vitreous.checkpoints.destination import write_any
from vitreous.checkpoints.peer import Hidden, NotRun, Peer, quiet, require
from vitreous.checkpoints.peers import peer_of_directory, peer_of_file
from vitreous.checkpoints.source import read_any
from vitreous.errors import MissingPackage

timm = pytest.importorskip("timm")
transformers = pytest.importorskip("transformers")


def asked(peer: Peer, side: int = 32) -> torch.Tensor:
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    patches = (side // 8) ** 2
    with torch.no_grad():
        return peer.answer(images, Hidden(torch.rand(2, patches), torch.zeros(2, patches, dtype=torch.bool)))


@pytest.mark.parametrize("layout", ["timm", "transformers", "torchvision"])
def test_a_directory_is_loaded_by_its_own_library(tmp_path: Path, layout: str) -> None:
    checkpoint = random_checkpoint()
    write_any(tmp_path / "there", checkpoint, layout)
    peer = peer_of_directory(layout, tmp_path / "there", checkpoint, ours=True)
    assert type(peer.model).__module__.split(".")[0] == layout
    assert peer.version
    assert asked(peer).shape == asked(peer, 48).shape == (2, 5)
    assert any(transform.exact for transform in peer.transforms)


def test_a_file_of_google_goes_through_timms_loader(tmp_path: Path) -> None:
    twin = google_twin(tmp_path / "vit.npz", google_arrays())
    peer = peer_of_file("google", twin.path, read_any(twin.path), None)
    assert (peer.library, peer.kind, peer.transforms) == ("timm", "VisionTransformer", ())


def test_the_hidden_layer_of_googles_head_is_not_loaded_by_timm(tmp_path: Path) -> None:
    twin = google_twin(tmp_path / "vit.npz", google_arrays(pre_logits=True))
    with pytest.raises(NotRun, match="leaves out the hidden layer"):
        peer_of_file("google", twin.path, read_any(twin.path), None)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_bare_file_of_timm_is_loaded_under_the_name_of_its_architecture(
    tmp_path: Path, suffix: str
) -> None:
    model = timm.create_model("test_vit", num_classes=5).eval()
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save(model.state_dict(), path)
    else:
        save_file(model.state_dict(), path)
    checkpoint = read_any(path, "test_vit")
    peer = peer_of_file("timm", path, checkpoint, "test_vit")
    images = torch.randn(2, 3, 160, 160)
    with torch.no_grad():
        expected = model(images)
    hidden = Hidden(torch.zeros(2, 1), torch.zeros(2, 1, dtype=torch.bool))
    assert torch.equal(peer.answer(images, hidden), expected)
    with pytest.raises(NotRun, match="give it as --name"):
        peer_of_file("timm", path, checkpoint, None)
    with pytest.raises(NotRun, match="give it as --name"):
        peer_of_file("timm", path, checkpoint, "vit_b_16")


def test_torchvision_has_builders_for_published_sizes_alone(tmp_path: Path) -> None:
    twin = torchvision_twin(tmp_path / "vit.pth")
    with pytest.raises(NotRun, match="has no builder"):
        peer_of_file("torchvision", twin.path, read_any(twin.path), None)


def test_a_bare_file_is_nothing_to_transformers(tmp_path: Path) -> None:
    with pytest.raises(NotRun, match="a directory with its"):
        peer_of_file("transformers", tmp_path, random_checkpoint(), None)


def test_authors_files_without_a_library() -> None:
    with pytest.raises(NotRun, match="by its own programs alone"):
        peer_of_directory("facebookresearch", Path(), random_checkpoint())


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    return transformers_twin(tmp_path / "theirs").path


@pytest.mark.parametrize("named", [["PreTrainedModel"], ["os.system"], [], None, "ViTModel", [["ViTModel"]]])
def test_a_class_is_chosen_from_a_table_and_never_from_a_file(theirs: Path, named: Any) -> None:
    checkpoint = read_any(theirs)
    config = json.loads((theirs / "config.json").read_text())
    (theirs / "config.json").write_text(json.dumps(config | {"architectures": named}))
    with pytest.raises(NotRun, match="which is not compared"):
        peer_of_directory("transformers", theirs, checkpoint)


def test_code_beside_a_model_is_not_run(theirs: Path) -> None:
    checkpoint = read_any(theirs)
    (theirs / "strange.py").write_text("raise SystemExit('it ran')")
    config = json.loads((theirs / "config.json").read_text())
    config |= {"auto_map": {"AutoModelForImageClassification": "strange.Strange"}}
    (theirs / "config.json").write_text(json.dumps(config))
    assert peer_of_directory("transformers", theirs, checkpoint).kind == "ViTForImageClassification"


def test_a_tensor_that_a_library_would_draw_at_random_is_told(theirs: Path) -> None:
    checkpoint = read_any(theirs)
    tensors = load_file(theirs / "model.safetensors")
    del tensors["classifier.bias"]
    save_file(tensors, theirs / "model.safetensors", {"format": "pt"})
    with pytest.raises(NotRun, match=r"does not find classifier.bias \(1 tensors\)"):
        peer_of_directory("transformers", theirs, checkpoint)


def test_a_directory_without_preprocessing_has_no_transforms(theirs: Path) -> None:
    checkpoint = read_any(theirs)
    (theirs / "preprocessor_config.json").unlink()
    peer = peer_of_directory("transformers", theirs, checkpoint)
    assert (peer.transforms, peer.without_transforms) == ((), "no preprocessor_config.json")


def test_a_damaged_directory_is_one_line(theirs: Path) -> None:
    checkpoint = read_any(theirs)
    (theirs / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(NotRun, match=r"^transformers cannot load it: .*") as caught:
        peer_of_directory("transformers", theirs, checkpoint)
    assert "\n" not in str(caught.value)


def test_timms_own_size_of_a_transform_is_told(tmp_path: Path) -> None:
    twin = timm_twin(tmp_path / "theirs")
    checkpoint = read_any(twin.path)
    (transform,) = peer_of_directory("timm", twin.path, checkpoint).transforms
    assert transform.name == "create_transform at 32x32, its own is 224x224"


@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_a_library_that_is_missing_is_named_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        MissingPackage, match=rf"{library} is not installed; run: pip install 'vitreous\[parity\]'"
    ):
        peer_of_directory(library, tmp_path, random_checkpoint())


def test_a_part_that_a_library_misses_is_its_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_a_library.py").write_text("import absent_other_half")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="absent_other_half"):
        require("half_a_library")


def test_libraries_are_quiet_and_speak_again() -> None:
    from transformers.utils import logging as said

    assert said.is_progress_bar_enabled()
    with quiet():
        assert not logging.getLogger("timm").isEnabledFor(logging.WARNING)
        assert not said.is_progress_bar_enabled()
    assert logging.getLogger("timm").isEnabledFor(logging.WARNING)
    assert said.is_progress_bar_enabled()


def test_nothing_is_imported_before_a_peer_is_asked_for() -> None:
    script = (
        "import sys, vitreous.checkpoints.verify;"
        "print([name for name in ('timm', 'transformers', 'torchvision') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
