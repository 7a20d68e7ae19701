"""Every model by name: one table of sizes, and what a name's options may be. No torch here; it is
imported when a model is built.

Ti and S are DeiT's sizes (arXiv:2012.12877, table 1), B, L and H the ViT paper's (arXiv:2010.11929,
table 1). ``vit_tiny`` is small enough to learn on two CPU cores in a minute.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from vitreous.backbones.config import EncoderConfig, ViTConfig
from vitreous.config import from_plain, to_plain
from vitreous.errors import ConfigError, nearest
from vitreous.models.config import ClassifierConfig

if TYPE_CHECKING:
    from vitreous.models.classifier import Classifier


def _vit(width: int, depth: int, heads: int, patch: int, image_size: int = 224) -> ClassifierConfig:
    encoder = EncoderConfig(width=width, mlp_width=4 * width)
    side = (image_size, image_size)
    return ClassifierConfig(
        backbone=ViTConfig(encoder=encoder, depth=depth, heads=heads, patch=patch, image_size=side)
    )


CATALOG: Mapping[str, ClassifierConfig] = {
    # name                width  depth heads patch
    "vit_tiny": _vit(64, 4, 4, 4, image_size=32),
    "vit_ti_8": _vit(192, 12, 3, 8),
    "vit_ti_14": _vit(192, 12, 3, 14),
    "vit_ti_16": _vit(192, 12, 3, 16),
    "vit_ti_32": _vit(192, 12, 3, 32),
    "vit_s_8": _vit(384, 12, 6, 8),
    "vit_s_14": _vit(384, 12, 6, 14),
    "vit_s_16": _vit(384, 12, 6, 16),
    "vit_s_32": _vit(384, 12, 6, 32),
    "vit_b_8": _vit(768, 12, 12, 8),
    "vit_b_14": _vit(768, 12, 12, 14),
    "vit_b_16": _vit(768, 12, 12, 16),
    "vit_b_32": _vit(768, 12, 12, 32),
    "vit_l_8": _vit(1024, 24, 16, 8),
    "vit_l_14": _vit(1024, 24, 16, 14),
    "vit_l_16": _vit(1024, 24, 16, 16),
    "vit_l_32": _vit(1024, 24, 16, 32),
    "vit_h_8": _vit(1280, 32, 16, 8),
    "vit_h_14": _vit(1280, 32, 16, 14),
    "vit_h_16": _vit(1280, 32, 16, 16),
    "vit_h_32": _vit(1280, 32, 16, 32),
}


GIVEN = ("classes", "channels", "image_size")  # what ``configure`` takes by name


def names(pattern: str = "*") -> tuple[str, ...]:
    """The catalog's names that match a shell pattern, in the table's order."""
    return tuple(name for name in CATALOG if fnmatchcase(name, pattern))


def configure(
    name: str,
    *,
    classes: int = 1000,
    image_size: int | tuple[int, int] | None = None,
    channels: int = 3,
    options: Mapping[str, Any] | None = None,
) -> ClassifierConfig:
    """The configuration of a catalog name, with some of its plain values changed.

    ``image_size`` is one side or (height, width) in pixels. ``options`` are fields of the family's
    configuration, whichever level they stand on: patch, registers, positions, pool, drop_path, ...

    Raises:
        ConfigError: an unknown name or option (with the nearest known ones), or values that do not
            fit one another.
    """
    if name not in CATALOG:
        tail = nearest(name, CATALOG) or "; 'vitreous models' lists them all"
        raise ConfigError(f"unknown model {name!r}{tail}")
    values = dict(options or {})
    base = CATALOG[name]
    encoder = base.backbone.encoder
    if isinstance(values.get("width"), int):
        values.setdefault("mlp_width", values["width"] * encoder.mlp_width // encoder.width)
    values |= {"classes": classes, "channels": channels}
    if image_size is not None:
        values["image_size"] = _side(image_size)
    plain = to_plain(base)
    levels = [plain, plain["backbone"], plain["backbone"]["encoder"]]
    known = {key for level in levels for key in level} - {"backbone", "encoder"}
    for key in GIVEN:
        if key in (options or {}):
            raise ConfigError(f"{key} is no option; give it beside the model's name")
    for key, value in values.items():
        if key not in known:
            raise ConfigError(f"{name} has no option {key!r}{nearest(key, known)}")
        next(level for level in levels if key in level)[key] = value
    return from_plain(ClassifierConfig, plain)


def build(config: ClassifierConfig) -> Classifier:
    """The model that a configuration describes, with random weights."""
    from vitreous.models.classifier import build_classifier

    return build_classifier(config)


def _side(image_size: int | tuple[int, int]) -> tuple[int, int]:
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if height < 1 or width < 1:
        raise ConfigError(f"image size must be positive, got {height}x{width}")
    return height, width
