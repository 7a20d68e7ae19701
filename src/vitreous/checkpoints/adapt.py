"""A checkpoint made ready for other classes or another picture size. What is new is said aloud."""

from dataclasses import replace

from torch import Tensor

from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.weights import load_weights
from vitreous.data.preprocess import Preprocess
from vitreous.layers.layout import Layout
from vitreous.layers.positions import resize_positions
from vitreous.models.classifier import build_head
from vitreous.models.config import ClassifierConfig

POSITIONS = "backbone.embed.positions.table"


def adapt(
    checkpoint: Checkpoint,
    *,
    classes: tuple[str, ...] | None = None,
    image_size: tuple[int, int] | None = None,
) -> tuple[Checkpoint, tuple[str, ...]]:
    """The checkpoint with a head for ``classes`` and native pictures of ``image_size`` (h, w) pixels.

    Where both are what it has, it comes back as it is. Otherwise a new model comes back, which shares
    the tensors that did not change, and a sentence on each thing that did. A new head is linear, small
    and random (from torch's global generator), and has no fitted temperature.
    """
    notes: list[str] = []
    config, preprocess = checkpoint.model.config, checkpoint.preprocess
    state = dict(checkpoint.model.state_dict())
    names, temperature = checkpoint.classes, checkpoint.temperature
    if image_size is not None and image_size != config.backbone.image_size:
        notes.append(_size_note(config.backbone.image_size, image_size))
        preprocess = _resized(preprocess, image_size)
        config = _moved(config, state, image_size)
    if classes is not None and classes != names:
        notes.append(
            f"a new head with random weights for {len(classes)} classes takes the place of"
            f" {f'the one for {len(names)}' if names else 'none'}; all else is kept"
        )
        config = replace(config, classes=len(classes), head="linear")
        state = {key: value for key, value in state.items() if not key.startswith("head.")}
        head = build_head("linear", config.backbone.encoder.width, len(classes))
        some = next(iter(state.values()))
        state |= {f"head.{key}": value.detach().to(some) for key, value in head.state_dict().items()}
        names, temperature = classes, 1.0
    if not notes:
        return checkpoint, ()
    model = load_weights(config, state, "the adapted model", dtype=None)
    model.train(checkpoint.model.training)
    return Checkpoint(model, preprocess, names, temperature, checkpoint.lineage), tuple(notes)


def _moved(
    config: ClassifierConfig, state: dict[str, Tensor], image_size: tuple[int, int]
) -> ClassifierConfig:
    """The configuration for another picture size; a learned table in ``state`` is resized for it."""
    before = config.backbone
    after = replace(before, image_size=image_size)
    if POSITIONS in state:
        placed = int(before.class_token and before.class_position)
        origin, target = Layout(placed, *before.grid), Layout(placed, *after.grid)
        state[POSITIONS] = resize_positions(state[POSITIONS], origin, target, before.position_resize)
    return replace(config, backbone=after)


def _resized(preprocess: Preprocess, image_size: tuple[int, int]) -> Preprocess:
    shorter = preprocess.shorter
    if shorter is not None:  # the share of the picture that the crop keeps stays the same
        shorter = max(1, round(shorter * min(image_size) / min(preprocess.size)))
    return replace(preprocess, size=image_size, shorter=shorter)


def _size_note(before: tuple[int, int], after: tuple[int, int]) -> str:
    sizes = f"{before[0]}x{before[1]} to {after[0]}x{after[1]}"
    return f"positions and preprocessing went from pictures of {sizes} pixels"
