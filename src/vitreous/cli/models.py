"""``vitreous models``: what the catalog's models are, what they cost and what others measured of them;
counted and quoted, and with ``--measure`` timed."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitreous.cli.output import Progress, complain, percent, show, show_json, show_table
from vitreous.errors import ConfigError, VitreousError, nearest

if TYPE_CHECKING:
    from vitreous.models.config import ModelConfig

Size = tuple[int, int]
Row = dict[str, Any]

CLASSIC = {
    "name": "name",
    "image_size": "image",
    "layers": "layers",
    "width": "width",
    "heads": "heads",
    "parameters": "params",
    "macs": "GMACs",
    "top1": "top-1",
    "at": "at",
    "data": "data",
    "source": "from",
}
SIZES = ("layers", "width", "heads")  # what makes room for the measured column
COSTS = {
    "name": "name",
    "image_size": "image",
    "patch": "patch",
    "tokens": "tokens",
    "parameters": "params",
    "macs": "GMACs",
    "flops": "GFLOPs",
    "attention_share": "N x N",
    "forward_bytes": "fwd MiB",
    "training_bytes": "train MiB",
}
SPEED = "pictures/s"
DIGITS = 6  # of a picture's side; int() gives up on thousands of them


def models(
    pattern: Annotated[str, typer.Argument(help="Which models, as in a shell: vit_b_*")] = "*",
    image_size: Annotated[
        str | None,
        typer.Option(help="Picture sizes in pixels: 224,384 or 480x640 (height x width)."),
    ] = None,
    patch: Annotated[str | None, typer.Option(help="Patch sides in pixels: 32,16,14,8")] = None,
    classes: Annotated[int, typer.Option(help="Classes that the head tells apart.", min=0)] = 1000,
    costs: Annotated[bool, typer.Option("--costs", help="Show tokens, FLOPs and memory.")] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Time each model here, with random weights.")
    ] = False,
    batch_size: Annotated[int, typer.Option(help="Pictures at a time, in measuring.", min=1)] = 8,
    device: Annotated[str, typer.Option(help="Where to measure: auto, cpu, cuda, cuda:N or mps.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the models: sizes, costs, and the accuracies that their makers published.

    A MAC is one multiplication and addition, two FLOPs. Top-1 accuracies are quoted, not measured here;
    "at" is their picture size. With --costs, or other sizes of pictures or patches: memory is for one
    picture in float32, forward alone and kept for training, and "N x N" the part of the MACs that grows
    with the square of the tokens.
    """
    sizes: list[Size | None] = [None] if image_size is None else [*sizes_of(image_size, "--image-size")]
    chosen = list(_chosen(pattern, sizes, _patches(patch), classes))
    rows = [described(name, config) for name, config in chosen]
    if measure:
        _measure(rows, [config for _, config in chosen], batch_size, device, quiet=json)
    if json:
        show_json(rows)
    elif costs or image_size is not None or patch is not None:
        _show_costs(rows, with_patch=patch is not None)
    else:
        _show_classic(rows)
    failed = [row["name"] for row in rows if "problem" in row.get("throughput", {})]
    if failed and len(failed) == len(rows):
        raise typer.Exit(1)


def described(name: str, config: "ModelConfig") -> Row:
    """A model at its native picture size: costs in exact units, and what is published of its name."""
    from vitreous.models.accounting import account
    from vitreous.models.description import describe
    from vitreous.models.published import SOURCES, published

    told = describe(config)
    costs = account(config)
    sizes = {key: told.get(key) for key in ("patch", "layers", "width", "mlp_width", "heads")}
    figures = [figure._asdict() | {"source": SOURCES[figure.source]} for figure in published(name)]
    return {
        "name": name,
        "image_size": list(config.image_size),
        **sizes,
        "patches": costs.patches or None,  # a convolutional network has none
        "tokens": costs.tokens or None,
        "parameters": costs.parameters,
        "macs": costs.macs,
        "flops": costs.flops,
        "attention_share": costs.attention_share if costs.tokens else None,
        "forward_bytes": costs.forward_bytes,
        "training_bytes": costs.training_bytes,
        "published": figures,
    }


def _measure(
    rows: list[Row], configs: "list[ModelConfig]", batch_size: int, device: str, *, quiet: bool
) -> None:
    """Put ``throughput`` into every row; what cannot be measured is said and has a ``problem``."""
    from vitreous.evaluation.throughput import measure
    from vitreous.predictor import pick_device

    place = pick_device(device)
    # The small ones first: where memory or patience ends, most is done.
    order = sorted(range(len(rows)), key=lambda i: rows[i]["parameters"] + batch_size * rows[i]["macs"])
    with Progress("measuring", quiet=quiet) as progress:
        for done, index in enumerate(order):
            progress(done, len(order))
            name = rows[index]["name"]
            try:
                found = measure(configs[index], place, batch_size=batch_size)
            except VitreousError as error:
                rows[index]["throughput"] = {"problem": str(error)}
                complain(f"{name} was not measured: {error}")
            else:
                rows[index]["throughput"] = found._asdict() | {"dtype": "float32", "weights": "random"}
        progress(len(order), len(order))


def _show_classic(rows: list[Row]) -> None:
    """Sizes, cost and published accuracy, or speed in the place of some sizes; sources stand below."""
    titles, sources = dict(CLASSIC), _numbered_sources(rows)
    measured = [row["throughput"] for row in rows if "throughput" in row]
    if measured:
        titles = {key: title for key, title in titles.items() if key not in SIZES}
    cells = []
    for row in rows:
        first = (row["published"] or [{}])[0]
        quoted = {
            "top1": first.get("top1"),
            "at": first.get("image_size"),
            "data": first.get("data"),
            "source": sources.get(first.get("source", "")),
        }
        cells.append([_cell(key, (row | quoted)[key]) for key in titles])
    _show(titles, cells, rows)
    if sources:
        show()
        show('top-1: percent on ImageNet-1k, published for pictures of the size under "at" and weights that')
        show(
            "have seen the data named beside it; quoted from its makers, not measured here. --json has more."
        )
        for source, number in sources.items():
            show(f"{number} {source}")
    _show_conditions(measured)


def _show_costs(rows: list[Row], *, with_patch: bool) -> None:
    titles = {key: title for key, title in COSTS.items() if with_patch or key != "patch"}
    _show(titles, [[_cell(key, row[key]) for key in titles] for row in rows], rows)
    _show_conditions([row["throughput"] for row in rows if "throughput" in row])


def _show(titles: Mapping[str, str], cells: list[list[str]], rows: list[Row]) -> None:
    """The table, with a column for what was measured."""
    columns = list(titles.values())
    if any("throughput" in row for row in rows):
        columns = [*columns, SPEED]
        cells = [[*line, _speed(row["throughput"])] for line, row in zip(cells, rows, strict=True)]
    show_table(columns, cells, numbers=[title for title in columns[1:] if title not in ("data", "from")])


def _show_conditions(measured: list[Row]) -> None:
    found = [row for row in measured if "problem" not in row]
    if found:
        how = found[0]
        rounds = sorted({row["rounds"] for row in found})
        many = str(rounds[0]) if len(rounds) == 1 else f"{rounds[0]} to {rounds[-1]}"
        threads = "1 thread" if how["threads"] == 1 else f"{how['threads']} threads"
        show()
        show(
            f"{SPEED}: the median of {many} rounds, batches of {how['batch_size']}, on {how['device']}"
            f" with {threads}, float32, random weights."
        )


def _numbered_sources(rows: list[Row]) -> dict[str, str]:
    """The sources that a table quotes, numbered as they come."""
    quoted = dict.fromkeys(row["published"][0]["source"] for row in rows if row["published"])
    return {source: f"[{number}]" for number, source in enumerate(quoted, start=1)}


def _chosen(
    pattern: str, sizes: list[Size | None], patches: list[int | None], classes: int
) -> Iterator[tuple[str, "ModelConfig"]]:
    from vitreous.models import catalog

    names = catalog.names(pattern)
    if not names:
        tail = nearest(pattern, catalog.names()) or "; 'vitreous models' lists them all"
        raise ConfigError(f"no model matches {pattern!r}{tail}")
    if patches != [None]:
        names = _patched(names)
        if not names:
            raise ConfigError(f"{pattern}: no model of this name is cut into patches; leave out --patch")
    for name in names:
        for patch in patches:
            for size in sizes:
                options = {} if patch is None else {"patch": patch}
                try:
                    config = catalog.configure(name, classes=classes, image_size=size, options=options)
                except ConfigError as error:
                    if len(names) == 1:
                        raise ConfigError(f"{name}: {error}") from error
                    complain(f"left out: {name}, {error}")
                    continue
                yield name, config


def _patched(names: Iterable[str]) -> tuple[str, ...]:
    """Those that a size of patches can be chosen for."""
    from vitreous.models.catalog import CATALOG
    from vitreous.models.config import ConvNetConfig, DVAEConfig

    return tuple(name for name in names if not isinstance(CATALOG[name], ConvNetConfig | DVAEConfig))


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
    if not (text.strip().isdecimal() and len(text) <= DIGITS and int(text) > 0):
        raise ConfigError(
            f"{option} {given[:40]}: {text.strip()[:40]!r} is no number of pixels; wanted for example 32,16"
        )
    return int(text)


def _speed(measured: Row) -> str:
    if "problem" in measured:
        return "-"
    speed = measured["pictures_per_second"]
    return f"{speed:,.0f}" if speed >= 100 else f"{speed:.3g}"


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
    if key == "top1":
        return f"{value:.1f}"
    if isinstance(value, list):  # by stage
        return f"{value[0]}-{value[-1]}"
    return str(value)
