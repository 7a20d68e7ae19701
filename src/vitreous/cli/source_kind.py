"""What data a model is to be judged on, told by the JSON beside its weights, before torch is imported."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitreous.errors import ConfigError

if TYPE_CHECKING:
    from vitreous.data.layouts import Wanted

LIMIT = 1 << 24  # bytes of a configuration that is looked at
CONFIG = "config.json"
_ENDINGS: "Mapping[str, Wanted]" = {  # of what transformers calls its classes
    "ForObjectDetection": "detection",
    "ForSemanticSegmentation": "segmentation",
}


def wanted_by(source: str) -> "Wanted | None":
    """Detection or segmentation where that is plain to see; None for a classifier, and for what only its
    reader can tell. Nothing is checked here: whoever reads the model says what is wrong with it."""
    path = Path(source)
    for place in (path, path / "best", path / "last") if path.is_dir() else (path.parent,):
        values = _read(place / CONFIG)
        wanted = _ours(values) if "family" in values else _theirs(values)
        if wanted is not None:
            return wanted
    return None


def _ours(values: Mapping[str, Any]) -> "Wanted | None":
    from vitreous.config import from_plain
    from vitreous.evaluation.judged import WANTED
    from vitreous.models.config import FAMILIES, says_of

    kind = FAMILIES.get(str(values["family"]))
    if kind is None:
        return None
    try:
        return WANTED[says_of(from_plain(kind, values.get("model"), "model"))]
    except ConfigError:
        return None


def _theirs(values: Mapping[str, Any]) -> "Wanted | None":
    named = values.get("architectures")
    for name in named if isinstance(named, list) else ():
        for ending, wanted in _ENDINGS.items():
            if isinstance(name, str) and name.endswith(ending):
                return wanted
    return None


def _read(path: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > LIMIT:
            return {}
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
