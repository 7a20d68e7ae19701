"""Every row of the ledger: read, compared at every size and precision, written back, bit for bit."""

from pathlib import Path

import pytest

from tests.checkpoints.make import same
from tests.parity.case import Case, compare
from tests.parity.cases import CASES
from tests.parity.twins import BOUND
from vitreous.checkpoints.destination import write_any
from vitreous.checkpoints.source import read_any


def ids(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_what_is_read_computes_the_same(case: Case, tmp_path: Path) -> None:
    twin = case.build(tmp_path / "theirs")
    ours = read_any(twin.path).model
    assert len(case.sizes) >= 3
    for dtype, bound in BOUND.items():
        ours.to(dtype)
        twin.model.to(dtype)
        for size in case.sizes:
            found = compare(case, ours, twin.forward, size)
            assert found.relative < bound, (dtype, size, found)


@pytest.mark.parametrize("case", [case for case in CASES if case.back is not None], ids=ids)
def test_what_is_written_computes_the_same_and_comes_back_bit_for_bit(case: Case, tmp_path: Path) -> None:
    checkpoint = read_any(case.build(tmp_path / "theirs").path)
    write_any(tmp_path / "back", checkpoint, case.layout or case.library)
    again = read_any(tmp_path / "back")
    assert again.model.config == checkpoint.model.config
    assert same(again.model, checkpoint.model)
    assert (again.classes, again.preprocess) == (checkpoint.classes, checkpoint.preprocess)
    assert case.back is not None
    model, forward = case.back(tmp_path / "back")
    for dtype, bound in BOUND.items():
        checkpoint.model.to(dtype)
        model.to(dtype)
        for size in case.sizes:
            found = compare(case, checkpoint.model, forward, size)
            assert found.relative < bound, (dtype, size, found)
