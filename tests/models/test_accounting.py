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
    ("vit_tiny", {"patch": 8, "stem": "conv", "stem_width": 24}, (32, 48)),
    ("vit_tiny", {"pool": "mean", "pool_norm": True, "final_norm": False, "positions": "sincos2d"}, (40, 40)),
    ("vit_ti_16", {"class_position": False}, (224, 224)),
    ("vit_tiny", {"cut_edges": True}, (50, 33)),
    ("dinov2_tiny", {}, (32, 32)),
    ("dinov2_tiny", {"mlp": "swiglu", "mlp_width": 88, "registers": 2}, (36, 28)),
    ("dinov3_tiny", {}, (32, 32)),
    ("dinov3_tiny", {"mlp": "swiglu", "mlp_width": 88}, (50, 33)),
    ("beit_tiny", {}, (32, 32)),
    ("beit_tiny", {"class_token": False}, (64, 64)),
    ("beit_tiny", {"mlp": "swiglu", "mlp_width": 88, "registers": 2}, (50, 33)),
    ("beit_b_16", {"depth": 2}, (224, 224)),
    ("beit_b_16", {"depth": 2}, (384, 384)),
    ("mae_tiny", {}, (32, 32)),
    ("mae_tiny", {"positions": "learned", "decoder_positions": "learned", "registers": 2}, (64, 48)),
    ("mae_tiny", {"mask_ratio": 0.5, "decoder_depth": 3, "layer_scale": 0.1}, (33, 50)),
    ("mae_tiny", {"cut_edges": True}, (35, 50)),
    ("swin_tiny", {}, (32, 32)),
    ("swin_tiny", {}, (50, 33)),
    ("swin_tiny", {"window": 3, "depths": [2, 1, 3], "shift": "shorter_axis"}, (64, 48)),
    ("swin_tiny", {"window": [[4, 4], [2, 4], [3, 2]], "cut_edges": True}, (61, 48)),
    ("swin_tiny", {"positions": "learned", "patch_norm": False, "mlp_ratio": 2.7, "head": "mlp"}, (64, 64)),
    ("swin_t", {"pool_norm": True}, (224, 224)),
    ("simmim_swin_tiny", {}, (32, 32)),
    ("detr_vit_tiny", {"references": "boxes"}, (64, 48)),
    ("detr_swin_tiny", {"references": "boxes", "groups": 2, "decoder_depth": 2}, (64, 64)),
    ("simmim_swin_tiny", {"positions": "learned"}, (64, 96)),
    ("swin_t", {}, (250, 200)),
    ("detr_vit_tiny", {}, (64, 64)),
    ("detr_swin_tiny", {}, (64, 96)),
    ("detr_resnet_tiny", {}, (77, 50)),
    ("segformer_tiny", {}, (64, 64)),
    ("segformer_tiny", {"reductions": [8, 1, 1, 1], "mlp_ratios": [2, 2, 3, 2]}, (77, 40)),
    ("segformer_b0", {"activation": "gelu_tanh"}, (101, 130)),
    ("segformer_vit_tiny", {}, (64, 48)),
    ("segformer_swin_tiny", {}, (50, 64)),
    ("mit_b0", {"head": "mlp", "pool_norm": True}, (128, 96)),
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
    assert account(config, size).training_bytes == pytest.approx(
        kept_by(catalog.build(config), size), rel=0.06
    )


@pytest.mark.parametrize("size", [(32, 32), (64, 48)])
@pytest.mark.parametrize("name", ["vit_tiny", "beit_tiny"])
def test_training_memory_is_that_of_one_more_picture(name: str, size: tuple[int, int]) -> None:
    config = catalog.configure(name)
    model = catalog.build(config)
    more = kept_by(model, size, pictures=3) - kept_by(model, size, pictures=2)
    assert account(config, size).training_bytes == pytest.approx(more, rel=0.01)


def kept_by(model: torch.nn.Module, size: tuple[int, int], pictures: int = 1) -> int:
    """Bytes that autograd keeps of a forward pass, beside the weights."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(torch.randn(pictures, 3, *size))
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("vit_tiny", {}, (64, 64)),
        ("vit_ti_16", {}, (224, 224)),
        ("mae_tiny", {}, (32, 32)),
        ("dinov2_tiny", {"mlp": "swiglu", "mlp_width": 172}, (64, 64)),
        ("dinov3_tiny", {}, (64, 64)),
        ("dinov3_tiny", {"mlp_width": 64}, (64, 64)),
        ("beit_tiny", {}, (32, 32)),
        ("beit_tiny", {"class_token": False}, (32, 32)),
        ("beit_tiny", {"registers": 2, "bias_resize": "bilinear_swapped"}, (32, 32)),
        ("beit_tiny", {"mlp_width": 64}, (16, 16)),
        ("beit_tiny", {}, (64, 48)),
        ("beit_b_16", {"depth": 2}, (224, 224)),
        ("swin_tiny", {}, (32, 32)),
        ("swin_tiny", {"window": 8}, (96, 96)),
        ("simmim_swin_tiny", {}, (64, 64)),
        ("swin_t", {}, (224, 224)),
        ("swin_t", {}, (250, 300)),
        ("segformer_tiny", {}, (64, 64)),
        ("segformer_b0", {}, (160, 130)),
        ("segformer_swin_tiny", {}, (64, 64)),
        ("mit_b0", {}, (256, 256)),
    ],
)
def test_memory_without_gradients_is_what_the_allocator_hands_out(
    name: str, options: dict[str, object], size: tuple[int, int]
) -> None:
    config = catalog.configure(name, options=options)
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
        # arXiv:2103.14030, table 1.
        ("swin_t", 28_288_354, 4.5),
        ("swin_s", 49_606_258, 8.7),
        ("swin_b", 87_768_224, 15.4),
        ("swin_l", 196_532_476, 34.5),
    ],
)
def test_published_figures(name: str, parameters: int, gigamacs: float) -> None:
    counted = account(catalog.configure(name))
    assert counted.parameters == parameters
    # Published counts add norms, softmax and activations: up to 1% more.
    assert counted.macs / 1e9 == pytest.approx(gigamacs, rel=0.015)


@pytest.mark.parametrize(
    ("name", "millions"),
    # arXiv:2105.15203, table 1, with the 150 classes of ADE20K.
    [
        ("segformer_b0", 3.8),
        ("segformer_b1", 13.7),
        ("segformer_b2", 27.5),
        ("segformer_b3", 47.3),
        ("segformer_b4", 64.1),
        ("segformer_b5", 84.7),
    ],
)
def test_published_sizes_of_segformer(name: str, millions: float) -> None:
    counted = account(catalog.configure(name, classes=150)).parameters
    assert counted / 1e6 == pytest.approx(millions, abs=0.06)


@pytest.mark.parametrize(
    ("name", "millions"),
    # The released files, whose mask token, one vector, only pretraining has a use for.
    [("dinov2_s_14", 22.06), ("dinov2_b_14", 86.58), ("dinov2_l_14", 304.37), ("dinov2_g_14", 1136.48)],
)
def test_published_sizes_of_dinov2(name: str, millions: float) -> None:
    config = catalog.configure(name, classes=0)
    counted = account(config).parameters + config.backbone.encoder.width
    assert counted / 1e6 == pytest.approx(millions, abs=0.005)


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
