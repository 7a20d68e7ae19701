"""Counts from a configuration alone, against torch's own counters and the published figures."""

from itertools import accumulate

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from vitreous.models import catalog
from vitreous.models.accounting import account

CASES = [
    ("vit_tiny", {}, (32, 32)),
    ("vit_tiny", {"positions": "none", "registers": 3}, (50, 33)),
    ("vit_tiny", {"stem": "conv", "head": "mlp", "layer_scale": 0.1}, (64, 48)),
    ("vit_tiny", {"patch": 14, "stem": "conv", "pool": "mean", "class_token": False}, (56, 28)),
    ("vit_tiny", {"pool": "mean", "pool_norm": True, "final_norm": False, "positions": "sincos2d"}, (40, 40)),
    ("vit_ti_16", {"class_position": False}, (224, 224)),
    ("mae_tiny", {}, (32, 32)),
    ("mae_tiny", {"positions": "learned", "decoder_positions": "learned", "registers": 2}, (64, 48)),
    ("mae_tiny", {"mask_ratio": 0.5, "decoder_depth": 3, "layer_scale": 0.1}, (33, 50)),
]


@pytest.mark.parametrize(("name", "options", "size"), CASES)
def test_parameters_and_flops_are_those_that_torch_counts(
    name: str, options: dict[str, object], size: tuple[int, int]
) -> None:
    config = catalog.configure(name, classes=7, options=options)
    model = catalog.build(config).eval()
    counted = account(config, size)
    assert counted.parameters == sum(parameter.numel() for parameter in model.parameters())
    # The unfused kernel: torch's counter does not see into the fused one of the CPU.
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model(torch.randn(1, 3, *size))
    assert counted.flops == counter.get_total_flops()


@pytest.mark.parametrize(("name", "options", "size"), CASES)
def test_training_memory_is_what_autograd_keeps(
    name: str, options: dict[str, object], size: tuple[int, int]
) -> None:
    config = catalog.configure(name, options=options)
    model = catalog.build(config)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(torch.randn(1, 3, *size))
    measured = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    assert account(config, size).training_bytes == pytest.approx(measured, rel=0.06)


@pytest.mark.parametrize(
    ("name", "size"), [("vit_tiny", (64, 64)), ("vit_ti_16", (224, 224)), ("mae_tiny", (32, 32))]
)
def test_memory_without_gradients_is_what_the_allocator_hands_out(name: str, size: tuple[int, int]) -> None:
    config = catalog.configure(name)
    model, images = catalog.build(config).eval(), torch.randn(1, 3, *size)
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        model(images)
    recorded = profiler.profiler.kineto_results.events()
    changes = [event for event in recorded if event.name() == "[memory]"]
    changes.sort(key=lambda event: event.start_ns())
    measured = max(accumulate(event.nbytes() for event in changes))
    assert account(config, size).forward_bytes == pytest.approx(measured, rel=0.01)


@pytest.mark.parametrize(
    ("name", "parameters", "gigamacs"),
    [
        # arXiv:2012.12877, table 1, and the released checkpoints; giga-MACs at 224 pixels.
        ("vit_ti_16", 5_717_416, 1.26),
        ("vit_s_16", 22_050_664, 4.61),
        ("vit_b_16", 86_567_656, 17.58),
        ("vit_b_32", 88_224_232, 4.41),
        ("vit_l_16", 304_326_632, 61.60),
        ("vit_h_14", 632_045_800, 167.4),
    ],
)
def test_published_figures(name: str, parameters: int, gigamacs: float) -> None:
    counted = account(catalog.configure(name))
    assert counted.parameters == parameters
    # Published counts add norms, softmax and activations: up to 1% more.
    assert counted.macs / 1e9 == pytest.approx(gigamacs, rel=0.015)


def test_facts_about_growth() -> None:
    config = catalog.configure("vit_b_16")
    shares = [account(config, (side, side)).attention_share for side in (224, 384, 1024)]
    assert shares == pytest.approx([0.041, 0.111, 0.469], abs=0.001)
    # N^2 D against 12 N D^2 in each block: equal at N = 6 D, half of the encoder.
    tokens = 6 * 768
    assert 2 * tokens**2 * 768 == tokens * 12 * 768**2
    assert account(config, (448, 448)).patches == 4 * account(config).patches
    assert account(catalog.configure("vit_ti_16", classes=0)).parameters == 5_524_416


def test_memory_without_gradients_grows_linearly_with_tokens() -> None:
    config = catalog.configure("vit_s_16")
    small, large = account(config, (224, 224)), account(config, (896, 896))
    assert large.forward_bytes / small.forward_bytes == pytest.approx(large.tokens / small.tokens)
