"""SegFormer: the folded head against the paper's, and the same head on other backbones."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.testing import assert_close

from tests.parity.twins import randomise
from vitreous.errors import ConfigError
from vitreous.layers.mlp import DropChannels
from vitreous.models.accounting import account
from vitreous.models.catalog import build, configure
from vitreous.models.config import SegFormerConfig, family_of
from vitreous.models.layering import heads_of, layer_of, top_layer
from vitreous.models.segformer import AllMlpHead, SegFormer

NAMES = ("segformer_tiny", "segformer_vit_tiny", "segformer_swin_tiny")


def model(name: str, classes: int = 5) -> SegFormer:
    torch.manual_seed(0)
    built = randomise(build(configure(name, classes=classes)))
    assert isinstance(built, SegFormer)
    return built


def as_the_paper_writes_it(head: AllMlpHead, maps: tuple[Tensor, ...]) -> Tensor:
    """Project, enlarge, lay side by side, fuse, classify."""
    laid = []
    for grid, projection in zip(maps, head.projections, strict=True):
        projected = projection(grid.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        laid.append(interpolate(projected, size=maps[0].shape[-2:], mode="bilinear", align_corners=False))
    return head.classify(torch.relu(head.norm(head.fuse(torch.cat(laid[::-1], dim=1)))))


@pytest.mark.parametrize("name", NAMES)
def test_the_folded_head_is_the_papers(name: str) -> None:
    whole = model(name).double()
    maps = tuple(
        torch.randn(2, channels, 24 // 2**level, 20 // 2**level + level, dtype=torch.float64)
        for level, channels in enumerate(whole.config.map_widths)
    )
    assert_close(whole.head(maps), as_the_paper_writes_it(whole.head, maps))


@pytest.mark.parametrize("name", NAMES)
def test_cells_are_those_of_the_finest_map(name: str) -> None:
    whole = model(name)
    stride = whole.backbone.strides[0]
    for height, width in ((64, 64), (50, 37), (96, 64)):
        logits = whole(torch.randn(1, 3, height, width)).logits
        assert logits.shape == (1, 5, -(-height // stride), -(-width // stride))


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_many_sizes_answers_each_picture_as_alone(name: str) -> None:
    whole = model(name)
    sizes = ((64, 40), (33, 64), (64, 40), (20, 21))
    batch, valid = torch.randn(4, 3, 64, 64), torch.zeros(4, 64, 64, dtype=torch.bool)
    for index, (height, width) in enumerate(sizes):
        valid[index, :height, :width] = True
    with torch.no_grad():
        logits = whole(batch, valid).logits
        for index, (height, width) in enumerate(sizes):
            alone = whole(batch[index : index + 1, :, :height, :width]).logits[0]
            rows, cols = alone.shape[1:]
            assert_close(logits[index, :, :rows, :cols], alone, atol=1e-4, rtol=1e-4)
            assert not logits[index, :, rows:].any() and not logits[index, :, :, cols:].any()


@pytest.mark.parametrize("name", NAMES)
def test_features_are_the_mean_of_the_last_map(name: str) -> None:
    whole = model(name)
    images = torch.randn(2, 3, 64, 64)
    assert_close(whole.features(images), whole.backbone(images).maps[-1].mean((2, 3)))


@pytest.mark.parametrize(
    ("name", "published"),
    # arXiv:2105.15203, table 1: "GFLOPs" of 512 x 512 pixels, which are giga-MACs.
    [
        ("segformer_b0", 8.4),
        ("segformer_b1", 15.9),
        ("segformer_b2", 62.4),
        ("segformer_b3", 79.0),
        ("segformer_b4", 95.7),
    ],
)
def test_the_papers_cost_is_that_of_the_head_written_out(name: str, published: float) -> None:
    config = configure(name, classes=150)
    folded = account(config).macs
    places, width = [rows * cols for rows, cols in config.backbone.grids_at((512, 512))], config.decoder_width
    multiplied = sum(width * channels * width for channels in config.map_widths)
    written_out = folded - multiplied + places[0] * len(places) * width**2
    assert written_out / 1e9 == pytest.approx(published, rel=0.005)
    assert folded < 0.75 * written_out


def test_all_maps_of_swin_are_normalised() -> None:
    whole = model("segformer_swin_tiny")
    assert [norm.normalized_shape for norm in whole.map_norms] == [(32,), (64,)]
    assert not model("segformer_tiny").map_norms and not model("segformer_vit_tiny").map_norms


def test_channels_are_left_out_whole_and_only_in_training() -> None:
    torch.manual_seed(0)
    drop = DropChannels(0.5)
    grid = torch.ones(4, 32, 3, 3)
    seen = drop(grid)
    assert torch.equal(seen, seen[:, :, :1, :1].expand_as(seen))
    assert set(seen.unique().tolist()) == {0.0, 2.0}
    assert drop.eval()(grid) is grid
    # A part of the batch is left out as it is in the whole.
    torch.manual_seed(3)
    whole = drop.train()(grid)
    torch.manual_seed(3)
    drop.rows = (1, 3, 4)
    assert torch.equal(drop(grid[1:3]), whole[1:3])


def test_layers_are_counted_through_the_stages() -> None:
    whole = model("segformer_tiny")
    config = whole.config
    assert (top_layer(config), heads_of(config)) == (6, ("head",))
    found = {name: layer_of(name, config) for name, _ in whole.named_parameters()}
    assert found["backbone.stages.0.embed.projection.weight"] == 0
    assert found["backbone.stages.0.blocks.0.attention.queries.weight"] == 1
    assert found["backbone.stages.0.norm.weight"] == 1
    assert found["backbone.stages.1.embed.norm.bias"] == 1
    assert found["backbone.stages.2.blocks.1.attention.qkv.weight"] == 4
    assert found["backbone.stages.3.blocks.0.mlp.mix.weight"] == 5
    assert found["backbone.stages.3.norm.weight"] == found["head.fuse.weight"] == 6


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"classes": 0}, "classes must be 1 or more"),
        ({"decoder_width": 0}, "decoder_width must be 1 or more"),
        ({"decoder_dropout": 1.0}, "decoder_dropout is a share"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, float], reason: str) -> None:
    config = configure("segformer_tiny")
    assert isinstance(config, SegFormerConfig) and family_of(config) == "segformer"
    with pytest.raises(ConfigError, match=reason):
        replace(config, **change)
