"""The loss of pixels is transformers' SegFormer's, given the logits that it answers with."""

import pytest
import torch
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from tests.tasks.test_segmentation import Fixed, batch_of
from vitreous.data.annotation import IGNORED
from vitreous.tasks.segmentation import Segmentation

K = 5


@pytest.fixture(scope="module")
def reference() -> SegformerForSemanticSegmentation:
    torch.manual_seed(0)
    config = SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 16, 16],
        decoder_hidden_size=16,
        num_attention_heads=[1, 1, 2, 2],
        num_labels=K,
        semantic_loss_ignore_index=IGNORED,
    )
    return SegformerForSemanticSegmentation(config).eval()


@pytest.mark.parametrize(("count", "ignored"), [(1, 0), (1, 300), (3, 0), (3, 300)])
def test_the_loss_is_transformers(
    reference: SegformerForSemanticSegmentation, count: int, ignored: int
) -> None:
    """Both take the mean over the pixels that take part: transformers over those of the whole batch, ours
    picture by picture, which is the same where as many take part in each."""
    generator = torch.Generator().manual_seed(count)
    pictures = torch.randn(count, 3, 64, 96, generator=generator)
    regions = torch.randint(0, K, (count, 64, 96), generator=generator)
    for region in regions:
        region.view(-1)[torch.randperm(64 * 96, generator=generator)[:ignored]] = IGNORED
    with torch.no_grad():
        theirs = reference(pixel_values=pictures, labels=regions)
        ours = Segmentation().loss(Fixed(theirs.logits), batch_of(list(regions), pictures))
    assert theirs.logits.shape == (count, K, 16, 24)
    assert ours.total.item() == pytest.approx(theirs.loss.item(), rel=1e-6)
