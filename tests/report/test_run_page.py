from base64 import b64decode
from io import BytesIO

import numpy as np
from PIL import Image

from vitreous.evaluation.classification import scores
from vitreous.report.run_page import Example, RunReport, Trio, held_out, run_page, worst_classes

HOSTILE = "<script>alert(1)</script>"


def judged(classes: int = 4, count: int = 200) -> dict[str, object]:
    generator = np.random.default_rng(0)
    labels = generator.integers(classes, size=count)
    logits = generator.normal(size=(count, classes)) + 3 * np.eye(classes)[labels]
    return scores(logits, labels, [f"{HOSTILE}{index}" for index in range(classes)])


def example(truth: str, answer: str) -> Example:
    picture = Image.new("RGB", (8, 8), "red")
    return Example(picture=picture, overlay=picture, truth=truth, answer=answer, score=0.7, name=HOSTILE)


def test_all_parts_are_there_and_escaped() -> None:
    report = RunReport(
        title=f"Run {HOSTILE}",
        lead="a lead",
        summary=[("accuracy", "97%")],
        doctor={
            "pictures": 5,
            "readable": 4,
            "how": "one folder",
            "findings": [
                {"severity": "error", "kind": "unreadable", "text": "1 is broken", "examples": [HOSTILE]}
            ],
        },
        metrics=[{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0, "accuracy": 0.5}],
        scores=judged(),
        baselines=[
            {"model": "this", "accuracy": 0.97, "seconds": 40.0, "mine": True},
            {"model": "SVM", "accuracy": 0.98, "seconds": 0.2},
        ],
        examples=[example("a", "a"), example("b", "c")],
        commands=["vitreous demo && echo <done>"],
        files=[("run/best", "the model")],
    )
    page = run_page(report)
    assert HOSTILE not in page and page.count("<script>") == 1
    for words in (
        "97%",
        "1 is broken",
        "98.0%",
        "0.2",
        "echo &lt;done&gt;",
        "run/best",
        "Loss",
        "confidence",
    ):
        assert words in page
    assert page.index("it is <strong>b</strong>") < page.index('class="good">a')  # wrong answers first
    assert "http://www.w3.org" in page  # the name space of SVG, and no other address
    assert page.replace("http://www.w3.org/2000/svg", "").count("http") == page.count("http-equiv")


def test_parts_that_are_missing_leave_no_trace() -> None:
    page = run_page(RunReport(title="Nothing yet"))
    assert "<section>" not in page.split("</noscript>")[1]


def test_held_out_rows_have_their_intervals() -> None:
    found = judged()
    rows = {name: (value, interval) for name, value, interval in held_out(found)}
    assert rows["Accuracy"][0] == f"{found['accuracy']:.1%}"
    assert " to " in rows["Accuracy"][1]
    assert not any(name.startswith("Truth among") for name in rows)  # 4 classes have no top 5


def test_of_many_classes_the_worst_are_listed() -> None:
    rows = worst_classes(judged(classes=40, count=2000))
    assert len(rows) == 24
    assert [row["f1"] for row in rows] == sorted(row["f1"] for row in rows)


def trio(size: tuple[int, int] = (8, 8)) -> Trio:
    original = Image.effect_noise(size, 90)
    seen = original.convert("RGBA")
    seen.putalpha(Image.new("L", size, 0))
    return Trio(HOSTILE, original, seen, original.convert("RGB"))


def test_a_gallery_shows_each_picture_three_times_with_its_name() -> None:
    page = run_page(RunReport(title="MAE", gallery=[trio(), trio((40, 20))], rebuilding=f"note {HOSTILE}"))
    assert HOSTILE not in page and page.count("<script>") == 1
    assert page.count("<img") == 6 and page.count('class="hidden"') == 2
    assert page.count("example coarse") == 2  # square pixels for small pictures
    assert 'style="aspect-ratio:40 / 20"' in page
    for word in ("original", "seen", "rebuilt"):
        assert page.count(f"<span>{word}</span>") == 2
    assert "What it makes of pictures" in page


def test_a_part_of_a_trio_may_be_missing() -> None:
    whole = trio()
    page = run_page(
        RunReport(title="BEiT", gallery=[whole._replace(rebuilt=None), whole._replace(seen=None)])
    )
    assert page.count("<img") == 4
    assert page.count("<span>seen</span>") == page.count("<span>rebuilt</span>") == 1


def test_large_pictures_are_made_small_and_hidden_patches_stay_open() -> None:
    page = run_page(RunReport(title="MAE", gallery=[trio((1200, 900))] * 12))
    assert len(page) < 3_000_000
    hidden = page.split('class="hidden" src="data:image/png;base64,')[1].split('"')[0]
    picture = Image.open(BytesIO(b64decode(hidden)))
    assert picture.size == (320, 240) and picture.mode == "RGBA"
    assert np.asarray(picture)[..., 3].max() == 0


def test_warnings_and_lineage_are_text() -> None:
    page = run_page(
        RunReport(
            title="MAE",
            warnings=[f"collapse of {HOSTILE}"],
            lineage=[("went on from", HOSTILE)],
            commands=["vitreous train <x>"],
            further="Go on",
        )
    )
    assert HOSTILE not in page
    for words in (
        "What went wrong",
        "collapse of &lt;script",
        "Where these weights",
        "went on from",
        "Go on",
    ):
        assert words in page
