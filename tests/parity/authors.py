"""Files as the authors of DETR and of SegFormer publish them, made of models of ours by the names that their
code gives: no package of theirs is needed."""

import re
from pathlib import Path

import torch
from torch import Tensor, nn

DETR = (  # ours, theirs; the first that matches is taken
    (r"backbone\.stem\.(.*)", r"backbone.0.body.conv1.\1"),
    (r"backbone\.stem_norm\.(.*)", r"backbone.0.body.bn1.\1"),
    (r"backbone\.stages\.0\.(.*)", r"backbone.0.body.layer1.\1"),
    (r"backbone\.stages\.1\.(.*)", r"backbone.0.body.layer2.\1"),
    (r"backbone\.stages\.2\.(.*)", r"backbone.0.body.layer3.\1"),
    (r"backbone\.stages\.3\.(.*)", r"backbone.0.body.layer4.\1"),
    (r"project\.(.*)", r"input_proj.\1"),
    (r"query_places", r"query_embed.weight"),
    (r"classify\.(.*)", r"class_embed.\1"),
    (r"locate\.(.*)", r"bbox_embed.\1"),
    (r"transformer\.norm\.(.*)", r"transformer.decoder.norm.\1"),
    (r"(.*)\.mlp\.expand\.(.*)", r"\1.linear1.\2"),
    (r"(.*)\.mlp\.contract\.(.*)", r"\1.linear2.\2"),
    (r"(.*)\.cross_norm\.(.*)", r"\1.norm2.\2"),
    (r"(.*)\.attention_norm\.(.*)", r"\1.norm1.\2"),
    (r"(.*encoder.*)\.mlp_norm\.(.*)", r"\1.norm2.\2"),
    (r"(.*decoder.*)\.mlp_norm\.(.*)", r"\1.norm3.\2"),
    (r"(.*)\.cross_attention\.projection\.(.*)", r"\1.multihead_attn.out_proj.\2"),
    (r"(.*)\.cross_attention\.(.*)", r"\1.multihead_attn.\2"),
    (r"(.*)\.attention\.projection\.(.*)", r"\1.self_attn.out_proj.\2"),
    (r"(.*)\.attention\.(.*)", r"\1.self_attn.\2"),
)
LAYERS = {r"transformer\.(encoder|decoder)\.(\d)": r"transformer.\1.layers.\2"}
SEGFORMER = (
    (r"backbone\.stages\.(\d)\.embed\.projection\.(.*)", r"patch_embed\1.proj.\2"),
    (r"backbone\.stages\.(\d)\.embed\.norm\.(.*)", r"patch_embed\1.norm.\2"),
    (r"backbone\.stages\.(\d)\.norm\.(.*)", r"norm\1.\2"),
    (r"backbone\.stages\.(\d)\.blocks\.(.*)", r"block\1.\2"),
    (r"head\.projections\.(\d)\.(.*)", r"decode_head.linear_c\1.proj.\2"),
    (r"head\.fuse\.(.*)", r"decode_head.linear_fuse.conv.\1"),
    (r"head\.norm\.(.*)", r"decode_head.linear_fuse.bn.\1"),
    (r"head\.classify\.(.*)", r"decode_head.linear_pred.\1"),
    (r"head\.(weight|bias)", r"head.\1"),
)
INSIDE = {
    "attention_norm": "norm1",
    "mlp_norm": "norm2",
    "attention.projection": "attn.proj",
    "attention.queries": "attn.q",
    "attention.keys_values": "attn.kv",
    "attention.reduce": "attn.sr",
    "attention.norm": "attn.norm",
    "mlp.expand": "mlp.fc1",
    "mlp.mix": "mlp.dwconv.dwconv",
    "mlp.contract": "mlp.fc2",
}


def renamed(key: str, names: tuple[tuple[str, str], ...]) -> str:
    """Their name of a tensor of ours."""
    for ours, theirs in names:
        found = re.fullmatch(ours, key)
        if found:
            return found.expand(theirs)
    raise KeyError(key)


def detr_state(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of a DETR by the names of its authors."""
    made: dict[str, Tensor] = {}
    joined: dict[str, list[Tensor]] = {}
    for key, value in model.state_dict().items():
        theirs = renamed(key, DETR)
        for ours, other in LAYERS.items():
            theirs = re.sub(ours, other, theirs)
        part = re.fullmatch(r"(.*)\.(queries|keys|values)\.(weight|bias)", theirs)
        if part:
            joined.setdefault(f"{part[1]}.in_proj_{part[3]}", []).append(value)
        else:
            made[theirs] = value
    return made | {key: torch.cat(parts) for key, parts in joined.items()}


def segformer_state(model: nn.Module, base: str = "backbone.") -> dict[str, Tensor]:
    """The tensors of a SegFormer or of its encoder by the names of its authors."""
    made: dict[str, Tensor] = {}
    for key, value in model.state_dict().items():
        theirs = renamed(key, SEGFORMER)
        if theirs.startswith("decode_head.linear_c"):
            theirs = re.sub(r"linear_c(\d)", lambda found: f"linear_c{int(found[1]) + 1}", theirs)
        elif not theirs.startswith(("decode_head", "head")):
            theirs = base + re.sub(
                r"(\D+)(\d)", lambda found: f"{found[1]}{int(found[2]) + 1}", theirs, count=1
            )
            for ours, other in INSIDE.items():
                theirs = re.sub(rf"(\.block|^block)(\d\.\d+)\.{re.escape(ours)}\.", rf"\1\2.{other}.", theirs)
        whole = re.fullmatch(r"(.*)attention\.qkv\.(weight|bias)", theirs)
        if whole:
            queries, keys_values = value.split([len(value) // 3, len(value) // 3 * 2])
            made |= {f"{whole[1]}attn.q.{whole[2]}": queries, f"{whole[1]}attn.kv.{whole[2]}": keys_values}
        else:
            made[theirs] = value
    return made


def save(path: Path, state: dict[str, Tensor], entry: str) -> Path:
    """As a training script saves it, below an entry and with the others that stand beside it."""
    torch.save({entry: {key: value.clone() for key, value in state.items()}, "epoch": 3}, path)
    return path
