"""A backbone that goes on under another head: every tensor of it is kept, and it sees what it saw."""

import pytest
import torch

from tests.checkpoints.test_adapt_families import NEW, checkpoint_of, is_same
from vitreous.checkpoints.transplant import transplant
from vitreous.errors import ConfigError
from vitreous.models.catalog import configure
from vitreous.models.config import SegFormerConfig

WANTED = configure("segformer_tiny")


@pytest.mark.parametrize(
    "name", ["vit_tiny", "beit_tiny", "mae_tiny", "swin_tiny", "simmim_swin_tiny", "dinov3_tiny", "deit_tiny"]
)
def test_the_backbone_is_kept_and_resized(name: str) -> None:
    checkpoint = checkpoint_of(name)
    again, notes = transplant(checkpoint, WANTED, NEW)
    assert isinstance(again.model.config, SegFormerConfig)
    assert again.model.config.image_size == again.preprocess.size == (64, 64)
    assert again.classes == NEW and again.model.config.decoder_width == WANTED.decoder_width
    assert "head with random weights for 4 classes stands on it" in notes[-1]
    ours, theirs = checkpoint.model.state_dict(), again.model.state_dict()
    for key, value in theirs.items():
        if key.startswith("backbone.") and not key.endswith(("positions.table", "bias.table")):
            source = key if key in ours else key.replace("backbone.norm.", "pool_norm.")
            assert is_same(value, ours[source]), key
    assert again.model(torch.randn(2, 3, 64, 64)).logits.shape[:2] == (2, 4)


def test_the_norm_of_a_classifier_goes_back_to_its_backbone() -> None:
    checkpoint = checkpoint_of("beit_tiny")
    assert not checkpoint.model.config.backbone.final_norm
    again, _ = transplant(checkpoint, WANTED, NEW)
    assert again.model.config.backbone.final_norm


def test_a_mix_transformer_goes_on_as_a_segmenter() -> None:
    before = checkpoint_of("segformer_tiny")
    again, _ = transplant(before, WANTED, NEW)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(again.model.features(images), before.model.features(images))


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no backbone"):
        transplant(checkpoint_of("dvae_tiny"), WANTED, NEW)
    with pytest.raises(ConfigError, match="family mae does not stand on a Swin"):
        transplant(checkpoint_of("swin_tiny"), configure("mae_tiny"), NEW)
