import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vitreous.data.annotation import Objects, Rle, extent
from vitreous.data.augment import AugmentConfig
from vitreous.data.batch import Target
from vitreous.data.dense_view import DenseView
from vitreous.data.draws import drawing
from vitreous.data.preprocess import Preprocess
from vitreous.data.targets import centred, cornered, target_of
from vitreous.errors import ConfigError

STILL = AugmentConfig(crop=None, flip=0, rand_augment=None)
CONFIGS = [
    AugmentConfig(rand_augment=None),
    AugmentConfig(crop=None, flip=1.0, rand_augment=None),
    AugmentConfig(crop=(0.3, 0.8), flip=0.5, rand_augment=None, rotate=25, shift=0.1, zoom=0.2),
]
SIZES = [
    Preprocess(size=(60, 80), shorter=None, mean=(0.0,) * 3, std=(1.0,) * 3),
    Preprocess(size=(60, 80), shorter=50, longest=90, mean=(0.0,) * 3, std=(1.0,) * 3),
]


def marked(height: int = 70, width: int = 90) -> tuple[Image.Image, Objects, np.ndarray]:
    """A black picture with one red and one green rectangle, marked in every way."""
    pixels = np.zeros((height, width, 3), np.uint8)
    region = np.zeros((height, width), np.uint8)
    boxes, masks = [], []
    for channel, (left, top, right, bottom) in enumerate([(10, 15, 40, 35), (45, 40, 80, 60)]):
        pixels[top:bottom, left:right, channel] = 255
        region[top:bottom, left:right] = channel + 1
        mask = np.zeros((height, width), bool)
        mask[top:bottom, left:right] = True
        masks.append(Rle.of(mask))
        boxes.append((left, top, right, bottom))
    return Image.fromarray(pixels), Objects.of(boxes, [0, 1], masks=masks), region


def bright(image: torch.Tensor, channel: int) -> np.ndarray:
    return (image[channel] > 0.5).numpy()


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("prepare", SIZES)
def test_boxes_masks_and_regions_go_where_the_pixels_go(config: AugmentConfig, prepare: Preprocess) -> None:
    view = DenseView(config, prepare, classes=3, outlines=True)
    seen = 0
    for number in range(12):
        with drawing("test", number):
            image, target = view(*marked())
        size = (image.shape[1], image.shape[2])
        assert target.masks is not None and target.region is not None
        corners = cornered(target.boxes, size)
        for box, label, mask in zip(corners, target.labels.tolist(), target.masks, strict=True):
            shown = bright(image, label)
            assert (shown != mask.numpy()).sum() <= 0.05 * shown.sum() + 16, "the mask is where its colour is"
            assert np.abs(np.array(extent(shown)) - box.numpy()).max() <= 2.0, "and so is the box"
            assert (shown != (target.region == label + 1).numpy()).sum() <= 0.05 * shown.sum() + 16
            seen += 1
        assert ((target.region == 255).float().mean() > 0) == (config.rotate > 0)
        assert target.size.tolist() == [70, 90]
    assert seen > 12


@pytest.mark.parametrize("prepare", SIZES)
def test_without_chance_it_is_the_view_of_evaluation(prepare: Preprocess) -> None:
    picture, objects, region = marked()
    image, target = DenseView(STILL, prepare, classes=3)(picture, objects, region)
    told, where = prepare(picture)
    assert torch.equal(image, told)
    expected = target_of(objects, region, where, classes=3)
    assert torch.equal(target.boxes, expected.boxes)
    assert target.region is not None and expected.region is not None
    assert torch.equal(target.region, expected.region)
    back = where.back_boxes(cornered(target.boxes.double(), where.view))
    assert np.allclose(back, objects.boxes, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    source=st.tuples(st.integers(4, 90), st.integers(4, 90)),
    size=st.tuples(st.integers(4, 60), st.integers(4, 60)),
    mode=st.sampled_from(["squash", "cut", "fit"]),
    data=st.data(),
)
def test_boxes_go_onto_the_view_and_back(
    source: tuple[int, int], size: tuple[int, int], mode: str, data: st.DataObject
) -> None:
    shorter = None if mode == "squash" else data.draw(st.integers(4, 60))
    longest = None if mode != "fit" else data.draw(st.integers(shorter or 0, 200))
    where = Preprocess(size=size, shorter=shorter, longest=longest).placement(source)
    left, right = sorted(data.draw(st.tuples(st.floats(0, source[1]), st.floats(0, source[1]))))
    top, bottom = sorted(data.draw(st.tuples(st.floats(0, source[0]), st.floats(0, source[0]))))
    box = np.array([[left, top, right, bottom]])
    onto = where.onto_boxes(box)
    assert (onto >= 0).all() and (onto <= np.array([*where.view[::-1]] * 2)).all()
    whole = where.forth_boxes(box)
    if np.allclose(onto, whole):
        assert np.allclose(where.back_boxes(onto), box, atol=1e-6)
    back = where.back_boxes(onto)
    assert (back >= 0).all() and (back <= np.array([*source[::-1]] * 2) + 1e-9).all()
    shares = centred(onto, where.view)
    assert np.allclose(cornered(torch.from_numpy(shares), where.view), onto, atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(
    source=st.tuples(st.integers(8, 60), st.integers(8, 60)),
    factor=st.integers(1, 3),
)
def test_masks_go_onto_a_larger_view_and_back_unchanged(source: tuple[int, int], factor: int) -> None:
    size = (source[0] * factor, source[1] * factor)
    where = Preprocess(size=size, shorter=None).placement(source)
    mask = np.random.default_rng(0).random(source) < 0.5
    assert np.array_equal(where.back_mask(where.onto_mask(mask)), mask)
    assert np.array_equal(where.onto_mask(mask), np.kron(mask, np.ones((factor, factor), bool)))


def test_outside_of_the_picture_takes_no_part() -> None:
    where = Preprocess(size=(20, 20), shorter=10).placement((10, 10))
    region = np.full((10, 10), 2, np.uint8)
    target = target_of(None, region, where, classes=3)
    assert target.region is not None
    assert (target.region == 2).sum() == 100 and (target.region == 255).sum() == 300
    many = target_of(None, region, where, classes=300)
    assert many.region is not None and (many.region == 65535).sum() == 300


def test_what_the_view_does_not_show_and_crowds_are_left_out() -> None:
    where = Preprocess(size=(10, 10), shorter=10).placement((10, 30))  # sees columns 10 to 20
    boxes = [[0, 0, 9, 9], [8, 0, 12, 9], [0, 0, 10.5, 9], [12, 2, 15, 5], [12, 2, 15, 5]]
    objects = Objects.of(boxes, range(5), crowd=[False, False, False, False, True])
    target = target_of(objects, None, where, classes=5)
    assert target.labels.tolist() == [1, 3]
    assert np.allclose(cornered(target.boxes, (10, 10)), [[0, 0, 2, 9], [2, 2, 5, 5]], atol=1e-5)


def test_a_cut_object_has_the_box_of_its_mask() -> None:
    mask = np.zeros((10, 30), bool)
    mask[0:9, 8:11] = True
    mask[4:6, 8:14] = True
    objects = Objects.of([[8, 0, 14, 9]], [0], masks=[Rle.of(mask)])
    where = Preprocess(size=(10, 10), shorter=10).placement((10, 30))
    target = target_of(objects, None, where, classes=1, outlines=True)
    assert np.allclose(cornered(target.boxes, (10, 10)), [[0, 0, 4, 9]], atol=1e-5)


def test_a_draw_gives_the_same_view() -> None:
    view = DenseView(AugmentConfig(rotate=10), SIZES[0], classes=3)

    def drawn(number: int) -> tuple[torch.Tensor, Target]:
        with drawing("again", number):
            return view(*marked())

    (one, first), (same, second), (other, _) = drawn(1), drawn(1), drawn(2)
    assert torch.equal(one, same) and torch.equal(first.boxes, second.boxes)
    assert first.masks is None, "not asked for"
    assert not torch.equal(one, other)


@pytest.mark.parametrize("name", ["mixup", "cutmix", "erase"])
def test_pictures_with_boxes_are_not_mixed(name: str) -> None:
    with pytest.raises(ConfigError, match=f"augment.{name}"):
        DenseView(AugmentConfig(**{name: 0.5}), SIZES[0], classes=3)


def test_grey_views_work() -> None:
    grey = Preprocess(size=(20, 20), shorter=None, mean=(0.5,), std=(0.5,))
    image, _ = DenseView(AugmentConfig(), grey, classes=3)(*marked())
    assert image.shape == (1, 20, 20)
