import io
import os
import pickle
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tests.data.pictures import Case, cases, colour, judge, png
from vitreous.data.colours import as_rgb
from vitreous.data.images import TRUNCATED, decode, open_picture, picture_size
from vitreous.errors import PictureError, printable

CASES = cases()


def _open(data: bytes, name: str) -> Image.Image:
    return open_picture(data, name=name)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_odd_pictures_give_exact_pixels_or_a_named_refusal(case: Case, tmp_path: Path) -> None:
    assert judge(case, _open) in ("exact", "refused")
    path = tmp_path / case.name
    path.write_bytes(case.data)
    assert judge(case, lambda _, name: open_picture(path, name=name)) in ("exact", "refused")


def test_there_are_enough_odd_pictures_and_the_judge_can_say_no() -> None:
    assert len(CASES) >= 60
    assert len({case.name for case in CASES}) == len(CASES)
    shown = Case("a", png(colour()), colour(), None)
    assert judge(shown, _open) == "exact"
    assert judge(shown._replace(pixels=255 - colour()), _open).startswith("wrong: pixels")
    assert judge(shown._replace(pixels=None, reason="x"), _open).startswith("wrong: accepted")
    assert judge(Case("a", b"", None, "damaged"), _open).startswith("wrong: a: an empty")
    assert judge(Case("a", b"", colour(), None), _open).startswith("wrong: refused")


def test_the_limit_counts_pixels_before_decoding() -> None:
    data = png(colour())  # 51 x 37
    assert open_picture(data, pixel_limit=51 * 37).size == (51, 37)
    with pytest.raises(PictureError, match=r"51 x 37 pixels, over the limit of 1,886"):
        open_picture(data, pixel_limit=51 * 37 - 1)


def test_large_pictures_raise_no_warning_of_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_picture(png(colour())).size == (51, 37)
        assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "a folder, not a picture"),
        (lambda path: path.touch(), "an empty file"),
        (lambda path: os.mkfifo(path), "not a regular file"),
        (lambda path: path.symlink_to(path.name), "cannot be read"),
    ],
    ids=["missing", "folder", "empty", "pipe", "link to itself"],
)
def test_places_without_a_picture_have_a_reason(make, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "cat.jpg"
    make(path)
    with pytest.raises(PictureError, match=reason) as caught:
        open_picture(path, name="cat.jpg")
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("name", ["a\0b.jpg", "x" * 5000, "cat.jpg/dog.jpg"])
def test_impossible_names_have_a_reason(name: str) -> None:
    with pytest.raises(PictureError) as caught:
        open_picture(name)
    assert "\n" not in str(caught.value)


def test_errors_call_a_picture_what_the_caller_called_it(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no")
    with pytest.raises(PictureError) as caught:
        open_picture(str(tmp_path / "a.jpg"))
    assert caught.value.name == str(tmp_path / "a.jpg")
    with pytest.raises(PictureError) as caught:
        open_picture(b"no")
    assert caught.value.name == "picture"
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.name, copy.reason) == (caught.value.name, caught.value.reason)


def test_nobody_turns_the_picture_again() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for format_name in ("PNG", "JPEG", "TIFF", "WEBP"):
        file = io.BytesIO()
        Image.fromarray(colour()).save(file, format_name, exif=exif)
        decoded = decode(file.getvalue())
        assert decoded.orientation == 6
        assert decoded.picture.size == (37, 51)
        assert not decoded.picture.info
        assert ImageOps.exif_transpose(decoded.picture).size == (37, 51)


def test_decode_says_what_the_file_was() -> None:
    file = io.BytesIO()
    Image.fromarray(colour()).convert("CMYK").save(file, "JPEG")
    assert decode(file.getvalue())[1:] == ("JPEG", "CMYK", 1)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_cut_or_changed_png_files_never_give_other_pixels(data: st.DataObject) -> None:
    plain = png(colour())
    place = data.draw(st.integers(0, len(plain) - 1))
    if data.draw(st.booleans()):
        broken = plain[:place]
    else:
        change = data.draw(st.integers(1, 255))
        broken = plain[:place] + bytes([plain[place] ^ change]) + plain[place + 1 :]
    try:
        picture = open_picture(broken)
    except PictureError:
        return
    assert np.array_equal(np.asarray(picture), colour())


@settings(max_examples=60, deadline=None)
@given(format_name=st.sampled_from(["JPEG", "GIF", "WEBP", "BMP", "TIFF"]), data=st.data())
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_changed_bytes_never_raise_anything_else(format_name: str, data: st.DataObject) -> None:
    file = io.BytesIO()
    Image.fromarray(colour()).save(file, format_name)
    plain = bytearray(file.getvalue())
    for place in data.draw(st.lists(st.integers(0, min(300, len(plain) - 1)), max_size=5)):
        plain[place] = data.draw(st.integers(0, 255))
    try:
        picture = open_picture(bytes(plain), pixel_limit=1_000_000)
    except PictureError as error:
        assert "\n" not in error.reason
    else:
        assert picture.mode == "RGB"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_many_threads_read_the_same_pixels() -> None:
    good = [case for case in CASES if case.pixels is not None and case.reason is None]
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(lambda case: judge(case, _open), good * 3)) == {"exact"}


@pytest.mark.parametrize("mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK"])
def test_as_rgb_takes_any_picture_of_pillow(mode: str) -> None:
    colours = Image.fromarray(colour())
    source = colours.convert("RGBA" if mode == "RGBa" else "LA" if mode == "La" else "RGB")
    picture = source.convert("P").convert("PA") if mode == "PA" else source.convert(mode)
    assert as_rgb(picture).mode == "RGB"
    assert as_rgb(colours) is colours


def test_as_rgb_refuses_what_has_no_scale() -> None:
    with pytest.raises(PictureError, match="LAB"):
        as_rgb(Image.new("LAB", (2, 2)))


def test_reasons_for_cut_files_start_with_one_word() -> None:
    with pytest.raises(PictureError) as caught:
        open_picture(png(colour())[:300])
    assert caught.value.reason.startswith(TRUNCATED)


def test_names_stay_on_one_line() -> None:
    assert printable("cat.jpg") == "cat.jpg"
    assert printable("猫 café.jpg") == "猫 café.jpg"
    assert printable("a\nb\x1b[31m") == "a\\nb\\x1b[31m"
    assert printable(os.fsdecode(b"\xff.jpg")) == "\\udcff.jpg"


def test_the_decoder_does_not_import_torch() -> None:
    code = (
        "import sys, vitreous.data.folder, vitreous.data.images, vitreous.doctor;"
        "sys.exit(bool({'torch', 'torchvision', 'sklearn', 'scipy'} & set(sys.modules)))"
    )
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "case", [case for case in CASES if case.pixels is not None], ids=lambda case: case.name
)
def test_the_header_alone_tells_the_upright_size(case: Case) -> None:
    try:
        picture = open_picture(case.data, name=case.name)
    except PictureError:
        return  # either will do, says the case
    assert picture_size(case.data, name=case.name) == (picture.height, picture.width)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_sizes_of_what_is_no_picture_are_refused(tmp_path: Path) -> None:
    for case in CASES:
        try:
            picture_size(case.data, name=case.name)
        except PictureError as error:
            assert error.name == case.name
    with pytest.raises(PictureError, match="no such file"):
        picture_size(tmp_path / "gone.png")
