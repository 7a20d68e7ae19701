"""Queries with boxes of their own: groups that know nothing of one another, and boxes that are bettered."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from vitreous.data.batch import Labelled, Target, padded
from vitreous.errors import ConfigError
from vitreous.models import catalog
from vitreous.models.detr import Detr
from vitreous.models.detr_references import _spread, logits_of, moved
from vitreous.tasks.detection import Detection


def built(name: str = "detr_resnet_tiny", groups: int = 1, **options: object) -> Detr:
    torch.manual_seed(0)
    options |= {"references": "boxes", "groups": groups}
    model = catalog.build(catalog.configure(name, classes=5, options=options))
    assert isinstance(model, Detr)
    torch.nn.init.normal_(model.locate.layers[-1].weight, std=0.1)  # as if it had learnt
    return model


def pictures(*sizes: tuple[int, int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(3, *size, generator=generator) for size in sizes]


@pytest.mark.parametrize("name", ["detr_vit_tiny", "detr_swin_tiny", "detr_resnet_tiny"])
@torch.no_grad()
def test_pictures_of_many_sizes_are_answered_as_alone(name: str) -> None:
    model = built(name).eval()
    views = pictures((64, 64), (50, 70), (96, 33), (17, 120))
    together = model(*padded(views))
    for number, view in enumerate(views):
        alone = model(view[None])
        assert_close(together.logits[number], alone.logits[0], atol=1e-4, rtol=0)
        assert_close(together.boxes[number], alone.boxes[0], atol=1e-4, rtol=0)


@torch.no_grad()
def test_groups_know_nothing_of_one_another() -> None:
    model = built(groups=3, norm_between=False)
    model.backbone.eval()
    images = torch.stack(pictures((64, 64)))
    before = model(images)
    layers, queries = model.config.decoder_depth, model.config.queries
    assert len(before.auxiliary) == 3 * layers - 1
    model.references.contents[queries : 2 * queries] += 1.0  # type: ignore[union-attr]
    after = model(images)
    assert_close(before.logits, after.logits)
    changed = [
        not torch.equal(one[0], other[0])
        for one, other in zip(before.auxiliary, after.auxiliary, strict=True)
    ]
    assert sum(changed) == layers  # the second group, after each layer


@torch.no_grad()
def test_the_first_group_answers_alone() -> None:
    many = built(groups=3)
    many.backbone.eval()
    images = torch.stack(pictures((64, 64), (64, 64)))
    trained = many(images)
    alone = many.eval()(images)
    assert alone.auxiliary == ()
    assert_close(alone.logits, trained.logits, atol=1e-5, rtol=1e-5)
    assert_close(alone.boxes, trained.boxes, atol=1e-5, rtol=1e-5)


def test_each_layer_starts_from_the_boxes_of_the_one_before() -> None:
    model = built().eval()
    started = []
    hooks = [
        bias.register_forward_pre_hook(lambda module, given: started.append(given[0]))
        for bias in model.references.biases  # type: ignore[union-attr]
    ]
    images = torch.stack(pictures((64, 64)))
    told = model.train()(images)
    for hook in hooks:
        hook.remove()
    answers = [boxes for _, boxes in told.auxiliary] + [told.boxes]
    for start, answer in zip(started[1:], answers[:-1], strict=True):
        assert_close(start, answer.detach())
        assert not start.requires_grad  # a layer is not taught by what the next makes of its boxes
    assert started[0].requires_grad


def test_a_box_moves_by_its_logits_and_stays_inside() -> None:
    box = torch.tensor([0.5, 0.2, 0.3, 1.0])
    assert_close(moved(box, torch.zeros(4)), box, atol=1e-3, rtol=0)
    assert_close(moved(box[:3], torch.ones(3)), (logits_of(box[:3]) + 1).sigmoid())
    assert moved(box, torch.full((4,), 50.0)).max() <= 1


@pytest.mark.parametrize("queries", [1, 5, 10, 12, 16, 20, 100])
def test_boxes_cover_the_picture_at_first(queries: int) -> None:
    spread = _spread(queries, 1)
    low, high = spread[:, :2] - spread[:, 2:] / 2, spread[:, :2] + spread[:, 2:] / 2
    rows = spread[:, 1].unique()
    assert low[:, 1].min() <= 0.35 and high[:, 1].max() >= 0.65
    assert float(rows[0]) == pytest.approx(1 - float(rows[-1]))  # as far from the top as from the bottom
    assert len(spread.unique(dim=0)) == queries


def test_every_parameter_is_taught() -> None:
    model = built(groups=2)
    targets = tuple(
        Target(torch.tensor([[0.3, 0.4, 0.2, 0.3]]), torch.tensor([1]), None, None, torch.tensor([64, 64]))
        for _ in range(2)
    )
    batch = Labelled(
        torch.stack(pictures((64, 64), (64, 64))), torch.zeros(2), torch.arange(2), targets=targets
    )
    Detection().loss(model, batch).total.backward()
    untaught = [name for name, value in model.named_parameters() if value.grad is None]
    assert not untaught


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"groups": 0}, "groups must be 1 or more"),
        ({"groups": 2}, "need references=boxes"),
        ({"references": "boxes", "norm_between": True}, "norm_between"),
        ({"references": "boxes", "groups": 20_000}, "320000 queries"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        catalog.configure("detr_vit_tiny", options=options)
