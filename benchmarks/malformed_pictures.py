"""How the decoder answers odd, hostile and malformed pictures.

    python -m benchmarks.malformed_pictures

Each picture of ``tests/data/pictures.py`` has to give exactly the pixels that were written down for
it, or a refusal with its reason, in under two seconds. Pillow alone, asked the same, is the negative
control: the pictures it gets wrong show that the test can fail. Exit code 1 unless all are right.
"""

import logging
import resource
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from io import BytesIO

from PIL import Image, UnidentifiedImageError
from tests.data.pictures import Case, cases, judge

from vitreous.data.images import open_picture
from vitreous.errors import PictureError


def by_vitreous(data: bytes, name: str) -> Image.Image:
    """The decoder that is judged."""
    return open_picture(data, name=name)


def by_pillow(data: bytes, name: str) -> Image.Image:
    """What most scripts do. Any error counts as a refusal with the right reason."""
    try:
        return Image.open(BytesIO(data)).convert("RGB")
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
        reasons = {case.name: case.reason for case in cases_once}
        raise PictureError(name, reasons[name] or str(error)) from error


def run(pictures: list[Case], decode: Callable[[bytes, str], Image.Image]) -> list[str]:
    """Print the count and return what went wrong, one line for each picture."""
    outcomes: Counter[str] = Counter()
    wrong = []
    slowest = 0.0
    for case in pictures:
        start = time.perf_counter()
        outcome = judge(case, decode)
        slowest = max(slowest, time.perf_counter() - start)
        outcomes[outcome.split(":")[0]] += 1
        if outcome.startswith("wrong"):
            wrong.append(f"{case.name}: {outcome}")
    right = outcomes["exact"] + outcomes["refused"]
    print(
        f"{right} of {len(pictures)}: {outcomes['exact']} exact pixels,"
        f" {outcomes['refused']} named refusals, {outcomes['wrong']} wrong;"
        f" slowest {slowest * 1000:.0f} ms"
    )
    return wrong


if __name__ == "__main__":
    logging.disable()
    warnings.simplefilter("ignore")
    cases_once = cases()
    print(f"vitreous, {len(cases_once)} malformed or odd pictures")
    failures = run(cases_once, by_vitreous)
    print("\n".join(failures), end="\n" if failures else "")
    print(f"most memory held: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    print("negative control: Pillow alone, any error counted as the right refusal")
    unnoticed = run(cases_once, by_pillow)
    sys.exit(bool(failures) or not unnoticed)
