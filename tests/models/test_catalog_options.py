"""Names, options and their errors."""

import pytest

from vitreous.errors import ConfigError
from vitreous.models import catalog


def test_the_names_of_the_plain_family_are_there() -> None:
    wanted = {f"vit_{size}_{patch}" for size in ("ti", "s", "b", "l", "h") for patch in (8, 14, 16, 32)}
    assert wanted | {"vit_tiny"} == set(catalog.names("vit_*"))
    assert catalog.names("vit_b_*") == ("vit_b_8", "vit_b_14", "vit_b_16", "vit_b_32")


def test_options_reach_the_level_they_stand_on() -> None:
    config = catalog.configure(
        "vit_s_16", classes=3, image_size=(96, 128), channels=1,
        options={"pool": "mean", "registers": 4, "drop_path": 0.1},
    )  # fmt: skip
    assert (config.classes, config.pool) == (3, "mean")
    backbone = config.backbone
    assert (backbone.image_size, backbone.channels, backbone.registers) == ((96, 128), 1, 4)
    assert config.backbone.encoder.drop_path == 0.1


def test_a_new_width_keeps_the_ratio_of_the_mlp() -> None:
    assert catalog.configure("vit_ti_16", options={"width": 96}).backbone.encoder.mlp_width == 384


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("vit_b16", {}, "vit_b_16"),
        ("yolo", {}, "vitreous models"),
        ("resnet50", {}, "resnet_50"),
        ("resnet_50", {"patch": 16}, "no option 'patch'"),
        ("vit_b_16", {"regsters": 4}, "registers"),
        ("vit_b_16", {"pool": "class", "class_token": False}, "pool=mean"),
        ("vit_b_16", {"positions": "sincos"}, "sincos2d"),
        ("vit_b_16", {"depth": "many"}, "wanted int"),
    ],
)
def test_errors_name_what_is_near(name: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        catalog.configure(name, options=options)
