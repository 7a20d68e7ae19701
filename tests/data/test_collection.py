from pathlib import Path

import numpy as np
import pytest

from tests.data.pictures import colour, png
from vitreous.data.collection import Collection, Sample
from vitreous.errors import DataError, PictureError


def _collection(*samples: Sample) -> Collection:
    return Collection("pets", ("cat", "dog"), samples)


def test_a_sample_opens_files_bytes_and_pixels(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(colour()))
    pets = _collection(
        Sample("a.png", tmp_path / "a.png", 0),
        Sample("b.png", png(colour()), 1),
        Sample("c", colour(), 1),
        Sample("d", colour()[:, :, 0], 1),
    )
    for index in range(3):
        assert np.array_equal(np.asarray(pets.open(index)), colour())
    assert np.array_equal(np.asarray(pets.open(3)), np.repeat(colour()[:, :, :1], 3, axis=2))


def test_an_unreadable_sample_is_named_as_people_know_it(tmp_path: Path) -> None:
    with pytest.raises(PictureError) as caught:
        Sample("cat/a.png", tmp_path / "a.png", 0).open()
    assert str(caught.value) == "cat/a.png: no such file"


def test_counts_and_labels() -> None:
    pets = _collection(Sample("a", b"", 1), Sample("b", b"", 1))
    assert len(pets) == 2
    assert pets.labels == (1, 1)
    assert pets.counts() == {"cat": 0, "dog": 2}
    assert pets.select([1, 1]).samples == (Sample("b", b"", 1),) * 2


def test_labels_of_an_unlabelled_collection_are_an_error() -> None:
    pets = _collection(Sample("a", b""), Sample("b", b"", 1))
    with pytest.raises(DataError, match="1 of 2 pictures have no label"):
        _ = pets.labels
    assert pets.counts() == {"cat": 0, "dog": 1}


def test_the_fingerprint_sees_names_sizes_labels_classes_and_order(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"123")
    first, second = Sample("a", path, 0), Sample("b", b"12", 1)
    same = _collection(Sample("a", b"xyz", 0), second)
    pets = _collection(first, second)
    assert pets.fingerprint() == same.fingerprint()
    assert Collection("other", pets.classes, pets.samples).fingerprint() == pets.fingerprint()
    path.write_bytes(b"1234")
    others = {
        pets.fingerprint(),
        same.fingerprint(),
        same.select([1, 0]).fingerprint(),
        _collection(Sample("a", b"xyz", 1), second).fingerprint(),
        _collection(Sample("c", b"xyz", 0), second).fingerprint(),
        Collection("pets", ("cat", "d"), same.samples).fingerprint(),
        _collection().fingerprint(),
    }
    assert len(others) == 7


def test_a_missing_file_has_a_fingerprint_too(tmp_path: Path) -> None:
    assert Sample("a", tmp_path / "no").size() == -1
    assert Sample("a", np.zeros((2, 3), np.uint8)).size() == 6
    assert len(_collection(Sample("a", tmp_path / "no", 0)).fingerprint()) == 64
