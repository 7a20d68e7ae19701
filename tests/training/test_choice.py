"""The run that is chosen fits the pictures, their number and the machine, and never is absurd."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from vitreous.errors import ConfigError
from vitreous.models.config import ClassifierConfig, MAEConfig
from vitreous.tasks.config import ClassificationConfig, MaskedAutoencodingConfig, check_fits
from vitreous.training.choice import PATIENCE, Facts, choose, reasons
from vitreous.training.config import TrainConfig

FLOWERS = Facts(pictures=1_000, classes=10, fewest=90, most=110, side=500)


def chosen(facts: Facts) -> TrainConfig:
    return choose(facts, "pictures", "run").config


@pytest.mark.parametrize(
    ("facts", "model", "image_size", "patch"),
    [
        # small pictures: a grid of 8 x 8, deeper where there are many
        (replace(FLOWERS, side=8, grey=True), "vit_tiny", 16, 2),
        (replace(FLOWERS, side=28, grey=True, pictures=60_000), "vit_tiny", 32, 4),
        (replace(FLOWERS, side=32, pictures=45_000, cores=16), "vit_tiny", 32, 4),
        (replace(FLOWERS, side=64), "vit_tiny", 64, 8),
        # photographs: 224 pixels where there is time, fewer where not
        (replace(FLOWERS, pictures=5_000, device="cuda"), "vit_ti_16", 224, 16),
        (replace(FLOWERS, pictures=100_000, device="cuda"), "vit_s_16", 224, 16),
        (replace(FLOWERS, pictures=5_000, cores=64), "vit_ti_16", 224, 16),
        (replace(FLOWERS, pictures=5_000, cores=2), "vit_tiny", 128, 16),
        (replace(FLOWERS, pictures=1_200_000, classes=1000, cores=2), "vit_tiny", 64, 8),
        # few of them: no large model, whatever the machine
        (FLOWERS, "vit_tiny", 128, 16),
        (replace(FLOWERS, device="cuda"), "vit_tiny", 128, 16),
        (replace(FLOWERS, pictures=20, fewest=2, most=2), "vit_tiny", 128, 16),
        # neither small nor large: not blown up
        (replace(FLOWERS, side=80, pictures=5_000, device="cuda"), "vit_tiny", 64, 8),
        (replace(FLOWERS, side=120, pictures=5_000, device="cuda"), "vit_ti_16", 160, 16),
        # without labels
        (replace(FLOWERS, classes=0, side=32), "mae_tiny", 32, 4),
        (replace(FLOWERS, classes=0, pictures=20_000, cores=2), "mae_tiny", 64, 8),
        (replace(FLOWERS, classes=0, pictures=20_000, device="cuda"), "mae_b_16", 224, 16),
    ],
)
def test_what_is_chosen(facts: Facts, model: str, image_size: int, patch: int) -> None:
    config = chosen(facts)
    shape = config.model.configure(classes=max(2, facts.classes))
    assert isinstance(shape, ClassifierConfig | MAEConfig)
    assert (config.model.name, shape.image_size[0], shape.vit.patch) == (model, image_size, patch)


FACTS = some.builds(
    Facts,
    pictures=some.integers(1, 3_000_000),
    classes=some.one_of(some.just(0), some.integers(2, 20_000)),
    fewest=some.integers(1, 1000),
    most=some.integers(1, 100_000),
    side=some.integers(1, 12_000),
    grey=some.booleans(),
    cores=some.integers(1, 256),
    device=some.sampled_from(["cpu", "cuda", "mps"]),
)


@settings(max_examples=300, deadline=None)
@given(FACTS)
def test_nothing_absurd_is_ever_chosen(facts: Facts) -> None:
    config = chosen(facts)
    shape = config.model.configure(classes=max(2, facts.classes))
    check_fits(config.task, shape)
    assert isinstance(shape, ClassifierConfig | MAEConfig)
    rows, cols = shape.vit.grid
    assert 8 <= rows == cols <= 14
    assert shape.channels == (1 if facts.grey else 3)
    assert shape.image_size[0] <= max(64, 1.5 * facts.side)
    assert shape.image_size[0] >= min(facts.side, 64) or facts.side > 32
    assert isinstance(config.task, ClassificationConfig) is (facts.classes > 0)
    assert 10 <= config.epochs <= 400
    assert 8 <= config.batch_size <= max(8, min(256, facts.pictures // 2))
    views = config.epochs * facts.pictures
    assert views >= 200_000 or config.epochs >= 200  # enough is seen of few pictures
    assert views <= 800_000 or config.epochs <= 20  # and not each of many for ever
    assert (config.augment.flip == 0) is (facts.grey and facts.side <= 64)
    assert config.evaluate_every <= config.epochs
    assert 2 <= len(reasons(config, facts, None)) <= 4


@settings(max_examples=100, deadline=None)
@given(FACTS)
def test_more_of_a_machine_never_leads_to_less(facts: Facts) -> None:
    def width(facts: Facts) -> tuple[int, int]:
        shape = chosen(facts).model.configure(classes=2)
        assert isinstance(shape, ClassifierConfig | MAEConfig)
        return shape.vit.encoder.width * shape.vit.depth, shape.image_size[0]

    assert width(replace(facts, cores=2 * facts.cores)) >= width(facts)
    assert width(replace(facts, device="cuda")) >= width(replace(facts, device="cpu", cores=2))


def test_skewed_classes_are_balanced_and_it_is_said() -> None:
    skewed = replace(FLOWERS, fewest=10, most=400)
    config = chosen(skewed)
    assert isinstance(config.task, ClassificationConfig)
    assert config.task.balance == "loss"
    assert any("from 10 to 400 pictures" in note for note in reasons(config, skewed, None))
    assert chosen(FLOWERS).task == ClassificationConfig()


def test_pictures_alone_are_learnt_from_by_hiding_most_of_them() -> None:
    unlabelled = replace(FLOWERS, classes=0)
    config = chosen(unlabelled)
    assert config.task == MaskedAutoencodingConfig()
    assert config.model.options["normalised_targets"] is True
    assert not config.augment.mixes
    assert "masked autoencoder" in reasons(config, unlabelled, None)[0]


def test_few_pictures_are_pointed_to_weights_that_have_seen_more() -> None:
    few = "--from goes on with"
    many = replace(FLOWERS, pictures=50_000)
    assert few in reasons(chosen(FLOWERS), FLOWERS, None)[-1]
    assert not any(few in note for note in reasons(chosen(many), many, None))
    rare = replace(many, classes=1000, fewest=40, most=60)  # fifty of a class
    assert few in reasons(chosen(rare), rare, None)[-1]


def test_reasons_tell_of_the_run_with_what_was_changed_since() -> None:
    slow = replace(FLOWERS, pictures=5_000)
    choice = choose(slow, "my pictures", "run")
    model = replace(choice.config.model, image_size=96)
    changed = replace(choice.config, model=model, epochs=1, augment=replace(choice.config.augment, flip=0.0))
    first, second = reasons(changed, slow, choice.dearest)[:2]
    assert "vit_tiny, 128 wide and 6 deep, at 96x96 pixels in 6x6 patches" in first
    assert "5,000 colour pictures of about 500 pixels in 10 classes" in first
    assert "vit_ti_16 at 224x224 pixels would take more than an hour on 2 cores" in first
    assert PATIENCE == 3600
    assert second.startswith("1 epoch in batches of 64; views are never mirrored")


def test_a_model_of_another_kind_has_no_reasons() -> None:
    with pytest.raises(ConfigError, match="resnet_18"):
        config = chosen(FLOWERS)
        reasons(replace(config, model=replace(config.model, name="resnet_18", options={})), FLOWERS, None)
