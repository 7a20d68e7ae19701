"""Tables of names that work in both directions."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.checkpoints.make import random_checkpoint
from vitreous.checkpoints.foreign import google, timm, torchvision, transformers
from vitreous.checkpoints.foreign.names import Names, expected_names, gather, scatter

TABLES = {
    "timm": timm.NAMES,
    "transformers": transformers.NAMES,
    "torchvision": torchvision.NAMES,
    "google": google.NAMES,
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


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"registers": 2, "layer_scale": 0.1, "pool": "mean", "pool_norm": True, "final_norm": False},
        {"stem": "conv", "head": "mlp", "class_token": False, "pool": "mean"},
        {"positions": "sincos1d", "classes": 0},
        {"positions": "none", "stem": "conv", "patch": 7, "image_size": (28, 28)},
    ],
)
def test_expected_names_are_those_of_the_model(options: dict[str, object]) -> None:
    model = random_checkpoint(**options).model
    assert set(expected_names(model.config)) == set(model.state_dict())
