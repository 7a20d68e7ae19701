"""The ViT's equations, one by one, and its parts."""

import pytest
import torch
from torch.testing import assert_close

from vitreous.backbones.config import EncoderConfig, ViTConfig
from vitreous.backbones.vit import ViT, build_vit
from vitreous.errors import ConfigError
from vitreous.layers.mlp import LayerScale


def tiny(**changes: object) -> ViTConfig:
    values: dict[str, object] = {
        "encoder": EncoderConfig(width=16, mlp_width=32),
        "depth": 2,
        "heads": 2,
        "patch": 4,
        "image_size": (8, 12),
    }
    return ViTConfig(**{**values, **changes})  # type: ignore[arg-type]


def build(config: ViTConfig) -> ViT:
    torch.manual_seed(0)
    return build_vit(config).eval()


def test_equation_1_class_token_then_registers_then_patches_with_positions() -> None:
    vit = build(tiny(registers=2))
    images = torch.randn(1, 3, 8, 12)
    embed = vit.embed
    tokens = embed(images, embed.layout(images))
    table = embed.positions.table
    assert embed.class_token is not None and embed.registers is not None
    assert_close(tokens[:, :1], embed.class_token + table[:, :1])
    assert_close(tokens[:, 1:3], embed.registers)
    assert_close(tokens[:, 3:], embed.patches.flatten_and_project(images) + table[:, 1:])


def test_equations_2_to_4_two_residuals_a_block_and_a_final_norm() -> None:
    vit = build(tiny())
    images = torch.randn(2, 3, 8, 12)
    layout = vit.embed.layout(images)
    tokens = vit.embed(images, layout)
    for block in vit.encoder.blocks:
        tokens = tokens + block.attention(block.attention_norm(tokens), layout)
        tokens = tokens + block.mlp(block.mlp_norm(tokens))
    wanted, _ = layout.split(vit.norm(tokens))
    assert_close(vit(images).prefix, wanted)


def test_without_positions_the_order_of_patches_does_not_matter() -> None:
    images = torch.randn(1, 3, 8, 12)
    swapped = torch.cat([images[..., 4:], images[..., :4]], dim=-1)
    blind, placed = build(tiny(positions="none")), build(tiny())
    assert_close(blind(images).prefix, blind(swapped).prefix, atol=1e-5, rtol=1e-5)
    assert (placed(images).prefix - placed(swapped).prefix).abs().max() > 1e-3


def test_a_side_that_is_no_multiple_is_padded_and_every_pixel_counts() -> None:
    vit = build(tiny())
    images = torch.randn(1, 3, 9, 13)
    features = vit(images)
    assert features.maps[0].shape[-2:] == (3, 4)
    images[..., -1, -1] += 1
    assert not torch.equal(vit(images).prefix, features.prefix)


def test_one_channel_and_many() -> None:
    for channels in (1, 5):
        vit = build(tiny(channels=channels))
        assert vit(torch.randn(1, channels, 8, 12)).prefix.shape == (1, 1, 16)


def test_layer_scale_and_stochastic_depth_are_in_the_blocks() -> None:
    encoder = EncoderConfig(width=16, mlp_width=32, layer_scale=1e-4, drop_path=0.3)
    vit = build(tiny(encoder=encoder, depth=4))
    assert sum(isinstance(module, LayerScale) for module in vit.modules()) == 8
    rates = [block.drop_path.probability for block in vit.encoder.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"heads": 3}, "multiple of the heads"),
        ({"patch": 16}, "larger than the picture"),
        ({"encoder": EncoderConfig(width=18, mlp_width=32), "positions": "sincos2d"}, "divisible by 4"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        tiny(**changes)
    assert "\n" not in str(caught.value)


def test_edges_are_padded_or_left_out() -> None:
    images = torch.randn(1, 3, 11, 13)
    padded, cut = build(tiny()), build(tiny(cut_edges=True))
    assert padded(images).maps[0].shape == (1, 16, 3, 4)
    assert cut(images).maps[0].shape == (1, 16, 2, 3)
    assert_close(cut(images).maps[0], padded(images[..., :8, :12]).maps[0])
    assert tiny(cut_edges=True, image_size=(11, 13)).grid == (2, 3)
    with pytest.raises(ConfigError, match="convolutional stem pads edges"):
        tiny(cut_edges=True, stem="conv")
