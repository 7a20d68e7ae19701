"""How ``vitreous predict`` tells an answer: lines under a heading, the same on a terminal, and JSON."""

from typing import TYPE_CHECKING, Any

import typer

from vitreous.cli.output import display_width, percent, show
from vitreous.errors import printable

if TYPE_CHECKING:
    from vitreous.predictor import Answer, AnyAnswer, ObjectsAnswer, Predictor, RegionsAnswer

NONE = "none above 50%"
DIGITS = 3  # of a coordinate in JSON; lines have one


class Telling:
    """Answers of one predictor. ``top`` classes of a whole picture are shown, and ``threshold`` is what found
    objects had to reach; with ``masks`` JSON has the pixels of each class."""

    def __init__(self, predictor: "Predictor", *, top: int, threshold: float, masks: bool) -> None:
        self.predictor = predictor
        self.top = top
        self.masks = masks
        self.none = f"none above {100 * threshold:g}%"
        self.width = max((display_width(printable(label)) for label in predictor.classes), default=0)
        if predictor.says == "objects":
            self.width = max(self.width, display_width(self.none))
        elif predictor.answers == "several":
            self.width += len(f" ({NONE})")

    def title(self) -> str:
        """What stands above the lines."""
        if self.predictor.says == "objects":
            sides = "".join(f"{side:>8}" for side in ("x0", "y0", "x1", "y1"))
            return f"{'score':>8}  {'class':<{self.width}}{sides}  picture"
        share = "share" if self.predictor.says == "regions" else "score"
        return f"{share:>8}  {'class':<{self.width}}  picture"

    def show(self, name: str, answer: "AnyAnswer") -> None:
        """A line for each class or object."""
        for label, score, sides in self._rows(answer):
            shown = printable(label)
            space = " " * (self.width - display_width(shown))
            told = "-" if score is None else percent(score)
            show(f"{told:>8}  {shown}{space}{sides}  {name}")

    def show_large(self, name: str, answer: "AnyAnswer") -> None:
        """The same for people: the picture's name, and a bar for each."""
        typer.secho(printable(name), bold=True)
        for label, score, sides in self._rows(answer):
            if score is None:
                show(f"{'-':>8}  {label}")
            elif sides:
                space = " " * (self.width - display_width(printable(label)))
                show(f"{percent(score):>8}  {'█' * round(20 * score):<20}  {label}{space}{sides}")
            else:
                show(f"{percent(score):>8}  {'█' * round(20 * score):<20}  {label}")

    def record(self, name: str, answer: "AnyAnswer") -> dict[str, Any]:
        """An answer as plain values that JSON can hold."""
        from vitreous.predictor import Answer, ObjectsAnswer

        if isinstance(answer, Answer):
            return self._classes(name, answer)
        return (
            self._objects(name, answer) if isinstance(answer, ObjectsAnswer) else self._regions(name, answer)
        )

    def _rows(self, answer: "AnyAnswer") -> list[tuple[str, float | None, str]]:
        """Label, score or share, and for an object its box."""
        from vitreous.predictor import Answer, ObjectsAnswer

        if isinstance(answer, Answer):
            return [(label, score, "") for label, score in self._ranked(answer)]
        if isinstance(answer, ObjectsAnswer):
            if not answer.labels:
                return [(self.none, None, f"{'-':>8}" * 4)]
            return [
                (label, float(score), "".join(f"{side:8.1f}" for side in box.tolist()))
                for label, score, box in zip(answer.labels, answer.scores, answer.boxes, strict=True)
            ]
        return [(answer.names[number], float(answer.shares[number]), "") for number in answer.shown()]

    def _ranked(self, answer: "Answer") -> list[tuple[str, float]]:
        """The likeliest classes, or where a picture may show several all whose score is above one half; where
        none has one, the likeliest, and that it has not."""
        if self.predictor.answers == "one":
            return self.predictor.top(answer, self.top)
        if not answer.labels:
            return [(f"{answer.label} ({NONE})", answer.score)]
        return self.predictor.top(answer, len(answer.labels))

    def _classes(self, name: str, answer: "Answer") -> dict[str, Any]:
        ranked = [{"label": label, "score": score} for label, score in self.predictor.top(answer, self.top)]
        record = {"picture": name, "label": answer.label, "score": answer.score, "top": ranked}
        return record if self.predictor.answers == "one" else record | {"labels": list(answer.labels)}

    def _objects(self, name: str, answer: "ObjectsAnswer") -> dict[str, Any]:
        height, width = answer.size
        found = [
            {"label": label, "score": float(score), "box": [round(side, DIGITS) for side in box.tolist()]}
            for label, score, box in zip(answer.labels, answer.scores, answer.boxes, strict=True)
        ]
        return {"picture": name, "width": width, "height": height, "objects": found}

    def _regions(self, name: str, answer: "RegionsAnswer") -> dict[str, Any]:
        height, width = answer.region.shape
        found: list[dict[str, Any]] = [
            {"label": answer.names[number], "index": number, "share": float(answer.shares[number])}
            for number in answer.shown()
        ]
        if self.masks:
            from vitreous.predictor.coco import run_lengths

            for one in found:
                one["mask"] = run_lengths(answer.region, one["index"])
        return {"picture": name, "width": width, "height": height, "regions": found}
