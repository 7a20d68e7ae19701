"""What is said of a scene: a phrase for each object, and a caption from a small grammar that is always true.

    caption  = phrase | phrase RELATION phrase | phrase {"," phrase} "and" phrase
    phrase   = ("a" | "an") [SIZE] COLOUR [TEXTURE] SHAPE
    RELATION = "left of" | "right of" | "above" | "below"

A plain texture has no word. Sizes and textures are sometimes left out, as people do.
"""

from collections.abc import Sequence
from typing import NamedTuple

from vitreous.data.scene_shapes import Dice

SIZES = ("small", "medium", "large")
APART = 0.15  # share of the side between two centres that makes "left of" worth saying


class Thing(NamedTuple):
    """The words for one object, and its centre as shares of the side."""

    size: str
    colour: str
    texture: str
    shape: str
    x: float
    y: float


def phrase(thing: Thing, *, size: bool = True, texture: bool = True) -> str:
    """ "a small red striped circle"."""
    words = [thing.size] if size else []
    words.append(thing.colour)
    if texture and thing.texture != "plain":
        words.append(thing.texture)
    words.append(thing.shape)
    article = "an" if words[0][0] in "aeiou" else "a"
    return " ".join([article, *words])


def caption(things: Sequence[Thing], dice: Dice) -> str:
    """One sentence about one to some objects, in a random order."""
    left = list(things)
    order = [left.pop(dice.below(len(left))) for _ in things]
    spoken = [phrase(thing, size=dice.below(3) > 0, texture=dice.below(3) > 0) for thing in order]
    if len(spoken) == 1:
        return spoken[0]
    if len(spoken) == 2 and (said := relation(order[0], order[1])):
        return f"{spoken[0]} {said} {spoken[1]}"
    return f"{', '.join(spoken[:-1])} and {spoken[-1]}"


def relation(one: Thing, other: Thing) -> str:
    """How the first lies to the second: along the axis on which their centres are further apart; nothing
    where they are close on both."""
    across, down = one.x - other.x, one.y - other.y
    if max(abs(across), abs(down)) < APART:
        return ""
    if abs(across) >= abs(down):
        return "left of" if across < 0 else "right of"
    return "above" if down < 0 else "below"
