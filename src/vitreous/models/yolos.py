"""YOLOS: the objects of a picture from a plain ViT alone, which is given tokens that ask for them.

"You Only Look at One Sequence" (arXiv:2106.00666), section 3. No decoder, no map, no convolution but that of
the patches: a pretrained ViT goes on with queries among its tokens, and is taught as DETR is.

Shapes: B pictures of C channels and H x W pixels; T prefix tokens of the ViT; Q queries; P = rows * cols
patches; D width; K classes.
"""

import torch
from torch import Tensor, nn

from vitreous.backbones.vit import ViT
from vitreous.layers.layout import Layout
from vitreous.layers.positions import LearnedPositions
from vitreous.models.alike import alike
from vitreous.models.detr import BoxHead, Detections
from vitreous.models.model import Model, mean_of_patches
from vitreous.models.yolos_config import YolosConfig


class Yolos(Model):
    """A ViT, queries that stand among its tokens, and two heads of three layers on what they become."""

    def __init__(self, config: YolosConfig, backbone: ViT) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        width, native = config.backbone.encoder.width, Layout(config.prefix, *config.backbone.grid)
        self.queries = nn.Parameter(torch.empty(1, config.queries, width))
        self.query_places = nn.Parameter(torch.empty(1, config.queries, width))
        resize = config.backbone.position_resize
        count = config.backbone.depth - 1 if config.positions_between else 0
        self.positions_between = nn.ModuleList(LearnedPositions(width, native, resize) for _ in range(count))
        self.classify = ClassHead(width, config.classes + 1)
        self.locate = BoxHead(width)
        nn.init.trunc_normal_(self.queries, std=0.02)
        nn.init.trunc_normal_(self.query_places)  # as loud as the positions of patches
        for positions in self.positions_between:
            nn.init.zeros_(positions.get_parameter("table"))  # a pretrained ViT sees at first what it saw
        for part in (self.classify, self.locate):
            for parameter in part.parameters():
                if parameter.ndim > 1:
                    nn.init.xavier_uniform_(parameter)

    def forward(self, images: Tensor, valid: Tensor | None = None) -> Detections:
        """images (B, C, H, W), valid (B, H, W) bool, True where a pixel is picture and not padding, which
        stands at the right and at the bottom; None: all is picture -> logits (B, Q, K + 1), boxes (B, Q,
        4)."""
        if valid is None:
            return self._answer(images)
        groups, order = alike(valid)
        logits, boxes, _ = zip(*(self._answer(group.of(images)) for group in groups), strict=True)
        return Detections(torch.cat(logits)[order], torch.cat(boxes)[order])

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D): the mean of the patches, among which the queries stood."""
        return mean_of_patches(self.encode(images)[1])

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> what the queries hold (B, Q, D), and the map (B, D, rows, cols)."""
        embed, blocks = self.backbone.embed, self.backbone.encoder.blocks
        seen = embed.layout(images)
        layout = seen._replace(prefix=self.config.prefix)
        tokens = embed(images, seen)  # (B, T+P, D)
        asking = (self.queries + self.query_places).expand(len(images), -1, -1)  # (B, Q, D)
        parts = [tokens[:, : seen.prefix], asking, tokens[:, seen.prefix :]]
        tokens = torch.cat(parts, dim=1)  # (B, T+Q+P, D)
        for number, block in enumerate(blocks):
            tokens = block(tokens, layout)
            if number < len(self.positions_between):
                tokens = tokens + self.positions_between[number](layout)
        prefix, grid = layout.split(self.backbone.norm(tokens))
        return prefix[:, seen.prefix :], grid

    def _answer(self, images: Tensor) -> Detections:
        queries, _ = self.encode(images)
        return Detections(self.classify(queries), self.locate(queries))


class ClassHead(nn.Module):
    """Three layers, the last of which tells classes."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        sizes = (width, width, classes)
        self.layers = nn.ModuleList(nn.Linear(width, size) for size in sizes)

    def forward(self, queries: Tensor) -> Tensor:
        """(B, Q, D) -> (B, Q, K + 1)."""
        first, second, last = self.layers
        told: Tensor = last(second(first(queries).relu()).relu())
        return told
