"""What each family makes of pictures: masks are the loader's, and only what was hidden is painted."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vitreous.data.collection import Collection, Sample
from vitreous.data.loader import batches
from vitreous.data.preprocess import Preprocess
from vitreous.models import catalog
from vitreous.models.model import Model
from vitreous.report.reconstruction import Rebuilt, TokenPainter, masks_of, rebuild
from vitreous.tasks.config import (
    MaskedAutoencodingConfig,
    MaskedPixelsConfig,
    TaskConfig,
    TokenizerConfig,
    VisualTokensConfig,
)

SMALL = {"width": 16, "depth": 1, "heads": 2}
CASES: dict[str, tuple[str, dict[str, Any], TaskConfig]] = {
    "mae": ("mae_tiny", {**SMALL, "normalised_targets": True}, MaskedAutoencodingConfig()),
    "pixels": ("mae_tiny", {**SMALL, "stem": "conv"}, MaskedAutoencodingConfig()),
    "simmim": ("simmim_swin_tiny", {}, MaskedPixelsConfig()),
    "beit": ("beit_tiny_masked", SMALL, VisualTokensConfig(tokenizer="somewhere")),
    "tokenizer": ("dvae_tiny", {"codes": 16}, TokenizerConfig()),
}


def pictures(count: int = 3, size: tuple[int, int] = (32, 32)) -> Collection:
    generator = np.random.default_rng(0)
    samples = [
        Sample(f"{number}.png", generator.integers(0, 256, (*size, 3), dtype=np.uint8))
        for number in range(count)
    ]
    return Collection("noise", (), tuple(samples))


def made(kind: str, size: tuple[int, int] = (32, 32)) -> tuple[Model, Preprocess, Any]:
    name, options, task = CASES[kind]
    torch.manual_seed(0)
    config = catalog.configure(name, image_size=size, options=options)
    prepare = Preprocess(size=size, shorter=None, mean=(0.5,) * 3, std=(0.25,) * 3)
    return catalog.build(config), prepare, masks_of(task, config)


def pixels(picture: Image.Image | None) -> np.ndarray[Any, np.dtype[np.int64]]:
    assert picture is not None
    return np.asarray(picture).astype(int)


def seen_and_rebuilt(one: Rebuilt) -> tuple[Any, Any, Any]:
    """Which pixels were seen, how far the rebuilt ones are from the original, and the original."""
    seen = pixels(one.seen)
    visible = seen[..., 3] == 255
    assert set(np.unique(seen[..., 3])) == {0, 255}
    assert (seen[..., :3][visible] == pixels(one.original)[visible]).all()
    return visible, np.abs(pixels(one.rebuilt) - pixels(one.original)).sum(2), pixels(one.original)


@pytest.mark.parametrize("kind", ["mae", "pixels", "simmim"])
@pytest.mark.parametrize("size", [(32, 32), (30, 42)])
def test_what_was_visible_is_kept_and_what_was_hidden_is_painted(kind: str, size: tuple[int, int]) -> None:
    model, prepare, masks = made(kind, size)
    found = rebuild(model, prepare, pictures(size=size), masks)
    assert [one.name for one in found] == ["0.png", "1.png", "2.png"]
    masked = 0.6 if kind == "simmim" else 0.75
    for one in found:
        visible, apart, _ = seen_and_rebuilt(one)
        assert one.original.size == (size[1], size[0])
        assert (apart[visible] == 0).all()
        assert (apart[~visible] > 0).mean() > 0.95  # noise is not told by random weights
        assert (~visible).mean() == pytest.approx(masked, abs=0.12)
    assert len({pixels(one.seen)[..., 3].tobytes() for one in found}) > 1


def test_the_masks_are_those_of_the_loader_and_the_same_each_time() -> None:
    model, prepare, masks = made("mae")
    batch = next(iter(batches(pictures(), prepare, batch_size=8, masks=masks)))
    hidden = model(batch.images, batch.masks).hidden.view(3, 8, 8).numpy()
    first, again = (rebuild(model, prepare, pictures(), masks) for _ in range(2))
    for row, (one, other) in enumerate(zip(first, again, strict=True)):
        assert (pixels(one.seen)[::4, ::4, 3] == np.where(hidden[row], 0, 255)).all()
        assert one.rebuilt is not None and other.rebuilt is not None
        assert one.rebuilt.tobytes() == other.rebuilt.tobytes()


def test_a_perfect_answer_is_the_picture_itself() -> None:
    """Normalised targets get their mean and deviation back, and land where they came from."""
    from vitreous.models.mae import Reconstruction
    from vitreous.tasks.masked_autoencoding import targets

    model, prepare, masks = made("mae", (30, 42))
    right = model.forward

    def knowing(images: torch.Tensor, noise: torch.Tensor) -> Reconstruction:
        return Reconstruction(targets(images, model.config), right(images, noise).hidden)

    model.forward = knowing  # type: ignore[method-assign]
    for one in rebuild(model, prepare, pictures(size=(30, 42)), masks):
        assert np.abs(pixels(one.rebuilt) - pixels(one.original)).max() <= 1


def test_a_tokenizer_paints_all_and_hides_nothing() -> None:
    model, prepare, masks = made("tokenizer")
    assert masks is None
    for one in rebuild(model, prepare, pictures(), masks):
        assert one.seen is None and one.rebuilt is not None and one.rebuilt.size == (32, 32)
        assert (pixels(one.rebuilt) != pixels(one.original)).mean() > 0.9


def test_visual_tokens_are_painted_where_somebody_can() -> None:
    model, prepare, masks = made("beit")
    without = rebuild(model, prepare, pictures(), masks)
    assert all(one.rebuilt is None and one.seen is not None for one in without)
    torch.manual_seed(1)
    tokenizer = catalog.build(
        catalog.configure("dvae_tiny", image_size=16, channels=1, options={"codes": 512})
    )
    theirs = Preprocess(size=(16, 16), shorter=None, mean=(0.4,), std=(0.3,))
    painter = TokenPainter(tokenizer, theirs, prepare, model.config)
    for one, bare in zip(rebuild(model, prepare, pictures(), masks, painter), without, strict=True):
        visible, apart, _ = seen_and_rebuilt(one)
        assert (apart[visible] == 0).all() and (apart[~visible] > 0).mean() > 0.9
        assert pixels(one.seen).tobytes() == pixels(bare.seen).tobytes()
        painted = pixels(one.rebuilt)[~visible]
        assert (painted == painted[:, :1]).all()  # grey, as that tokenizer is


def test_what_cannot_be_read_is_left_out() -> None:
    model, prepare, masks = made("mae")
    good = pictures()
    bad = Collection("noise", (), (good.samples[0], Sample("broken.png", b"no picture"), good.samples[2]))
    assert [one.name for one in rebuild(model, prepare, bad, masks)] == ["0.png", "2.png"]
    assert rebuild(model, prepare, good.select([]), masks) == []
