"""Masked autoencoders in all their layouts: names, options, losses, and what is refused."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.checkpoints.make import same
from tests.parity.case import compare
from tests.parity.cases_mae import CASES, VALUES, answer, from_transformers, noise_for, transformers_mae
from tests.parity.twins import BOUND, difference, pictures, randomise
from vitreous.checkpoints.destination import write_any
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.source import read_any
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError
from vitreous.layers.patches import patchify
from vitreous.models import catalog
from vitreous.models.config import MAEConfig
from vitreous.models.mae import Reconstruction

pytest.importorskip("transformers")
CASE = CASES[0]
SIZES = ((32, 32), (48, 48), (24, 56))

VARIANTS: dict[str, dict[str, Any]] = {
    "epsilon": {"layer_norm_eps": 1e-3},
    "no bias of queries": {"qkv_bias": False},
    "one channel": {"num_channels": 1},
    "gelu_new": {"hidden_act": "gelu_new"},
    "quick_gelu": {"hidden_act": "quick_gelu"},
    "hardly anything hidden": {"mask_ratio": 0.01},
    "nothing hidden": {"mask_ratio": 0.0},
    "one patch seen": {"mask_ratio": 0.9375},
    "wide decoder": {"decoder_hidden_size": 96, "decoder_num_attention_heads": 2, "patch_size": 4},
    "decoder as wide as the encoder": {"decoder_hidden_size": 64, "decoder_num_attention_heads": 4},
    "part of a patch at the edge": {"image_size": 35},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_options(tmp_path: Path, variant: str) -> None:
    twin = transformers_mae(tmp_path / "theirs", **VARIANTS[variant])
    checkpoint = read_any(twin.path)
    write_any(tmp_path / "back", checkpoint, "transformers")
    assert same(read_any(tmp_path / "back").model, checkpoint.model)
    written, forward = from_transformers(tmp_path / "back")
    for dtype, bound in BOUND.items():
        for model in (twin.model, checkpoint.model, written):
            model.to(dtype)
        for size in SIZES:
            assert compare(CASE, checkpoint.model, twin.forward, size).relative < bound, (dtype, size)
            assert compare(CASE, checkpoint.model, forward, size).relative < bound, (dtype, size)


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_the_loss_over_hidden_patches_is_theirs(
    tmp_path: Path, normalised: bool, size: tuple[int, int]
) -> None:
    twin = transformers_mae(tmp_path, norm_pix_loss=normalised)
    model = read_any(tmp_path).model
    assert model.config.normalised_targets is normalised
    images = pictures(size).float()
    noise = noise_for(images)
    with torch.no_grad():
        theirs = twin.model(images, noise=noise, interpolate_pos_encoding=size != (32, 32))
        ours = model(images, noise)
    assert torch.equal(ours.hidden, theirs.mask.bool())
    assert loss(ours, images, normalised).item() == pytest.approx(theirs.loss.item(), rel=1e-5)


def loss(rebuilt: Reconstruction, images: Tensor, normalised: bool) -> Tensor:
    """The paper's loss, section 3: squared error, mean over the pixels of hidden patches."""
    target = patchify(images, 8)
    if normalised:
        target = (target - target.mean(2, keepdim=True)) / (target.var(2, keepdim=True) + 1e-6).sqrt()
    return (rebuilt.patches - target).square().mean(2)[rebuilt.hidden].mean()


def test_of_equal_numbers_the_first_patches_stay_as_there(tmp_path: Path) -> None:
    twin = transformers_mae(tmp_path)
    model = read_any(tmp_path).model
    images = pictures((32, 32)).float()
    noise = torch.tensor([[0.5, 0.5, 0.1, 0.1] * 4, [0.3] * 16, [0.9, 0.1] * 8])
    with torch.no_grad():
        theirs, ours = twin.model(images, noise=noise), model(images, noise)
    assert torch.equal(ours.hidden, theirs.mask.bool())
    assert torch.equal(ours.hidden[1], torch.arange(16) >= 6)


def test_names_on_disk_of_today_and_as_published(tmp_path: Path) -> None:
    twin = transformers_mae(tmp_path)
    checkpoint = read_any(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    today, published = "decoder.decoder_encoder.layer.", "decoder.decoder_layers."
    assert any(key.startswith(today) for key in state)
    renamed = {key.replace(today, published): value for key, value in state.items()}
    save_file(renamed, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert same(read_any(tmp_path).model, checkpoint.model)
    write_any(tmp_path / "back", checkpoint, "transformers")
    assert set(load_file(tmp_path / "back" / "model.safetensors")) == set(renamed)
    assert compare(CASE, checkpoint.model, twin.forward, (32, 32)).relative < 1e-4


def test_an_encoder_alone_is_a_vit_without_a_head(tmp_path: Path) -> None:
    from transformers import ViTMAEConfig, ViTMAEModel

    model = randomise(ViTMAEModel(ViTMAEConfig(**VALUES | {"mask_ratio": 0.0})))
    model.save_pretrained(tmp_path)
    checkpoint = read_any(tmp_path)
    assert (checkpoint.classes, checkpoint.model.config.pool) == ((), "class")
    assert checkpoint.lineage["family"] == "mae"
    assert checkpoint.lineage["assumed"] == ["preprocessing"]
    for size in (*SIZES, (29, 43)):  # where a part of a patch is left out

        def forward(images: Tensor) -> Tensor:
            native = tuple(images.shape[-2:]) == (32, 32)
            return model(images, interpolate_pos_encoding=not native).last_hidden_state[:, 0]

        assert difference(checkpoint.model, forward, pictures(size).float()).relative < 1e-4


def test_a_fresh_model_keeps_its_waves_when_it_is_written(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = catalog.build(catalog.configure("mae_tiny")).eval()
    checkpoint = Checkpoint(model, Preprocess(size=(32, 32), shorter=None), ())
    write_any(tmp_path / "back", checkpoint, "transformers")
    theirs, _ = from_transformers(tmp_path / "back")
    images = pictures((32, 32)).float()
    noise = noise_for(images, 4)
    with torch.no_grad():
        forward = theirs(images, noise=noise).logits
    assert (answer(model, images) - forward).abs().max() < 1e-4 * forward.abs().max()
    again = read_any(tmp_path / "back").model
    assert again.config.decoder_positions == again.config.backbone.positions == "learned"
    assert torch.equal(again.decoder.positions.table, model.decoder.positions.table)


def test_waves_are_those_of_the_published_code() -> None:
    from transformers.models.vit_mae.modeling_vit_mae import build_2d_sinusoidal_position_embedding

    table = build_2d_sinusoidal_position_embedding(8, 8, 64, cls_token=True)
    published = torch.cat([table[:, 32:], table[:, :32]], dim=1)  # they tell the column first
    model = catalog.build(catalog.configure("mae_tiny"))
    assert torch.equal(model.backbone.embed.positions.table[0], published)


def test_layer_scale_and_two_precisions_are_written_exactly(tmp_path: Path) -> None:
    options = {"layer_scale": 0.5, "norm_eps": 1e-5}
    model = randomise(catalog.build(catalog.configure("mae_tiny", options=options))).double()
    checkpoint = Checkpoint(model, Preprocess(size=(32, 32), shorter=None), ())
    write_any(tmp_path / "back", checkpoint, "transformers")
    theirs, _ = from_transformers(tmp_path / "back")
    images = pictures((32, 32))
    with torch.no_grad():
        forward = theirs.double()(images, noise=noise_for(images, 4)).logits
        assert (answer(model, images) - forward).abs().max() < 1e-9 * forward.abs().max()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"hidden_act": "relu"}, "hidden_act 'relu' is not known"),
        ({"model_type": "vit"}, "wanted 'vit_mae'"),
        ({"mask_ratio": 1.0}, "mask_ratio is a share from 0 to below 1"),
        ({"mask_ratio": 0.95}, "hides all 16 patches"),
        ({"mask_ratio": "most"}, "mask_ratio: wanted a number"),
        ({"norm_pix_loss": 1}, "norm_pix_loss: wanted true or false"),
        ({"image_size": 48}, "does not fit 17 positions"),
        ({"image_size": [16, 64]}, "made for square pictures"),
        ({"patch_size": 16}, "patch_size 16x16"),
        ({"decoder_num_attention_heads": 5}, "cannot be shared by 5 heads"),
        ({"decoder_num_hidden_layers": 2}, "does not explain"),
        ({"decoder_num_hidden_layers": 4}, "missing"),
        ({"decoder_num_hidden_layers": 10**8}, "blocks, but holds only"),
        ({"decoder_hidden_size": 24}, "of another shape"),
        ({"num_hidden_layers": 3}, r"missing: vit\.encoder\.layer\.2\.layernorm_before"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    transformers_mae(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_any(tmp_path)
    assert "\n" not in str(caught.value)


def test_weights_alone_do_not_say_their_heads(tmp_path: Path) -> None:
    transformers_mae(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "weights.safetensors")
    with pytest.raises(CheckpointError, match=r"stand in config\.json"):
        read_any(tmp_path / "weights.safetensors")


@pytest.mark.parametrize(
    ("layout", "options", "reason"),
    [
        ("timm", {}, "no class for a model of family 'mae'"),
        ("torchvision", {}, "no class for a model of family 'mae'"),
        ("transformers", {"registers": 2}, "2 register tokens"),
        ("transformers", {"distillation_token": True}, "a distillation token"),
        ("transformers", {"final_norm": False}, "ends without a norm"),
        ("transformers", {"stem": "conv"}, "a convolutional stem"),
        ("transformers", {"mlp": "swiglu"}, "gated"),
    ],
)
def test_what_they_have_no_place_for(
    tmp_path: Path, layout: str, options: dict[str, Any], reason: str
) -> None:
    model = catalog.build(catalog.configure("mae_tiny", options=options))
    checkpoint = Checkpoint(model, Preprocess(size=(32, 32), shorter=None), ())
    with pytest.raises(CheckpointError, match=reason):
        write_any(tmp_path / "back", checkpoint, layout)


# The authors' own files: a test renames the tensors of transformers' model, whose answers are known.


def as_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of ViTMAEForPreTraining under the authors' names."""
    renamed = {}
    parts = {
        "layernorm_before": "norm1",
        "layernorm_after": "norm2",
        "attention.output.dense": "attn.proj",
        "intermediate.dense": "mlp.fc1",
        "output.dense": "mlp.fc2",
    }
    outside = {
        "vit.embeddings.cls_token": "cls_token",
        "vit.embeddings.position_embeddings": "pos_embed",
        "vit.embeddings.patch_embeddings.projection": "patch_embed.proj",
        "vit.layernorm": "norm",
        "decoder.": "",
        "vit.encoder.layer.": "blocks.",
    }
    for key, value in state.items():
        name = key.replace("decoder.decoder_encoder.layer.", "decoder_blocks.")
        for theirs, published in outside.items():
            name = published + name.removeprefix(theirs) if name.startswith(theirs) else name
        if "attention.attention" in name:
            if ".query." not in name:
                continue
            keys = [key.replace("query", part) for part in ("query", "key", "value")]
            renamed[name.replace("attention.attention.query", "attn.qkv")] = torch.cat(
                [state[part] for part in keys]
            )
            continue
        for theirs, published in parts.items():
            name = name.replace(f".{theirs}.", f".{published}.")
        renamed[name] = value
    return renamed


def published_twin(path: Path, **arguments: Any) -> tuple[torch.nn.Module, dict[str, Tensor]]:
    sizes = {"hidden_size": 192, "num_attention_heads": 3, "intermediate_size": 256, "layer_norm_eps": 1e-6}
    sizes |= {"decoder_hidden_size": 512, "decoder_num_attention_heads": 16}
    sizes |= {"decoder_num_hidden_layers": 2, "decoder_intermediate_size": 128, "mask_ratio": 0.75}
    twin = transformers_mae(path, **sizes | arguments)
    return twin.model, as_published(load_file(path / "model.safetensors"))


def test_the_authors_file_with_a_decoder(tmp_path: Path) -> None:
    theirs, state = published_twin(tmp_path / "twin")
    torch.save({"model": state}, tmp_path / "mae_visualize_vit_tiny.pth")
    checkpoint = read_any(tmp_path / "mae_visualize_vit_tiny.pth")
    config = checkpoint.model.config
    assert isinstance(config, MAEConfig)
    assert (config.decoder_heads, config.backbone.heads, config.image_size) == (16, 3, (32, 32))
    assert checkpoint.lineage["layout"] == "facebookresearch"
    assert set(checkpoint.lineage["assumed"]) >= {"preprocessing", "mask ratio"}
    for dtype, bound in BOUND.items():
        theirs.to(dtype)
        checkpoint.model.to(dtype)
        for seed in (1, 2):
            images = pictures((32, 32), seed=seed).to(dtype)
            with torch.no_grad():
                expected = theirs(images, noise=noise_for(images)).logits
                found = answer(checkpoint.model, images)
            assert (found - expected).abs().max() < bound * expected.abs().max()
    # Off the native size the authors' code has nothing; tables are resized as when it is tuned.
    assert checkpoint.model(pictures((48, 24)).double()).patches.shape == (3, 18, 192)


def test_the_authors_file_with_a_decoder_can_be_written_for_transformers(tmp_path: Path) -> None:
    theirs, state = published_twin(tmp_path / "twin")
    torch.save({"model": state}, tmp_path / "mae.pth")
    write_any(tmp_path / "back", read_any(tmp_path / "mae.pth"), "transformers")
    back, _ = from_transformers(tmp_path / "back")
    assert all(torch.equal(theirs.state_dict()[key], value) for key, value in back.state_dict().items())


@pytest.mark.parametrize(
    ("arguments", "model", "reason"),
    [
        ({"decoder_hidden_size": 96, "decoder_num_attention_heads": 2}, None, "decoder of width 96"),
        ({"hidden_size": 96}, None, "heads of width 96"),
        ({}, "vit_tiny", "'vit_tiny' is none; wanted name= one of mae_tiny"),
        ({}, "mae_bb", "'mae_bb' is none"),
    ],
)
def test_heads_that_the_authors_file_does_not_say(
    tmp_path: Path, arguments: dict[str, Any], model: str | None, reason: str
) -> None:
    _, state = published_twin(tmp_path / "twin", **arguments)
    torch.save({"model": state}, tmp_path / "mae.pth")
    with pytest.raises(CheckpointError, match=reason):
        read_any(tmp_path / "mae.pth", model)


def test_heads_by_name(tmp_path: Path) -> None:
    sizes = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128}
    sizes |= {"decoder_hidden_size": 32, "decoder_num_attention_heads": 4}
    theirs, state = published_twin(tmp_path / "twin", **sizes)
    torch.save(state, tmp_path / "mae.pth")
    model = read_any(tmp_path / "mae.pth", "mae_tiny").model
    images = pictures((32, 32)).float()
    with torch.no_grad():
        expected = theirs(images, noise=noise_for(images)).logits
        assert (answer(model, images) - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"head.weight": torch.zeros(5, 192)}, "a classifier's head"),
        ({"decoder_pred.weight": torch.zeros(10, 512)}, "decoder_pred.weight.*wanted 192x512, found 10x512"),
        ({"decoder_pos_embed": torch.zeros(1, 5, 512)}, "decoder_pos_embed.*wanted 1x17x512"),
        ({"strange": torch.zeros(1)}, "strange"),
        ({"pos_embed": torch.zeros(1, 14, 192)}, "no square grid"),
    ],
)
def test_a_damaged_file_of_the_authors(tmp_path: Path, change: dict[str, Tensor], reason: str) -> None:
    _, state = published_twin(tmp_path / "twin")
    torch.save({"model": state | change}, tmp_path / "mae.pth")
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_any(tmp_path / "mae.pth")
    assert "\n" not in str(caught.value)


def test_the_authors_encoder_alone_is_timms_vit_without_a_head(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 192, "depth": 2, "num_heads": 3, "num_classes": 0}
    theirs = randomise(timm.create_model("vit_tiny_patch16_224", **sizes, dynamic_img_size=True))
    torch.save({"model": theirs.state_dict()}, tmp_path / "mae_pretrain_vit_tiny.pth")
    checkpoint = read_any(tmp_path / "mae_pretrain_vit_tiny.pth")
    assert (checkpoint.classes, checkpoint.model.config.pool) == ((), "class")
    for size in SIZES:
        assert difference(checkpoint.model, theirs, pictures(size).float()).relative < 1e-4


def test_the_authors_tuned_classifier_pools_the_mean(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 192, "depth": 2, "num_heads": 3, "num_classes": 5}
    theirs = timm.create_model(
        "vit_tiny_patch16_224", **sizes, global_pool="avg", class_token=True, dynamic_img_size=True
    )
    randomise(theirs)
    torch.save({"model": theirs.state_dict()}, tmp_path / "mae_finetuned_vit_tiny.pth")
    checkpoint = read_any(tmp_path / "mae_finetuned_vit_tiny.pth")
    assert checkpoint.model.config.pool == "mean" and checkpoint.model.config.pool_norm
    for dtype, bound in BOUND.items():
        checkpoint.model.to(dtype)
        theirs.to(dtype)
        for size in SIZES:
            assert difference(checkpoint.model, theirs, pictures(size).to(dtype)).relative < bound


def test_another_native_size_moves_both_tables_as_each_is_resized(tmp_path: Path) -> None:
    from vitreous.checkpoints.adapt import adapt

    transformers_mae(tmp_path)
    checkpoint = read_any(tmp_path)
    moved, notes = adapt(checkpoint, image_size=(48, 24))
    assert len(notes) == 1
    images = pictures((48, 24)).float()
    with torch.no_grad():
        assert torch.equal(answer(moved.model, images), answer(checkpoint.model, images))
    assert replace(moved.model.config, backbone=checkpoint.model.config.backbone) == checkpoint.model.config
