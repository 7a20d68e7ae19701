"""torchvision's ViTs, read from bare state dicts."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.parity.twins import BOUND, difference, pictures, torchvision_twin
from vitreous.checkpoints.source import read_any
from vitreous.errors import CheckpointError

pytest.importorskip("torchvision")


@pytest.mark.parametrize("arguments", [{}, {"representation_size": 192}, {"patch_size": 16}])
def test_logits(tmp_path: Path, arguments: dict[str, Any]) -> None:
    twin = torchvision_twin(tmp_path / "vit.pth", **arguments)
    checkpoint = read_any(twin.path)
    for dtype, bound in BOUND.items():
        model = checkpoint.model.to(dtype)
        twin.model.to(dtype)
        for size in ((32, 32), (48, 48), (64, 64)):
            found = difference(model, twin.forward, pictures(size).to(dtype))
            assert found.relative < bound, (dtype, size, found)


def test_names_from_before_torchvision_0_13(tmp_path: Path) -> None:
    twin = torchvision_twin(tmp_path / "vit.pth")
    old = {
        key.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): value
        for key, value in twin.model.state_dict().items()
    }
    assert any("linear_2" in key for key in old)
    torch.save(old, tmp_path / "old.pth")
    checkpoint = read_any(tmp_path / "old.pth")
    assert difference(checkpoint.model, twin.forward, pictures((32, 32)).float()).relative < 1e-4


def test_preprocessing_of_the_published_weights(tmp_path: Path) -> None:
    small = read_any(torchvision_twin(tmp_path / "a.pth", image_size=224, patch_size=32).path).preprocess
    assert (small.size, small.shorter, small.interpolation) == ((224, 224), 256, "bilinear")
    assert (small.mean, small.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    large = read_any(torchvision_twin(tmp_path / "b.pth", image_size=384, patch_size=32).path).preprocess
    assert (large.size, large.shorter, large.interpolation) == ((384, 384), 384, "bicubic")


def test_heads_that_a_file_does_not_tell(tmp_path: Path) -> None:
    path = torchvision_twin(tmp_path / "vit.pth", hidden_dim=96, num_heads=3).path
    with pytest.raises(CheckpointError, match="number of heads of width 96"):
        read_any(path)


def test_a_convolutional_stem_is_refused_by_name(tmp_path: Path) -> None:
    from torchvision.models.vision_transformer import ConvStemConfig

    stem = [ConvStemConfig(out_channels=8, kernel_size=8, stride=8)]
    path = torchvision_twin(tmp_path / "vit.pth", conv_stem_configs=stem).path
    with pytest.raises(CheckpointError, match="convolutional stem"):
        read_any(path)
