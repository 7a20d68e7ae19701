"""``vitreous doctor``: what is wrong with a data set, before it costs a day of training. No torch."""

from typing import TYPE_CHECKING, Annotated

import typer

from vitreous.cli.output import Progress, show, show_json, show_table

if TYPE_CHECKING:
    from vitreous.doctor import Examination


def doctor(
    data: Annotated[
        str,
        typer.Argument(help="Pictures: class folders, a CSV, COCO, YOLO, VOC, masks, 'digits' or 'scenes'."),
    ],
    json: Annotated[bool, typer.Option("--json", help="Print JSON, with every case.")] = False,
) -> None:
    """Look for unreadable pictures, duplicates, leaks between parts, tiny classes, oddities.

    Exit code 1 where something would spoil training or scores: files that cannot be read, the same
    picture in two parts or under two labels.
    """
    from vitreous.data.folder import read_data
    from vitreous.data.problems import Problems
    from vitreous.doctor import examine

    problems = Problems()
    splits = read_data(data, problems=problems)
    with Progress(f"examining {data}", quiet=json) as progress:
        found = examine(splits, progress=progress, problems=problems.found)
    if json:
        show_json(found.to_dict())
    else:
        _show(found)
    if not found.ok:
        raise typer.Exit(1)


def _show(found: "Examination") -> None:
    show(f"{found.name}: {found.how}")
    counts = f"{found.pictures} pictures, {found.pictures - found.readable} unreadable"
    show("; ".join([counts, _counted(found.formats), _counted(found.modes)]))
    sizes = found.sizes
    if sizes:
        across, down = (
            "{:g} to {:g} (median {:g})".format(
                *(sizes[f"{which}_{side}"] for which in ("smallest", "largest", "median"))
            )
            for side in ("width", "height")
        )
        show(f"widths {across}, heights {down} pixels")
    show()
    classes = list(dict.fromkeys(name for counts in found.parts.values() for name in counts))
    marked = {f"marked in {part}": counts for part, counts in found.marked.items()}
    columns = found.parts | marked
    rows = [
        [name or "(no label)", *(str(counts.get(name, 0)) for counts in columns.values())] for name in classes
    ]
    show_table(["class", *columns], rows, numbers=list(columns))
    show()
    if not found.findings:
        show("nothing wrong was found")
    for finding in found.findings:
        show(f"{finding.severity}: {finding.text}")
        for example in finding.examples:
            show(f"    {example}")
        more = len(finding.cases) - len(finding.examples)
        if more:
            show(f"    and {more} more; --json lists all")


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"
