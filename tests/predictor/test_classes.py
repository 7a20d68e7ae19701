"""Pictures in, answers out: the same for a file, its bytes, its pixels, alone or in a batch."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image

from vitreous.data.collection import Sample
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, ConfigError, InputError, PictureError
from vitreous.models import catalog
from vitreous.predictor import Predictor, load, pick_device, save

CLASSES = ("ant", "bee", "cow")
PREPROCESS = Preprocess(size=(16, 16), shorter=18, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2))


@pytest.fixture
def predictor() -> Predictor:
    torch.manual_seed(0)
    config = catalog.configure(
        "vit_tiny", classes=3, image_size=16, options={"width": 32, "depth": 2, "heads": 2}
    )
    model = catalog.build(config)
    with torch.no_grad():
        model.head.weight.normal_(0, 1)  # a new head says almost the same of every picture
    return Predictor(model, PREPROCESS, CLASSES, device="cpu")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    generator = np.random.default_rng(0)
    paths = [tmp_path / f"picture {index}.png" for index in range(5)]
    for index, path in enumerate(paths):
        pixels = generator.integers(0, 256, (20 + index, 30 - index, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return paths


def same(first, second) -> bool:
    return first.index == second.index and np.allclose(first.scores, second.scores, atol=1e-6)


def test_an_answer_is_the_softmax_of_the_model(predictor: Predictor, files: list[Path]) -> None:
    answer = predictor(files[0])
    image = PREPROCESS(Image.open(files[0])).image
    with torch.no_grad():
        wanted = predictor.model(image[None]).logits[0].softmax(0)
    assert answer.scores == pytest.approx(wanted.numpy(), abs=1e-6)
    assert answer.index == int(wanted.argmax())
    assert answer.label == CLASSES[answer.index]
    assert answer.score == answer.scores[answer.index]


def test_a_file_its_bytes_its_pixels_and_its_picture_have_one_answer(
    predictor: Predictor, files: list[Path]
) -> None:
    wanted = predictor(files[0])
    with Image.open(files[0]) as picture:
        kinds = [str(files[0]), files[0].read_bytes(), picture, np.asarray(picture)]
        for kind in kinds:
            assert same(predictor(kind), wanted)


def test_a_grey_array_counts_as_a_grey_picture(predictor: Predictor) -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert same(predictor(grey), predictor(np.stack([grey] * 3, axis=-1)))


def test_a_batch_has_the_answers_of_its_pictures(predictor: Predictor, files: list[Path]) -> None:
    for alone, together in zip(map(predictor, files), predictor(files), strict=True):
        assert same(alone, together)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
def test_predict_keeps_the_order_and_goes_on_past_bad_files(
    predictor: Predictor, files: list[Path], batch_size: int
) -> None:
    bad = files[0].with_name("bad.jpg")
    bad.write_bytes(b"not a picture")
    order = [files[0], bad, files[1], files[2], bad, bad, files[3], files[4], bad]
    found = list(predictor.predict([Sample(path.name, path) for path in order], batch_size))
    assert [sample.name for sample, _ in found] == [path.name for path in order]
    for path, (_, answer) in zip(order, found, strict=True):
        if path == bad:
            assert isinstance(answer, PictureError)
            assert answer.name == "bad.jpg"
        else:
            assert same(answer, predictor(path))


def test_predict_reads_only_a_little_ahead(predictor: Predictor, files: list[Path]) -> None:
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield Sample("picture", files[0])

    answers = predictor.predict(endless(), batch_size=4)
    next(answers)
    answers.close()
    assert taken <= 9


def test_nothing_in_nothing_out(predictor: Predictor) -> None:
    assert list(predictor.predict([])) == []
    assert predictor([]) == []


def test_the_first_bad_file_of_a_list_is_an_error(predictor: Predictor, files: list[Path]) -> None:
    with pytest.raises(PictureError, match="no such file"):
        predictor([files[0], files[0].with_name("missing.png")])


def test_temperature_softens_the_scores_and_keeps_the_order(predictor: Predictor, files: list[Path]) -> None:
    soft = Predictor(predictor.model, PREPROCESS, CLASSES, temperature=4.0, device="cpu")
    for path in files:
        sharp, softer = predictor(path), soft(path)
        assert sharp.index == softer.index
        assert softer.score < sharp.score
        assert softer.scores == pytest.approx(sharp.scores**0.25 / (sharp.scores**0.25).sum(), abs=1e-5)


def test_top_is_sorted_and_stops_at_the_classes(predictor: Predictor, files: list[Path]) -> None:
    answer = predictor(files[0])
    top = predictor.top(answer, 10)
    assert [score for _, score in top] == sorted(answer.scores.tolist(), reverse=True)
    assert {label for label, _ in top} == set(CLASSES)
    assert predictor.top(answer, 1) == [(answer.label, answer.score)]
    assert predictor.top(answer, 0) == []


def test_predicting_leaves_the_model_in_evaluation_mode_without_gradients(
    predictor: Predictor, files: list[Path]
) -> None:
    predictor(files[0])
    assert not predictor.model.training
    assert all(parameter.grad is None for parameter in predictor.model.parameters())


def test_what_was_saved_answers_the_same(predictor: Predictor, files: list[Path], tmp_path: Path) -> None:
    kept = Predictor(predictor.model, PREPROCESS, CLASSES, temperature=1.5, device="cpu", lineage={"seed": 3})
    save(kept, tmp_path / "model")
    loaded = load(tmp_path / "model", device="cpu")
    assert loaded.classes == CLASSES
    assert loaded.preprocess == PREPROCESS
    assert loaded.temperature == 1.5
    assert loaded.lineage == {"seed": 3}
    assert np.array_equal(loaded(files[0]).scores, kept(files[0]).scores)


@pytest.mark.parametrize("layout", ["transformers", "timm", "torchvision"])
def test_every_layout_comes_back_with_the_same_answers(
    predictor: Predictor, files: list[Path], tmp_path: Path, layout
) -> None:
    rounding: Literal["even", "down"] = "down" if layout == "transformers" else "even"
    predictor.preprocess = replace(predictor.preprocess, crop_rounding=rounding)
    save(predictor, tmp_path / "model", layout=layout)
    loaded = load(tmp_path / "model", device="cpu")
    assert loaded.classes == CLASSES
    assert loaded.preprocess.crop_rounding == rounding
    assert same(loaded(files[0]), predictor(files[0]))


def test_a_picture_that_lies_on_its_side_is_turned_however_it_comes(
    predictor: Predictor, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=turned)
    with Image.open(tmp_path / "turned.png") as opened:
        assert same(predictor(opened), predictor(tmp_path / "turned.png"))


def test_an_empty_array_is_no_picture(predictor: Predictor) -> None:
    with pytest.raises(InputError, match="no picture"):
        predictor(np.zeros((0, 3, 3), dtype=np.uint8))


def test_an_unknown_layout_names_the_nearest(predictor: Predictor, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="did you mean 'transformers'"):
        save(predictor, tmp_path / "model", layout="transformer")  # type: ignore[arg-type]
    assert not (tmp_path / "model").exists()


def test_a_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        load(tmp_path / "nothing")


def test_a_model_without_names_for_its_classes_is_refused(predictor: Predictor, files: list[Path]) -> None:
    unnamed = Predictor(predictor.model, PREPROCESS, CLASSES[:2], device="cpu")
    with pytest.raises(CheckpointError, match="3 numbers and knows 2 classes"):
        unnamed(files[0])


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 4), np.float32), np.zeros((4, 4, 4), np.uint8), np.zeros(4, np.uint8)],
)
def test_arrays_that_are_no_pictures_are_refused(predictor: Predictor, pixels) -> None:
    with pytest.raises(InputError, match="is no picture"):
        predictor(pixels)


def test_the_device_is_picked_or_refused() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type in ("cuda", "mps", "cpu")
    with pytest.raises(ConfigError, match="unknown device"):
        pick_device("abacus")
    with pytest.raises(ConfigError, match="is not there"):
        pick_device("cuda:99")


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_must_be_above_zero(predictor: Predictor, temperature: float) -> None:
    with pytest.raises(ConfigError, match="temperature"):
        Predictor(predictor.model, PREPROCESS, CLASSES, temperature=temperature)
