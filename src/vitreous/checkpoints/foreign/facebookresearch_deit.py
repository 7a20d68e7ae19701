"""The authors' own ``.pth`` files of DeiT III (arXiv:2204.07118): timm's ViT, but for the names of
LayerScale. Those of DeiT have timm's names and are read as such, with and without a distillation token.
"""

from dataclasses import replace

from vitreous.checkpoints.foreign.plan import FACEBOOKRESEARCH, Found, Plan, Reader
from vitreous.checkpoints.foreign.timm import vit
from vitreous.errors import CheckpointError
from vitreous.models.catalog import CATALOG

SCALES = {"ls1.gamma": "gamma_1", "ls2.gamma": "gamma_2"}
NAMES = replace(
    vit.NAMES,
    inside={
        ours: tuple(SCALES.get(part, part) for part in theirs) for ours, theirs in vit.NAMES.inside.items()
    },
)
OTHERS = ("blocks.0.attn.q_bias", "blocks.0.attn.proj_l.weight")  # of BEiT and CaiT, which scale layers too


def recognises(found: Found) -> bool:
    """Whether these are the names of a DeiT III."""
    names = found.stored.described
    scaled = "blocks.0.gamma_1" in names and not any(key in names for key in OTHERS)
    return scaled and found.config is None and vit.recognises(found)


def plan(found: Found, model: str | None) -> Plan:
    """Read it as timm's ViT with LayerScale under timm's names.

    Raises:
        CheckpointError: as for timm's ViT.
    """
    if model is not None and model not in CATALOG and not model.startswith("deit3_"):
        raise CheckpointError(f"{found.name}: its tensors are those of a DeiT III, which {model!r} is not")
    described = {_timm(key): value for key, value in found.stored.described.items()}
    read = vit.plan(found._replace(stored=found.stored._replace(described=described)), model)
    table = {ours: tuple(_own(part) for part in theirs) for ours, theirs in read.table.items()}
    return replace(read, layout=FACEBOOKRESEARCH, table=table, stated_family="deit3")


def _timm(key: str) -> str:
    block, _, own = key.rpartition(".")
    renamed = {theirs: ours for ours, theirs in SCALES.items()}
    return f"{block}.{renamed[own]}" if own in renamed else key


def _own(key: str) -> str:
    for ours, theirs in SCALES.items():
        if key.endswith(f".{ours}"):
            return key.removesuffix(ours) + theirs
    return key


READER = Reader(FACEBOOKRESEARCH, "deit3", recognises, plan, (NAMES,))
