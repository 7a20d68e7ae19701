"""How much memory a process holds; what a lack of it looks like, and what is said where fewer pictures at a
time do not help."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from vitreous.errors import TrainingError, VitreousError

# Parts of what torch and its libraries say in a plain RuntimeError; a graphics card's own kind is known by
# its type.
_SAID = (
    *("allocate memory", "bad_alloc", "out of memory", "_ALLOC_FAILED"),
    *("could not create a memory object", "could not create a primitive"),  # oneDNN's
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has run out: Python's, the processor's, or a graphics card's."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(part in str(error) for part in _SAID)


def first_line(error: BaseException) -> str:
    """What an error says, the beginning of it; its type where it says nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def release(device: torch.device) -> None:
    """Let go of all that nothing refers to any more. Call it where no error is being handled: an error holds
    the frames that it came through, and they the tensors."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:  # glibc keeps what was freed, most of it in one piece, for itself
        trim(0)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


@contextmanager
def told_plainly() -> Iterator[None]:
    """A lack of memory that comes out of this is a TrainingError of one line."""
    try:
        yield
    except VitreousError:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(
            "memory ran out, and not for the pictures of a step: weights, their gradients, two moments and"
            " up to three copies must fit; wanted a smaller --model, average=0 (two copies fewer), or a"
            " machine with more"
        ) from error


def resident() -> int | None:
    """Bytes of memory that this process holds now; None where the system does not say."""
    try:
        from os import sysconf

        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except (ImportError, OSError, IndexError):  # Windows has none of it
        return None
    return int(pages) * sysconf("SC_PAGE_SIZE")
