"""The layers of a path have the geometry of the modules that they stand for: who can see whom is who has an
influence on whom, by autograd."""

import pytest
import torch
from torch import Tensor, nn

from vitreous.backbones.mix_transformer import OverlappingPatches
from vitreous.backbones.swin import Merging
from vitreous.explain.carrying import Layer
from vitreous.explain.paths import merging, path_of, reduced_attention, self_attention, window_attention
from vitreous.explain.recording import Record, recording
from vitreous.layers.attention import Attention
from vitreous.layers.layout import Layout
from vitreous.layers.reduced_attention import ReducedAttention
from vitreous.layers.windows import Windowed

from .dense_models import DECODERS, SEGMENTERS, dense, picture_of

WIDTH = 8


def matrix_of(layer: Layer) -> Tensor:
    """(M, N), what ``gather`` multiplies by."""
    columns = torch.eye(layer.tokens, dtype=torch.float64)
    return torch.stack([layer.gather(column) for column in columns], dim=1)


def seen(module: nn.Module, layout: Layout, record: Record) -> tuple[Tensor, Tensor]:
    """(M, N) bool, whose tokens the output of a module depends on; and any gradient of what was recorded
    that makes all attention speak for the score."""
    tokens = torch.randn(layout.patches, WIDTH, generator=torch.Generator().manual_seed(2)).double()
    influence = torch.autograd.functional.jacobian(lambda part: module(part[None], layout)[0], tokens)
    for recorded in record.layers:
        recorded.values = torch.ones_like(recorded.values)
    return influence.abs().amax(dim=(1, 3)) > 1e-20, torch.ones_like(record.layers[-1].output)


@pytest.mark.parametrize("sides", [(8, 8), (6, 10), (5, 7), (3, 2)])
@pytest.mark.parametrize("by", [(0, 0), (2, 2)])
def test_windows_shifted_and_padded(sides: tuple[int, int], by: tuple[int, int]) -> None:
    torch.manual_seed(0)
    module = Windowed(Attention(WIDTH, 2), (4, 4), by).double()
    layout = Layout(0, *sides)
    with recording(module) as record:
        wanted, gradient = seen(module, layout, record)
    found = matrix_of(window_attention(module, record, lambda _: gradient, layout))
    assert torch.equal(found > 1e-20, wanted)
    assert (
        found.sum(dim=1) <= 4 + 1e-6
    ).all()  # d = 4 ones times weights that sum to 1, less what padding had


@pytest.mark.parametrize("sides", [(8, 8), (7, 9), (3, 2), (1, 5)])
def test_keys_of_a_coarser_grid(sides: tuple[int, int]) -> None:
    torch.manual_seed(0)
    module = ReducedAttention(WIDTH, 2, 4, 1e-5).double()
    layout = Layout(0, *sides)
    with recording(module) as record:
        wanted, gradient = seen(module, layout, record)
    found = matrix_of(reduced_attention(module, record, lambda _: gradient, layout))
    everybody = torch.zeros(layout.patches, dtype=torch.bool)
    covered = tuple(max(4, side // 4 * 4) for side in sides)
    for row in range(min(sides[0], covered[0])):
        everybody[row * sides[1] : row * sides[1] + min(sides[1], covered[1])] = True
    assert torch.equal(found > 0, everybody.expand(layout.patches, -1))
    # A token's own query counts too, if there is a choice, which is what the residual stands for.
    own = torch.eye(layout.patches).bool() & (covered != (4, 4))
    assert torch.equal(wanted, everybody.expand(layout.patches, -1) | own)
    assert torch.allclose(found.sum(dim=1), torch.full((layout.patches,), 4.0).double())


@pytest.mark.parametrize("sides", [(8, 8), (7, 5), (1, 3)])
def test_merging_of_four_neighbours(sides: tuple[int, int]) -> None:
    module, layout = Merging(WIDTH, 1e-5).double(), Layout(0, *sides)
    tokens = torch.randn(layout.patches, WIDTH).double()
    influence = torch.autograd.functional.jacobian(lambda part: module(part[None], layout)[0][0], tokens)
    found = matrix_of(merging(layout, kernel=2, step=2, padding=0))
    assert torch.equal(found > 0, influence.abs().amax(dim=(1, 3)) > 1e-12)
    assert torch.allclose(found.sum(dim=1), torch.ones(1).double())


@pytest.mark.parametrize(("sides", "kernel", "step"), [((8, 8), 3, 2), ((7, 5), 3, 2), ((9, 6), 7, 4)])
def test_merging_of_patches_that_overlap(sides: tuple[int, int], kernel: int, step: int) -> None:
    torch.manual_seed(0)
    module, layout = OverlappingPatches(WIDTH, WIDTH, kernel, step, 1e-5).double(), Layout(0, *sides)
    grid = torch.randn(WIDTH, *sides).double()
    influence = torch.autograd.functional.jacobian(lambda part: module(part[None])[0][0], grid)
    found = matrix_of(merging(layout, kernel=kernel, step=step, padding=kernel // 2))
    assert torch.equal(found > 0, influence.abs().amax(dim=(1, 2)).flatten(1) > 1e-12)
    assert torch.allclose(found.sum(dim=1), torch.ones(1).double())


def test_the_prefix_takes_no_part_where_only_cells_consult_one_another() -> None:
    module = Attention(WIDTH, 2).double()
    with recording(module) as record:
        module(torch.randn(1, 6, WIDTH).double(), Layout(0, 2, 3))
    layer = self_attention(module, record, lambda _: torch.randn(1, 2, 6, 4).double(), prefix=2)
    found = matrix_of(layer)
    assert found.shape == (8, 8) and (found[:2] == 0).all() and (found[:, :2] == 0).all()
    assert (found[2:, 2:] > 0).any()


@pytest.mark.parametrize("size", [(64, 64), (50, 37)])
@pytest.mark.parametrize("name", [*DECODERS, *SEGMENTERS])
def test_a_path_ends_at_every_map_of_the_backbone(name: str, size: tuple[int, int]) -> None:
    model = dense(name)
    images = picture_of(model) if name == "beit_tiny_upernet" else torch.randn(1, 3, *size)
    with torch.no_grad(), recording(model) as record:
        maps = model.backbone(images).maps
    outputs = {id(recorded.mix): torch.zeros_like(recorded.output) for recorded in record.layers}
    path = path_of(
        model,
        images.shape[-2:],
        record,
        lambda part: outputs[id(part.mix if hasattr(part, "mix") else part.attention.mix)],
    )
    tokens = torch.rand(path.layout.tokens)
    for number, layer in enumerate(path.layers, start=1):
        tokens = layer.after(tokens)
        for end, grid in zip(path.maps, maps[-len(path.maps) :], strict=True):
            if end == number:
                assert len(tokens) == path.layout.prefix + grid.shape[-2] * grid.shape[-1]
    assert path.maps[-1] == len(path.layers)
    if "resnet" in name:
        assert not path.layers and (path.layout.rows, path.layout.cols) == maps[-1].shape[-2:]
        assert "no attention" in path.told
    else:
        assert len(path.layers) >= len(record.layers)
        assert f"{model.backbone.strides[0]} pixels apart" in path.told
