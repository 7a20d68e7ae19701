"""Why an object: against the paper's matrices and autograd's own gradients, and models built by hand."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from vitreous.errors import ConfigError
from vitreous.explain.decoding import queries_read
from vitreous.explain.explained import NotFound
from vitreous.explain.objects import (
    Object,
    chosen,
    look_for_objects,
    object_gradient,
    object_relevance,
    objects_in,
    query_attention,
)
from vitreous.explain.recording import recording
from vitreous.layers.placed_attention import sine_places
from vitreous.models.detr import Detr

from .dense_models import CLASSES, DECODERS, DETECTORS, dense, picture_of, predictor_of
from .matrices import explicit, normalised, spoke


def by_hand(model: Detr, images: Tensor, query: int, index: int) -> Tensor:
    """R^ti of one query, (N,) or with the backbone's prefix (T+P,): eq. 6 to 10 with whole matrices."""
    with explicit() as every:
        score = model(images).logits[0, query, index]
    encoder, decoder = model.transformer.encoder, model.transformer.decoder
    vit = hasattr(model.backbone, "encoder")
    prefix = model.backbone.embed.prefix if vit else 0
    rows, cols = model.config.map_at(images.shape[-2:])
    cells = torch.eye(prefix + rows * cols)
    for block in model.backbone.encoder.blocks if vit else ():
        cells = cells + spoke(every, block, score)[0] @ cells
    for layer in encoder:
        matrix = torch.zeros_like(cells)
        matrix[prefix:, prefix:] = spoke(every, layer, score)[0]
        cells = cells + matrix @ cells
    cells = normalised(cells, torch.eye(len(cells)))
    among = torch.eye(model.config.queries)
    read = torch.zeros(model.config.queries, len(cells))
    for layer in decoder:
        asked = spoke(every, layer.attention, score)[0]
        among, read = among + asked @ among, read + asked @ read
        seen = torch.zeros_like(read)
        seen[:, prefix:] = spoke(every, layer.cross_attention, score)[0]
        read = read + normalised(among, torch.eye(len(among))).T @ seen @ cells
    return read[query, prefix:].reshape(rows, cols)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("detr_vit_tiny", {}),
        ("detr_vit_tiny", {"references": "boxes", "groups": 2}),
        ("detr_vit_tiny", {"norm_between": True}),
        ("detr_resnet_tiny", {}),
    ],
)
def test_relevance_is_that_of_the_papers_matrices(name: str, options: dict[str, Any]) -> None:
    model = dense(name, **options)
    images = picture_of(model)
    looked = look_for_objects(model, images)
    for query, index in ((0, 1), (5, 4)):
        found = object_relevance(model, looked, query, index)
        wanted = by_hand(model, images, query, index)
        assert wanted.max() > 0
        assert torch.allclose(found.grid, wanted, rtol=1e-3, atol=1e-4 * float(wanted.max()))


@pytest.mark.parametrize("name", DECODERS)
def test_relevance_is_conserved(name: str) -> None:
    model = dense(name)
    looked = look_for_objects(model, picture_of(model))
    gradients = looked.gradients(looked.answer.logits[0, 3, 2])
    with torch.no_grad():
        read = queries_read(model, looked, gradients)[3].sum()
    found = object_relevance(model, looked, 3, 2).grid
    # What was read comes out twice, once where it stayed and once where it was gathered, and nowhere else.
    assert float(read) > 0
    assert float(found.sum()) == pytest.approx(2 * float(read), rel=1e-4)


def points_at(model: Detr, cell: int, images: Tensor) -> int:
    """Rebuild the last layer's cross-attention so that every head of every query looks at one cell of this
    picture's map: only that cell's key is not zero. The class for whose logit that speaks."""
    last = model.transformer.decoder[-1].cross_attention
    given: list[Tensor] = []
    handle = last.register_forward_hook(lambda _, inputs, __: given.append(inputs[2] + inputs[3]))
    with torch.no_grad():
        model(images)
        handle.remove()
        wanted = torch.zeros(given[0].shape[1], 1).index_fill(0, torch.tensor([cell]), 1.0)
        weight = torch.linalg.lstsq(given[0][0], wanted).solution[:, 0]
        size = model.config.width // model.config.heads
        for part in (last.keys, last.queries):
            part.weight.zero_()
            part.bias.zero_()
        last.keys.weight[::size] = weight  # the first of each head's numbers
        last.queries.bias[::size] = 30 * size**0.5
    looked = look_for_objects(model, images)
    found = []
    for index in range(model.config.classes):
        gradients = looked.gradients(looked.answer.logits[0, 0, index])
        with torch.no_grad():
            found.append(float(queries_read(model, looked, gradients)[0, cell]))
    return int(np.argmax(found))


@pytest.mark.parametrize("cell", [0, 27, 36, 63])
@pytest.mark.parametrize("name", DECODERS)
def test_the_heat_of_a_query_that_looks_at_one_cell_peaks_there(name: str, cell: int) -> None:
    model = dense(name)
    images = picture_of(model)
    index = points_at(model, cell, images)
    weights, layer = query_attention(model, images)
    assert weights.shape[2:] == (8, 8) and layer == model.config.decoder_depth - 1
    assert torch.allclose(weights.sum(dim=(2, 3)), torch.ones(()), atol=1e-5)
    assert (weights[:, 0].flatten(1).argmax(dim=1) == cell).all()
    grid = object_relevance(model, look_for_objects(model, images), 0, index).grid
    finer = len(grid) // 8
    row, col = (int(at) // finer for at in np.unravel_index(int(grid.argmax()), grid.shape))
    assert (row, col) == divmod(cell, 8)


@pytest.mark.parametrize("name", DECODERS)
def test_gradient_times_activation_is_autograds(name: str) -> None:
    model = dense(name)
    images = picture_of(model)
    looked = look_for_objects(model, images)
    thing = Object(2, 3, 0.9, (0.0, 0.0, 1.0, 1.0))
    grid = model.backbone(images).maps[-1].detach().requires_grad_()
    cells = model.project(grid).flatten(2).transpose(1, 2)
    places = sine_places(torch.ones(1, *grid.shape[-2:], dtype=torch.bool), model.config.width, cells.dtype)
    held = model.transformer.decode(
        model.transformer.encode(cells, places, None), places, model.query_places[None], None
    )
    (gradient,) = torch.autograd.grad(model.classify(held[-1])[0, 2, 3], grid)
    wanted = (grid * gradient).sum(dim=1)[0].clamp(min=0)
    found = object_gradient(model, looked, thing.query, thing.index)
    assert torch.allclose(found.grid, wanted, atol=1e-5) and found.stride == 8


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("name", DETECTORS)
def test_a_model_is_left_as_it_was_and_may_be_frozen(name: str, frozen: bool) -> None:
    model, other = dense(name).requires_grad_(not frozen), dense(name)
    images = picture_of(model)
    before = model(images).logits.detach()
    with torch.inference_mode():
        looked = look_for_objects(model, images)
        found = object_relevance(model, looked, 1, 1).grid
        thing = Object(1, 1, 0.5, (0.0, 0.0, 1.0, 1.0))
        assert object_gradient(model, looked, thing.query, thing.index).grid.isfinite().all()
    assert torch.allclose(found, object_relevance(other, look_for_objects(other, images), 1, 1).grid)
    assert torch.equal(model(images).logits.detach(), before)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("name", DECODERS)
def test_recorded_weights_times_values_are_the_fused_output(name: str) -> None:
    model = dense(name)
    with torch.inference_mode(), recording(model) as record:
        model(picture_of(model))
    for recorded in record.layers:
        assert torch.allclose(recorded.weights() @ recorded.values, recorded.output, atol=1e-5)
    for layer in model.transformer.decoder:
        assert record.of(layer.cross_attention).weights().shape[2:] == (model.config.queries, 64)
        with pytest.raises(ConfigError, match="wanted one attention that ran"):
            record.of(layer)


def test_objects_are_what_the_queries_say_in_source_pixels() -> None:
    model = dense("detr_resnet_tiny")
    guide = predictor_of(model, shorter=64)
    view = guide.prepare(Image.effect_noise((320, 160), 60).convert("RGB"))  # only the middle half is seen
    with torch.no_grad():
        answer = model(view.image[None])
    found = objects_in(answer, view)
    scores = answer.logits[0].softmax(-1)[:, :-1]
    assert [thing.score for thing in found] == sorted(scores.amax(1).tolist(), reverse=True)
    first = found[0]
    assert first.index == int(scores[first.query].argmax())
    x, y, width, height = answer.boxes[0, first.query].tolist()
    left, top, right, bottom = first.box
    assert left == pytest.approx(max(0, 80 + 160 * (x - width / 2)), abs=0.01)
    assert right == pytest.approx(min(320, 80 + 160 * (x + width / 2)), abs=0.01)
    assert top == pytest.approx(max(0, 160 * (y - height / 2)), abs=0.01)
    assert bottom == pytest.approx(min(160, 160 * (y + height / 2)), abs=0.01)


FOUND = [
    Object(4, 2, 0.9, (0, 0, 50, 50)),
    Object(1, 0, 0.8, (40, 40, 90, 90)),
    Object(3, 2, 0.7, (60, 0, 90, 30)),
    Object(0, 1, 0.3, (0, 60, 20, 90)),
]


@pytest.mark.parametrize(
    ("asked", "number"),
    [
        ({}, 0),
        ({"target": 2}, 2),
        ({"target": "cat"}, 0),
        ({"target": "ant"}, 1),
        ({"at": (45.0, 45.0)}, 0),
        ({"at": (60.0, 60.0)}, 1),
        ({"at": (70.0, 10.0), "target": "cat"}, 2),
        ({"target": "bee", "threshold": 0.2}, 3),
    ],
)
def test_an_object_is_chosen_by_place_class_or_point(asked: dict[str, Any], number: int) -> None:
    assert chosen(FOUND, CLASSES, 5, **asked) == number


@pytest.mark.parametrize(
    ("asked", "kind", "said"),
    [
        ({"target": 3}, ConfigError, "no object 3; 3 objects were found above 0.5, counted from 0"),
        ({"target": -1}, ConfigError, "no object -1"),
        ({"target": 1, "threshold": 0.85}, ConfigError, "no object 1; 1 object was found above 0.85"),
        ({"target": "cet"}, ConfigError, "unknown class 'cet'; did you mean 'cat'"),
        ({"target": "bee"}, NotFound, "no 'bee' was found above 0.5; the surest is 'bee' with 0.3000"),
        ({"target": "dog"}, NotFound, "no 'dog' was found above 0.5; the picture shows 'cat', 'ant'"),
        ({"at": (5.0, 80.0)}, NotFound, "no object was found at 5,80 above 0.5"),
        ({"at": (5.0, 5.0), "target": "ant"}, NotFound, "no 'ant' was found at 5,5"),
        ({"threshold": 0.95}, NotFound, "nothing was found above 0.95; the surest is 'cat' with 0.9000"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(
    asked: dict[str, Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind) as caught:
        chosen(FOUND, CLASSES, 5, **asked)
    assert said in str(caught.value) and "\n" not in str(caught.value)
