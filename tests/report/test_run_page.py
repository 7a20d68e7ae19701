import numpy as np
from PIL import Image

from vitreous.evaluation.classification import scores
from vitreous.report.run_page import Example, RunReport, held_out, run_page, worst_classes

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
