"""Tables and progress: drawn on a terminal, plain in a pipe, silent for machines."""

import os
import pty
import subprocess
import sys

import pytest

from vitreous.cli import output
from vitreous.cli.output import Progress, duration, percent, show_table

Capture = pytest.CaptureFixture[str]


def test_columns_are_aligned_and_numbers_stand_right(capsys: Capture) -> None:
    show_table(["name", "count"], [["a", "5"], ["longer", "1234"]], numbers=["count"])
    assert capsys.readouterr().out == "name    count\na           5\nlonger   1234\n"


def test_wide_characters_take_two_places(capsys: Capture) -> None:
    show_table(["class", "n"], [["猫", "1"], ["cat", "2"], ["cafe\u0301", "3"]])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["class  n", "猫     1", "cat    2", "cafe\u0301   3"]


def test_a_table_without_rows_has_its_titles(capsys: Capture) -> None:
    show_table(["name", "count"], [])
    assert capsys.readouterr().out == "name  count\n"


@pytest.mark.parametrize(
    ("share", "wanted"),
    [
        (0, "0.00%"),
        (0.97123, "97.12%"),
        (1, "100.00%"),
        (1e-7, "<0.01%"),
        (0.999999, ">99.99%"),
    ],
)
def test_shares_are_percentages_that_never_round_to_all_or_nothing(share: float, wanted: str) -> None:
    assert percent(share) == wanted


@pytest.mark.parametrize(
    ("seconds", "wanted"), [(0.4, "0 s"), (59.4, "59 s"), (185, "3 min 5 s"), (7800, "2 h 10 min")]
)
def test_durations_are_said_as_people_say_them(seconds: float, wanted: str) -> None:
    assert duration(seconds) == wanted


def test_in_a_pipe_progress_is_a_line_now_and_then(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(output, "monotonic", lambda: now)
    with Progress("reading") as progress:
        for done in range(1, 13):
            now += 1.0
            progress(done, 20)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == ["reading: 5 of 20, 15 s left", "reading: 10 of 20, 10 s left"]


def test_the_works_own_estimate_goes_first(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(output, "monotonic", lambda: now)
    with Progress("training") as progress:
        now = 6.0
        progress(1, 100, left=42.0)
        progress.note("epoch 1")
    assert capsys.readouterr().err == "training: 1 of 100, 42 s left\nepoch 1\n"


def test_quiet_progress_says_nothing(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "SECONDS_BETWEEN_LINES", 0.0)
    with Progress("reading", quiet=True) as progress:
        progress(1, 2)
        progress.note("one")
    assert capsys.readouterr() == ("", "")


def on_a_terminal(script: str) -> str:
    """What a script shows when its outputs are a terminal."""
    outer, inner = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen([sys.executable, "-c", script], stdout=inner, stderr=inner, env=environment)
    os.close(inner)
    chunks = []
    while True:
        try:
            chunk = os.read(outer, 4096)
        except OSError:  # how Linux says that the other end has closed
            break
        if not chunk:
            break
        chunks.append(chunk)
    os.close(outer)
    assert process.wait() == 0
    return b"".join(chunks).decode()


def test_on_a_terminal_progress_is_a_bar_and_names_are_not_markup() -> None:
    shown = on_a_terminal(
        "from vitreous.cli.output import Progress, show_table\n"
        "with Progress('reading [bold]data[/]') as progress:\n"
        "    progress(1, 2)\n"
        "    progress.note('a [red]note[/]')\n"
        "    progress(2, 2)\n"
        "show_table(['name'], [['[red]file[/].jpg']])\n"
    )
    assert "━" in shown
    assert "reading [bold]data[/]" in shown
    assert "a [red]note[/]" in shown
    assert "[red]file[/].jpg" in shown
