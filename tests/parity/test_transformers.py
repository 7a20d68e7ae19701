"""transformers' ViTs, read from what ``save_pretrained`` writes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.parity.twins import BOUND, difference, pictures, randomise, transformers_twin
from vitreous.checkpoints.foreign.transformers.processor import read_processor, write_processor
from vitreous.checkpoints.source import read_any
from vitreous.errors import CheckpointError
from vitreous.models import catalog

pytest.importorskip("transformers")

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "epsilon": {"layer_norm_eps": 1e-3},
    "no bias of queries": {"qkv_bias": False},
    "one channel": {"num_channels": 1},
    "gelu_new": {"hidden_act": "gelu_new"},
    "gelu_pytorch_tanh": {"hidden_act": "gelu_pytorch_tanh"},
    "quick_gelu": {"hidden_act": "quick_gelu"},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits(tmp_path: Path, variant: str) -> None:
    arguments = VARIANTS[variant]
    channels = arguments.get("num_channels", 3)
    twin = transformers_twin(tmp_path, **arguments)
    if channels == 1:
        path = tmp_path / "preprocessor_config.json"
        values = json.loads(path.read_text()) | {"image_mean": [0.5], "image_std": [0.5]}
        path.write_text(json.dumps(values))
    checkpoint = read_any(tmp_path)
    assert checkpoint.classes == ("ant", "bee", "cat", "dog", "eel")
    for dtype, bound in BOUND.items():
        model = checkpoint.model.to(dtype)
        twin.model.to(dtype)
        for size in ((32, 32), (48, 48), (24, 56), (45, 38)):
            found = difference(model, twin.forward, pictures(size, channels).to(dtype))
            assert found.relative < bound, (dtype, size, found)


def test_native_size_that_is_not_square(tmp_path: Path) -> None:
    twin = transformers_twin(tmp_path, image_size=[24, 40])
    checkpoint = read_any(tmp_path)
    assert checkpoint.model.config.backbone.image_size == (24, 40)
    assert difference(checkpoint.model, twin.forward, pictures((24, 40)).float()).relative < 1e-4


def test_names_on_disk_are_the_published_ones(tmp_path: Path) -> None:
    transformers_twin(tmp_path)
    assert "vit.encoder.layer.0.attention.attention.query.weight" in load_file(tmp_path / "model.safetensors")


@pytest.mark.parametrize("pooler", [True, False])
def test_model_without_a_head(tmp_path: Path, pooler: bool) -> None:
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96,
        image_size=32, patch_size=8,
    )  # fmt: skip
    model = randomise(ViTModel(config, add_pooling_layer=pooler))
    model.save_pretrained(tmp_path)
    checkpoint = read_any(tmp_path)
    assert (checkpoint.classes, "pooler.dense.bias" in checkpoint.lineage.get("unused", [])) == ((), pooler)
    assert checkpoint.lineage["assumed"] == ["preprocessing"]
    images = pictures((32, 32)).float()
    with torch.no_grad():
        expected = model(images).last_hidden_state[:, 0]
        assert torch.allclose(checkpoint.model(images).logits, expected, atol=1e-5)


def test_shards(tmp_path: Path) -> None:
    twin = transformers_twin(tmp_path / "whole")
    twin.model.save_pretrained(tmp_path / "shards", max_shard_size="100KB")
    assert (tmp_path / "shards/model.safetensors.index.json").is_file()
    checkpoint = read_any(tmp_path / "shards")
    assert difference(checkpoint.model, twin.forward, pictures((32, 32)).float()).relative < 1e-4


def test_pickled_weights(tmp_path: Path) -> None:
    twin = transformers_twin(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    torch.save(state, tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    checkpoint = read_any(tmp_path)
    assert difference(checkpoint.model, twin.forward, pictures((32, 32)).float()).relative < 1e-4


@pytest.mark.parametrize(
    ("file", "change", "reason"),
    [
        ("config.json", {"hidden_act": "relu"}, "hidden_act 'relu' is not known"),
        ("config.json", {"model_type": "deit"}, "model_type 'deit'"),
        ("config.json", {"num_attention_heads": 5}, "cannot be shared by 5 heads"),
        ("config.json", {"num_attention_heads": 0}, "wanted a positive whole number"),
        ("config.json", {"image_size": 48}, "does not fit 17 positions"),
        ("config.json", {"patch_size": 16}, "patch_size 16x16"),
        ("config.json", {"image_size": [16, 64]}, "takes it for a square one"),
        ("config.json", {"num_hidden_layers": 3}, r"missing: vit\.encoder\.layer\.2\.layernorm_before"),
        ("config.json", {"num_hidden_layers": 10**9}, "1000000000 blocks"),
        ("config.json", {"id2label": {"0": "ant"}}, "id2label does not name the 5 classes"),
        ("preprocessor_config.json", {"do_resize": False}, "do_resize is false"),
        ("preprocessor_config.json", {"rescale_factor": 0.1}, "rescale_factor"),
        ("preprocessor_config.json", {"resample": 5}, "resample 5"),
        ("preprocessor_config.json", {"image_processor_type": "FlavaImageProcessor"}, "Flava"),
        ("preprocessor_config.json", {"image_mean": ["0.5"] * 3}, "image_mean: wanted a number"),
        ("preprocessor_config.json", {"size": {"longest_edge": 3}}, "size"),
    ],
)
def test_what_is_not_known_is_an_error(
    tmp_path: Path, file: str, change: dict[str, Any], reason: str
) -> None:
    transformers_twin(tmp_path)
    values = json.loads((tmp_path / file).read_text())
    (tmp_path / file).write_text(json.dumps(values | change))
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_any(tmp_path)
    assert "\n" not in str(caught.value)


def test_weights_alone_do_not_say_their_activation(tmp_path: Path) -> None:
    transformers_twin(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "weights.safetensors")
    with pytest.raises(CheckpointError, match=r"stand in config\.json"):
        read_any(tmp_path / "weights.safetensors")


@pytest.mark.parametrize("size", [(640, 427), (427, 640), (512, 400), (613, 401), (451, 300), (400, 513)])
def test_a_centre_crop_of_theirs_is_cut_where_they_cut_it(tmp_path: Path, size: tuple[int, int]) -> None:
    from transformers import CLIPImageProcessorPil

    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": 256}, crop_size={"height": 224, "width": 224}, resample=2
    )
    processor.save_pretrained(tmp_path)
    values = json.loads((tmp_path / "preprocessor_config.json").read_text())
    prepare = read_processor(values, catalog.configure("vit_ti_16"), "file")
    theirs = processor(Image.fromarray(pixels), return_tensors="pt")["pixel_values"][0]
    assert (prepare(Image.fromarray(pixels)).image - theirs).abs().max() < 1 / 255
    again = read_processor(write_processor(prepare), catalog.configure("vit_ti_16"), "file")
    assert again == prepare
