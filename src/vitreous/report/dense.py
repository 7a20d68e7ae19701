"""What the pages about objects and about regions share: maps made small enough for a page, the picture,
colours, and the steps of a model from pixels to its maps.

Shapes: M maps of rows x cols cells.
"""

from collections.abc import Sequence
from math import ceil, sqrt
from typing import Any

import torch
from PIL import Image

from vitreous.backbones.config import MiTConfig, SwinConfig, ViTConfig
from vitreous.data.drawing import colour_of
from vitreous.data.preprocess import View
from vitreous.explain.explained import Told
from vitreous.layers.layout import Layout
from vitreous.report.anatomy import COARSE, SOURCE, Blocks, address_of, blocked, pack, place_on_source
from vitreous.report.page import Step

CELLS = 3600  # of a map on the page; where there are more, squares of them are taken together


def packed(maps: Sequence[Told], view: View) -> dict[str, Any]:
    """M maps of one kind -> their bytes, the grid of the page, where it lies on the source, and the way in
    words in which they were found."""
    stacked = torch.stack([one.grid.detach().float().cpu() for one in maps])  # (M, rows, cols)
    layout = Layout(0, stacked.shape[1], stacked.shape[2])
    shown = Blocks(layout, max(1, ceil(sqrt(layout.patches / CELLS))))
    # Squares at the edge may reach beyond the last cells.
    whole = Layout(0, shown.rows * shown.side, shown.cols * shown.side)
    place = place_on_source(view, whole, maps[0].stride)
    packs = pack(blocked(stacked, shown))
    return {"rows": shown.rows, "cols": shown.cols, "place": place, "way": maps[0].way, **packs}


def source_of(picture: Image.Image, side: int = SOURCE) -> str:
    """The picture as the page shows it, no larger than ``side`` pixels."""
    small = picture.convert("RGB")
    small.thumbnail((side, side))
    return address_of(small)


def is_coarse(picture: Image.Image) -> bool:
    """Whether its pixels are to be seen as squares."""
    return max(picture.size) <= COARSE


def hue(index: int) -> dict[str, str]:
    """The colour of a class, and what can be read on it."""
    red, green, blue = colour_of(index)
    dark = 0.299 * red + 0.587 * green + 0.114 * blue > 140
    return {"colour": f"#{red:02x}{green:02x}{blue:02x}", "ink": "#000000" if dark else "#ffffff"}


def backbone_steps(config: Any, view: View) -> list[Step]:
    """From the picture to the maps of any backbone."""
    channels, height, width = view.image.shape
    size = (height, width)
    steps = [Step("Picture", f"{height} × {width} × {channels}", "resized, cut and normalised")]
    if isinstance(config, ViTConfig):
        rows, cols = config.grid_at(size)
        steps.append(Step("Cut", f"{rows} × {cols} patches", f"{config.patch} × {config.patch} pixels each"))
        told = f"{config.depth} × attention and MLP"
        how = f"every token asks all, {config.heads} heads"
        return [*steps, Step(told, f"{rows * cols + config.prefix} × {config.encoder.width}", how)]
    if isinstance(config, SwinConfig | MiTConfig):
        swin = isinstance(config, SwinConfig)
        for stage, (rows, cols) in enumerate(config.grids_at(size)):
            if isinstance(config, SwinConfig):
                high, wide = config.windows[stage]
                how = f"windows of {high} × {wide}, every second shifted"
            else:
                side = config.reductions[stage]
                how = "every token asks all" if side == 1 else f"every token asks squares of {side} × {side}"
            depth = config.depths[stage]
            name = f"Stage {stage + 1}: {depth} × {'windowed ' * swin}attention and MLP"
            steps.append(Step(name, f"{rows} × {cols} × {config.widths[stage]}", how))
        return steps
    rows, cols = config.grid_at(size)
    how = f"a residual network of {sum(config.depths)} blocks"
    return [*steps, Step("Convolve", f"{rows} × {cols} × {config.out_channels}", how)]
