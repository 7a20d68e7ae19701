"""A lack of memory is known for what it is, whoever tells of it, and nothing else is taken for one."""

import gc
import weakref

import pytest
import torch

from vitreous.errors import DataError, TrainingError
from vitreous.training.memory import first_line, is_out_of_memory, release, resident, told_plainly


def test_the_processors_own_words_are_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (MemoryError(), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"), True),
        (RuntimeError("could not create a memory object"), True),
        (RuntimeError("could not create a primitive"), True),
        (RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"), False),
        (ValueError("out of memory"), False),
        (DataError("out of memory.png: no such file"), False),
    ],
)
def test_errors_of_memory_are_told_from_others(error: Exception, short: bool) -> None:
    assert is_out_of_memory(error) is short


def test_a_shortage_outside_a_step_is_one_line_and_other_errors_pass() -> None:
    with pytest.raises(TrainingError, match=r"memory ran out.*--model"), told_plainly():
        torch.empty(2**50, dtype=torch.uint8)
    with pytest.raises(ZeroDivisionError), told_plainly():
        _ = 1 / 0
    with pytest.raises(DataError), told_plainly():
        raise DataError("x")


def test_an_error_is_told_by_its_first_line() -> None:
    assert first_line(RuntimeError("no room\nat line 3")) == "no room"
    assert first_line(MemoryError()) == "MemoryError"


def test_what_this_process_holds_grows_with_what_it_takes() -> None:
    before = resident()
    assert before is not None
    taken = torch.ones(2**24)
    now = resident()
    assert now is not None
    assert 0.9 * taken.nbytes < now - before < 1.5 * taken.nbytes


def test_released_is_what_only_a_cycle_held() -> None:
    class Held:
        pass

    one = Held()
    one.other = one  # type: ignore[attr-defined]
    seen = weakref.ref(one)
    gc.disable()
    try:
        del one
        assert seen() is not None
        release(torch.device("cpu"))
        assert seen() is None
    finally:
        gc.enable()
