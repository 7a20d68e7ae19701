"""Every class of another library that models are written for. Of several that could hold a model the
first is taken that has a place for all its parts."""

from collections.abc import Mapping

from vitreous.checkpoints.foreign.timm import vit_writer as timm_vit
from vitreous.checkpoints.foreign.torchvision import vit as torchvision_vit
from vitreous.checkpoints.foreign.transformers import vit as transformers_vit
from vitreous.checkpoints.foreign.writing import Writer

WRITERS: Mapping[str, tuple[Writer, ...]] = {
    "transformers": (transformers_vit.WRITER,),
    "timm": (timm_vit.WRITER,),
    "torchvision": (torchvision_vit.WRITER,),
}
