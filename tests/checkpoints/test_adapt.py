"""Other classes and other picture sizes."""

from dataclasses import replace

import pytest
import torch

from tests.checkpoints.make import random_checkpoint, same
from tests.parity.twins import pictures
from vitreous.checkpoints.adapt import adapt


def test_nothing_to_do_is_the_same_checkpoint() -> None:
    checkpoint = random_checkpoint()
    again, notes = adapt(checkpoint, classes=checkpoint.classes, image_size=(32, 32))
    assert again is checkpoint and notes == ()


@pytest.mark.parametrize("options", [{}, {"head": "mlp"}, {"classes": 0}])
def test_a_new_head_keeps_all_else_and_says_so(options: dict[str, object]) -> None:
    checkpoint = random_checkpoint(temperature=1.0 if options else 2.0, **options)
    torch.manual_seed(3)
    adapted, notes = adapt(checkpoint, classes=("x", "y"))
    assert (adapted.classes, adapted.temperature, adapted.model.config.head) == (("x", "y"), 1.0, "linear")
    assert len(notes) == 1 and "a new head with random weights for 2 classes" in notes[0]
    assert same(adapted.model.backbone, checkpoint.model.backbone)
    assert adapted.model(pictures((32, 32)).float()).logits.shape == (3, 2)
    torch.manual_seed(3)
    assert same(adapt(checkpoint, classes=("x", "y"))[0].model, adapted.model)


@pytest.mark.parametrize(
    "options", [{}, {"class_position": False}, {"registers": 2}, {"positions": "sincos2d"}]
)
@pytest.mark.parametrize("size", [(48, 48), (24, 56), (30, 30)])
def test_another_native_size_computes_what_resizing_would(
    options: dict[str, object], size: tuple[int, int]
) -> None:
    checkpoint = random_checkpoint(**options)
    adapted, notes = adapt(checkpoint, image_size=size)
    assert adapted.model.config.backbone.image_size == adapted.preprocess.size == size
    assert len(notes) == 1 and "32x32" in notes[0]
    images = pictures(size).float()
    with torch.no_grad():
        assert torch.equal(adapted.model(images).logits, checkpoint.model(images).logits)


def test_the_share_that_a_crop_keeps_stays() -> None:
    checkpoint = random_checkpoint()
    checkpoint = replace(checkpoint, preprocess=replace(checkpoint.preprocess, shorter=40))
    assert adapt(checkpoint, image_size=(64, 64))[0].preprocess.shorter == 80


def test_the_original_is_left_alone() -> None:
    checkpoint = random_checkpoint()
    before = {key: value.clone() for key, value in checkpoint.model.state_dict().items()}
    adapt(checkpoint, classes=("x",), image_size=(64, 64))
    assert checkpoint.model.config.classes == 5
    for key, value in checkpoint.model.state_dict().items():
        assert torch.equal(value, before[key])
