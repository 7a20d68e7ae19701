"""torchvision's random affine, with shifts of parts of a pixel: at 8 x 8 pixels a tenth of the side is less
than one, and whole pixels would leave hardly any shift to draw. It imports torchvision."""

from typing import Any

import torch
from torchvision.transforms import v2


class SubpixelAffine(v2.RandomAffine):  # type: ignore[misc]  # torchvision has no types
    """As ``RandomAffine``; the shift is not rounded."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The parameters of one draw."""
        params: dict[str, Any] = super().make_params(flat_inputs)
        if self.translate is not None:
            width, height = flat_inputs[0].size  # a PIL picture
            across, down = (2 * torch.rand(2) - 1).tolist()
            params["translate"] = (
                across * self.translate[0] * width,
                down * self.translate[1] * height,
            )
        return params
