"""The parity ledger: every family that is read and written, beside the library that it comes from.

    python -m benchmarks.parity [--family vit] [--write]

Tiny random twins with a random value in every tensor are saved as each library saves, read by vitreous, and
compared at the native picture size and at least two others, in float32 and float64; then written back by
vitreous and loaded by the library's own loader. Photographs of odd sizes go through each library's own
preprocessing and through ours. Ahead of it all stand mistakes made on purpose, which the bounds must see.
The exit code is 1 where a bound is missed. --write puts the tables into
docs/parity.md.
"""

import argparse
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch
from tests.parity.case import Case, compare
from tests.parity.cases import CASES
from tests.parity.mistakes import ELSEWHERE, EVERYWHERE
from tests.parity.preprocess_case import LEVELS, PreprocessCase, measure
from tests.parity.preprocess_cases import PREPROCESS
from tests.parity.twins import BOUND, Difference, Forward, difference, pictures, transformers_twin

from vitreous.checkpoints.destination import write_any
from vitreous.checkpoints.peer import quiet
from vitreous.checkpoints.source import read_any

PAGE = Path(__file__).parent.parent / "docs" / "parity.md"
START, END = "<!-- measured -->", "<!-- end of what was measured -->"
LIBRARIES = ("timm", "transformers", "torchvision", "torch", "pillow", "dall-e")


class Row(NamedTuple):
    """One line: a reference, which way, in which type, and what was found at each picture size; where the
    comparison could not be made, why."""

    reference: str
    way: str
    dtype: torch.dtype
    found: Sequence[tuple[tuple[int, int], Difference]]
    failure: str = ""

    @property
    def kept(self) -> bool:
        """Whether every difference is within its bound."""
        return not self.failure and all(apart.relative < BOUND[self.dtype] for _, apart in self.found)


class Pixels(NamedTuple):
    """One line: whose preprocessing, by which of its ways, and how far apart the pixels are."""

    library: str
    title: str
    way: str
    most: str
    mean: str
    bound: str
    kept: bool


def main() -> int:
    """Print the tables; 1 where a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--family", help="only this family, for example vit")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/parity.md")
    arguments = parser.parse_args()
    if arguments.write and arguments.family:
        parser.error("--write takes all families")
    torch.manual_seed(0)
    for library in LIBRARIES[:3]:
        import_module(library)  # so that they can be told to be quiet
    lines, missed = [_versions(), ""], 0
    print(lines[0], end="\n\n", flush=True)
    if arguments.family is None:
        text, failed = _mistakes()
        print("\n".join(text), end="\n\n", flush=True)
        lines += [*text, ""]
        missed += failed
    for family in dict.fromkeys(map(_group, (*CASES, *PREPROCESS))):
        if arguments.family not in (None, family):
            continue
        text, failed = _family(family)
        print("\n".join(text), end="\n\n", flush=True)
        lines += [*text, ""]
        missed += failed
    verdict = f"{missed} rows missed their bound." if missed else "Every bound is kept."
    print(verdict)
    if arguments.write:
        _write([*lines, verdict])
    return int(missed > 0)


def _family(family: str) -> tuple[list[str], int]:
    """The tables of one family, and how many of their rows missed a bound."""
    rows = [row for case in CASES if _group(case) == family for row in _rows(case)]
    most = max((len(row.found) for row in rows), default=0)
    titles = ["reference", "way", "type", "first size", *["another size"] * (most - 1), "bound", ""]
    text = [f"### {family}", ""]
    if rows:
        text += _table(titles, [_cells(row, most) for row in rows])
    pixels = [line for case in PREPROCESS if _group(case) == family for line in _pixels(case)]
    if pixels:
        titles = ["preprocessing of", "values", "way", "most", "mean", "bound", ""]
        text += [""] * bool(rows) + _table(titles, [_pixel_cells(line) for line in pixels])
    return text, sum(not row.kept for row in rows) + sum(not line.kept for line in pixels)


def _mistakes() -> tuple[list[str], int]:
    """What mistakes change that load without an error, and how many of them no bound would have seen."""
    rows, unseen = [], 0
    with tempfile.TemporaryDirectory() as folder, quiet():
        twin = transformers_twin(Path(folder), layer_norm_eps=1e-6)
        right = read_any(twin.path)
        for mistakes, size in ((EVERYWHERE, (32, 32)), (ELSEWHERE, (24, 24))):
            for name, mistake in mistakes.items():
                wrong, shares, seen = mistake(right).model, [], []
                for dtype, bound in BOUND.items():
                    wrong.to(dtype)
                    twin.model.to(dtype)
                    share = difference(wrong, twin.forward, pictures(size).to(dtype)).relative
                    shares.append(f"{share:.1e}")
                    seen += [str(dtype).removeprefix("torch.")] * (share >= bound)
                unseen += not seen
                rows.append([name, f"{size[0]}x{size[1]}", *shares, ", ".join(seen) or "MISSED"])
    return [
        "### mistakes made on purpose",
        "",
        *_table(["mistake", "size", "float32", "float64", "seen in"], rows),
    ], unseen


def _rows(case: Case) -> Iterator[Row]:
    """What is read beside its reference, then what is written beside what its own loader makes of it."""
    reference = f"{case.library} {case.family.removeprefix(_group(case)).strip()}".strip()
    way = "read"
    try:
        with tempfile.TemporaryDirectory() as folder, quiet():
            twin = case.build(Path(folder) / "theirs")
            checkpoint = read_any(twin.path)
            if case.back is not None:
                # Before the comparison turns the weights into float64.
                write_any(Path(folder) / "back", checkpoint, case.layout or case.library)
            yield from _compared(case, reference, way, checkpoint.model, twin.model, twin.forward)
            if case.back is not None:
                way = "written"
                model, forward = case.back(Path(folder) / "back")
                yield from _compared(case, reference, way, checkpoint.model, model, forward)
    except Exception as error:  # one row that cannot be measured must not hide the others
        yield Row(reference, way, torch.float32, (), f"{type(error).__name__}: {error}".splitlines()[0])


def _compared(
    case: Case,
    reference: str,
    way: str,
    ours: torch.nn.Module,
    theirs: torch.nn.Module,
    forward: Forward,
) -> Iterator[Row]:
    for dtype in BOUND:
        ours.to(dtype)
        theirs.to(dtype)
        found = [(size, compare(case, ours, forward, size)) for size in case.sizes]
        yield Row(reference, way, dtype, found)


def _pixels(case: PreprocessCase) -> Iterator[Pixels]:
    """A library's pixels beside ours."""
    try:
        with tempfile.TemporaryDirectory() as folder, quiet():
            for apart in measure(case, Path(folder) / "theirs"):
                kept = not apart.exact or apart.most < LEVELS
                bound = f"< {LEVELS:g}" if apart.exact else "none"
                most, mean = f"{apart.most:.1e}", f"{apart.mean:.1e}"
                yield Pixels(case.library, case.title, apart.way, most, mean, bound, kept)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        yield Pixels(case.library, case.title, reason, "", "", "", False)


def _cells(row: Row, most: int) -> list[str]:
    """A row's cells: at each picture size the largest difference, and its share of the largest answer."""
    found = [
        f"{height}x{width}: {apart.absolute:.1e} ({apart.relative:.1e})"
        for (height, width), apart in row.found
    ]
    found += [row.failure] * bool(row.failure)
    found += [""] * (most - len(found))
    kind = str(row.dtype).removeprefix("torch.")
    verdict = "kept" if row.kept else "MISSED"
    return [row.reference, row.way, kind, *found, f"< {BOUND[row.dtype]:.0e}", verdict]


def _pixel_cells(line: Pixels) -> list[str]:
    verdict = ("kept" if line.bound != "none" else "told") if line.kept else "MISSED"
    return [line.library, line.title, line.way, line.most, line.mean, line.bound, verdict]


def _group(case: Case | PreprocessCase) -> str:
    """The family that a case stands under: the first word of what it calls itself."""
    return case.family.split()[0]


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown, its columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return [line(titles), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(line, rows)]


def _versions() -> str:
    """With what this was measured."""
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return f"Measured with {libraries}, Python {sys.version.split()[0]}, on the CPU."


def _write(lines: Sequence[str]) -> None:
    page = PAGE.read_text()
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{START}\n\n" + "\n".join(lines) + f"\n\n{END}{after}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    raise SystemExit(main())
