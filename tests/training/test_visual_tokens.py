"""Runs that learn visual tokens: what a tokenizer decides, what is refused, and the same end after a stop."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.test_fit import Stop, assert_same_end, rows
from vitreous.checkpoints.adapter import fingerprint
from vitreous.checkpoints.destination import write_any
from vitreous.checkpoints.file import Checkpoint, read, save
from vitreous.checkpoints.foreign.dall_e import preprocess_for
from vitreous.data.augment import AugmentConfig
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, ConfigError, DataError, Interrupted
from vitreous.models import catalog
from vitreous.models.config import DVAEConfig
from vitreous.tasks.config import ClassificationConfig, VisualTokensConfig
from vitreous.training.config import ModelChoice, TrainConfig
from vitreous.training.fit import fit
from vitreous.training.setup import set_up

SMALL = {"width": 16, "depth": 2, "heads": 2}
Edit = Callable[[torch.nn.Module], None]


def make_tokenizer(path: Path, codes: int = 16, *, seed: int = 0, edit: Edit | None = None) -> Path:
    """A discrete VAE with random weights, four pixels to a token."""
    torch.manual_seed(seed)
    config = DVAEConfig(codes=codes, groups=3, blocks=1, width=8, code_width=8, image_size=(12, 12))
    model = catalog.build(config)
    if edit is not None:
        edit(model)
    save(path, Checkpoint(model, Preprocess(size=(12, 12), shorter=None), (), lineage={"made": "here"}))
    return path


@pytest.fixture
def tokens(config: TrainConfig, tmp_path: Path) -> TrainConfig:
    """The run of ``conftest`` with another task: a grid of 3 x 3 patches, 4 of them hidden."""
    return replace(
        config,
        model=ModelChoice(name="beit_tiny_masked", image_size=12, options=SMALL | {"drop_path": 0.2}),
        augment=AugmentConfig(crop=(0.6, 1.0), rand_augment=None),
        task=VisualTokensConfig(tokenizer=str(make_tokenizer(tmp_path / "tokenizer"))),
        epochs=4,
    )


def with_options(config: TrainConfig, **options: Any) -> TrainConfig:
    return replace(config, model=replace(config.model, options=config.model.options | options))


def test_it_learns_and_the_backbone_goes_on_with_its_whole_lineage(
    config: TrainConfig, tokens: TrainConfig, tmp_path: Path
) -> None:
    heard: list[str] = []
    run = fit(replace(tokens, epochs=10), watch=lambda moment: heard.append(str(moment.values.get("text"))))
    assert any("of 16 occur in 16 pictures" in text for text in heard)
    measures = rows(run.path)
    assert measures[-1]["masked_loss"] < measures[0]["masked_loss"]
    assert measures[-1]["masked_loss"] < 1.5 * measures[-1]["guessing_loss"]
    pretrained = read(run.path / "best")
    assert pretrained.model.config.visual_tokens == 16
    told = pretrained.lineage["tokenizer"]
    assert (told["source"], told["codes"], told["lineage"]) == ("tokenizer", 16, {"made": "here"})
    assert told["sha256"] == fingerprint(read(tmp_path / "tokenizer").model.state_dict())
    assert pretrained.lineage["training"]["task"] == "visual_tokens"
    tuned = fit(
        replace(config, output=str(tmp_path / "tuned"), epochs=1, model=ModelChoice(source=str(run.path)))
    )
    lineage = read(tuned.path / "best").lineage
    assert lineage["from"]["source"] == str(run.path)
    assert lineage["from"]["lineage"]["tokenizer"] == told


def test_a_stopped_run_goes_on_to_the_same_bits(tokens: TrainConfig, tmp_path: Path) -> None:
    fit(tokens)
    stopped = replace(tokens, output=str(tmp_path / "stopped"))
    for step in (1, 10):  # in the first epoch, and in the middle of a later one
        with pytest.raises(Interrupted):
            fit(stopped, resume=True, watch=Stop(step))
    fit(stopped, resume=True)
    assert_same_end(tmp_path / "run", tmp_path / "stopped")


def test_micro_batches_teach_alike(tokens: TrainConfig, tmp_path: Path) -> None:
    fit(tokens)
    fit(replace(tokens, output=str(tmp_path / "small"), micro_batch=2))
    for row, small in zip(rows(tmp_path / "run"), rows(tmp_path / "small"), strict=True):
        assert small["loss"] == pytest.approx(row["loss"], rel=1e-4)


def test_a_run_does_not_go_on_with_another_tokenizer(tokens: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        fit(tokens, watch=Stop(2))
    make_tokenizer(tmp_path / "tokenizer", seed=1)
    with pytest.raises(DataError, match="changed since the run was begun, or the weights that it needs"):
        fit(tokens, resume=True)


# How many tokens there are


def test_a_new_model_tells_as_many_tokens_apart_as_there_are(tokens: TrainConfig) -> None:
    assert set_up(tokens).model.config.visual_tokens == 16
    assert set_up(with_options(tokens, visual_tokens=16)).model.config.visual_tokens == 16


def test_another_number_is_refused_where_it_was_said(tokens: TrainConfig) -> None:
    with pytest.raises(ConfigError, match=r"visual_tokens is 512, and the tokenizer .* has 16 tokens"):
        fit(with_options(tokens, visual_tokens=512))
    assert not Path(tokens.output).exists()


def test_weights_go_on_with_the_tokens_that_they_know(tokens: TrainConfig, tmp_path: Path) -> None:
    first = fit(replace(tokens, epochs=1))
    again = replace(tokens, output=str(tmp_path / "again"), model=ModelChoice(source=str(first.path)))
    assert set_up(again).model.config.visual_tokens == 16
    other = VisualTokensConfig(tokenizer=str(make_tokenizer(tmp_path / "other", codes=20)))
    with pytest.raises(ConfigError, match=r"run tells 16 visual tokens apart, and the tokenizer .* has 20"):
        fit(replace(again, task=other))


def test_reading_a_tokenizer_changes_no_weight_of_the_model(tokens: TrainConfig, tmp_path: Path) -> None:
    first = set_up(tokens).model.state_dict()
    other = VisualTokensConfig(tokenizer=str(make_tokenizer(tmp_path / "other", seed=3)))
    second = set_up(replace(tokens, task=other)).model.state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_the_dall_e_encoder_is_a_tokenizer_as_its_file_comes(tokens: TrainConfig, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = DVAEConfig(codes=32, groups=4, blocks=1, width=8, decoder=False, paints="logit_laplace")
    model = catalog.build(config)
    write_any(tmp_path / "dall_e", Checkpoint(model, preprocess_for(3), ()), "dall_e")
    source = tmp_path / "dall_e" / "encoder.safetensors"
    run = fit(replace(tokens, epochs=1, task=VisualTokensConfig(tokenizer=str(source))))
    lineage = read(run.path / "best").lineage["tokenizer"]
    assert (lineage["source"], lineage["codes"]) == ("encoder.safetensors", 32)
    setup = set_up(replace(tokens, task=VisualTokensConfig(tokenizer=str(source))))
    assert setup.tokenizer is not None
    answers = setup.tokenizer.answers(setup.preprocess, setup.model.config, torch.device("cpu"))
    view = setup.preprocess(setup.train.open(0)).image[None]  # 12 x 12 pixels, 3 x 3 patches
    shown = answers.prepared(view)
    assert shown.shape == (1, 3, 24, 24)  # 3 x 3 tokens of 8 x 8 pixels
    assert shown.min() >= 0.1 - 1e-5 and shown.max() <= 0.9 + 1e-5  # DALL-E's own range
    assert torch.equal(answers(view), model.tokens(shown).flatten(1))


# What is refused


def test_a_source_that_is_no_discrete_vae_is_refused(
    config: TrainConfig, tokens: TrainConfig, tmp_path: Path
) -> None:
    classifier = fit(replace(config, epochs=1, task=ClassificationConfig()))
    wrong = replace(
        tokens, output=str(tmp_path / "other"), task=VisualTokensConfig(tokenizer=str(classifier.path))
    )
    with pytest.raises(CheckpointError, match="of the family vit makes no visual tokens") as caught:
        fit(wrong)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "other").exists()


def test_a_tokenizer_that_is_not_there_is_refused(tokens: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        fit(replace(tokens, task=VisualTokensConfig(tokenizer=str(tmp_path / "nowhere"))))
    with pytest.raises(ConfigError, match=r"needs a tokenizer; give --set task.tokenizer=SOURCE"):
        fit(replace(tokens, task=VisualTokensConfig()))
    assert not Path(tokens.output).exists()


@torch.no_grad()
def collapse(model: torch.nn.Module) -> None:
    """Whatever is shown, the last code is the likeliest."""
    model.encoder.output.weight.zero_()
    model.encoder.output.bias.copy_(torch.arange(len(model.encoder.output.bias)))


def test_a_tokenizer_with_one_token_for_everything_is_refused(tokens: TrainConfig, tmp_path: Path) -> None:
    path = make_tokenizer(tmp_path / "collapsed", edit=collapse)
    with pytest.raises(ConfigError, match="gives all patches of 16 pictures the same token"):
        fit(replace(tokens, task=VisualTokensConfig(tokenizer=str(path))))
    assert not Path(tokens.output).exists()
