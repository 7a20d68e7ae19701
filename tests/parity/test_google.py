"""Google's ``.npz``, held against timm's own loader of them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.parity.twins import BOUND, difference, google_arrays, google_twin, pictures
from vitreous.checkpoints.source import read_any
from vitreous.errors import CheckpointError

pytest.importorskip("timm")


def test_logits(tmp_path: Path) -> None:
    twin = google_twin(tmp_path / "vit.npz", google_arrays())
    checkpoint = read_any(twin.path)
    assert checkpoint.preprocess.mean == checkpoint.preprocess.std == (0.5, 0.5, 0.5)
    for dtype, bound in BOUND.items():
        model = checkpoint.model.to(dtype)
        twin.model.to(dtype)
        for size in ((32, 32), (48, 48), (24, 56)):
            found = difference(model, twin.forward, pictures(size).to(dtype))
            assert found.relative < bound, (dtype, size, found)


def test_the_head_of_the_paper(tmp_path: Path) -> None:
    """timm leaves ``pre_logits`` out, so the head is computed here, as eq. 4 and section 3.1 have it."""
    arrays = google_arrays(pre_logits=True)
    twin = google_twin(tmp_path / "vit.npz", arrays)
    checkpoint = read_any(twin.path)
    assert checkpoint.model.config.head == "mlp"

    def reference(images: torch.Tensor) -> torch.Tensor:
        pooled = twin.model.forward_features(images)[:, 0]
        hidden = torch.tanh(pooled @ torch.tensor(arrays["pre_logits/kernel"]) + arrays["pre_logits/bias"])
        return hidden @ torch.tensor(arrays["head/kernel"]) + torch.tensor(arrays["head/bias"])

    assert difference(checkpoint.model, reference, pictures((32, 32)).float()).relative < 1e-4


def test_the_state_of_an_optimizer_around_it(tmp_path: Path) -> None:
    arrays = google_arrays()
    wrapped = {f"opt/target/{key}": value for key, value in arrays.items()}
    np.savez(tmp_path / "a.npz", **arrays)
    np.savez(tmp_path / "b.npz", **wrapped, **{"opt/state/step": np.int64(7)})
    a, b = read_any(tmp_path / "a.npz"), read_any(tmp_path / "b.npz")
    assert b.lineage["unused"] == ["opt/state/step"]
    for one, other in zip(a.model.parameters(), b.model.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("conv_root/kernel", "a hybrid"),
        ("MAPHead_0/probe", "attention pooling"),
        ("surprise", "does not explain: surprise"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, name: str, reason: str) -> None:
    np.savez(tmp_path / "vit.npz", **google_arrays(), **{name: np.zeros(3, np.float32)})
    with pytest.raises(CheckpointError, match=reason):
        read_any(tmp_path / "vit.npz")
