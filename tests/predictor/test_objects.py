"""Objects in source pixels: the same alone and in a batch, upright, however a picture is made ready."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from tests.predictor.conftest import CLASSES, CROPPED, SQUASHED, WHOLE, Make
from vitreous.data.collection import Sample
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, ConfigError, PictureError, VitreousError
from vitreous.evaluation.detection import Found
from vitreous.models.config import DetrConfig
from vitreous.models.detr import Detections, best_of
from vitreous.predictor import ObjectsAnswer, Predictor

Pixels = list[NDArray[np.uint8]]


class Told(nn.Module):
    """A detector that says the same of every picture: boxes as shares of it, and how sure it is."""

    def __init__(self, config: DetrConfig, boxes: list[list[float]], scores: list[list[float]]) -> None:
        super().__init__()
        self.config = config
        self.boxes, self.logits = torch.tensor([boxes]), torch.tensor([scores]).log()
        self.seen: list[torch.Tensor | None] = []

    def forward(self, images: torch.Tensor, valid: torch.Tensor | None = None) -> Detections:
        """(B, C, H, W) -> the same of each."""
        self.seen.append(valid)
        count = len(images)
        return Detections(self.logits.expand(count, -1, -1), self.boxes.expand(count, -1, -1))


def told(
    detector: Make, preprocess: Preprocess = WHOLE, scores: list[list[float]] | None = None
) -> Predictor:
    boxes = [[0.5, 0.5, 0.5, 0.25], [0.25, 0.5, 0.5, 1.0]]
    sure = scores or [[0.1, 0.6, 0.1, 0.2], [0.8, 0.05, 0.05, 0.1]]
    return Predictor(Told(detector().model.config, boxes, sure), preprocess, CLASSES, device="cpu")


def close(first: ObjectsAnswer, second: ObjectsAnswer) -> bool:
    """Whether two answers agree, whatever the order of what is equally sure."""
    orders = [np.lexsort((*answer.boxes.round(1).T, answer.indices)) for answer in (first, second)]
    boxes, scores = (
        [values[order] for values, order in zip(pair, orders, strict=True)]
        for pair in ((first.boxes, second.boxes), (first.scores, second.scores))
    )
    return np.allclose(*boxes, atol=2e-2) and np.allclose(*scores, atol=1e-4) and first.size == second.size


@pytest.mark.parametrize("name", ["detr_vit_tiny", "detr_swin_tiny", "detr_resnet_tiny", "yolos_tiny"])
def test_pictures_of_all_sizes_have_one_answer_alone_and_together(
    detector: Make, pixels: Pixels, name: str
) -> None:
    predictor = detector(name)
    assert predictor.says == "objects"
    together = predictor(pixels, threshold=0)
    for picture, answer in zip(pixels, together, strict=True):
        assert isinstance(answer, ObjectsAnswer)
        alone = predictor(picture, threshold=0)
        assert isinstance(alone, ObjectsAnswer)
        assert close(alone, answer)
        height, width = picture.shape[:2]
        assert answer.size == (height, width)
        assert (answer.boxes >= 0).all() and (answer.boxes <= [width, height, width, height]).all()
        assert (np.diff(answer.scores) <= 0).all()
        assert answer.labels == tuple(CLASSES[index] for index in answer.indices)


def test_shares_of_a_view_become_source_pixels_through_squashing_and_scaling(
    detector: Make, pixels: Pixels
) -> None:
    for preprocess in (SQUASHED, WHOLE):
        for picture, answer in zip(pixels, told(detector, preprocess)(pixels), strict=True):
            assert isinstance(answer, ObjectsAnswer)
            height, width = picture.shape[:2]
            scale = [width, height, width, height]
            assert answer.labels == ("ant", "bee")
            assert answer.scores == pytest.approx([0.8, 0.6], abs=1e-5)
            wanted = np.array([[0, 0, 0.5, 1], [0.25, 0.375, 0.75, 0.625]]) * scale
            assert answer.boxes == pytest.approx(wanted, abs=1e-3)


def test_boxes_of_a_view_that_was_cut_out_lie_where_it_was_cut(detector: Make) -> None:
    # 20 x 40 becomes 40 x 80, whose middle 32 x 32 begins at row 4 and column 24.
    answer = told(detector, CROPPED)(np.zeros((20, 40, 3), np.uint8))
    assert isinstance(answer, ObjectsAnswer)
    assert answer.boxes == pytest.approx(np.array([[12, 2, 20, 18], [16, 8, 24, 12]]), abs=1e-3)


def test_a_border_around_a_view_belongs_to_no_box(detector: Make) -> None:
    prepare = Preprocess(size=(64, 64), shorter=32)
    answer = told(detector, prepare)(np.zeros((32, 32, 3), np.uint8))
    assert isinstance(answer, ObjectsAnswer)
    assert answer.boxes[0] == pytest.approx([0, 0, 16, 32])  # from -16 to 48, of which 0 to 32 is picture


def test_a_turned_photograph_has_its_boxes_where_people_see_them(detector: Make, tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=turned)
    predictor = detector()
    upright = predictor(np.ascontiguousarray(np.rot90(pixels, -1)), threshold=0)
    with Image.open(tmp_path / "turned.png") as opened:
        for kind in (tmp_path / "turned.png", opened):
            answer = predictor(kind, threshold=0)
            assert isinstance(answer, ObjectsAnswer) and isinstance(upright, ObjectsAnswer)
            assert answer.size == (50, 30)
            assert np.array_equal(answer.boxes, upright.boxes)


def test_objects_are_all_that_queries_say_and_the_threshold_is_the_answer_s(
    detector: Make, pixels: Pixels
) -> None:
    predictor = detector()
    samples = [Sample(str(place), picture) for place, picture in enumerate(pixels)]
    found = {sample.name: one for sample, one in predictor.objects(samples, 2)}
    with torch.no_grad():
        best = best_of(predictor.model(predictor.prepare(pixels[0]).image[None]))
    one = found["0"]
    assert isinstance(one, Found) and one.masks is None
    assert len(one) == predictor.model.config.queries
    assert one.scores == pytest.approx(best.scores[0].sort(descending=True).values.numpy(), abs=1e-5)
    for threshold in (0.0, 0.3, 0.5, 1.0):
        for sample, answer in predictor.predict(samples, threshold=threshold):
            whole = found[sample.name]
            assert isinstance(answer, ObjectsAnswer) and isinstance(whole, Found)
            assert len(answer.labels) == (whole.scores > threshold).sum()
    plain = [answer for _, answer in predictor.predict(samples)]
    half = [answer for _, answer in predictor.predict(samples, threshold=0.5)]
    for first, second in zip(plain, half, strict=True):
        assert isinstance(first, ObjectsAnswer) and isinstance(second, ObjectsAnswer)
        assert np.array_equal(first.boxes, second.boxes)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_a_bad_file_stands_in_its_place(
    detector: Make, pixels: Pixels, tmp_path: Path, batch_size: int
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    samples = [Sample(str(place), picture) for place, picture in enumerate(pixels)]
    samples.insert(2, Sample("bad.png", tmp_path / "bad.png"))
    answers = list(detector().predict(samples, batch_size))
    assert [sample.name for sample, _ in answers] == [sample.name for sample in samples]
    for sample, answer in answers:
        assert isinstance(answer, PictureError if sample.name == "bad.png" else ObjectsAnswer)


def test_padding_is_told_to_the_model_only_where_there_is_some(detector: Make, pixels: Pixels) -> None:
    predictor = told(detector)
    predictor(pixels[:2])
    predictor([pixels[0], pixels[0]])
    first, second = predictor.model.seen
    assert first is not None and first.shape == (2, 72, 72)
    assert first[0].sum() == 48 * 72 and bool(first[0, :48].all())
    assert second is None


def test_numbers_that_are_not_finite_are_an_error_and_not_an_empty_picture(detector: Make) -> None:
    predictor = told(detector, scores=[[float("nan")] * 4, [0.8, 0.05, 0.05, 0.1]])
    with pytest.raises(VitreousError, match="not finite"):
        predictor(np.zeros((8, 8), np.uint8))


def test_what_a_detector_has_no_use_for_is_refused(detector: Make, pixels: Pixels) -> None:
    predictor = detector()
    with pytest.raises(
        ConfigError, match="a window is for what tells the class of each pixel; this model finds"
    ):
        predictor(pixels[0], window=32)
    with pytest.raises(ConfigError, match=r"from 0 to 1, got 1\.5"):
        predictor.predict([], threshold=1.5)
    with pytest.raises(CheckpointError, match="does not say which class"):
        predictor.answer(predictor.prepare(pixels[0]))
    with pytest.raises(CheckpointError, match="a Detr finds objects; wanted a model that tells the class"):
        list(predictor.regions([Sample("0", pixels[0])]))
    with pytest.raises(ConfigError, match="batch size"):
        list(predictor.objects([], 0))
    unnamed = Predictor(predictor.model, WHOLE, CLASSES[:2], device="cpu")
    with pytest.raises(CheckpointError, match="tells 3 classes of objects and knows 2"):
        unnamed(pixels[0])
