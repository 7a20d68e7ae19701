"""A detector that finds nothing: what is said of its annotations, its matching and its rate."""

import numpy as np
import pytest
from PIL import Image

from vitreous.data.annotation import Objects
from vitreous.data.collection import Collection, Sample
from vitreous.training.recipes import detr, segformer
from vitreous.training.unlearnt import finds_nothing, look_at_boxes, nothing_found, one_class_only

NOTHING = {"ap50": 0.0, "matched_right": 0.0, "matched_overlap": -0.2, "miscounted": 2.0}
CONFIG = detr("pictures", "run")


def marked(boxes: list[list[float]], labels: list[int] | None = None) -> Collection:
    """Four pictures of 100 x 50 pixels with these boxes each."""
    objects = Objects.of(np.array(boxes).reshape(-1, 4), labels or [0] * len(boxes))
    image = Image.new("RGB", (100, 50))
    samples = tuple(Sample(f"{number}.png", _bytes(image), objects=objects) for number in range(4))
    return Collection("pictures", ("ant", "bee"), samples)


def _bytes(image: Image.Image) -> bytes:
    from io import BytesIO

    stream = BytesIO()
    image.save(stream, "png")
    return stream.getvalue()


def test_what_boxes_are_like() -> None:
    found = look_at_boxes(marked([[0, 0, 50, 25], [10, 10, 12, 11], [0, 0, 100, 50]]))
    assert found.boxes == 12 and found.sides == (0.5, 0.5) and found.absent == ("bee",)
    assert found.whole == found.specks == pytest.approx(1 / 3)


def test_a_picture_that_cannot_be_read_is_passed_over() -> None:
    sound = marked([[0, 0, 50, 25]])
    broken = Sample("broken.png", b"no picture", objects=sound.samples[0].objects)
    assert look_at_boxes(Collection("pictures", sound.classes, (broken, *sound.samples))).boxes == 4


def said_of(boxes: list[list[float]], step: int, *, plain: bool = False, **measures: float) -> str:
    found = look_at_boxes(marked(boxes))
    judged = look_at_boxes(marked([[0, 0, 50, 25]]))
    return nothing_found(NOTHING | measures, found, judged, CONFIG, step=step, plain=plain)


@pytest.mark.parametrize(
    ("boxes", "measures", "step", "said"),
    [
        ([], {}, 10, "have no boxes"),
        ([[1, 1, 99, 49]], {}, 10, "cover nearly the whole picture"),
        ([[0.1, 0.2, 0.6, 0.9]], {}, 10, "shares where pixels are wanted"),
        ([[10, 10, 60, 40]], {"matched_overlap": 0.6}, 5000, "class ids those of the names (none of bee"),
        ([[10, 10, 60, 40]], {"matched_overlap": 0.6}, 8, "8 steps are few"),
        ([[10, 10, 60, 40]], {}, 10, "10 steps are few"),
        ([[10, 10, 60, 40]], {}, 5000, "try another optimizer.learning_rate than 0.002"),
    ],
)
def test_the_likeliest_reason_is_said(
    boxes: list[list[float]], measures: dict[str, float], step: int, said: str
) -> None:
    told = said_of(boxes, step, **measures)
    assert told.startswith("nothing found: AP50 0.0000")
    assert said in told
    assert ("class ids" in told) == ("class ids" in said)


def test_a_plain_detr_is_told_what_learns_sooner() -> None:
    assert "references=boxes" in said_of([[9, 9, 60, 40]], 10, plain=True)
    assert "references=boxes" not in said_of([[9, 9, 60, 40]], 10)


def test_nothing_to_judge_by_is_said_first() -> None:
    some, none = look_at_boxes(marked([[0, 0, 50, 25]])), look_at_boxes(marked([]))
    assert "nothing is marked on the validation" in nothing_found(NOTHING, some, none, CONFIG, step=10)


def test_whoever_finds_something_hears_nothing() -> None:
    assert finds_nothing(NOTHING)
    assert not finds_nothing(NOTHING | {"ap50": 0.02})
    assert not finds_nothing({"accuracy": 0.0})


def test_one_class_for_all_pixels_is_nothing() -> None:
    config = segformer("pictures", "run")
    told = one_class_only({"mean_iou": 0.0802, "guessing_iou": 0.08}, config, 12)
    assert told is not None and "12 steps are few" in told
    assert one_class_only({"mean_iou": 0.2, "guessing_iou": 0.08}, config, 12) is None
    # One class is all there is.
    assert one_class_only({"mean_iou": 1.0, "guessing_iou": 1.0}, config, 12) is None
