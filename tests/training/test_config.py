"""Configurations survive JSON; settings change what they name; what is wrong is answered in one line."""

import json

import pytest

from vitreous.config import from_plain, to_plain
from vitreous.errors import ConfigError
from vitreous.training.config import TrainConfig, with_settings
from vitreous.training.recipes import RECIPES, configured, default_recipe, recipe


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_survives_json(name: str) -> None:
    config = recipe(name)("data", "run")
    assert from_plain(TrainConfig, json.loads(json.dumps(to_plain(config)))) == config


def test_settings_reach_any_depth_and_keep_types() -> None:
    config = with_settings(
        recipe("scratch")("data", "run"),
        ["optimizer.learning_rate=1e-3", "model.options.registers=4", "augment.crop=null", "epochs=3"],
    )
    assert config.optimizer.learning_rate == 0.001
    assert config.model.options["registers"] == 4
    assert config.augment.crop is None
    assert config.epochs == 3


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("epochs", "key=value"),
        ("epoch=3", "epochs"),
        ("optimizer.learning_rat=1", "learning_rate"),
        ("epochs.more=1", "no keys below"),
        ("epochs=many", "wanted int"),
        ("epochs=0", "1 or more"),
        ("precision=float16", "bfloat16"),
        ("model.name=vit_b16", "vit_b_16"),
        ("model.options.regsters=1", "registers"),
        ("augment.flip=2", "probability"),
        ("epochs=[1", "YAML"),
        ("workers=-1", "0 or more"),
        ("threads=1000000", "1 to 1024"),
        ("augment.rotate=-5", "degrees"),
        ("augment.shift=2", "share"),
        ("augment.rand_augment=[2, 50]", "from 0 to 30"),
        ("optimizer.betas=[2, 0.9]", "decays"),
        ("optimizer.weight_decay=-1", "0 or more"),
        ("optimizer.learning_rate=.nan", "above 0"),
        ("model.source=run", "bring their own"),
    ],
)
def test_a_wrong_setting_says_what_was_wanted(setting: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        with_settings(recipe("scratch")("data", "run"), [setting])
    assert "\n" not in str(caught.value)


def test_another_masked_autoencoder_learns_the_same_targets() -> None:
    assert configured("data", "run", "mae", "mae_b_16").model.options == {"normalised_targets": True}
    other = configured("data", "run", "mae", "mae_b_16", settings=["model.options.normalised_targets=false"])
    assert other.model.options == {"normalised_targets": False}


def test_recipes_are_found_and_chosen() -> None:
    assert default_recipe("digits", None) == "digits"
    assert default_recipe("pictures", None) == "scratch"
    assert default_recipe("pictures", "run") == "tune"
    with pytest.raises(ConfigError, match="did you mean 'digits'"):
        recipe("digit")
