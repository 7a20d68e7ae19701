"""Floor 6: a model with its preprocessing and classes; pictures in, answers out."""

from vitreous.predictor.answers import Answer as Answer
from vitreous.predictor.answers import AnyAnswer as AnyAnswer
from vitreous.predictor.answers import ObjectsAnswer as ObjectsAnswer
from vitreous.predictor.answers import RegionsAnswer as RegionsAnswer
from vitreous.predictor.device import pick_device as pick_device
from vitreous.predictor.predictor import Predictor as Predictor
from vitreous.predictor.stored import load as load
from vitreous.predictor.stored import save as save

__all__ = [
    "Answer",
    "AnyAnswer",
    "ObjectsAnswer",
    "Predictor",
    "RegionsAnswer",
    "load",
    "pick_device",
    "save",
]
