import io
import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.pictures import colour, png
from vitreous.data.collection import Splits
from vitreous.data.folder import check_trainable, expand, read_data
from vitreous.data.splitting import Entry, make_splits
from vitreous.errors import DataError, PictureError

PICTURE = png(colour()[:4, :4])


def fill(root: Path, names: Iterable[str]) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PICTURE)
    return root


def _pets(count: int, prefix: str = "") -> list[str]:
    return [f"{prefix}{name}/{number:03d}.jpg" for name in ("cat", "dog") for number in range(count)]


def _names(splits: Splits) -> list[list[str]]:
    return [[sample.name for sample in part.samples] if part else [] for part in splits[:3]]


def _all(splits: Splits) -> list[str]:
    return [name for part in _names(splits) for name in part]


# Class folders


def test_class_folders_are_split_within_each_class(tmp_path: Path) -> None:
    splits = read_data(fill(tmp_path, _pets(20)))
    assert [part.counts() for part in splits[:3]] == [
        {"cat": 16, "dog": 16},
        {"cat": 2, "dog": 2},
        {"cat": 2, "dog": 2},
    ]
    assert splits.train.classes == ("cat", "dog")
    assert sorted(_all(splits)) == _pets(20)
    assert splits.how == (
        "class folders, split 80/10/10 within each class by seed 0: 32 train, 4 validation, 4 test"
    )
    check_trainable(splits)


def test_the_split_depends_on_seed_and_names_only(tmp_path: Path) -> None:
    here = read_data(fill(tmp_path / "here", _pets(30)))
    there = read_data(fill(tmp_path / "there", reversed(_pets(30))))
    assert _names(here) == _names(there)
    assert here.train.fingerprint() == there.train.fingerprint()
    assert _names(read_data(tmp_path / "here", seed=1)) != _names(here)


def test_the_split_is_the_same_as_ever(tmp_path: Path) -> None:
    splits = read_data(fill(tmp_path, _pets(10)), seed=3)
    assert _names(splits)[1:] == [["cat/003.jpg", "dog/003.jpg"], ["cat/006.jpg", "dog/005.jpg"]]


@settings(deadline=None)
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4), seed=st.integers(0, 5))
def test_small_classes_keep_a_picture_in_train(sizes: list[int], seed: int) -> None:
    entries = [
        Entry(f"{label}/{number}", Path("x"), str(label))
        for label, size in enumerate(sizes)
        for number in range(size)
    ]
    splits = make_splits("pets", entries, seed=seed, origin="test")
    assert sorted(_all(splits)) == sorted(entry.name for entry in entries)
    empty = dict.fromkeys(splits.train.classes, 0)
    parts = [part.counts() if part else empty for part in splits[:3]]
    for label, size in enumerate(sizes):
        train, validation, test = (part[str(label)] for part in parts)
        assert train >= 1
        assert (validation >= 1) == (size >= 2)
        assert (test >= 1) == (size >= 3)
        assert validation <= size / 10 + 1


def test_files_that_are_no_pictures_are_left_out_and_counted(tmp_path: Path) -> None:
    fill(tmp_path, [*_pets(3), "cat/.hidden.jpg", "cat/notes.txt", "stray.png", ".git/x.jpg"])
    (tmp_path / "__MACOSX").mkdir()
    splits = read_data(tmp_path)
    assert splits.how.endswith(
        "; left out: 1 picture outside the class folders, 1 hidden file, 1 file of other kinds ('notes.txt')"
    )
    assert sorted(_all(splits)) == _pets(3)


def test_pictures_deep_inside_a_class_belong_to_it(tmp_path: Path) -> None:
    splits = read_data(fill(tmp_path, [*_pets(3), "cat/kittens/0.JPG"]))
    assert "cat/kittens/0.JPG" in _all(splits)


def test_circles_of_links_end(tmp_path: Path) -> None:
    fill(tmp_path, _pets(3))
    (tmp_path / "cat" / "up").symlink_to(tmp_path)
    (tmp_path / "dog" / "self").symlink_to("self")
    (tmp_path / "cat" / "gone.jpg").symlink_to("nowhere.jpg")
    names = _all(read_data(tmp_path))
    assert "cat/gone.jpg" in names
    assert len(names) < 30


# Given parts


@pytest.mark.parametrize("validation", ["val", "valid", "validation", "Val"])
def test_given_parts_are_kept(validation: str, tmp_path: Path) -> None:
    fill(tmp_path, [*_pets(4, "train/"), *_pets(2, f"{validation}/"), *_pets(3, "test/")])
    splits = read_data(tmp_path)
    assert [len(part) for part in splits[:3]] == [8, 4, 6]
    assert splits.train.samples[0].name == "train/cat/000.jpg"
    assert "parts as given: 8 train, 4 validation, 6 test" in splits.how


def test_validation_is_held_out_of_train_where_it_is_missing(tmp_path: Path) -> None:
    splits = read_data(fill(tmp_path, [*_pets(20, "train/"), *_pets(3, "test/")]))
    assert [len(part) for part in splits[:3]] == [36, 4, 6]
    assert "a tenth of train held out for validation by seed 0" in splits.how
    assert all(name.startswith("train/") for name in _names(splits)[1])


def test_train_and_validation_make_no_test(tmp_path: Path) -> None:
    splits = read_data(fill(tmp_path, [*_pets(4, "train/"), *_pets(2, "val/")]))
    assert splits.test is None


def test_only_train_is_split_like_class_folders(tmp_path: Path) -> None:
    splits = read_data(fill(tmp_path, _pets(10, "train/")))
    assert [len(part) for part in splits[:3]] == [16, 2, 2]


def test_only_test_can_be_evaluated_but_not_trained(tmp_path: Path) -> None:
    splits = read_data(fill(tmp_path, _pets(2, "test/")))
    assert len(splits.test) == 4
    with pytest.raises(DataError, match="no train part"):
        check_trainable(splits)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    splits = read_data(fill(tmp_path, ["train/0.jpg", "train/1.jpg", "bus/0.jpg", "bus/1.jpg"]))
    assert splits.train.classes == ("bus", "train")


def test_other_folders_beside_the_parts_are_named(tmp_path: Path) -> None:
    fill(tmp_path, [*_pets(2, "train/"), *_pets(2, "val/"), "test/0.jpg"])
    assert read_data(tmp_path).how.endswith("; folders left out: 'test'")


def test_two_names_for_one_part_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, [*_pets(2, "train/"), *_pets(2, "val/"), *_pets(2, "valid/")])
    with pytest.raises(DataError, match="val and valid are the same part"):
        read_data(tmp_path)


# Tables


def _table(root: Path, text: str | bytes, name: str = "pets.csv") -> Path:
    fill(root, _pets(5))
    path = root / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_table_is_split_like_class_folders(tmp_path: Path) -> None:
    rows = "".join(f"{name},{name.split('/')[0]}\n" for name in _pets(5))
    splits = read_data(_table(tmp_path, "path,label\n" + rows))
    assert _names(splits) == _names(read_data(tmp_path))
    assert splits.how.startswith("table, split 80/10/10")
    assert splits.train.open(0).size == (4, 4)


def test_a_table_says_its_parts_and_where_files_are(tmp_path: Path) -> None:
    text = "\ufeffID;Label;Split;Path\r\n1;cat;train;cat/000.jpg\r\n2;dog;train;dog/000.jpg\r\n"
    text += f'3;dog;val;"{tmp_path}/dog/001.jpg"\r\n\r\n4;cat;test;cat/003.jpg\r\n'
    splits = read_data(_table(tmp_path, text))
    assert _names(splits) == [
        ["cat/000.jpg", "dog/000.jpg"],
        [f"{tmp_path}/dog/001.jpg"],
        ["cat/003.jpg"],
    ]
    assert splits.validation.open(0).size == (4, 4)


def test_names_with_separators_are_quoted(tmp_path: Path) -> None:
    fill(tmp_path, ['a, "b".jpg'])
    text = 'path,label\n"a, ""b"".jpg","cat, dog"\ncat/000.jpg,cat\n'
    splits = read_data(_table(tmp_path, text))
    assert splits.train.classes == ("cat", "cat, dog")
    assert {sample.source.name for sample in splits.train.samples} == {'a, "b".jpg', "000.jpg"}


def test_a_table_with_tabs(tmp_path: Path) -> None:
    path = _table(tmp_path, "path\tlabel\ncat/000.jpg\tcat\ndog/000.jpg\tdog\n", "pets.tsv")
    assert read_data(path).train.counts() == {"cat": 1, "dog": 1}


def test_repeated_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    text = "path,label\ncat/000.jpg,cat\ncat/000.jpg,cat\ndog/000.jpg,dog\n"
    assert read_data(_table(tmp_path, text)).how.endswith("; left out: 1 repeated row")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("file,label\na,b\n", "no column 'path'; columns found: 'file', 'label'"),
        ("path,lable\na,b\n", "no column 'label'.*did you mean 'lable'"),
        ("path,label\n", "no rows; columns found: 'path', 'label'"),
        ("", "no rows"),
        ("path,label\ncat/000.jpg\n", "line 2: the label is empty"),
        ("path,label\n,cat\n", "line 2: the path is empty"),
        ("path,label\ncat/000.jpg,cat,more\n", None),
        ("path,label,split\ncat/000.jpg,cat,tset\n", "unknown split 'tset'.*did you mean 'test'"),
        ("path,label\nno.jpg,cat\nnope.jpg,dog\n", "none of its 2 pictures exists.*'no.jpg'"),
        ("path,label\ncat/000.jpg,cat\ncat/000.jpg,dog\n", "two labels, 'cat' and 'dog'"),
        (
            "path,label,split\ncat/000.jpg,cat,train\ncat/000.jpg,cat,test\n",
            "in train and test; keep one",
        ),
        (
            "path,label,split\ncat/000.jpg,cat,train\ndog/000.jpg,dog,test\n",
            "test has classes that train has not: 'dog'; train has 'cat'",
        ),
        ("path,label\ncat/000.jpg,café\n".encode("latin-1"), "not UTF-8"),
        ("path,label\n" + "x" * 200_000 + ",cat\n", "not a table"),
    ],
)
def test_wrong_tables_have_a_reason(text: str | bytes, reason: str | None, tmp_path: Path) -> None:
    path = _table(tmp_path, text)
    if reason is None:
        read_data(path)
        return
    with pytest.raises(DataError, match=reason) as caught:
        read_data(path)
    assert "\n" not in str(caught.value)


# Other sources


def test_a_flat_folder_has_pictures_without_labels(tmp_path: Path) -> None:
    splits = read_data(fill(tmp_path, ["b.jpg", "a.png", "c.txt"]))
    assert splits.train is None
    assert splits.test.classes == ()
    assert [(sample.name, sample.label) for sample in splits.test.samples] == [
        ("a.png", None),
        ("b.jpg", None),
    ]
    with pytest.raises(DataError, match="no class folders, only pictures without labels"):
        check_trainable(splits)


def test_embedded_data_gives_way_to_a_folder_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(read_data("digits").train) == 1293
    fill(tmp_path / "digits", _pets(3))
    assert read_data("digits").train.classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("digit", "did you mean 'digits'"),
        ("petz", "did you mean 'pets'"),
        ("a\0b", "no such file or folder"),
        ("x" * 5000, "no such file or folder"),
        ("cat.jpg", "one picture is no data set"),
        ("notes.md", "neither a folder nor a CSV"),
        ("empty", "no pictures in this folder"),
        ("hollow", "no pictures in its folders"),
    ],
)
def test_sources_that_are_no_data_have_a_reason(
    source: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path, ["cat.jpg", "notes.md", "pets/cat/0.jpg"])
    (tmp_path / "empty").mkdir()
    (tmp_path / "hollow" / "cat").mkdir(parents=True)
    with pytest.raises(DataError, match=reason) as caught:
        read_data(source)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_an_empty_class_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, [*_pets(3), "fish/notes.txt"])
    with pytest.raises(DataError, match="class folders without pictures: 'fish'"):
        read_data(tmp_path)


def test_parts_with_different_classes_list_both(tmp_path: Path) -> None:
    fill(tmp_path, [*_pets(3, "train/"), "val/cat/0.jpg", "val/cow/0.jpg"])
    with pytest.raises(DataError, match="train has 'cat', 'dog'; val has 'cat', 'cow'"):
        read_data(tmp_path)


def test_one_class_cannot_be_trained(tmp_path: Path) -> None:
    splits = read_data(fill(tmp_path / "one", ["cat/0.jpg", "cat/1.jpg"]))
    with pytest.raises(DataError, match="one class only, cat; a classifier needs two"):
        check_trainable(splits)
    splits = read_data(fill(tmp_path / "deep", [f"pets/{name}" for name in _pets(3)]))
    with pytest.raises(DataError, match="are its subfolders the classes"):
        check_trainable(splits)


def test_classes_of_one_picture_cannot_be_validated(tmp_path: Path) -> None:
    splits = read_data(fill(tmp_path, _pets(1)))
    assert splits.validation is None
    with pytest.raises(DataError, match="no pictures for validation"):
        check_trainable(splits)


def test_class_names_are_the_same_however_a_file_system_spells_them(tmp_path: Path) -> None:
    fill(tmp_path, ["train/cafe\u0301/0.jpg", "train/bar/0.jpg"])
    fill(tmp_path, ["val/caf\u00e9/0.jpg", "val/bar/0.jpg"])
    assert read_data(tmp_path).train.classes == ("bar", "caf\u00e9")


def test_names_that_are_no_text_can_be_printed(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/cat\xff"
    Path(os.fsdecode(folder)).mkdir()
    for number in (b"0", b"1"):
        Path(os.fsdecode(folder + b"/" + number + b".jpg")).write_bytes(PICTURE)
    splits = read_data(tmp_path)
    assert splits.train.classes == ("cat\\udcff",)
    assert splits.train.open(0).size == (4, 4)
    splits.how.encode()
    splits.train.samples[0].name.encode()


# Pictures to predict


def test_expand_takes_files_folders_globs_and_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(fill(tmp_path, [*_pets(2), "cat/notes.txt", "[1].jpg"]))
    typed = io.StringIO("cat/001.jpg\r\n\ndog\n")
    found = list(expand(["cat", "dog/001.jpg", "*/000.jpg", "[1].jpg", "-"], typed))
    assert [sample.name for sample in found] == [
        "cat/000.jpg",
        "cat/001.jpg",
        "dog/001.jpg",
        "cat/000.jpg",
        "dog/000.jpg",
        "[1].jpg",
        "cat/001.jpg",
        "dog/000.jpg",
        "dog/001.jpg",
    ]
    assert all(sample.label is None and sample.open().size == (4, 4) for sample in found)
    deep = [sample.name for sample in expand(["**/*.jpg"])]
    assert deep == sorted([*_pets(2), "[1].jpg"])


def test_expand_passes_bad_names_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    found = list(expand(["no.jpg", "*.png", "empty", "a\0b"]))
    assert len(found) == 4
    for sample in found:
        with pytest.raises(PictureError):
            sample.open()


def test_expand_reads_names_as_they_come() -> None:
    class Endless(io.TextIOBase):
        def readline(self, size: int = -1) -> str:
            return "cat.jpg\n"

    found = expand(["-"], Endless())
    assert [next(found).name for _ in range(3)] == ["cat.jpg"] * 3


def test_expand_needs_standard_input_for_a_dash() -> None:
    with pytest.raises(DataError, match="no standard input"):
        list(expand(["-"]))
