"""BEiT: classifier and masked pretraining, what is hidden and what is told of it, and that both learn."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from tests.models.test_deit import losses
from vitreous.models import catalog
from vitreous.models.accounting import account
from vitreous.models.beit import MaskedTokens


def masked(**options: object) -> MaskedTokens:
    """The tiny masked model with noise in its tables, which begin at zero."""
    torch.manual_seed(0)
    model = catalog.build(catalog.configure("beit_tiny_masked", options=options))
    assert isinstance(model, MaskedTokens)
    for block in model.backbone.encoder.blocks:
        torch.nn.init.normal_(block.attention.bias.table)
    return model.eval()


def test_every_patch_is_told_of_whether_hidden_or_not() -> None:
    model = masked()
    images = torch.randn(2, 3, 32, 32)
    assert model(images).logits.shape == (2, 64, 512)
    assert model(torch.randn(1, 3, 24, 40)).logits.shape == (1, 60, 512)


def test_what_is_hidden_is_not_seen() -> None:
    model = masked()
    images = torch.randn(2, 3, 32, 32)
    hidden = torch.zeros(2, 64, dtype=torch.bool)
    hidden[:, :8] = True  # the uppermost row of patches
    other = images.clone()
    other[:, :, :4] = torch.randn(2, 3, 4, 32)
    assert torch.equal(model(images, hidden).logits, model(other, hidden).logits)
    assert not torch.allclose(model(images).logits, model(other).logits, atol=1e-3)


def test_hiding_nothing_is_no_mask() -> None:
    model = masked()
    images = torch.randn(2, 3, 32, 32)
    nothing = torch.zeros(2, 64, dtype=torch.bool)
    assert torch.equal(model(images, nothing).logits, model(images).logits)


def test_a_norm_ahead_of_the_head_is_one_more() -> None:
    plain, normed = masked(), masked(head_norm=True)
    extra = set(normed.state_dict()) - set(plain.state_dict())
    assert extra == {"head_norm.weight", "head_norm.bias"}
    for model in (plain, normed):
        assert account(model.config).parameters == sum(value.numel() for value in model.parameters())


def test_a_few_steps_lower_the_loss_of_the_classifier() -> None:
    seen = losses("beit_tiny")
    assert seen[-1] < seen[0] / 2, seen


@pytest.mark.parametrize("head_norm", [False, True])
def test_a_few_steps_tell_the_hidden_patches(head_norm: bool) -> None:
    model = masked(head_norm=head_norm).train()
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(4, 3, 32, 32, generator=generator)
    hidden = torch.rand(4, 64, generator=generator) < 0.4
    tokens = torch.randint(0, 512, (4, 64), generator=generator)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    seen = []
    for _ in range(20):
        loss = cross_entropy(model(images, hidden).logits[hidden], tokens[hidden])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    assert seen[-1] < 0.8 * seen[0], seen
