"""Every kind of foreign file that is read. The first that recognises a file reads it, so a kind stands
ahead of those whose names it shares."""

from vitreous.checkpoints.foreign import (
    dall_e,
    facebookresearch_deit,
    facebookresearch_detr,
    facebookresearch_dinov2,
    facebookresearch_dinov3,
    facebookresearch_mae,
    google,
    microsoft_beit,
    microsoft_swin,
    nvlabs_segformer,
)
from vitreous.checkpoints.foreign.plan import Reader
from vitreous.checkpoints.foreign.timm import beit as timm_beit
from vitreous.checkpoints.foreign.timm import deit as timm_deit
from vitreous.checkpoints.foreign.timm import dinov3 as timm_dinov3
from vitreous.checkpoints.foreign.timm import swin as timm_swin
from vitreous.checkpoints.foreign.timm import vit as timm_vit
from vitreous.checkpoints.foreign.torchvision import convnet as torchvision_convnet
from vitreous.checkpoints.foreign.torchvision import swin as torchvision_swin
from vitreous.checkpoints.foreign.torchvision import vit as torchvision_vit
from vitreous.checkpoints.foreign.transformers import beit as transformers_beit
from vitreous.checkpoints.foreign.transformers import beit_segmentation as transformers_beit_segmentation
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

READERS: tuple[Reader, ...] = (
    microsoft_beit.READER,
    microsoft_swin.READER,
    timm_dinov3.READER,
    facebookresearch_deit.READER,
    facebookresearch_detr.READER,
    nvlabs_segformer.READER,
    facebookresearch_mae.READER,
    facebookresearch_dinov3.READER,
    facebookresearch_dinov2.READER,
    timm_deit.READER,
    timm_beit.READER,
    timm_swin.READER,
    timm_vit.READER,
    transformers_deit.READER,
    transformers_beit_segmentation.READER,
    transformers_beit.READER,
    transformers_mae.READER,
    transformers_detr.READER,
    transformers_yolos.READER,
    transformers_dinov2.READER,
    transformers_dinov3.READER,
    transformers_flava.READER,
    transformers_segformer.READER,
    transformers_simmim.READER,
    transformers_swin.READER,
    transformers_vit.READER,
    torchvision_swin.READER,
    torchvision_vit.READER,
    torchvision_convnet.READER,
    dall_e.READER,
    google.READER,
)
