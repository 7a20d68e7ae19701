"""What the classes of ImageNet are called, in the orders that published classifiers have them.

A WordNet id ("n01440764") names a class for good; names are what people read. Three lists:

- ImageNet-1k: the 1000 classes of ILSVRC-2012; everybody has them in this order.
- ImageNet-21k: Google's 21,843 classes (BiT, ViT, AugReg), in the order of their ids.
- ImageNet-22k: the 21,841 of them that the release of autumn 2011 has pictures of, in the order of their
  ids: what a folder for each class comes to (BEiT).

Swin has 21,841 classes as well, but its makers' own map from them to the 1000 (data/map22kto1k.txt) counts
as in the longer list, which goes on to 21,843: its order is not certain. FocalNet's 21,842 are in no list.

The two files beside this module say where ids and names are from; they are read when somebody asks.
"""

import gzip
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

WORDNET_ID = re.compile(r"n\d{8}")
WITHOUT_PICTURES = frozenset({"n03931044", "n09859684"})  # Google's list has them, the release has not
SOURCES: Mapping[str, str] = {
    "ImageNet-1k": "names: torchvision's weights metadata; WordNet ids: timm's imagenet_synsets.txt",
    "ImageNet-21k": "WordNet 3.0 in the order of timm's imagenet21k_goog_synsets.txt",
    "ImageNet-22k": "WordNet 3.0 in the order of timm's imagenet22k_synsets.txt",
}
COUNTS: Mapping[int, str] = {1000: "ImageNet-1k", 21_843: "ImageNet-21k", 21_841: "ImageNet-22k"}


class ClassList(NamedTuple):
    """The classes of one list in its order: ``ids`` of WordNet, ``names``, and the first ``words`` of the
    synsets, by which other libraries call them; only ids and names are unique."""

    title: str
    ids: tuple[str, ...]
    names: tuple[str, ...]
    words: tuple[str, ...]


@cache
def class_list(title: str) -> ClassList:
    """One of the lists that ``SOURCES`` has. KeyError for another."""
    name = {"ImageNet-1k": "imagenet_1k.tsv", "ImageNet-21k": "imagenet_21k.tsv.gz"}.get(title)
    if name is None:
        whole = class_list({"ImageNet-22k": "ImageNet-21k"}[title])
        columns = zip(*whole[1:], strict=True)
        kept = [row for row in columns if row[0] not in WITHOUT_PICTURES]
        ids, names, words = zip(*kept, strict=True)
        return ClassList(title, ids, names, words)
    packed = files("vitreous.checkpoints").joinpath(name).read_bytes()
    text = (gzip.decompress(packed) if name.endswith(".gz") else packed).decode()
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    return ClassList(
        title,
        tuple(row[0] for row in rows),
        tuple(row[1] for row in rows),
        tuple(_first_word(row[-1]) for row in rows),
    )


def recognised(classes: Sequence[str]) -> ClassList | None:
    """The list that these are the classes of, all of them and in its order; None for other classes.

    Each may be called by its id, by its name, or by the words of its synset ("tench, Tinca tinca").
    """
    title = COUNTS.get(len(classes))
    if title is None:
        return None
    found = class_list(title)
    same = all(
        name in (key, own) or _first_word(name) in (own, word)
        for name, key, own, word in zip(classes, *found[1:], strict=True)
    )
    return found if same else None


def places(wanted: Sequence[str], classes: Sequence[str]) -> tuple[int | None, ...]:
    """Where each of the wanted classes stands among a model's, told by WordNet ids.

    Either may be called by ids or by names. None is for what no id is known of, for what the model does
    not have, and for a name that the model has twice ("crane" the bird and the machine).
    """
    ids = _ids(classes)
    place = {key: index for index, key in enumerate(ids) if key is not None}
    full, counts = recognised(classes), Counter(classes)
    spoken = dict(zip(full.names, full.ids, strict=True)) if full is not None else {}
    spoken |= {name: key for name, key in zip(classes, ids, strict=True) if key is not None}
    found = [spoken.get(name, key) for name, key in zip(wanted, _ids(wanted), strict=True)]
    return tuple(
        None if key is None or counts[name] > 1 else place.get(key)
        for name, key in zip(wanted, found, strict=True)
    )


def _ids(classes: Sequence[str]) -> Sequence[str | None]:
    """The WordNet id of every class; None for those that are called something else."""
    full = recognised(classes)
    if full is not None:
        return full.ids
    if all(WORDNET_ID.fullmatch(name) for name in classes):
        return classes
    short = class_list("ImageNet-1k")
    named = dict(zip(short.names, short.ids, strict=True))
    return [name if WORDNET_ID.fullmatch(name) else named.get(name) for name in classes]


def _first_word(words: str) -> str:
    """ "tench, Tinca tinca" -> "tench", and "crane (n02012849)" -> "crane"."""
    return re.sub(r" \(n\d{8}\)$", "", words.split(",")[0].strip())
