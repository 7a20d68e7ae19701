"""DeiT: what its two heads see, and that it learns."""

import torch
from torch import Tensor

from vitreous.data.loader import Labelled
from vitreous.models import catalog
from vitreous.tasks.classification import Classification


def batch(size: tuple[int, int], classes: int, count: int = 8) -> Labelled:
    """A fixed batch of noise with labels."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, 3, *size, generator=generator)
    return Labelled(images, torch.arange(count) % classes, torch.arange(count))


def losses(name: str, steps: int = 12) -> list[float]:
    """Cross-entropy of a fixed batch, step by step."""
    torch.manual_seed(0)
    model = catalog.build(catalog.configure(name, classes=4)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    pictures, seen = batch(model.config.image_size, 4), []
    for _ in range(steps):
        loss = Classification().loss(model, pictures)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        seen.append(loss.total.item())
    return seen


def test_the_answer_is_the_mean_of_both_heads() -> None:
    torch.manual_seed(0)
    model = catalog.build(catalog.configure("deit_tiny", classes=5)).eval()
    answer = model(torch.randn(2, 3, 32, 32))
    assert torch.equal(answer.logits, (answer.class_logits + answer.distillation_logits) / 2)
    assert not torch.allclose(answer.class_logits, answer.distillation_logits, atol=1e-3)


def test_each_head_sees_its_own_token() -> None:
    torch.manual_seed(0)
    model = catalog.build(catalog.configure("deit_tiny", classes=5)).eval()
    images = torch.randn(2, 3, 32, 32)
    prefix: Tensor = model.backbone(images).prefix
    assert prefix.shape == (2, 2, 64)
    answer = model(images)
    assert torch.equal(answer.class_logits, model.head(prefix[:, 0]))
    assert torch.equal(answer.distillation_logits, model.distillation_head(prefix[:, 1]))


def test_without_heads_the_tokens_come_out() -> None:
    torch.manual_seed(0)
    model = catalog.build(catalog.configure("deit_tiny", classes=0)).eval()
    images = torch.randn(2, 3, 32, 32)
    prefix = model.backbone(images).prefix
    assert torch.equal(model(images).logits, (prefix[:, 0] + prefix[:, 1]) / 2)


def test_a_few_steps_lower_the_loss() -> None:
    seen = losses("deit_tiny")
    assert seen[-1] < seen[0] / 2, seen
