"""A view made for one model as another one wants it: back to pixels, in its colours, normalised again.

Shapes: B views; C channels; H x W pixels.
"""

import torch
from torch import Tensor

from vitreous.data.preprocess import Preprocess


def normalised(pixels: Tensor, preprocess: Preprocess) -> Tensor:
    """(B, C, H, W) pixels from 0 to 1 -> the same as ``preprocess`` normalises them."""
    mean, std = _statistics(preprocess, pixels.device)
    return (pixels - mean) / std


def pixels_of(images: Tensor, preprocess: Preprocess) -> Tensor:
    """(B, C, H, W) as ``preprocess`` normalised them -> pixels from 0 to 1."""
    mean, std = _statistics(preprocess, images.device)
    return images * std + mean


def coloured(pixels: Tensor, channels: int) -> Tensor:
    """(B, C, H, W) -> (B, ``channels``, H, W): grey as three equal channels, colour as its luminance."""
    if pixels.shape[1] == channels:
        return pixels
    from torchvision.transforms.v2.functional import grayscale_to_rgb, rgb_to_grayscale

    return grayscale_to_rgb(pixels) if channels == 3 else rgb_to_grayscale(pixels)


def _statistics(preprocess: Preprocess, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and deviation, (C, 1, 1)."""
    mean, std = (
        torch.tensor(values, device=device)[:, None, None] for values in (preprocess.mean, preprocess.std)
    )
    return mean, std
