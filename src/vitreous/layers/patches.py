"""A picture is worth 16x16 words: cutting it into patches and projecting them, arXiv:2010.11929, eq. 1.

The convolutional stem: "Early Convolutions Help Transformers See Better" (arXiv:2106.14881).

Shapes: B pictures of C channels and H x W pixels; patches of p x p pixels; P = rows * cols; D width.
"""

from torch import Tensor, nn
from torch.nn.functional import linear, pad

from vitreous.layers.geometry import stem_convolutions


def pad_to_patches(images: Tensor, patch: int) -> Tensor:
    """(B, C, H, W) -> (B, C, rows * p, cols * p): zeros at the bottom and the right, where a side is no
    multiple of the patch. Zero is the mean colour of a normalised picture."""
    height, width = images.shape[-2:]
    below, right = -height % patch, -width % patch
    return pad(images, (0, right, 0, below)) if below or right else images


def cut_to_patches(images: Tensor, patch: int) -> Tensor:
    """(B, C, H, W) -> (B, C, rows * p, cols * p): what is beyond the last whole patch is left out."""
    height, width = images.shape[-2:]
    return images[..., : height // patch * patch, : width // patch * patch]


def patchify(images: Tensor, patch: int) -> Tensor:
    """(B, C, H, W) -> (B, P, C * p * p): cut into patches, row by row, each flattened channel first.

    H and W must be multiples of the patch; ``pad_to_patches`` makes them so.
    """
    batch, channels, height, width = images.shape
    rows, cols = height // patch, width // patch
    cut = images.reshape(batch, channels, rows, patch, cols, patch)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(batch, rows * cols, channels * patch * patch)


def unpatchify(patches: Tensor, patch: int, rows: int, cols: int) -> Tensor:
    """(B, P, C * p * p) -> (B, C, rows * p, cols * p), the exact inverse of ``patchify``."""
    batch = patches.shape[0]
    cut = patches.reshape(batch, rows, cols, -1, patch, patch)
    return cut.permute(0, 3, 1, 4, 2, 5).reshape(batch, -1, rows * patch, cols * patch)


def blank(images: Tensor, hidden: Tensor, patch: int) -> Tensor:
    """(B, C, H, W), which patches are hidden (B, P) bool -> the pictures with zeros there."""
    height, width = images.shape[-2:]
    rows, cols = -(-height // patch), -(-width // patch)
    cells = hidden.view(-1, 1, rows, cols)
    pixels = cells.repeat_interleave(patch, 2).repeat_interleave(patch, 3)  # (B, 1, rows * p, cols * p)
    return images.masked_fill(pixels[..., :height, :width], 0.0)


class PatchTokens(nn.Module):
    """x_p E: every patch, flattened, times one matrix.

    The matrix is kept as the kernel of a convolution with stride p, which is the same product and
    faster on most machines; ``flatten_and_project`` is eq. 1 to the letter, from the same weights.
    With ``cut_edges`` a part of a patch at the bottom or the right is left out; else it is padded.
    """

    def __init__(self, channels: int, width: int, patch: int, *, cut_edges: bool = False) -> None:
        super().__init__()
        self.patch = patch
        self.cut_edges = cut_edges
        self.projection = nn.Conv2d(channels, width, kernel_size=patch, stride=patch)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, P, D)."""
        grid = self.projection(self._whole(images))  # (B, D, rows, cols)
        return grid.flatten(2).transpose(1, 2)  # (B, P, D)

    def flatten_and_project(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, P, D), as eq. 1 writes it."""
        patches = patchify(self._whole(images), self.patch)  # (B, P, C * p * p)
        return linear(patches, self.projection.weight.flatten(1), self.projection.bias)

    def _whole(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, rows * p, cols * p)."""
        return cut_to_patches(images, self.patch) if self.cut_edges else pad_to_patches(images, self.patch)


class ConvStem(nn.Module):
    """Small convolutions in the place of one large one; the same grid comes out.

    The paper normalises over the batch. Here each picture is normalised alone (one group), so that
    accumulated and distributed batches train alike, and one picture never changes another's answer.
    """

    def __init__(self, channels: int, width: int, patch: int, first: int | None = None) -> None:
        super().__init__()
        self.patch = patch
        *convolutions, last = stem_convolutions(channels, width, patch, first)
        layers: list[nn.Module] = []
        for channels_in, out, kernel, stride in convolutions:
            layers += [
                nn.Conv2d(channels_in, out, kernel, stride, padding=kernel // 2, bias=False),
                nn.GroupNorm(1, out),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers)
        self.projection = nn.Conv2d(last.channels, last.out, last.kernel, last.stride)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, P, D)."""
        grid = self.projection(self.layers(pad_to_patches(images, self.patch)))
        return grid.flatten(2).transpose(1, 2)  # (B, P, D)
