"""Other classes and picture sizes for every family: what is new is said, all else is the same memory."""

import pytest
import torch
from torch import Tensor, nn

from tests.parity.twins import pictures, randomise
from vitreous.checkpoints.adapt import adapt
from vitreous.checkpoints.file import Checkpoint
from vitreous.data.preprocess import Preprocess
from vitreous.errors import ConfigError
from vitreous.models import catalog
from vitreous.models.config import (
    ClassifierConfig,
    DeiTConfig,
    DetrConfig,
    SegFormerConfig,
    YolosConfig,
    family_of,
    is_classifier,
)

TINY = [name for name in catalog.names() if "_tiny" in name]
TUNABLE = [name for name in TINY if name != "dvae_tiny"]
CLASSIFIERS = [name for name in TINY if is_classifier(catalog.configure(name))]
OTHERS = {
    "mae": "the decoder of the pretraining is left out",
    "beit_masked": "the mask token and visual-token head of the pretraining is left out",
    "simmim": "the mask token and decoder of the pretraining is left out",
    "upernet": "the head for every place",
}
OLD, NEW = ("ant", "bee", "cat"), ("x", "y", "z", "w")
SIZES = [(48, 48), (24, 56), (30, 30)]


def checkpoint_of(name: str) -> Checkpoint:
    """A tiny model of the family with a random value in every parameter, and a fitted temperature."""
    config = catalog.configure(name, classes=len(OLD))
    model = randomise(catalog.build(config))
    names = OLD if config.classes else ()
    return Checkpoint(model, Preprocess(size=config.image_size, shorter=None), names, 2.0, {"made": "here"})


def answer(model: nn.Module, images: Tensor) -> Tensor:
    """The first field of an answer; what a masked autoencoder hides is drawn from the same seed."""
    torch.manual_seed(5)
    with torch.no_grad():
        return model(images)[0]


def is_same(one: Tensor, other: Tensor) -> bool:
    return one.data_ptr() == other.data_ptr() and torch.equal(one, other)


@pytest.mark.parametrize("name", TUNABLE)
def test_new_classes_take_new_heads_and_all_else_is_the_same_memory(name: str) -> None:
    checkpoint = checkpoint_of(name)
    before = {key: value.clone() for key, value in checkpoint.model.state_dict().items()}
    adapted, notes = adapt(checkpoint, classes=NEW)
    config = checkpoint.model.config
    heads = ("head.", "distillation_head.") if isinstance(config, DeiTConfig) else ("head.",)
    places = isinstance(config, SegFormerConfig)  # whose last layer alone is new
    heads = ("head.classify.",) if places else heads
    objects = isinstance(config, DetrConfig | YolosConfig)
    heads = ("classify.",) if objects else heads
    heads = ("classify.layers.2.",) if isinstance(config, YolosConfig) else heads
    kept = places or objects or is_classifier(config)
    ours, theirs = checkpoint.model.state_dict(), adapted.model.state_dict()
    if not kept:  # the norm of a ViT goes behind the mean
        theirs = {key.replace("pool_norm.", "backbone.norm."): value for key, value in theirs.items()}
    new = {key for key in theirs if key.startswith(heads)}
    assert {key.rpartition(".")[0].removesuffix(".output") + "." for key in new} == set(heads)
    assert {key for key in theirs if key in ours and is_same(theirs[key], ours[key])} == set(theirs) - new
    if kept:
        assert set(theirs) == set(ours)
    else:
        assert set(theirs) - new == {key for key in ours if key.startswith("backbone.")}
    assert (adapted.classes, adapted.temperature, adapted.lineage) == (NEW, 1.0, checkpoint.lineage)
    assert adapted.preprocess == checkpoint.preprocess
    logits = answer(adapted.model, pictures(config.image_size).float())
    told = logits[:, 0, :-1] if objects else logits  # one query's classes, without that of no object
    assert told.shape[:2] == (3, 4) and logits.isfinite().all() and logits.std() > 0
    for key, value in checkpoint.model.state_dict().items():
        assert torch.equal(value, before[key]), key
    said = notes[-1]
    many = "two new heads" if isinstance(config, DeiTConfig) else "a new head"
    place = "the one for 3" if checkpoint.classes else "none"
    assert said.startswith(f"{many} with random weights for 4 classes")
    assert said.endswith(f"the place of {place}; all else is kept")
    if kept:
        assert len(notes) == 1
    else:
        assert len(notes) == 2 and notes[0].startswith(OTHERS[family_of(config)])
        assert isinstance(adapted.model.config, ClassifierConfig) and adapted.model.config.pool == "mean"


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_new_heads_are_small_random_and_drawn_from_the_seed(name: str) -> None:
    checkpoint = checkpoint_of(name)
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        state = adapt(checkpoint, classes=NEW)[0].model.state_dict()
        drawn.append(torch.cat([state[key].flatten() for key in state if "head." in key]))
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert 0 < drawn[0].abs().max() < 0.2


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("size", SIZES)
def test_another_native_size_answers_what_the_model_answers_at_that_size(
    name: str, size: tuple[int, int]
) -> None:
    checkpoint = checkpoint_of(name)
    adapted, notes = adapt(checkpoint, image_size=size)
    assert adapted.model.config.image_size == adapted.preprocess.size == size
    assert (adapted.classes, adapted.temperature) == (checkpoint.classes, 2.0)
    before = "x".join(map(str, checkpoint.model.config.image_size))
    assert len(notes) == 1 and notes[0].endswith(f"from pictures of {before} to {size[0]}x{size[1]} pixels")
    images = pictures(size).float()
    torch.testing.assert_close(
        answer(adapted.model, images), answer(checkpoint.model, images), atol=1e-5, rtol=1e-5
    )
    ours, theirs = checkpoint.model.state_dict(), adapted.model.state_dict()
    assert set(ours) == set(theirs)
    moved = {key for key in theirs if not is_same(theirs[key], ours[key])}
    assert all(key.endswith(("positions.table", "bias.table")) for key in moved), moved


def test_a_tokenizer_tells_no_classes_apart() -> None:
    with pytest.raises(ConfigError, match="cannot be tuned to tell classes apart; wanted a backbone"):
        adapt(checkpoint_of("dvae_tiny"), classes=NEW)


@pytest.mark.parametrize("name", TUNABLE)
def test_classes_and_size_at_once(name: str) -> None:
    checkpoint = checkpoint_of(name)
    adapted, notes = adapt(checkpoint, classes=NEW, image_size=(40, 48))
    before = "x".join(map(str, checkpoint.model.config.image_size))
    assert f"from pictures of {before} to 40x48" in notes[0] and "all else is kept" in notes[-1]
    told = answer(adapted.model, pictures((40, 48)).float())
    # A detector tells one class more, that of no object.
    if isinstance(adapted.model.config, DetrConfig | YolosConfig):
        assert told.shape == (3, adapted.model.config.queries, 5)
    else:
        assert told.shape[:2] == (3, 4)
    assert adapt(adapted, classes=NEW, image_size=(40, 48)) == (adapted, ())


@pytest.mark.parametrize("name", ["resnet_18", "efficientnet_b0", "regnet_y_400mf"])
def test_convolutional_networks_keep_all_but_their_last_layer(name: str) -> None:
    config = catalog.configure(name, classes=len(OLD))
    checkpoint = Checkpoint(catalog.build(config).eval(), Preprocess(size=config.image_size), OLD)
    adapted, notes = adapt(checkpoint, classes=NEW, image_size=(96, 64))
    ours, theirs = checkpoint.model.state_dict(), adapted.model.state_dict()
    assert list(ours) == list(theirs)
    new = [key for key in theirs if not is_same(theirs[key], ours[key])]
    assert [tuple(theirs[key].shape[:1]) for key in new] == [(4,), (4,)]
    assert new == list(theirs)[-2:]
    assert notes[-1].startswith(
        "a new head with random weights for 4 classes takes the place of the one for 3"
    )
    assert answer(adapted.model, pictures((96, 64)).float()).shape == (3, 4)


def test_positions_between_blocks_are_resized_too() -> None:
    config = catalog.configure("yolos_tiny", classes=len(OLD), options={"positions_between": True})
    model = randomise(catalog.build(config))
    checkpoint = Checkpoint(model, Preprocess(size=config.image_size, shorter=None), OLD)
    adapted, _ = adapt(checkpoint, image_size=(40, 72))
    images = pictures((40, 72)).float()
    torch.testing.assert_close(answer(adapted.model, images), answer(model, images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "head"), [("detr_vit_tiny", "classify"), ("yolos_tiny", "classify.layers.2")]
)
def test_what_says_that_there_is_no_object_stays(name: str, head: str) -> None:
    checkpoint = checkpoint_of(name)
    adapted, _ = adapt(checkpoint, classes=NEW)
    for leaf in ("weight", "bias"):
        old, new = (getattr(part.model.get_submodule(head), leaf) for part in (checkpoint, adapted))
        assert len(new) == len(NEW) + 1 and torch.equal(new[-1], old[-1])
