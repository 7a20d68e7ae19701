"""Pictures read ahead: decoded and made ready in threads while somebody works on those before them."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from os import cpu_count

from torch import Tensor

from vitreous.data.collection import Sample
from vitreous.data.preprocess import Preprocess
from vitreous.errors import PictureError

THREADS = 8  # most of them; decoding gains little from more


def read_ahead(
    samples: Iterable[Sample], preprocess: Preprocess, *, ahead: int
) -> Iterator[tuple[Sample, Tensor | PictureError]]:
    """Samples -> (sample, view (C, h, w) or why there is none) in the same order, no further ahead than
    ``ahead`` pictures."""

    def view(sample: Sample) -> Tensor | PictureError:
        try:
            return preprocess(sample.open()).image
        except PictureError as error:
            return error

    with ThreadPoolExecutor(min(THREADS, cpu_count() or 1)) as pool:
        queue: deque[tuple[Sample, Future[Tensor | PictureError]]] = deque()
        for sample in samples:
            queue.append((sample, pool.submit(view, sample)))
            if len(queue) > ahead:
                first, future = queue.popleft()
                yield first, future.result()
        for first, future in queue:
            yield first, future.result()
