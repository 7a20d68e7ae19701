"""Vision Transformers that you can see through: train, evaluate, predict and explain.

Every public name is listed in ``__all__`` and imported when it is first touched (PEP 562), so that
``import vitreous`` costs next to nothing and torch is only there for those who need it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from vitreous.data.collection import Collection as Collection
    from vitreous.data.collection import Sample as Sample
    from vitreous.data.collection import Splits as Splits
    from vitreous.data.folder import read_data as read_data
    from vitreous.data.images import open_picture as open_picture
    from vitreous.data.preprocess import Preprocess as Preprocess
    from vitreous.errors import CheckpointError as CheckpointError
    from vitreous.errors import ConfigError as ConfigError
    from vitreous.errors import DataError as DataError
    from vitreous.errors import InputError as InputError
    from vitreous.errors import Interrupted as Interrupted
    from vitreous.errors import MissingPackage as MissingPackage
    from vitreous.errors import PictureError as PictureError
    from vitreous.errors import StorageError as StorageError
    from vitreous.errors import TrainingError as TrainingError
    from vitreous.errors import VitreousError as VitreousError
    from vitreous.evaluation.evaluate import evaluate as evaluate
    from vitreous.explain.explanation import Explanation as Explanation
    from vitreous.explain.explanation import explain as explain
    from vitreous.models.catalog import names as models
    from vitreous.predictor import Answer as Answer
    from vitreous.predictor import ObjectsAnswer as ObjectsAnswer
    from vitreous.predictor import Predictor as Predictor
    from vitreous.predictor import RegionsAnswer as RegionsAnswer
    from vitreous.predictor import load as load
    from vitreous.predictor import save as save
    from vitreous.training.config import TrainConfig as TrainConfig
    from vitreous.training.fit import Run as Run
    from vitreous.training.fit import fit as fit

    __version__: str

# Public name -> the module it is taken from; "explain" and "models" are rooms that can be called.
_HOMES = {
    "Answer": "predictor",
    "CheckpointError": "errors",
    "Collection": "data.collection",
    "ConfigError": "errors",
    "DataError": "errors",
    "Explanation": "explain.explanation",
    "InputError": "errors",
    "Interrupted": "errors",
    "MissingPackage": "errors",
    "ObjectsAnswer": "predictor",
    "PictureError": "errors",
    "Predictor": "predictor",
    "Preprocess": "data.preprocess",
    "RegionsAnswer": "predictor",
    "Run": "training.fit",
    "Sample": "data.collection",
    "Splits": "data.collection",
    "StorageError": "errors",
    "TrainConfig": "training.config",
    "TrainingError": "errors",
    "VitreousError": "errors",
    "evaluate": "evaluation.evaluate",
    "explain": "",
    "fit": "training.fit",
    "load": "predictor",
    "models": "",
    "open_picture": "data.images",
    "read_data": "data.folder",
    "save": "predictor",
}

__all__ = [
    "Answer",
    "CheckpointError",
    "Collection",
    "ConfigError",
    "DataError",
    "Explanation",
    "InputError",
    "Interrupted",
    "MissingPackage",
    "ObjectsAnswer",
    "PictureError",
    "Predictor",
    "Preprocess",
    "RegionsAnswer",
    "Run",
    "Sample",
    "Splits",
    "StorageError",
    "TrainConfig",
    "TrainingError",
    "VitreousError",
    "create",
    "evaluate",
    "explain",
    "fit",
    "load",
    "models",
    "open_picture",
    "read_data",
    "save",
]


def create(
    name: str,
    *,
    classes: int | tuple[str, ...] = 1000,
    image_size: int | tuple[int, int] | None = None,
    channels: int = 3,
    **options: Any,
) -> "nn.Module":
    """A model of the catalog with random weights.

    ``classes`` is their number, or their names, which are counted; ``image_size`` one side or (height,
    width) in pixels; ``options`` are fields of the family's configuration: patch, registers, pool, ...

    Raises:
        ConfigError: an unknown name or option (with the nearest ones), or values that do not fit.
    """
    from vitreous.models import catalog

    count = classes if isinstance(classes, int) else len(classes)
    config = catalog.configure(name, classes=count, image_size=image_size, channels=channels, options=options)
    return catalog.build(config)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("vitreous")
    if name not in _HOMES:
        raise AttributeError(f"module 'vitreous' has no attribute {name!r}")
    home = _HOMES[name]
    value = getattr(import_module(f"vitreous.{home}"), name) if home else import_module(f"vitreous.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
