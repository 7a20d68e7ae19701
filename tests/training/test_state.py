"""A state is written from where the tensors are; only what shares memory is copied."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from vitreous.training.state import _apart


def test_what_has_its_own_memory_is_not_copied(tmp_path: Path) -> None:
    whole = torch.arange(12.0).view(3, 4)
    tensors = {
        "whole": whole,
        "part": whole[1:],
        "same": whole,
        "turned": torch.arange(6.0).view(2, 3).t(),
        "number": torch.tensor(3),
        "nothing": torch.empty(0),
        "nothing else": torch.empty(0),
    }
    apart = _apart(tensors)
    assert apart["whole"].data_ptr() == whole.data_ptr()
    places = [value.untyped_storage().data_ptr() for value in apart.values() if value.numel()]
    assert len(set(places)) == len(places)
    save_file(apart, tmp_path / "state")  # which refuses tensors that share memory
    read = load_file(tmp_path / "state")
    assert all(torch.equal(read[name], value) for name, value in tensors.items())
