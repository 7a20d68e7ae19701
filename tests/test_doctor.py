import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from tests.data.pictures import png
from vitreous.data.collection import Collection, Sample, Splits
from vitreous.data.digits import digits
from vitreous.data.folder import read_data
from vitreous.doctor import EXAMPLES, Examination, examine

CAT = Image.fromarray(data.chelsea())
PHOTOGRAPHS = [Image.fromarray(array) for array in (data.astronaut(), data.coffee())]


def _patch(number: int) -> Image.Image:
    """Distinct parts of photographs, so that nothing looks like anything else by chance."""
    picture = PHOTOGRAPHS[number % 2]
    left, top = 47 * number % 330, 61 * number % 300
    return picture.crop((left, top, left + 90, top + 80))


def _saved(picture: Image.Image, path: Path, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)


def _cases(examination: Examination) -> dict[str, tuple[str, ...]]:
    return {finding.kind: finding.cases for finding in examination.findings}


@pytest.fixture
def sick(tmp_path: Path) -> Path:
    """A data set with one of everything."""
    for number in range(12):
        for part in ("train", "val"):
            for place, name in enumerate(("cat", "dog")):
                which = 4 * number + 2 * place + (part == "val")
                _saved(_patch(which), tmp_path / part / name / f"{number:02d}.png")
    train, val = tmp_path / "train", tmp_path / "val"
    (train / "cat" / "cut.png").write_bytes((train / "cat" / "00.png").read_bytes()[:900])
    (train / "cat" / "page.jpg").write_text("<html>404</html>")
    (train / "dog" / "copy.png").write_bytes((train / "dog" / "00.png").read_bytes())
    _saved(CAT, train / "cat" / "chelsea.png")
    _saved(CAT, train / "cat" / "chelsea.bmp")
    _saved(CAT, train / "dog" / "chelsea.gif.png", compress_level=1)
    _saved(CAT, val / "cat" / "chelsea.jpg", quality=60)
    (val / "dog" / "leak.png").write_bytes((train / "dog" / "01.png").read_bytes())
    exif = Image.Exif()
    exif[0x0112] = 6
    _saved(Image.fromarray(data.rocket()), train / "cat" / "turned.jpg", exif=exif)
    _saved(Image.fromarray(data.camera()), train / "cat" / "grey.png")
    _saved(CAT.crop((0, 40, 451, 80)), train / "cat" / "long.png")
    _saved(CAT.crop((0, 0, 12, 16)), train / "cat" / "tiny.png")
    (train / "cat" / "misnamed.jpg").write_bytes(png(np.asarray(_patch(101))))
    return tmp_path


def test_one_of_everything_is_found(sick: Path) -> None:
    found = examine(read_data(sick))
    cases = _cases(found)
    assert cases == {
        "truncated": ("train/cat/cut.png: truncated PNG: the file ends early; fetch it again",),
        "unreadable": ("train/cat/page.jpg: an HTML page; wanted JPEG, PNG, WebP, BMP, GIF or TIFF",),
        "leak": ("train/dog/01.png (train) = val/dog/leak.png (validation)",),
        "conflict": (
            "train/cat/chelsea.bmp (cat) = train/cat/chelsea.png (cat) = train/dog/chelsea.gif.png (dog)",
        ),
        "near_leak": ("train/cat/chelsea.bmp (train) = val/cat/chelsea.jpg (validation)",),
        "same_bytes": (
            "train/dog/00.png = train/dog/copy.png",
            "train/dog/01.png = val/dog/leak.png",
        ),
        "same_pixels": ("train/cat/chelsea.bmp = train/cat/chelsea.png = train/dog/chelsea.gif.png",),
        "near_same": ("train/cat/chelsea.bmp = val/cat/chelsea.jpg",),
        "near_same_skipped": (),
        "odd_mode": ("train/cat/grey.png: L",),
        "odd_shape": ("train/cat/long.png: 451 x 40",),
        "odd_size": ("train/cat/tiny.png: 12 x 16",),
        "rotated": ("train/cat/turned.jpg",),
        "misnamed": ("train/cat/misnamed.jpg: PNG",),
    }
    order = [finding.severity for finding in found.findings]
    assert order == sorted(order, key=["error", "warning", "note"].index)
    assert not found.ok
    assert (found.pictures, found.readable, found.rotated) == (61, 59, 1)
    assert found.parts == {"train": {"cat": 21, "dog": 14}, "validation": {"cat": 13, "dog": 13}}
    assert found.modes == {"RGB": 58, "L": 1}
    assert found.formats == {"PNG": 56, "JPEG": 2, "BMP": 1}
    assert found.sizes["smallest_width"] == 12
    assert found.sizes["largest_width"] == 512


def test_the_same_is_said_every_time(sick: Path) -> None:
    splits = read_data(sick)
    first = json.dumps(examine(splits).to_dict())
    assert all(json.dumps(examine(splits).to_dict()) == first for _ in range(3))


def test_the_dictionary_is_plain_and_whole(sick: Path) -> None:
    plain = examine(read_data(sick)).to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["ok"] is False
    assert {"severity", "kind", "text", "examples", "cases"} == set(plain["findings"][0])


def test_progress_counts_every_picture(sick: Path) -> None:
    calls: list[tuple[int, int]] = []
    examine(read_data(sick), progress=lambda done, total: calls.append((done, total)))
    assert calls == [(number, 61) for number in range(1, 62)]


def test_healthy_data_have_no_findings(tmp_path: Path) -> None:
    for number in range(12):
        _saved(_patch(2 * number), tmp_path / "cat" / f"{number}.png")
        _saved(_patch(2 * number + 1), tmp_path / "dog" / f"{number}.png")
    splits = read_data(tmp_path)
    whole = Collection("pets", splits.train.classes, splits.train.samples)
    found = examine(Splits(whole, None, None, "by hand"))
    assert [finding.kind for finding in found.findings] == []
    assert found.ok


def test_digits_are_healthy_and_too_small_to_compare() -> None:
    found = examine(digits())
    assert found.pictures == found.readable == 1797
    assert [finding.kind for finding in found.findings] == ["near_same_skipped"]
    assert found.findings[0].text.startswith("1797 pictures under 32 pixels a side")
    assert found.formats == {"pixels": 1797}


def test_tiny_and_rare_classes() -> None:
    draw = np.random.default_rng(0)
    samples = [
        Sample(f"{label}/{number}", draw.integers(0, 256, (8, 8), dtype=np.uint8), label)
        for label, count in enumerate((200, 9, 15))
        for number in range(count)
    ]
    cases = _cases(examine(Collection("pets", ("cat", "dog", "cow"), tuple(samples))))
    assert cases["tiny_class"] == ("dog: 9",)
    assert cases["imbalance"] == ("dog: 9", "cow: 15")


def test_many_cases_are_all_kept_and_few_are_examples(tmp_path: Path) -> None:
    samples = tuple(Sample(f"{number}.jpg", b"no") for number in range(20))
    finding = examine(Collection("flat", (), samples)).findings[0]
    assert (finding.kind, len(finding.cases), len(finding.examples)) == ("unreadable", 20, EXAMPLES)
    assert finding.text == "20 pictures beyond reading: replace or remove"


def test_pictures_without_labels_and_missing_files(tmp_path: Path) -> None:
    _saved(CAT, tmp_path / "a.png")
    splits = read_data(tmp_path)
    (tmp_path / "a.png").unlink()
    found = examine(splits)
    assert _cases(found) == {"unreadable": ("a.png: no such file",)}
    assert found.parts == {"test": {"": 1}}
    assert found.sizes == {}


def test_no_pictures_at_all() -> None:
    found = examine(Splits(None, None, None, "nothing"))
    assert found.ok
    assert (found.pictures, found.findings) == (0, ())


def test_near_same_pictures_are_grouped_once(tmp_path: Path) -> None:
    samples = []
    for quality in (95, 60, 30):
        file = io.BytesIO()
        CAT.save(file, "JPEG", quality=quality)
        samples += [Sample(f"{quality}.jpg", file.getvalue(), 0)] * 2
    found = _cases(examine(Collection("cats", ("cat",), tuple(samples))))
    assert found["near_same"] == ("95.jpg = 60.jpg = 30.jpg",)
    assert len(found["same_bytes"]) == 3
    assert "same_pixels" not in found
