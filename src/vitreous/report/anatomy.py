"""Everything that the page about one picture shows, as plain values: maps packed into bytes, and numbers.

Maps are uint8, scaled by the largest value of each map, which travels beside them; so a page with the
attention of every patch in every layer and head stays a few megabytes. Where even that is too much, patches
are taken together in blocks, and the page says so.

Rows of attention come in one order: what the answer is read from, unless that is the first token itself;
the prefix tokens; the patches or blocks of them.

Shapes: L layers; N tokens, T of them prefix, P = rows * cols patches; Q rows of attention that are kept.
"""

from base64 import b64encode
from collections.abc import Sequence
from math import ceil, sqrt
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import one_hot

from vitreous.backbones.config import ViTConfig
from vitreous.data.images import as_rgb
from vitreous.data.preprocess import Preprocess, View
from vitreous.explain.attention import READINGS, attention_map, pool_of, reading, rollout
from vitreous.explain.explanation import Explainable, patch_of
from vitreous.explain.overlay import COLOURS
from vitreous.explain.recording import Record, Recorded, recording
from vitreous.explain.saliency import relevance_by_class
from vitreous.layers.geometry import stem_convolutions
from vitreous.layers.layout import Layout
from vitreous.models.config import DeiTConfig
from vitreous.report.places import Places, bias_range, places_of
from vitreous.report.svg import data_address

PATCHES = 400  # more of them are shown in blocks
MEAN_BYTES = 1_000_000  # for the attention of all patches, the mean over heads
HEAD_BYTES = 1_430_000  # for the same of every head
STAGE, SOURCE = 448, 720  # sides in pixels of the pictures on the page
COARSE = 64  # pictures up to this side are shown with their pixels as squares
ROWS_AT_ONCE = 512


class Subject(Explainable, Protocol):
    """What a page is made about: an Explainable whose preprocessing can be looked into."""

    @property
    def preprocess(self) -> Preprocess:
        """How its pictures become tensors."""
        ...


class Anatomy(NamedTuple):
    """The page's data (JSON values), its two pictures as ``data:`` addresses, and numbers for its text."""

    data: dict[str, Any]
    answer: dict[str, Any]
    source: str
    stage: str
    facts: dict[str, Any]


class Blocks(NamedTuple):
    """A grid whose cells are taken together in squares of ``side`` x ``side``."""

    layout: Layout
    side: int

    @property
    def rows(self) -> int:
        """Blocks from top to bottom."""
        return -(-self.layout.rows // self.side)

    @property
    def cols(self) -> int:
        """Blocks from left to right."""
        return -(-self.layout.cols // self.side)

    @property
    def total(self) -> int:
        """All blocks."""
        return self.rows * self.cols

    def member(self) -> Tensor:
        """(P, total): one where a patch belongs to a block."""
        rows = torch.arange(self.layout.rows)[:, None] // self.side
        cols = torch.arange(self.layout.cols)[None, :] // self.side
        block = (rows * self.cols + cols).flatten()  # (P,)
        return one_hot(block, self.total).float()


def dissect(predictor: Subject, picture: Image.Image, *, top: int = 5, target: int | None = None) -> Anatomy:
    """Run the model on one picture and keep all that the page shows. ``target`` is the class chosen first."""
    picture = as_rgb(picture)
    model: Any = predictor.model
    pool = pool_of(model)
    view: View = predictor.preprocess(picture)
    answer = predictor.answer(view)
    images = view.image[None].to(predictor.device)
    scores = np.asarray(answer.scores)
    order = [int(index) for index in np.argsort(-scores, kind="stable")[: max(1, top)]]
    if target is not None and target not in order:
        order.append(target)
    with torch.inference_mode(), recording(model) as record:
        model(images)
    layout = record.layout
    shown = Blocks(layout, max(1, ceil(sqrt(layout.patches / PATCHES))))
    layers, heads = len(record.layers), record.layers[0].heads

    prefix = _prefix_names(model.config.backbone)
    ahead = torch.eye(layout.prefix, layout.tokens)  # (T, N)
    if pool != "class":
        prefix.insert(0, READINGS[pool].name)
        ahead = torch.cat([reading(layout, pool)[None], ahead])
    mean_side = _fitting(layout, shown, len(ahead), layers, MEAN_BYTES)
    head_side = _fitting(layout, shown, len(ahead), layers * heads, HEAD_BYTES)
    reads = torch.cat(
        [attention_map(record, layer, pool) for layer in range(layers)]
    )  # (L, heads, rows, cols)
    relevances = relevance_by_class(model, images, order)  # (M, rows, cols)
    names = [predictor.classes[index] if predictor.classes else str(index) for index in order]
    patch = patch_of(model)
    data: dict[str, Any] = {
        "rows": shown.rows,
        "cols": shown.cols,
        "block": shown.side,
        "grid_rows": layout.rows,
        "grid_cols": layout.cols,
        "prefix": prefix,
        "others": listed(_prefix_kinds(model.config.backbone)),
        "layers": layers,
        "heads": heads,
        "pool": pool,
        "mean": _attention(record, shown, Blocks(layout, mean_side), ahead, mean=True),
        "each": _attention(record, shown, Blocks(layout, head_side), ahead, mean=False),
        "reads": pack(blocked(reads.flatten(0, 1), shown)),
        "rollout": pack(blocked(rollout(record, pool), shown)),
        "relevance": pack(blocked(relevances, shown)),
        "targets": [
            {"index": index, "label": name, "score": float(scores[index])}
            for index, name in zip(order, names, strict=True)
        ],
        "chosen": 0 if target is None else order.index(target),
        "target": 0 if target is None else order.index(target),
        "positions": _positions(places_of(model, layout), shown),
        "place": place_on_source(view, layout, patch),
        "coarse": max(picture.size) <= COARSE,
        "colours": list(COLOURS),
    }
    stage = stage_picture(predictor.preprocess, picture, view, layout, patch)
    facts = _facts(model, view, layout, patch) | {
        "pool": pool,
        "several": getattr(predictor, "answers", "one") == "several",
        "block": shown.side,
        "head_block": head_side,
        "mean_block": mean_side,
        "width": picture.width,
        "height": picture.height,
    }
    source = picture.copy()
    source.thumbnail((SOURCE, SOURCE))
    return Anatomy(data, data["targets"][0], address_of(source), address_of(stage), facts)


def pack(maps: Tensor) -> dict[str, Any]:
    """(..., P) maps of zero or more -> bytes of 0 .. 255 of each map's largest value, and that value."""
    values = maps.detach().float().cpu().clamp(min=0)
    peaks = values.amax(dim=-1)  # (...)
    scaled = values / peaks.clamp(min=1e-30)[..., None] * 255
    return {
        "bytes": _base64(scaled.round().to(torch.uint8).numpy()),
        "peaks": _base64(peaks.numpy().astype("<f4")),
    }


def stage_picture(
    preprocess: Preprocess, picture: Image.Image, view: View, layout: Layout, patch: int
) -> Image.Image:
    """What the model sees, padded to whole patches, in the source's own sharpness where it has more."""
    height, width = view.image.shape[-2:]
    resized, corner = view.where.resized, view.where.corner
    finest = min(
        STAGE // max(height, width), picture.height // max(1, resized[0]), picture.width // max(1, resized[1])
    )
    if finest >= 2:
        grown = picture.resize((resized[1] * finest, resized[0] * finest), Image.Resampling.LANCZOS)
        left, top = corner[1] * finest, corner[0] * finest
        seen = grown.crop((left, top, left + width * finest, top + height * finest))
        if preprocess.channels == 1:
            seen = seen.convert("L")
    else:
        finest = 1
        seen = preprocess.restore(view.image)
    # The model pads with zeros, which is the mean colour.
    mean = [round(255 * value) for value in preprocess.mean]
    colour = tuple(mean) if len(mean) == 3 else (mean[0],) * 3
    whole = Image.new("RGB", (layout.cols * patch * finest, layout.rows * patch * finest), colour)
    whole.paste(seen.convert("RGB"), (0, 0))
    return whole


def attention_between(recorded: Recorded, queries: Tensor, keys: Tensor) -> Tensor:
    """queries (Q, N) @ weights @ keys (N, K) -> (heads, Q, K), with only some rows in memory at a time."""
    total = torch.zeros(recorded.heads, len(queries), keys.shape[1], device=recorded.queries.device)
    for first in range(0, queries.shape[1], ROWS_AT_ONCE):
        rows = slice(first, first + ROWS_AT_ONCE)
        weights = recorded.weights(rows)[0].float()  # (heads, M, N)
        total += queries[:, rows].to(weights) @ (weights @ keys.to(weights))
    return total


def _attention(record: Record, shown: Blocks, kept: Blocks, ahead: Tensor, *, mean: bool) -> dict[str, Any]:
    """What the rows ahead, (R, N) shares of tokens, and then every block of patches attend to, in each layer
    (and head)."""
    layout = record.layout
    tokens = layout.tokens
    member = kept.member()  # (P, blocks)
    blocks = torch.zeros(kept.total, tokens)
    blocks[:, layout.prefix :] = (member / member.sum(0)).T
    queries = torch.cat([ahead, blocks])  # (Q, N)
    # The last column is what went to the prefix tokens: no place in the picture.
    keys = torch.zeros(tokens, shown.total + 1)
    keys[: layout.prefix, -1] = 1
    keys[layout.prefix :, :-1] = shown.member()
    found = []
    for recorded in record.layers:
        weights = attention_between(recorded, queries, keys)  # (heads, Q, blocks + 1)
        found.append(weights.mean(0) if mean else weights)
    every = torch.stack(found)  # (L, [heads,] Q, blocks + 1)
    shares = (every[..., -1].clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    return {
        "side": kept.side // shown.side,
        "cols": kept.cols,
        "rows": kept.rows,
        "prefix": _base64(shares),
        **pack(every[..., :-1]),
    }


def _fitting(layout: Layout, shown: Blocks, ahead: int, maps: int, budget: int) -> int:
    """The smallest block of queries, a multiple of the shown block, whose maps keep within the budget."""
    side = shown.side
    while maps * (ahead + Blocks(layout, side).total) * shown.total > budget:
        if side >= max(layout.rows, layout.cols):
            break
        side += shown.side
    return side


def blocked(maps: Tensor, shown: Blocks) -> Tensor:
    """(M, rows, cols) -> (M, blocks), the mean of each block."""
    member = shown.member().to(maps.device)
    return maps.flatten(1).float() @ (member / member.sum(0))


def _positions(places: Places | None, shown: Blocks) -> dict[str, Any] | None:
    """What the model knows of every pair of places, bytes from the lowest number to the highest."""
    if places is None:
        return None
    member = shown.member().to(places.pairs.device)
    share = member / member.sum(0)  # (P, blocks)
    pairs = share.T @ places.pairs @ share  # (blocks, blocks)
    low, high = float(pairs.min()), float(pairs.max())
    scaled = (pairs - low) / max(high - low, 1e-9) * 255
    packed = _base64(scaled.round().to(torch.uint8).cpu().numpy())
    return {"kind": places.kind, "bytes": packed, "low": low, "high": high}


def place_on_source(view: View, layout: Layout, patch: int) -> dict[str, float]:
    """Where the padded view lies on the source, in parts of its width and height, and its own extent."""
    height, width = view.image.shape[-2:]
    source = view.where.source
    boxes = np.array(
        [[0, 0, layout.cols * patch, layout.rows * patch], [0, 0, width, height]], dtype=np.float64
    )
    whole, seen = view.where.back_boxes(boxes, clip=False)
    scale = np.array([source[1], source[0]] * 2)
    names = ("left", "top", "right", "bottom")
    place = dict(zip(names, (whole / scale).tolist(), strict=True))
    return place | {f"seen_{name}": value for name, value in zip(names, (seen / scale).tolist(), strict=True)}


def _facts(model: Any, view: View, layout: Layout, patch: int) -> dict[str, Any]:
    config = model.config
    backbone = config.backbone
    own = not isinstance(config, DeiTConfig)  # DeiT has one way to read its answer
    channels, height, width = view.image.shape
    return {
        "channels": channels,
        "view": (height, width),
        "padded": (layout.rows * patch, layout.cols * patch),
        "patch": patch,
        "stem": backbone.stem,
        "kernels": [part.kernel for part in stem_convolutions(channels, backbone.encoder.width, patch)],
        "rows": layout.rows,
        "cols": layout.cols,
        "patches": layout.patches,
        "prefix": layout.prefix,
        "tokens": layout.tokens,
        "ahead": listed(_prefix_kinds(backbone, count=True)),
        "unplaced": listed(_prefix_kinds(backbone)[backbone.placed :]),
        "vector": channels * patch * patch,
        "dimensions": backbone.encoder.width,
        "mlp_width": backbone.encoder.mlp_width,
        "layers": backbone.depth,
        "heads": backbone.heads,
        "gated": backbone.encoder.mlp == "swiglu",
        "layer_scale": backbone.encoder.layer_scale is not None,
        "positions": backbone.positions,
        "attention": backbone.attention,
        "offsets": tuple(2 * side - 1 for side in backbone.grid),
        "bias_range": bias_range(model),
        "slowest": backbone.rotary_base ** (1 - 4 * backbone.heads / backbone.encoder.width),
        "final_norm": backbone.final_norm,
        "pool_norm": own and config.pool_norm,
        "pooled": config.pooled if own else backbone.encoder.width,
        "head": config.head if own else "linear",
        "classes": config.classes,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def _prefix_names(backbone: ViTConfig) -> list[str]:
    """What each token ahead of the patches is called."""
    names = ["[CLS]"] * backbone.class_token + ["[DIST]"] * backbone.distillation_token
    return names + [f"register {index}" for index in range(backbone.registers)]


def _prefix_kinds(backbone: ViTConfig, *, count: bool = False) -> list[str]:
    """The same, with all registers as one."""
    several = "register" if backbone.registers == 1 else "registers"
    named = f"{backbone.registers} {several}" if count else several
    tokens = ["[CLS]"] * backbone.class_token + ["[DIST]"] * backbone.distillation_token
    return tokens + [named] * (backbone.registers > 0)


def listed(names: Sequence[str]) -> str:
    """Names as people list them: "a", "a and b", "a, b and c"."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def address_of(picture: Image.Image) -> str:
    """A picture for the page: exact where it is small, else as JPEG."""
    return data_address(picture, lossy=max(picture.size) > COARSE)


def _base64(values: NDArray[Any]) -> str:
    return b64encode(np.ascontiguousarray(values).tobytes()).decode()
