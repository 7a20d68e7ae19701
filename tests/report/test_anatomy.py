from base64 import b64decode
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vitreous.explain.attention import READINGS, attention_map, reading, rollout
from vitreous.explain.recording import recording
from vitreous.explain.saliency import relevance
from vitreous.report import anatomy
from vitreous.report.anatomy import Blocks, dissect, pack, stage_picture

from .conftest import Make


def unpack(packed: dict[str, Any], *shape: int) -> np.ndarray:
    """What the page's script reads: byte / 255 * peak."""
    values = np.frombuffer(b64decode(packed["bytes"]), dtype=np.uint8).reshape(shape)
    peaks = np.frombuffer(b64decode(packed["peaks"]), dtype="<f4").reshape(shape[:-1])
    return values / 255 * peaks[..., None]


def test_packing_keeps_each_map_to_half_a_step() -> None:
    maps = torch.rand(3, 2, 10) * torch.tensor([1e-6, 1.0, 1e4])[:, None, None]
    back = unpack(pack(maps), 3, 2, 10)
    assert (np.abs(back - maps.numpy()) <= maps.amax(-1, keepdim=True).numpy() / 255).all()
    assert np.array_equal(unpack(pack(torch.zeros(1, 4)), 1, 4), np.zeros((1, 4)))


OPTIONS: list[dict[str, Any]] = [
    {},
    {"registers": 2},
    {"pool": "mean", "class_token": False},
    {"name": "deit_tiny", "registers": 1},
    {"name": "beit_tiny"},
    {"name": "dinov2_tiny", "registers": 4},
    {"name": "dinov3_tiny", "pool": "class_mean"},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_every_map_is_the_models_own(make_predictor: Make, cat: Image.Image, options: dict[str, Any]) -> None:
    predictor = make_predictor(**options)
    found = dissect(predictor, cat, top=3)
    data = found.data
    images = predictor.prepare(cat).image[None]
    with torch.inference_mode(), recording(predictor.model) as record:
        predictor.model(images)
    prefix, patches, pool = record.layout.prefix, 64, data["pool"]
    ahead = prefix + (pool != "class")
    assert (data["rows"], data["cols"], data["block"], len(data["prefix"])) == (8, 8, 1, ahead)
    assert data["prefix"][0] == READINGS[pool].name
    mean = unpack(data["mean"], 3, ahead + patches, patches)
    each = unpack(data["each"], 3, 4, ahead + patches, patches)
    reads = unpack(data["reads"], 12, patches).reshape(3, 4, 8, 8)
    shares = np.frombuffer(b64decode(data["mean"]["prefix"]), dtype=np.uint8).reshape(3, -1) / 255
    for layer in range(3):
        weights = record.weights(layer)[0].numpy()
        if pool != "class":
            weights = np.concatenate([reading(record.layout, pool)[None].numpy() @ weights, weights], axis=1)
            assert np.allclose(each[layer][:, 0], reads[layer].reshape(4, -1), atol=0.004)
        assert np.allclose(each[layer], weights[:, :, prefix:], atol=0.004)
        assert np.allclose(mean[layer], weights.mean(0)[:, prefix:], atol=0.004)
        assert np.allclose(shares[layer], weights.mean(0)[:, :prefix].sum(-1), atol=0.003)
        assert np.allclose(reads[layer], attention_map(record, layer, pool)[0], atol=0.004)
    assert np.allclose(unpack(data["rollout"], 1, patches)[0], rollout(record, pool)[0].flatten(), atol=1e-3)
    for row, target in zip(unpack(data["relevance"], 3, patches), data["targets"], strict=True):
        wanted = relevance(predictor.model, images, target["index"])[0].flatten().numpy()
        assert np.allclose(row, wanted, atol=wanted.max() / 250)
    scores = [target["score"] for target in data["targets"]]
    assert scores == sorted(scores, reverse=True)


def test_an_asked_target_is_added(make_predictor: Make, cat: Image.Image) -> None:
    predictor = make_predictor()
    last = int(predictor(cat).scores.argmin())
    data = dissect(predictor, cat, top=2, target=last).data
    assert data["target"] == 2 and data["targets"][2]["index"] == last
    first = data["targets"][0]["index"]
    again = dissect(predictor, cat, top=2, target=first).data
    assert again["target"] == 0 and len(again["targets"]) == 2


def test_many_patches_come_in_blocks(make_predictor: Make, cat: Image.Image) -> None:
    predictor = make_predictor((40, 44), patch=2, shorter=None)  # 20 x 22 patches
    data = dissect(predictor, cat).data
    assert data["block"] == 2 and (data["rows"], data["cols"]) == (10, 11)
    side = data["mean"]["side"]
    queries = 1 + data["mean"]["rows"] * data["mean"]["cols"]
    assert data["mean"]["rows"] == -(-10 // side)
    with torch.inference_mode(), recording(predictor.model) as record:
        predictor.model(predictor.prepare(cat).image[None])
    weights = record.weights(1)[0].mean(0)[:, 1:].reshape(-1, 20, 22)
    blocks = weights.reshape(-1, 10, 2, 11, 2).sum((2, 4)).flatten(1)  # what fell into each block
    mean = unpack(data["mean"], 3, queries, 10 * 11)
    assert np.allclose(mean[1, 0], blocks[0], atol=0.004)
    assert len(b64decode(data["mean"]["bytes"])) <= anatomy.MEAN_BYTES
    assert len(b64decode(data["each"]["bytes"])) <= anatomy.HEAD_BYTES


def test_blocks_at_the_edge_may_be_smaller() -> None:
    from vitreous.layers.layout import Layout

    member = Blocks(Layout(1, 5, 3), 2).member()
    assert member.shape == (15, 6)
    assert member.sum(0).tolist() == [4, 2, 4, 2, 2, 1]


def test_position_similarity_is_cosine(make_predictor: Make, cat: Image.Image) -> None:
    predictor = make_predictor()
    positions = dissect(predictor, cat).data["positions"]
    table = predictor.model.backbone.embed.positions.table[0, 1:].detach()
    wanted = torch.nn.functional.cosine_similarity(table[:, None], table[None], dim=2).numpy()
    values = np.frombuffer(b64decode(positions["bytes"]), dtype=np.uint8).reshape(64, 64) / 255
    found = positions["low"] + values * (positions["high"] - positions["low"])
    assert np.allclose(found, wanted, atol=0.01)
    assert dissect(make_predictor(positions="none"), cat).data["positions"] is None


def pairs_of(data: dict[str, Any]) -> np.ndarray:
    positions = data["positions"]
    values = np.frombuffer(b64decode(positions["bytes"]), dtype=np.uint8).reshape(64, 64) / 255
    return positions["low"] + values * (positions["high"] - positions["low"])


def test_without_embeddings_the_learned_bias_is_shown(make_predictor: Make, cat: Image.Image) -> None:
    predictor = make_predictor(name="beit_tiny")
    found = dissect(predictor, cat)
    assert found.data["positions"]["kind"] == "bias"
    blocks = predictor.model.backbone.encoder.blocks
    tables = torch.stack([block.attention.bias.table.detach() for block in blocks])
    table = tables.mean((0, 2))[:-3].reshape(15, 15)  # of offsets, the query's place less the key's
    pairs = pairs_of(found.data).reshape(8, 8, 8, 8)
    for row, col, to_row, to_col in ((0, 0, 0, 0), (3, 5, 3, 4), (7, 0, 0, 7), (2, 6, 5, 1)):
        wanted = float(table[row - to_row + 7, col - to_col + 7])
        assert pairs[row, col, to_row, to_col] == pytest.approx(wanted, abs=0.01)
    assert found.facts["bias_range"] == (float(tables.min()), float(tables.max()))


def test_without_embeddings_the_turns_are_shown(make_predictor: Make, cat: Image.Image) -> None:
    found = dissect(make_predictor(name="dinov3_tiny"), cat).data
    assert found["positions"]["kind"] == "turn"
    pairs = pairs_of(found)
    assert np.allclose(np.diag(pairs), 1, atol=0.01)
    # Heads of 8: two rates for an axis, once and a tenth of that in half a side of four patches.
    steps = np.array([[row, col] for row in range(8) for col in range(8)]) / 4 * 2 * np.pi
    apart = steps[:, None] - steps[None]
    wanted = np.mean([np.cos(apart[..., axis] * rate) for axis in (0, 1) for rate in (1, 0.1)], axis=0)
    assert np.allclose(pairs, wanted, atol=0.01)


@pytest.mark.parametrize(
    ("options", "names", "others"),
    [
        (
            {"name": "deit_tiny", "registers": 1},
            ["[CLS]", "[DIST]", "register 0"],
            "[CLS], [DIST] and register",
        ),
        ({"name": "beit_tiny", "pool": "class"}, ["[CLS]"], "[CLS]"),
        ({"name": "dinov3_tiny"}, ["[CLS]", *(f"register {i}" for i in range(4))], "[CLS] and registers"),
        ({"class_token": False, "pool": "mean"}, [], ""),
    ],
)
def test_tokens_ahead_of_the_patches_have_names(
    make_predictor: Make, cat: Image.Image, options: dict[str, Any], names: list[str], others: str
) -> None:
    data = dissect(make_predictor(**options), cat).data
    assert data["prefix"][data["pool"] != "class" :] == names
    assert data["others"] == others


def test_the_stage_is_what_the_model_sees(make_predictor: Make, cat: Image.Image) -> None:
    predictor = make_predictor((60, 90), shorter=None)  # padded to 64 x 96
    view = predictor.prepare(cat)
    with torch.inference_mode(), recording(predictor.model) as record:
        predictor.model(view.image[None])
    stage = stage_picture(predictor.preprocess, cat, view, record.layout, 8)
    times = stage.width // 96
    assert stage.size == (96 * times, 64 * times) and times >= 2
    small = np.asarray(stage.resize((96, 64), Image.Resampling.BOX)).astype(int)
    seen = np.asarray(predictor.preprocess.restore(view.image)).astype(int)
    assert np.abs(small[:60, :90] - seen).mean() < 6
    assert (small[61:] == 128).all() and (small[:, 91:] == 128).all()


def test_grey_pictures_of_eight_pixels(make_predictor: Make) -> None:
    digit = Image.effect_noise((8, 8), 90)
    predictor = make_predictor(8, channels=1, shorter=None, patch=2)
    found = dissect(predictor, digit)
    assert (found.data["rows"], found.data["cols"], found.data["coarse"]) == (4, 4, True)
    assert found.source.startswith("data:image/png") and found.facts["vector"] == 4
