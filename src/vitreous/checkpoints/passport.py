"""What a file of weights is, told from names, shapes and JSON: no model is built."""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitreous.backbones.config import MiTConfig, SwinConfig
from vitreous.backbones.convnet_config import ConvNetBackboneConfig
from vitreous.checkpoints import adapter, file, source
from vitreous.checkpoints.adapter import AdapterConfig
from vitreous.checkpoints.destination import LAYOUTS, check_sayable, writer_for
from vitreous.checkpoints.directory import MANIFEST, read_json, sha256, verify_directory
from vitreous.checkpoints.foreign.plan import Found, Plan
from vitreous.checkpoints.foreign.writers import WRITERS
from vitreous.checkpoints.stored import Stored, open_file
from vitreous.checkpoints.strangers import looks_like
from vitreous.checkpoints.weights import blueprint, first_line, listed, load_weights
from vitreous.config import to_plain
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, printable
from vitreous.models.accounting import account
from vitreous.models.catalog import CATALOG
from vitreous.models.config import ConvNetConfig, DVAEConfig, ModelConfig, family_of
from vitreous.models.description import describe

OURS = "vitreous"
FIRST_CLASSES = 10


@dataclass(frozen=True, kw_only=True)
class Passport:
    """What ``inspect`` found.

    ``layout`` is whose names the tensors have, "unknown" where nobody's, ``origin`` the same with what
    else is known of who wrote it, ``looks_like`` the kind of model that such tensors are typical of;
    ``model`` the catalog's name of this size, if it has one; ``config`` the whole configuration.
    ``model_parameters`` and ``catalog_parameters`` are what a model of this configuration has, and the
    catalog's of that name. ``class_names`` is where the names of classes come from. ``adapter`` describes
    what is no model by itself. ``missing`` and ``left_over`` are tensors that the layout asks for and does
    not explain, ``unused`` ones that a classifier does not need, ``assumed`` what the file does not say.
    ``problem`` says why the file cannot be loaded; ``writable`` are the layouts that it can be written to,
    ``not_writable`` the others with the reason.
    """

    name: str
    container: str
    layout: str
    tensors: int
    parameters: int
    dtypes: tuple[str, ...]
    bytes: int
    sha256: dict[str, str]
    origin: str = "unknown"
    looks_like: str | None = None
    family: str | None = None
    model: str | None = None
    config: ModelConfig | None = None
    model_parameters: int | None = None
    catalog_parameters: int | None = None
    preprocess: Preprocess | None = None
    classes: int = 0
    first_classes: tuple[str, ...] = ()
    class_names: str | None = None
    temperature: float = 1.0
    answers: file.Answers = "one"
    adapter: AdapterConfig | None = None
    missing: tuple[str, ...] = ()
    left_over: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    lineage: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None
    writable: tuple[str, ...] = ()
    not_writable: dict[str, str] = field(default_factory=dict)

    @property
    def loadable(self) -> bool:
        """Whether ``vitreous.load`` will take it, numbers that are NaN or infinite aside."""
        return self.problem is None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; what people ask for most stands beside the configuration."""
        values: dict[str, Any] = to_plain(self) | {"loadable": self.loadable}
        if self.config is not None:
            values |= describe(self.config)
        return values


def inspect(path: str | os.PathLike[str], name: str | None = None) -> Passport:
    """Say what a file, a directory or a Hub id is, in whatever layout. ``name`` is as in ``read_any``.

    A file in an unknown layout, or one that cannot be loaded, has a passport which says so. Numbers are
    read for their SHA-256 alone.

    Raises:
        CheckpointError: there is no file of weights, or it is damaged or unsafe.
    """
    said = os.fspath(path)
    found = source.place(said)
    ours, alone = source.find_ours(found), adapter.find_adapter(found)
    if ours is not None:
        return _own(ours, said)
    return _foreign(found, said, name) if alone is None else _adapter(alone, said)


def _own(directory: Path, said: str) -> Passport:
    whole = verify_directory(directory, name=said)
    values = read_json(whole / file.CONFIG, f"{said}/{file.CONFIG}")
    config, preprocess = file.read_config(values, f"{said}/{file.CONFIG}")
    stored = open_file(whole / file.WEIGHTS, f"{said}/{file.WEIGHTS}")
    expected = blueprint(config, len(stored.described), said).state_dict()
    problem = _refusal(lambda tensors: load_weights(config, tensors, said), stored, said)
    return Passport(
        **_measures(stored, said, whole),
        **_of_model(config, problem, values.get(file.ANSWERS, "one")),
        layout=OURS,
        origin=OURS,
        problem=problem,
        family=values["family"],
        preprocess=preprocess,
        first_classes=tuple(values["classes"][:FIRST_CLASSES]),
        class_names=file.CONFIG if config.classes else None,
        temperature=float(values["temperature"]),
        answers=values.get(file.ANSWERS, "one"),
        missing=tuple(key for key in expected if key not in stored.described),
        left_over=tuple(key for key in stored.described if key not in expected),
        lineage=values["lineage"],
    )


def _adapter(directory: Path, said: str) -> Passport:
    """Adapters alone. Whether they can be loaded is found out by reading their base."""
    own, values = adapter.read_adapter_config(directory, said)
    whole = verify_directory(directory, name=said)
    config, preprocess = file.read_config(values, f"{said}/{adapter.CONFIG}")
    stored = open_file(whole / adapter.WEIGHTS, f"{said}/{adapter.WEIGHTS}")
    try:
        source.read_any(said)
        problem = None
    except CheckpointError as error:
        problem = _bare(error, said)
    return Passport(
        **_measures(stored, said, whole),
        **_of_model(config, problem, values.get(file.ANSWERS, "one")),
        layout=OURS,
        origin=f"{OURS}, an adapter",
        adapter=own,
        problem=problem,
        family=values["family"],
        preprocess=preprocess,
        first_classes=tuple(values["classes"][:FIRST_CLASSES]),
        class_names=adapter.CONFIG if config.classes else None,
        temperature=float(values["temperature"]),
        answers=values.get(file.ANSWERS, "one"),
        lineage=values["lineage"],
    )


def _foreign(path: Path, said: str, name: str | None) -> Passport:
    found = source.find_foreign(path, said)
    names = found.stored.described
    measures = _measures(found.stored, said, path)
    measures |= {"looks_like": looks_like(names), "lineage": found.stored.wrapping.lineage()}
    reader = source.recognise(found)
    if reader is None:
        problem = source.unexplained(found)
        return Passport(**measures, layout="unknown", left_over=tuple(names), problem=problem)
    try:
        plan = source.plan_for(found, name)
        expected = blueprint(plan.config, len(names), found.name).state_dict()
    except CheckpointError as error:
        measures |= {"layout": reader.layout, "family": reader.family, "origin": reader.layout}
        return Passport(**measures, problem=_bare(error, found.name))
    needed = (parts for ours, parts in plan.table.items() if ours in expected and ours not in plan.zeros)
    wanted = {part for parts in needed for part in parts if part}
    left_over = plan.left_over(names)
    missing = tuple(sorted(part for part in wanted if part not in names))
    faults = {"missing": missing, "not explained": left_over}
    problems = [f"{len(keys)} tensors {fault}: {listed(keys)}" for fault, keys in faults.items() if keys]
    refused = "; ".join(problems) or _refusal(
        lambda tensors: plan.build(tensors, said, {}, torch.float32), found.stored, said
    )
    measures["looks_like"] = measures["looks_like"] if refused else None
    measures["lineage"] = {**measures["lineage"], **plan.facts}
    return Passport(
        **measures,
        **_of_model(plan.config, refused, plan.answers),
        layout=plan.layout,
        origin=_origin(plan, found),
        family=plan.family,
        preprocess=plan.preprocess,
        first_classes=plan.classes[:FIRST_CLASSES],
        class_names=_names_from(plan) if plan.classes else None,
        answers=plan.answers,
        missing=missing,
        left_over=left_over,
        unused=plan.unused,
        assumed=plan.assumed,
        problem=refused,
    )


def _refusal(load: Callable[[dict[str, Tensor]], object], stored: Stored, said: str) -> str | None:
    """Why loading would fail: it is gone through with tensors that have types and shapes but no numbers."""
    hollow = {
        key: torch.empty(value.shape, dtype=getattr(torch, value.dtype, torch.uint8), device="meta")
        for key, value in stored.described.items()
    }
    try:
        load(hollow)
    except CheckpointError as error:
        return _bare(error, said)
    except (RuntimeError, NotImplementedError):  # a reader looks at a number; loading will tell
        return None
    except source.STRANGE as error:
        return f"its tensors are not of the shapes that are wanted: {first_line(error)}"
    return None


def _of_model(config: ModelConfig, problem: str | None, answers: str = "one") -> dict[str, Any]:
    """What follows from a configuration, and from how many classes a picture may show."""
    known = catalog_name(config)
    able: dict[str, str | None] = {}
    for layout in _told(config) if problem is None else ():
        try:
            if layout != OURS:
                writer_for(config, layout)
                check_sayable(answers, layout)
            able[layout] = None
        except CheckpointError as error:
            able[layout] = str(error)
    return {
        "config": config,
        "model": known,
        "classes": config.classes,
        "model_parameters": account(config).parameters,
        "catalog_parameters": account(CATALOG[known]).parameters if known else None,
        "writable": tuple(layout for layout, reason in able.items() if reason is None),
        "not_writable": {layout: reason for layout, reason in able.items() if reason is not None},
    }


def _told(config: ModelConfig) -> list[str]:
    """The layouts of which it is told whether they hold a model: those that are for one other family alone
    are not worth a line."""
    families = {name: {f for writer in WRITERS.get(name, ()) for f in writer.families} for name in LAYOUTS}
    return [name for name in LAYOUTS if len(families[name]) != 1 or family_of(config) in families[name]]


def _origin(plan: Plan, found: Found) -> str:
    """Whose code wrote a file, as far as it can be known."""
    config = found.config or {}
    version, classes = config.get("transformers_version"), config.get("architectures")
    told = [classes[0] if isinstance(classes, list) and classes else None, config.get("architecture")]
    named = [word for word in told if isinstance(word, str)] or [plan.stated_family or ""]
    library = f"{plan.layout} {version}" if isinstance(version, str) else plan.layout
    suffix = found.stored.files[0].suffix
    ending = f"({suffix})" if not config and suffix else ""
    return " ".join(printable(word)[:60] for word in (library, *named, ending) if word)


def _names_from(plan: Plan) -> str:
    """Where the names of the classes come from."""
    for said in plan.assumed:
        if said == "class names":
            return "nowhere, they are numbered"
        if said.startswith("class names of "):
            return f"the order of {said.removeprefix('class names of ')}, assumed"
    return {"transformers": "id2label in config.json", "timm": "label_names in config.json"}.get(
        plan.layout, file.CONFIG
    )


def _bare(error: CheckpointError, said: str) -> str:
    """An error without the name that the passport says already."""
    return str(error).removeprefix(f"{said}: ")


def catalog_name(config: ModelConfig) -> str | None:
    """The catalog's name of a model of this size and patch, of several the one that agrees most in the
    rest; None where it has none."""
    said = describe(config)

    def agreement(name: str) -> int:
        return sum(said.get(key) == value for key, value in describe(CATALOG[name]).items())

    same = [name for name, known in CATALOG.items() if _size(known) == _size(config)]
    return max(same, key=agreement, default=None)


def _measures(stored: Stored, said: str, directory: Path) -> dict[str, Any]:
    kinds = Counter(value.dtype for value in stored.described.values())
    return {
        "name": said,
        "container": stored.container,
        "tensors": len(stored.described),
        "parameters": sum(prod(value.shape) for value in stored.described.values()),
        "dtypes": tuple(kind for kind, _ in kinds.most_common()),
        "bytes": sum(path.stat().st_size for path in stored.files),
        "sha256": _digests(stored, directory),
    }


def _digests(stored: Stored, directory: Path) -> dict[str, str]:
    """The SHA-256 of every file of weights; from a manifest that has just been verified, where one is."""
    known: dict[str, Any] = {}
    if (directory / MANIFEST).is_file():
        known = read_json(directory / MANIFEST, MANIFEST)["files"]
    return {
        path.name: known[path.name]["sha256"] if path.name in known else sha256(path) for path in stored.files
    }


def _size(config: ModelConfig) -> tuple[object, ...]:
    """What two models of the same name have in common."""
    if isinstance(config, ConvNetConfig):
        return (config.architecture,)
    if isinstance(config, DVAEConfig):
        return (family_of(config), config.codes, config.groups, config.blocks, config.width)
    backbone = config.backbone
    if isinstance(backbone, ConvNetBackboneConfig):
        return (family_of(config), backbone.widths, backbone.depths, backbone.bottleneck)
    if isinstance(backbone, MiTConfig):
        return (family_of(config), backbone.widths, backbone.depths, backbone.heads, backbone.reductions)
    if isinstance(backbone, SwinConfig):
        return (family_of(config), backbone.width, backbone.depths, backbone.heads, backbone.patch)
    encoder = backbone.encoder
    sizes = (encoder.width, encoder.mlp_width, backbone.depth, backbone.heads, backbone.patch)
    return (family_of(config), *sizes)
