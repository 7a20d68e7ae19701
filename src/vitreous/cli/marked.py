"""What ``vitreous evaluate`` prints of a model that finds objects, or tells the class of each pixel."""

from typing import Any

from vitreous.cli.output import percent, show, show_table

CLASSES_SHOWN = 30


def show_marked(result: dict[str, Any]) -> None:
    """The figures with their intervals, every class, what goes wrong most, and the worst picture."""
    from vitreous.report.marked_scores import class_table, measure_rows, told_mistakes

    data, objects = result["data"], result["says"] == "objects"
    show(f"{result['n']} pictures of {data['name']}, part {data['part']}: {data['why']}")
    if objects:
        crowds = f" ({result['crowds']} crowds aside)" if result["crowds"] else ""
        show(f"{result['objects']:,} objects{crowds}, {result['answers']:,} answers")
    else:
        show(f"{result['pixels']:,} pixels")
    if data["note"] is not None:
        show(data["note"])
    show()
    titles = ["measure", "value", "95% interval"]
    show_table(titles, measure_rows(result, percent), numbers=titles[1:])
    show()
    table = class_table(result, percent, CLASSES_SHOWN)
    if table.some:
        show(f"the {CLASSES_SHOWN} of {len(result['per_class'])} classes that went worst:")
    show_table(table.titles, table.rows, numbers=table.titles[1:])
    show()
    for sentence in told_mistakes(result):
        show(sentence)
    if result["gallery"]["worst"]:
        row = result["gallery"]["worst"][0]
        title, key = ("F1", "f1") if objects else ("mean IoU", "mean_iou")
        show(f"worst picture: {row['name']}, {title} {percent(row[key])}")
