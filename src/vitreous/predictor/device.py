"""Where to compute."""

import torch

from vitreous.errors import ConfigError


def pick_device(device: str | torch.device = "auto") -> torch.device:
    """The device to work on; "auto" is the first of cuda, mps and cpu that is there.

    Raises ConfigError for one that is unknown or not there.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"unknown device {device!r}; wanted auto, cpu, cuda, cuda:N or mps") from error
    cards = torch.cuda.device_count() if place.type == "cuda" else 0
    there = place.type == "cpu" or (place.type == "mps" and torch.backends.mps.is_available())
    if not there and (place.index or 0) >= cards:
        raise ConfigError(f"device {device!s} is not there; wanted one that is, or auto")
    return place
