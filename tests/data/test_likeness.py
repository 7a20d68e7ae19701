import io

import numpy as np
from PIL import Image, ImageEnhance
from skimage import data

from vitreous.data.likeness import likeness, near_pairs

PHOTOGRAPHS = [
    Image.fromarray(array).convert("RGB")
    for array in (data.chelsea(), data.astronaut(), data.coffee(), data.rocket(), data.camera())
]


def _reencoded(picture: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def _connected(pairs: list[tuple[int, int]]) -> list[set[int]]:
    groups: list[set[int]] = []
    for pair in pairs:
        touched = [group for group in groups if group & set(pair)]
        groups = [group for group in groups if group not in touched]
        groups.append(set(pair).union(*touched))
    return groups


def test_copies_are_found_and_others_are_not() -> None:
    pictures = []
    for photograph in PHOTOGRAPHS:
        half = photograph.resize((photograph.width // 2, photograph.height // 2))
        bright = ImageEnhance.Brightness(photograph).enhance(1.1)
        mirrored = photograph.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        right = photograph.crop((photograph.width // 5, 0, *photograph.size))
        pictures += [photograph, _reencoded(photograph, 40), half, bright, mirrored, right]
    pairs = near_pairs([likeness(picture) for picture in pictures]).pairs
    wanted = [{first, first + 1, first + 2, first + 3} for first in range(0, len(pictures), 6)]
    assert sorted(map(sorted, _connected(pairs))) == sorted(map(sorted, wanted))


def test_small_and_flat_pictures_are_not_compared() -> None:
    assert likeness(PHOTOGRAPHS[0].resize((31, 200))) is None
    assert likeness(PHOTOGRAPHS[0].resize((32, 200))) is not None
    assert likeness(Image.new("RGB", (64, 64), "red")) is None


def test_pairs_are_those_of_comparing_all_with_all() -> None:
    draw = np.random.default_rng(0)
    base = likeness(PHOTOGRAPHS[0])
    made: dict[bytes, object] = {base.hash: base}
    while len(made) < 60:
        bits = np.unpackbits(np.frombuffer(base.hash, np.uint8))
        bits[draw.choice(128, size=draw.integers(1, 12), replace=False)] ^= 1
        different = np.packbits(bits).tobytes()
        made[different] = base._replace(hash=different)
    numbers = [int.from_bytes(key, "big") for key in made]
    apart = {
        (one, other): (numbers[one] ^ numbers[other]).bit_count()
        for one in range(60)
        for other in range(one + 1, 60)
    }
    found = set(near_pairs(list(made.values())).pairs)
    assert {pair for pair, bits in apart.items() if bits <= 7} <= found
    assert found <= {pair for pair, bits in apart.items() if bits <= 14}
    assert near_pairs([]).pairs == near_pairs([base]).pairs == []


def test_a_crowd_of_equal_hashes_is_told_and_not_squared() -> None:
    base = likeness(PHOTOGRAPHS[0])
    result = near_pairs([base] * 3000)
    assert result.pairs == [(0, other) for other in range(1, 3000)]
