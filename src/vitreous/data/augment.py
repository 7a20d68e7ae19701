"""A random view of a picture for training, from torchvision's v2 transforms, and the mixing of pictures.

Random resized crop: "Going Deeper with Convolutions" (arXiv:1409.4842). RandAugment: arXiv:1909.13719.
Random erasing: arXiv:1708.04896. mixup: arXiv:1710.09412. CutMix: arXiv:1905.04899.

Every draw is a function of (seed, epoch, sample), or of (seed, step) for the mixing: a view depends
neither on the number of loading processes nor on where a run was interrupted.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from vitreous.errors import ConfigError

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from vitreous.data.preprocess import Preprocess


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """What may be done to a training picture. The defaults suit photographs; each part can be off.

    crop          share of the area that a random resized crop keeps, (least, most); None: the
                  centre crop of evaluation
    flip          probability of a mirrored view; 0 where left and right mean something, as in digits
    rand_augment  (operations, magnitude of 31); None: off
    rotate        up to this many degrees either way
    shift         up to this share of the side either way
    zoom          a factor from 1 - zoom to 1 + zoom
    erase         probability that a random rectangle is blanked
    mixup, cutmix alpha of their Beta distribution; 0: off; where both are on, each step draws one
    """

    crop: tuple[float, float] | None = (0.35, 1.0)
    flip: float = 0.5
    rand_augment: tuple[int, int] | None = (2, 9)
    rotate: float = 0.0
    shift: float = 0.0
    zoom: float = 0.0
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for name in ("flip", "erase"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"augment.{name} is a probability from 0 to 1, got {getattr(self, name)}")
        if self.crop is not None and not 0 < self.crop[0] <= self.crop[1] <= 1:
            raise ConfigError(f"augment.crop wants 0 < least <= most <= 1, got {self.crop}")
        for name in ("zoom", "shift"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(
                    f"augment.{name} wants a share from 0 to below 1, got {getattr(self, name)}"
                )
        if not 0 <= self.rotate <= 180:
            raise ConfigError(f"augment.rotate wants degrees from 0 to 180, got {self.rotate}")
        if self.rand_augment is not None and not (
            self.rand_augment[0] >= 0 and 0 <= self.rand_augment[1] < 31
        ):
            raise ConfigError(
                f"augment.rand_augment wants (operations, magnitude from 0 to 30), got {self.rand_augment}"
            )
        if not (0 <= self.mixup < inf and 0 <= self.cutmix < inf):
            raise ConfigError("augment.mixup and augment.cutmix want 0 or more")

    @property
    def mixes(self) -> bool:
        """Whether pictures of a batch are mixed, so that labels become shares of classes."""
        return self.mixup > 0 or self.cutmix > 0


class TrainingView:
    """The random view of training: PIL picture -> (C, h, w) float32, normalised as ``prepare`` does.

    It draws from torch's global generator; whoever calls it does so inside ``draws.drawing``.
    """

    def __init__(self, config: AugmentConfig, prepare: Preprocess) -> None:
        import torch
        from torchvision.transforms import v2

        from vitreous.data.affine import SubpixelAffine

        self.grey = prepare.channels == 1
        method = v2.InterpolationMode(prepare.interpolation)
        steps: list[Any] = []
        if config.crop is not None:
            steps.append(v2.RandomResizedCrop(prepare.size, scale=config.crop, interpolation=method))
        elif prepare.shorter is not None:
            steps += [v2.Resize(prepare.shorter, interpolation=method), v2.CenterCrop(prepare.size)]
        elif prepare.squashed is not None:
            steps += [v2.Resize(prepare.squashed, interpolation=method), v2.CenterCrop(prepare.size)]
        else:
            steps.append(v2.Resize(prepare.size, interpolation=method))
        if config.flip:
            steps.append(v2.RandomHorizontalFlip(config.flip))
        if config.rand_augment is not None:
            operations, magnitude = config.rand_augment
            # Pillow turns and shears pictures by no kernel as wide as Lanczos'.
            turned = v2.InterpolationMode.BICUBIC if method is v2.InterpolationMode.LANCZOS else method
            steps.append(v2.RandAugment(operations, magnitude, interpolation=turned))
        if config.rotate or config.shift or config.zoom:
            affine = SubpixelAffine(
                config.rotate,
                translate=(config.shift, config.shift) if config.shift else None,
                scale=(1 - config.zoom, 1 + config.zoom) if config.zoom else None,
                interpolation=v2.InterpolationMode.BILINEAR,
            )
            steps.append(affine)
        steps += [
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(prepare.mean), list(prepare.std)),
        ]
        if config.erase:
            steps.append(v2.RandomErasing(config.erase))
        self.transform = v2.Compose(steps)

    def __call__(self, picture: Image.Image) -> Tensor:
        """PIL picture -> (C, h, w) float32."""
        result: Tensor = self.transform(picture.convert("L" if self.grey else "RGB"))
        return result


def mix(
    images: Tensor, labels: Tensor, classes: int, config: AugmentConfig, seed: int
) -> tuple[Tensor, Tensor]:
    """Mix every picture with the one before it: (n+1, C, H, W), (n+1,) or (n+1, K) -> (n, C, H, W), (n, K).

    The first picture is only the partner of the second. So a slice of a batch, with the picture
    ahead of it, is mixed exactly as the whole batch would be; torchvision's own MixUp and CutMix,
    which roll the batch that they see, cannot be cut among processes.
    """
    import torch
    from torch.nn.functional import one_hot

    generator = torch.Generator().manual_seed(seed)
    paste = config.cutmix > 0 and (config.mixup == 0 or bool(torch.rand((), generator=generator) < 0.5))
    share = _beta(config.cutmix if paste else config.mixup, generator)
    own, partner = images[1:], images[:-1]
    if paste:
        height, width = images.shape[-2:]
        top, left, bottom, right = _rectangle(height, width, share, generator)
        own = own.clone()
        own[..., top:bottom, left:right] = partner[..., top:bottom, left:right]
        share = 1 - (bottom - top) * (right - left) / (height * width)
    else:
        own = own * share + partner * (1 - share)
    shares = labels if labels.ndim == 2 else one_hot(labels, classes)  # (n+1, K)
    shares = shares.to(images.dtype)
    return own, shares[1:] * share + shares[:-1] * (1 - share)


def _beta(alpha: float, generator: Any) -> float:
    """One draw of Beta(alpha, alpha) as a share of two Gamma draws."""
    import torch

    first, second = torch._standard_gamma(
        torch.full((2,), alpha, dtype=torch.float64), generator=generator
    ).tolist()
    return float(first / (first + second)) if first + second > 0 else 0.5


def _rectangle(height: int, width: int, share: float, generator: Any) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of about 1 - share of the area, around a random centre, clipped."""
    import torch

    half = 0.5 * (1 - share) ** 0.5
    down, across = (torch.rand(2, generator=generator) * torch.tensor([height, width])).int().tolist()
    tall, wide = int(height * half), int(width * half)
    return (
        max(0, down - tall),
        max(0, across - wide),
        min(height, down + tall),
        min(width, across + wide),
    )
