"""Scenes: the same pixels everywhere, and answers that are true of them."""

import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitreous.data.scene_shapes import HUES, TEXTURES, Dice
from vitreous.data.scene_words import APART, SIZES, Thing, caption, phrase, relation
from vitreous.data.scenes import (
    COLOURS,
    FEWEST_PIXELS,
    LEVELS,
    SHAPES,
    Difficulty,
    Scene,
    ScenesConfig,
    scene,
)
from vitreous.errors import ConfigError

# Written down here: scenes are a function of (seed, index) on every machine, so this never changes.
PIXELS = "49509494779365a49b96a70b21029690ec3adc687de05b62f28ce2e09a0ea2c4"
SMALL = {level: ScenesConfig(size=32, difficulty=difficulty) for level, difficulty in LEVELS.items()}


def digest(scenes: list[Scene]) -> str:
    found = hashlib.sha256()
    for one in scenes:
        for part in one:
            found.update(part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
    return found.hexdigest()


def test_the_pixels_are_the_ones_that_were_written_down() -> None:
    assert digest([scene(config, index) for config in SMALL.values() for index in range(8)]) == PIXELS


def test_another_process_draws_the_same_in_another_order() -> None:
    code = (
        "from tests.data.test_scenes import SMALL, digest; from vitreous.data.scenes import scene;"
        "print(digest([scene(SMALL['hard'], index) for index in (7, 3, 5)][::-1]))"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == digest([scene(SMALL["hard"], index) for index in (5, 3, 7)])


def test_scenes_differ_by_seed_and_by_index() -> None:
    config = SMALL["normal"]
    pictures = [scene(config, 0), scene(config, 1), scene(replace(config, seed=1), 0)]
    assert len({one.picture.tobytes() for one in pictures}) == 3


def test_a_scene_is_laid_out_alike_at_every_size() -> None:
    for index in range(6):
        small, large = (scene(ScenesConfig(size=size), index) for size in (48, 96))
        assert small.phrases == large.phrases
        assert small.caption == large.caption
        assert np.abs(2 * small.boxes - large.boxes).max() <= 4


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(SMALL)), st.integers(0, 10**9), st.integers(0, 2**40))
def test_boxes_points_and_masks_agree(level: str, seed: int, index: int) -> None:
    one = scene(replace(SMALL[level], seed=seed), index)
    count = len(one.phrases)
    assert one.picture.shape == (32, 32, 3)
    assert one.picture.dtype == one.instances.dtype == one.semantic.dtype == np.uint8
    assert set(np.unique(one.instances)) | {0} == set(range(count + 1))
    for number in range(count):
        mask = one.instances == number + 1
        rows, cols = np.nonzero(mask)
        assert len(rows) >= FEWEST_PIXELS
        assert one.boxes[number].tolist() == [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]
        x, y = one.points[number]
        assert mask[int(y), int(x)]
        assert set(one.semantic[mask]) == {one.shapes[number] + 1}
        words = one.phrases[number].split()
        assert words[1] == SIZES[one.sizes[number]]
        assert words[2] == COLOURS[one.colours[number]]
        assert words[-1] == SHAPES[one.shapes[number]]
        assert TEXTURES[one.textures[number]] in ("plain", words[3])
    assert not one.semantic[one.instances == 0].any()


def test_an_object_has_its_colour_where_its_mask_is() -> None:
    """The hue of what is seen lies nearer to the named colour than to any other."""
    for index in range(30):
        one = scene(replace(SMALL["easy"], size=64), index)
        for number in range(len(one.phrases)):
            seen = one.picture[one.instances == number + 1].astype(float)
            strong = seen[seen.max(1) - seen.min(1) > 60]
            assert len(strong)
            hue = _hue(strong.mean(0))
            away = {name: abs((hue - wanted + 180) % 360 - 180) for name, wanted in HUES.items()}
            assert min(away, key=away.__getitem__) == COLOURS[one.colours[number]]


def _hue(rgb: np.ndarray) -> float:
    import colorsys

    return 360 * colorsys.rgb_to_hsv(*(rgb / 255))[0]


def parse(text: str) -> tuple[list[dict[str, str]], str]:
    """A caption back into objects and what is said between two of them; it raises where it cannot."""
    said = ""
    for word in ("left of", "right of", "above", "below"):
        if f" {word} " in text:
            said, text = word, text.replace(f" {word} ", " and ")
    found = []
    for part in text.replace(" and ", ", ").split(", "):
        article, *words = part.split()
        assert article == ("an" if words[0][0] in "aeiou" else "a")
        thing = {}
        for name, known in (("size", SIZES), ("colour", COLOURS), ("texture", TEXTURES), ("shape", SHAPES)):
            if words and words[0] in known:
                thing[name] = words.pop(0)
        assert not words
        assert {"colour", "shape"} <= thing.keys()
        found.append(thing)
    return found, said


@pytest.mark.parametrize("level", sorted(SMALL))
def test_captions_are_true(level: str) -> None:
    relations = set()
    for index in range(150):
        one = scene(SMALL[level], index)
        described, said = parse(one.caption)
        relations.add(said)
        left = [
            {
                "size": SIZES[one.sizes[number]],
                "colour": COLOURS[one.colours[number]],
                "texture": TEXTURES[one.textures[number]],
                "shape": SHAPES[one.shapes[number]],
            }
            for number in range(len(one.phrases))
        ]
        assert len(described) == len(left)
        for thing in sorted(described, key=len, reverse=True):  # the ones that say most choose first
            match = next(other for other in left if thing.items() <= other.items())
            left.remove(match)
    assert relations == {"", "left of", "right of", "above", "below"}


def test_relations_are_true_and_left_out_where_centres_are_close() -> None:
    here = Thing("small", "orange", "plain", "star", 0.5, 0.5)
    assert phrase(here) == "a small orange star"
    assert phrase(here, size=False) == "an orange star"
    for x, y, said in (
        (0.9, 0.6, "left of"),
        (0.1, 0.4, "right of"),
        (0.4, 0.9, "above"),
        (0.6, 0.1, "below"),
        (0.5 + APART / 2, 0.5, ""),
    ):
        there = here._replace(colour="red", x=x, y=y)
        assert relation(here, there) == said
        spoken = {caption([here, there], Dice("test", number)) for number in range(20)}
        assert all(
            (said in text) if said else (" and " in text)
            for text in spoken
            if text.index("orange") < text.index("red")
        )


def test_a_main_object_is_clearly_the_largest() -> None:
    for index in range(40):
        one = scene(SMALL["hard"], index, shape="heart", hue="cyan")
        assert (SHAPES[one.shapes[0]], COLOURS[one.colours[0]]) == ("heart", "cyan")
        sides = (one.boxes[:, 2:] - one.boxes[:, :2]).max(1)
        assert one.sizes[0] == max(one.sizes)
        assert sides[0] >= 0.65 * 0.36 * 32 * 0.9


def test_pairs_can_be_held_out_and_asked_for() -> None:
    held_out = {("star", "red"), ("ring", "blue")}
    every = [(shape, hue) for shape in SHAPES for hue in COLOURS]
    rest = tuple(pair for pair in every if pair not in held_out)
    seen = {pair for index in range(200) for pair in pairs(scene(replace(SMALL["easy"], pairs=rest), index))}
    assert not seen & held_out
    assert len(seen) > 70
    asked = replace(SMALL["easy"], pairs=tuple(sorted(held_out)))
    assert {pair for index in range(20) for pair in pairs(scene(asked, index))} == held_out
    with pytest.raises(ConfigError, match="none of the pairs is of shape heart"):
        scene(asked, 0, shape="heart")


def pairs(one: Scene) -> set[tuple[str, str]]:
    return {(SHAPES[shape], COLOURS[hue]) for shape, hue in zip(one.shapes, one.colours, strict=True)}


def test_each_knob_does_what_it_says() -> None:
    still = Difficulty(clutter=0, contrast=0, noise=0, occlusion=0, turn=0, hue_jitter=0, shade=0)
    plain = ScenesConfig(size=48, objects=(1, 1), difficulty=still)

    def outside(**changes: float) -> float:
        """The mean deviation of pixels that belong to no object."""
        config = replace(plain, difficulty=replace(still, **changes))
        scenes = [scene(config, index) for index in range(6)]
        return float(np.mean([one.picture[one.instances == 0].std(0).mean() for one in scenes]))

    calm = outside()
    assert calm < 8  # the edges of objects alone
    assert outside(clutter=20) > calm + 5
    assert outside(contrast=0.8) > calm + 5
    assert outside(noise=60) > calm + 5
    crowd = replace(plain, objects=(4, 4), difficulty=replace(still, radius=(0.2, 0.2)))
    hidden = replace(crowd, difficulty=replace(crowd.difficulty, occlusion=0.5))
    assert sum(len(scene(hidden, i).boxes) for i in range(20)) > sum(
        len(scene(crowd, i).boxes) for i in range(20)
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"size": 8}, "size must be from 16"),
        ({"objects": (0, 2)}, "objects wants"),
        ({"pairs": ()}, "pairs is empty"),
        ({"pairs": (("red", "star"),)}, "no such pair: red, star"),
    ],
)
def test_a_configuration_that_cannot_be_drawn_is_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ScenesConfig(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values",
    [
        {"clutter": -1},
        {"contrast": 2},
        {"noise": -3},
        {"occlusion": 0.9},
        {"radius": (0.3, 0.1)},
        {"hue_jitter": 40},
    ],
)
def test_a_difficulty_out_of_range_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        Difficulty(**values)  # type: ignore[arg-type]
