"""A teacher: its classes found among the data's, its pixels its own, and nothing begun with a wrong one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.training.test_fit import Stop, assert_same_end
from tests.training.test_from_classes import IDS, saved
from vitreous.checkpoints.file import Checkpoint, read, save
from vitreous.checkpoints.imagenet import class_list
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, ConfigError, DataError, Interrupted
from vitreous.models import catalog
from vitreous.predictor import Predictor, load
from vitreous.tasks.config import DistillationConfig
from vitreous.training.config import ModelChoice, TrainConfig
from vitreous.training.fit import fit
from vitreous.training.setup import set_up
from vitreous.training.teacher import FrozenTeacher, Teacher, columns

SMALL = {"width": 16, "depth": 2, "heads": 2}


def taught(config: TrainConfig, teacher: Path, **options: Any) -> TrainConfig:
    """The run of ``conftest`` with a DeiT and a teacher."""
    return replace(
        config,
        model=ModelChoice(name="deit_tiny", image_size=12, options=SMALL),
        task=DistillationConfig(teacher=str(teacher), **options),
    )


def classifier(
    preprocess: Preprocess, *, name: str = "vit_tiny", classes: tuple[str, ...] = ("a", "b", "c")
) -> Checkpoint:
    """Random weights with strong opinions."""
    torch.manual_seed(0)
    options = {} if name == "resnet_18" else SMALL
    config = catalog.configure(
        name,
        classes=len(classes),
        image_size=preprocess.size,
        channels=preprocess.channels,
        options=options,
    )
    model = catalog.build(config).eval()
    if name != "resnet_18":
        with torch.no_grad():
            model.head.weight.normal_(0, 1)
    return Checkpoint(model, preprocess, classes)


def teacher_of(checkpoint: Checkpoint, ours: Preprocess, *, features: bool = False) -> Teacher:
    frozen = FrozenTeacher("someone", checkpoint, tuple(range(len(checkpoint.classes))))
    return frozen.ready(ours, torch.device("cpu"), "auto", features=features)


def photographs(count: int, side: tuple[int, int], mode: str = "RGB") -> list[Image.Image]:
    """Smooth pictures, as photographs are."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (count, 5, 5, 3), dtype=np.uint8)
    return [
        Image.fromarray(picture).resize((side[1], side[0]), Image.Resampling.BICUBIC).convert(mode)
        for picture in coarse
    ]


def views(pictures: list[Image.Image], preprocess: Preprocess) -> Tensor:
    return torch.stack([preprocess(picture).image for picture in pictures])


IMAGENET = class_list("ImageNet-1k")


@pytest.mark.parametrize(
    ("wanted", "classes", "found"),
    [
        (("a", "b"), ("a", "b"), (0, 1)),
        (("a", "b"), ("b", "a"), (1, 0)),
        (("b", "d"), ("a", "b", "c", "d"), (1, 3)),
        (tuple(IDS.values()), IMAGENET.names, (0, 1)),
        (("goldfish", "tench"), IMAGENET.names, (1, 0)),
        (("goldfish", "tench"), IMAGENET.ids, (1, 0)),
        (("n01443537", "tench"), IMAGENET.names, (1, 0)),
    ],
)
def test_classes_are_found_by_name_and_by_wordnet_id(
    wanted: tuple[str, ...], classes: tuple[str, ...], found: tuple[int, ...]
) -> None:
    assert columns(wanted, classes, "someone") == found


@pytest.mark.parametrize(
    ("wanted", "classes", "words"),
    [
        (("a", "b"), ("a", "c"), r"classes 2 \(a, c\), the data has 2 \(a, b\); it does not know 1 \(b\)"),
        (("a", "b"), ("c", "d"), r"knows the classes 2 \(c, d\), the data has 2 \(a, b\); give"),
        (("a", "b"), ("a", "a", "b"), r"does not know 1 \(a\)"),
        (("tench", "n01440764"), IMAGENET.names, r"1000 \(tench, .*the data has 2 \(tench, n01440764\)"),
        (("tench", "my cat"), IMAGENET.names, r"does not know 1 \(my cat\)"),
    ],
)  # fmt: skip
def test_other_classes_list_both_orders(
    wanted: tuple[str, ...], classes: tuple[str, ...], words: str
) -> None:
    with pytest.raises(DataError, match=words) as caught:
        columns(wanted, classes, "someone")
    assert "\n" not in str(caught.value)


def test_a_view_of_the_same_size_is_what_the_teachers_own_predictor_sees() -> None:
    theirs = Preprocess(size=(12, 12), shorter=None, mean=(0.1, 0.2, 0.3), std=(0.3, 0.2, 0.5))
    ours = Preprocess(size=(12, 12), shorter=None, mean=(0.48, 0.45, 0.4), std=(0.22, 0.23, 0.21))
    checkpoint, pictures = classifier(theirs), photographs(20, (17, 23))
    lesson = teacher_of(checkpoint, ours).ask(views(pictures, ours))
    wanted = Predictor(checkpoint.model, theirs, checkpoint.classes, device="cpu")._logits(
        views(pictures, theirs)
    )
    np.testing.assert_allclose(lesson.logits.numpy(), wanted, atol=1e-4)
    assert np.ptp(wanted) > 1


@pytest.mark.parametrize("size", [(12, 12), (20, 12), (40, 40)])
def test_a_view_of_another_size_is_resized_as_the_picture_would_be(size: tuple[int, int]) -> None:
    theirs = Preprocess(size=size, shorter=None, interpolation="bicubic", mean=(0.0,) * 3, std=(1.0,) * 3)
    ours = Preprocess(size=(24, 24), shorter=None, mean=(0.5,) * 3, std=(0.25,) * 3)
    pictures = photographs(6, (24, 24))  # of which the student sees every pixel
    seen = teacher_of(classifier(theirs), ours).prepared(views(pictures, ours))
    difference = (seen - views(pictures, theirs)).abs().max().item()
    assert difference <= 2 / 255  # PIL rounds after each of the two directions


@pytest.mark.parametrize(("own", "other"), [(1, 3), (3, 1)])
def test_grey_becomes_three_channels_and_colour_its_luminance(own: int, other: int) -> None:
    ours = Preprocess(size=(12, 12), shorter=None, mean=(0.4,) * own, std=(0.2,) * own)
    theirs = Preprocess(size=(12, 12), shorter=None, mean=(0.5,) * other, std=(0.3,) * other)
    pictures = photographs(6, (12, 12), "L" if own == 1 else "RGB")
    seen = teacher_of(classifier(theirs), ours).prepared(views(pictures, ours))
    assert seen.shape == (6, other, 12, 12)
    difference = (seen - views(pictures, theirs)).abs().max().item()
    assert difference <= 1.01 / 255 / 0.3


@pytest.mark.parametrize("name", ["vit_tiny", "deit_tiny", "resnet_18"])
def test_an_answer_depends_on_its_picture_alone(name: str) -> None:
    side = 32 if name == "resnet_18" else 12
    ours = Preprocess(size=(side, side), shorter=None)
    teacher = teacher_of(classifier(ours, name=name), ours, features=True)
    images = views(photographs(37, (side, side)), ours)
    whole = teacher.ask(images)
    order = torch.randperm(37, generator=torch.Generator().manual_seed(0))
    for size in (1, 7, 16, 20):
        parts = [teacher.ask(images[order[start : start + size]]) for start in range(0, 37, size)]
        assert torch.equal(torch.cat([part.logits for part in parts]), whole.logits[order])
        assert torch.equal(torch.cat([part.features for part in parts]), whole.features[order])  # type: ignore[misc,index]
    torch.testing.assert_close(whole.features, teacher.model.features(images), atol=1e-4, rtol=1e-4)
    assert not teacher.model.training and not whole.logits.requires_grad


def test_the_order_of_the_teachers_classes_makes_no_difference(config: TrainConfig, tmp_path: Path) -> None:
    same = saved(tmp_path / "same", ("above", "below"))
    turned = read(same)
    for values in (turned.model.head.weight, turned.model.head.bias):
        values.data.copy_(values.data.flip(0))
    save(tmp_path / "turned", Checkpoint(turned.model, turned.preprocess, ("below", "above")))
    said: list[str] = []
    for name in ("same", "turned"):
        short = replace(taught(config, tmp_path / name), epochs=1, output=str(tmp_path / f"by-{name}"))
        fit(short, watch=lambda moment: said.append(str(moment.values.get("text"))))
    one, two = (read(tmp_path / f"by-{name}" / "best") for name in ("same", "turned"))
    for name, value in one.model.state_dict().items():
        assert torch.equal(value, two.model.state_dict()[name]), name
    assert [text for text in said if "taught by" in text] == [
        f"taught by {tmp_path}/same: vit, 12x12 pixels",
        f"taught by {tmp_path}/turned: vit, 12x12 pixels; its classes were put in the order of the data",
    ]


def test_a_teacher_of_more_classes_is_asked_about_those_of_the_data(
    config: TrainConfig, tmp_path: Path
) -> None:
    source = saved(tmp_path / "wide", ("left", "below", "right", "above"))
    setup = set_up(taught(config, source))
    assert setup.teacher is not None and setup.teacher.columns == (3, 1)
    assert setup.notes[-1].endswith("it is asked about 2 of its 4 classes")
    teacher = setup.teacher.ready(setup.preprocess, torch.device("cpu"), "auto", features=False)
    images = torch.randn(3, 3, 12, 12)
    all_logits = teacher.model(teacher.prepared(torch.cat([images, torch.zeros(13, 3, 12, 12)]))).logits
    torch.testing.assert_close(teacher.ask(images).logits, all_logits[:3, [3, 1]])


def test_a_student_knows_who_taught_it(config: TrainConfig, tmp_path: Path) -> None:
    first = fit(replace(config, output=str(tmp_path / "first"), epochs=1))
    run = fit(replace(taught(config, first.path), epochs=1))
    student = load(run.path, device="cpu")
    lineage = student.lineage["teacher"]
    assert {name: lineage[name] for name in ("source", "family", "classes")} == {
        "source": "first",
        "family": "vit",
        "classes": 2,
    }
    assert len(lineage["sha256"]) == 64
    assert lineage["lineage"]["data"]["source"] == config.data.rsplit("/", 1)[-1]
    assert student.lineage["training"]["task"] == "distillation"
    assert str(tmp_path) not in str(lineage)


@pytest.mark.parametrize("name", ["mae_tiny", "no head", "no such file", "other classes"])
def test_who_cannot_teach_is_refused_before_anything_is_written(
    config: TrainConfig, tmp_path: Path, name: str
) -> None:
    place = tmp_path / "teacher"
    prepare = Preprocess(size=(32, 32), shorter=None)
    if name == "mae_tiny":
        save(place, Checkpoint(catalog.build(catalog.configure(name)), prepare, ()))
    elif name == "no head":
        save(place, Checkpoint(catalog.build(catalog.configure("vit_tiny", classes=0)), prepare, ()))
    elif name == "other classes":
        saved(place, ("above", "beyond"))
    errors = {"no such file": CheckpointError, "other classes": DataError}
    words = {
        "no such file": "no such file or directory",
        "other classes": r"\(above, beyond\), the data has 2 \(above, below\); it does not know 1 \(below\)",
    }
    with pytest.raises(errors.get(name, ConfigError), match=words.get(name, "tells no classes apart")):
        fit(taught(config, place))
    assert not Path(config.output).exists()


def test_whose_answers_are_several_labels_teaches_no_single_ones(config: TrainConfig, tmp_path: Path) -> None:
    checkpoint = classifier(Preprocess(size=(12, 12), shorter=None), classes=("above", "below"))
    save(tmp_path / "several", replace(checkpoint, answers="several"))
    with pytest.raises(ConfigError, match="several labels for a picture"):
        fit(taught(config, tmp_path / "several"))


def test_nobody_is_taught_by_the_run_itself(config: TrainConfig) -> None:
    for place in (config.output, f"{config.output}/best", str(Path(config.output).parent)):
        with pytest.raises(ConfigError, match="give another --output, or other weights"):
            taught(config, Path(place))


def test_a_run_does_not_go_on_with_another_teacher(config: TrainConfig, tmp_path: Path) -> None:
    source = saved(tmp_path / "teacher", ("above", "below"))
    run = taught(config, source)
    with pytest.raises(Interrupted):
        fit(run, watch=Stop(3))
    changed = read(source)
    changed.model.head.bias.data += 1
    save(source, changed)
    with pytest.raises(DataError, match="or the weights that it needs beside them"):
        fit(run, resume=True)


@pytest.mark.parametrize(("side", "at_once"), [(12, 16), (224, 16), (384, 5), (600, 2), (2000, 1)])
def test_of_large_pictures_fewer_are_looked_at_at_once(side: int, at_once: int) -> None:
    large = Preprocess(size=(side, side), shorter=None)
    checkpoint = classifier(Preprocess(size=(12, 12), shorter=None))
    teacher = teacher_of(replace(checkpoint, preprocess=large), large)
    assert teacher.at_once == at_once


@pytest.mark.parametrize("name", ["resnet_18", "swin_tiny"])
def test_any_classifier_teaches_any_other(config: TrainConfig, tmp_path: Path, name: str) -> None:
    prepare = Preprocess(size=(32, 32), shorter=None)
    torch.manual_seed(0)
    model = catalog.build(catalog.configure(name, classes=2, image_size=32))
    save(tmp_path / "teacher", Checkpoint(model.eval(), prepare, ("below", "above")))
    student = replace(
        taught(config, tmp_path / "teacher", targets="soft", features=0.5),
        model=ModelChoice(name="vit_tiny", image_size=12, options=SMALL),
        epochs=1,
    )
    assert fit(student).steps == 6


def test_a_stopped_run_that_asks_as_views_come_goes_on_to_the_same_bits(
    config: TrainConfig, tmp_path: Path
) -> None:
    mixed = replace(config.augment, mixup=0.3, cutmix=1.0)
    source = saved(tmp_path / "teacher", ("below", "above"))
    run = replace(taught(config, source, features=0.5), augment=mixed, epochs=3)
    run = replace(run, model=replace(run.model, options=SMALL | {"drop_path": 0.2}))
    fit(run)
    stopped = replace(run, output=str(tmp_path / "stopped"), workers=2)
    with pytest.raises(Interrupted):
        fit(stopped, watch=Stop(8))
    fit(stopped, resume=True)
    assert_same_end(tmp_path / "run", tmp_path / "stopped")
