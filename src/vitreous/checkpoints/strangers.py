"""Weights that no reader takes: what they look like, and which reader's names come nearest."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from vitreous.checkpoints.foreign.names import DEPTH_LIMIT
from vitreous.checkpoints.foreign.plan import Reader
from vitreous.checkpoints.weights import listed
from vitreous.errors import printable

# Names that a kind of model has and others have not: all of the patterns are found among its tensors.
KINDS: Mapping[str, Sequence[tuple[str, ...]]] = {
    "a LoRA adapter, which needs the model it was made for": [(r"lora_(A|B|a|b|down|up)\b",)],
    "weights quantized by bitsandbytes": [(r"\.(absmax|quant_state\..*)$",)],
    "weights quantized by GPTQ or AWQ": [(r"\.qweight$", r"\.qzeros$")],
    "SAM": [(r"^(image|vision)_encoder\.", r"^mask_decoder\.")],
    "SegFormer": [(r"encoder\.(patch_embeddings\.\d|block\.\d+\.\d+\.)", r"\.(dwconv|attn\.kv|sr)\b")],
    "DETR or a relative": [(r"(bbox_embed|bbox_predictor)\.", r"(query_embed|query_position_embeddings)")],
    "SigLIP": [(r"vision_model\.head\.probe$",), (r"^(visual\.trunk\.)?attn_pool\.latent$",)],
    "CLIP": [
        (r"^visual\.(conv1|class_embedding|proj|trunk)", r"^(text\.)?token_embedding\.weight$"),
        (r"^vision_model\.embeddings\.", r"^text_model\.embeddings\."),
    ],
    "CLIP's tower of pictures": [
        (r"^(visual\.)?conv1\.weight$", r"transformer\.resblocks\.0\."),
        (r"(^|\.)embeddings\.class_embedding$", r"(^|\.)pre_layrnorm\."),
        (r"^norm_pre\.", r"^blocks\.0\.attn\.qkv\."),
    ],
    "EVA-02": [(r"attn\.(q_proj\.weight|q_bias)$", r"mlp\.(fc1_g|w1)\.weight$")],
    "Swin V2": [(r"\.(logit_scale|attention\.self\.logit_scale)$", r"(cpb|continuous_position_bias)_mlp\.")],
    "ConvNeXt": [
        (r"stages\.\d+\.blocks\.\d+\.conv_dw\.",),
        (r"stages\.\d+\.(layers\.)?\d+\.dwconv\.",),
        (r"^features\.\d+\.\d+\.layer_scale$",),
    ],
    "MaxViT or CoAtNet": [(r"\.(attn_block|attn_grid|attn_layer)\.", r"conv|mbconv|MBconv")],
    "CaiT": [(r"blocks_token_only\.",)],
    "XCiT": [(r"\.local_mp\.",)],
    "an MLP-Mixer": [(r"\.mlp_tokens\.",), (r"token_mixing/",)],
    "ResNet or a relative": [
        (r"^(.*\.)?layer1\.0\.conv1\.weight$",),
        (r"encoder\.stages\.0\.layers\.0\.layer\.0\.convolution\.",),
    ],
    "EfficientNet, MobileNet or a relative": [
        (r"conv_stem\.weight$", r"\.conv_(pw|dw|pwl)\."),
        (r"^features\.\d+\.\d+\.block\.0\.0\.weight$",),
    ],
    "RegNet": [(r"^trunk_output\.block1\.",), (r"^s1\.b1\.conv1\.",)],
    "BERT or a relative, a model of text": [(r"embeddings\.word_embeddings\.weight$",)],
    "GPT-2 or a relative, a model of text": [(r"\bh\.\d+\.attn\.c_attn\.weight$",)],
    "LLaMA or a relative, a model of text": [
        (r"layers\.\d+\.self_attn\.[qk]_proj\.weight$", r"embed_tokens\.weight$")
    ],
    "a diffusion model's U-Net": [(r"down_blocks\.\d+\.resnets\.",), (r"^model\.diffusion_model\.",)],
}
PREFIXES_TRIED = 4
NEAR = 0.1  # share of the names that a layout must have to be worth naming


def looks_like(names: Collection[str]) -> str | None:
    """The kind of model that has such tensors; None where nothing is typical."""
    text = "\n".join(names)
    for kind, ways in KINDS.items():
        if any(all(re.search(pattern, text, re.MULTILINE) for pattern in way) for way in ways):
            return kind
    return None


def unexplained(names: Collection[str], model_type: object, readers: Sequence[Reader]) -> str:
    """Why no reader takes tensors of these names: the first of them, what they look like, and the reader
    that knows most of them."""
    what = f"model_type {model_type!r} is not read" if model_type else "no known layout has these tensors"
    kind = looks_like(names)
    seems = f"; they look like {kind}" if kind else ""
    return f"{what}{seems}; it holds {listed(map(printable, names))}; {_nearest(names, readers)}"


def _nearest(names: Collection[str], readers: Sequence[Reader]) -> str:
    firsts = Counter(name.split(".", 1)[0] + "." for name in names if "." in name)
    prefixes = ["", *(prefix for prefix, _ in firsts.most_common(PREFIXES_TRIED))]
    counts = [
        (explained(reader, names, prefix), -place, prefix, reader)
        for place, reader in enumerate(readers)
        for prefix in prefixes
    ]
    count, _, prefix, best = max(counts, key=lambda found: found[:2])
    if count < NEAR * len(names):
        return "no layout that is read comes near"
    after = f" once {printable(prefix)!r} is taken off" if prefix else ""
    return f"the nearest is {best.layout}'s {best.family}, which has {count} of {len(names)}{after}"


def explained(reader: Reader, names: Collection[str], prefix: str = "") -> int:
    """How many of these tensors have names of a reader's kind, without ``prefix``."""
    bare = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    known = {
        part
        for table in reader.names
        for parts in table.table(min(table.depth(bare), len(bare), DEPTH_LIMIT)).values()
        for part in parts
    }
    return sum(name in known for name in bare)
