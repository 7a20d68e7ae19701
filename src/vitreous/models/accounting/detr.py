"""DETR, counted: its backbone, and a transformer of N cells and Q queries; D width; M MLP width; K
classes."""

from vitreous.backbones.config import SwinConfig
from vitreous.backbones.convnet_config import ConvNetBackboneConfig
from vitreous.models.accounting.convnet import account_residual
from vitreous.models.accounting.plain import FLOAT_BYTES, Account, account_backbone
from vitreous.models.accounting.swin import account_swin
from vitreous.models.config import ClassifierConfig, DetrConfig


def account_detr(config: DetrConfig, image_size: tuple[int, int]) -> Account:
    """Count at a picture size (height, width) in pixels. MACs are those of inference, where only the last
    layer of the decoder is asked for boxes."""
    backbone = _backbone(config, image_size)
    rows, cols = config.map_at(image_size)
    cells, queries, width, classes = rows * cols, config.queries, config.width, config.classes
    given = config.backbone.out_channels
    asking = 4 * width**2  # queries, keys, values and the projection, for each token
    working = 2 * width * config.mlp_width
    heads = width * (classes + 1) + 2 * width**2 + 4 * width
    attention = config.encoder_depth * 2 * cells**2 * width
    attention += config.decoder_depth * 2 * queries * (queries + cells) * width
    macs = cells * given * width + config.encoder_depth * cells * (asking + working)
    decoder = queries * (asking + working + 2 * width**2) + cells * 2 * width**2
    macs += config.decoder_depth * decoder + queries * heads + attention
    if config.references == "boxes":
        edges = (rows + cols) * (2 * width + width * config.heads)  # of the two networks for edges, a query
        macs += config.decoder_depth * queries * (3 * width**2 + edges)
        macs += (config.decoder_depth - 1) * queries * (2 * width**2 + 4 * width)  # boxes for the next layer
    forward = cells * (given + 2 * width + max(2 * config.mlp_width, 6 * width)) + queries * 8 * width
    return backbone._replace(
        parameters=backbone.parameters + _parameters(config),
        macs=backbone.macs + macs,
        attention_macs=backbone.attention_macs + attention,
        forward_bytes=max(backbone.forward_bytes, FLOAT_BYTES * forward),
        training_bytes=backbone.training_bytes + FLOAT_BYTES * _training_floats(config, rows, cols),
    )


def _parameters(config: DetrConfig) -> int:
    width, hidden = config.width, config.mlp_width
    asking, norm = 4 * (width + 1) * width, 2 * width
    working = 2 * width * hidden + hidden + width
    layers = config.encoder_depth * (asking + working + 2 * norm)
    layers += config.decoder_depth * (2 * asking + working + 3 * norm) + norm
    heads = (width + 1) * (config.classes + 1) + 2 * (width + 1) * width + (width + 1) * 4
    queries = config.queries * width
    if config.references == "boxes":
        edges = 2 * (3 * width + (width + 1) * config.heads)
        queries = config.groups * config.queries * (width + 4)
        queries += (2 * width + 1) * width + (width + 1) * width + config.decoder_depth * edges
    return (config.backbone.out_channels + 1) * width + layers + queries + heads


def _training_floats(config: DetrConfig, rows: int, cols: int) -> int:
    """A layer keeps of each token, for an attention: what queries and keys are made of, both, values, what is
    mixed of them, the sum that is normalised, and one number a head; for the MLP its input, the hidden layer,
    twice unless ReLU makes it, and the sum. Dropout keeps what it kept. A query with a box of its own keeps
    what it was told of it, and of each row and column how far from its edges that is."""
    cells, queries = rows * cols, config.groups * config.queries
    width, drops = config.width, 1 if config.dropout else 0
    asking = (6 + drops) * width + config.heads + 2
    hidden = config.mlp_width * (1 if config.activation == "relu" else 2)
    working = hidden + (2 + drops) * width + 2
    encoder = config.encoder_depth * cells * (asking + working)
    query = 2 * asking + working + 5 * width + 8
    if config.references == "boxes":
        query += (rows + cols) * (width + 2) + cells * config.heads + 5 * width
    decoder = config.decoder_depth * (queries * query + cells * 3 * width)
    return cells * (config.backbone.out_channels + 2 * width) + encoder + decoder


def _backbone(config: DetrConfig, image_size: tuple[int, int]) -> Account:
    """The backbone alone."""
    backbone = config.backbone
    if isinstance(backbone, ConvNetBackboneConfig):
        return account_residual(backbone, image_size)
    if isinstance(backbone, SwinConfig):
        return account_swin(ClassifierConfig(backbone=backbone, classes=0, pool="mean"), image_size)
    return account_backbone(backbone, image_size)
