"""What a pretrained model makes of pictures of which it sees a part, or which went through its tokens.

Shapes: B pictures of C channels and H x W pixels; P = rows * cols patches of p x p pixels.
"""

from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from vitreous.data.collection import Collection
from vitreous.data.loader import Labelled, batches
from vitreous.data.masks import Masks, RandomOrder
from vitreous.data.normalising import coloured, normalised, pixels_of
from vitreous.data.preprocess import Preprocess
from vitreous.layers.patches import unpatchify
from vitreous.models.beit import MaskedTokens
from vitreous.models.config import MAEConfig, MaskedTokensConfig, ModelConfig, SimMIMConfig
from vitreous.models.dvae import DVAE
from vitreous.models.mae import MaskedAutoencoder
from vitreous.models.model import Model
from vitreous.models.simmim import SimMIM
from vitreous.tasks.config import MaskedPixelsConfig, TaskConfig, VisualTokensConfig
from vitreous.tasks.masked_autoencoding import painted
from vitreous.tasks.visual_tokens import Answers


class Rebuilt(NamedTuple):
    """One picture as the model is shown it: whole; with nothing (transparent) where patches were hidden, or
    None where none was; and as the model rebuilt it, or None where it paints nothing."""

    name: str
    original: Image.Image
    seen: Image.Image | None
    rebuilt: Image.Image | None


class TokenPainter:
    """Makes pixels of the visual tokens that a model tells of hidden patches: the tokenizer paints them, with
    the tokens of the visible patches round about."""

    def __init__(
        self, tokenizer: DVAE, theirs: Preprocess, ours: Preprocess, model: MaskedTokensConfig
    ) -> None:
        self.tokenizer, self.theirs, self.ours = tokenizer, theirs, ours
        self.answers = Answers(tokenizer, theirs, ours, model.backbone)
        self.patch = model.backbone.patch

    def __call__(self, images: Tensor, told: Tensor, hidden: Tensor, grid: tuple[int, int]) -> Tensor:
        """Views (B, C, H, W), the tokens told of all patches (B, P), which are hidden (B, P), (rows, cols) ->
        (B, C, rows * p, cols * p), normalised as the views."""
        tokens = torch.where(hidden, told, self.answers(images)).view(-1, *grid)
        pixels = pixels_of(self.tokenizer.decode(tokens), self.theirs)
        size = (grid[0] * self.patch, grid[1] * self.patch)
        pixels = interpolate(pixels.clamp(0, 1), size, mode="bilinear", antialias=True)
        return normalised(coloured(pixels, self.ours.channels), self.ours)


def masks_of(task: TaskConfig, model: ModelConfig) -> Masks | None:
    """What hides patches of held-out pictures where such a model learns so; None where nothing is hidden."""
    if isinstance(model, MAEConfig):
        rows, cols = model.backbone.grid
        return RandomOrder(rows * cols)
    if isinstance(task, MaskedPixelsConfig) and isinstance(model, SimMIMConfig):
        return task.masks(model.backbone)
    if isinstance(task, VisualTokensConfig) and isinstance(model, MaskedTokensConfig):
        return task.masks(model.backbone.grid)
    return None


@torch.no_grad()
def rebuild(
    model: Model,
    preprocess: Preprocess,
    pictures: Collection,
    masks: Masks | None,
    painter: TokenPainter | None = None,
) -> list[Rebuilt]:
    """A few pictures, on the CPU, each with the mask that its name draws, as in the run itself; what cannot
    be read is left out. ``painter`` is for models that tell visual tokens, which paint nothing themselves."""
    model = model.cpu().eval()
    found: list[Rebuilt] = []
    for batch in batches(pictures, preprocess, batch_size=max(1, len(pictures)), masks=masks, tolerant=True):
        pixels, hidden = _answer(model, batch, painter)
        for row, (image, index) in enumerate(zip(batch.images, batch.indices.tolist(), strict=True)):
            original = preprocess.restore(image)
            seen = rebuilt = None
            if hidden is not None:
                seen = original.convert("RGBA")
                seen.putalpha(Image.fromarray((~hidden[row, 0]).mul(255).to(torch.uint8).numpy()))
            if pixels is not None:
                kept = pixels[row] if hidden is None else torch.where(hidden[row], pixels[row], image)
                rebuilt = preprocess.restore(kept)
            found.append(Rebuilt(pictures.samples[index].name, original, seen, rebuilt))
    return found


def _answer(
    model: Model, batch: Labelled, painter: TokenPainter | None
) -> tuple[Tensor | None, Tensor | None]:
    """What the model paints, (B, C, H, W), and which pixels were hidden, (B, 1, H, W); each None where there
    is no such thing."""
    images, masks = batch.images, batch.masks
    if isinstance(model, DVAE):
        return _laid_on(images, model.decode(model.tokens(images))) if model.decoder else None, None
    if isinstance(model, MaskedAutoencoder) and masks is not None:
        patch, layout = model.config.backbone.patch, model.embed_layout(images)
        patches, hidden = model(images, masks)
        pixels = unpatchify(painted(patches, images, model.config), patch, layout.rows, layout.cols)
        return _laid_on(images, pixels), _spread(images, hidden, (layout.rows, layout.cols), patch)
    if isinstance(model, SimMIM) and masks is not None:
        backbone = model.config.backbone
        grid = backbone.grid_at((images.shape[-2], images.shape[-1]))
        return model(images, masks).images, _spread(images, masks, grid, backbone.patch)
    if isinstance(model, MaskedTokens) and masks is not None:
        layout = model.backbone.embed.layout(images)
        grid = (layout.rows, layout.cols)
        hidden = _spread(images, masks, grid, model.config.backbone.patch)
        if painter is None:
            return None, hidden
        told = model(images, masks).logits.argmax(2)  # (B, P)
        return _laid_on(images, painter(images, told, masks, grid)), hidden
    return None, None


def _laid_on(images: Tensor, pixels: Tensor) -> Tensor:
    """(B, C, H, W) with (B, C, h, w) laid on its upper left part: of pictures that are no whole number of
    patches some is cut off, or some is padded."""
    height, width = (min(sides) for sides in zip(images.shape[-2:], pixels.shape[-2:], strict=True))
    result = images.clone()
    result[..., :height, :width] = pixels[..., :height, :width]
    return result


def _spread(images: Tensor, hidden: Tensor, grid: tuple[int, int], patch: int) -> Tensor:
    """Which patches are hidden (B, P) -> which pixels (B, 1, H, W); those of no patch are not."""
    cells = hidden.view(-1, 1, *grid).repeat_interleave(patch, 2).repeat_interleave(patch, 3)
    return _laid_on(torch.zeros_like(images[:, :1], dtype=torch.bool), cells)
