"""Where ``vitreous predict`` keeps what it found: pictures with it drawn on them, maps, or COCO's results.

All names are given out and looked at before the first picture is: no two pictures share one, no picture that
is to be looked at is written over, and no file that vitreous has not made.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from vitreous.cli.files import refuse_strange, write_result
from vitreous.errors import InputError, StorageError

if TYPE_CHECKING:
    from PIL.Image import Image

    from vitreous.data.collection import Sample
    from vitreous.models.config import Says
    from vitreous.predictor import ObjectsAnswer, RegionsAnswer
    from vitreous.predictor.coco import Ids

RESULTS = ".json"
LEAST = 480  # pixels of the longer side, below which a picture is enlarged so that names can be read
LONGEST = 100  # marks of a name, so that with what is put behind it no disk refuses it


class Kept(Protocol):
    """A place for answers."""

    def keep(self, place: int, sample: "Sample", answer: "ObjectsAnswer | RegionsAnswer") -> list[Path]:
        """Take the answer to picture number ``place``; what was written of it. PictureError where the picture
        is to be read again, and cannot be."""
        ...

    def close(self) -> list[Path]:
        """What is left is written; which files these are, of folders the folder itself."""
        ...


def check_place(output: Path) -> None:
    """InputError unless ``output`` may be a folder of pictures, or a file of results."""
    if output.suffix.lower() == RESULTS:
        if output.is_dir():
            raise InputError(f"{output}: a folder; wanted the name of a {RESULTS} file")
        return
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: a file; wanted a folder for pictures, or the name of a {RESULTS} file")
    if output.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp", ".svg", ".csv", ".txt"):
        raise InputError(f"{output}: wanted a folder for pictures, or a name that ends in {RESULTS}")


class DrawnPictures:
    """A folder with NAME.png for each picture, and NAME.index.png where each pixel has a class."""

    def __init__(
        self, folder: Path, samples: Sequence["Sample"], says: "Says", classes: Sequence[str]
    ) -> None:
        self.folder = folder
        self.classes = tuple(classes)
        kinds = (".png", ".index.png") if says == "regions" else (".png",)
        self.names = [[folder / f"{stem}{kind}" for kind in kinds] for stem in _stems(samples, kinds)]
        self.written = False
        _check_free([path for paths in self.names for path in paths], samples)

    def keep(self, place: int, sample: "Sample", answer: "ObjectsAnswer | RegionsAnswer") -> list[Path]:
        """Draw what was found, and write it."""
        from vitreous.data.drawing import Marks, draw_objects, draw_region
        from vitreous.predictor import ObjectsAnswer
        from vitreous.report.raster import png_bytes

        picture = sample.open()
        if isinstance(answer, ObjectsAnswer):
            marks = Marks(answer.boxes, answer.indices.tolist(), answer.scores.tolist())
            drawn = [draw_objects(picture, marks, self.classes, least=LEAST)]
        else:
            region = answer.region
            drawn = [draw_region(picture, region, self.classes, least=LEAST), _map_of(answer)]
        for path, image in zip(self.names[place], drawn, strict=True):
            write_result(path, png_bytes(image, small=False))
        self.written = True
        return self.names[place]

    def close(self) -> list[Path]:
        """The folder, if something is in it."""
        return [self.folder] if self.written else []


class CocoFiles:
    """NAME.json with COCO's results, and NAME.images.json with the pictures and classes of their ids, which
    are those of the data set in the file ``ids`` if there is one."""

    def __init__(
        self, path: Path, samples: Sequence["Sample"], classes: Sequence[str], ids: Path | None = None
    ) -> None:
        from vitreous.predictor.coco import CocoResults

        self.path = path
        self.beside = path.with_name(f"{path.stem}.images{RESULTS}")
        if ids is not None and ids.resolve() in (self.path.resolve(), self.beside.resolve()):
            raise InputError(f"{ids}: the data set itself would be overwritten; give another --output")
        known = None if ids is None else read_ids(ids)
        self.results = CocoResults(classes, known)
        _check_free([self.path, self.beside], samples)
        self.numbers = [
            place if known is None else known.image(sample.name)
            for place, sample in enumerate(samples, start=1)
        ]

    def keep(self, place: int, sample: "Sample", answer: "ObjectsAnswer | RegionsAnswer") -> list[Path]:
        """Add an answer; nothing is written yet."""
        self.results.add(sample.name, self.numbers[place], answer)
        return []

    def close(self) -> list[Path]:
        """Write both files."""
        rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in self.results.rows)
        write_result(self.path, f"[{rows}]\n")
        write_result(self.beside, json.dumps(self.results.dataset(), ensure_ascii=False) + "\n")
        return [self.path, self.beside]


def read_ids(path: Path) -> "Ids":
    """The ids of a COCO data set in a file. InputError where it is none."""
    from vitreous.predictor.coco import Ids

    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no JSON"
        raise InputError(f"{path}: cannot be read ({reason}); wanted a COCO data set") from error
    return Ids.of(values, str(path))


def _stems(samples: Sequence["Sample"], kinds: Sequence[str]) -> list[str]:
    """A name for each picture: its own without suffix, and a number where it is taken. Disks that tell no
    capitals from small letters see no two alike either."""
    taken: set[str] = set()
    found = []
    for sample in samples:
        own = Path(sample.name).stem[:LONGEST] or "picture"
        stem, number = own, 1
        while any(f"{stem}{kind}".casefold() in taken for kind in kinds):
            number += 1
            stem = f"{own}-{number}"
        taken.update(f"{stem}{kind}".casefold() for kind in kinds)
        found.append(stem)
    return found


def _check_free(paths: Sequence[Path], samples: Sequence["Sample"]) -> None:
    """InputError where a file is a picture that is to be looked at, or none of ours; StorageError where the
    place cannot be looked at."""
    try:
        own = {sample.source.resolve() for sample in samples if isinstance(sample.source, Path)}
        for path in paths:
            if path.exists() and path.resolve() in own:
                raise InputError(f"{path}: the picture itself would be overwritten; give another --output")
            refuse_strange(path)
    except (OSError, ValueError) as error:
        raise StorageError(f"--output cannot be looked at ({error})") from error


def _map_of(answer: "RegionsAnswer") -> "Image":
    """The class of each pixel as a picture: 8 bits with the classes' colours, or 16 bits of grey."""
    import numpy as np
    from PIL import Image

    from vitreous.data.annotation import ignored_of
    from vitreous.data.drawing import palette

    image = Image.fromarray(np.ascontiguousarray(answer.region))
    if answer.region.dtype == np.uint8:
        image.putpalette(palette(len(answer.names), ignored_of(len(answer.names))))
    return image
