"""DINOv2: the options of every library that has it, what is refused, and what is written."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.checkpoints.make import checkpoint_of, random_checkpoint, same
from tests.parity.cases_dinov2 import (
    answer_of,
    official_dinov2,
    official_resize,
    timm_dinov2,
    transformers_dinov2,
)
from tests.parity.test_preprocess_parity import PHOTOGRAPHS
from tests.parity.twins import BOUND, difference, pictures
from vitreous.checkpoints.destination import write_any
from vitreous.checkpoints.foreign.transformers.processor import read_processor, write_processor
from vitreous.checkpoints.source import read_any
from vitreous.errors import CheckpointError
from vitreous.layers.layout import Layout
from vitreous.layers.positions import resize_positions
from vitreous.models.catalog import configure

SIZES = [(28, 28), (42, 28), (31, 60)]
OFF = [(30, 57)]  # no multiples of the patch
VARIANTS: dict[str, dict[str, Any]] = {
    "epsilon": {"layer_norm_eps": 1e-3},
    "no bias of queries": {"qkv_bias": False},
    "no mask token": {"use_mask_token": False},
    "gelu_new": {"hidden_act": "gelu_new"},
    "gelu_pytorch_tanh": {"hidden_act": "gelu_pytorch_tanh"},
    "quick_gelu": {"hidden_act": "quick_gelu"},
    "one channel": {"num_channels": 1},
    "gated, rounded up": {"use_swiglu_ffn": True, "mlp_ratio": 3},
    "gated, whose hidden_act is not looked at": {"use_swiglu_ffn": True, "hidden_act": "relu"},
    "sides as lists": {"patch_size": [14, 14], "image_size": [28, 28]},
    "a native size that is no multiple of the patch": {"image_size": 30},
    "a wide table, taken to be square": {"image_size": [14, 56]},
    "another patch": {"patch_size": 7},
    "a wide model": {"hidden_size": 96, "num_attention_heads": 3, "num_hidden_layers": 1},
    "a backbone": {"kind": "Backbone"},
    "a classifier of no classes": {"num_labels": 0, "id2label": {}, "label2id": {}},
    "registers": {"registers": True},
    "one register, gated": {"registers": True, "num_register_tokens": 1, "use_swiglu_ffn": True},
    "no registers where they may be": {"registers": True, "num_register_tokens": 0},
    "registers without a head": {"registers": True, "kind": "Model"},
    "registers, no bias of queries": {"registers": True, "qkv_bias": False},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_options_of_transformers(tmp_path: Path, variant: str) -> None:
    pytest.importorskip("transformers")
    arguments = {"patch_size": 14} | VARIANTS[variant]
    twin = transformers_dinov2(tmp_path, **arguments)
    reference = twin.forward
    if variant == "a backbone":
        twin.model.config.reshape_hidden_states = False
        reference = lambda images: twin.model(images).feature_maps[-1][:, 0]  # noqa: E731
    checkpoint = read_any(tmp_path)
    assert checkpoint.lineage["family"] == "dinov2"
    for dtype, bound in BOUND.items():
        model = checkpoint.model.to(dtype)
        twin.model.to(dtype)
        for size in SIZES:
            found = difference(model, reference, pictures(size, checkpoint.model.config.channels).to(dtype))
            assert found.relative < bound, (dtype, size, found)


TIMM_VARIANTS: dict[str, dict[str, Any]] = {
    "mean pooling": {"global_pool": "avg"},
    "no head": {"num_classes": 0},
    "registers": {"name": "vit_base_patch14_reg4_dinov2"},
    "registers with positions": {"name": "vit_base_patch14_reg4_dinov2", "no_embed_class": False},
    "gated": {"name": "vit_giant_patch14_dinov2", "mlp_ratio": 3.0},
    "gated, no LayerScale": {"name": "vit_giant_patch14_dinov2", "mlp_ratio": 3.0, "init_values": 0.0},
    "gated, an odd width": {"name": "vit_giant_patch14_dinov2", "mlp_ratio": 2.6},
    "no biases": {"qkv_bias": False, "proj_bias": False},
    "padded": {"dynamic_img_pad": True, "img_size": 30},
    "not square": {"img_size": (28, 56)},
}


@pytest.mark.parametrize("variant", TIMM_VARIANTS)
def test_options_of_timm(tmp_path: Path, variant: str) -> None:
    pytest.importorskip("timm")
    twin = timm_dinov2(tmp_path, **TIMM_VARIANTS[variant])
    checkpoint = read_any(tmp_path)
    assert checkpoint.lineage["family"] == "dinov2"
    sizes = [(28, 28), (42, 28), *(OFF if variant == "padded" else [])]
    for dtype, bound in BOUND.items():
        if variant == "registers with positions":
            bound = max(bound, 1e-7)  # their sum was rounded once, to the float32 of the file
        model = checkpoint.model.to(dtype)
        twin.model.to(dtype)
        for size in sizes:
            found = difference(model, twin.forward, pictures(size).to(dtype))
            assert found.relative < bound, (dtype, size, found)


def test_timm_cuts_only_a_native_size_that_is_no_multiple(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    twin = timm_dinov2(tmp_path / "there", img_size=30, dynamic_img_size=False)
    checkpoint = read_any(tmp_path / "there")
    images = pictures((30, 30)).float()
    assert difference(checkpoint.model, twin.forward, images).relative < 1e-4
    write_any(tmp_path / "back", checkpoint, "timm")
    assert read_any(tmp_path / "back").model.config == checkpoint.model.config


def test_bare_file_of_timm(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    name = "vit_giant_patch14_reg4_dinov2"
    twin = timm_dinov2(tmp_path / "twin", name, embed_dim=192, num_heads=3, mlp_ratio=3.0)
    save_file(twin.model.state_dict(), tmp_path / "weights")
    for said in (None, name):
        checkpoint = read_any(tmp_path / "weights", name=said)
        assert checkpoint.model.config.backbone.encoder.mlp == "swiglu"
        assert difference(checkpoint.model, twin.forward, pictures((28, 42)).float()).relative < 1e-4
    assert checkpoint.lineage["family"] == "dinov2"


def test_the_heads_of_the_giant_are_known_by_its_gate(tmp_path: Path) -> None:
    """A ViT of its width without a gate has another number (SigLIP), which its file does not say either."""
    timm = pytest.importorskip("timm")
    for name, known in (("vit_giant_patch14_dinov2", True), ("vit_giantopt_patch16_siglip_gap_256", False)):
        model = timm.create_model(name, depth=1, img_size=28 if known else 32, num_classes=0)
        save_file(model.state_dict(), tmp_path / name)
        if known:
            assert read_any(tmp_path / name).model.config.backbone.heads == 24
            continue
        with pytest.raises(CheckpointError, match="number of heads of width 1536 is not in the file"):
            read_any(tmp_path / name)


def test_a_gate_that_is_no_silu_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    timm_dinov2(tmp_path, "vit_giant_patch14_dinov2", mlp_ratio=3.0, act_layer="gelu")
    with pytest.raises(CheckpointError, match="act_layer 'gelu' of a gated MLP is not read"):
        read_any(tmp_path)


@pytest.mark.parametrize(
    ("file", "change", "reason"),
    [
        ("config.json", {"hidden_act": "relu"}, "hidden_act 'relu' is not known"),
        ("config.json", {"model_type": "vit"}, "tensors of a DINOv2, but model_type 'vit'"),
        ("config.json", {"num_attention_heads": 5}, "cannot be shared by 5 heads"),
        ("config.json", {"image_size": 42}, "does not fit 5 positions"),
        ("config.json", {"patch_size": 16}, "patch_size 16x16"),
        ("config.json", {"num_hidden_layers": 3}, r"missing: dinov2\.encoder\.layer\.2\.norm1"),
        ("config.json", {"num_hidden_layers": 10**9}, "1000000000 blocks"),
        ("config.json", {"use_swiglu_ffn": True}, r"mlp\.weights_in\.weight is missing"),
        ("config.json", {"hidden_size": 128}, "of another shape"),
        ("config.json", {"layerscale_value": "small"}, "layerscale_value: wanted a number"),
        ("preprocessor_config.json", {"image_processor_type": "SamImageProcessor"}, "SamImageProcessor"),
        ("preprocessor_config.json", {"do_center_crop": False}, "many sizes"),
        ("preprocessor_config.json", {"do_pad": True}, "do_pad is not read"),
    ],
)
def test_what_is_not_known_is_an_error(
    tmp_path: Path, file: str, change: dict[str, Any], reason: str
) -> None:
    pytest.importorskip("transformers")
    transformers_dinov2(tmp_path)
    values = json.loads((tmp_path / file).read_text())
    (tmp_path / file).write_text(json.dumps(values | change))
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_any(tmp_path)
    assert "\n" not in str(caught.value)


def test_registers_must_be_as_many_as_it_says(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    transformers_dinov2(tmp_path, registers=True)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_register_tokens": 2}))
    with pytest.raises(CheckpointError, match="num_register_tokens 2, but the weights have 4"):
        read_any(tmp_path)


def test_a_table_that_is_not_square_is_refused(tmp_path: Path) -> None:
    """The library itself cannot run such a model: it takes the root of the positions for both sides."""
    pytest.importorskip("transformers")
    twin = transformers_dinov2(tmp_path, image_size=[28, 42])
    with pytest.raises(RuntimeError):
        twin.forward(pictures((28, 42)).float())
    with pytest.raises(CheckpointError, match="6 positions are no square grid"):
        read_any(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "entry"),
    [
        ({"chunks": 1}, None),
        ({"chunks": 2, "registers": 4}, None),
        ({"base": "teacher.backbone.", "gated": True}, None),
        ({"base": "backbone.", "chunks": 1}, "teacher"),
        ({"base": "backbone."}, None),
        ({"head": True, "base": "backbone."}, None),
        ({"registers": 4, "gated": True}, "model"),
    ],
)
def test_the_ways_in_which_the_authors_save(
    tmp_path: Path, arguments: dict[str, Any], entry: str | None
) -> None:
    pytest.importorskip("timm")
    path = tmp_path / "weights.pth"
    twin = official_dinov2(path, **arguments)
    if entry:
        state = torch.load(path)
        if entry == "teacher":
            state |= {
                "dino_head.mlp.0.weight": torch.zeros(3, 2),
                "ibot_head.mlp.0.weight": torch.zeros(3, 2),
            }
        torch.save({entry: state}, path)
    checkpoint = read_any(path)
    assert checkpoint.lineage["family"] == "dinov2" and checkpoint.lineage["layout"] == "facebookresearch"
    for dtype, bound in BOUND.items():
        model = checkpoint.model.to(dtype)
        twin.model.to(dtype)
        for size in ((28, 28), (42, 70)):
            found = difference(model, twin.forward, pictures(size).to(dtype))
            assert found.relative < bound, (dtype, size, found)


@pytest.mark.parametrize("names", [("weight", "bias"), ("linear.weight", "linear.bias")])
def test_a_head_alone_is_refused_by_name(tmp_path: Path, names: tuple[str, str]) -> None:
    state = {names[0]: torch.zeros(1000, 768), names[1]: torch.zeros(1000)}
    torch.save(state, tmp_path / "dinov2_vits14_linear_head.pth")
    with pytest.raises(
        CheckpointError, match=r"a linear head alone \(1000x768\), without the backbone"
    ) as caught:
        read_any(tmp_path / "dinov2_vits14_linear_head.pth")
    assert "dinov2_vits14_pretrain.pth" in str(caught.value) and "\n" not in str(caught.value)


def test_a_head_on_several_layers_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    path = tmp_path / "weights.pth"
    official_dinov2(path, head=True)
    torch.save(torch.load(path) | {"linear_head.weight": torch.zeros(5, 5 * 384)}, path)
    with pytest.raises(CheckpointError, match="class tokens of 4 layers"):
        read_any(path)


def test_a_width_that_was_never_published_must_be_named(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    twin = timm_dinov2(tmp_path / "twin", depth=4, patch_size=4, img_size=32, num_classes=0)
    state = twin.model.state_dict() | {"mask_token": torch.zeros(1, 64)}
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="number of heads of width 64 is not in the file"):
        read_any(tmp_path / "weights.pth")
    checkpoint = read_any(tmp_path / "weights.pth", name="dinov2_tiny")
    assert checkpoint.lineage["layout"] == "facebookresearch"
    assert difference(checkpoint.model, twin.forward, pictures((32, 32)).float()).relative < 1e-4


def test_the_same_block_twice_is_damage(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    path = tmp_path / "weights.pth"
    official_dinov2(path)
    state = torch.load(path)
    torch.save(state | {"blocks.0.1.norm1.weight": state["blocks.1.norm1.weight"]}, path)
    with pytest.raises(CheckpointError, match=r"blocks\.1\.norm1\.weight and blocks\.0\.1\.norm1\.weight"):
        read_any(path)


@pytest.mark.parametrize("grid", [(37, 37), (16, 16), (5, 9), (40, 23), (74, 37)])
def test_offset_is_the_authors_formula(grid: tuple[int, int]) -> None:
    table = torch.randn(1, 1 + 37 * 37, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    origin, target = Layout(1, 37, 37), Layout(1, *grid)
    ours = resize_positions(table, origin, target, "offset")
    assert torch.equal(ours, official_resize(table, 1, *grid, antialias=False))
    plain = resize_positions(table, origin, target, "float32")
    assert (grid == (37, 37)) == torch.equal(ours, plain)


GATED = {"mlp": "swiglu", "mlp_width": 88}
WRITTEN: dict[str, dict[str, Any]] = {
    "class token": {"layer_scale": 0.1},
    "class token and mean": {"pool": "class_mean", "layer_scale": 0.1},
    "class token and mean, no LayerScale": {"pool": "class_mean"},
    "mean": {"pool": "mean"},
    "registers": {"registers": 3, "pool": "class_mean", "layer_scale": 0.1},
    "registers, class token without a position": {"registers": 2, "class_position": False},
    "gated": {"pool": "class_mean", "layer_scale": 0.1, **GATED},
    "gated, registers": {"registers": 1, **GATED},
    "gated, mean": {"pool": "mean", **GATED},
    "epsilon": {"layer_scale": 0.1, "norm_eps": 1e-5},
    "quick_gelu": {"layer_scale": 0.1, "activation": "quick_gelu"},
    "no head": {"classes": 0, "layer_scale": 0.1},
    "no head, class token and mean": {"classes": 0, "pool": "class_mean"},
    "no positions": {"positions": "none", "layer_scale": 0.1},
    "one channel": {"channels": 1, "registers": 2},
    "temperature": {"temperature": 1.7, "pool": "class_mean"},
}


@pytest.mark.parametrize("model", WRITTEN)
def test_transformers_computes_the_same_as_what_was_written(tmp_path: Path, model: str) -> None:
    transformers = pytest.importorskip("transformers")
    options = {"mlp_width": 128} | WRITTEN[model]
    made = random_checkpoint(**options)
    registers = made.model.config.backbone.registers
    checkpoint = checkpoint_of(made, position_resize="antialias" if registers else "float32")
    write_any(tmp_path, checkpoint, "transformers")
    loader = "AutoModel" if model == "no head" else "AutoModelForImageClassification"
    other, info = getattr(transformers, loader).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    assert type(other).__name__.startswith("Dinov2WithRegisters" if registers else "Dinov2")
    forward, back = answer_of(other.eval()), read_any(tmp_path)
    assert (back.classes, back.preprocess) == (checkpoint.classes, checkpoint.preprocess)
    sizes = [(32, 32)] if made.model.config.backbone.positions == "none" else [(32, 32), (48, 48), (24, 56)]
    for dtype, bound in BOUND.items():
        for ours in (checkpoint.model, back.model):
            ours.to(dtype)
            other.to(dtype)
            scale = 1.0 if made.temperature == 1.0 or ours is back.model else made.temperature
            for size in sizes:
                images = pictures(size, made.model.config.channels).to(dtype)
                with torch.no_grad():
                    mine, theirs = ours(images).logits / scale, forward(images)
                loose = 1e-6 if made.temperature != 1.0 else bound  # rounded once, to the file's float32
                assert (mine - theirs).abs().max() < max(loose, bound) * theirs.abs().max(), (dtype, size)
    if options.get("pool") == "class_mean" and made.temperature == 1.0 and "layer_scale" in options:
        assert same(back.model, checkpoint.model.to(next(back.model.parameters()).dtype))


@pytest.mark.parametrize(
    ("options", "architecture"),
    [
        ({}, "ViTForImageClassification"),
        ({"mlp_width": 128}, "ViTForImageClassification"),
        ({"mlp_width": 128, "layer_scale": 0.1}, "Dinov2ForImageClassification"),
        ({"mlp_width": 96, "layer_scale": 0.1}, "ViTForImageClassification"),  # 96 is no multiple of 64
        ({"mlp_width": 128, "layer_scale": 0.1, "image_size": (24, 40)}, "ViTForImageClassification"),
        ({"mlp_width": 128, "registers": 1}, "Dinov2WithRegistersForImageClassification"),
        ({"mlp_width": 128, "classes": 0}, "Dinov2Model"),
    ],
)
def test_the_class_that_has_a_place_for_all_parts_is_taken(
    tmp_path: Path, options: dict[str, Any], architecture: str
) -> None:
    write_any(tmp_path, random_checkpoint(**options), "transformers")
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [architecture]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"registers": 1, "pool": "class_mean", "mlp_width": 100}, "MLP of 100 is no whole multiple"),
        ({"registers": 1, "pool": "class_mean", "image_size": (24, 40)}, "not square"),
        ({"pool": "mean", "pool_norm": True, "final_norm": False}, "norm stands after pooling"),
        ({"layer_scale": 0.1, "final_norm": False}, "it has no norm at its end"),
        ({"pool": "class_mean", "pool_norm": True}, "ahead of pooling and after it"),
        ({"pool": "mean", "classes": 0}, "no head and pools the mean"),
        ({**GATED, "pool": "class_mean", "mlp_width": 90}, "MLP of 90"),
    ],
)
def test_what_transformers_cannot_hold_is_refused(
    tmp_path: Path, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(CheckpointError, match=reason):
        write_any(tmp_path / "there", random_checkpoint(**{"mlp_width": 128} | options), "transformers")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options",
    [
        {**GATED, "layer_scale": 0.1},
        {**GATED, "mlp_width": 91, "registers": 2},
        {**GATED, "pool": "mean", "pool_norm": True, "final_norm": False},
        {**GATED, "class_position": False, "registers": 1, "classes": 0},
    ],
)
def test_timm_computes_the_same_as_what_was_written(tmp_path: Path, options: dict[str, Any]) -> None:
    timm = pytest.importorskip("timm")
    checkpoint = random_checkpoint(**options)
    write_any(tmp_path, checkpoint, "timm")
    other = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, dynamic_img_size=True).eval()
    back = read_any(tmp_path)
    assert back.model.config == checkpoint.model.config and same(back.model, checkpoint.model)
    for dtype, bound in BOUND.items():
        checkpoint.model.to(dtype)
        other.to(dtype)
        for size in ((32, 32), (48, 48), (24, 56), (30, 45)):
            assert difference(checkpoint.model, other, pictures(size).to(dtype)).relative < bound, (
                dtype,
                size,
            )


def test_names_on_disk_are_the_published_ones(tmp_path: Path) -> None:
    checkpoint = random_checkpoint(pool="class_mean", layer_scale=0.1, **GATED)
    write_any(tmp_path, checkpoint, "transformers")
    names = set(load_file(tmp_path / "model.safetensors"))
    assert {
        "dinov2.embeddings.mask_token",
        "dinov2.encoder.layer.0.attention.attention.query.weight",
        "dinov2.encoder.layer.1.layer_scale2.lambda1",
        "dinov2.encoder.layer.1.mlp.weights_in.weight",
        "dinov2.encoder.layer.1.mlp.weights_out.bias",
        "classifier.weight",
    } <= names


@pytest.mark.parametrize("size", [(224, 256), (98, 112), (224, 224)])
def test_the_published_processor_shows_the_same_pixels(tmp_path: Path, size: tuple[int, int]) -> None:
    transformers = pytest.importorskip("transformers")
    options = {
        "size": {"shortest_edge": size[1]},
        "crop_size": {"height": size[0], "width": size[0]},
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    }
    transformers.BitImageProcessor(**options).save_pretrained(tmp_path)
    values = json.loads((tmp_path / "preprocessor_config.json").read_text())
    config = configure("dinov2_s_14")
    prepare = read_processor(values, config, "file")
    written = write_processor(prepare, "BitImageProcessor")
    assert read_processor(written, config, "file") == prepare
    by_pillow = transformers.BitImageProcessorPil(**options)
    by_torchvision = transformers.BitImageProcessor(**options)
    again = transformers.BitImageProcessorPil(**written)
    for name, picture in PHOTOGRAPHS.items():
        mine = prepare(picture).image
        assert apart(mine, by_pillow, picture).max() < 1e-3, name
        assert apart(mine, again, picture).max() < 1e-3, name
        # Its other processor resizes tensors, whose kernels round otherwise than Pillow's.
        levels = apart(mine, by_torchvision, picture)
        assert (levels > 1.001).float().mean() < 1e-3 and levels.max() < 4, name


def apart(mine: Tensor, processor: Any, picture: Image.Image) -> Tensor:
    """How many of 255 levels our pixels are from a processor's, (C, h, w)."""
    theirs = torch.as_tensor(processor(picture, return_tensors="pt")["pixel_values"][0])
    std = torch.tensor(processor.image_std)[:, None, None]
    return ((mine - theirs) * std * 255).abs()


def test_keys_that_a_file_leaves_out_have_its_processors_defaults() -> None:
    transformers = pytest.importorskip("transformers")
    config = configure("dinov2_s_14", image_size=224)  # what size ViT's resizes to is the model's
    for kind in ("BitImageProcessor", "CLIPImageProcessor", "ViTImageProcessor"):
        prepare = read_processor({"image_processor_type": kind}, config, "file")
        processor = getattr(transformers, f"{kind}Pil")()
        for name in ("coffee_whole", "chelsea_tall"):
            assert apart(prepare(PHOTOGRAPHS[name]).image, processor, PHOTOGRAPHS[name]).max() < 1e-3, kind
