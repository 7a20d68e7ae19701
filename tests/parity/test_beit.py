"""BEiT: options of its makers, files that say little, masked pretraining, other ways of writing it, and its
processor."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.checkpoints.make import same
from tests.parity.cases_beit import (
    authors_file,
    back_to_masked,
    back_to_timm,
    back_to_transformers,
    hidden,
    masked_forward,
    microsoft_beit,
    timm_beit,
    timm_forward,
    transformers_beit,
    transformers_masked,
    with_hidden,
)
from tests.parity.cases_deit import HUGGING
from tests.parity.test_deit import agree, pixel_values, round_trip
from tests.parity.twins import BOUND, difference, pictures, randomise
from vitreous.checkpoints.adapt import adapt
from vitreous.checkpoints.destination import write_any
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.transformers.processor import read_processor, write_processor
from vitreous.checkpoints.passport import inspect
from vitreous.checkpoints.source import read_any
from vitreous.checkpoints.weights import load_weights
from vitreous.data.photographs import photographs
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError
from vitreous.models import catalog
from vitreous.models.config import family_of

pytest.importorskip("timm")
pytest.importorskip("transformers")

WHOLE = ((48, 48), (24, 56))  # multiples of the patch: our own models pad the others
SIZES = (*WHOLE, (45, 38))
WORDS = ("ant", "bee", "cat", "dog", "eel")
RELATIVE = {"use_rel_pos_bias": True, "use_abs_pos_emb": False}
TIMM: dict[str, dict[str, Any]] = {
    "positions too": {"use_abs_pos_emb": True},
    "positions alone": {"use_abs_pos_emb": True, "use_rel_pos_bias": False},
    "one table for all": {"use_rel_pos_bias": False, "use_shared_rel_pos_bias": True},
    "no positions": {"use_rel_pos_bias": False},
    "no LayerScale": {"init_values": None},
    "class token": {"global_pool": "token"},
    "class token, norm after it": {"global_pool": "token", "use_fc_norm": True},
    "mean, norm ahead of it": {"use_fc_norm": False},
    "no bias of queries": {"qkv_bias": False},
    "gated": {"swiglu_mlp": True},
    "one channel": {"in_chans": 1},
    "another MLP": {"mlp_ratio": 2.7},
    "odd width": {"embed_dim": 60, "num_heads": 5},
    "not square": {"img_size": (24, 40)},
    "not square, positions too": {"img_size": (24, 40), "use_abs_pos_emb": True},
    "edges cut off": {"img_size": (35, 30)},
    "no head": {"num_classes": 0},
    "v2": {"name": "beitv2_base_patch16_224"},
    "large": {"name": "beit_large_patch16_384"},
}


@pytest.mark.parametrize("variant", TIMM)
def test_timm_options(tmp_path: Path, variant: str) -> None:
    twin = timm_beit(tmp_path / "theirs", **TIMM[variant])
    checkpoint = read_any(tmp_path / "theirs")
    assert family_of(checkpoint.model.config) == "beit"
    agree(checkpoint.model, twin.model, twin.forward, SIZES)
    round_trip(checkpoint, tmp_path / "back", "timm")
    agree(checkpoint.model, *back_to_timm(tmp_path / "back"), SIZES)


def test_timm_without_pooling_and_head_hands_out_its_class_token(tmp_path: Path) -> None:
    twin = timm_beit(tmp_path, num_classes=0, global_pool="")
    agree(read_any(tmp_path).model, twin.model, lambda images: twin.forward(images)[:, 0], SIZES)


TRANSFORMERS: dict[str, dict[str, Any]] = {
    "one table for all": {
        "use_relative_position_bias": False,
        "use_shared_relative_position_bias": True,
    },
    "no relative positions": {"use_relative_position_bias": False},
    "positions too": {"use_absolute_position_embeddings": True},
    "positions alone": {"use_absolute_position_embeddings": True, "use_relative_position_bias": False},
    "no LayerScale": {"layer_scale_init_value": 0.0},
    "class token": {"use_mean_pooling": False},
    "a mask token that it does not need": {"use_mask_token": True},
    "epsilon": {"layer_norm_eps": 1e-3},
    "one channel": {"num_channels": 1},
    "gelu_new": {"hidden_act": "gelu_new"},
    "gelu_pytorch_tanh": {"hidden_act": "gelu_pytorch_tanh"},
    "quick_gelu": {"hidden_act": "quick_gelu"},
    "odd width": {"hidden_size": 60, "num_attention_heads": 5},
    "not square": {"image_size": [24, 40]},
    "not square, one table for all": {
        "image_size": [40, 16],
        "use_relative_position_bias": False,
        "use_shared_relative_position_bias": True,
    },
    "edges cut off": {"image_size": 35},
}
DATA2VEC = {"kind": "Data2VecVisionForImageClassification", "config": "Data2VecVisionConfig"}


@pytest.mark.parametrize("variant", TRANSFORMERS)
@pytest.mark.parametrize("family", ["beit", "data2vec-vision"])
def test_transformers_options(tmp_path: Path, variant: str, family: str) -> None:
    arguments = TRANSFORMERS[variant]
    twin = transformers_beit(tmp_path / "theirs", **arguments, **(DATA2VEC if family != "beit" else {}))
    if arguments.get("num_channels") == 1:
        path = tmp_path / "theirs/preprocessor_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"image_mean": [0.5], "image_std": [0.5]}))
    checkpoint = read_any(tmp_path / "theirs")
    assert checkpoint.lineage["family"] == family
    size = arguments.get("image_size", 32)
    assert checkpoint.model.config.image_size == (tuple(size) if isinstance(size, list) else (size, size))
    agree(checkpoint.model, twin.model, twin.forward, (*SIZES, (40, 24)))
    round_trip(checkpoint, tmp_path / "back", "transformers")
    agree(checkpoint.model, *back_to_transformers(tmp_path / "back"), (*SIZES, (40, 24)))


def test_being_told_to_interpolate_positions_changes_nothing(tmp_path: Path) -> None:
    """The library then resizes what it adds to the scores once more, to the size that it has."""
    flags = {"use_absolute_position_embeddings": True, "use_shared_relative_position_bias": True}
    twin = transformers_beit(tmp_path, **flags)
    model = read_any(tmp_path).model
    for size in ((32, 32), *SIZES):
        told = lambda images: twin.model(images, interpolate_pos_encoding=True).logits  # noqa: E731
        assert difference(model, told, pictures(size).float()).relative < 1e-4


@pytest.mark.parametrize("layout", ["timm", "transformers"])
def test_a_table_for_all_beside_one_for_each_block_is_added(tmp_path: Path, layout: str) -> None:
    """In the precision of the file: here float64, in which the library adds as well."""
    if layout == "timm":
        from timm.models import save_for_hf

        twin = timm_beit(tmp_path, use_shared_rel_pos_bias=True)
        save_for_hf(twin.model.double(), str(tmp_path), safe_serialization=True)
    else:
        twin = transformers_beit(tmp_path, use_shared_relative_position_bias=True, double=True)
    for dtype, bound in BOUND.items():
        ours = read_any(tmp_path, dtype=dtype).model
        twin.model.to(dtype)
        for size in ((32, 32), *(SIZES if layout == "transformers" else ())):
            assert difference(ours, twin.forward, pictures(size).to(dtype)).relative < bound


def test_the_table_for_all_is_copied_not_shared(tmp_path: Path) -> None:
    timm_beit(tmp_path, **TIMM["one table for all"])
    model = read_any(tmp_path).model
    tables = [block.attention.bias.table for block in model.backbone.encoder.blocks]
    assert torch.equal(tables[0], tables[1])
    assert tables[0].data_ptr() != tables[1].data_ptr()


@pytest.mark.parametrize("mean", [True, False])
@pytest.mark.parametrize("pooler", [True, False])
def test_transformers_model_without_a_head(tmp_path: Path, mean: bool, pooler: bool) -> None:
    from transformers import BeitConfig, BeitModel

    values = {key: value for key, value in HUGGING.items() if key != "id2label"}
    config = BeitConfig(**values, use_relative_position_bias=True, use_mean_pooling=mean)
    model = randomise(BeitModel(config, add_pooling_layer=pooler))
    model.save_pretrained(tmp_path / "theirs")
    checkpoint = read_any(tmp_path / "theirs")
    assert checkpoint.classes == ()

    def tokens(images: Tensor) -> Tensor:
        states = model(images).last_hidden_state
        return states[:, 1:].mean(1) if mean else states[:, 0]

    def pooled(images: Tensor) -> Tensor:
        return model(images).pooler_output

    agree(checkpoint.model, model, pooled if pooler else tokens, SIZES)
    if mean and not pooler:
        with pytest.raises(CheckpointError, match="it has no norm at its end"):
            write_any(tmp_path / "back", checkpoint, "transformers")
        return
    round_trip(checkpoint, tmp_path / "back", "transformers")
    model = BeitModel.from_pretrained(tmp_path / "back").eval()
    agree(checkpoint.model, model, pooled, SIZES)


def test_transformers_backbone_without_a_head(tmp_path: Path) -> None:
    from transformers import BeitBackbone, BeitConfig

    values = {key: value for key, value in HUGGING.items() if key != "id2label"}
    flags = {"use_shared_relative_position_bias": True, "out_indices": [2]}
    model = randomise(BeitBackbone(BeitConfig(**values, **flags)))
    model.save_pretrained(tmp_path)
    ours = read_any(tmp_path).model
    images = pictures((48, 40)).float()
    with torch.no_grad():
        grid, expected = ours.backbone(images).maps[0], model(images).feature_maps[0]
    assert (grid - expected).abs().max() < 1e-4 * expected.abs().max()


MASKED: dict[str, dict[str, Any]] = {
    "a table for each block": {
        "use_relative_position_bias": True,
        "use_shared_relative_position_bias": False,
    },
    "positions too": {"use_absolute_position_embeddings": True},
    "no relative positions": {"use_shared_relative_position_bias": False},
    "two norms": {"use_mean_pooling": False},
    "no LayerScale": {"layer_scale_init_value": 0.0},
    "not square": {"image_size": [24, 40]},
    "epsilon": {"layer_norm_eps": 1e-3},
}


def agree_masked(model: nn.Module, reference: nn.Module, sizes: tuple[tuple[int, int], ...] = SIZES) -> None:
    """Both types and several sizes, with half of the patches hidden and with none."""
    for dtype, bound in BOUND.items():
        model.to(dtype)
        reference.to(dtype)
        for size in (model.config.image_size, *sizes):
            images = pictures(size).to(dtype)
            with torch.no_grad():
                pairs = (
                    (with_hidden(model, images), masked_forward(reference)(images)),
                    (model(images).logits, reference(images).logits),
                )
            for mine, theirs in pairs:
                assert (mine - theirs).abs().max() < bound * theirs.abs().max(), (dtype, size)


@pytest.mark.parametrize("variant", MASKED)
def test_masked_pretraining(tmp_path: Path, variant: str) -> None:
    twin = transformers_masked(tmp_path / "theirs", **MASKED[variant])
    checkpoint = read_any(tmp_path / "theirs")
    config = checkpoint.model.config
    assert (family_of(config), config.visual_tokens) == ("beit_masked", 40)
    agree_masked(checkpoint.model, twin.model)
    if variant == "two norms":  # which the library mixes up when it loads what it saved itself
        with pytest.raises(CheckpointError, match="takes for one another"):
            write_any(tmp_path / "there", checkpoint, "transformers")
    else:
        round_trip(checkpoint, tmp_path / "back", "transformers")
        agree_masked(checkpoint.model, back_to_masked(tmp_path / "back")[0])
    with pytest.raises(CheckpointError, match="timm has no class for a model of family 'beit_masked'"):
        write_any(tmp_path / "there", checkpoint, "timm")


def test_a_masked_model_without_a_mask_token_says_so(tmp_path: Path) -> None:
    twin = transformers_masked(tmp_path, use_mask_token=False)
    checkpoint = read_any(tmp_path)
    assert "mask token" in checkpoint.lineage["assumed"]
    images = pictures((32, 32)).float()
    with torch.no_grad():
        assert torch.allclose(checkpoint.model(images).logits, twin.model(images).logits, atol=1e-4)


@pytest.mark.parametrize("told", [None, "beit_base_patch16_224", "beitv2_base_patch16_224"])
def test_a_bare_file_of_timm(tmp_path: Path, told: str | None) -> None:
    twin = timm_beit(tmp_path / "twin")
    save_file(twin.model.state_dict(), tmp_path / "weights")
    checkpoint = read_any(tmp_path / "weights", told)  # the tables tell the heads
    agree(checkpoint.model, twin.model, twin.forward, SIZES)
    assert checkpoint.lineage["assumed"] == ["preprocessing", "class names"]
    assert checkpoint.preprocess.mean[0] == (0.485 if told and "v2" in told else 0.5)
    assert inspect(tmp_path / "weights", told).problem is None


def test_a_bare_file_without_relative_positions_wants_a_name(tmp_path: Path) -> None:
    twin = timm_beit(tmp_path / "twin", use_rel_pos_bias=False, use_abs_pos_emb=True, depth=4, patch_size=4)
    save_file(twin.model.state_dict(), tmp_path / "weights")
    with pytest.raises(CheckpointError, match="or an EVA, whose rotary positions leave no trace"):
        read_any(tmp_path / "weights")
    agree(read_any(tmp_path / "weights", "beit_tiny").model, twin.model, twin.forward, SIZES)


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("beit_b_16", r"wanted 768x3x16x16, found 64x3x8x8"),
        ("vit_tiny", "holds a model of family 'beit', but vit_tiny is"),
        ("deit_tiny_patch16_224", "is not a BEiT of timm"),
        ("beit_tiny_masked", "holds a model of family 'beit', but beit_tiny_masked is"),
    ],
)
def test_names_that_do_not_fit_are_errors(tmp_path: Path, told: str, reason: str) -> None:
    twin = timm_beit(tmp_path / "twin")
    save_file(twin.model.state_dict(), tmp_path / "weights")
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_any(tmp_path / "weights", told)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("told", [None, "beit_base_patch16_224"])
@pytest.mark.parametrize("pooling", ["avg", "token"])
def test_a_fine_tuned_file_of_the_authors(tmp_path: Path, pooling: str, told: str | None) -> None:
    twin = microsoft_beit(tmp_path / "beit", global_pool=pooling)
    checkpoint = read_any(twin.path, told)
    lineage = checkpoint.lineage
    assert (lineage["layout"], lineage["family"]) == ("microsoft", "beit")
    assert ("pooling" in lineage["assumed"]) == (pooling == "token")
    assert len(lineage["unused"]) == 2 and lineage["unused"][0].endswith("relative_position_index")
    agree(checkpoint.model, twin.model, twin.forward, SIZES)
    prepare = checkpoint.preprocess
    assert (prepare.shorter, prepare.mean, prepare.interpolation) == (36, (0.5,) * 3, "bicubic")
    assert inspect(twin.path, told).problem is None


def test_a_file_of_the_authors_for_another_grid_is_refused(tmp_path: Path) -> None:
    """A row of five patches has as many offsets as a square of four."""
    twin = microsoft_beit(tmp_path / "beit", img_size=(8, 40))
    state = torch.load(twin.path)["model"]
    for key in [key for key in state if key.endswith("relative_position_index")]:
        state[key] = torch.zeros(6, 6, dtype=torch.long)
    torch.save({"model": state}, tmp_path / "row.pth")
    with pytest.raises(CheckpointError, match="6x6, but a grid of 2x2 patches wants 5x5"):
        read_any(tmp_path / "row.pth")


def authors_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of transformers' masked BEiT under the names of the authors' code."""
    renamed: dict[str, Tensor] = {}
    table = {
        "embeddings.cls_token": "cls_token",
        "embeddings.mask_token": "mask_token",
        "embeddings.position_embeddings": "pos_embed",
        "embeddings.patch_embeddings.projection": "patch_embed.proj",
        "encoder.relative_position_bias.": "rel_pos_bias.",
        "attention.attention.relative_position_bias.": "attn.",
        "attention.attention.query.bias": "attn.q_bias",
        "attention.attention.value.bias": "attn.v_bias",
        "attention.output.dense": "attn.proj",
        "intermediate.dense": "mlp.fc1",
        "output.dense": "mlp.fc2",
        "layernorm_before": "norm1",
        "layernorm_after": "norm2",
        "lambda_": "gamma_",
    }
    for key, value in state.items():
        name = re.sub(r"^encoder\.layer\.", "blocks.", key.removeprefix("beit."))
        for theirs, authors in table.items():
            name = name.replace(theirs, authors)
        renamed[name.replace("layernorm", "norm")] = value
    for name in [name for name in renamed if name.endswith("attention.attention.query.weight")]:
        parts = [renamed.pop(name.replace("query", part)) for part in ("query", "key", "value")]
        renamed[name.replace("attention.attention.query", "attn.qkv")] = torch.cat(parts)
    return renamed


@pytest.mark.parametrize("extra", [False, True])
@pytest.mark.parametrize("entry", ["model", "module"])
def test_a_pretrained_file_of_the_authors(tmp_path: Path, entry: str, extra: bool) -> None:
    twin = transformers_masked(
        tmp_path / "theirs", layer_norm_eps=1e-6, use_absolute_position_embeddings=extra
    )
    state = authors_names(load_file(tmp_path / "theirs/model.safetensors"))
    if extra:  # BEiT v2 hangs more blocks and a head of their own on the class token
        state |= {f"cls_pt_layers.0.{key[9:]}": value for key, value in state.items() if "blocks.0." in key}
    authors_file(state, tmp_path / "beit.pth")
    if entry == "module":
        torch.save({"module": torch.load(tmp_path / "beit.pth")["model"]}, tmp_path / "beit.pth")
    checkpoint = read_any(tmp_path / "beit.pth")
    assert checkpoint.lineage["layout"] == "microsoft"
    assert any(key.startswith("cls_pt_") for key in checkpoint.lineage["unused"]) == extra
    twin.model.to(torch.float32)
    for dtype, bound in BOUND.items():
        ours = checkpoint.model.to(dtype)
        images = pictures((32, 32)).to(dtype)
        with torch.no_grad():
            mine, theirs = with_hidden(ours, images), masked_forward(twin.model.to(dtype))(images)
        assert (mine - theirs).abs().max() < bound * theirs.abs().max()
    assert inspect(tmp_path / "beit.pth").problem is None
    with pytest.raises(CheckpointError, match="of family 'beit_masked', but beit_tiny is"):
        read_any(tmp_path / "beit.pth", "beit_tiny")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"scale_mlp": True}, "a norm inside the MLP"),
        ({"global_pool": "", "use_fc_norm": False}, "global_pool '' is not read"),
    ],
)
def test_timm_parts_that_are_refused(tmp_path: Path, arguments: dict[str, Any], reason: str) -> None:
    timm_beit(tmp_path, **arguments)
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_any(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"act_layer": "relu"}, "act_layer 'relu' is not a part of BEiT"),
        ({"norm_layer": "rmsnorm"}, "norm_layer 'rmsnorm' is not read"),
        ({"attn_head_dim": 8}, "attn_head_dim 8 is not a part of BEiT"),
        ({"global_pool": "max"}, "global_pool 'max' is not read"),
    ],
)
def test_timm_values_that_are_refused(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    timm_beit(tmp_path)
    path = tmp_path / "config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"model_args": values["model_args"] | change}))
    with pytest.raises(CheckpointError, match=reason):
        read_any(tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"hidden_act": "relu"}, "hidden_act 'relu' is not known"),
        ({"model_type": "vit"}, "tensors of a BEiT, but model_type 'vit'"),
        ({"num_attention_heads": 5}, "cannot be shared by 5 heads"),
        ({"num_attention_heads": 2}, r"bias_table \(wanted 52x2, found 52x4\)"),
        ({"image_size": 48}, r"bias_table \(wanted 124x4, found 52x4\)"),
        ({"patch_size": 16}, "patch_size 16x16"),
        ({"num_hidden_layers": 3}, r"missing: beit\.encoder\.layer\.2\.layernorm_before"),
        ({"num_hidden_layers": 10**9}, "1000000000 blocks"),
        ({"use_relative_position_bias": False}, "use_relative_position_bias is False, but"),
        ({"use_shared_relative_position_bias": True}, "use_shared_relative_position_bias is True, but"),
        ({"use_absolute_position_embeddings": True}, "use_absolute_position_embeddings is True, but"),
        ({"use_mean_pooling": False}, r"missing: beit\.layernorm\.weight"),
        ({"use_mean_pooling": "yes"}, "use_mean_pooling: wanted true or false"),
        ({"layer_scale_init_value": 0}, "unexpected: "),
        ({"intermediate_size": 97}, "wanted 97x64, found 96x64"),
    ],
)
def test_transformers_values_that_are_refused(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    transformers_beit(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_any(tmp_path)
    assert "\n" not in str(caught.value)


def test_transformers_positions_on_a_grid_that_is_not_square_are_refused(tmp_path: Path) -> None:
    transformers_beit(tmp_path, image_size=[16, 64], use_absolute_position_embeddings=True)
    with pytest.raises(CheckpointError, match="takes every such grid for a square one"):
        read_any(tmp_path)


def test_a_backbone_with_a_pyramid_is_refused_by_name(tmp_path: Path) -> None:
    from transformers import BeitBackbone, BeitConfig

    values = {**HUGGING, "num_hidden_layers": 4, "out_indices": [1, 2, 3, 4], "add_fpn": True}
    BeitBackbone(BeitConfig(**values)).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"a pyramid or a segmentation head \(fpn1") as caught:
        read_any(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_segmentation_of_data2vec_is_refused_by_name(tmp_path: Path) -> None:
    from transformers import Data2VecVisionConfig, Data2VecVisionForSemanticSegmentation

    values = {**HUGGING, "num_hidden_layers": 4, "out_indices": [1, 2, 3, 4]}
    Data2VecVisionForSemanticSegmentation(Data2VecVisionConfig(**values)).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"UPerNet|segmentation") as caught:
        read_any(tmp_path)
    assert "\n" not in str(caught.value)


def made(name: str = "beit_tiny", **options: Any) -> Checkpoint:
    """A tiny BEiT of ours with a random value in every tensor."""
    values = {"depth": 2, "patch": 8, **options}
    size, channels = values.pop("image_size", (32, 32)), values.pop("channels", 3)
    classes = values.pop("classes", 5)
    temperature = values.pop("temperature", 1.0)
    config = catalog.configure(name, classes=classes, image_size=size, channels=channels, options=values)
    model = randomise(catalog.build(config))
    prepare = Preprocess(size=size, shorter=None, mean=(0.4,) * channels, std=(0.3,) * channels)
    return Checkpoint(model, prepare, WORDS[: config.classes], temperature)


OURS: dict[str, dict[str, Any]] = {
    "plain": {},
    "gated": {"mlp": "swiglu"},
    "gelu_tanh": {"activation": "gelu_tanh"},
    "epsilon": {"norm_eps": 1e-12},
    "no LayerScale": {"layer_scale": None},
    "LayerScale from 0": {"layer_scale": 0.0},
    "sincos2d": {"positions": "sincos2d"},
    "learned positions": {"positions": "learned"},
    "class token": {"pool": "class", "pool_norm": False, "final_norm": True},
    "class token, norm after it": {"pool": "class"},
    "mean, norm ahead of it": {"pool_norm": False, "final_norm": True},
    "one channel": {"channels": 1},
    "not square": {"image_size": (24, 40)},
    "fitted temperature": {"temperature": 1.7},
    "no head": {"classes": 0},
}
REFUSED = {
    "timm": {"gelu_tanh": "its activation is gelu_tanh", "epsilon": "norm epsilon is 1e-12"},
    "transformers": {
        "gated": "its MLP is gated",
        "class token, norm after it": "norm stands after a mean",
        "mean, norm ahead of it": "norm stands after a mean",
    },
}


@pytest.mark.parametrize("variant", OURS)
@pytest.mark.parametrize("layout", ["timm", "transformers"])
def test_what_we_train_is_written_exactly(tmp_path: Path, layout: str, variant: str) -> None:
    methods = {
        "timm": {"bias_resize": "geometric", "position_resize": "antialias"},
        "transformers": {"bias_resize": "bilinear", "position_resize": "plain"},
    }
    checkpoint = made(**OURS[variant], **methods[layout])
    if variant in REFUSED[layout]:
        with pytest.raises(CheckpointError, match=REFUSED[layout][variant]):
            write_any(tmp_path / "there", checkpoint, layout)
        assert not any(tmp_path.iterdir())
        return
    write_any(tmp_path, checkpoint, layout)
    if layout == "timm":
        model, forward = back_to_timm(tmp_path)
    elif variant == "no head":
        from transformers import AutoModel

        model = AutoModel.from_pretrained(tmp_path).eval()
        forward = lambda images: model(images).pooler_output  # noqa: E731
    else:
        model, forward = back_to_transformers(tmp_path)
    for dtype, bound in BOUND.items():
        if variant == "fitted temperature":
            bound = max(bound, 1e-6)  # the quotient was rounded to the float32 of the file
        ours = checkpoint.model.to(dtype)
        model.to(dtype)
        sizes = () if variant == "sincos2d" else (*WHOLE, (40, 24))
        for size in (ours.config.image_size, *sizes):
            images = pictures(size, ours.config.channels).to(dtype)
            with torch.no_grad():
                mine, theirs = ours(images).logits / checkpoint.temperature, forward(images)
            assert (mine - theirs).abs().max() < bound * theirs.abs().max(), (dtype, size)


@pytest.mark.parametrize(
    ("layout", "options", "reason"),
    [
        ("timm", {"registers": 2}, "2 register tokens"),
        ("timm", {"pool": "class_mean"}, "pools class token and mean"),
        ("timm", {"head": "mlp"}, "a head of two layers"),
        ("timm", {"image_size": (30, 30)}, "no multiple of patch"),
        ("timm", {"pool_norm": False}, "it has no norm at its end"),
        ("transformers", {"registers": 2}, "2 register tokens"),
        ("transformers", {"class_token": False}, "it has no class token"),
        ("transformers", {"image_size": (24, 40), "positions": "learned"}, "a grid that is not square"),
        ("transformers", {"final_norm": True}, "ahead of pooling and after it"),
        ("torchvision", {}, "torchvision has no class for a model of family 'beit'"),
    ],
)
def test_what_they_cannot_hold_is_refused(
    tmp_path: Path, layout: str, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(CheckpointError, match=reason):
        write_any(tmp_path / "there", made(**options), layout)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("options", [{}, {"activation": "quick_gelu"}])
def test_a_masked_model_of_ours_is_written_exactly(tmp_path: Path, options: dict[str, Any]) -> None:
    checkpoint = made("beit_tiny_masked", **options)
    write_any(tmp_path, checkpoint, "transformers")
    agree_masked(checkpoint.model, back_to_masked(tmp_path)[0], WHOLE)
    checkpoint.model.float()
    again = read_any(tmp_path)
    images = pictures((32, 32)).float()
    with torch.no_grad():  # but for the bias of keys, which softmax cancels
        mine, back = with_hidden(checkpoint.model, images), with_hidden(again.model, images)
    assert torch.allclose(mine, back, atol=1e-4)


@pytest.mark.parametrize("layout", ["timm", "transformers"])
@pytest.mark.parametrize("method", ["bilinear", "bilinear_swapped", "bicubic", "geometric"])
def test_how_tables_are_resized_is_seen_by_the_comparison(tmp_path: Path, layout: str, method: str) -> None:
    """The negative control: the same tensors under another method miss the bound off the native size."""
    twin = timm_beit(tmp_path) if layout == "timm" else transformers_beit(tmp_path)
    model = read_any(tmp_path).model
    backbone = replace(model.config.backbone, bias_resize=method)
    other = load_weights(replace(model.config, backbone=backbone), model.state_dict(), "a test").double()
    twin.model.double()
    right = {"timm": ("geometric",), "transformers": ("bilinear", "bilinear_swapped")}[layout]
    found = difference(other, twin.forward, pictures((24, 56))).relative
    assert found < 1e-9 if method in right else found > 1e-4
    assert difference(other, twin.forward, pictures((32, 32))).relative < 1e-9


def test_a_native_size_that_is_not_square_swaps_the_sides_of_tables(tmp_path: Path) -> None:
    """The negative control for transformers: read in order, the tables miss the bound on the native size."""
    twin = transformers_beit(tmp_path, image_size=[24, 40])
    model = read_any(tmp_path).model
    assert model.config.backbone.bias_resize == "bilinear_swapped"
    backbone = replace(model.config.backbone, bias_resize="bilinear")
    other = load_weights(replace(model.config, backbone=backbone), model.state_dict(), "a test")
    twin.model.double()
    assert difference(other.double(), twin.forward, pictures((24, 40))).relative > 1e-3


def test_tables_with_swapped_sides_lie_in_order_after_a_change_of_size(tmp_path: Path) -> None:
    transformers_beit(tmp_path, image_size=[24, 40])
    checkpoint = read_any(tmp_path)
    for size in ((40, 24), (32, 48), (24, 48)):
        moved, notes = adapt(checkpoint, image_size=size)
        assert notes and moved.model.config.backbone.bias_resize == "bilinear"
        images = pictures(size).float()
        with torch.no_grad():
            before, after = checkpoint.model(images).logits, moved.model(images).logits
        assert (before - after).abs().max() < 1e-5 * before.abs().max(), size


PROCESSORS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "published": {"resample": 2},
    "crop": {"do_center_crop": True, "size": 256, "crop_size": 224},
    "crop of the default size": {"do_center_crop": True, "size": {"height": 300, "width": 240}},
    "not square": {"size": {"height": 97, "width": 161}},
    "ImageNet": {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
    "labels of a segmentation": {"do_reduce_labels": True, "size": 128},
}


@pytest.mark.parametrize("variant", PROCESSORS)
@pytest.mark.parametrize("kept", ["all", "changed"])
def test_pictures_are_prepared_as_by_its_processor(tmp_path: Path, variant: str, kept: str) -> None:
    from transformers import AutoImageProcessor
    from transformers.models.beit.image_processing_pil_beit import BeitImageProcessorPil

    theirs = BeitImageProcessorPil(**PROCESSORS[variant])
    theirs.save_pretrained(tmp_path)
    path = tmp_path / "preprocessor_config.json"
    values = json.loads(path.read_text())
    if kept == "changed":  # what a file leaves out is the processor's own
        values = {key: values[key] for key in (*PROCESSORS[variant], "image_processor_type")}
    config = catalog.configure("beit_b_16")
    ours = read_processor(values, config, "file")
    assert read_processor(write_processor(ours), config, "file") == ours
    path.write_text(json.dumps(write_processor(ours)))
    back = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    for photograph in photographs():
        mine = ours(photograph.picture).image
        for processor in (theirs, back):
            pixels = pixel_values(processor, photograph.picture)
            levels = (mine - pixels).abs() * torch.tensor(ours.std)[:, None, None]
            assert levels.max() < 1 / 255, photograph.name


def test_the_processor_of_an_old_file(tmp_path: Path) -> None:
    """As the first published files say it: another key for the kind, sides as one number."""
    values = {
        "crop_size": 224, "do_center_crop": False, "do_normalize": True, "do_resize": True,
        "feature_extractor_type": "BeitFeatureExtractor", "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5], "resample": 2, "size": 224,
    }  # fmt: skip
    found = read_processor(values, catalog.configure("beit_b_16"), "file")
    assert found == Preprocess(size=(224, 224), shorter=None, interpolation="bilinear")


def test_the_tensors_survive_another_library(tmp_path: Path) -> None:
    """timm to transformers and back: what both can say is bit for bit the same."""
    timm_beit(tmp_path / "theirs")
    checkpoint = read_any(tmp_path / "theirs")
    prepare = Preprocess(size=(32, 32), shorter=None)
    checkpoint = replace(checkpoint, preprocess=prepare)
    write_any(tmp_path / "there", checkpoint, "transformers")
    write_any(tmp_path / "back", read_any(tmp_path / "there"), "timm")
    again = read_any(tmp_path / "back")
    assert again.model.config == checkpoint.model.config
    assert same(again.model, checkpoint.model)
    assert timm_forward(back_to_timm(tmp_path / "back")[0])(pictures((32, 32)).float()).shape == (3, 5)
    assert hidden(pictures((32, 32))).any()
