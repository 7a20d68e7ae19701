"""Features are the model's own, in order, and are paid for once."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vitreous.checkpoints.adapt import adapt
from vitreous.checkpoints.file import Checkpoint
from vitreous.data.collection import Sample
from vitreous.data.preprocess import Preprocess
from vitreous.evaluation.features import extract, extract_once
from vitreous.models import catalog
from vitreous.models.model import Model

CPU = torch.device("cpu")
PREPARE = Preprocess(size=(32, 32), shorter=None)
SMALL = {"width": 16, "depth": 1, "heads": 2}
# One of each family that has features.
FAMILIES = {
    "vit": ("vit_tiny", SMALL),
    "deit": ("deit_tiny", SMALL),
    "beit": ("beit_tiny", SMALL),
    "beit_masked": ("beit_tiny_masked", SMALL),
    "mae": ("mae_tiny", SMALL),
    "swin": ("swin_tiny", {}),
    "convnet": ("resnet_18", {}),
}


def build(name: str, options: dict[str, int], classes: int = 3) -> Model:
    torch.manual_seed(0)
    size = 32
    return catalog.build(catalog.configure(name, classes=classes, image_size=size, options=options)).eval()


def samples(count: int = 7, broken: Sequence[int] = ()) -> list[Sample]:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 255, (count, 20, 24, 3), dtype=np.uint8)
    return [
        Sample(f"{number}.png", b"broken" if number in broken else pixels[number], number % 3)
        for number in range(count)
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_they_are_what_the_model_gives_one_picture_at_a_time(family: str) -> None:
    model = build(*FAMILIES[family])
    found = extract(model, PREPARE, samples(), device=CPU, batch_size=3)
    assert found.features.dtype == np.float32
    assert found.kept.tolist() == list(range(7)) and found.unreadable == ()
    for row, sample in zip(found.features, samples(), strict=True):
        with torch.no_grad():
            alone = model.features(PREPARE(sample.open()).image[None])[0]
        np.testing.assert_allclose(row, alone.numpy(), rtol=1e-4, atol=1e-5)


def test_what_cannot_be_read_is_named_and_the_rest_keeps_its_place() -> None:
    model = build(*FAMILIES["vit"])
    found = extract(model, PREPARE, samples(broken=(0, 4)), device=CPU, batch_size=2)
    assert found.kept.tolist() == [1, 2, 3, 5, 6]
    assert [error.name for error in found.unreadable] == ["0.png", "4.png"]
    whole = extract(model, PREPARE, samples(), device=CPU, batch_size=2)
    np.testing.assert_allclose(found.features, whole.features[found.kept], rtol=1e-4, atol=1e-5)
    none = extract(model, PREPARE, samples(2, broken=(0, 1)), device=CPU)
    assert len(none.features) == len(none.kept) == 0 and len(none.unreadable) == 2


def test_the_model_is_left_in_the_mode_that_each_of_its_parts_was_in() -> None:
    model = build("resnet_18", {}).train()
    model.network.layer1.eval()
    before = {name: module.training for name, module in model.named_modules()}
    statistics = model.network.bn1.running_mean.clone()
    extract(model, PREPARE, samples(3), device=CPU)
    assert {name: module.training for name, module in model.named_modules()} == before
    assert torch.equal(model.network.bn1.running_mean, statistics)


class Counted:
    """Counts the pictures that a model is shown."""

    def __init__(self, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pictures = 0
        inner = model.features

        def features(images: torch.Tensor) -> torch.Tensor:
            self.pictures += len(images)
            return inner(images)

        monkeypatch.setattr(model, "features", features)


def test_a_picture_is_paid_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(*FAMILIES["vit"])
    counted = Counted(model, monkeypatch)
    first = extract_once(model, PREPARE, samples()[:4], device=CPU, directory=tmp_path)
    assert counted.pictures == 4
    heard: list[tuple[int, int]] = []
    again = extract_once(
        model,
        PREPARE,
        list(reversed(samples(broken=(5,)))),
        device=CPU,
        directory=tmp_path,
        progress=lambda done, total: heard.append((done, total)),
    )
    assert counted.pictures == 6  # two that are new; one of the three cannot be read
    assert heard == [(5, 7), (6, 7), (7, 7)]
    assert again.kept.tolist() == [0, 2, 3, 4, 5, 6]
    assert np.array_equal(again.features[::-1][:4], first.features)
    renamed = [Sample("other", sample.source, 0) for sample in samples()[:4]]
    assert np.array_equal(
        extract_once(model, PREPARE, renamed, device=CPU, directory=tmp_path).features, first.features
    )
    assert counted.pictures == 6


def test_a_damaged_file_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(*FAMILIES["vit"])
    first = extract_once(model, PREPARE, samples(), device=CPU, directory=tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:])
    counted = Counted(model, monkeypatch)
    again = extract_once(model, PREPARE, samples(), device=CPU, directory=tmp_path)
    assert counted.pictures == 7
    assert np.array_equal(again.features, first.features)
    assert path.read_bytes() == whole


def test_other_weights_or_another_preprocessing_are_another_thing(tmp_path: Path) -> None:
    model = build(*FAMILIES["vit"])
    first = extract_once(model, PREPARE, samples(), device=CPU, directory=tmp_path)
    with torch.no_grad():
        model.head.weight.zero_()  # what only the head knows makes no difference
    extract_once(model, PREPARE, samples(), device=CPU, directory=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    extract_once(model, replace(PREPARE, mean=(0.1,) * 3), samples(), device=CPU, directory=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    with torch.no_grad():
        model.backbone.norm.weight.mul_(1.5)
    other = extract_once(model, PREPARE, samples(), device=CPU, directory=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    assert not np.allclose(other.features, first.features)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_new_head_sees_what_the_weights_saw_before(
    tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(*FAMILIES[family])
    names = tuple("abc") if model.config.classes else ()
    extract_once(model, PREPARE, samples(4), device=CPU, directory=tmp_path)
    adapted, _ = adapt(Checkpoint(model, PREPARE, names), classes=("some", "other"))
    counted = Counted(adapted.model, monkeypatch)
    kept = extract_once(adapted.model, PREPARE, samples(4), device=CPU, directory=tmp_path)
    assert counted.pictures == 0
    fresh = extract(adapted.model, PREPARE, samples(4), device=CPU)
    np.testing.assert_allclose(kept.features, fresh.features, rtol=1e-5, atol=1e-6)


def test_what_was_computed_before_an_interrupt_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(*FAMILIES["vit"])

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_once(model, PREPARE, samples(), device=CPU, batch_size=2, directory=tmp_path, progress=stop)
    counted = Counted(model, monkeypatch)
    extract_once(model, PREPARE, samples(), device=CPU, batch_size=2, directory=tmp_path)
    assert counted.pictures == 3


def test_a_place_that_cannot_be_written_is_told_and_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    model = build(*FAMILIES["vit"])
    found = extract_once(model, PREPARE, samples(), device=CPU, directory=tmp_path / "file")
    assert len(found.features) == 7
    assert "could not be kept" in found.note
