"""What the page of a run shows of a model that finds objects or tells the class of each pixel: held-out
pictures judged with its best weights."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from vitreous.errors import MissingPackage, VitreousError

if TYPE_CHECKING:
    from vitreous.data.collection import Collection
    from vitreous.predictor import Predictor
    from vitreous.report.gallery import Section
    from vitreous.training.config import TrainConfig
    from vitreous.training.fit import Run

PICTURES = 200  # of the validation part, evenly chosen: a page is no evaluation


class Looked(NamedTuple):
    """What ``evaluate`` says of ``pictures`` held-out pictures of ``of``, None where that is not known, and
    drawings of the most telling ones; and what went wrong in looking at them."""

    result: Mapping[str, Any] | None = None
    sections: "Sequence[Section]" = ()
    pictures: int = 0
    of: int = 0
    warning: str | None = None


def look_at(run: "Run", config: "TrainConfig") -> Looked:
    """The best weights of a run judged on its validation part; nothing of a run that learnt something
    else."""
    from vitreous.data.layouts import wanted_of

    wanted = wanted_of(config.task.kind)
    if wanted not in ("detection", "segmentation"):
        return Looked()
    from vitreous.data.folder import read_data
    from vitreous.evaluation.evaluate import to_judge
    from vitreous.predictor import load
    from vitreous.report.gallery import gallery_of

    try:
        held_out = read_data(config.data, seed=config.seed, wanted=wanted).validation
        if held_out is None:
            return Looked()
        count = min(PICTURES, len(held_out))
        chosen = held_out.select(place * len(held_out) // count for place in range(count))
        predictor = load(run.path, device=config.device)
        _, judged, _ = to_judge(predictor, chosen)
        result, known, warning = _result(predictor, judged)
        sections = gallery_of(predictor, judged, result)
    except VitreousError as error:
        return Looked(warning=f"Held-out pictures could not be judged: {error}.")
    return Looked(result if known else None, sections, count, len(held_out), warning)


def _result(predictor: "Predictor", collection: "Collection") -> tuple[dict[str, Any], bool, str | None]:
    """What there is to say of the pictures, whether that is all of the figures, and else why not."""
    from vitreous.evaluation.evaluate import evaluate
    from vitreous.evaluation.objects import look_for_objects, mistakes_of

    try:
        return evaluate(predictor, collection, allow_unreadable=True), True, None
    except MissingPackage as error:
        seen = look_for_objects(predictor, collection, allow_unreadable=True)
        result = {"says": "objects", **mistakes_of(seen, predictor.classes)}
        return result, False, f"The figures of COCO were not computed: {error}."
