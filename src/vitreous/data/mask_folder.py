"""Pictures and masks in two folders: every pixel has a class.

Understood are ROOT/{images,masks}, the same with parts inside (images/train) or outside (train/images), and
train beside train_masks; a mask is named like its picture, or so with _mask, _label or _gt. What the values
mean comes from a file of classes, where there is one, and from the values themselves; the sentence on how
the splits came about says what was understood:

- indices, 0 the first class of the file; 255 (65535 of more than 255 classes) takes no part
- indices from 1 to as many as the file has classes, as ADE20K's: 0 is no class then, and takes no part
- 0 and 255 alone: background and foreground
- colours, by the file, or each a class that is called by its number

Files of classes: see ``data/mask_classes.py``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vitreous.data.annotated import Marked, annotated_splits, in_threads, part_of, sizes_of
from vitreous.data.collection import Splits
from vitreous.data.mask_classes import decide, named_classes
from vitreous.data.mask_file import MASK_SUFFIXES, Looked, MaskFile, look_at, told_value
from vitreous.data.problems import Problems
from vitreous.data.splitting import many
from vitreous.data.walk import find_pictures, folders_in
from vitreous.errors import DataError, printable

_PICTURES = ("images", "image", "imgs", "img", "pictures", "photos", "jpegimages")
_MASKS = (
    *("masks", "mask", "annotations", "annotation", "labels", "label", "segmentation", "segmentations"),
    *("segmentationclass", "segmentationclasspng", "gt", "ground_truth"),
)
_BESIDE = ("_masks", "_mask", "_labels", "_label", "_annotations", "annot")
_ENDINGS = ("", "_mask", "_masks", "_label", "_labels", "_gt", "_seg", "_segmentation", "_l", "-mask")
_VOC = "segmentationclass"


class Home(NamedTuple):
    """A folder of pictures and that of their masks, and the part that they are."""

    part: str | None
    pictures: Path
    masks: Path


def find_masks(root: Path) -> list[Home]:
    """The folders of pictures with those of their masks; none where there are no such."""
    homes = _pair(root, None)
    if homes and homes[0].part is None:
        pictures, masks = homes[0].pictures, homes[0].masks
        inside = {part_of(name): name for name in folders_in(pictures) if part_of(name)}
        below = {part_of(name): name for name in folders_in(masks) if part_of(name)}
        if inside and inside.keys() <= below.keys():
            homes = [Home(part, pictures / inside[part], masks / below[part]) for part in inside]
    if not homes:
        for name in folders_in(root):
            if part_of(name):
                homes += _pair(root / name, part_of(name)) or _beside(root, name)
    return [home for home in homes if _has_masks(home.masks)]


def read_masks(homes: Sequence[Home], root: Path, name: str, *, seed: int, problems: Problems) -> Splits:
    """The parts of such a data set. What is wrong goes to ``problems`` and is left out.

    Raises:
        DataError: no picture with a mask, or a file of classes that does not tell them.
    """
    pairs = [pair for home in homes for pair in _pairs(home, root, problems)]
    sizes = sizes_of([(pair.name, pair.picture) for pair in pairs], problems)
    looked = in_threads(lambda pair: look_at(pair.mask, pair.mask_name), pairs)
    good: list[tuple[_Pair, Looked]] = []
    for pair, seen in zip(pairs, looked, strict=True):
        if seen.reason:
            problems.add("annotation_mask", f"{pair.mask_name}: {seen.reason}")
        elif pair.name in sizes and seen.size != sizes[pair.name]:
            tall, wide = sizes[pair.name]
            said = f"{pair.mask_name}: {seen.size[1]} x {seen.size[0]} pixels, its picture {wide} x {tall}"
            problems.add("annotation_mask", said)
        elif pair.name in sizes:
            good.append((pair, seen))
    if not good:
        problems.refuse(name)
        raise DataError(f"{name}: no picture with a mask of the same name")
    colour = any(seen.colour for _, seen in good)
    good = _alike(good, colour)
    named = named_classes(root, voc=any(home.masks.name.lower() == _VOC for home in homes))
    decision = decide([seen.values for _, seen in good], colour, named)
    coding, classes = decision.coding, decision.classes
    numbers = dict(zip(coding.values, coding.numbers, strict=True))
    pictures = []
    for pair, seen in good:
        strange = [value for value in seen.values if value not in numbers]
        if strange:
            told = ", ".join(told_value(value, colour) for value in strange[:5])
            many_more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""
            said = f"{pair.mask_name}: {told}{many_more} beyond the {len(classes)} classes"
            problems.add("annotation_class", said)
            continue
        found = {numbers[value] for value in seen.values}
        shown = tuple(sorted(classes[number] for number in found if number < len(classes)))
        region = MaskFile(pair.mask, pair.mask_name, coding)
        pictures.append(Marked(pair.name, pair.picture, pair.part, shown, region=region))
    if not pictures:
        problems.refuse(name)
    splits = annotated_splits(name, classes, pictures, seed=seed, origin=f"masks, {decision.how}")
    return splits._replace(how=splits.how + _unmasked(problems))


class _Pair(NamedTuple):
    name: str
    picture: Path
    mask_name: str
    mask: Path
    part: str | None


def _pair(folder: Path, part: str | None) -> list[Home]:
    by_name = {name.lower(): folder / name for name in folders_in(folder)}
    pictures = next((by_name[name] for name in _PICTURES if name in by_name), None)
    masks = [by_name[name] for name in _MASKS if name in by_name and _has_masks(by_name[name])]
    return [Home(part, pictures, masks[0])] if pictures is not None and masks else []


def _beside(root: Path, name: str) -> list[Home]:
    masks = next((root / (name + ending) for ending in _BESIDE if (root / (name + ending)).is_dir()), None)
    return [] if masks is None else [Home(part_of(name), root / name, masks)]


def _has_masks(folder: Path) -> bool:
    return folder.is_dir() and bool(find_pictures(folder).pictures)


def _pairs(home: Home, root: Path, problems: Problems) -> list[_Pair]:
    """Pictures with their masks; a problem for what has no other half."""
    pictures, masks = (find_pictures(folder).pictures for folder in (home.pictures, home.masks))
    by_stem = {_stem(inside): inside for inside in pictures}
    if len(by_stem) < len(pictures):
        twice = sorted({str(one) for one in pictures} - {str(one) for one in by_stem.values()})
        problems.add(
            "annotation_duplicate", f"{_name(home.pictures / twice[0], root)}: two pictures of one name"
        )
    found: dict[str, _Pair] = {}
    for inside in masks:
        stem = next((stem for stem in _stems(_stem(inside)) if stem in by_stem), None)
        mask, mask_name = home.masks / inside, _name(home.masks / inside, root)
        if stem is None:
            problems.add("annotation_missing", f"{mask_name}: no picture of its name in {home.pictures.name}")
        elif stem in found:
            problems.add("annotation_duplicate", f"{mask_name}: {found[stem].name} has another mask")
        elif inside.suffix.lower() not in MASK_SUFFIXES:
            problems.add("annotation_mask", f"{mask_name}: {inside.suffix} changes values; save masks as PNG")
            found[stem] = _Pair("", Path(), mask_name, mask, home.part)
        else:
            picture = home.pictures / by_stem[stem]
            found[stem] = _Pair(_name(picture, root), picture, mask_name, mask, home.part)
    for stem in by_stem.keys() - found.keys():
        told = _name(home.pictures / by_stem[stem], root)
        problems.add("annotation_missing", f"{told}: no mask of its name in {home.masks.name}")
    ordered = sorted(found.values(), key=lambda pair: pair.mask_name)
    return [pair for pair in ordered if pair.name]


def _stem(inside: Path) -> str:
    return inside.with_suffix("").as_posix()


def _stems(stem: str) -> list[str]:
    """What the picture of a mask may be called."""
    endings = [ending for ending in _ENDINGS if stem.lower().endswith(ending)]
    return [stem[: len(stem) - len(ending)] for ending in endings]


def _name(path: Path, root: Path) -> str:
    return printable((path.relative_to(root) if path.is_relative_to(root) else path).as_posix())


def _alike(good: list[tuple[_Pair, Looked]], colour: bool) -> list[tuple[_Pair, Looked]]:
    """Where some masks are of colours, grey ones are of colours too."""
    if not colour:
        return good
    return [
        (
            pair,
            seen if seen.colour else seen._replace(values=tuple(value * 0x010101 for value in seen.values)),
        )
        for pair, seen in good
    ]


def _unmasked(problems: Problems) -> str:
    lacking = sum(problem.kind == "annotation_missing" for problem in problems.found)
    return f"; left out: {many(lacking, 'picture or mask')} without the other" if lacking else ""
