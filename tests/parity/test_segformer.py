"""What a SegFormer's settings can say, what its image processor says, and what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.parity.case import compare
from tests.parity.cases_segformer import CASES, from_transformers, mit_twin, segformer_twin
from tests.parity.twins import pictures, randomise
from vitreous.checkpoints.destination import write_any
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.passport import inspect
from vitreous.checkpoints.source import read_any
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError
from vitreous.models.catalog import build, configure
from vitreous.models.config import ClassifierConfig, family_of

pytest.importorskip("transformers")

VARIANTS: dict[str, dict[str, Any]] = {
    "deeper": {"depths": [2, 1, 3, 1]},
    "other heads": {"num_attention_heads": [2, 4, 2, 8]},
    "other reductions": {"sr_ratios": [4, 4, 2, 2]},
    "nothing reduced": {"sr_ratios": [1, 1, 1, 1]},
    "other patches": {"patch_sizes": [3, 5, 3, 1], "strides": [2, 2, 2, 1]},
    "other MLPs": {"mlp_ratios": [8, 8, 4, 4]},
    "tanh GELU": {"hidden_act": "gelu_new"},
    "quick GELU": {"hidden_act": "quick_gelu"},
    "an epsilon that nobody looks at": {"layer_norm_eps": 0.5},
    "one stage": {
        "num_encoder_blocks": 1,
        "hidden_sizes": [16],
        "depths": [2],
        "num_attention_heads": [2],
        "sr_ratios": [4],
        "patch_sizes": [7],
        "strides": [4],
        "mlp_ratios": [4],
    },
    "one class": {"id2label": {0: "sky"}},
    "grey": {"num_channels": 1},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants(tmp_path: Path, variant: str) -> None:
    twin = segformer_twin(tmp_path / "theirs", **VARIANTS[variant])
    checkpoint = read_any(tmp_path / "theirs")
    for size in ((64, 64), (45, 83)):
        assert compare(CASES[0], checkpoint.model, twin.forward, size).relative < 1e-4
    write_any(tmp_path / "back", checkpoint, "transformers")
    assert same_weights(tmp_path / "back", tmp_path / "theirs")
    assert settings(tmp_path / "back") == settings(tmp_path / "theirs")


def same_weights(one: Path, other: Path) -> bool:
    """Whether two directories hold the same tensors, bit for bit."""
    ours, theirs = (load_file(path / "model.safetensors") for path in (one, other))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def settings(path: Path) -> dict[str, Any]:
    """What a directory's config.json makes of the library's configuration, but for two names of one GELU, an
    epsilon that nobody looks at, and what follows from the rest."""
    from transformers import SegformerConfig

    config = SegformerConfig.from_pretrained(path).to_dict()
    for key in ("layer_norm_eps", "label2id", "_name_or_path", "transformers_version", "dtype"):
        config.pop(key, None)
    config["hidden_act"] = config["hidden_act"].replace("gelu_new", "gelu_pytorch_tanh")
    return {key: list(value) if isinstance(value, tuple) else value for key, value in config.items()}


def test_the_head_learns_as_theirs_does(tmp_path: Path) -> None:
    # The two layers that are multiplied into one get the gradients that they would get apart.
    twin = segformer_twin(tmp_path)
    model = read_any(tmp_path).model.double()
    twin.model.double()
    images = pictures((64, 96))
    model(images).logits.square().mean().backward()
    twin.forward(images).square().mean().backward()
    theirs = dict(twin.model.named_parameters())
    pairs = {
        "head.fuse.weight": "decode_head.linear_fuse.weight",
        "head.classify.weight": "decode_head.classifier.weight",
        **{
            f"head.projections.{stage}.{leaf}": f"decode_head.linear_projections.{stage}.proj.{leaf}"
            for stage in range(4)
            for leaf in ("weight", "bias")
        },
    }
    ours = dict(model.named_parameters())
    for mine, other in pairs.items():
        assert torch.allclose(ours[mine].grad, theirs[other].grad, rtol=1e-9, atol=1e-12), mine


def test_an_encoder_without_a_head_is_read(tmp_path: Path) -> None:
    # A SegformerModel has the same names without the first part of each.
    mit_twin(tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "bare")
    tensors = load_file(tmp_path / "whole" / "model.safetensors")
    encoder = {key.removeprefix("segformer."): value for key, value in tensors.items() if "encoder" in key}
    save_file(encoder, tmp_path / "bare" / "model.safetensors", metadata={"format": "pt"})
    bare, whole = read_any(tmp_path / "bare"), read_any(tmp_path / "whole")
    assert isinstance(bare.model.config, ClassifierConfig) and bare.model.config.classes == 0
    assert family_of(bare.model.config) == "mit"
    images = pictures((64, 64)).float()
    with torch.no_grad():
        assert torch.equal(bare.model.features(images), whole.model.features(images))


@pytest.mark.parametrize("reduced", [True, False])
def test_the_numbering_of_label_maps_travels(tmp_path: Path, reduced: bool) -> None:
    segformer_twin(tmp_path / "theirs", reduce_labels=reduced)
    checkpoint = read_any(tmp_path / "theirs")
    assert checkpoint.lineage["reduce_labels"] is reduced
    assert inspect(tmp_path / "theirs").lineage["reduce_labels"] is reduced
    write_any(tmp_path / "back", checkpoint, "transformers")
    values = json.loads((tmp_path / "back" / "preprocessor_config.json").read_text())
    assert values["image_processor_type"] == "SegformerImageProcessor"
    assert values["do_reduce_labels"] is reduced


def test_older_files_name_it_otherwise(tmp_path: Path) -> None:
    segformer_twin(tmp_path)
    path = tmp_path / "preprocessor_config.json"
    older = {
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "SegformerFeatureExtractor",
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "reduce_labels": True,
        "resample": 2,
        "size": 128,
    }
    path.write_text(json.dumps(older))
    checkpoint = read_any(tmp_path)
    assert checkpoint.lineage["reduce_labels"] is True
    assert checkpoint.preprocess.size == checkpoint.model.config.image_size == (128, 128)


def test_a_photograph_is_segmented_alike(tmp_path: Path) -> None:
    from transformers import AutoImageProcessor

    data = pytest.importorskip("skimage.data")
    segformer_twin(tmp_path / "theirs")
    checkpoint = read_any(tmp_path / "theirs")
    write_any(tmp_path / "back", checkpoint, "transformers")
    picture = Image.fromarray(data.chelsea())
    view = checkpoint.preprocess(picture)
    model, _ = from_transformers(tmp_path / "back")
    processor = AutoImageProcessor.from_pretrained(tmp_path / "back", backend="pil")
    inputs = processor(images=picture, return_tensors="pt")
    assert torch.allclose(inputs["pixel_values"][0], view.image, atol=1e-6)
    with torch.no_grad():
        theirs = processor.post_process_semantic_segmentation(model(**inputs), [picture.size[::-1]])[0]
        logits = checkpoint.model(view.image[None]).logits
    ours = torch.nn.functional.interpolate(logits, size=picture.size[::-1], mode="bilinear").argmax(1)[0]
    assert (ours == theirs).float().mean() > 0.9999


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"hidden_act": "relu"}, "hidden_act 'relu' is not known"),
        ({"reshape_last_stage": False}, "reshape_last_stage is false"),
        ({"depths": [1, 1, 1, 1]}, "says 1 blocks in stage 1, but the weights have 2"),
        ({"sr_ratios": [8, 4, 2]}, "3 values of sr_ratios for 4 stages"),
        ({"sr_ratios": [8, 2, 2, 1]}, "of 16x16x2x2, but the weights have 16x16x4x4"),
        ({"sr_ratios": [8, 1, 2, 1]}, "does not explain"),
        ({"mlp_ratios": [4, 4, 4, 2]}, "of 64x32, but the weights have 128x32"),
        ({"hidden_sizes": "tiny"}, "wanted a list of whole numbers"),
        ({"patch_sizes": [4, 3, 3, 3]}, "kernels must be odd, got 4"),
        ({"num_attention_heads": [3, 2, 3, 4]}, "width 8 cannot be shared by 3 heads"),
        ({"num_channels": 4}, "of 8x4x7x7, but the weights have 8x3x7x7"),
        ({"decoder_hidden_size": 21}, "21"),
        ({"classifier_dropout_prob": 1.5}, "decoder_dropout is a share"),
        ({"num_encoder_blocks": 3}, "4 values of hidden_sizes for 3 stages"),
        ({"model_type": "glpn"}, "only 'segformer' is read"),
    ],
)
def test_refusals(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    segformer_twin(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=reason):
        read_any(tmp_path)


def test_a_head_on_another_backbone_is_not_written(tmp_path: Path) -> None:
    for name, reason in {
        "segformer_vit_tiny": "it does not stand on a Mix Transformer",
        "segformer_tiny": "a norm epsilon is 1e-06",
    }.items():
        config = configure(name, classes=2, options={} if "vit" in name else {"norm_eps": 1e-6})
        checkpoint = Checkpoint(
            randomise(build(config)), Preprocess(size=config.image_size, shorter=None), ("sky", "tree")
        )
        with pytest.raises(CheckpointError, match=reason):
            write_any(tmp_path / name, checkpoint, "transformers")
