"""Masked autoencoder: a quarter of the patches is encoded, a light decoder rebuilds the others.

"Masked Autoencoders Are Scalable Vision Learners" (arXiv:2111.06377), section 3.

Shapes: B pictures of C channels; T prefix tokens; P patches of p x p pixels, V of them visible; D width,
M the decoder's.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vitreous.backbones.encoder import Encoder
from vitreous.backbones.interface import Layout
from vitreous.backbones.vit import ViT, build_vit, initialise
from vitreous.layers.attention import Attention
from vitreous.layers.patches import blank
from vitreous.layers.positions import build_positions
from vitreous.models.averaging import averaged
from vitreous.models.config import MAEConfig
from vitreous.models.model import Model


class Reconstruction(NamedTuple):
    """``patches`` (B, P, C * p * p): every patch as the decoder rebuilds it, cut as ``patchify`` cuts;
    ``hidden`` (B, P) bool: which of them the encoder did not see."""

    patches: Tensor
    hidden: Tensor


class Decoder(nn.Module):
    """Puts a mask token where a patch is missing, tells every token its place, and paints."""

    def __init__(self, config: MAEConfig) -> None:
        super().__init__()
        backbone, blocks = config.backbone, config.decoder
        width, heads = blocks.width, config.decoder_heads
        self.embed = nn.Linear(backbone.out_channels, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        native = Layout(backbone.prefix, *backbone.grid)
        self.positions = build_positions(
            config.decoder_positions, width, native, config.decoder_position_resize
        )
        self.encoder = Encoder(blocks, [Attention(width, heads) for _ in range(config.decoder_depth)])
        self.norm = nn.LayerNorm(width, eps=blocks.norm_eps)
        self.paint = nn.Linear(width, backbone.channels * backbone.patch**2)
        initialise(self)
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(self, tokens: Tensor, places: Tensor, layout: Layout) -> Tensor:
        """Encoded prefix and visible patches (B, T+V, D), where each patch stands among them (B, P) ->
        all patches (B, P, C * p * p). Places of V and more are hidden patches."""
        rebuilt = self.norm(self.encoder(self._completed(tokens, places, layout), layout))  # (B, T+P, M)
        return self.paint(rebuilt[:, layout.prefix :])  # (B, P, C * p * p)

    def _completed(self, tokens: Tensor, places: Tensor, layout: Layout) -> Tensor:
        """(B, T+V, D), (B, P) -> (B, T+P, M): mask tokens where patches are hidden, positions added."""
        tokens = self.embed(tokens)  # (B, T+V, M)
        prefix, visible = tokens[:, : layout.prefix], tokens[:, layout.prefix :]
        missing = self.mask_token.expand(len(tokens), layout.patches - visible.shape[1], -1)
        shuffled = torch.cat([visible, missing.to(visible)], dim=1)  # (B, P, M)
        patches = shuffled.gather(1, places[..., None].expand(-1, -1, shuffled.shape[2]))
        return torch.cat([prefix, patches], dim=1) + self.positions(layout).to(tokens.device)


class MaskedAutoencoder(Model):
    """Hides most of the patches, encodes the rest, and rebuilds the picture."""

    def __init__(self, config: MAEConfig, backbone: ViT) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        self.decoder = Decoder(config)

    def embed_layout(self, images: Tensor) -> Layout:
        """How the tokens of all patches of these pictures (B, C, H, W) lie; what ``noise`` is drawn for."""
        return self.backbone.embed.layout(images)

    def forward(self, images: Tensor, noise: Tensor | None = None) -> Reconstruction:
        """(B, C, H, W), and a number for each patch (B, P) -> the rebuilt patches.

        The patches with the smallest numbers stay visible, of equal ones the first; None draws them from
        torch's generator. ConfigError for pictures so small that ``mask_ratio`` leaves no patch to see.
        """
        layout = self.embed_layout(images)
        if noise is None:
            noise = torch.rand(len(images), layout.patches, device=images.device)
        order = noise.argsort(dim=1, stable=True)  # (B, P), visible ones first
        visible = self.config.visible(layout.patches)  # V
        places = order.argsort(dim=1)  # (B, P), the inverse of ``order``
        hidden = places >= visible
        if self.config.backbone.stem == "conv":
            # Its convolutions overlap: a visible patch must not be told of its hidden neighbours.
            images = blank(images, hidden, self.config.backbone.patch)
        # The tokens of the whole picture are kept under no name: that would be memory.
        encoded = self.backbone.encode(
            self._seen(images, order[:, :visible], layout), Layout(layout.prefix, 1, visible)
        )  # (B, T+V, D)
        return Reconstruction(self.decoder(encoded, places, layout), hidden)

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D): the mean of the patches, none of them hidden, and then the norm."""
        return averaged(self.backbone, images)

    def _seen(self, images: Tensor, kept: Tensor, layout: Layout) -> Tensor:
        """(B, C, H, W), the numbers of the visible patches (B, V) -> embedded tokens (B, T+V, D)."""
        tokens = self.backbone.embed(images, layout)  # (B, T+P, D)
        prefix, patches = tokens[:, : layout.prefix], tokens[:, layout.prefix :]
        kept = kept[..., None].expand(-1, -1, patches.shape[2])
        return torch.cat([prefix, patches.gather(1, kept)], dim=1)


def build_mae(config: MAEConfig) -> MaskedAutoencoder:
    """A masked autoencoder with random weights."""
    return MaskedAutoencoder(config, build_vit(config.backbone))
