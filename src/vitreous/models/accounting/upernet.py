"""UPerNet, counted: the blocks up to the last tap, and the convolutions of its heads at their scales."""

from itertools import pairwise
from typing import NamedTuple

from vitreous.models.accounting.plain import FLOAT_BYTES, Account, account_backbone
from vitreous.models.config import LEVELS, UPerNetConfig


class _Convolution(NamedTuple):
    channels: int
    out: int
    kernel: int
    places: int  # of the map that comes out; of a transposed one, that goes in
    bias: bool = False
    norm: bool = True

    @property
    def parameters(self) -> int:
        return self.channels * self.out * self.kernel**2 + self.out * self.bias + 2 * self.out * self.norm

    @property
    def macs(self) -> int:
        return self.channels * self.out * self.kernel**2 * self.places


def account_upernet(config: UPerNetConfig, image_size: tuple[int, int]) -> Account:
    """Count at a picture size (height, width). Memory is the backbone's and the maps of the heads."""
    vit = config.backbone
    backbone = account_backbone(vit, image_size, depth=max(config.taps))
    convolutions = _convolutions(config, *vit.grid_at(image_size))
    written = sum(part.out * part.places for part in convolutions)
    return backbone._replace(
        parameters=backbone.parameters + sum(part.parameters for part in convolutions),
        macs=backbone.macs + sum(part.macs for part in convolutions),
        forward_bytes=max(backbone.forward_bytes, FLOAT_BYTES * written // 2),
        training_bytes=backbone.training_bytes + 3 * FLOAT_BYTES * written,
    )


def _convolutions(config: UPerNetConfig, rows: int, cols: int) -> list[_Convolution]:
    width, classes = config.backbone.out_channels, config.classes
    patches = rows * cols
    halved = (rows // 2) * (cols // 2)
    places = [16 * patches, 4 * patches, patches]
    scales = [
        _Convolution(width, width, 2, patches, bias=True),
        _Convolution(width, width, 2, 4 * patches, bias=True, norm=False),
        _Convolution(width, width, 2, patches, bias=True, norm=False),
    ]
    pooled = [_Convolution(width, width, 1, scale**2) for scale in config.pool_scales]
    deepest = _Convolution((1 + len(config.pool_scales)) * width, width, 3, halved)
    lateral = [_Convolution(width, width, 1, count) for count in places]
    smooth = [_Convolution(width, width, 3, count) for count in places]
    fuse = _Convolution(LEVELS * width, width, 3, places[0])
    classify = _Convolution(width, classes, 1, places[0], bias=True, norm=False)
    return [*scales, *pooled, deepest, *lateral, *smooth, fuse, classify, *_auxiliary(config, patches)]


def _auxiliary(config: UPerNetConfig, patches: int) -> list[_Convolution]:
    if not config.auxiliary_depth:
        return []
    width, out = config.backbone.out_channels, config.auxiliary_width
    sizes = [width, *[out] * config.auxiliary_depth]
    parts = [_Convolution(below, above, 3, patches) for below, above in pairwise(sizes)]
    if config.auxiliary_join:
        parts.append(_Convolution(width + out, out, 3, patches))
    return [*parts, _Convolution(out, config.classes, 1, patches, bias=True, norm=False)]
