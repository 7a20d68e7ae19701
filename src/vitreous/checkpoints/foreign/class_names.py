"""What the classes of a foreign checkpoint are called, told by its file or known from their number."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from vitreous.checkpoints import imagenet
from vitreous.checkpoints.foreign.plan import numbered
from vitreous.errors import CheckpointError

ASSUMED = "class names"  # what a plan's ``assumed`` begins with where a file tells none
IN_TWO_ORDERS = 21_841
COCO = 91
PROBLEM, SEVERAL = "problem_type", "multi_label_classification"  # as transformers says it


class ClassNames(NamedTuple):
    """A name for every class, and what of them is assumed: nothing where the file tells them."""

    names: tuple[str, ...]
    assumed: tuple[str, ...] = ()


def unnamed(classes: int, *, by_folder: bool = False) -> ClassNames:
    """Names for the classes of a file that tells none: ImageNet's where their number gives them away.

    ``by_folder`` is for families that were trained on a folder for each of 21,841 classes (BEiT); the
    order that others have so many in is not certain, and they stay numbered.
    """
    if not classes:
        return ClassNames(())
    title = imagenet.COUNTS.get(classes)
    if classes == IN_TWO_ORDERS and not by_folder:
        return ClassNames(numbered(classes), (f"{ASSUMED} (their order in {title} is not certain)",))
    if title is None:
        return ClassNames(numbered(classes), (ASSUMED,))
    return ClassNames(imagenet.class_list(title).names, (f"{ASSUMED} of {title}",))


def distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    """The same where a name that several classes have, as COCO's N/A, tells which one it is."""
    repeated = {name for name in names if names.count(name) > 1}
    return tuple(f"{name} ({index})" if name in repeated else name for index, name in enumerate(names))


def of_objects(classes: int) -> ClassNames:
    """Names for the classes of a detector whose file tells none: COCO's, by their ids from 0 to 90 of which
    eleven are no class, where there are 91."""
    if classes != COCO:
        return ClassNames(numbered(classes), (ASSUMED,))
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights  # which takes a second to import

    told = FasterRCNN_ResNet50_FPN_Weights.DEFAULT.meta["categories"]
    return ClassNames(distinct(("N/A", *told[1:])), (f"{ASSUMED} of COCO",))


def from_id2label(
    config: Mapping[str, Any], classes: int, name: str, *, by_folder: bool = False
) -> ClassNames:
    """The names in a ``config.json`` of transformers, if it has any: LABEL_0, LABEL_1, ... are none.

    So are those of the published 21,841 classes: they are numbered as Google's 21,843 with two left out,
    and more than half of them stand beside the number of another class.

    Raises:
        CheckpointError: names that do not fit the classes of the head, or logits that tell no classes.
    """
    problem = config.get(PROBLEM)
    if classes and problem not in (None, "single_label_classification", SEVERAL):
        raise CheckpointError(
            f"{name}/config.json: problem_type {problem!r} is not read, because here the scores of classes"
            " are a softmax, or a sigmoid each; if one of these is meant, delete that key"
        )
    labels = config.get("id2label")
    if not labels or not classes:
        return unnamed(classes, by_folder=by_folder)
    keys = [str(index) for index in range(classes)]
    if isinstance(labels, dict) and classes == IN_TWO_ORDERS and set(labels) == _longer_numbers():
        return unnamed(classes, by_folder=by_folder)
    if not isinstance(labels, dict) or set(labels) != set(keys):
        raise CheckpointError(f"{name}/config.json: id2label does not name the {classes} classes of the head")
    if all(labels[key] == f"LABEL_{key}" for key in keys):
        return unnamed(classes, by_folder=by_folder)
    return ClassNames(tuple(str(labels[key]) for key in keys))


def _longer_numbers() -> set[str]:
    ids = imagenet.class_list("ImageNet-21k").ids
    return {str(index) for index, key in enumerate(ids) if key not in imagenet.WITHOUT_PICTURES}
