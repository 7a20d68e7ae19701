"""DeiT: options of its makers, files that say little, other ways of writing it, and its processor."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from tests.checkpoints.make import same
from tests.parity.cases_deit import timm_deit, transformers_deit, with_teacher
from tests.parity.cases_vit import from_timm, from_transformers
from tests.parity.twins import BOUND, Forward, difference, pictures, randomise, timm_twin
from vitreous.checkpoints.destination import write_any
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.transformers.processor import read_processor, write_processor
from vitreous.checkpoints.passport import inspect
from vitreous.checkpoints.source import read_any
from vitreous.data.photographs import photographs
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError
from vitreous.models import catalog
from vitreous.models.config import family_of

pytest.importorskip("timm")
pytest.importorskip("transformers")

SIZES = ((48, 48), (24, 56))
WORDS = ("ant", "bee", "cat", "dog", "eel")
TIMM: dict[str, dict[str, Any]] = {
    "LayerScale": {"init_values": 1e-4},
    "no biases": {"qkv_bias": False, "proj_bias": False},
    "no bias of queries": {"qkv_bias": False},
    "one channel": {"in_chans": 1},
    "gelu_tanh": {"act_layer": "gelu_tanh"},
    "quick_gelu": {"act_layer": "quick_gelu"},
    "another MLP": {"mlp_ratio": 2.7},
    "odd width": {"embed_dim": 60, "num_heads": 5},
    "not square": {"img_size": (24, 40)},
    "padded": {"dynamic_img_pad": True},
    "edges cut off": {"img_size": (35, 30), "dynamic_img_size": False},
    "no final norm": {"final_norm": False},
    "a norm that it passes by": {"fc_norm": True},
    "registers that it passes by": {"reg_tokens": 2},
    "no head": {"num_classes": 0},
}
TRANSFORMERS: dict[str, dict[str, Any]] = {
    "epsilon": {"layer_norm_eps": 1e-3},
    "no bias of queries": {"qkv_bias": False},
    "one channel": {"num_channels": 1},
    "gelu_new": {"hidden_act": "gelu_new"},
    "gelu_pytorch_tanh": {"hidden_act": "gelu_pytorch_tanh"},
    "quick_gelu": {"hidden_act": "quick_gelu"},
    "odd width": {"hidden_size": 60, "num_attention_heads": 5},
    "not square": {"image_size": [24, 40]},
    "edges cut off": {"image_size": 35},
}


def agree(model: nn.Module, reference: nn.Module, forward: Forward, sizes: Any) -> None:
    """Both types at these sizes and the native one."""
    config = model.config
    for dtype, bound in BOUND.items():
        model.to(dtype)
        reference.to(dtype)
        for size in (config.image_size, *sizes):
            found = difference(model, forward, pictures(size, config.channels).to(dtype))
            assert found.relative < bound, (dtype, size, found)


def round_trip(checkpoint: Checkpoint, directory: Path, layout: str) -> None:
    """Written and read again: the same configuration and the same bits."""
    checkpoint.model.float()
    write_any(directory, checkpoint, layout)
    again = read_any(directory)
    assert again.model.config == checkpoint.model.config
    assert same(again.model, checkpoint.model)


@pytest.mark.parametrize("variant", TIMM)
def test_timm_options(tmp_path: Path, variant: str) -> None:
    twin = timm_deit(tmp_path / "theirs", **TIMM[variant])
    checkpoint = read_any(tmp_path / "theirs")
    fixed = variant == "edges cut off"
    agree(checkpoint.model, twin.model, twin.forward, () if fixed else SIZES)
    if variant == "padded":
        agree(checkpoint.model, twin.model, twin.forward, ((30, 37),))
    round_trip(checkpoint, tmp_path / "back", "timm")
    if not fixed:
        agree(checkpoint.model, *from_timm(tmp_path / "back"), SIZES)


@pytest.mark.parametrize("kind", ["DeiTForImageClassificationWithTeacher", "DeiTForImageClassification"])
@pytest.mark.parametrize("variant", TRANSFORMERS)
def test_transformers_options(tmp_path: Path, variant: str, kind: str) -> None:
    arguments = TRANSFORMERS[variant]
    twin = transformers_deit(tmp_path / "theirs", kind=kind, **arguments)
    if arguments.get("num_channels") == 1:
        path = tmp_path / "theirs/preprocessor_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"image_mean": [0.5], "image_std": [0.5]}))
    checkpoint = read_any(tmp_path / "theirs")
    # Off the native size it takes the square root of the patches.
    sizes = () if variant == "not square" else SIZES
    agree(checkpoint.model, twin.model, twin.forward, sizes)
    round_trip(checkpoint, tmp_path / "back", "transformers")
    back = with_teacher if kind.endswith("WithTeacher") else from_transformers
    agree(checkpoint.model, *back(tmp_path / "back"), sizes)


def test_each_head_says_what_theirs_says(tmp_path: Path) -> None:
    twin = transformers_deit(tmp_path)
    images = pictures((32, 32)).float()
    with torch.no_grad():
        theirs, ours = twin.model(images), read_any(tmp_path).model(images)
    assert torch.allclose(ours.class_logits, theirs.cls_logits, atol=1e-5)
    assert torch.allclose(ours.distillation_logits, theirs.distillation_logits, atol=1e-5)


@pytest.mark.parametrize("pooler", [True, False])
def test_transformers_model_without_a_head(tmp_path: Path, pooler: bool) -> None:
    from transformers import DeiTConfig, DeiTModel

    from tests.parity.cases_deit import HUGGING

    values = {key: value for key, value in HUGGING.items() if key != "id2label"}
    model = randomise(DeiTModel(DeiTConfig(**values), add_pooling_layer=pooler))
    model.save_pretrained(tmp_path / "theirs")
    checkpoint = read_any(tmp_path / "theirs")
    assert (checkpoint.classes, "pooler.dense.bias" in checkpoint.lineage.get("unused", [])) == ((), pooler)

    def forward(images: torch.Tensor) -> torch.Tensor:
        native = tuple(images.shape[-2:]) == (32, 32)
        return model(images, interpolate_pos_encoding=not native).last_hidden_state[:, 0]

    agree(checkpoint.model, model, forward, SIZES)
    round_trip(checkpoint, tmp_path / "back", "transformers")
    model = DeiTModel.from_pretrained(tmp_path / "back", add_pooling_layer=False).eval()
    agree(checkpoint.model, model, forward, SIZES)


@pytest.mark.parametrize("told", [None, "deit_tiny_distilled_patch16_224.fb_in1k"])
def test_a_published_file_has_timms_names(tmp_path: Path, told: str | None) -> None:
    twin = timm_deit(tmp_path / "twin", embed_dim=192, num_heads=3)
    torch.save({"model": twin.model.state_dict()}, tmp_path / "deit.pth")
    checkpoint = read_any(tmp_path / "deit.pth", told)
    agree(checkpoint.model, twin.model, twin.forward, SIZES)
    prepare = checkpoint.preprocess
    assert (prepare.shorter, prepare.interpolation, prepare.mean[0]) == (36, "bicubic", 0.485)
    assumed = ["preprocessing", "class names", *([] if told else ["activation"])]
    assert checkpoint.lineage["assumed"] == assumed
    assert inspect(tmp_path / "deit.pth").problem is None


def test_a_name_of_the_catalog_tells_the_heads(tmp_path: Path) -> None:
    twin = timm_deit(tmp_path / "twin", depth=4, mlp_ratio=4, patch_size=4)
    save_file(twin.model.state_dict(), tmp_path / "weights")
    with pytest.raises(CheckpointError, match="number of heads of width 64 is not in the file"):
        read_any(tmp_path / "weights")
    checkpoint = read_any(tmp_path / "weights", "deit_tiny")
    assert family_of(checkpoint.model.config) == "deit"
    agree(checkpoint.model, twin.model, twin.forward, SIZES)


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("deit_ti_16", r"wanted 192x3x16x16, found 64x3x8x8"),
        ("vit_tiny", "holds a model of family 'deit', but vit_tiny is"),
        ("deit_tiny_patch16_224", "is not a distilled DeiT of timm"),
        ("deit_tony", "deit_tony"),
    ],
)
def test_names_that_do_not_fit_are_errors(tmp_path: Path, told: str, reason: str) -> None:
    twin = timm_deit(tmp_path / "twin")
    save_file(twin.model.state_dict(), tmp_path / "weights")
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_any(tmp_path / "weights", told)
    assert "\n" not in str(caught.value)


def test_a_deit_without_distillation_is_a_plain_vit(tmp_path: Path) -> None:
    import timm
    from timm.models import save_for_hf

    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 192, "depth": 2, "num_heads": 3, "num_classes": 5}
    model = timm.create_model("deit_tiny_patch16_224", dynamic_img_size=True, **sizes)
    save_for_hf(randomise(model), str(tmp_path / "directory"), safe_serialization=True)
    torch.save({"model": model.state_dict()}, tmp_path / "deit.pth")
    for source, told in (("directory", None), ("deit.pth", None), ("deit.pth", "deit_tiny_patch16_224")):
        checkpoint = read_any(tmp_path / source, told)
        assert family_of(checkpoint.model.config) == "vit"
        agree(checkpoint.model, model, model, SIZES)
        model.float()
    with pytest.raises(CheckpointError, match="'deit_tiny_distilled_patch16_224' is not a plain ViT"):
        read_any(tmp_path / "deit.pth", "deit_tiny_distilled_patch16_224")


def test_a_published_deit_iii_scales_its_layers(tmp_path: Path) -> None:
    twin = timm_twin(tmp_path / "twin", embed_dim=192, num_heads=3, init_values=1e-4, no_embed_class=True)
    state = {
        key.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2"): value
        for key, value in twin.model.state_dict().items()
    }
    torch.save({"model": state}, tmp_path / "deit3.pth")
    for told in (None, "deit3_small_patch16_224"):
        checkpoint = read_any(tmp_path / "deit3.pth", told)
        lineage = checkpoint.lineage
        assert (lineage["layout"], lineage["family"]) == ("facebookresearch", "deit3")
        agree(checkpoint.model, twin.model, twin.forward, SIZES)
        twin.model.float()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"pre_norm": True}, "a norm ahead of the blocks"),
        ({"qk_norm": True}, "a norm of queries and keys"),
        ({"act_layer": "relu"}, "act_layer 'relu' is not known"),
        ({"norm_layer": "rmsnorm"}, "norm_layer 'rmsnorm' is not read"),
    ],
)
def test_timm_parts_that_are_refused(tmp_path: Path, arguments: dict[str, Any], reason: str) -> None:
    timm_deit(tmp_path, **arguments)
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_any(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"hidden_act": "relu"}, "hidden_act 'relu' is not known"),
        ({"model_type": "vit"}, "tensors of a DeiT, but model_type 'vit'"),
        ({"num_attention_heads": 5}, "cannot be shared by 5 heads"),
        ({"image_size": 48}, "does not fit 18 positions"),
        ({"patch_size": 16}, "patch_size 16x16"),
        ({"num_hidden_layers": 3}, r"missing: deit\.encoder\.layer\.2\.layernorm_before"),
        ({"num_hidden_layers": 10**9}, "1000000000 blocks"),
        ({"image_size": [16, 64]}, "a grid of 2x8 patches is not read"),
        ({"intermediate_size": 97}, "wanted 97x64, found 96x64"),
    ],
)
def test_transformers_values_that_are_refused(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    transformers_deit(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_any(tmp_path)
    assert "\n" not in str(caught.value)


def test_transformers_masked_images_are_refused_by_name(tmp_path: Path) -> None:
    transformers_deit(tmp_path, kind="DeiTForMaskedImageModeling")
    with pytest.raises(CheckpointError, match="DeiTForMaskedImageModeling is not read"):
        read_any(tmp_path)


@pytest.mark.parametrize("layout", ["timm", "transformers"])
def test_a_head_that_is_missing_or_left_over_is_an_error(tmp_path: Path, layout: str) -> None:
    (timm_deit if layout == "timm" else transformers_deit)(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    head = "head_dist" if layout == "timm" else "distillation_classifier"
    kept = {key: value for key, value in state.items() if not key.startswith(head)}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"two heads|missing: distillation_classifier"):
        read_any(tmp_path)
    save_file({**state, "surprise": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="does not explain: surprise"):
        read_any(tmp_path)


def made(**options: Any) -> Checkpoint:
    """A tiny DeiT of ours with a random value in every tensor."""
    values = {"depth": 2, "patch": 8, **options}
    size, channels = values.pop("image_size", (32, 32)), values.pop("channels", 3)
    classes = values.pop("classes", 5)
    temperature = values.pop("temperature", 1.0)
    config = catalog.configure(
        "deit_tiny", classes=classes, image_size=size, channels=channels, options=values
    )
    model = randomise(catalog.build(config))
    prepare = Preprocess(size=size, shorter=None, mean=(0.4,) * channels, std=(0.3,) * channels)
    return Checkpoint(model, prepare, WORDS[:classes], temperature)


OURS: dict[str, dict[str, Any]] = {
    "plain": {},
    "gelu_tanh": {"activation": "gelu_tanh"},
    "LayerScale": {"layer_scale": 0.1},
    "sincos2d": {"positions": "sincos2d"},
    "no positions": {"positions": "none"},
    "tokens without positions": {"class_position": False},
    "one channel": {"channels": 1},
    "not square": {"image_size": (24, 40)},
    "fitted temperature": {"temperature": 1.7},
}


@pytest.mark.parametrize("variant", OURS)
@pytest.mark.parametrize("layout", ["timm", "transformers"])
def test_what_we_train_is_written_exactly(tmp_path: Path, layout: str, variant: str) -> None:
    checkpoint = made(**OURS[variant], position_resize="antialias" if layout == "timm" else "plain")
    write_any(tmp_path, checkpoint, layout)
    model, forward = (from_timm if layout == "timm" else with_teacher)(tmp_path)
    native = variant in ("sincos2d", "not square")
    for dtype, bound in BOUND.items():
        if variant in ("fitted temperature", "LayerScale"):
            bound = max(bound, 1e-6)  # a product was rounded to the float32 of the file
        ours = checkpoint.model.to(dtype)
        model.to(dtype)
        for size in (ours.config.image_size, *(() if native else SIZES)):
            images = pictures(size, ours.config.channels).to(dtype)
            with torch.no_grad():
                mine, theirs = ours(images).logits / checkpoint.temperature, forward(images)
            assert (mine - theirs).abs().max() < bound * theirs.abs().max(), (dtype, size)


@pytest.mark.parametrize(
    ("layout", "options", "reason"),
    [
        ("timm", {"norm_eps": 1e-12}, "norm epsilon is 1e-12"),
        ("timm", {"registers": 2}, "2 register tokens"),
        ("timm", {"attention": "relative"}, "its attention is relative"),
        ("timm", {"stem": "conv"}, "convolutional stem"),
        ("timm", {"image_size": (30, 30)}, "no multiple of patch"),
        ("transformers", {"registers": 2}, "2 register tokens"),
        ("transformers", {"attention": "rotary"}, "its attention is rotary"),
        ("transformers", {"mlp": "swiglu"}, "its MLP is gated"),
        ("transformers", {"classes": 0}, "it has no heads"),
        ("transformers", {"final_norm": False}, "it has no norm at its end"),
        ("transformers", {"image_size": (30, 30)}, "no multiple of patch"),
        ("torchvision", {}, "torchvision has no class for a model of family 'deit'"),
    ],
)
def test_what_they_cannot_hold_is_refused(
    tmp_path: Path, layout: str, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(CheckpointError, match=reason):
        write_any(tmp_path / "there", made(**options), layout)
    assert not any(tmp_path.iterdir())


def test_one_head_becomes_two_in_timm(tmp_path: Path) -> None:
    transformers_deit(tmp_path / "one", kind="DeiTForImageClassification", layer_norm_eps=1e-6)
    checkpoint = read_any(tmp_path / "one")
    write_any(tmp_path / "two", checkpoint, "timm")
    _, forward = from_timm(tmp_path / "two")
    images = pictures((32, 32)).float()
    assert difference(checkpoint.model, forward, images).relative < 1e-4
    again = read_any(tmp_path / "two")
    assert family_of(again.model.config) == "deit"
    with torch.no_grad():
        assert torch.equal(again.model(images).logits, checkpoint.model(images).logits)
    for layout in ("torchvision", "timm"):
        with pytest.raises(CheckpointError, match="distillation token"):
            write_any(tmp_path / "no", replace_classes(checkpoint), layout)


def replace_classes(checkpoint: Checkpoint) -> Checkpoint:
    """The same backbone without a head."""
    config = replace(checkpoint.model.config, classes=0)
    model = catalog.build(config)
    kept = {key: value for key, value in checkpoint.model.state_dict().items() if "head" not in key}
    model.load_state_dict(kept)
    return Checkpoint(model.eval(), checkpoint.preprocess, ())


PROCESSORS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "published": {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
    "bilinear, half a pixel over": {"size": 231, "crop_size": 224, "resample": 2},
    "not square": {"size": {"height": 120, "width": 161}, "crop_size": {"height": 97, "width": 130}},
    "no crop": {"do_center_crop": False, "size": 64},
    "crop of all": {"size": 64, "crop_size": 64},
    "the shorter side": {"size": {"shortest_edge": 100}, "crop_size": 90},
    "no normalisation": {"do_normalize": False},
}


@pytest.mark.parametrize("variant", PROCESSORS)
@pytest.mark.parametrize("kept", ["all", "changed"])
def test_pictures_are_prepared_as_by_its_processor(tmp_path: Path, variant: str, kept: str) -> None:
    from transformers import AutoImageProcessor
    from transformers.models.deit.image_processing_pil_deit import DeiTImageProcessorPil

    theirs = DeiTImageProcessorPil(**PROCESSORS[variant])
    theirs.save_pretrained(tmp_path)
    path = tmp_path / "preprocessor_config.json"
    values = json.loads(path.read_text())
    if kept == "changed":  # what a file leaves out is the processor's own
        changed = {key: values[key] for key in (*PROCESSORS[variant], "image_processor_type")}
        path.write_text(json.dumps(changed))
        values = changed
    config = catalog.configure("deit_ti_16")
    ours = read_processor(values, config, "file")
    assert read_processor(write_processor(ours), config, "file") == ours
    (tmp_path / "back").mkdir()
    (tmp_path / "back/preprocessor_config.json").write_text(json.dumps(write_processor(ours)))
    back = AutoImageProcessor.from_pretrained(tmp_path / "back", backend="pil")
    for photograph in photographs():
        mine = ours(photograph.picture).image
        for processor in (theirs, back):
            pixels = pixel_values(processor, photograph.picture)
            levels = (mine - pixels).abs() * torch.tensor(ours.std)[:, None, None]
            assert levels.max() < 1 / 255, photograph.name


def pixel_values(processor: Any, picture: Image.Image) -> torch.Tensor:
    """What an image processor makes of a picture, (C, h, w)."""
    return processor(picture, return_tensors="pt")["pixel_values"][0]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"size": 200, "crop_size": 224}, "crop_size 224x224 is larger than size 200x200"),
        ({"do_resize": False}, "do_resize is false"),
        ({"size": {"longest_edge": 3}}, "size: wanted"),
        ({"image_processor_type": "DeeTImageProcessor"}, "'DeeTImageProcessor' is not known"),
    ],
)
def test_processors_that_are_refused(values: dict[str, Any], reason: str) -> None:
    config = catalog.configure("deit_ti_16")
    with pytest.raises(CheckpointError, match=reason):
        read_processor({"image_processor_type": "DeiTImageProcessor"} | values, config, "file")


@pytest.mark.parametrize("crop", [0.9, 0.875, 0.95, 1.0])
@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
def test_a_squashed_crop_of_timm(tmp_path: Path, size: tuple[int, int], crop: float) -> None:
    import timm
    from timm.models import save_for_hf

    twin = timm_deit(tmp_path / "twin", img_size=size)
    data = {"crop_mode": "squash", "crop_pct": crop, "input_size": (3, *size)}
    save_for_hf(twin.model, str(tmp_path / "theirs"), safe_serialization=True, data_config=data)
    checkpoint = read_any(tmp_path / "theirs")
    write_any(tmp_path / "back", checkpoint, "timm")
    assert read_any(tmp_path / "back").preprocess == checkpoint.preprocess
    for source in ("theirs", "back"):
        model = timm.create_model(f"local-dir:{tmp_path / source}", pretrained=True)
        transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
        for photograph in photographs():
            mine = checkpoint.preprocess(photograph.picture).image
            assert torch.equal(mine, transform(photograph.picture)), photograph.name


def test_a_crop_between_pixels_is_not_moved_silently(tmp_path: Path) -> None:
    checkpoint = made()
    for rounding, layout in (("even", "transformers"), ("down", "timm")):
        prepare = Preprocess(size=(32, 32), shorter=None, squashed=(35, 35), crop_rounding=rounding)
        with pytest.raises(CheckpointError, match="cannot hold this preprocessing"):
            write_any(tmp_path / "there", replace(checkpoint, preprocess=prepare), layout)
    apart = Preprocess(size=(32, 32), shorter=None, squashed=(36, 50))
    with pytest.raises(CheckpointError, match="squashing to 36x50"):
        write_any(tmp_path / "there", replace(checkpoint, preprocess=apart), "timm")
