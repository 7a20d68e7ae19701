"""Every kind of foreign file that is read. The first that recognises a file reads it, so a kind stands
ahead of those whose names it shares."""

from vitreous.checkpoints.foreign import google
from vitreous.checkpoints.foreign.plan import Reader
from vitreous.checkpoints.foreign.timm import vit as timm_vit
from vitreous.checkpoints.foreign.torchvision import vit as torchvision_vit
from vitreous.checkpoints.foreign.transformers import vit as transformers_vit

READERS: tuple[Reader, ...] = (
    timm_vit.READER,
    transformers_vit.READER,
    torchvision_vit.READER,
    google.READER,
)
