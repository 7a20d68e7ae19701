"""Directories that transformers wrote: the same objects and regions as its own processors tell."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from vitreous.predictor import ObjectsAnswer, RegionsAnswer, load

transformers = pytest.importorskip("transformers")


@pytest.fixture
def photographs() -> list[Image.Image]:
    """Two pictures of different sizes."""
    generator = np.random.default_rng(0)

    def blotches(height: int, width: int) -> NDArray[np.uint8]:
        return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)

    return [
        Image.fromarray(blotches(5, 8)).resize((120, 75), Image.Resampling.BICUBIC),
        Image.fromarray(blotches(7, 4)).resize((64, 112), Image.Resampling.BICUBIC),
    ]


def test_a_detr_on_a_resnet(tmp_path: Path, photographs: list[Image.Image]) -> None:
    torch.manual_seed(0)
    residual = transformers.ResNetConfig(
        embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], layer_type="basic", out_features=["stage2"]
    )
    theirs = transformers.DetrForObjectDetection(
        transformers.DetrConfig(
            use_timm_backbone=False,
            use_pretrained_backbone=False,
            backbone=None,
            backbone_config=residual,
            d_model=32,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=32,
            decoder_ffn_dim=32,
            num_queries=7,
            num_labels=4,
        )
    ).eval()
    processor = transformers.DetrImageProcessor(size={"shortest_edge": 96, "longest_edge": 160})
    theirs.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    predictor = load(tmp_path, device="cpu")
    together = predictor(list(photographs), threshold=0)
    for picture, answer in zip(photographs, together, strict=True):
        with torch.no_grad():
            output = theirs(**processor(picture, return_tensors="pt"))
        size = (picture.height, picture.width)
        wanted = processor.post_process_object_detection(output, threshold=0.0, target_sizes=[size])[0]
        order = wanted["scores"].argsort(descending=True, stable=True)
        assert isinstance(answer, ObjectsAnswer)
        assert answer.scores == pytest.approx(wanted["scores"][order].numpy(), abs=1e-5)
        assert answer.indices.tolist() == wanted["labels"][order].tolist()
        most = np.array([picture.width, picture.height] * 2)
        assert answer.boxes == pytest.approx(wanted["boxes"][order].numpy().clip(0, most), abs=1e-3)


def test_a_segformer(tmp_path: Path, photographs: list[Image.Image]) -> None:
    torch.manual_seed(0)
    theirs = transformers.SegformerForSemanticSegmentation(
        transformers.SegformerConfig(
            hidden_sizes=[16, 32, 48, 64],
            depths=[1, 1, 1, 1],
            num_attention_heads=[1, 1, 1, 1],
            decoder_hidden_size=32,
            num_labels=5,
        )
    ).eval()
    processor = transformers.SegformerImageProcessor(size={"height": 96, "width": 96})
    theirs.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    predictor = load(tmp_path, device="cpu")
    for picture in photographs:
        with torch.no_grad():
            # Its processor resizes by another library, one level apart here and there (tests/parity).
            output = theirs(pixel_values=predictor.prepare(picture).image[None])
        size = (picture.height, picture.width)
        wanted = processor.post_process_semantic_segmentation(output, target_sizes=[size])[0].numpy()
        answer = predictor(picture)
        assert isinstance(answer, RegionsAnswer)
        assert answer.region.shape == wanted.shape
        assert (answer.region != wanted).mean() < 2e-4
