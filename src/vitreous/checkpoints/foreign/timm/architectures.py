"""What a name of timm's stands for and weights do not show: heads, activation and pooling.

Only architectures that are plain ViTs, DeiTs, BEiTs or DINOv3s are here. The others (CLIP, SigLIP with
attention pooling, RADIO, EVA-02, post-norm and parallel blocks) have parts that these do not have.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from vitreous.backbones.config import Activation
from vitreous.models.config import Pool


class Architecture(NamedTuple):
    """What weights do not show; heads None: those that published models of its width have. ``family`` is
    the kind of file that the name stands for; ``gated`` says that its MLP is SwiGLU."""

    pool: Pool = "class"
    activation: Activation = "gelu"
    heads: int | None = None
    family: str = "vit"
    gated: bool = False


_MEAN = Architecture(pool="mean")
_MEAN_TANH = Architecture(pool="mean", activation="gelu_tanh")
_DINOV3 = Architecture(pool="mean", family="dinov3")

# Regular expressions for whole names; the first that matches counts.
ARCHITECTURES: Mapping[str, Architecture] = {
    r"test_vit": Architecture(heads=2),
    r"test_vit2": Architecture(pool="mean", heads=2),
    r"vit_base_patch16_gap_224": Architecture(pool="mean", heads=16),
    r"vit_base_patch32_siglip_gap_256": _MEAN_TANH,
    r"vit_large_patch16_siglip_gap_512": _MEAN_TANH,
    r"vit_so400m_patch16_siglip_gap_\d+": _MEAN_TANH,
    r"vit_giantopt_patch16_siglip_gap_\d+": Architecture(pool="mean", activation="gelu_tanh", heads=16),
    r"vit_(base|large|so400m)_patch\d+_siglip_gap_\d+": _MEAN,
    r"vit_[a-z0-9]+_patch\d+_(reg[14]_)?gap_\d+": _MEAN,
    r"eva_large_patch14_\d+": _MEAN,
    r"vit_(small|base|large)_patch14_dinov2": Architecture(),
    r"vit_(small|base|large)_patch14_reg4_dinov2": Architecture(),
    r"vit_giant_patch14_(reg4_)?dinov2": Architecture(gated=True),
    r"vit_(base|large|so400m)_patch14_reg1_tipsv2": Architecture(),
    r"vit_giant_patch14_reg1_tipsv2": Architecture(gated=True),
    r"vit_base_patch(16|32)_plus_(240|256)": Architecture(),
    r"vit_small_patch16_36x1_224": Architecture(),
    r"vit_base_patch16_224_miil": Architecture(),
    r"vit_(tiny|small|base|large|huge|giant|gigantic)_patch(8|14|16|32)_(224|384)": Architecture(),
    r"flexivit_(small|base|large)": Architecture(),
    r"deit_(tiny|small|base)_patch16_(224|384)": Architecture(),
    r"deit_(tiny|small|base)_distilled_patch16_(224|384)": Architecture(family="deit"),
    r"deit3_(small|medium|base|large|huge)_patch1[46]_(224|384)": Architecture(),
    r"vit_(tiny|small|small_plus|base|large|huge_plus|7b)_patch16_dinov3(_qkvb)?": _DINOV3,
    r"vit_(small|base|large|giant)_patch16_lingbot": _DINOV3._replace(pool="class"),
    r"beit(v2)?_(base|large)_patch16_(224|384|512)": Architecture(pool="mean", family="beit"),
}


# What most names of a family stand for, where a bare file comes without one.
USUAL: Mapping[str, Architecture] = {"dinov3": _DINOV3}


def contradiction(name: str, class_token: bool) -> str | None:
    """What in a name of timm's is not so of a file's tensors; None where nothing is. Of networks that cut
    their heads or pool otherwise, the class token tells."""
    plain = name.partition(".")[0]
    if "_gap_" in plain and class_token:
        return "that one has no class token, the file has one"
    if re.match(r"(vit|deit3?)_", plain) and "_gap_" not in plain and not class_token:
        return "that one has a class token, the file has none"
    return None


def architecture(name: str) -> Architecture | None:
    """What timm's name of an architecture stands for, with or without the tag of its weights behind a dot;
    None for names that are not known here."""
    plain = name.partition(".")[0]
    matches = (found for pattern, found in ARCHITECTURES.items() if re.fullmatch(pattern, plain))
    return next(matches, None)
