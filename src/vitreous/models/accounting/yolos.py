"""YOLOS, counted: its ViT among whose tokens Q queries stand, and the heads on these; D width; K classes."""

from dataclasses import replace

from vitreous.models.accounting.plain import FLOAT_BYTES, Account, account_backbone
from vitreous.models.config import YolosConfig


def account_yolos(config: YolosConfig, image_size: tuple[int, int]) -> Account:
    """Count at a picture size (height, width) in pixels."""
    vit = config.backbone
    width, queries, told = vit.encoder.width, config.queries, config.classes + 1 + 4
    # To its blocks a query is one register more.
    whole = account_backbone(replace(vit, registers=vit.registers + queries), image_size)
    rows, cols = vit.grid
    tables = (vit.depth - 1) * (config.prefix + rows * cols) * width if config.positions_between else 0
    heads = 2 * 2 * (width + 1) * width + (width + 1) * told
    kept = queries * (5 * width + 4)  # what the heads are given, and their hidden layers
    return whole._replace(
        parameters=whole.parameters + queries * width + tables + heads,
        macs=whole.macs + queries * (4 * width**2 + width * told),
        training_bytes=whole.training_bytes + FLOAT_BYTES * kept,
    )
