"""Judged pictures drawn with truth and answer, and the page about them."""

from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tests.marked import Knowing
from vitreous.data.annotation import Objects
from vitreous.data.collection import Collection, Sample
from vitreous.data.drawing import colour_of
from vitreous.data.folder import read_data
from vitreous.evaluation.detection import Found
from vitreous.evaluation.evaluate import evaluate
from vitreous.report.figures import confusion_figure
from vitreous.report.gallery import LEAST, SIDE, Section, gallery_of
from vitreous.report.gallery_page import gallery_page
from vitreous.report.marked_scores import class_table, marked_figures, measure_rows, occurring, told_mistakes

HOSTILE = "<script>alert(1)</script>"


def opened(address: str) -> Image.Image:
    return Image.open(BytesIO(b64decode(address.split(",")[1])))


def grey(count: int = 3, size: tuple[int, int] = (40, 60)) -> Collection:
    """Grey pictures of (H, W), each with one object at its upper left corner."""
    pixels = np.full((*size, 3), 128, np.uint8)
    samples = (
        Sample(f"{HOSTILE}{number}", pixels, objects=Objects.of([[2, 2, 30, 30]], [number % 2]))
        for number in range(count)
    )
    return Collection("grey", ("cat", HOSTILE), tuple(samples))


def moved(objects: Objects, name: str) -> Found:
    """Surely of class 0, ten pixels too far to the right; and far away something unsure."""
    boxes = np.concatenate([objects.boxes + np.array(step) for step in ([8, 0, 8, 0], [0, 8, 0, 8])])
    return Found.of(boxes, [0] * len(boxes), [0.9, 0.4])


def of_objects(data: Collection) -> tuple[dict[str, object], list[Section]]:
    model = Knowing("objects", data.classes, find=moved)
    result = evaluate(model, data)
    return result, gallery_of(model, data, result)


def test_what_is_there_and_what_was_said_are_drawn_in_their_places() -> None:
    _, sections = of_objects(grey())
    assert [section.title for section in sections] == ["Worst", "Most confused", "Best"]
    best = sections[-1].pairs[0]
    assert best.coarse and best.ratio == "60 / 40"
    factor = -(-LEAST // 60)
    for address, left in ((best.truth, 2), (best.answer, 10)):
        drawing = np.asarray(opened(address))
        assert drawing.shape == (40 * factor, 60 * factor, 3)
        edge = drawing[20 * factor : 24 * factor, left * factor]
        assert (edge == colour_of(0)).all(), left
    unsure = np.asarray(opened(best.answer))[37 * factor, 12 * factor : 20 * factor]
    assert (unsure == 128).all(), "what scores below one half is not drawn"


def test_large_pictures_are_made_smaller_with_their_boxes() -> None:
    data = grey(1, (500, 1200))
    pixels = np.full((500, 1200, 3), 128, np.uint8)
    boxes = Objects.of([[600, 100, 1000, 400]], [0])
    data = Collection("large", data.classes, (Sample("one", pixels, objects=boxes),))
    model = Knowing("objects", data.classes)
    result = evaluate(model, data)
    (section,) = gallery_of(model, data, result)
    drawing = opened(section.pairs[0].truth)
    assert drawing.size == (SIDE, 200) and not section.pairs[0].coarse
    red = np.asarray(drawing)[80:120, :, 0]
    assert (red[:, 240] > 170).all(), "at half the width, as in the source"
    assert (red[:, 220] < 140).all()


def test_regions_are_drawn_in_the_colours_of_their_classes() -> None:
    region = np.zeros((30, 30), np.uint8)
    region[:, 15:] = 1
    pixels = np.full((30, 30, 3), 128, np.uint8)
    data = Collection("halves", ("left", "right"), (Sample("one", pixels, region=region),))
    model = Knowing("regions", data.classes, paint=lambda region, name: region * 0)
    result = evaluate(model, data)
    (worst, confused, _) = gallery_of(model, data, result)
    assert "right taken for left in 50.0% of the pixels" in confused.pairs[0].caption
    truth, answer = (np.asarray(opened(side)) for side in (worst.pairs[0].truth, worst.pairs[0].answer))
    assert (truth[5, -5] != truth[5, 5]).any() and (answer[5, -5] == answer[5, 5]).all()
    assert (answer[5, 5] == truth[5, 5]).all()


def test_only_pictures_of_the_gallery_are_looked_at_again() -> None:
    data = grey(40)
    model = Knowing("objects", data.classes, find=moved)
    result = evaluate(model, data)
    named = {row["name"] for rows in result["gallery"].values() for row in rows}
    model.asked.clear()
    sections = gallery_of(model, data, result)
    assert set(model.asked) == named and len(model.asked) == len(named) < 40
    assert all(len(section.pairs) == 12 for section in sections)


def test_the_page_shows_names_as_text_and_loads_nothing() -> None:
    result, sections = of_objects(grey())
    page = gallery_page(result, sections)
    assert HOSTILE not in page and page.count("<script>") == 1
    assert page.count("<img") == 2 * sum(len(section.pairs) for section in sections)
    assert page.replace("http://www.w3.org/2000/svg", "").count("http") == page.count("http-equiv")
    for words in ("Judged on grey", "AP at 0.50", "F1 ", "Precision, by recall", "overlap of"):
        assert words in page, words
    assert len(page) < 3_000_000


def test_rows_say_none_where_there_is_nothing_to_judge_by() -> None:
    result, _ = of_objects(grey())
    rows = {what: (value, interval) for what, value, interval in measure_rows(result, lambda part: f"{part}")}
    assert len(rows) == 12 and rows["AP of large objects"] == ("none", "")
    assert rows["AP at 0.50"][0] == str(result["ap50"]) and " to " in rows["AP at 0.50"][1]
    table = class_table(result, str, 1)
    assert table.some and len(table.rows) == 1 and table.rows[0][0] == HOSTILE, "the worst is kept"
    assert not class_table(result, str, 2).some


def test_mistakes_are_told_as_sentences() -> None:
    result, _ = of_objects(grey(4))
    first, pair = told_mistakes(result)
    assert "of the answers with a score of 0.5 or more 2 are right; mistakes: 2 confused" in first
    assert pair == f"{HOSTILE} taken for cat: 2"


def test_only_classes_that_occur_are_drawn() -> None:
    matrix, names = occurring([[1, 0, 2], [0, 0, 0], [0, 0, 0]], ["a", "b", "c"])
    assert (matrix, names) == ([[1, 2], [0, 0]], ["a", "c"])
    result, _ = of_objects(grey())
    figures = marked_figures(result)
    assert [*figures] == ["precision", "confusion"]
    told = figures["confusion"].svg()
    assert "2 classes" in told and ">cat<" in told and ">nothing<" not in told


def test_precision_of_nothing_is_an_empty_frame() -> None:
    result, _ = of_objects(grey())
    nothing = result | {
        "precision_at_recall": {"0.50": []},
        "per_class": [row | {"precision_at_recall": []} for row in result["per_class"]],
    }
    assert "Nothing to judge by" in marked_figures(nothing)["precision"].svg()


@pytest.mark.parametrize("says", ["objects", "regions"])
def test_a_page_of_scenes_is_small_enough_to_send(says: str) -> None:
    part = read_data("scenes:detection" if says == "objects" else "scenes:segmentation").test
    assert part is not None
    data = part.select(range(15))
    model = Knowing(
        says,
        data.classes,
        find=lambda objects, name: Found.of(objects.boxes, objects.labels // 2, np.ones(len(objects))),
        paint=lambda region, name: region // 2,
    )
    result = evaluate(model, data)
    assert len(gallery_page(result, gallery_of(model, data, result))) < 2_500_000


def test_shares_of_pixels_are_told_in_few_letters() -> None:
    matrix = [[1000, 0, 0], [150, 850, 0], [1, 1, 998]]
    told = confusion_figure(matrix, ["a", "b", "c"], counted="pixels").svg()
    for words in (">100%<", ">15%<", ">85%<", ">0.1%<", ">&gt;99%<", "5.1% of 3,000 pixels wrong"):
        assert words in told, words
    assert ">1000<" in confusion_figure(matrix, ["a", "b", "c"]).svg()
