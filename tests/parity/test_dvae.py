"""Discrete VAEs beyond the ledger: equal codes, other sizes and ways of saving, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.checkpoints.make import same
from tests.parity.case import Case, compare
from tests.parity.cases_dvae import (
    CASES,
    answer_both,
    both_from_dall_e,
    dall_e_both,
    dall_e_encoder,
    dall_e_state,
    diverse,
    flava,
    from_dall_e,
    from_flava,
)
from tests.parity.preprocess_case import _processed
from tests.parity.twins import BOUND, Twin, pictures, randomise
from vitreous.checkpoints.destination import write_any
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.passport import inspect
from vitreous.checkpoints.source import read_any
from vitreous.data.photographs import photographs
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, MissingPackage
from vitreous.models import catalog
from vitreous.models.config import DVAEConfig

dall_e = pytest.importorskip("dall_e")
pytest.importorskip("transformers")

SHAPES = [(64, 64), (24, 40), (8, 8), (37, 90)]


def same_codes(twin: Twin, checkpoint: Checkpoint, sizes: list[tuple[int, int]] = SHAPES) -> None:
    """Every picture has the same codes, and logits within the bound, in both precisions."""
    channels = checkpoint.model.config.channels
    for dtype, bound in BOUND.items():
        twin.model.to(dtype)
        checkpoint.model.to(dtype)
        for size in sizes:
            images = pictures(size, channels).to(dtype)
            with torch.no_grad():
                theirs, ours = twin.forward(images), checkpoint.model.encode(images)
                codes = checkpoint.model.tokens(images)
            assert (ours - theirs).abs().max() < bound * theirs.abs().max()
            assert torch.equal(codes, theirs.argmax(1))


@pytest.mark.parametrize(
    "sizes",
    [
        {"n_hid": 64, "vocab_size": 512},
        {"n_hid": 18, "n_blk_per_group": 1},
        {"n_hid": 5, "n_blk_per_group": 3, "vocab_size": 7},
        {"n_hid": 8, "input_channels": 1},
    ],
    ids=str,
)
def test_the_packages_encoder_of_any_size(sizes: dict[str, int], tmp_path: Path) -> None:
    twin = dall_e_encoder(tmp_path / "encoder", **sizes)
    checkpoint = read_any(twin.path)
    same_codes(twin, checkpoint)
    write_any(tmp_path / "back", checkpoint, "dall_e")
    again = read_any(tmp_path / "back")
    assert again.model.config == checkpoint.model.config
    assert again.preprocess == checkpoint.preprocess
    model, forward = from_dall_e(tmp_path / "back")
    same_codes(Twin(model, tmp_path, forward), again)


@pytest.mark.parametrize(
    "sizes",
    [
        {"hidden_size": 64, "vocab_size": 512},
        {"hidden_size": 18, "num_blocks_per_group": 1},
        {"hidden_size": 5, "num_blocks_per_group": 3, "vocab_size": 7},
        {"hidden_size": 8, "input_channels": 1},
    ],
    ids=str,
)
def test_flavas_codebook_of_any_size(sizes: dict[str, int], tmp_path: Path) -> None:
    twin = flava(tmp_path / "theirs", **sizes)
    checkpoint = read_any(twin.path)
    same_codes(twin, checkpoint)
    images = pictures((64, 64), checkpoint.model.config.channels)
    assert torch.equal(twin.model.get_codebook_indices(images), checkpoint.model.tokens(images))
    write_any(tmp_path / "back", checkpoint, "transformers")
    again = read_any(tmp_path / "back")
    assert (again.model.config, again.preprocess) == (checkpoint.model.config, checkpoint.preprocess)
    model, forward = from_flava(tmp_path / "back")
    same_codes(Twin(model, tmp_path, forward), again)


def test_one_library_to_the_other_and_back(tmp_path: Path) -> None:
    twin = dall_e_encoder(tmp_path / "encoder")
    write_any(tmp_path / "flava", read_any(twin.path), "transformers")
    forward = from_flava(tmp_path / "flava")[1]
    images = pictures((48, 32)).float()
    with torch.no_grad():
        assert torch.allclose(forward(images), twin.forward(images), atol=1e-5)
    write_any(tmp_path / "back", read_any(tmp_path / "flava"), "dall_e")
    assert same(from_dall_e(tmp_path / "back")[0], twin.model)


def test_a_decoder_of_other_sizes_than_the_usual(tmp_path: Path) -> None:
    sizes = {"n_hid": 12, "n_blk_per_group": 1}
    twin = dall_e_both(tmp_path / "both", decoder={**sizes, "n_init": 9}, **sizes)
    checkpoint = read_any(twin.path)
    assert checkpoint.model.config.code_width == 9 and checkpoint.model.config.paints == "logit_laplace"
    case = Case("dall_e", "dvae", dall_e_both, ((32, 32),), both_from_dall_e, answer=answer_both)
    for size in SHAPES:
        assert compare(case, checkpoint.model, twin.forward, size).relative < BOUND[torch.float32]


def test_what_is_painted_is_what_the_package_makes_of_it(tmp_path: Path) -> None:
    twin = dall_e_both(tmp_path / "both")
    checkpoint = read_any(twin.path)
    images = pictures((32, 48)).float()
    with torch.no_grad():
        codes = checkpoint.model.tokens(images)
        shares = torch.nn.functional.one_hot(codes, 40).movedim(3, 1).float()
        theirs = dall_e.unmap_pixels(torch.sigmoid(twin.model.decoder.blocks(shares)[:, :3]))
        painted = checkpoint.model.decode(codes)
    mean, std = (
        torch.tensor(values)[:, None, None]
        for values in (checkpoint.preprocess.mean, checkpoint.preprocess.std)
    )
    assert torch.allclose((painted * std + mean).clamp(0, 1), theirs, atol=1e-5)


def test_pixels_are_mapped_as_the_package_maps_them(tmp_path: Path) -> None:
    preprocess = read_any(dall_e_encoder(tmp_path / "encoder").path).preprocess
    assert preprocess == Preprocess(
        size=(112, 112), shorter=112, interpolation="lanczos", mean=(-0.125,) * 3, std=(1.25,) * 3
    )
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    own = Preprocess(size=(16, 16), shorter=None, mean=preprocess.mean, std=preprocess.std)
    pixels = torch.from_numpy(levels).permute(2, 0, 1)[None].float() / 255
    theirs = dall_e.map_pixels(pixels)[0]
    ours = own(Image.fromarray(levels)).image
    assert (ours - theirs).abs().max() < 1.3e-7  # two roundings of float32
    assert ours.min() == pytest.approx(0.1) and ours.max() == pytest.approx(0.9)
    for photograph in photographs()[:3]:  # as the package's example prepares them
        assert torch.allclose(
            preprocess(photograph.picture).image, by_the_example(photograph.picture), atol=2e-7
        )


def by_the_example(picture: Image.Image) -> Tensor:
    """The shorter side to 112 pixels, the centre, pixels mapped."""
    from torchvision.transforms import InterpolationMode, functional

    resized = functional.resize(picture, 112, InterpolationMode.LANCZOS)
    cut = functional.center_crop(resized, [112, 112])
    return dall_e.map_pixels(functional.to_tensor(cut)[None])[0]


@pytest.mark.parametrize("kind", ["pth", "safetensors", "wrapped", "parallel", "old", "both", "halves"])
def test_every_way_of_saving(kind: str, tmp_path: Path) -> None:
    twin = dall_e_state(tmp_path / "a")
    state = dict(twin.model.state_dict())
    path = tmp_path / "saved.pth"
    if kind == "safetensors":
        path = tmp_path / "saved.safetensors"
        save_file(state, path)
    elif kind == "wrapped":
        torch.save({"state_dict": state, "epoch": 3}, path)
    elif kind == "parallel":
        torch.save({f"module.{key}": value for key, value in state.items()}, path)
    elif kind == "old":
        whole = diverse(randomise(dall_e.Encoder(n_hid=24, vocab_size=40)))
        torch.save(whole, path, _use_new_zipfile_serialization=False)
    elif kind in ("both", "halves"):
        painter = randomise(dall_e.Decoder(n_hid=24, vocab_size=40, n_init=20))
        if kind == "both":
            halves = {"encoder": state, "decoder": dict(painter.state_dict())}
            torch.save(
                {f"{half}.{key}": value for half, values in halves.items() for key, value in values.items()},
                path,
            )
        else:
            path = tmp_path / "halves"
            path.mkdir()
            save_file(state, path / "encoder.safetensors")
            save_file(dict(painter.state_dict()), path / "decoder.safetensors")
    else:
        torch.save(state, path)
    checkpoint = read_any(path)
    assert checkpoint.model.config.decoder == (kind in ("both", "halves"))
    assert checkpoint.lineage["layout"] == "dall_e" and checkpoint.lineage["family"] == "dvae"
    assert checkpoint.lineage["assumed"] == ["preprocessing"]
    same_codes(twin._replace(path=path), checkpoint, [(32, 24)])
    passport = inspect(path)
    assert (passport.layout, passport.family, passport.problem, passport.left_over) == (
        "dall_e",
        "dvae",
        None,
        (),
    )
    assert "timm" in passport.not_writable and "dall_e" in passport.writable


def test_half_precision_keeps_its_numbers(tmp_path: Path) -> None:
    twin = dall_e_encoder(tmp_path / "a")
    twin.model.half()
    torch.save(twin.model.state_dict(), tmp_path / "half.pth")
    checkpoint = read_any(tmp_path / "half.pth", dtype=None)
    write_any(tmp_path / "back", checkpoint, "dall_e")
    assert {value.dtype for value in load_file(tmp_path / "back/encoder.safetensors").values()} == {
        torch.float16
    }
    assert same(read_any(tmp_path / "back", dtype=None).model, checkpoint.model)


@pytest.mark.parametrize(
    ("decoder", "says"),
    [
        ({"n_hid": 16}, "do not fit one another: width 24 and 16"),
        ({"vocab_size": 41}, "codes 40 and 41"),
        ({"n_blk_per_group": 1}, "blocks 2 and 1"),
        ({"output_channels": 1}, "paints 2 numbers for each pixel of 3 channels, wanted 6"),
    ],
)
def test_halves_that_do_not_fit_are_refused(decoder: dict[str, int], says: str, tmp_path: Path) -> None:
    twin = dall_e_both(tmp_path / "both", decoder=decoder)
    with pytest.raises(CheckpointError, match=says) as caught:
        read_any(twin.path)
    assert "\n" not in str(caught.value)


def test_a_decoder_alone_is_refused(tmp_path: Path) -> None:
    model = dall_e.Decoder(n_hid=24, vocab_size=40, n_init=20)
    (tmp_path / "alone").mkdir()
    torch.save(model, tmp_path / "alone/decoder.pkl")
    torch.save(model.state_dict(), tmp_path / "decoder.pth")
    for path in (tmp_path / "alone", tmp_path / "alone/decoder.pkl", tmp_path / "decoder.pth"):
        with pytest.raises(CheckpointError, match="a decoder alone, which makes no tokens; give encoder"):
            read_any(path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda state: state.pop("blocks.group_2.block_1.res_path.conv_2.w"),
            "1 missing: blocks.group_2.block_1",
        ),
        (lambda state: state.update({"blocks.group_9.w": torch.zeros(1)}), "blocks.group_9.w"),
        (
            lambda state: state.update({"blocks.group_5.block_1.id_path.w": torch.zeros(1)}),
            "does not explain",
        ),
        (lambda state: state.update({"blocks.output.conv.b": torch.zeros(3)}), "of another shape"),
        (
            lambda state: state.update({"blocks.input.w": torch.zeros(24, 2, 7, 7)}),
            "wanted 3 each for colour",
        ),
        (lambda state: state.update({"blocks.input.w": torch.zeros(24)}), "not the kernel of a convolution"),
        (lambda state: state.update({"blocks.input.b": torch.full((24,), torch.nan)}), "NaN"),
        (
            lambda state: state.update({"blocks.group_1.block_999999.x": torch.zeros(1)}),
            "999999 blocks, but holds only",
        ),
    ],
)
def test_damaged_weights_are_refused_by_name(change: Any, says: str, tmp_path: Path) -> None:
    state = dict(dall_e_state(tmp_path / "a").model.state_dict())
    change(state)
    torch.save(state, tmp_path / "changed.pth")
    with pytest.raises(CheckpointError, match=says) as caught:
        read_any(tmp_path / "changed.pth")
    assert "\n" not in str(caught.value)


def test_a_name_is_refused(tmp_path: Path) -> None:
    for twin in (dall_e_encoder(tmp_path / "a"), flava(tmp_path / "b")):
        with pytest.raises(CheckpointError, match="leave out name='dvae'"):
            read_any(twin.path, name="dvae")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"num_groups": 3}, "num_groups 3 changes nothing there but how blocks are scaled; only 4"),
        ({"num_groups": 8}, "num_groups 8"),
        ({"hidden_size": 32}, "hidden_size 32, but the weights have 24"),
        ({"num_blocks_per_group": 1}, "num_blocks_per_group 1, but the weights have 2"),
        ({"vocab_size": 8192}, "vocab_size 8192, but the weights have 40"),
        ({"input_channels": 1}, "input_channels 1, but the weights have 3"),
        ({"num_groups": "four"}, "wanted a positive whole number"),
        ({"model_type": "flava"}, "model_type 'flava'"),
        ({"auto_map": {"AutoModel": "x.py"}}, "code of its own"),
    ],
)
def test_configurations_that_do_not_fit_are_refused(
    change: dict[str, Any], says: str, tmp_path: Path
) -> None:
    flava(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(values | change))
    with pytest.raises(CheckpointError, match=says) as caught:
        read_any(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_bare_file_of_flavas_says_its_own_sizes(tmp_path: Path) -> None:
    twin = flava(tmp_path / "theirs")
    for name in ("config.json", "preprocessor_config.json"):
        (twin.path / name).unlink()
    for path in (twin.path, twin.path / "model.safetensors"):
        checkpoint = read_any(path)
        assert checkpoint.lineage["assumed"] == ["preprocessing"]
        assert checkpoint.preprocess == Preprocess(
            size=(112, 112), shorter=None, interpolation="lanczos", mean=(-0.125,) * 3, std=(1.25,) * 3
        )
        same_codes(twin, checkpoint, [(40, 24)])


STEPS = [
    {},
    {"codebook_size": {"height": 64, "width": 96}, "codebook_crop_size": {"height": 64, "width": 96}},
    {"codebook_size": {"height": 120, "width": 130}},
    {"codebook_size": {"shortest_edge": 130}},
    {"codebook_size": 64, "codebook_crop_size": 64},
    {"codebook_do_center_crop": False, "codebook_size": {"height": 80, "width": 72}},
    {
        "codebook_do_map_pixels": False,
        "codebook_image_mean": [0.4, 0.5, 0.6],
        "codebook_image_std": [0.2, 0.3, 0.4],
    },
    {"codebook_image_mean": [0.4, 0.5, 0.6], "codebook_image_std": [0.2, 0.3, 0.4]},
    {"codebook_do_normalize": False, "codebook_resample": 2},
]


@pytest.mark.parametrize("steps", STEPS, ids=str)
def test_flavas_preprocessing_is_computed_and_written_back(steps: dict[str, Any], tmp_path: Path) -> None:
    from transformers import AutoImageProcessor, FlavaImageProcessor

    flava(tmp_path / "theirs")
    FlavaImageProcessor(**steps).save_pretrained(tmp_path / "theirs")
    checkpoint = read_any(tmp_path / "theirs")
    assert checkpoint.model.config.image_size == checkpoint.preprocess.size
    write_any(tmp_path / "back", checkpoint, "transformers")
    again = read_any(tmp_path / "back").preprocess
    assert again == checkpoint.preprocess or again.crop_rounding != checkpoint.preprocess.crop_rounding
    std = np.array(checkpoint.preprocess.std, np.float32)[:, None, None]
    for place in ("theirs", "back"):
        processor = AutoImageProcessor.from_pretrained(tmp_path / place, backend="pil")
        for photograph in photographs()[:4]:
            ours = checkpoint.preprocess(photograph.picture).image.numpy()
            theirs = _processed(processor, photograph.picture)
            assert ours.shape == theirs.shape
            assert np.abs((ours - theirs) * std).max() * 255 < 1e-3, (place, photograph.name)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"codebook_do_resize": False}, "do_resize is false"),
        ({"codebook_do_rescale": False}, "do_rescale is false"),
        ({"codebook_rescale_factor": 1.0}, "only 1/255"),
        ({"codebook_resample": 5}, "resample 5 is not read"),
        ({"codebook_do_map_pixels": "yes"}, "codebook_do_map_pixels: wanted true or false"),
        ({"codebook_crop_size": {"height": 200, "width": 200}}, "crop_size 200x200 is larger"),
        (
            {"codebook_size": {"shortest_edge": 112}, "codebook_do_center_crop": False},
            "pictures of many sizes",
        ),
        ({"image_processor_type": "ViTImageProcessor"}, "says nothing of a tokenizer's pictures"),
        (
            {"codebook_size": {"height": 4, "width": 4}, "codebook_crop_size": {"height": 4, "width": 4}},
            "4x4 pixels are",
        ),
    ],
)
def test_preprocessing_that_is_not_read_is_refused(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    flava(tmp_path)
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=says) as caught:
        read_any(tmp_path)
    assert "\n" not in str(caught.value)


def of(config: DVAEConfig) -> Checkpoint:
    """Random weights, with the preprocessing that a run measures."""
    channels = config.channels
    preprocess = Preprocess(
        size=config.image_size, shorter=None, mean=(0.4,) * channels, std=(0.3,) * channels
    )
    return Checkpoint(randomise(catalog.build(config)), preprocess, ())


@pytest.mark.parametrize(
    ("layout", "changes", "says"),
    [
        ("dall_e", {"groups": 3}, "it has 3 groups of blocks, there it is 4"),
        ("dall_e", {"paints": "pixels", "decoder": True}, "it paints pixels, there it is a distribution"),
        ("transformers", {"decoder": True}, "it has a decoder, there is only an encoder"),
        ("transformers", {"groups": 2}, "it has 2 groups of blocks"),
        ("timm", {}, "timm has no class for a model of family 'dvae'"),
        ("torchvision", {}, "torchvision has no class"),
    ],
)
def test_what_no_library_holds_is_refused(
    layout: str, changes: dict[str, Any], says: str, tmp_path: Path
) -> None:
    values = {"codes": 16, "width": 8, "blocks": 1, "decoder": False, "image_size": (32, 48)} | changes
    with pytest.raises(CheckpointError, match=says):
        write_any(tmp_path / "there", of(DVAEConfig(**values)), layout)


def test_an_encoder_of_ours_with_its_own_preprocessing(tmp_path: Path) -> None:
    config = DVAEConfig(codes=16, width=8, blocks=1, decoder=False, image_size=(32, 48), channels=1)
    checkpoint = of(config)
    for layout, load in (("transformers", from_flava), ("dall_e", from_dall_e)):
        write_any(tmp_path / layout, checkpoint, layout)
        again = read_any(tmp_path / layout)
        assert same(again.model, checkpoint.model) and again.model.config == config
        assert again.preprocess.mean == (0.4,) and again.preprocess.size == (32, 48)
        model, forward = load(tmp_path / layout)
        same_codes(Twin(model, tmp_path, forward), again, [(32, 48)])
        for part in (checkpoint, again):
            part.model.float()


def test_a_written_directory_says_what_it_is_for(tmp_path: Path) -> None:
    twin = dall_e_both(tmp_path / "both")
    write_any(tmp_path / "back", read_any(twin.path), "dall_e")
    values = json.loads((tmp_path / "back/config.json").read_text())
    assert values["encoder"] == {"n_hid": 24, "n_blk_per_group": 2, "vocab_size": 40, "input_channels": 3}
    assert values["decoder"] == {
        "n_hid": 24, "n_blk_per_group": 2, "vocab_size": 40, "n_init": 20, "output_channels": 3
    }  # fmt: skip
    (tmp_path / "back/manifest.json").unlink()
    (tmp_path / "back/config.json").write_text('{"layout": "x"}')
    with pytest.raises(CheckpointError, match="not one that was written for DALL-E's weights"):
        read_any(tmp_path / "back")


def test_a_missing_package_is_told_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vitreous.checkpoints import peer
    from vitreous.checkpoints.peers import peer_of_file

    twin = dall_e_state(tmp_path / "a")

    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(peer, "import_module", missing)
    with pytest.raises(MissingPackage, match=r"pip install 'vitreous\[parity\]'"):
        peer_of_file("dall_e", twin.path, read_any(twin.path), None)


def test_every_case_of_the_ledger_has_equal_codes(tmp_path: Path) -> None:
    for number, case in enumerate(CASES):
        twin = case.build(tmp_path / f"a{number}")
        checkpoint = read_any(twin.path)
        seen: set[int] = set()
        for size in case.sizes:
            images = pictures(size).float()
            encoder = getattr(twin.model, "encoder", twin.model)
            with torch.no_grad():
                theirs = encoder.blocks(images).argmax(1)
                assert torch.equal(checkpoint.model.tokens(images), theirs)
            seen |= set(theirs.flatten().tolist())
        assert len(seen) > 10, case.name  # equal because they are right, not because all are one
