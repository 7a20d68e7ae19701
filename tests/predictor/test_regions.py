"""The class of each source pixel: enlarged before it is picked, the same alone, together and in strips."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import interpolate

from tests.predictor.conftest import CLASSES, CROPPED, SQUASHED, WHOLE, Make
from vitreous.data.collection import Sample
from vitreous.data.preprocess import Placement
from vitreous.errors import CheckpointError, ConfigError, PictureError, VitreousError
from vitreous.predictor import Predictor, RegionsAnswer, regions

Pixels = list[NDArray[np.uint8]]
MODELS = ["segformer_tiny", "segformer_vit_tiny", "segformer_swin_tiny", "beit_tiny_upernet"]


def region_of(answer: object) -> NDArray[np.integer]:
    assert isinstance(answer, RegionsAnswer)
    return answer.region


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("window", [None, 24])
def test_pictures_of_all_sizes_have_one_answer_alone_and_together(
    segmenter: Make, pixels: Pixels, name: str, window: int | None
) -> None:
    predictor = segmenter(name, SQUASHED)
    assert predictor.says == "regions"
    together = predictor(pixels, window=window)
    for picture, answer in zip(pixels, together, strict=True):
        region = region_of(answer)
        assert region.shape == picture.shape[:2] and region.dtype == np.uint8
        # Rounding may turn a pixel at an outline that is equally one and the other.
        assert (region_of(predictor(picture, window=window)) != region).mean() <= 0.002
        assert answer.shares.sum() == pytest.approx(1)
        assert answer.shares[answer.shown()] == pytest.approx(sorted(answer.shares[answer.shares > 0])[::-1])
        assert answer.names == CLASSES


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 50), st.integers(1, 50)), st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.integers(1, 400),
)  # fmt: skip
def test_a_whole_view_is_enlarged_as_torch_does_in_strips_of_any_height(
    source: tuple[int, int], cells: tuple[int, int], at_once: int
) -> None:
    logits = torch.randn(4, *cells, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    where = Placement(source, (64, 64), (0, 0), (64, 64))
    kept, regions.AT_ONCE = regions.AT_ONCE, at_once
    try:
        found = regions.enlarged(logits, where)
    finally:
        regions.AT_ONCE = kept
    large = interpolate(logits[None], size=source, mode="bilinear", align_corners=False)[0]
    picked = large.gather(0, torch.from_numpy(found.astype(np.int64))[None])[0]
    torch.testing.assert_close(picked, large.max(0).values, rtol=0, atol=1e-4)


def test_what_the_view_does_not_show_is_as_what_is_nearest() -> None:
    logits = torch.tensor([[[5.0, 0.0]], [[0.0, 5.0]]])  # the left half is class 0, the right half class 1
    found = regions.enlarged(logits, Placement((4, 16), (8, 32), (0, 12), (8, 8)))  # columns 6 to 10 are seen
    assert found.tolist() == [[0] * 8 + [1] * 8] * 4


def test_windows_look_at_the_picture_itself(segmenter: Make) -> None:
    predictor = segmenter(preprocess=CROPPED)
    picture = np.random.default_rng(3).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    image = predictor.preprocess.normalised(Image.fromarray(picture))
    with torch.no_grad():
        whole = interpolate(
            predictor.model(image[None]).logits, size=(64, 96), mode="bilinear", align_corners=False
        )
    assert np.array_equal(region_of(predictor(picture, window=96)), whole[0].argmax(0).numpy())
    samples = [Sample("one", picture)]
    for size in (1, 3):
        (_, strips), *_ = predictor.regions(samples, size, window=64)
        assert isinstance(strips, np.ndarray)
        assert (strips != region_of(predictor(picture, window=64))).mean() < 0.002
    (_, named), *_ = predictor.predict(samples, window=64)
    assert (region_of(named) == strips).all()


def test_a_picture_smaller_than_the_model_s_is_padded_and_no_larger_window_is_made(segmenter: Make) -> None:
    predictor = segmenter()
    seen: list[tuple[int, ...]] = []
    predictor.model.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape)))
    predictor(np.zeros((100, 30, 3), np.uint8), window=100_000)
    assert seen == [(1, 3, 100, 64)]


def test_more_than_255_classes_take_16_bits(segmenter: Make) -> None:
    narrow, wide = segmenter(classes=255), segmenter(classes=256)
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    assert region_of(narrow(picture)).dtype == np.uint8
    for window in (None, 16):
        assert region_of(wide(picture, window=window)).dtype == np.uint16


def test_a_turned_photograph_is_told_upright(segmenter: Make, tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=turned)
    predictor = segmenter()
    upright = region_of(predictor(np.ascontiguousarray(np.rot90(pixels, -1))))
    assert upright.shape == (50, 30)
    for window in (None, 24):
        found = region_of(predictor(tmp_path / "turned.png", window=window))
        assert found.shape == (50, 30)
    assert np.array_equal(region_of(predictor(tmp_path / "turned.png")), upright)


@pytest.mark.parametrize("window", [None, 24])
def test_a_bad_file_stands_in_its_place(
    segmenter: Make, pixels: Pixels, tmp_path: Path, window: int | None
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    samples = [Sample("0", pixels[0]), Sample("bad.png", tmp_path / "bad.png"), Sample("1", pixels[1])]
    answers = list(segmenter().predict(samples, 2, window=window))
    kinds = [type(answer) for _, answer in answers]
    assert kinds == [RegionsAnswer, PictureError, RegionsAnswer]


def test_numbers_that_are_not_finite_are_an_error(segmenter: Make, pixels: Pixels) -> None:
    predictor = segmenter()
    with torch.no_grad():
        predictor.model.head.classify.bias[0] = float("nan")
    for window in (None, 24):
        with pytest.raises(VitreousError, match="not finite"):
            predictor(pixels[0], window=window)


def test_what_a_segmenter_has_no_use_for_is_refused(segmenter: Make, pixels: Pixels) -> None:
    predictor = segmenter()
    with pytest.raises(
        ConfigError, match="a threshold is for what finds objects; this model tells the class"
    ):
        predictor(pixels[0], threshold=0.2)
    with pytest.raises(ConfigError, match="window must be 1 pixels or more for this model, got 0"):
        list(predictor.regions([], window=0))
    with pytest.raises(ConfigError, match="window must be 8 pixels or more for this model, got 7"):
        segmenter("beit_tiny_upernet")(pixels[0], window=7)
    with pytest.raises(
        CheckpointError, match="a SegFormer tells the class of each pixel; wanted a model that"
    ):
        list(predictor.objects([Sample("0", pixels[0])]))
    unnamed = Predictor(predictor.model, WHOLE, CLASSES[:2], device="cpu")
    with pytest.raises(CheckpointError, match="tells 3 classes of pixels and knows 2"):
        unnamed(pixels[0])
