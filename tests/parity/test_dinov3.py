"""DINOv3: the options of both libraries, what is refused, and what is written."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.checkpoints.make import random_checkpoint, same
from tests.parity.cases_dinov2 import answer_of
from tests.parity.cases_dinov3 import official_dinov3, timm_dinov3, transformers_dinov3
from tests.parity.test_dinov2 import apart
from tests.parity.test_preprocess_parity import PHOTOGRAPHS
from tests.parity.twins import BOUND, difference, pictures
from vitreous.checkpoints.destination import write_any
from vitreous.checkpoints.foreign.timm.architectures import architecture
from vitreous.checkpoints.foreign.transformers.processor import read_processor, write_processor
from vitreous.checkpoints.source import read_any
from vitreous.checkpoints.weights import load_weights
from vitreous.errors import CheckpointError
from vitreous.models.catalog import configure

SIZES = [(32, 32), (48, 40), (24, 56)]
VARIANTS: dict[str, dict[str, Any]] = {
    "all biases": {"key_bias": True},
    "no bias of queries": {"query_bias": False},
    "no bias of values": {"value_bias": False},
    "only a bias of keys": {"query_bias": False, "value_bias": False, "key_bias": True},
    "no biases at all": {
        "query_bias": False, "value_bias": False, "proj_bias": False, "mlp_bias": False,
    },
    "gated": {"use_gated_mlp": True, "hidden_act": "silu"},
    "gated, no biases": {"use_gated_mlp": True, "hidden_act": "silu", "mlp_bias": False},
    "no registers": {"num_register_tokens": 0},
    "epsilon": {"layer_norm_eps": 1e-3},
    "another base": {"rope_theta": 10000.0},
    "gelu_pytorch_tanh": {"hidden_act": "gelu_pytorch_tanh"},
    "quick_gelu": {"hidden_act": "quick_gelu"},
    "one channel": {"num_channels": 1},
    "not square": {"image_size": [24, 40]},
    "a native size that is no multiple of the patch": {"image_size": 37},
    "sides as lists": {"patch_size": [8, 8], "image_size": [32, 32]},
    "heads of an odd width": {"hidden_size": 96, "num_attention_heads": 8},
    "wide heads": {"hidden_size": 160, "num_attention_heads": 2},
    "augmented in training": {"pos_embed_shift": 0.3, "pos_embed_jitter": 1.4, "pos_embed_rescale": 3.0},
}  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_options_of_transformers(tmp_path: Path, variant: str) -> None:
    pytest.importorskip("transformers")
    twin = transformers_dinov3(tmp_path, **VARIANTS[variant])
    checkpoint = read_any(tmp_path)
    assert checkpoint.lineage["family"] == "dinov3" and checkpoint.lineage.get("assumed") is None
    for dtype, bound in BOUND.items():
        model = checkpoint.model.to(dtype)
        twin.model.to(dtype)
        for size in [*SIZES, (33, 47)]:
            images = pictures(size, checkpoint.model.config.channels).to(dtype)
            found = difference(model, twin.forward, images)
            assert found.relative < bound, (dtype, size, found)


TIMM_VARIANTS: dict[str, dict[str, Any]] = {
    "class token": {"global_pool": "token"},
    "no head": {"num_classes": 0},
    "no pooling and no head": {"num_classes": 0, "global_pool": ""},
    "biases": {"name": "vit_base_patch16_dinov3_qkvb"},
    "three matrices": {"qkv_fused": False},
    "three matrices, with biases": {"qkv_fused": False, "qkv_bias": True},
    "another attention": {"attn_type": "rope"},
    "another attention, with biases": {"attn_type": "rope", "qkv_bias": True},
    "another attention, three matrices": {"attn_type": "rope", "qkv_bias": True, "qkv_fused": False},
    "gated, apart": {"name": "vit_small_plus_patch16_dinov3"},
    "gated, aligned": {"swiglu_mlp": True, "swiglu_align_to": 64, "mlp_ratio": 2.3},
    "gated, together": {"swiglu_mlp": True, "swiglu_align_to": 0, "mlp_ratio": 2.5},
    "no LayerScale": {"init_values": None},
    "no registers": {"num_reg_tokens": 0},
    "no class token": {"class_token": False},
    "norm after pooling": {"use_fc_norm": True},
    "norm ahead of pooling and after it": {"use_fc_norm": True, "use_post_transformer_norm": True},
    "no norm at the end": {"use_fc_norm": False, "use_post_transformer_norm": False},
    "another base": {"rope_temperature": 20.0},
    "pairs side by side": {"rope_rotate_half": False},
    "columns first": {"rope_grid_indexing": "xy"},
    "pairs side by side, columns first, biases": {
        "rope_rotate_half": False, "rope_grid_indexing": "xy", "qkv_bias": True,
    },
    "positions too": {"use_abs_pos_emb": True},
    "positions of patches alone": {"use_abs_pos_emb": True, "no_embed_class": True},
    "does not turn": {"use_rot_pos_emb": False, "use_abs_pos_emb": True, "num_reg_tokens": 0},
    "one channel": {"in_chans": 1},
    "not square": {"img_size": (24, 40)},
    "padded": {"dynamic_img_pad": True, "img_size": 36},
    "augmented in training": {
        "rope_shift_coords": 0.3, "rope_jitter_coords": 1.4, "rope_rescale_coords": 2.0,
    },
    "LingBot": {"name": "vit_base_patch16_lingbot"},
    "LingBot, gated": {"name": "vit_giant_patch16_lingbot"},
}  # fmt: skip


@pytest.mark.parametrize("variant", TIMM_VARIANTS)
def test_options_of_timm(tmp_path: Path, variant: str) -> None:
    pytest.importorskip("timm")
    arguments = dict(TIMM_VARIANTS[variant])
    if arguments.get("init_values", 0) is None:  # create_model drops what is None
        arguments["init_values"] = None
        twin = _without_layer_scale(tmp_path)
    else:
        twin = timm_dinov3(tmp_path, **arguments)
    reference = twin.forward
    if variant == "no pooling and no head":
        reference = lambda images: twin.model(images)[:, 0]  # noqa: E731
    checkpoint = read_any(tmp_path)
    registers = variant == "positions too"
    for dtype, bound in BOUND.items():
        model = checkpoint.model.to(dtype)
        twin.model.to(dtype)
        for size in [*SIZES, *([(33, 47)] if variant == "padded" else [])]:
            images = pictures(size, checkpoint.model.config.channels).to(dtype)
            found = difference(model, reference, images)
            # Registers and their positions were added once, in the file's float32.
            assert found.relative < (max(bound, 1e-7) if registers else bound), (dtype, size, found)
    if checkpoint.model.config.backbone.attention == "rotary":
        again = _written(tmp_path / "back", read_any(tmp_path))
        assert again.model.config == read_any(tmp_path).model.config


def _written(path: Path, checkpoint: Any) -> Any:
    write_any(path, checkpoint, "timm")
    again = read_any(path)
    assert same(again.model, checkpoint.model)
    return again


def _without_layer_scale(path: Path) -> Any:
    import timm
    from timm.models import save_for_hf

    from tests.parity.cases_dinov3 import TIMM
    from tests.parity.twins import Twin, randomise

    model = timm.create_model("vit_small_patch16_dinov3", **TIMM)
    for block in model.blocks:
        block.gamma_1 = block.gamma_2 = None
    model.pretrained_cfg = dict(model.pretrained_cfg)
    save_for_hf(randomise(model), str(path), safe_serialization=True)
    values = json.loads((path / "config.json").read_text())
    values["model_args"]["init_values"] = None
    (path / "config.json").write_text(json.dumps(values))
    return Twin(model, path, model)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"rope_type": "cat"}, "rope_type 'cat' is not read"),
        ({"rope_type": "mixed", "rope_rotate_half": False}, r"learned frequencies .*rope\.freqs"),
        ({"use_pre_transformer_norm": True}, "a norm ahead of the blocks"),
        ({"scale_attn_inner": True}, "a norm inside attention"),
        ({"swiglu_mlp": True, "scale_mlp": True}, "a norm inside the MLP"),
        ({"qk_norm": True}, "a norm of queries and keys"),
        ({"use_post_norm": True}, "use_post_norm True is not a part of a DINOv3"),
        ({"rope_grid_offset": 0.5}, "rope_grid_offset 0.5"),
        ({"attn_only_layer_scale": True}, "attn_only_layer_scale True"),
        ({"global_pool": "max"}, "global_pool 'max' is not read"),
        ({"global_pool": "map"}, "attention pooling"),
        ({"attn_type": "rope", "qkv_fused": False, "num_kv_heads": 2}, "num_kv_heads 2"),
    ],
)
def test_other_parts_are_refused_by_name(tmp_path: Path, arguments: dict[str, Any], reason: str) -> None:
    pytest.importorskip("timm")
    timm_dinov3(tmp_path, **arguments)
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_any(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("eva02_tiny_patch14_224", r"(separate )?biases of queries and values"),
        ("eva02_base_patch14_224", r"a norm inside the MLP \(blocks\.0\.mlp\.norm\.bias\)"),
        ("vit_base_patch16_rope_reg1_gap_256", "LayerScale of BEiT or CaiT|separate biases"),
    ],
)
def test_eva_is_refused_by_the_tensors_that_are_the_reason(tmp_path: Path, name: str, reason: str) -> None:
    timm = pytest.importorskip("timm")
    from timm.models import save_for_hf

    model = timm.create_model(name, depth=1, embed_dim=64, num_heads=4, num_classes=5)
    save_for_hf(model, str(tmp_path / "there"), safe_serialization=True)
    save_file(model.state_dict(), tmp_path / "weights")
    for source in ("there", "weights"):
        with pytest.raises(CheckpointError, match=reason) as caught:
            read_any(tmp_path / source)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("gated", [False, True])
def test_bare_file_of_timm(tmp_path: Path, gated: bool) -> None:
    pytest.importorskip("timm")
    name = f"vit_small_{'plus_' if gated else ''}patch16_dinov3_qkvb"
    twin = timm_dinov3(tmp_path / "twin", name, embed_dim=128, num_heads=2, num_classes=0)
    save_file(twin.model.state_dict(), tmp_path / "weights")
    checkpoint = read_any(tmp_path / "weights", name=name)
    assert (checkpoint.lineage["family"], checkpoint.lineage["assumed"]) == ("dinov3", ["preprocessing"])
    assert difference(checkpoint.model, twin.forward, pictures((24, 56)).float()).relative < 1e-4
    unnamed = read_any(tmp_path / "weights")
    assert unnamed.lineage["assumed"] == ["preprocessing", "pooling"]
    assert unnamed.model.config == checkpoint.model.config  # the mean, as under nearly all of timm's names


def test_bare_file_takes_the_heads_of_our_name(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    twin = timm_dinov3(
        tmp_path / "twin", depth=4, patch_size=4, num_reg_tokens=4, num_classes=0, embed_dim=64
    )  # fmt: skip
    save_file(twin.model.state_dict(), tmp_path / "weights")
    checkpoint = read_any(tmp_path / "weights", name="dinov3_tiny")
    assert difference(checkpoint.model, twin.forward, pictures((24, 56)).float()).relative < 1e-4
    with pytest.raises(CheckpointError, match="holds a model of family 'rotary'"):
        read_any(tmp_path / "weights", name="dinov2_tiny")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"hidden_act": "relu"}, "hidden_act 'relu' is not known"),
        ({"use_gated_mlp": True}, "hidden_act 'gelu' of a gated MLP is not read"),
        ({"use_gated_mlp": True, "hidden_act": "silu"}, r"missing: .*gate_proj"),
        ({"model_type": "dinov3_convnext"}, "model_type 'dinov3_convnext'"),
        ({"num_attention_heads": 5}, "cannot be shared by 5 heads"),
        ({"num_attention_heads": 32}, "heads of 4, 8"),
        ({"num_register_tokens": 2}, "num_register_tokens 2, but the weights have 3"),
        ({"patch_size": 16}, "patch_size 16x16"),
        ({"rope_theta": 0.5}, "rotary_base must be 1 or more"),
        ({"num_hidden_layers": 3}, r"missing: layer\.2\.norm1"),
        ({"num_hidden_layers": 10**9}, "1000000000 blocks"),
    ],
)
def test_what_is_not_known_is_an_error(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    pytest.importorskip("transformers")
    transformers_dinov3(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_any(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_bias_that_one_block_lacks_is_damage(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    transformers_dinov3(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    del state["layer.1.attention.v_proj.bias"]
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"1 missing: layer\.1\.attention\.v_proj\.bias"):
        read_any(tmp_path)


def test_architecture_names_stand_for_what_timm_makes_of_them() -> None:
    timm = pytest.importorskip("timm")
    from vitreous.checkpoints.foreign.timm.dinov3 import EPS, HEAD_WIDTH, LARGEST

    seen = 0
    for name in timm.list_models(module="eva"):
        known = architecture(name)
        if known is None or known.family != "dinov3":
            assert "dinov3" not in name and "lingbot" not in name, name
            continue
        with torch.device("meta"):
            model = timm.create_model(name, depth=1)
        width, block = model.embed_dim, model.blocks[0]
        assert block.attn.num_heads == LARGEST.get(width, width // HEAD_WIDTH), name
        assert model.global_pool == {"class": "token", "mean": "avg"}[known.pool], name
        assert block.norm1.eps == EPS and block.attn.rotate_half and model.rope.temperature == 100, name
        seen += 1
    assert seen == 16


@pytest.mark.parametrize(
    ("level", "change"),
    [
        ("encoder", {"norm_eps": 1e-3}),
        ("backbone", {"heads": 2}),
        ("backbone", {"rotary_base": 99.0}),
        ("backbone", {"rotary_step": "rate"}),
        ("backbone", {"attention": "plain"}),
    ],
)
def test_what_differs_silently_is_seen_by_the_comparison(
    tmp_path: Path, level: str, change: dict[str, Any]
) -> None:
    """The negative control: the same tensors load under another configuration, and miss the bound."""
    pytest.importorskip("timm")
    twin = timm_dinov3(tmp_path)
    checkpoint = read_any(tmp_path)
    backbone = checkpoint.model.config.backbone
    if level == "encoder":
        change = {"encoder": replace(backbone.encoder, **change)}
    config = replace(checkpoint.model.config, backbone=replace(backbone, **change))
    model = load_weights(config, checkpoint.model.state_dict(), "a test").double()
    twin.model.double()
    assert difference(model, twin.forward, pictures((48, 48))).relative > 1e-9


ROTARY: dict[str, Any] = {"attention": "rotary", "positions": "none", "class_position": False}
ROTARY |= {"norm_eps": 1e-5}
WRITTEN: dict[str, dict[str, Any]] = {
    "plain": {"layer_scale": 0.1, "registers": 4},
    "no LayerScale": {"registers": 1},
    "no registers": {"layer_scale": 0.1},
    "gated": {"layer_scale": 0.1, "mlp": "swiglu", "mlp_width": 90},
    "no head": {"classes": 0, "registers": 2},
    "no head, another base": {"classes": 0, "rotary_base": 37.0, "image_size": (24, 40)},
    "no head, quick_gelu": {"classes": 0, "activation": "quick_gelu"},
    "no head, epsilon": {"classes": 0, "norm_eps": 1e-3},
    "mean": {"pool": "mean"},
    "mean, norm after it": {"pool": "mean", "pool_norm": True, "final_norm": False},
    "two norms": {"pool_norm": True},
    "no class token": {"pool": "mean", "class_token": False, "registers": 2},
    "positions too": {"positions": "learned", "class_position": True},
    "a learned table of patches alone": {"positions": "learned", "registers": 1},
    "sincos2d": {"positions": "sincos2d"},
    "one channel": {"channels": 1, "classes": 0},
    "class token and mean": {"pool": "class_mean"},
    "head of the paper": {"head": "mlp"},
}
REFUSED = {
    "timm": {
        "no head, quick_gelu": "activation is quick_gelu, there is only gelu",
        "no head, epsilon": "norm epsilon is 0.001",
        "class token and mean": "pools class token and mean",
        "head of the paper": "head of two layers",
    },
    "transformers": {name: "it has a head" for name in WRITTEN if not name.startswith("no head")},
}
REFUSED["transformers"] |= {"mean": "pools the mean", "positions too": "table of positions"}
del REFUSED["transformers"]["one channel"]
PAIRS = [(layout, model) for layout in REFUSED for model in WRITTEN]


@pytest.mark.parametrize(("layout", "model"), PAIRS)
@pytest.mark.parametrize("key_bias", [False, True])
def test_what_is_written_computes_the_same(tmp_path: Path, layout: str, model: str, key_bias: bool) -> None:
    pytest.importorskip(layout)
    checkpoint = random_checkpoint(**ROTARY | WRITTEN[model])
    if not key_bias:
        for block in checkpoint.model.backbone.encoder.blocks:
            block.attention.qkv.bias.data[64:128] = 0
    if model in REFUSED[layout]:
        with pytest.raises(CheckpointError, match=REFUSED[layout][model]):
            write_any(tmp_path / "there", checkpoint, layout)
        assert not any(tmp_path.iterdir())
        return
    write_any(tmp_path, checkpoint, layout)
    names = set(load_file(tmp_path / "model.safetensors"))
    assert bool(names & {"blocks.0.attn.qkv.bias", "layer.0.attention.k_proj.bias"}) == key_bias
    if layout == "timm":
        import timm

        other = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
        forward = other
    else:
        from transformers import AutoModel

        other, info = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
        assert not any(info.values()), info
        forward = answer_of(other.eval())
    back = read_any(tmp_path)
    assert (back.classes, back.preprocess) == (checkpoint.classes, checkpoint.preprocess)
    sizes = [checkpoint.model.config.image_size]
    sizes += [] if model == "sincos2d" else [(48, 40), (24, 56)]
    sizes += [(30, 45)] if layout == "timm" and model != "sincos2d" else []
    for dtype, bound in BOUND.items():
        other.to(dtype)
        for ours in (checkpoint.model.to(dtype), back.model.to(dtype)):
            step = ours.config.backbone.rotary_step
            same_rounding = (step == "rate") == (layout == "transformers")
            for size in sizes:
                found = difference(ours, forward, pictures(size, ours.config.channels).to(dtype))
                assert found.relative < (bound if same_rounding else max(bound, 1e-5)), (dtype, size, found)


def test_a_file_of_one_library_goes_to_the_other(tmp_path: Path) -> None:
    timm, _ = pytest.importorskip("timm"), pytest.importorskip("transformers")
    transformers_dinov3(tmp_path / "there")
    checkpoint = read_any(tmp_path / "there")
    write_any(tmp_path / "timm", checkpoint, "timm")
    other = timm.create_model(f"local-dir:{tmp_path / 'timm'}", pretrained=True).eval()
    assert difference(checkpoint.model, other, pictures((48, 40)).float()).relative < 1e-4
    write_any(tmp_path / "back", read_any(tmp_path / "timm"), "transformers")
    assert same(read_any(tmp_path / "back").model, checkpoint.model)


@pytest.mark.parametrize(("resample", "most", "share"), [(2, 1.01, 1e-3), (3, 25, 2e-2)])
def test_its_processor_is_a_level_away_from_resized_pictures(
    tmp_path: Path, resample: int, most: float, share: float
) -> None:
    """It resizes tensors of fractions, we resize pictures, whose pixels are rounded and cannot overshoot
    (bicubic kernels do): one level of 255 for the bilinear kernel of the published models."""
    transformers = pytest.importorskip("transformers")
    statistics = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    processor = transformers.DINOv3ViTImageProcessor(resample=resample, **statistics)
    processor.save_pretrained(tmp_path)
    values = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert values["image_processor_type"] == "DINOv3ViTImageProcessor"
    config = configure("dinov3_s_16")
    prepare = read_processor(values, config, "file")
    fast = values | {"image_processor_type": "DINOv3ViTImageProcessorFast"}
    assert read_processor(fast, config, "file") == prepare
    written = write_processor(prepare)
    assert read_processor(written, config, "file") == prepare
    again = transformers.ViTImageProcessorPil(**written)
    for name, picture in PHOTOGRAPHS.items():
        mine = prepare(picture).image
        assert apart(mine, again, picture).max() < 1e-3, name
        levels = apart(mine, processor, picture)
        assert levels.max() < most and levels.mean() < 0.5, name
        assert (levels > 1.001).float().mean() < share, name


@pytest.mark.parametrize("gated", [False, True])
def test_what_stands_for_the_authors_file_is_what_timm_takes_for_it(tmp_path: Path, gated: bool) -> None:
    """The names of our stand-in are the published ones: timm's own conversion makes its twin from them."""
    pytest.importorskip("timm")
    from timm.models.eva import checkpoint_filter_fn

    path = tmp_path / "weights.pth"
    twin = official_dinov3(path, gated=gated, local=True)
    converted = checkpoint_filter_fn(torch.load(path), twin.model)
    wanted = twin.model.state_dict()
    assert converted.keys() == wanted.keys()
    assert all(torch.equal(converted[key], value) for key, value in wanted.items())
    checkpoint = read_any(path)
    assert (checkpoint.lineage["layout"], checkpoint.lineage["family"]) == ("facebookresearch", "dinov3")
    assert difference(checkpoint.model, twin.forward, pictures((32, 48)).float()).relative < 1e-4


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rope_embed.periods": torch.ones(16)}, "rope_embed.periods are not those of base 100"),
        ({"cls_norm.weight": torch.ones(128)}, "a norm of the class token's own"),
        ({"projectors.0.weight": torch.ones(2)}, "heads of distillation"),
        ({"surprise": torch.ones(2)}, "does not explain: surprise"),
    ],
)
def test_authors_files_with_other_parts_are_refused(
    tmp_path: Path, change: dict[str, torch.Tensor], reason: str
) -> None:
    pytest.importorskip("timm")
    path = tmp_path / "weights.pth"
    official_dinov3(path)
    torch.save(torch.load(path) | change, path)
    with pytest.raises(CheckpointError, match=reason):
        read_any(path)


def test_null_is_no_and_not_a_default() -> None:
    """As the published files of DINOv3 have it, and as the library takes it for other processors, too."""
    transformers = pytest.importorskip("transformers")
    config = configure("dinov3_s_16")
    published = {
        "crop_size": None, "do_center_crop": None, "do_convert_rgb": None, "do_normalize": True,
        "do_rescale": True, "do_resize": True, "image_mean": [0.485, 0.456, 0.406],
        "image_processor_type": "DINOv3ViTImageProcessorFast", "image_std": [0.229, 0.224, 0.225],
        "input_data_format": None, "resample": 2, "rescale_factor": 0.00392156862745098,
        "size": {"height": 224, "width": 224},
    }  # fmt: skip
    prepare = read_processor(published, config, "file")
    assert (prepare.size, prepare.shorter, prepare.squashed) == ((224, 224), None, None)
    values = published | {"image_processor_type": "BitImageProcessor", "size": {"height": 64, "width": 80}}
    processor = transformers.BitImageProcessorPil(**values)
    picture = PHOTOGRAPHS["coffee_whole"]
    assert apart(read_processor(values, config, "file")(picture).image, processor, picture).max() < 1e-3
    for key in ("do_resize", "do_rescale"):
        with pytest.raises(CheckpointError, match=f"{key} is false"):
            read_processor(published | {key: None}, config, "file")
