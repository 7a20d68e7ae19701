"""Pictures that may show several classes: their table, their split, and the batches made of them."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.data.test_folder import PICTURE
from vitreous.data.augment import AugmentConfig, TrainingView, mix
from vitreous.data.collection import Collection, Sample
from vitreous.data.folder import check_trainable, read_data
from vitreous.data.loader import Order, batches, training_parts
from vitreous.data.preprocess import Preprocess
from vitreous.data.splitting import Entry, make_splits
from vitreous.doctor import examine
from vitreous.errors import DataError


def table(root: Path, text: str) -> Path:
    for line in text.splitlines()[1:]:
        path = root / line.split(",")[0]
        if path.name and not path.is_dir():
            path.write_bytes(PICTURE)
    (root / "pets.csv").write_text(text)
    return root / "pets.csv"


GIVEN = """\
path,labels,split
a.png,dog| cat ,train
b.png,,train
c.png,cat,val
d.png,cat|dog,val
c.png,cat,val
"""


def test_a_table_of_labels(tmp_path: Path) -> None:
    splits = read_data(table(tmp_path, GIVEN))
    check_trainable(splits)
    train, validation = splits.train, splits.validation
    assert train.classes == ("cat", "dog")
    assert [(sample.name, sample.label, sample.tags) for sample in train.samples] == [
        ("a.png", None, (0, 1)),
        ("b.png", None, ()),
    ]
    assert train.tagged
    assert train.tags().tolist() == [[1, 1], [0, 0]]
    assert validation.tags().tolist() == [[1, 0], [1, 1]]
    assert train.counts() == {"cat": 1, "dog": 1}
    assert splits.how.endswith("; left out: 1 repeated row")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("path,lable\na.png,cat\n", "no column 'label' and no column 'labels'.*did you mean 'lable'"),
        ("path,label,labels\na.png,cat,cat|dog\n", "columns 'label' and 'labels'; keep 'label' where"),
        ("path,labels\na.png,cat|\n", r"line 2: an empty label in 'cat\|'"),
        ("path,labels\na.png,\nb.png,\n", "no picture has a label"),
        ("path,labels\na.png,cat\na.png,dog|cat\n", r"other labels than before, 'cat' and 'cat\|dog'"),
        ("path,label\na.png,cat\na.png,dog\n", "two labels, 'cat' and 'dog'; keep one.*column 'labels'"),
        ("path,labels,split\na.png,cat,train\nb.png,dog,val\n", "has classes that train has not: 'dog'"),
    ],
)
def test_wrong_tables_have_a_reason(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        read_data(table(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_several_names_in_the_column_of_one_are_noticed(tmp_path: Path) -> None:
    splits = read_data(table(tmp_path, "path,label\na.png,cat|dog\nb.png,cat\n"))
    assert splits.train.classes == ("cat", "cat|dog")
    assert "'cat|dog' is read as one class (call the column 'labels'" in splits.how


def test_one_label_that_every_picture_has_teaches_nothing(tmp_path: Path) -> None:
    text = "path,labels,split\na.png,cat,train\nb.png,{},train\nc.png,cat,val\n"
    check_trainable(read_data(table(tmp_path, text.format(""))))
    with pytest.raises(DataError, match="every train picture shows cat"):
        check_trainable(read_data(table(tmp_path, text.format("cat"))))


tags = st.lists(st.sampled_from("abcde"), max_size=4, unique=True).map(lambda names: tuple(sorted(names)))


@settings(max_examples=60, deadline=None)
@given(st.lists(tags, min_size=1, max_size=40), st.integers(0, 3))
def test_every_label_can_be_learnt_and_nothing_is_lost(labels: list[tuple[str, ...]], seed: int) -> None:
    entries = [Entry(f"{place:02d}", Path("x"), "", None, own) for place, own in enumerate(labels)]
    splits = make_splits("data", entries, seed=seed, origin="table")
    parts = [part for part in splits[:3] if part is not None]
    names = [sample.name for part in parts for sample in part.samples]
    assert sorted(names) == [entry.name for entry in entries]
    assert splits.train is not None
    assert all(splits.train.counts().values())
    again = make_splits("data", entries[::-1], seed=seed, origin="table")
    assert [part and part.samples for part in again[:3]] == [part and part.samples for part in splits[:3]]


def test_rare_labels_are_spread_over_the_parts() -> None:
    labels = [("common",) if place % 10 else ("common", "rare") for place in range(300)]
    entries = [Entry(f"{place:03d}", Path("x"), "", None, own) for place, own in enumerate(labels)]
    splits = make_splits("data", entries, seed=0, origin="table")
    assert [part.counts()["rare"] for part in splits[:3]] == [24, 3, 3]
    assert "within each rarest label by seed 0" in splits.how


def some(labels: tuple[int, ...] = (0, 2)) -> Collection:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    own = [(0, 1), (), labels, (1,)]
    samples = (Sample(f"{place}", pixels[place], tags=tag) for place, tag in enumerate(own))
    return Collection("some", ("a", "b", "c"), tuple(samples))


def test_the_fingerprint_tells_tags_apart() -> None:
    assert some().fingerprint() == some().fingerprint()
    assert len({some(labels).fingerprint() for labels in ((0, 2), (0,), ())}) == 3


def test_what_needs_one_label_is_refused() -> None:
    with pytest.raises(DataError, match="may have several labels, and a vote needs exactly one"):
        some().refuse_tags("a vote")
    with pytest.raises(DataError, match="may have several labels"):
        _ = some().labels
    plain = Collection("plain", ("a",), (Sample("x", Path("x"), 0),))
    plain.refuse_tags("a vote")
    with pytest.raises(DataError, match="one label each"):
        plain.tags()


def test_batches_have_a_row_of_labels_for_each_picture() -> None:
    batch = next(iter(batches(some(), Preprocess(size=(8, 8), shorter=None), batch_size=3)))
    assert batch.labels.dtype == torch.float32
    assert batch.labels.tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 1]]


@pytest.mark.parametrize("augment", [AugmentConfig(mixup=0.5), AugmentConfig(cutmix=1.0)])
def test_mixed_labels_are_mixed_linearly(augment: AugmentConfig) -> None:
    images, labels = torch.rand(4, 3, 8, 8), torch.from_numpy(some().tags()).float()
    _, found = mix(images, labels, 3, augment, 7)
    _, shares = mix(images, torch.arange(4), 4, augment, 7)  # (3, 4): how much of which picture
    torch.testing.assert_close(found, shares @ labels)


def test_training_parts_are_the_slices_of_one_batch() -> None:
    collection, prepare = some(), Preprocess(size=(8, 8), shorter=None)
    augment = AugmentConfig(mixup=0.4, rand_augment=None)

    def rows(parts: list[tuple[int, int]]) -> torch.Tensor:
        view = TrainingView(augment, prepare)
        order = Order(pictures=4, batch=4, seed=0)
        found = training_parts(collection, view, augment, order, steps=range(2), parts=parts)
        return torch.cat([part.batch.labels for part in found])

    assert torch.equal(rows([(0, 4)]), rows([(0, 1), (1, 4)]))


def test_the_doctor_counts_every_label(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    lines = ["path,labels,split"]
    for place, own in enumerate(("a|b", "a", "", "b", "a|b")):
        pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{place}.png")
        lines.append(f"{place}.png,{own},{'val' if place == 4 else 'train'}")
    (tmp_path / "copy.png").write_bytes((tmp_path / "0.png").read_bytes())
    lines.append("copy.png,a,train")
    (tmp_path / "pets.csv").write_text("\n".join(lines))
    found = examine(read_data(tmp_path / "pets.csv"))
    assert found.parts == {"train": {"a": 3, "b": 2, "": 1}, "validation": {"a": 1, "b": 1}}
    kinds = Counter(finding.kind for finding in found.findings)
    conflict = next(finding for finding in found.findings if finding.kind == "conflict")
    assert kinds["conflict"] == 1
    assert "0.png (a|b) = copy.png (a)" in conflict.cases
