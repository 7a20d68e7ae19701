"""``vitreous predict`` on files, folders, globs and standard input, good and bad."""

import io
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from vitreous.predictor import load


def records(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_plain_table_has_the_scores_of_every_picture(run: Run, model: Path, pictures: Path) -> None:
    said = run("predict", model, "pictures/ant/00.png", "pictures/bee/01.png", "--device", "cpu")
    assert (said.code, said.err) == (0, "")
    assert said.rows[0] == ["score", "class", "picture"]
    predictor = load(model, device="cpu")
    wanted = [
        [f"{100 * score:.2f}%", label, name]
        for name in ("pictures/ant/00.png", "pictures/bee/01.png")
        for label, score in predictor.top(predictor(name))
    ]
    assert said.rows[1:] == wanted


def test_json_is_one_line_a_picture(run: Run, model: Path, pictures: Path) -> None:
    said = run("predict", model, "pictures/ant", "--json", "--top", "1")
    assert said.code == 0
    found = records(said.out)
    assert [row["picture"] for row in found] == [f"pictures/ant/{index:02d}.png" for index in range(6)]
    for row in found:
        assert row["top"] == [{"label": row["label"], "score": row["score"]}]
        assert 0.5 <= row["score"] <= 1


def test_globs_and_folders_are_expanded(run: Run, model: Path, pictures: Path) -> None:
    said = run("predict", model, "pictures/*/00.png", "pictures/bee", "--json")
    assert [row["picture"] for row in records(said.out)] == [
        "pictures/ant/00.png",
        "pictures/bee/00.png",
        *(f"pictures/bee/{index:02d}.png" for index in range(5)),
    ]


def test_names_come_from_standard_input(
    run: Run, model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("pictures/ant/03.png\npictures/bee/02.png\n"))
    said = run("predict", model, "-", "--json")
    assert [row["picture"] for row in records(said.out)] == ["pictures/ant/03.png", "pictures/bee/02.png"]


def test_bad_files_are_named_counted_and_passed_over(run: Run, model: Path, pictures: Path) -> None:
    (pictures / "ant" / "02.png").write_bytes(b"no picture")
    said = run("predict", model, "pictures/ant", "missing.png", "pictures/bee", "--top", "1")
    assert said.code == 1
    assert len(said.rows) == 1 + 5 + 5
    errors = said.err.splitlines()
    assert len(errors) == 3
    assert errors[0].startswith("vitreous: pictures/ant/02.png: not a picture")
    assert errors[1] == "vitreous: missing.png: no such file"
    assert errors[2] == "vitreous: 2 of 12 pictures could not be read"


def test_bad_files_have_a_json_line_too(run: Run, model: Path, pictures: Path) -> None:
    said = run("predict", model, "missing.png", "pictures/ant/00.png", "--json")
    assert said.code == 1
    first, second = records(said.out)
    assert first == {"picture": "missing.png", "error": "no such file"}
    assert second["picture"] == "pictures/ant/00.png"


def test_a_name_with_a_line_end_stays_on_its_line(run: Run, model: Path, pictures: Path) -> None:
    (pictures / "ant" / "00.png").rename(pictures / "two\nlines.png")
    said = run("predict", model, pictures / "two\nlines.png", "--top", "1")
    assert said.code == 0
    assert len(said.out.splitlines()) == 2


@pytest.mark.parametrize("arguments", [["--top", "0"], ["--batch-size", "0"], ["--top", "many"]])
def test_numbers_out_of_range_are_usage_errors(run: Run, model: Path, arguments: list[str]) -> None:
    said = run("predict", model, "one.png", *arguments)
    assert said.code == 2
    assert said.err.count("\n") == 1


def test_a_device_that_is_not_there_is_refused(run: Run, model: Path, pictures: Path) -> None:
    said = run("predict", model, "pictures/ant/00.png", "--device", "cuda:99")
    assert said.code == 2
    assert said.err == "vitreous: device cuda:99 is not there; wanted one that is, or auto\n"
