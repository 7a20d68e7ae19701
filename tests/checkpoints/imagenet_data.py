"""Makes the lists of ImageNet's classes that vitreous ships, from torchvision and timm as installed:

    python -m tests.checkpoints.imagenet_data

The test beside it holds the shipped files against what is made here.
"""

import csv
import gzip
from collections import Counter
from importlib.resources import files
from pathlib import Path

SHIPPED = Path(__file__).parents[2] / "src" / "vitreous" / "checkpoints"

HEADER_1K = """\
# The 1000 classes of ILSVRC-2012 in the order that classifiers have them: WordNet id, name, words.
# Ids and their order: timm 1.0 (data/_info/imagenet_synsets.txt). Names: torchvision 0.29, metadata of its
# weights ("categories"). Words: those of the synset in WordNet 3.0 (Princeton University), as timm has them.
"""
HEADER_21K = """\
# The 21,843 classes of ImageNet-21k in Google's order, which is that of the WordNet ids: id, name.
# Ids: timm 1.0 (data/_info/imagenet21k_goog_synsets.txt). Names: the first word of the synset in WordNet 3.0
# (Princeton University), as timm has them; where several share it, the id follows in brackets.
"""


def lines_1k() -> list[str]:
    """Id, name and words of every class."""
    from torchvision.models import ResNet50_Weights

    names = ResNet50_Weights.IMAGENET1K_V2.meta["categories"]
    words = _words()
    return [f"{key}\t{name}\t{words[key]}" for key, name in zip(ids("imagenet"), names, strict=True)]


def lines_21k() -> list[str]:
    """Id and name of every class."""
    words = _words()
    keys = ids("imagenet21k_goog")
    first = {key: words[key].split(",")[0].strip() for key in keys}
    shared = Counter(first.values())
    return [f"{key}\t{first[key]}" + (f" ({key})" if shared[first[key]] > 1 else "") for key in keys]


def ids(subset: str) -> list[str]:
    """The WordNet ids of one of timm's lists, in its order."""
    return _read(f"{subset}_synsets.txt").split()


def _words() -> dict[str, str]:
    return dict(csv.reader(_read("imagenet_synset_to_lemma.txt").splitlines(), delimiter="\t"))


def _read(name: str) -> str:
    return (files("timm.data") / "_info" / name).read_text(encoding="utf-8")


def main() -> None:
    """Write both files."""
    text = HEADER_1K + "\n".join(lines_1k()) + "\n"
    (SHIPPED / "imagenet_1k.tsv").write_text(text, encoding="utf-8", newline="\n")
    packed = gzip.compress((HEADER_21K + "\n".join(lines_21k()) + "\n").encode(), compresslevel=9, mtime=0)
    (SHIPPED / "imagenet_21k.tsv.gz").write_bytes(packed)


if __name__ == "__main__":
    main()
