"""Models on the plain ViT, counted: N = T + P tokens; D width; M MLP width; K classes; p patch side."""

from dataclasses import replace
from typing import NamedTuple

from vitreous.backbones.config import EncoderConfig, ViTConfig
from vitreous.layers.geometry import stem_convolutions
from vitreous.models.config import (
    ClassifierConfig,
    DeiTConfig,
    MAEConfig,
    MaskedTokensConfig,
)

OnViT = ClassifierConfig | DeiTConfig | MaskedTokensConfig

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


def account_plain(config: OnViT, vit: ViTConfig, image_size: tuple[int, int]) -> Account:
    """Count a model whose head stands on all tokens of a ViT."""
    return under_head(config, account_backbone(vit, image_size))


def under_head(config: OnViT, backbone: Account) -> Account:
    """What stands on a backbone, counted with it."""
    head = _head(config)
    return backbone._replace(
        parameters=backbone.parameters + head.parameters,
        macs=backbone.macs + head.macs * (backbone.patches if head.per_patch else 1),
    )


def account_backbone(vit: ViTConfig, image_size: tuple[int, int], depth: int | None = None) -> Account:
    """Count a ViT without a head; ``depth`` is how many of its blocks are run, where not all are."""
    run = vit if depth is None else replace(vit, depth=depth)
    rows, cols = vit.grid_at(image_size)
    patches = rows * cols
    tokens = patches + vit.prefix
    attention = run.depth * 2 * tokens**2 * vit.encoder.width
    forward = max(_forward_floats(run, tokens), _bias_floats(run, rows, cols))
    macs = _stem_macs(vit, *image_size) + run.depth * _token_macs(vit.encoder) * tokens + attention
    return Account(
        parameters=_backbone_parameters(vit),
        tokens=tokens,
        patches=patches,
        macs=macs,
        attention_macs=attention,
        forward_bytes=FLOAT_BYTES * forward,
        training_bytes=FLOAT_BYTES * (_stem_floats(vit, patches) + _training_floats(run, tokens)),
    )


def account_autoencoder(config: MAEConfig, image_size: tuple[int, int]) -> Account:
    """Count a masked autoencoder: its encoder reads the visible patches, its decoder writes all of them.

    ``tokens`` are the encoder's."""
    vit, blocks = config.backbone, config.decoder
    rows, cols = vit.grid_at(image_size)
    patches = rows * cols
    seen = config.visible(patches) + vit.prefix
    whole = patches + vit.prefix
    width, painted = blocks.width, vit.channels * vit.patch**2
    attention = 2 * (vit.depth * seen**2 * vit.encoder.width + config.decoder_depth * whole**2 * width)
    macs = _stem_macs(vit, *image_size) + vit.depth * _token_macs(vit.encoder) * seen + attention
    macs += seen * vit.encoder.width * width + config.decoder_depth * _token_macs(blocks) * whole
    macs += patches * width * painted
    native = vit.prefix + vit.grid[0] * vit.grid[1]
    table = native * width if config.decoder_positions == "learned" else 0
    decoder = vit.encoder.width * width + width + width + table + 2 * width + width * painted + painted
    decoder += config.decoder_depth * _block_parameters(blocks)
    decoding = replace(vit, encoder=blocks, depth=config.decoder_depth, heads=config.decoder_heads)
    # Embedding: all patches, placed, and with the prefix; decoding: what was encoded is still there.
    embedding = (2 * patches + whole) * vit.encoder.width
    decoded = seen * vit.encoder.width + _forward_floats(decoding, whole)
    drawn = 5 * patches  # a number for each patch, and two orders of 8 bytes
    forward = max(embedding, _forward_floats(vit, seen), decoded) + drawn
    training = _training_floats(vit, seen) + _training_floats(decoding, whole)
    return Account(
        parameters=_backbone_parameters(vit) + decoder,
        tokens=seen,
        patches=patches,
        macs=macs,
        attention_macs=attention,
        forward_bytes=FLOAT_BYTES * forward,
        training_bytes=FLOAT_BYTES * (_stem_floats(vit, patches) + training),
    )


class _Head(NamedTuple):
    parameters: int
    macs: int
    per_patch: bool = False


def _head(config: OnViT) -> _Head:
    """The numbers of what stands on the backbone, and its MACs for each picture or patch."""
    width = config.backbone.out_channels
    if isinstance(config, MaskedTokensConfig):
        count = config.visual_tokens
        own = width + 2 * width * config.head_norm  # the mask token, and the norm
        return _Head(own + width * count + count, width * count, per_patch=True)
    if isinstance(config, DeiTConfig):
        return _Head(2 * (width * config.classes + config.classes), 2 * width * config.classes)
    pooled, classes = config.pooled, config.classes
    norm = 2 * pooled * config.pool_norm
    hidden = pooled * pooled if config.head == "mlp" and classes else 0
    biases = (pooled if hidden else 0) + classes
    return _Head(norm + hidden + pooled * classes + biases, hidden + pooled * classes)


def _stem_parameters(vit: ViTConfig) -> int:
    width, patch = vit.encoder.width, vit.patch
    if vit.stem == "linear":
        return vit.channels * patch**2 * width + width
    *convolutions, last = stem_convolutions(vit.channels, width, patch, vit.stem_width)
    kernels = sum(part.channels * part.out * part.kernel**2 + 2 * part.out for part in convolutions)
    return kernels + last.channels * last.out + last.out


def _stem_macs(vit: ViTConfig, height: int, width: int) -> int:
    rows, cols = vit.grid_at((height, width))
    if vit.stem == "linear":
        return rows * cols * vit.channels * vit.patch**2 * vit.encoder.width
    macs, scale = 0, vit.patch
    for part in stem_convolutions(vit.channels, vit.encoder.width, vit.patch, vit.stem_width):
        scale //= part.stride  # what is still to be divided: the map is that much larger than the grid
        macs += rows * cols * scale**2 * part.channels * part.out * part.kernel**2
    return macs


def _mlp_hidden(encoder: EncoderConfig) -> int:
    """What the first layer of an MLP puts out: a gated one needs its gate as well."""
    return encoder.mlp_width * (2 if encoder.mlp == "swiglu" else 1)


def _block_parameters(encoder: EncoderConfig) -> int:
    width, hidden = encoder.width, _mlp_hidden(encoder)
    scales = 0 if encoder.layer_scale is None else 2 * width
    attention = 4 * width**2 + 4 * width
    mlp = width * hidden + hidden + encoder.mlp_width * width + width
    return 2 * 2 * width + attention + mlp + scales


def _backbone_parameters(vit: ViTConfig) -> int:
    width = vit.encoder.width
    rows, cols = vit.grid
    table = (vit.placed + rows * cols) * width if vit.positions == "learned" else 0
    blocks = vit.depth * _block_parameters(vit.encoder)
    if vit.attention == "relative":
        offsets = (2 * rows - 1) * (2 * cols - 1) + 3 * (vit.prefix > 0)
        blocks += vit.depth * offsets * vit.heads
    return _stem_parameters(vit) + vit.prefix * width + table + blocks + 2 * width * vit.final_norm


def _token_macs(encoder: EncoderConfig) -> int:
    """4 D^2 for the projections of attention and 2 D M for the MLP (3 D M gated), in one block."""
    width = encoder.width
    return 4 * width**2 + width * (_mlp_hidden(encoder) + encoder.mlp_width)


def _forward_floats(vit: ViTConfig, tokens: int) -> int:
    """Inside an MLP: what the encoder and the block were given, the stream after attention, its
    normalised tokens, and the hidden layer before and after its activation. Attention holds less: the
    first three, queries, keys, values, and its output twice; where queries and keys turn, three more."""
    width = vit.encoder.width
    hidden = 2 * _mlp_hidden(vit.encoder)
    attention = 11 * width if vit.attention == "rotary" else 8 * width
    return tokens * max(4 * width + hidden, attention)


def _bias_floats(vit: ViTConfig, rows: int, cols: int) -> int:
    """While the bias of relative attention is built: what the encoder and the block were given, normalised
    tokens, queries, keys and values; the bias of patches on patches, as windows of the table and in a row;
    with prefix tokens those of every query and all of them joined; and the table, where it is resized.

    Pictures of one batch share a bias: many take less than so much each. Once it is there, the kernel's
    output stands beside it."""
    if vit.attention != "relative":
        return 0
    patches = rows * cols
    tokens = patches + vit.prefix
    resized = (rows, cols) != vit.grid or vit.bias_resize == "bilinear_swapped"
    table = ((2 * rows - 1) * (2 * cols - 1) + 3 * (vit.prefix > 0)) * resized
    joined = 2 * tokens**2 if vit.prefix else 0
    built = 6 * tokens * vit.encoder.width + vit.heads * (2 * patches**2 + joined + table)
    return max(built, 8 * tokens * vit.encoder.width + vit.heads * tokens**2)


def _training_floats(vit: ViTConfig, tokens: int) -> int:
    """Each block keeps: two inputs of norms, two normalised, queries, keys, values, the attention's
    output (8 N D in all) and its log-sum-exp, two numbers a norm and token, and the hidden layer twice.
    Where queries and keys turn, also what they were before, the sines and cosines of both, and the output
    a second time, copied from head after head to token after token.

    A learned bias keeps the weights of attention, N for each head and token, in the place of the log-sum-exp:
    no fused kernel of the CPU learns one. The bias itself is not kept. The final norm keeps what it was given
    and what came out."""
    width, hidden = vit.encoder.width, _mlp_hidden(vit.encoder)
    scaled = 0 if vit.encoder.layer_scale is None else 2 * width
    turned = 3 * width + 2 * width // vit.heads if vit.attention == "rotary" else 0
    weights = vit.heads * (tokens if vit.attention == "relative" else 1)
    block = tokens * (8 * width + scaled + turned + 2 * hidden + weights + 4)
    return vit.depth * block + tokens * width * 2 * vit.final_norm


def _stem_floats(vit: ViTConfig, patches: int) -> int:
    """The picture, padded to whole patches, and each small convolution's output before and after its
    norm and non-linearity."""
    floats = patches * vit.patch**2 * vit.channels
    if vit.stem == "linear":
        return floats
    scale = vit.patch
    for part in stem_convolutions(vit.channels, vit.encoder.width, vit.patch, vit.stem_width)[:-1]:
        scale //= part.stride
        floats += 2 * patches * scale**2 * part.out
    return floats
