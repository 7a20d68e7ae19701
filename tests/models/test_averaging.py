"""What pretraining leaves, as one vector a picture: the mean of the patches, and then the norm."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from vitreous.models import catalog
from vitreous.models.averaging import as_classifier
from vitreous.models.building import build_model
from vitreous.models.config import ClassifierConfig


def randomised(name: str) -> nn.Module:
    torch.manual_seed(0)
    model = catalog.build(catalog.configure(name))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model.eval()


@pytest.mark.parametrize("name", ["mae_tiny", "beit_tiny_masked", "simmim_swin_tiny"])
def test_the_classifier_sees_what_the_pretrained_model_saw(name: str) -> None:
    model = randomised(name)
    images = torch.randn(3, 3, 32, 32)
    state = {key: value for key, value in model.state_dict().items() if key.startswith("backbone.")}
    config, moved = as_classifier(model.config.backbone, state)
    assert isinstance(config, ClassifierConfig)
    classifier = build_model(config).eval()
    classifier.load_state_dict(moved)
    with torch.no_grad():
        assert_close(classifier.features(images), model.features(images))


@pytest.mark.parametrize("name", ["mae_tiny", "beit_tiny_masked"])
def test_the_norm_is_behind_the_mean(name: str) -> None:
    model = randomised(name)
    nn.init.ones_(model.backbone.norm.weight)
    nn.init.zeros_(model.backbone.norm.bias)
    with torch.no_grad():
        vectors = model.features(torch.randn(3, 3, 32, 32))
    assert_close(vectors.mean(1), torch.zeros(3), atol=1e-5, rtol=0)
    assert_close(vectors.std(1, correction=0), torch.ones(3), atol=1e-3, rtol=0)
