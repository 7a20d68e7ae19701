"""A backbone that goes on under another head: every tensor of it is kept, and it sees what it saw."""

from dataclasses import replace

import pytest
import torch

from tests.checkpoints.test_adapt_families import NEW, OLD, checkpoint_of, is_same
from tests.parity.twins import randomise
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.transplant import transplant
from vitreous.data.preprocess import Preprocess
from vitreous.errors import ConfigError
from vitreous.models.catalog import build, configure
from vitreous.models.config import DetrConfig, SegFormerConfig, family_of
from vitreous.tasks.config import DetectionConfig, SegmentationConfig, check_fits

WANTED = configure("segformer_tiny")
BACKBONES = ["vit_tiny", "beit_tiny", "mae_tiny", "swin_tiny", "simmim_swin_tiny", "dinov3_tiny", "deit_tiny"]


def resnet_18() -> Checkpoint:
    """A classifier of torchvision's with a random value in every tensor and running statistic."""
    config = configure("resnet_18", classes=len(OLD), image_size=64)
    model = randomise(build(config))
    for name, value in model.named_buffers():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape) + (0.5 if name.endswith("var") else 0.0))
    return Checkpoint(model, Preprocess(size=(64, 64), shorter=72, mean=(0.1, 0.2, 0.3), std=(1, 2, 3)), OLD)


@pytest.mark.parametrize("name", BACKBONES)
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
    with pytest.raises(ConfigError, match="family mae does not stand on a Swin; wanted the weights of a ViT"):
        transplant(checkpoint_of("swin_tiny"), configure("mae_tiny"), NEW)
    with pytest.raises(ConfigError, match="family detr does not stand on a Mix Transformer"):
        transplant(checkpoint_of("segformer_tiny"), configure("detr_vit_tiny"), NEW)
    with pytest.raises(ConfigError, match="YOLOS needs plain attention, got relative"):
        transplant(checkpoint_of("beit_tiny"), configure("yolos_tiny"), NEW)
    with pytest.raises(ConfigError, match="family segformer does not stand on a ResNet"):
        transplant(resnet_18(), WANTED, NEW)


@pytest.mark.parametrize("wanted", ["detr_vit_tiny", "yolos_tiny"])
@pytest.mark.parametrize("name", BACKBONES)
def test_a_detector_stands_on_what_was_pretrained(name: str, wanted: str) -> None:
    template, checkpoint = configure(wanted), checkpoint_of(name)
    try:
        again, notes = transplant(checkpoint, template, NEW)
    except ConfigError as refused:
        assert wanted == "yolos_tiny" and ("plain attention" in str(refused) or "a Swin;" in str(refused))
        return
    check_fits(DetectionConfig(), again.model.config)
    assert family_of(again.model.config) == family_of(template)
    assert again.model.config.queries == template.queries
    ours, theirs = checkpoint.model.state_dict(), again.model.state_dict()
    for key, value in theirs.items():
        if key.startswith("backbone.") and not key.endswith(("positions.table", "bias.table")):
            assert is_same(value, ours[key if key in ours else key.replace("backbone.norm.", "pool_norm.")])
    answer = again.model(torch.randn(2, 3, 64, 64))
    assert answer.logits.shape == (2, 16, 5) and answer.boxes.isfinite().all()
    assert f"a {family_of(template)} head with random weights for 4 classes stands on it" in notes[-1]
    assert again.preprocess.size == (64, 64) and again.classes == NEW


def test_a_residual_classifier_goes_under_detr() -> None:
    before = resnet_18()
    again, notes = transplant(before, configure("detr_resnet_tiny"), NEW)
    config = again.model.config
    assert isinstance(config, DetrConfig) and config.backbone.norm == "frozen"  # type: ignore[union-attr]
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(again.model.features(images), before.model.features(images))
        assert again.model(images).logits.shape == (2, 16, 5)
    assert "pictures are squashed to 64x64 pixels" in notes[-2] and "(100 tensors)" in notes[-1]
    assert (again.preprocess.shorter, again.preprocess.mean) == (None, before.preprocess.mean)


def test_what_sees_whole_pictures_goes_on_seeing_them() -> None:
    before = checkpoint_of("vit_tiny")
    whole = Preprocess(size=(32, 32), shorter=32, longest=64, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    again, notes = transplant(replace(before, preprocess=whole), WANTED, NEW)
    check_fits(SegmentationConfig(), again.model.config)
    assert (again.preprocess.shorter, again.preprocess.longest) == (64, 128)
    assert again.preprocess.std == whole.std and len(notes) == 2
