"""What a batch is computed in, and where."""

from contextlib import AbstractContextManager, nullcontext

import torch

from vitreous.data.loader import Labelled
from vitreous.training.config import Precision


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """The number format of forward passes: bfloat16 where it was asked for, or where the hardware gains
    by it; weights stay float32. On a CPU bfloat16 is mostly emulated, several times slower."""
    half = precision == "bfloat16" or (
        precision == "auto"
        and device.type == "cuda"
        and torch.cuda.is_bf16_supported(including_emulation=False)
    )
    return torch.autocast(device.type, torch.bfloat16) if half else nullcontext()


def moved(batch: Labelled, device: torch.device) -> Labelled:
    """The batch on a device."""
    return batch.map(lambda part: part.to(device, non_blocking=True))
