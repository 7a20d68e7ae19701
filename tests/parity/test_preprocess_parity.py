"""Preprocessing against its three origins, on photographs of many sizes."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from vitreous.data.preprocess import Preprocess

timm_data = pytest.importorskip("timm.data")
transformers = pytest.importorskip("transformers")

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BOXES = {
    "whole": None,
    "odd": (3, 5, 254, 284),
    "tall": (0, 0, 97, 299),
    "wide": (10, 20, 291, 83),
    "small": (40, 50, 71, 98),
    "square": (0, 0, 256, 256),
    "one_row": (0, 100, 200, 101),
}
PHOTOGRAPHS = {
    f"{name}_{box_name}": Image.fromarray(array).crop(BOXES[box_name] or (0, 0, *array.shape[1::-1]))
    for name, array, box_names in (
        ("chelsea", data.chelsea(), tuple(BOXES)),
        ("astronaut", data.astronaut(), ("whole", "odd")),
        ("coffee", data.coffee(), ("whole", "tall")),
    )
    for box_name in box_names
}


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize(("size", "shorter"), [(224, 256), (224, 224), (225, 248), (64, 73)])
def test_torchvision_gives_the_same_bits(size: int, shorter: int, interpolation: str) -> None:
    from torchvision import transforms

    theirs = transforms.Compose(
        [
            transforms.Resize(shorter, transforms.InterpolationMode(interpolation)),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    ours = Preprocess(size=(size, size), shorter=shorter, interpolation=interpolation, mean=MEAN, std=STD)
    for name, picture in PHOTOGRAPHS.items():
        assert torch.equal(ours(picture).image, theirs(picture)), name


@pytest.mark.parametrize(
    ("size", "shorter"), [((40, 40), 30), ((31, 64), 40), ((64, 31), 40), ((35, 35), 30)]
)
def test_torchvision_gives_the_same_border(size: tuple[int, int], shorter: int) -> None:
    from torchvision import transforms

    theirs = transforms.Compose(
        [transforms.Resize(shorter), transforms.CenterCrop(size), transforms.ToTensor()]
    )
    ours = Preprocess(size=size, shorter=shorter, mean=(0.0,) * 3, std=(1.0,) * 3)
    for name, picture in PHOTOGRAPHS.items():
        assert torch.equal(ours(picture).image, theirs(picture)), name


@pytest.mark.parametrize("crop", [0.875, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_timm_gives_the_same_bits(crop: float, interpolation: str) -> None:
    theirs = timm_data.create_transform(
        input_size=(3, 224, 224),
        is_training=False,
        interpolation=interpolation,
        mean=MEAN,
        std=STD,
        crop_pct=crop,
    )
    ours = Preprocess(
        size=(224, 224), shorter=int(224 / crop), interpolation=interpolation, mean=MEAN, std=STD
    )
    for name, picture in PHOTOGRAPHS.items():
        assert torch.equal(ours(picture).image, theirs(picture)), name


@pytest.mark.parametrize("resample", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(224, 224), (97, 161)])
def test_transformers_squashes_to_the_same_pixels(size: tuple[int, int], resample: str) -> None:
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    ours = Preprocess(size=size, shorter=None, interpolation=resample)
    options = {
        "size": {"height": size[0], "width": size[1]},
        "resample": Image.Resampling[resample.upper()].value,
        "image_mean": list(ours.mean),
        "image_std": list(ours.std),
    }
    by_pillow = ViTImageProcessorPil(**options)
    by_torchvision = transformers.ViTImageProcessor(**options)
    for name, picture in PHOTOGRAPHS.items():
        mine = _pixels(ours(picture).image)
        assert np.abs(mine - _processed(by_pillow, picture)).max() < 1e-4, name
        # Its other processor resizes tensors, whose kernels round otherwise than Pillow's.
        apart = np.abs(mine - _processed(by_torchvision, picture))
        assert (apart > 1 + 1e-4).mean() <= (0 if resample == "bilinear" else 3e-4), name
        assert apart.mean() < 0.5, name


def _pixels(image: torch.Tensor) -> np.ndarray:
    return (image.numpy() * 0.5 + 0.5) * 255


def _processed(processor: object, picture: Image.Image) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _pixels(processor(picture, return_tensors="pt")["pixel_values"][0])


def test_the_comparison_would_see_another_rounding() -> None:
    from torchvision import transforms

    theirs = transforms.Compose([transforms.Resize(257), transforms.CenterCrop(224)])
    ours = Preprocess(size=(224, 224), shorter=256)
    picture = PHOTOGRAPHS["chelsea_odd"]
    difference = _pixels(ours(picture).image) - np.asarray(theirs(picture)).transpose(2, 0, 1)
    assert np.abs(difference).max() > 1
