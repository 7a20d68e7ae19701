"""What a file of weights is, told from names, shapes and JSON: no model is built."""

import os
from collections import Counter
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from vitreous.backbones.config import SwinConfig
from vitreous.checkpoints import file, source
from vitreous.checkpoints.directory import read_json, sha256, verify_directory
from vitreous.checkpoints.stored import Stored, open_file
from vitreous.checkpoints.weights import blueprint, listed
from vitreous.config import to_plain
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError
from vitreous.models.accounting import account
from vitreous.models.catalog import CATALOG
from vitreous.models.config import ConvNetConfig, ModelConfig, family_of
from vitreous.models.description import describe

OURS = "vitreous"
FIRST_CLASSES = 10


@dataclass(frozen=True, kw_only=True)
class Passport:
    """What ``inspect`` found.

    ``layout`` is whose names the tensors have, "unknown" where nobody's; ``model`` the catalog's name
    of this size, if it has one; ``config`` the whole configuration. ``missing`` and ``left_over`` are
    tensors that the layout asks for and does not explain, ``unused`` ones that a classifier does not
    need, ``assumed`` what the file does not say. ``problem`` says why the file cannot be loaded.
    """

    name: str
    container: str
    layout: str
    tensors: int
    parameters: int
    dtypes: tuple[str, ...]
    bytes: int
    sha256: dict[str, str]
    family: str | None = None
    model: str | None = None
    config: ModelConfig | None = None
    preprocess: Preprocess | None = None
    classes: int = 0
    first_classes: tuple[str, ...] = ()
    temperature: float = 1.0
    missing: tuple[str, ...] = ()
    left_over: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    lineage: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; what people ask for most stands beside the configuration."""
        values: dict[str, Any] = to_plain(self)
        if self.config is not None:
            values |= describe(self.config)
        return values


def inspect(path: str | os.PathLike[str], name: str | None = None) -> Passport:
    """Say what a file, a directory or a Hub id is, in whatever layout. ``name`` is as in ``read_any``.

    A file in an unknown layout, or one that cannot be loaded, has a passport which says so.

    Raises:
        CheckpointError: there is no file of weights, or it is damaged or unsafe.
    """
    said = os.fspath(path)
    found = source.place(said)
    ours = source.find_ours(found)
    return _own(ours, said) if ours is not None else _foreign(found, said, name)


def _own(directory: Path, said: str) -> Passport:
    whole = verify_directory(directory, name=said)
    values = read_json(whole / file.CONFIG, f"{said}/{file.CONFIG}")
    config, preprocess = file.read_config(values, f"{said}/{file.CONFIG}")
    stored = open_file(whole / file.WEIGHTS, f"{said}/{file.WEIGHTS}")
    expected = _expected(config, stored, said)
    held = sum(prod(value.shape) for value in stored.described.values())
    return Passport(
        **_measures(stored, said),
        layout=OURS,
        problem="; ".join(_of_another_size(held, config)) or None,
        family=values["family"],
        model=catalog_name(config),
        config=config,
        preprocess=preprocess,
        classes=config.classes,
        first_classes=tuple(values["classes"][:FIRST_CLASSES]),
        temperature=float(values["temperature"]),
        missing=tuple(key for key in expected if key not in stored.described),
        left_over=tuple(key for key in stored.described if key not in expected),
        lineage=values["lineage"],
    )


def _foreign(path: Path, said: str, name: str | None) -> Passport:
    found = source.find_foreign(path, said)
    measures = _measures(found.stored, said)
    names = found.stored.described
    layout = source.recognise(found)
    if layout is None:
        problem = source.unexplained(found)
        return Passport(**measures, layout="unknown", left_over=tuple(names), problem=problem)
    try:
        plan = source.plan_for(found, name)
        expected = _expected(plan.config, found.stored, said)
    except CheckpointError as error:
        return Passport(**measures, layout=layout.layout, family=layout.family, problem=str(error))
    needed = (parts for ours, parts in plan.table.items() if ours in expected and ours not in plan.zeros)
    wanted = {part for parts in needed for part in parts if part}
    left_over = plan.left_over(names)
    missing = tuple(sorted(part for part in wanted if part not in names))
    faults = {"missing": missing, "not explained": left_over}
    problems = [f"{len(keys)} tensors {fault}: {listed(keys)}" for fault, keys in faults.items() if keys]
    if not problems:
        held = sum(prod(names[part].shape) for part in wanted) + sum(map(prod, plan.zeros.values()))
        problems += _of_another_size(held, plan.config)
    return Passport(
        **measures,
        layout=plan.layout,
        family=plan.family,
        model=catalog_name(plan.config),
        config=plan.config,
        preprocess=plan.preprocess,
        classes=plan.config.classes,
        first_classes=plan.classes[:FIRST_CLASSES],
        missing=missing,
        left_over=left_over,
        unused=plan.unused,
        assumed=plan.assumed,
        problem="; ".join(problems) or None,
    )


def _expected(config: ModelConfig, stored: Stored, said: str) -> dict[str, None]:
    """Every tensor that a model of this configuration has, in its order."""
    return dict.fromkeys(blueprint(config, len(stored.described), said).state_dict())


def _of_another_size(held: int, config: ModelConfig) -> list[str]:
    wanted = account(config).parameters
    if held == wanted:
        return []
    return [
        f"its tensors hold {held:,} numbers and a model of this size {wanted:,}: some are of another shape"
    ]


def catalog_name(config: ModelConfig) -> str | None:
    """The catalog's name of a model of this size and patch; None where it has none."""
    for name, known in CATALOG.items():
        if _size(known) == _size(config):
            return name
    return None


def _measures(stored: Stored, said: str) -> dict[str, Any]:
    kinds = Counter(value.dtype for value in stored.described.values())
    return {
        "name": said,
        "container": stored.container,
        "tensors": len(stored.described),
        "parameters": sum(prod(value.shape) for value in stored.described.values()),
        "dtypes": tuple(kind for kind, _ in kinds.most_common()),
        "bytes": sum(path.stat().st_size for path in stored.files),
        "sha256": {path.name: sha256(path) for path in stored.files},
    }


def _size(config: ModelConfig) -> tuple[object, ...]:
    """What two models of the same name have in common."""
    if isinstance(config, ConvNetConfig):
        return (config.architecture,)
    backbone = config.backbone
    if isinstance(backbone, SwinConfig):
        return (backbone.width, backbone.depths, backbone.heads, backbone.patch)
    encoder = backbone.encoder
    sizes = (encoder.width, encoder.mlp_width, backbone.depth, backbone.heads, backbone.patch)
    return (family_of(config), *sizes)
