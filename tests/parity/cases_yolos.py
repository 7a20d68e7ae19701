"""YOLOS as transformers has it, with and without positions between its blocks."""

from pathlib import Path
from typing import Any

from tests.parity.case import Case, Loaded
from tests.parity.cases_detr import WORDS, answer, forward_of
from tests.parity.twins import Twin, randomise


def yolos_twin(path: Path, *, seed: int = 0, **values: Any) -> Twin:
    """YolosForObjectDetection with a random value in every tensor."""
    from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessor

    usual: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "image_size": [48, 64],
        "patch_size": 8,
        "num_detection_tokens": 7,
        "id2label": dict(enumerate(WORDS)),
    }
    model = randomise(YolosForObjectDetection(YolosConfig(**usual | values)), seed)
    model.save_pretrained(path)
    YolosImageProcessor(size={"shortest_edge": 48, "longest_edge": 96}).save_pretrained(path)
    return Twin(model, path, forward_of(model))


def from_transformers(path: Path) -> Loaded:
    """What ``from_pretrained`` makes of a directory."""
    from transformers import YolosForObjectDetection

    model = YolosForObjectDetection.from_pretrained(path).eval()
    return model, forward_of(model)


SIZES = ((48, 64), (64, 88), (51, 40))
CASES = (
    Case("transformers", "yolos", yolos_twin, SIZES, from_transformers, answer=answer),
    Case(
        "transformers",
        "yolos positions once",
        lambda path: yolos_twin(path, use_mid_position_embeddings=False, image_size=[50, 71]),
        SIZES,
        from_transformers,
        answer=answer,
    ),
)
