"""Data whose classes are called otherwise than the model's: judged rightly, or refused with the lists."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.evaluation.test_evaluate import predictor_of, write
from vitreous.checkpoints.imagenet import class_list
from vitreous.data.annotation import IGNORED, IGNORED_WIDE, Objects
from vitreous.data.collection import Collection, Sample
from vitreous.data.folder import read_data
from vitreous.errors import DataError
from vitreous.evaluation.evaluate import evaluate
from vitreous.evaluation.matching import MovedRegion, match

SHORT = class_list("ImageNet-1k")
TENCH, SPRINGER, CASSETTE = "n01440764", "n02102040", "n02979186"  # the first three of Imagenette
AT = (0, 217, 482)


def data(*classes: str, labels: tuple[int, ...] | None = None) -> Collection:
    labels = tuple(range(len(classes))) if labels is None else labels
    samples = tuple(Sample(f"{index}.png", b"", label) for index, label in enumerate(labels))
    return Collection("data", classes, samples)


def test_the_same_names_need_no_note() -> None:
    same = data("ant", "bee")
    assert match(same, ("ant", "bee")) == (same, None)
    turned, note = match(same, ("bee", "ant"))
    assert (turned.labels, turned.classes, note) == ((1, 0), ("bee", "ant"), None)


def test_objects_and_maps_are_told_in_the_order_of_the_model() -> None:
    """Lazily: a map is read when it is asked for."""
    region = np.array([[0, 1, IGNORED]], dtype=np.uint8)
    marked = Objects.of([[0, 0, 4, 4], [1, 1, 2, 2]], [1, 0], crowd=[True, False])
    for sample in (Sample("a", b"", objects=marked), Sample("a", b"", region=region)):
        given = Collection("data", ("ant", "bee"), (sample,))
        found = match(given, ("bee", "ant")).collection
        assert found.detects == given.detects and found.segments == given.segments
        assert found.fingerprint() != given.fingerprint()
        (moved,) = pickle.loads(pickle.dumps(found.samples))
        if moved.objects is not None:
            objects = moved.held_objects()
            assert objects.labels.tolist() == [0, 1] and objects.crowd.tolist() == [True, False]
            assert (objects.boxes == marked.boxes).all()
        else:
            assert moved.held_region().tolist() == [[1, 0, IGNORED]]
    wide = MovedRegion(sample, (299, 5), 300).region()
    assert wide.tolist() == [[299, 5, IGNORED_WIDE]] and wide.dtype == np.uint16
    with pytest.raises(DataError, match="the classes differ"):
        match(given, ("bee", "wasp"))


def test_all_ids_in_another_order_are_judged_as_the_models_names() -> None:
    turned = tuple(reversed(SHORT.ids))
    matched, note = match(data(*turned), SHORT.names)
    assert matched.labels == tuple(range(999, -1, -1))
    assert matched.classes == SHORT.names
    assert note == "the classes of the data were told by WordNet id"
    assert match(data(*reversed(SHORT.names)), SHORT.ids).collection.labels == matched.labels


@pytest.mark.parametrize("spelled", ["ids", "names"])
@pytest.mark.parametrize("model", ["ids", "names"])
def test_some_of_the_classes_are_judged_among_all(spelled: str, model: str) -> None:
    own: tuple[str, ...] = getattr(SHORT, spelled)
    matched, note = match(data(*(own[index] for index in AT), labels=(0, 2, 1, 2)), getattr(SHORT, model))
    assert matched.labels == (0, 482, 217, 482)
    assert note == (
        "the data has 3 of the model's 1,000 classes (ImageNet-1k); every score is over all 1,000"
    )


@pytest.mark.parametrize(
    ("model", "folder", "words"),
    [
        (SHORT.names, (TENCH, "my dog"), ["1000 (tench, ", "2 (n01440764, my dog)", "not know 1 (my dog)"]),
        (SHORT.names, (TENCH, "n99999999"), ["not know 1 (n99999999)"]),
        (SHORT.names, (TENCH, "tench"), ["n01440764 and tench are one class"]),
        (SHORT.names, ("cat7", "dog7"), ["2 (cat7, dog7); give"]),
        (
            (TENCH, SPRINGER, CASSETTE),
            (TENCH, SPRINGER),
            ["3 (n01440764, ", "2 (n01440764, n02102040); give"],
        ),
        (("tench", "pike"), (TENCH, "pike"), ["2 (tench, pike)"]),
        (("ant", "bee"), ("ant", "bee", "cow"), ["not know 1 (cow)"]),
        (tuple(f"class {index}" for index in range(1000)), (TENCH, SPRINGER), ["1000 (class 0"]),
    ],
)
def test_other_classes_are_refused_with_both_lists(
    model: tuple[str, ...], folder: tuple[str, ...], words: list[str]
) -> None:
    with pytest.raises(DataError) as caught:
        match(data(*folder), model)
    message = str(caught.value)
    assert message.startswith("the classes differ: the model knows ")
    assert all(word in message for word in words), message
    assert "\n" not in message and len(message) < 600


def test_a_tuned_model_of_names_takes_the_ids_of_just_these() -> None:
    matched, note = match(data(CASSETTE, TENCH, SPRINGER), ("tench", "English springer", "cassette player"))
    assert matched.labels == (2, 0, 1)
    assert note is not None and "WordNet" in note


def test_a_model_that_has_a_name_twice_is_told_by_ids_alone() -> None:
    words = tuple("crane" if index in (134, 517) else name for index, name in enumerate(SHORT.names))
    matched, _ = match(data(SHORT.ids[134], SHORT.ids[517]), words)
    assert matched.labels == (134, 517)
    with pytest.raises(DataError, match="the classes differ"):
        match(data("crane", "tench"), words)


def test_scores_on_some_classes_are_those_of_all_logits(tmp_path: Path) -> None:
    write(tmp_path / "some", {CASSETTE: 3, TENCH: 4})
    predictor = predictor_of(SHORT.names)
    result = evaluate(predictor, tmp_path / "some")
    collection = read_data(tmp_path / "some")
    samples = [sample for part in collection[:3] if part is not None for sample in part.samples]
    images = torch.stack([predictor.prepare(sample.open()).image for sample in samples])
    with torch.no_grad():
        guess = predictor.model(images).logits.argmax(1).numpy()
    truth = np.asarray([0 if sample.name.startswith(TENCH) else 482 for sample in samples])
    assert (result["n"], len(result["classes"])) == (7, 1000)
    assert result["accuracy"] == pytest.approx((guess == truth).mean())
    assert sorted(result["mistakes"], key=lambda row: row["name"])[0]["truth"] in ("tench", "cassette player")
    support = {row["class"]: row["support"] for row in result["per_class"] if row["support"]}
    assert support == {"tench": 4, "cassette player": 3}
    assert "every score is over all 1,000" in result["data"]["note"]


def test_a_folder_that_trained_the_model_keeps_its_held_out_part(tmp_path: Path) -> None:
    from vitreous.evaluation.evaluate import trained_on

    root = write(tmp_path / "some", {TENCH: 12, SPRINGER: 12})
    lineage = {"data": trained_on(read_data(root), str(root), 0)}
    result = evaluate(predictor_of(("tench", "English springer"), lineage=lineage), root)
    assert result["data"]["part"] == "test"
