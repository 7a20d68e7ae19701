"""Pictures read ahead: decoded and made ready in threads while somebody works on those before them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from os import cpu_count
from typing import TypeVar

from PIL import Image
from torch import Tensor

from vitreous.data.collection import Sample
from vitreous.data.preprocess import Preprocess
from vitreous.errors import PictureError

T = TypeVar("T")
THREADS = 8  # most of them; decoding gains little from more


def read_ahead(
    samples: Iterable[Sample], preprocess: Preprocess, *, ahead: int
) -> Iterator[tuple[Sample, Tensor | PictureError]]:
    """Samples -> (sample, view (C, h, w) or why there is none) in the same order, no further ahead than
    ``ahead`` pictures."""
    return prepare_ahead(samples, lambda picture: preprocess(picture).image, ahead=ahead)


def prepare_ahead(
    samples: Iterable[Sample], prepare: Callable[[Image.Image], T], *, ahead: int
) -> Iterator[tuple[Sample, T | PictureError]]:
    """``read_ahead`` of whatever ``prepare`` makes of a picture."""

    def made(sample: Sample) -> T | PictureError:
        try:
            return prepare(sample.open())
        except PictureError as error:
            return error

    with ThreadPoolExecutor(min(THREADS, cpu_count() or 1)) as pool:
        queue: deque[tuple[Sample, Future[T | PictureError]]] = deque()
        for sample in samples:
            queue.append((sample, pool.submit(made, sample)))
            if len(queue) > ahead:
                first, future = queue.popleft()
                yield first, future.result()
        for first, future in queue:
            yield first, future.result()
