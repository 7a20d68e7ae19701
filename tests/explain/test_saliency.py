import torch

from vitreous.explain.saliency import relevance, relevance_by_class

from .by_hand import Explained, read, relevance_matrix
from .conftest import images_for, tiny


def wanted(model: Explained, images: torch.Tensor, index: int) -> torch.Tensor:
    found = relevance_matrix(model, images, index)
    return read(model, found - torch.eye(found.shape[-1]), images)


def test_relevance_is_that_of_explicit_attention(model: Explained) -> None:
    images = images_for(model)
    for index in (0, 3):
        found = relevance(model, images, index)
        assert torch.allclose(found, wanted(model, images, index), atol=1e-5)
        assert (found >= -1e-6).all() and found.max() > 0


def test_it_depends_on_the_class() -> None:
    model = tiny()
    images = images_for(model)
    assert not torch.allclose(relevance(model, images, 0), relevance(model, images, 1), atol=1e-4)


def test_each_picture_may_have_its_own_class() -> None:
    model = tiny()
    images = images_for(model)
    mixed = relevance(model, images, torch.tensor([4, 1]))
    assert torch.allclose(mixed[0], relevance(model, images, 4)[0], atol=1e-5)
    assert torch.allclose(mixed[1], relevance(model, images, 1)[1], atol=1e-5)


def test_many_classes_from_one_forward_pass() -> None:
    model = tiny(registers=1)
    images = images_for(model, count=1)
    together = relevance_by_class(model, images, [2, 0, 4])
    alone = torch.cat([relevance(model, images, index) for index in (2, 0, 4)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_frozen_models_and_inference_mode() -> None:
    model = tiny()
    images = images_for(model)
    free = relevance(model, images, 1)
    model.requires_grad_(False)
    assert torch.allclose(relevance(model, images, 1), free, atol=1e-6)
    with torch.inference_mode():
        assert torch.allclose(relevance(model, images + 0, 1), free, atol=1e-6)
    with torch.no_grad():
        assert torch.allclose(relevance(model, images, 1), free, atol=1e-6)


def test_it_leaves_no_gradient_behind() -> None:
    model = tiny()
    found = relevance(model, images_for(model), 1)
    assert not found.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
