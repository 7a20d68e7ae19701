"""``vitreous models``: what the catalog's models are and what they cost; counted, never built."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitreous.cli.output import percent, show_json, show_table
from vitreous.errors import ConfigError, nearest

if TYPE_CHECKING:
    from vitreous.models.config import ModelConfig

Size = tuple[int, int]


def models(
    pattern: Annotated[str, typer.Argument(help="Which models, as in a shell: vit_b_*")] = "*",
    image_size: Annotated[
        str | None,
        typer.Option(help="Picture sizes in pixels: 224,384 or 480x640 (height x width)."),
    ] = None,
    patch: Annotated[str | None, typer.Option(help="Patch sides in pixels: 32,16,14,8")] = None,
    classes: Annotated[int, typer.Option(help="Classes that the head tells apart.", min=0)] = 1000,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the models and what they cost.

    A MAC is one multiplication and addition, two FLOPs; memory is for one picture in float32, forward
    alone and kept for training. "N x N" is the part of the MACs that grows with the square of the
    tokens.
    """
    sizes: list[Size | None] = [None] if image_size is None else [*sizes_of(image_size, "--image-size")]
    rows = [described(name, config) for name, config in _chosen(pattern, sizes, _patches(patch), classes)]
    if json:
        show_json(rows)
        return
    titles = {
        "name": "name",
        "image_size": "image",
        "patch": "patch",
        "layers": "layers",
        "width": "width",
        "mlp_width": "MLP",
        "heads": "heads",
        "patches": "patches",
        "tokens": "tokens",
        "parameters": "params",
        "macs": "GMACs",
        "flops": "GFLOPs",
        "attention_share": "N x N",
        "forward_bytes": "fwd MiB",
        "training_bytes": "train MiB",
    }
    if patch is None:  # it is in the name, and the patches are the tokens less the class token
        del titles["patch"], titles["patches"]
    cells = [[_cell(key, row[key]) for key in titles] for row in rows]
    show_table(list(titles.values()), cells, numbers=list(titles.values())[1:])


def described(name: str, config: "ModelConfig") -> dict[str, Any]:
    """A model and its costs at its native picture size, as plain values in exact units."""
    from vitreous.models.accounting import account
    from vitreous.models.description import describe

    told = describe(config)
    costs = account(config)
    sizes = {key: told.get(key) for key in ("patch", "layers", "width", "mlp_width", "heads")}
    return {
        "name": name,
        "image_size": list(config.image_size),
        **sizes,
        "patches": costs.patches,
        "tokens": costs.tokens,
        "parameters": costs.parameters,
        "macs": costs.macs,
        "flops": costs.flops,
        "attention_share": costs.attention_share,
        "forward_bytes": costs.forward_bytes,
        "training_bytes": costs.training_bytes,
    }


def _chosen(
    pattern: str, sizes: list[Size | None], patches: list[int | None], classes: int
) -> Iterator[tuple[str, "ModelConfig"]]:
    from vitreous.models import catalog

    names = catalog.names(pattern)
    if not names:
        tail = nearest(pattern, catalog.names()) or "; 'vitreous models' lists them all"
        raise ConfigError(f"no model matches {pattern!r}{tail}")
    for name in names:
        for patch in patches:
            for size in sizes:
                options = {} if patch is None else {"patch": patch}
                yield name, catalog.configure(name, classes=classes, image_size=size, options=options)


def sizes_of(text: str, option: str) -> list[Size]:
    """ "224,480x640" -> [(224, 224), (480, 640)], each (height, width) in pixels. ConfigError otherwise."""
    sizes = []
    for part in text.split(","):
        sides = [_whole(side, option, text) for side in part.lower().split("x")]
        if len(sides) > 2:
            raise ConfigError(f"{option} {text}: wanted 224 or 480x640 (height x width)")
        sizes.append((sides[0], sides[-1]))
    return sizes


def _patches(text: str | None) -> list[int | None]:
    return [None] if text is None else [_whole(part, "--patch", text) for part in text.split(",")]


def _whole(text: str, option: str, given: str) -> int:
    if not (text.strip().isdecimal() and int(text) > 0):
        raise ConfigError(
            f"{option} {given}: {text.strip()!r} is no number of pixels; wanted for example 32,16"
        )
    return int(text)


def _cell(key: str, value: Any) -> str:
    if value is None:
        return "-"
    if key == "image_size":
        height, width = value
        return str(height) if height == width else f"{height}x{width}"
    if key == "parameters":
        return f"{value / 1e6:.2f}M"
    if key in ("macs", "flops"):
        return f"{value / 1e9:.2f}"
    if key == "attention_share":
        return percent(value)
    if key in ("forward_bytes", "training_bytes"):
        return f"{value / 2**20:.1f}"
    if isinstance(value, list):  # by stage
        return f"{value[0]}-{value[-1]}"
    return str(value)
