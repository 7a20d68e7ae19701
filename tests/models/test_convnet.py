"""Convolutional networks: the table of their parts against torchvision, their costs, their heads."""

from collections.abc import Iterator
from itertools import accumulate

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import get_model, get_model_weights

from tests.parity.twins import pictures
from vitreous.errors import ConfigError
from vitreous.models import catalog
from vitreous.models.accounting import account
from vitreous.models.config import ConvNetConfig
from vitreous.models.convnet import ConvNet, head_of
from vitreous.models.convnet_stages import ARCHITECTURES, network

NAMES = [name for name in catalog.names() if isinstance(catalog.CATALOG[name], ConvNetConfig)]
SMALL = ("resnet_18", "efficientnet_b0", "regnet_y_400mf")


def config_of(name: str, **changes: int) -> ConvNetConfig:
    config = catalog.configure(name, **changes)
    assert isinstance(config, ConvNetConfig)
    return config


def test_every_architecture_has_a_name_of_its_own() -> None:
    assert tuple(config_of(name).architecture for name in NAMES) == ARCHITECTURES


@pytest.mark.parametrize("name", NAMES)
def test_size_and_costs_are_those_that_torchvision_publishes(name: str) -> None:
    config = config_of(name)
    published = get_model_weights(config.architecture).DEFAULT
    side = published.transforms().crop_size[0]
    assert config.image_size == (side, side)
    counted = account(config)
    assert counted.parameters == published.meta["num_params"]
    assert counted.macs / 1e9 == pytest.approx(published.meta["_ops"], abs=1e-3)
    assert (counted.tokens, counted.patches, counted.attention_share) == (0, 0, 0)


@pytest.mark.parametrize("name", NAMES)
def test_tensors_are_those_of_torchvision_with_a_name_ahead(name: str) -> None:
    config = config_of(name, classes=7)
    with torch.device("meta"):
        ours = ConvNet(config)
    head = head_of(config.architecture)
    assert ours.state_dict()[f"{head.name}.weight"].shape == (7, head.width)
    assert ours.state_dict()[f"{head.name}.bias"].shape == (7,)
    if network(config.architecture).kind == "regnet":  # torchvision cannot lay those out without memory
        if account(config).parameters > 2e7:
            return
        theirs = get_model(config.architecture, weights=None, num_classes=7)
    else:
        with torch.device("meta"):
            theirs = get_model(config.architecture, weights=None, num_classes=7)
    expected = {f"network.{key}": value.shape for key, value in theirs.state_dict().items()}
    assert {key: value.shape for key, value in ours.state_dict().items()} == expected
    for mine, module in zip(norms(ours), norms(theirs), strict=True):
        assert (mine.eps, mine.momentum) == (module.eps, module.momentum)


def norms(model: nn.Module) -> Iterator[nn.BatchNorm2d]:
    return (module for module in model.modules() if isinstance(module, nn.BatchNorm2d))


@pytest.mark.parametrize("number", range(8))
def test_the_epsilon_of_norms_follows_the_name(number: int) -> None:
    with torch.device("meta"):
        model = ConvNet(config_of(f"efficientnet_b{number}"))
    assert {module.eps for module in norms(model)} == {1e-3 if number >= 5 else 1e-5}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("size", [(64, 64), (97, 130), (33, 224)])
def test_flops_at_any_size_are_those_that_torch_counts(name: str, size: tuple[int, int]) -> None:
    config = config_of(name, classes=7)
    model = catalog.build(config).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.randn(1, 3, *size))
    assert account(config, size).flops == counter.get_total_flops()


@pytest.mark.parametrize("name", [*SMALL, "resnet_50"])
def test_training_memory_is_what_autograd_keeps(name: str) -> None:
    config = config_of(name)
    model = catalog.build(config)
    own = {value.untyped_storage().data_ptr() for value in (*model.parameters(), *model.buffers())}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(torch.randn(1, 3, 97, 130))
    measured = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    assert account(config, (97, 130)).training_bytes == pytest.approx(measured, rel=0.01)


@pytest.mark.parametrize("name", SMALL)
def test_memory_without_gradients_is_what_the_allocator_hands_out(name: str) -> None:
    config = config_of(name)
    model, images = catalog.build(config).eval(), torch.randn(1, 3, 224, 224)
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        model(images)
    recorded = profiler.profiler.kineto_results.events()
    changes = [event for event in recorded if event.name() == "[memory]"]
    changes.sort(key=lambda event: event.start_ns())
    measured = max(accumulate(event.nbytes() for event in changes))
    counted = account(config, (224, 224)).forward_bytes
    # A kernel may copy the weights of one layer, here of at most 512 x 512 x 3 x 3 numbers.
    copied = 4 * 512 * 512 * 9 if name == "resnet_18" else 0
    assert 0.98 * counted <= measured <= 1.02 * counted + copied


@pytest.mark.parametrize("name", SMALL)
def test_without_classes_the_pooled_features_come_out(name: str) -> None:
    config = config_of(name, classes=0)
    model = catalog.build(config).eval()
    with torch.no_grad():
        features = model(pictures((64, 48)).float()).logits
    assert features.shape == (3, head_of(config.architecture).width)
    assert account(config).parameters == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", SMALL)
def test_it_learns_its_pictures(name: str) -> None:
    torch.manual_seed(0)
    model = catalog.build(config_of(name, classes=3)).train()
    images, labels = pictures((64, 64)).float(), torch.arange(3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(6):
        loss = torch.nn.functional.cross_entropy(model(images).logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", SMALL)
def test_one_small_picture_alone_is_learnt_from_as_well(name: str) -> None:
    model = catalog.build(config_of(name, classes=3)).train()
    for count, side in ((1, 32), (1, 33), (2, 32)):
        model(torch.randn(count, 3, side, side)).logits.sum().backward()
        assert all(module.training for module in model.modules())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"channels": 1}, "takes 3 channels, got 1"),
        ({"classes": -1}, "classes must be 0"),
        ({"architecture": "resnet51"}, "unknown convolutional network 'resnet51'; did you mean 'resnet"),
        ({"image_size": (0, 224)}, "image size must be positive"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        ConvNetConfig(**{"architecture": "resnet18"} | changes)  # type: ignore[arg-type]
