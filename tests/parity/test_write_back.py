"""What our writers write, loaded by the other library's own loader; and back again, bit for bit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.checkpoints.make import checkpoint_of, random_checkpoint
from tests.parity.twins import BOUND, difference, pictures, torchvision_forward, transformers_forward
from vitreous.checkpoints.destination import write_any
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.source import read_any
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError

MODELS: dict[str, dict[str, Any]] = {
    "plain": {},
    "epsilon": {"norm_eps": 1e-12},
    "gelu_tanh": {"activation": "gelu_tanh"},
    "quick_gelu": {"activation": "quick_gelu"},
    "LayerScale": {"layer_scale": 0.1},
    "registers": {"registers": 3},
    "registers, class token without a position": {"registers": 2, "class_position": False},
    "no class token": {"class_token": False, "pool": "mean"},
    "class token without a position": {"class_position": False},
    "mean pooling": {"pool": "mean"},
    "mean pooling, norm after it": {"pool": "mean", "pool_norm": True, "final_norm": False},
    "sincos2d": {"positions": "sincos2d"},
    "sincos1d": {"positions": "sincos1d"},
    "no positions": {"positions": "none"},
    "not square": {"image_size": (24, 40)},
    "one channel": {"channels": 1},
    "head of the paper": {"head": "mlp"},
    "no head": {"classes": 0},
    "convolutional stem": {"stem": "conv"},
    "padded pictures": {"image_size": (30, 30)},
}
# What a library has no place for; a fragment of the reason that the error gives.
REFUSED = {
    "timm": {
        "epsilon": "norm epsilon is 1e-12",
        "head of the paper": "head of two layers",
        "convolutional stem": "convolutional stem",
        "padded pictures": "no multiple of patch",
    },
    "transformers": {
        "registers": "3 register tokens",
        "registers, class token without a position": "2 register tokens",
        "no class token": "pools the mean",
        "mean pooling": "pools the mean",
        "mean pooling, norm after it": "pools the mean",
        "head of the paper": "head of two layers",
        "no head": "no head",
        "convolutional stem": "convolutional stem",
        "padded pictures": "no multiple of patch",
    },
    "torchvision": {
        "epsilon": "norm epsilon is 1e-12",
        "gelu_tanh": "activation is gelu_tanh",
        "quick_gelu": "activation is quick_gelu",
        "registers": "3 register tokens",
        "registers, class token without a position": "2 register tokens",
        "no class token": "pools the mean",
        "mean pooling": "pools the mean",
        "mean pooling, norm after it": "pools the mean",
        "not square": "not square",
        "one channel": "takes 1 channels",
        "no head": "no head",
        "convolutional stem": "convolutional stem",
        "padded pictures": "no multiple of patch",
    },
}
# LayerScale is multiplied into the weights by these, so what comes back is equal but for rounding.
MERGED = {"transformers", "torchvision"}
CASES = [(layout, model) for layout in REFUSED for model in MODELS if model not in REFUSED[layout]]


def load_elsewhere(layout: str, directory: Path) -> Any:
    """The other library's own loader: (model, logits)."""
    if layout == "timm":
        import timm

        model = timm.create_model(f"local-dir:{directory}", pretrained=True, dynamic_img_size=True).eval()
        return model, model
    if layout == "transformers":
        from transformers import AutoModelForImageClassification

        model = AutoModelForImageClassification.from_pretrained(directory).eval()
        return model, transformers_forward(model)
    import json

    import safetensors.torch
    from torchvision.models import VisionTransformer

    model = VisionTransformer(**json.loads((directory / "config.json").read_text())["vision_transformer"])
    model.load_state_dict(safetensors.torch.load_file(directory / "model.safetensors"))
    return model.eval(), torchvision_forward(model)


def with_resize_of(layout: str, checkpoint: Checkpoint) -> Checkpoint:
    """The same model, resizing its positions and treating edges as the other library does."""
    method = {"timm": "antialias", "transformers": "plain", "torchvision": "corners"}[layout]
    cut = layout == "transformers" and checkpoint.model.config.backbone.stem == "linear"
    return checkpoint_of(checkpoint, position_resize=method, cut_edges=cut)


@pytest.mark.parametrize(("layout", "model"), CASES)
def test_the_other_library_computes_the_same(tmp_path: Path, layout: str, model: str) -> None:
    pytest.importorskip(layout)
    checkpoint = with_resize_of(layout, random_checkpoint(**MODELS[model]))
    write_any(tmp_path / "there", checkpoint, layout)
    other, forward = load_elsewhere(layout, tmp_path / "there")
    backbone = checkpoint.model.config.backbone
    sizes = [backbone.image_size]
    if backbone.positions in ("learned", "none"):  # computed positions are a table there
        sizes += [(48, 48), (64, 64) if layout == "torchvision" else (24, 56)]
    if layout == "transformers" and model == "not square":  # it takes the square root of the patches
        sizes = sizes[:1]
    for dtype, bound in BOUND.items():
        ours = checkpoint.model.to(dtype)
        other.to(dtype)
        for size in sizes:
            found = difference(ours, forward, pictures(size, backbone.channels).to(dtype))
            if layout in MERGED and model == "LayerScale":
                bound = max(bound, 1e-6)  # the product was rounded once, to the float32 of the file
            assert found.relative < bound, (dtype, size, found)


@pytest.mark.parametrize(("layout", "model"), CASES)
def test_there_and_back_is_the_same_to_the_bit(tmp_path: Path, layout: str, model: str) -> None:
    checkpoint = with_resize_of(layout, random_checkpoint(**MODELS[model]))
    write_any(tmp_path / "there", checkpoint, layout)
    back = read_any(tmp_path / "there")
    assert (back.classes, back.preprocess) == (checkpoint.classes, checkpoint.preprocess)
    images = pictures(checkpoint.model.config.backbone.image_size, len(back.preprocess.mean)).float()
    with torch.no_grad():
        ours, again = checkpoint.model(images).logits, back.model(images).logits
    exact = not (layout in MERGED and model == "LayerScale")
    assert torch.equal(ours, again) if exact else torch.allclose(ours, again, atol=1e-5)
    if checkpoint.model.config == back.model.config:
        state = back.model.state_dict()
        for key, value in checkpoint.model.state_dict().items():
            assert torch.equal(value, state[key]), key
    else:
        table = {"sincos1d", "sincos2d", "no positions", "class token without a position", "LayerScale"}
        assert model in table


@pytest.mark.parametrize(
    ("layout", "model", "reason"),
    [(layout, model, reason) for layout in REFUSED for model, reason in REFUSED[layout].items()],
)
def test_what_it_cannot_hold_is_refused(tmp_path: Path, layout: str, model: str, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason):
        write_any(tmp_path / "there", random_checkpoint(**MODELS[model]), layout)
    assert not any(tmp_path.iterdir())


def chelsea(directory: Path) -> Path:
    """A photograph as a file."""
    data = pytest.importorskip("skimage.data")
    path = directory / "chelsea.png"
    Image.fromarray(data.chelsea()).save(path)
    return path


def probabilities(checkpoint: Checkpoint, picture: Path) -> Tensor:
    """What we say of a picture file."""
    image = checkpoint.preprocess(Image.open(picture)).image
    with torch.no_grad():
        return (checkpoint.model(image[None]).logits / checkpoint.temperature).softmax(-1)[0]


PREPROCESS = {
    "squashed": Preprocess(size=(64, 64), shorter=None, interpolation="bilinear"),
    "cropped": Preprocess(
        size=(64, 64),
        shorter=73,
        interpolation="bicubic",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    ),
}


@pytest.mark.parametrize("kind", PREPROCESS)
def test_transformers_says_the_same_of_a_picture_file(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("transformers")
    from transformers import AutoImageProcessor

    picture = chelsea(tmp_path)
    made = random_checkpoint(image_size=(64, 64), temperature=1.7)
    checkpoint = checkpoint_of(made, preprocess=PREPROCESS[kind])
    write_any(tmp_path / "there", checkpoint, "transformers")
    model, forward = load_elsewhere("transformers", tmp_path / "there")
    expected = probabilities(checkpoint, picture)
    # PIL's resizing gives the same pixels; torchvision's tensors differ from PIL by up to one level.
    for backend, bound in (("pil", 1e-5), ("torchvision", 1e-3)):
        processor = AutoImageProcessor.from_pretrained(tmp_path / "there", backend=backend)
        values = processor(images=Image.open(picture), return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            found = forward(values).softmax(-1)[0]
        assert (found - expected).abs().max() < bound, backend
    assert model.config.id2label == dict(enumerate(checkpoint.classes))


@pytest.mark.parametrize("kind", PREPROCESS)
def test_timm_says_the_same_of_a_picture_file(tmp_path: Path, kind: str) -> None:
    timm = pytest.importorskip("timm")

    picture = chelsea(tmp_path)
    made = random_checkpoint(image_size=(64, 64), temperature=1.7)
    checkpoint = checkpoint_of(made, preprocess=PREPROCESS[kind])
    write_any(tmp_path / "there", checkpoint, "timm")
    model, forward = load_elsewhere("timm", tmp_path / "there")
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    with torch.no_grad():
        found = forward(transform(Image.open(picture))[None]).softmax(-1)[0]
    assert (found - probabilities(checkpoint, picture)).abs().max() < 1e-5
    assert model.pretrained_cfg["label_names"] == list(checkpoint.classes)


def test_pictures_may_be_smaller_than_the_native_ones(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    from timm.data import create_transform, resolve_model_data_config

    shown = Preprocess(size=(32, 32), shorter=36, interpolation="bicubic")
    checkpoint = checkpoint_of(random_checkpoint(image_size=(64, 64)), preprocess=shown)
    write_any(tmp_path / "there", checkpoint, "timm")
    again = read_any(tmp_path / "there")
    assert (again.preprocess, again.model.config.image_size) == (shown, (64, 64))
    model, forward = load_elsewhere("timm", tmp_path / "there")
    picture = Image.open(chelsea(tmp_path))
    theirs = create_transform(**resolve_model_data_config(model))(picture)
    assert (theirs - shown(picture).image).abs().max() < 1e-5
    with torch.no_grad():
        expected = checkpoint.model(theirs[None]).logits
        assert torch.allclose(forward(theirs[None]), expected, atol=1e-5)
