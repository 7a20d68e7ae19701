"""BEiT: blocks of patches are hidden, and the model says which visual token each of them has.

"BEiT: BERT Pre-Training of Image Transformers" (arXiv:2106.08254), section 2.3 and eq. 2. The tokens are
those that a frozen tokenizer, a discrete VAE, gives the whole view.

Shapes: B pictures; P = rows * cols patches; K visual tokens.
"""

from collections.abc import Mapping
from math import log
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from vitreous.backbones.config import ViTConfig
from vitreous.data.loader import Labelled
from vitreous.data.masks import Masks
from vitreous.data.normalising import coloured, normalised, pixels_of
from vitreous.data.preprocess import Preprocess
from vitreous.layers.patches import cut_to_patches, pad_to_patches
from vitreous.models.config import MaskedTokensConfig
from vitreous.tasks.config import VisualTokensConfig
from vitreous.tasks.task import Loss

TOKEN = "token "  # ahead of a token's number, where it is counted


class Tokenizer(Protocol):
    """What is asked of a discrete VAE: ``config.stride``, the pixels from one token to the next, and the
    tokens of pictures that were prepared for it."""

    config: Any

    def tokens(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, rows, cols) int64."""
        ...


class Answers:
    """What a frozen tokenizer says of the very views that a model is shown.

    Their pixels are taken back from the model's normalisation (``ours``) and given to the tokenizer in its
    own (``theirs``), at the size at which it has one token for each patch. Grey and colour are made of one
    another.
    """

    def __init__(
        self, tokenizer: Tokenizer, theirs: Preprocess, ours: Preprocess, backbone: ViTConfig
    ) -> None:
        self.tokenizer = tokenizer
        self.theirs, self.ours = theirs, ours
        self.backbone = backbone

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """(B, C, H, W) as the model sees them -> (B, P) int64, a token for each patch."""
        with torch.autocast(images.device.type, enabled=False):  # rounded, they might be others
            return self.tokenizer.tokens(self.prepared(images.float())).flatten(1)

    def prepared(self, images: Tensor) -> Tensor:
        """(B, C, H, W) as the model sees them -> as the tokenizer wants them."""
        whole = cut_to_patches if self.backbone.cut_edges else pad_to_patches
        images = whole(images, self.backbone.patch)  # (B, C, rows * p, cols * p)
        pixels = coloured(pixels_of(images, self.ours), self.theirs.channels)
        rows, cols = (side // self.backbone.patch for side in images.shape[-2:])
        stride: int = self.tokenizer.config.stride
        wanted = (rows * stride, cols * stride)
        if tuple(pixels.shape[-2:]) != wanted:
            pixels = interpolate(pixels, wanted, mode="bilinear", antialias=True)
        return normalised(pixels, self.theirs)


class VisualTokens:
    """Cross-entropy between what the model says of hidden patches and the tokens that they have."""

    calibrated = False

    def __init__(self, config: VisualTokensConfig, model: MaskedTokensConfig, answers: Answers) -> None:
        self.masks: Masks | None = config.masks(model.backbone.grid)
        self.answers = answers

    def loss(self, model: nn.Module, batch: Labelled) -> Loss:
        """The mean over the hidden patches of a batch, in nats. As many are hidden in each picture."""
        logits, wanted = self._hidden(model, batch)
        total = cross_entropy(logits, wanted)
        return Loss(total, {"masked_loss": total})

    @torch.no_grad()
    def tally(self, model: nn.Module, batch: Labelled) -> dict[str, float]:
        """Sums over a held-out batch: pictures, hidden patches, those told rightly, their cross-entropy, and
        how often each token was the answer."""
        logits, wanted = self._hidden(model, batch)
        sums = {
            "pictures": float(len(batch.images)),
            "patches": float(len(wanted)),
            "right": float((logits.argmax(1) == wanted).sum()),
            "cross_entropy": float(cross_entropy(logits, wanted, reduction="sum")),
        }
        for token, count in enumerate(torch.bincount(wanted).tolist()):
            if count:
                sums[f"{TOKEN}{token}"] = float(count)
        return sums

    def measures(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Of hidden patches: the share told rightly and the mean cross-entropy in nats; and beside them the
        best that the same guess for every patch could reach, which is always the commonest token for the
        one, and how often each token occurs (their entropy) for the other."""
        patches = sums["patches"]
        shares = [count / patches for name, count in sums.items() if name.startswith(TOKEN)]
        return {
            "masked_accuracy": sums["right"] / patches,
            "masked_loss": sums["cross_entropy"] / patches,
            "guessing_accuracy": max(shares),
            "guessing_loss": -sum(share * log(share) for share in sorted(shares)),
        }

    def rank(self, measures: Mapping[str, float]) -> tuple[float, ...]:
        """The lower cross-entropy is better."""
        return (-measures["masked_loss"],)

    def _hidden(self, model: nn.Module, batch: Labelled) -> tuple[Tensor, Tensor]:
        """Logits of the hidden patches of all pictures (B * hidden, K), and their tokens (B * hidden,)."""
        logits = model(batch.images, batch.masks).logits  # (B, P, K)
        return logits[batch.masks].float(), self.answers(batch.images)[batch.masks]
