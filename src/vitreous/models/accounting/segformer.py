"""SegFormer, counted: its backbone, and a head that multiplies each map by one matrix at its own size."""

from vitreous.backbones.config import MiTConfig, SwinConfig
from vitreous.models.accounting.mix_transformer import account_mix_transformer, map_places
from vitreous.models.accounting.plain import FLOAT_BYTES, Account, account_backbone
from vitreous.models.accounting.swin import account_swin
from vitreous.models.config import ClassifierConfig, SegFormerConfig


def account_segformer(config: SegFormerConfig, image_size: tuple[int, int]) -> Account:
    """Count at a picture size (height, width) in pixels. What multiplies two matrices of the head into one is
    done once a batch, and counted for each picture; of memory, what is there once a batch is not counted."""
    backbone, places = _backbone(config, image_size)
    widths, width, classes = config.map_widths, config.decoder_width, config.classes
    finest = places[0]
    norms = sum(widths[:-1]) * isinstance(config.backbone, SwinConfig)
    parameters = sum((channels + 1) * width for channels in widths) + len(widths) * width**2
    parameters += 2 * width + (width + 1) * classes + 2 * norms
    macs = sum(width * channels * (count + width) for channels, count in zip(widths, places, strict=True))
    macs += finest * width * classes
    maps = sum(channels * count for channels, count in zip(widths, places, strict=True))
    enlarged = width * places[1] if len(places) > 1 else 0
    added = 2 * width * finest + enlarged if len(places) > 1 else 2 * width * finest
    forward = maps + max(added, (width + classes) * finest)
    kept = (3 if config.decoder_dropout else 2) * width * finest
    if isinstance(config.backbone, SwinConfig):  # whose maps are normalised for the head
        kept += sum((channels + 2) * count for channels, count in zip(widths[:-1], places[:-1], strict=True))
    return backbone._replace(
        parameters=backbone.parameters + parameters,
        macs=backbone.macs + macs,
        forward_bytes=max(backbone.forward_bytes, FLOAT_BYTES * forward),
        training_bytes=backbone.training_bytes + FLOAT_BYTES * kept,
    )


def _backbone(config: SegFormerConfig, image_size: tuple[int, int]) -> tuple[Account, tuple[int, ...]]:
    """The backbone alone, and how many cells each of its maps has."""
    backbone = config.backbone
    if isinstance(backbone, MiTConfig):
        return account_mix_transformer(backbone, image_size), map_places(backbone, image_size)
    if isinstance(backbone, SwinConfig):
        headless = ClassifierConfig(backbone=backbone, classes=0, pool="mean")
        places = tuple(rows * cols for rows, cols in backbone.grids_at(image_size))
        return account_swin(headless, image_size), places
    rows, cols = backbone.grid_at(image_size)
    return account_backbone(backbone, image_size), (rows * cols,)
