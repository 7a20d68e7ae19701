"""Draw what a detector finds and a segmenter tells of four held-out scenes: docs/pictures/found.jpg.

    python examples/found.py DETECTOR SEGMENTER [DEST]

Both are runs on the embedded scenes: of ``python -m benchmarks.detection --rows boxes --output FOLDER`` and
``python -m benchmarks.segmentation --rows segformer --output FOLDER``, for two.
"""

import sys
from pathlib import Path

from PIL import Image

from vitreous.data.drawing import Marks, draw_objects, draw_region
from vitreous.data.folder import read_data
from vitreous.predictor import ObjectsAnswer, RegionsAnswer, load

SCENES = (0, 1, 3, 7)  # of the test part
SIDE, GAP = 256, 4  # pixels


def main(detector: str, segmenter: str, dest: Path) -> None:
    """Write the picture: boxes above, classes of pixels below."""
    finds, tells = load(detector, device="cpu"), load(segmenter, device="cpu")
    test = read_data("scenes:detection").test
    if test is None:
        raise SystemExit("the embedded scenes have a test part")
    sheet = Image.new("RGB", (len(SCENES) * (SIDE + GAP) - GAP, 2 * SIDE + GAP), "white")
    for place, number in enumerate(SCENES):
        picture = test.open(number)
        found, told = finds(picture), tells(picture)
        if not isinstance(found, ObjectsAnswer) or not isinstance(told, RegionsAnswer):
            raise SystemExit("wanted a run of a detector and one of a segmenter")
        marks = Marks(found.boxes, found.indices.tolist(), found.scores.tolist())
        drawn = (
            draw_objects(picture, marks, finds.classes, least=2 * SIDE),
            draw_region(picture, told.region, tells.classes, least=2 * SIDE),
        )
        for row, image in enumerate(drawn):
            small = image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            sheet.paste(small, (place * (SIDE + GAP), row * (SIDE + GAP)))
    sheet.save(dest, quality=86, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3] if len(sys.argv) > 3 else "docs/pictures/found.jpg"))
