"""Tables of names that work in both directions."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vitreous.checkpoints.foreign import facebookresearch_mae, google
from vitreous.checkpoints.foreign.names import ZERO, Names, gather, prefixed, scatter
from vitreous.checkpoints.foreign.timm import vit as timm
from vitreous.checkpoints.foreign.torchvision import vit as torchvision
from vitreous.checkpoints.foreign.transformers import mae as transformers_mae
from vitreous.checkpoints.foreign.transformers import vit as transformers

TABLES = {
    "timm": timm.NAMES,
    "transformers": transformers.NAMES,
    "torchvision": torchvision.NAMES,
    "google": google.NAMES,
    "transformers, decoder": transformers_mae.DECODER,
    "transformers, decoder of today": transformers_mae.PRESENT,
    "facebookresearch, decoder": facebookresearch_mae.DECODER,
}


@pytest.mark.parametrize("layout", TABLES)
@given(depth=st.integers(1, 40))
def test_no_two_of_ours_are_one_of_theirs(layout: str, depth: int) -> None:
    table = TABLES[layout].table(depth)
    theirs = [name for names in table.values() for name in names]
    assert len(theirs) == len(set(theirs))
    assert TABLES[layout].depth(theirs) == depth
    assert TABLES[layout].depth(["something.else.12.weight"]) == 0


@given(rows=st.integers(1, 6), parts=st.integers(1, 3))
def test_there_and_back(rows: int, parts: int) -> None:
    table = {"ours": tuple(f"part{index}" for index in range(parts))}
    tensors = {"ours": torch.randn(rows * parts, 2)}
    back = gather(table, scatter(table, tensors))
    assert torch.equal(back["ours"], tensors["ours"])


def test_what_is_there_in_part_is_left_out() -> None:
    assert gather({"ours": ("a", "b")}, {"a": torch.zeros(1)}) == {}


def test_block_numbers_are_whole() -> None:
    names = Names(outside={}, block="blocks.{}", inside={})
    assert names.depth(["blocks.3.x", "blocks.12.y", "xblocks.40.y", "blocks.x.y", "blocks.7"]) == 13


def test_a_part_without_a_tensor_of_theirs_is_read_as_zeros_and_not_written() -> None:
    table = {"bias": ("q", ZERO, "v")}
    joined = gather(table, {"q": torch.ones(2), "v": torch.full((2,), 3.0)})["bias"]
    assert joined.tolist() == [1, 1, 0, 0, 3, 3]
    assert {name: part.tolist() for name, part in scatter(table, {"bias": joined}).items()} == {
        "q": [1, 1],
        "v": [3, 3],
    }


def test_a_prefix_stands_ahead_of_every_name_but_that_of_no_tensor() -> None:
    table = {"bias": ("q", ZERO, "v"), "weight": ("qkv",)}
    assert prefixed(table, "vit.") == {"bias": ("vit.q", ZERO, "vit.v"), "weight": ("vit.qkv",)}
    assert prefixed(table, "") == table
