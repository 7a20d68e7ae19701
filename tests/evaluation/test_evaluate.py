"""Which pictures are judged, and that none is left out in silence."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vitreous.data.collection import Collection, Sample, Splits
from vitreous.data.folder import read_data
from vitreous.data.preprocess import Preprocess
from vitreous.errors import ConfigError, DataError
from vitreous.evaluation.classification import scores
from vitreous.evaluation.evaluate import align, choose, evaluate, trained_on
from vitreous.models import catalog
from vitreous.predictor import Predictor

CLASSES = ("ant", "bee")


def write(root: Path, counts: dict[str, int], seed: int = 0) -> Path:
    generator = np.random.default_rng(seed)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for index in range(count):
            pixels = generator.integers(0, 256, (9, 9, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index:02d}.png")
    return root


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write(tmp_path / "pictures", {"ant": 12, "bee": 9})


def predictor_of(classes: tuple[str, ...] = CLASSES, **named) -> Predictor:
    torch.manual_seed(0)
    options = {"width": 16, "depth": 1, "heads": 2, "patch": 4}
    config = catalog.configure("vit_tiny", classes=len(classes), image_size=8, options=options)
    model = catalog.build(config)
    with torch.no_grad():
        model.head.weight.normal_(0, 1)
    return Predictor(model, Preprocess(size=(8, 8), shorter=None), classes, device="cpu", **named)


def trained(source: Path, seed: int = 0) -> Predictor:
    splits = read_data(source, seed=seed)
    return predictor_of(lineage={"data": trained_on(splits, str(source), seed)})


def test_the_figures_are_those_of_the_models_logits(pictures: Path) -> None:
    predictor = predictor_of()
    collection = read_data(pictures).train
    assert collection is not None
    result = evaluate(predictor, collection, batch_size=4)
    images = torch.stack([predictor.prepare(sample.open()).image for sample in collection.samples])
    with torch.no_grad():
        logits = predictor.model(images).logits.numpy()
    wanted = scores(logits, collection.labels, CLASSES)
    assert result["accuracy"] == wanted["accuracy"]
    assert result["confusion"] == wanted["confusion"]
    assert result["nll"] == pytest.approx(wanted["nll"], abs=1e-6)
    wrong = [
        sample.name
        for sample, row in zip(collection.samples, logits, strict=True)
        if row.argmax() != sample.label
    ]
    assert sorted(mistake["name"] for mistake in result["mistakes"]) == sorted(wrong)
    sure = [mistake["score"] for mistake in result["mistakes"]]
    assert sure == sorted(sure, reverse=True)


def test_of_unknown_data_without_a_test_part_all_is_judged(pictures: Path) -> None:
    result = evaluate(predictor_of(), str(pictures))
    assert result["n"] == 21
    assert result["data"]["part"] == "all"
    assert "nothing recorded" in result["data"]["why"]


@pytest.mark.parametrize("seed", [0, 7])
def test_of_the_training_data_the_held_out_test_part_is_judged(pictures: Path, seed: int) -> None:
    predictor = trained(pictures, seed)
    result = evaluate(predictor, pictures)
    test = read_data(pictures, seed=seed).test
    assert test is not None
    assert result["data"]["part"] == "test"
    assert result["data"]["fingerprint"] == test.fingerprint()
    assert result["n"] == len(test)


def test_held_out_pictures_are_found_again_under_another_path(pictures: Path, tmp_path: Path) -> None:
    predictor = trained(pictures)
    moved = pictures.rename(tmp_path / "elsewhere")
    assert evaluate(predictor, moved)["data"]["part"] == "test"


def test_training_data_that_changed_is_judged_whole_and_says_so(pictures: Path) -> None:
    predictor = trained(pictures)
    for index in range(10):
        (pictures / "ant" / f"{index:02d}.png").write_bytes(
            (pictures / "bee" / "00.png").read_bytes() + bytes(index + 1)
        )
    result = evaluate(predictor, pictures)
    assert result["data"]["part"] == "all"
    assert "may flatter" in result["data"]["why"]


def test_a_test_part_comes_before_a_validation_part(tmp_path: Path) -> None:
    root = tmp_path / "parts"
    for part, count in (("train", 3), ("val", 2), ("test", 1)):
        write(root / part, {"ant": count, "bee": count})
    assert evaluate(predictor_of(), root)["n"] == 2
    for part, count in (("train", 6), ("validation", 4), ("test", 2), ("all", 12)):
        assert evaluate(predictor_of(), root, split=part)["n"] == count


def test_without_a_test_part_the_validation_part_is_judged(tmp_path: Path) -> None:
    root = tmp_path / "parts"
    for part, count in (("train", 3), ("val", 2)):
        write(root / part, {"ant": count, "bee": count})
    result = evaluate(predictor_of(), root)
    assert (result["n"], result["data"]["part"]) == (4, "validation")
    with pytest.raises(DataError, match="no test part; it has train, validation"):
        evaluate(predictor_of(), root, split="test")


def test_an_unknown_part_is_refused_with_the_nearest(pictures: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'validation'"):
        evaluate(predictor_of(), pictures, split="validatoin")


def test_other_classes_are_refused_and_both_are_listed(pictures: Path) -> None:
    with pytest.raises(DataError) as caught:
        evaluate(predictor_of(("ant", "cow", "bee")), pictures)
    assert "3 (ant, cow, bee)" in str(caught.value)
    assert "2 (ant, bee)" in str(caught.value)


def test_long_lists_of_classes_are_shortened() -> None:
    collection = Collection("data", tuple(f"class {index}" for index in range(1000)), ())
    with pytest.raises(DataError) as caught:
        align(collection, CLASSES)
    assert "1000 (class 0, " in str(caught.value)
    assert len(str(caught.value)) < 400


def test_classes_in_another_order_are_matched_by_name(pictures: Path) -> None:
    collection = read_data(pictures).train
    assert collection is not None
    turned = align(collection, ("bee", "ant"))
    assert turned.labels == tuple(1 - label for label in collection.labels)
    assert [sample.name for sample in turned.samples] == [s.name for s in collection.samples]


def test_pictures_without_labels_cannot_be_judged(pictures: Path) -> None:
    with pytest.raises(DataError, match="without labels"):
        evaluate(predictor_of(), pictures / "ant")


def test_unreadable_files_are_all_named_and_never_skipped_in_silence(pictures: Path) -> None:
    (pictures / "ant" / "03.png").write_bytes(b"")
    (pictures / "bee" / "01.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"2 of 21 pictures cannot be read") as caught:
        evaluate(predictor_of(), pictures)
    assert "ant/03.png" in str(caught.value)
    assert "bee/01.png" in str(caught.value)
    assert str(pictures) not in str(caught.value)
    result = evaluate(predictor_of(), pictures, allow_unreadable=True)
    assert result["n"] == 19
    assert {row["name"] for row in result["unreadable"]} == {"ant/03.png", "bee/01.png"}


def test_where_nothing_can_be_read_nothing_is_judged(tmp_path: Path) -> None:
    samples = tuple(Sample(f"{index}.png", b"", index) for index in range(2))
    with pytest.raises(DataError, match="none of its 2 pictures"):
        evaluate(predictor_of(), Collection("data", CLASSES, samples), allow_unreadable=True)


def test_progress_is_told_of_every_picture(pictures: Path) -> None:
    told: list[tuple[int, int]] = []
    evaluate(predictor_of(), pictures, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 21) for done in range(1, 22)]


def test_the_temperature_of_the_checkpoint_is_used(pictures: Path) -> None:
    result = evaluate(predictor_of(temperature=3.0), pictures)
    assert (result["temperature"], result["temperature_from"]) == (3.0, "checkpoint")
    assert evaluate(predictor_of(), pictures)["temperature_from"].startswith("two halves")


def test_the_lineage_needs_something_to_train_on() -> None:
    with pytest.raises(DataError, match="no pictures to train on"):
        trained_on(Splits(None, None, None, "nothing"), "data", 0)
    with pytest.raises(DataError, match="no pictures"):
        choose(Splits(None, None, None, "nothing"), {})
