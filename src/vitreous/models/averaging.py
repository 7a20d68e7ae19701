"""One vector a picture from what was pretrained without classes: the mean of the patches, and then the norm.

So did the authors of MAE (arXiv:2111.06377) and BEiT (arXiv:2106.08254, section 2.5) tune. The other way
round, the mean of normalised patches says mostly where patches are, which is the same in every picture, and a
new head has little to go by.

Shapes: B pictures; D width.
"""

from dataclasses import replace

from torch import Tensor

from vitreous.backbones.config import BackboneConfig, ViTConfig
from vitreous.backbones.vit import ViT
from vitreous.models.config import ClassifierConfig
from vitreous.models.model import mean_of_patches

NORM, POOL_NORM = "backbone.norm.", "pool_norm."


def averaged(backbone: ViT, images: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, D): the backbone's final norm of the mean of the patches after the last block."""
    last = len(backbone.encoder.blocks)
    return backbone.norm(mean_of_patches(backbone.maps_after(images, (last,))[0]))


def as_classifier(
    backbone: BackboneConfig, state: dict[str, Tensor]
) -> tuple[ClassifierConfig, dict[str, Tensor]]:
    """The classifier without classes that sees the same, and the tensors of the backbone by its names.

    Swin and Mix Transformers keep their norm ahead of the mean, as their classifiers have it.
    """
    config = ClassifierConfig(backbone=backbone, pool="mean", classes=0)
    if not isinstance(backbone, ViTConfig) or not backbone.final_norm:
        return config, state
    moved = {_moved(name): value for name, value in state.items()}
    return replace(config, backbone=replace(backbone, final_norm=False), pool_norm=True), moved


def _moved(name: str) -> str:
    return POOL_NORM + name.removeprefix(NORM) if name.startswith(NORM) else name
