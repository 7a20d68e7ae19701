"""Every class of another library that models are written for. Of several that could hold a model the
first is taken that has a place for all its parts."""

from collections.abc import Mapping

from vitreous.checkpoints.foreign import dall_e
from vitreous.checkpoints.foreign.timm import beit_writer as timm_beit
from vitreous.checkpoints.foreign.timm import deit as timm_deit
from vitreous.checkpoints.foreign.timm import dinov3_writer as timm_dinov3
from vitreous.checkpoints.foreign.timm import swin as timm_swin
from vitreous.checkpoints.foreign.timm import vit_writer as timm_vit
from vitreous.checkpoints.foreign.torchvision import convnet as torchvision_convnet
from vitreous.checkpoints.foreign.torchvision import swin as torchvision_swin
from vitreous.checkpoints.foreign.torchvision import vit as torchvision_vit
from vitreous.checkpoints.foreign.transformers import beit_segmentation as transformers_beit_segmentation
from vitreous.checkpoints.foreign.transformers import beit_writer as transformers_beit
from vitreous.checkpoints.foreign.transformers import deit as transformers_deit
from vitreous.checkpoints.foreign.transformers import detr as transformers_detr
from vitreous.checkpoints.foreign.transformers import dinov2 as transformers_dinov2
from vitreous.checkpoints.foreign.transformers import dinov3 as transformers_dinov3
from vitreous.checkpoints.foreign.transformers import flava as transformers_flava
from vitreous.checkpoints.foreign.transformers import mae as transformers_mae
from vitreous.checkpoints.foreign.transformers import segformer as transformers_segformer
from vitreous.checkpoints.foreign.transformers import simmim as transformers_simmim
from vitreous.checkpoints.foreign.transformers import swin as transformers_swin
from vitreous.checkpoints.foreign.transformers import vit as transformers_vit
from vitreous.checkpoints.foreign.transformers import yolos as transformers_yolos
from vitreous.checkpoints.foreign.writing import Writer

WRITERS: Mapping[str, tuple[Writer, ...]] = {
    "transformers": (
        transformers_vit.WRITER,
        transformers_dinov2.WRITER,
        transformers_vit.FOLDED,
        transformers_dinov3.WRITER,
        transformers_mae.WRITER,
        transformers_deit.WRITER,
        transformers_beit.WRITER,
        transformers_beit_segmentation.WRITER,
        transformers_swin.WRITER,
        transformers_simmim.WRITER,
        transformers_segformer.WRITER,
        transformers_segformer.CLASSIFIER_WRITER,
        transformers_detr.WRITER,
        transformers_yolos.WRITER,
        transformers_flava.WRITER,
    ),
    "timm": (timm_vit.WRITER, timm_dinov3.WRITER, timm_deit.WRITER, timm_beit.WRITER, timm_swin.WRITER),
    "torchvision": (torchvision_vit.WRITER, torchvision_convnet.WRITER, torchvision_swin.WRITER),
    "dall_e": (dall_e.WRITER,),
}
