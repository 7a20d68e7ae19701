"""Cutting and projecting: exact inverses, two forms of one product, edges padded or left out."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from vitreous.layers.geometry import grid_of, stem_convolutions
from vitreous.layers.patches import ConvStem, PatchTokens, pad_to_patches, patchify, unpatchify

small = st.integers(1, 4)


@given(batch=small, channels=small, rows=small, cols=small, patch=st.integers(1, 5))
def test_unpatchify_is_the_exact_inverse(batch: int, channels: int, rows: int, cols: int, patch: int) -> None:
    images = torch.randn(batch, channels, rows * patch, cols * patch)
    patches = patchify(images, patch)
    assert patches.shape == (batch, rows * cols, channels * patch * patch)
    assert torch.equal(unpatchify(patches, patch, rows, cols), images)


def test_patches_come_row_by_row_and_channel_first() -> None:
    images = torch.arange(2 * 4 * 6).reshape(1, 2, 4, 6)
    patches = patchify(images, 2)
    assert patches.shape == (1, 6, 8)
    assert patches[0, 4].tolist() == images[0, :, 2:4, 2:4].flatten().tolist()


def test_convolution_and_flatten_and_project_are_the_same_weights() -> None:
    tokens = PatchTokens(channels=3, width=24, patch=4)
    images = torch.randn(2, 3, 12, 21)
    assert_close(tokens(images), tokens.flatten_and_project(images), atol=1e-5, rtol=1e-5)


@given(height=st.integers(1, 20), width=st.integers(1, 20), patch=st.integers(1, 7))
def test_padding_adds_only_zeros_below_and_right(height: int, width: int, patch: int) -> None:
    images = torch.randn(1, 1, height, width)
    padded = pad_to_patches(images, patch)
    rows, cols = grid_of(height, width, patch)
    assert padded.shape == (1, 1, rows * patch, cols * patch)
    assert torch.equal(padded[..., :height, :width], images)
    assert padded.count_nonzero() == images.count_nonzero()


@given(height=st.integers(4, 20), width=st.integers(4, 20))
def test_edges_that_are_left_out_change_nothing(height: int, width: int) -> None:
    tokens = PatchTokens(channels=2, width=8, patch=4, cut_edges=True)
    images = torch.randn(1, 2, height, width)
    whole = images[..., : height // 4 * 4, : width // 4 * 4]
    assert torch.equal(tokens(images), tokens(whole))
    assert_close(tokens.flatten_and_project(images), tokens(images), atol=1e-5, rtol=1e-5)


def test_stem_gives_the_grid_of_the_patch_it_replaces() -> None:
    for patch in (1, 2, 8, 12, 14, 16, 32):
        images = torch.randn(1, 3, 2 * patch + 1, 3 * patch)
        tokens = ConvStem(channels=3, width=32, patch=patch)(images)
        assert tokens.shape == (1, 3 * 3, 32)


def test_stem_strides_multiply_to_the_patch() -> None:
    for patch in range(1, 40):
        product = 1
        for convolution in stem_convolutions(3, 64, patch):
            product *= convolution.stride
        assert product == patch


def test_stem_channels_double_from_the_first_up_to_the_width() -> None:
    def outs(first: int | None) -> list[int]:
        return [part.out for part in stem_convolutions(3, 64, 8, first)]

    assert outs(32) == [32, 64, 64, 64]
    assert outs(16) == [16, 32, 64, 64]
    assert outs(100) == [64, 64, 64, 64]
    assert outs(None) == [8, 16, 32, 64]


def test_one_picture_never_changes_another_in_the_stem() -> None:
    stem = ConvStem(channels=3, width=16, patch=4).train()
    images = torch.randn(3, 3, 8, 8)
    assert_close(stem(images)[1:], stem(images[1:]), atol=1e-6, rtol=1e-6)
