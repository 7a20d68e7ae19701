"""What a model costs, counted from its configuration alone: no torch, no weights, no picture.

A multiply-accumulate (MAC) is one multiplication and one addition, so two FLOPs. Many published
"GFLOPs" of vision models are giga-MACs. Counted are the matrix products and convolutions, as torch's
own FLOP counter does; norms, softmax and additions are left out (below 1% of a ViT).

Shapes: N = T + P tokens; D width; M MLP width; K classes; p patch side.
"""

from typing import NamedTuple

from vitreous.backbones.config import ViTConfig
from vitreous.layers.geometry import grid_of, stem_convolutions
from vitreous.models.config import ClassifierConfig

FLOAT_BYTES = 4


class Account(NamedTuple):
    """One model at one picture size. Memory is per picture, float32, fused attention."""

    parameters: int
    tokens: int  # N, class token and registers included
    patches: int  # P
    macs: int
    attention_macs: int  # the part of ``macs`` that grows with the square of N
    forward_bytes: int  # the most that lives at one time in a forward pass without gradients
    training_bytes: int  # what a forward pass keeps for the backward pass

    @property
    def flops(self) -> int:
        """Two for each MAC."""
        return 2 * self.macs

    @property
    def attention_share(self) -> float:
        """The quadratic part of all MACs, from 0 to 1."""
        return self.attention_macs / self.macs


def account(config: ClassifierConfig, image_size: tuple[int, int] | None = None) -> Account:
    """Count a classifier at a picture size (height, width) in pixels; None is its native one."""
    vit = config.backbone
    height, width = image_size or vit.image_size
    rows, cols = grid_of(height, width, vit.patch)
    patches = rows * cols
    tokens = patches + vit.prefix
    attention = vit.depth * 2 * tokens**2 * vit.encoder.width
    return Account(
        parameters=_parameters(config),
        tokens=tokens,
        patches=patches,
        macs=_stem_macs(vit, height, width) + _token_macs(vit) * tokens + attention + _head_macs(config),
        attention_macs=attention,
        forward_bytes=FLOAT_BYTES * _forward_floats(vit, tokens),
        training_bytes=FLOAT_BYTES * (_stem_floats(vit, patches) + _training_floats(vit, tokens)),
    )


def _stem_parameters(vit: ViTConfig) -> int:
    width, patch = vit.encoder.width, vit.patch
    if vit.stem == "linear":
        return vit.channels * patch**2 * width + width
    *convolutions, last = stem_convolutions(vit.channels, width, patch)
    kernels = sum(part.channels * part.out * part.kernel**2 + 2 * part.out for part in convolutions)
    return kernels + last.channels * last.out + last.out


def _stem_macs(vit: ViTConfig, height: int, width: int) -> int:
    rows, cols = grid_of(height, width, vit.patch)
    if vit.stem == "linear":
        return rows * cols * vit.channels * vit.patch**2 * vit.encoder.width
    macs, scale = 0, vit.patch
    for part in stem_convolutions(vit.channels, vit.encoder.width, vit.patch):
        scale //= part.stride  # what is still to be divided: the map is that much larger than the grid
        macs += rows * cols * scale**2 * part.channels * part.out * part.kernel**2
    return macs


def _block_parameters(vit: ViTConfig) -> int:
    width, hidden = vit.encoder.width, vit.encoder.mlp_width
    scales = 0 if vit.encoder.layer_scale is None else 2 * width
    attention = 4 * width**2 + 4 * width
    return 2 * 2 * width + attention + 2 * width * hidden + hidden + width + scales


def _parameters(config: ClassifierConfig) -> int:
    vit = config.backbone
    width = vit.encoder.width
    rows, cols = vit.grid
    prefix_tokens = vit.prefix * width
    placed = int(vit.class_token and vit.class_position)
    table = (placed + rows * cols) * width if vit.positions == "learned" else 0
    norms = 2 * width * (int(vit.final_norm) + int(config.pool_norm))
    blocks = vit.depth * _block_parameters(vit)
    return _stem_parameters(vit) + prefix_tokens + table + blocks + norms + _head_parameters(config)


def _head_parameters(config: ClassifierConfig) -> int:
    width, classes = config.backbone.encoder.width, config.classes
    if classes == 0:
        return 0
    hidden = width * width + width if config.head == "mlp" else 0
    return hidden + width * classes + classes


def _head_macs(config: ClassifierConfig) -> int:
    width, classes = config.backbone.encoder.width, config.classes
    hidden = width * width if config.head == "mlp" and classes else 0
    return hidden + width * classes


def _token_macs(vit: ViTConfig) -> int:
    """4 D^2 for the projections of attention and 2 D M for the MLP, in every block."""
    width = vit.encoder.width
    return vit.depth * (4 * width**2 + 2 * width * vit.encoder.mlp_width)


def _forward_floats(vit: ViTConfig, tokens: int) -> int:
    """Inside an MLP: what the encoder and the block were given, the stream after attention, its
    normalised tokens, and the hidden layer before and after its activation. Attention holds less: the
    first three, queries, keys, values, and its output twice."""
    width = vit.encoder.width
    return tokens * max(4 * width + 2 * vit.encoder.mlp_width, 8 * width)


def _training_floats(vit: ViTConfig, tokens: int) -> int:
    """Each block keeps: two inputs of norms, two normalised, queries, keys, values, the attention's
    output (8 N D in all) and its log-sum-exp, two numbers a norm and token, and the hidden layer twice."""
    width, hidden = vit.encoder.width, vit.encoder.mlp_width
    scaled = 0 if vit.encoder.layer_scale is None else 2 * width
    block = tokens * (8 * width + scaled + 2 * hidden + vit.heads + 4)
    return vit.depth * block + tokens * width * 2


def _stem_floats(vit: ViTConfig, patches: int) -> int:
    """The picture, padded to whole patches, and each small convolution's output before and after its
    norm and non-linearity."""
    floats = patches * vit.patch**2 * vit.channels
    if vit.stem == "linear":
        return floats
    scale = vit.patch
    for part in stem_convolutions(vit.channels, vit.encoder.width, vit.patch)[:-1]:
        scale //= part.stride
        floats += 2 * patches * scale**2 * part.out
    return floats
