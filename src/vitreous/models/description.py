"""What people ask of a model, as plain values, from wherever in its configuration it stands. No torch."""

from typing import Any

from vitreous.backbones.config import MiTConfig, SwinConfig, ViTConfig
from vitreous.backbones.convnet_config import ConvNetBackboneConfig
from vitreous.models.config import (
    ClassifierConfig,
    ConvNetConfig,
    DetrConfig,
    DVAEConfig,
    MAEConfig,
    ModelConfig,
    SegFormerConfig,
    YolosConfig,
)


def describe(config: ModelConfig) -> dict[str, Any]:
    """Sizes, positions, epsilon, activation, pooling: the keys that the kind of model has.

    ``width``, ``mlp_width`` and ``heads`` are lists, one value a stage, where they differ by stage.
    """
    values: dict[str, Any] = {"image_size": list(config.image_size), "channels": config.channels}
    if isinstance(config, ConvNetConfig):
        return values | {"architecture": config.architecture}
    if isinstance(config, DVAEConfig):
        return values | _dvae(config)
    backbone = config.backbone
    if isinstance(backbone, MiTConfig):
        values |= _mit(backbone)
    elif isinstance(backbone, ConvNetBackboneConfig):
        values |= _residual(backbone)
    else:
        values |= _swin(backbone) if isinstance(backbone, SwinConfig) else _vit(backbone)
    if isinstance(config, SegFormerConfig):
        values |= {"head_width": config.decoder_width, "head_maps": len(config.map_widths)}
    if isinstance(config, DetrConfig):
        told = ("encoder_depth", "decoder_depth", "queries", "references")
        values |= {"decoder_width": config.width} | {name: getattr(config, name) for name in told}
    if isinstance(config, YolosConfig):
        values |= {"queries": config.queries, "positions_between": config.positions_between}
    if isinstance(config, ClassifierConfig):
        values |= {"pool": config.pool, "head": config.head}
    if isinstance(config, MAEConfig):
        names = ("decoder_width", "decoder_depth", "decoder_heads", "mask_ratio", "normalised_targets")
        values |= {name: getattr(config, name) for name in names}
    return values


def _vit(vit: ViTConfig) -> dict[str, Any]:
    encoder = vit.encoder
    positions: list[str] = [] if vit.positions == "none" else [vit.positions]
    positions += [] if vit.attention == "plain" else [vit.attention]
    return {
        "patch": vit.patch,
        "grid": list(vit.grid),
        "layers": vit.depth,
        "width": encoder.width,
        "mlp_width": encoder.mlp_width,
        "heads": vit.heads,
        "registers": vit.registers,
        "positions": " and ".join(positions) or "none",
        "position_resize": vit.position_resize,
        **({"bias_resize": vit.bias_resize} if vit.attention == "relative" else {}),
        "norm_eps": encoder.norm_eps,
        "activation": encoder.activation if encoder.mlp == "plain" else encoder.mlp,
        "layer_scale": encoder.layer_scale is not None,
    }


def _dvae(dvae: DVAEConfig) -> dict[str, Any]:
    names = ("codes", "stride", "groups", "blocks", "width", "code_width", "decoder", "paints")
    return {"grid": list(dvae.grid), **{name: getattr(dvae, name) for name in names}}


def _mit(mit: MiTConfig) -> dict[str, Any]:
    return {
        "patch": mit.patch,
        "grid": list(mit.grid),
        "layers": mit.depth,
        "depths": list(mit.depths),
        "width": list(mit.widths),
        "mlp_width": list(mit.mlp_widths),
        "heads": list(mit.heads),
        "reductions": list(mit.reductions),
        "strides": list(mit.strides),
        "positions": "none",
        "norm_eps": mit.norm_eps,
        "activation": mit.activation,
    }


def _residual(network: ConvNetBackboneConfig) -> dict[str, Any]:
    names = ("depths", "widths", "strides")
    shown = {name: list(getattr(network, name)) for name in names}
    return {"grid": list(network.grid), **shown, "bottleneck": network.bottleneck, "norm": network.norm}


def _swin(swin: SwinConfig) -> dict[str, Any]:
    return {
        "patch": swin.patch,
        "grid": list(swin.grid),
        "layers": swin.depth,
        "depths": list(swin.depths),
        "width": list(swin.widths),
        "mlp_width": list(swin.mlp_widths),
        "heads": list(swin.heads),
        "window": swin.window if isinstance(swin.window, int) else [list(window) for window in swin.windows],
        "positions": "relative" if swin.positions == "none" else f"{swin.positions} and relative",
        "norm_eps": swin.norm_eps,
        "activation": swin.activation,
    }
