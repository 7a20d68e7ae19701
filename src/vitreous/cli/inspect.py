"""``vitreous inspect``: what a file of weights or a model directory is."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitreous.cli.files import check_source
from vitreous.cli.output import show, show_json

if TYPE_CHECKING:
    from vitreous.data.preprocess import Preprocess

SHOWN = 5  # entries of a long list
WORD = 40  # letters without a space between them: a digest is not worth more
LETTERS = 140  # of a value of which any length may come
LINES = 8  # of what a training said of itself
Row = tuple[str, str]


def inspect(
    file: Annotated[str, typer.Argument(help="A file of weights, a model directory, a run or a Hub id.")],
    name: Annotated[
        str | None, typer.Option(help="The model's catalog name, if the weights do not say it.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, with configuration and lineage.")] = False,
) -> None:
    """Say what a file is: whose, which model, how it answers, what is in it and what it can become.

    No number is read but for the SHA-256. Exit code 1 where it cannot be loaded; why is said.
    """
    check_source(file)
    from vitreous.checkpoints.passport import inspect as read_passport

    passport = read_passport(file, name)
    values = passport.to_dict()
    if json:
        show_json(values)
    else:
        show(values["name"])
        for title, rows in (
            ("", _verdict(values)),
            ("adapter", _adapter(values["adapter"])),
            ("model", _model(values)),
            ("answers", _answers(values, passport.preprocess)),
            ("file", _file(values)),
            ("lineage", _lineage(values["lineage"])),
        ):
            _show_group(title, list(rows))
    if passport.problem is not None:
        raise typer.Exit(1)


def _show_group(title: str, rows: Sequence[Row]) -> None:
    if rows and title:
        show()
        typer.secho(title, bold=True)
    for label, value in rows:
        show(f"  {label:<16}{value}")


def _verdict(values: Mapping[str, Any]) -> Iterator[Row]:
    yield "origin", values["origin"]
    family, model = values["family"], values["model"]
    if family:
        yield "family", family + (f", the catalog's {model}" if model else "; no name in the catalog")
    yield "loads", "yes" if values["loadable"] else "no"
    if values["problem"]:
        yield "problem", values["problem"]
    if values["looks_like"]:
        yield "looks like", values["looks_like"]
    if values["writable"]:
        yield "converts to", ", ".join(values["writable"])
    for layout, reason in values["not_writable"].items():
        yield "not to", f"{layout}: {reason.split('cannot hold this model: ')[-1]}"


def _adapter(adapter: Mapping[str, Any] | None) -> Iterator[Row]:
    if adapter is None:
        return
    layers = adapter["layers"]
    yield "kind", f"LoRA of rank {adapter['rank']}, alpha {adapter['alpha']:g}, on {len(layers)} layers"
    yield "layers", _some(layers, len(layers))
    yield "base", f"{adapter['base']}, weights of SHA-256 {adapter['sha256']}"


def _model(values: Mapping[str, Any]) -> Iterator[Row]:
    if values["config"] is None:
        return
    wanted, known = values["model_parameters"], values["catalog_parameters"]
    beside = f"; {values['model']} in the catalog has {known:,}" if known not in (None, wanted) else ""
    yield "parameters", f"{wanted:,}{beside}"
    channels = values["channels"]
    pictures = f"{_sides(values['image_size'])} pixels, {channels} channel{'s' * (channels != 1)}"
    if "patch" in values:
        pictures += f"; patches of {values['patch']}, a grid of {_sides(values['grid'])}"
    yield "pictures", pictures
    if "codes" in values:
        yield from _tokens(values)
    if "architecture" in values:
        yield "architecture", values["architecture"]
    if "mlp_width" in values:
        yield "blocks", _blocks(values)
    if "positions" in values:
        resize = values.get("bias_resize") or values.get("position_resize")
        yield "positions", values["positions"] + (f', resized as "{resize}"' if resize else "")
    if "norm_eps" in values:
        yield "norm epsilon", f"{values['norm_eps']:g}"
        yield "activation", values["activation"]
    extras = [word for word in (_counted(values, "registers"), _scaled(values)) if word]
    if extras:
        yield "extras", ", ".join(extras)
    if "head_maps" in values:
        maps = values["head_maps"]
        yield "head", f"linear layers of width {values['head_width']} over {maps} map{'s' * (maps != 1)}"
    if "decoder_heads" in values:
        sizes = f"{values['decoder_depth']} blocks of width {values['decoder_width']}"
        yield "decoder", f"{sizes}, {values['decoder_heads']} heads"
    if "pool" in values:
        pools = {"class": "class token", "mean": "mean of the patches", "class_mean": "class token and mean"}
        yield "pooling", f"{pools.get(values['pool'], values['pool'])}; head {values['head']}"


def _tokens(values: Mapping[str, Any]) -> Iterator[Row]:
    """What a tokenizer makes of a picture, and whether it paints it again."""
    yield (
        "tokens",
        (
            f"{values['codes']:,} codes, a grid of {_sides(values['grid'])}, one for"
            f" {values['stride']}x{values['stride']} pixels (stride {values['stride']})"
        ),
    )
    yield "convolutions", f"{values['groups']} groups of {values['blocks']} blocks, width {values['width']}"
    kind = {"pixels": "pixels", "logit_laplace": "a distribution of each pixel (logit-Laplace)"}
    paints = f"paints {kind[values['paints']]}; codes of width {values['code_width']}"
    yield "decoder", paints if values["decoder"] else "none, it only makes tokens"


def _blocks(values: Mapping[str, Any]) -> str:
    sizes = {"width": values["width"], "MLP": values["mlp_width"]}
    layers = values.get("depths") or values["layers"]
    text = f"{_each(layers)} of " + ", ".join(f"{name} {_each(size)}" for name, size in sizes.items())
    text += f", {_each(values['heads'])} heads"
    return text + (f", windows of {_each(values['window'])}" if "window" in values else "")


def _answers(values: Mapping[str, Any], preprocess: "Preprocess | None") -> Iterator[Row]:
    if values["config"] is None:
        return
    count, first = values["classes"], values["first_classes"]
    none = "none, a tokenizer" if "codes" in values else "none, a backbone"
    yield "classes", f"{count:,}: {_some(first, count)}" if count else none
    if values["class_names"]:
        yield "their names", values["class_names"]
    if values["answers"] == "several":
        yield "answers", "any number of classes a picture, a sigmoid each"
    if values["temperature"] != 1.0:
        yield "temperature", f"{values['temperature']:.4g}"
    if preprocess is not None:
        yield "preprocessing", _preprocessing(preprocess)


def _preprocessing(preprocess: "Preprocess") -> str:
    """One sentence."""
    size = _sides(preprocess.size)
    if preprocess.longest is not None:
        how = (
            f"shorter side to {preprocess.shorter}, longer one at most {preprocess.longest},"
            f" {preprocess.interpolation}; nothing is cut off"
        )
        how += f"; sides down to multiples of {preprocess.multiple}" if preprocess.multiple > 1 else ""
    elif preprocess.shorter is not None:
        how = f"shorter side to {preprocess.shorter} {preprocess.interpolation}, centre {size}"
    elif preprocess.squashed is not None:
        how = f"squashed to {_sides(preprocess.squashed)} {preprocess.interpolation}, centre {size}"
    else:
        how = f"squashed to {size} {preprocess.interpolation}"
    mean, std = (" ".join(f"{value:g}" for value in row) for row in (preprocess.mean, preprocess.std))
    return f"{how}; mean {mean}; std {std}"


def _file(values: Mapping[str, Any]) -> Iterator[Row]:
    yield "container", f"{values['container']}, {_bytes(values['bytes'])}"
    kinds = ", ".join(values["dtypes"])
    loaded = "" if set(values["dtypes"]) <= {"float32"} or not values["loadable"] else ", loaded as float32"
    yield "tensors", f"{values['tensors']:,} of {values['parameters']:,} numbers, {kinds}{loaded}"
    unknown = values["config"] is None
    for label, key in (("missing", "missing"), ("unaccounted for", "left_over"), ("not used", "unused")):
        names = values[key]
        why = "; no part of the model" if key == "unused" and names else ""
        if not (unknown and not names):
            yield label, f"{len(names)}: {_some(names, len(names))}{why}" if names else "none"
    if not unknown:
        yield "assumed", ", ".join(values["assumed"]) or "nothing"
    for file, digest in list(values["sha256"].items())[:SHOWN]:
        yield "SHA-256", digest + (f" {file}" if len(values["sha256"]) > 1 else "")


def _lineage(lineage: Mapping[str, Any]) -> Iterator[Row]:
    for key, value in list(lineage.items())[:LINES]:
        text = _flat(value)
        yield str(key)[:15], text if len(text) <= LETTERS else text[:LETTERS] + " ..."
    if len(lineage) > LINES:
        yield "...", f"{len(lineage) - LINES} more in --json"


def _flat(value: Any, depth: int = 3) -> str:
    """A JSON value in words; what is nested deeper stays in --json."""
    if isinstance(value, Mapping) and depth:
        return ", ".join(f"{name} {_flat(item, depth - 1)}" for name, item in value.items()) or "none"
    if isinstance(value, list) and depth:
        return _some([_flat(item, depth - 1) for item in value[:SHOWN]], len(value)) or "none"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = "..." if isinstance(value, Mapping | list) else str(value)
    return text if " " in text or len(text) <= WORD else text[:12] + "..."


def _counted(values: Mapping[str, Any], key: str) -> str:
    return f"{values[key]} {key}" if values.get(key) else ""


def _scaled(values: Mapping[str, Any]) -> str:
    return "LayerScale" if values.get("layer_scale") else ""


def _some(names: Sequence[Any], count: int) -> str:
    shown = ", ".join(map(str, names[:SHOWN]))
    return shown + (", ..." if count > SHOWN else "")


def _sides(sides: Sequence[int]) -> str:
    return "x".join(map(str, sides))


def _each(value: Any) -> str:
    """A number, or one for each stage."""
    if isinstance(value, list | tuple):
        return "-".join(_sides(item) if isinstance(item, list | tuple) else str(item) for item in value)
    return str(value)


def _bytes(size: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size} bytes"
