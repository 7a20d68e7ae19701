"""What people and machines see: tables, lines, JSON, and how far the work is.

On a terminal progress is a bar with the time left; in a pipe it is a plain line every few seconds.
Results go to standard output, progress and complaints to standard error, so that a pipe carries
results alone.
"""

import json
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer

from vitreous.errors import printable

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

SECONDS_BETWEEN_LINES = 5.0


def show(text: str = "") -> None:
    """One line of a result. What cannot be shown is escaped: names come from files of strangers."""
    print(printable(text))


def show_json(value: Any) -> None:
    """A result for machines, in as many lines as it takes to read it."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def show_json_line(value: Mapping[str, Any]) -> None:
    """One of many results, on one line, flushed: whoever reads the pipe may be waiting for it."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def complain(message: str) -> None:
    """One line about what went wrong, on standard error."""
    print(f"vitreous: {printable(' '.join(message.split()))}", file=sys.stderr, flush=True)


def show_table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[str] = ()) -> None:
    """Rows under their titles; the columns that ``numbers`` names are aligned to the right.

    Nothing is folded or cut: a line that is too long for a terminal is still one line in a search.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    right = [title in numbers for title in titles]
    widths = [max(map(display_width, column)) for column in zip(titles, *rows, strict=True)]

    def line(row: Sequence[str]) -> str:
        spaces = [" " * (width - display_width(cell)) for cell, width in zip(row, widths, strict=True)]
        cells = [
            space + cell if to_right else cell + space
            for cell, space, to_right in zip(row, spaces, right, strict=True)
        ]
        return "  ".join(cells).rstrip()

    typer.secho(line(titles), bold=True)  # bold on a terminal alone
    for row in rows:
        print(line(row))


def percent(share: float) -> str:
    """0.97123 -> 97.12%; what is not quite all or nothing never looks like it."""
    if 0.99995 <= share < 1:
        return ">99.99%"
    if 0 < share < 0.00005:
        return "<0.01%"
    return f"{100 * share:.2f}%"


class Progress:
    """A callable (done, total), total 0 where it is unknown: a bar with the time left on a terminal,
    a line every few seconds in a pipe, and nothing where ``quiet``."""

    def __init__(self, what: str, *, quiet: bool = False) -> None:
        self.what = what
        self.quiet = quiet
        self.started = self.spoke = monotonic()
        self.bar: Bar | None = None
        self.task: TaskID | None = None

    def __enter__(self) -> "Progress":
        self.started = self.spoke = monotonic()
        if not self.quiet and sys.stderr.isatty():
            self.bar = _make_bar()
            self.bar.start()
            self.task = self.bar.add_task(self.what, total=None)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def __call__(self, done: int, total: int = 0, *, left: float | None = None) -> None:
        """``left`` is the time left in seconds, where the work itself knows better."""
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=done, total=total or None)
        elif not self.quiet and monotonic() - self.spoke >= SECONDS_BETWEEN_LINES:
            self.note(self._line(done, total, left))

    def note(self, text: str) -> None:
        """A line beside the bar, or among the lines."""
        if self.quiet:
            return
        self.spoke = monotonic()
        if self.bar is not None:
            self.bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def _line(self, done: int, total: int, left: float | None) -> str:
        if not total:
            return f"{self.what}: {done}"
        if left is None:
            left = (monotonic() - self.started) / max(1, done) * (total - done)
        return f"{self.what}: {done} of {total}, {duration(left)} left"


def duration(seconds: float) -> str:
    """Seconds as people say them: 42 s, 3 min 5 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def display_width(text: str) -> int:
    """Places that a text takes on a terminal."""
    # East Asian characters take two places, accents that combine take none.
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(mark) else 2 if unicodedata.east_asian_width(mark) in "WF" else 1
        for mark in text
    )


def _make_bar() -> "Bar":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichBar

    return RichBar(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
