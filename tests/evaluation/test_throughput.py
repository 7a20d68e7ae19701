"""Timing a model: what is timed, what is let go, and what is not begun."""

import gc
import weakref

import pytest
import torch

from vitreous.errors import VitreousError
from vitreous.evaluation import throughput
from vitreous.evaluation.throughput import FEWEST, ROUNDS, measure, memory_needed
from vitreous.models import catalog
from vitreous.models.accounting import account

CPU = torch.device("cpu")
TINY = [name for name in catalog.names() if "_tiny" in name]


@pytest.mark.parametrize("name", TINY)
def test_every_kind_of_model_is_measured(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "ROUND", 0.0)
    found = measure(catalog.configure(name), CPU, batch_size=2)
    assert found.pictures_per_second > 0
    assert found[1:] == (2, torch.get_num_threads(), "cpu", ROUNDS)


def test_it_is_the_pictures_of_the_median_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "_rounds", lambda model, images: [0.5, 9.0, 0.25])
    found = measure(catalog.configure("vit_tiny"), CPU, batch_size=4)
    assert (found.pictures_per_second, found.rounds) == (8.0, 3)


def test_a_slow_model_has_fewer_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "PATIENCE", 0.0)
    assert measure(catalog.configure("vit_tiny"), CPU, batch_size=1).rounds == FEWEST


def test_the_model_sees_whole_batches_of_its_native_size_and_is_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[tuple[int, ...], bool, bool]] = []
    models: list[weakref.ref[torch.nn.Module]] = []

    def build(config):
        model = catalog.build(config)
        models.append(weakref.ref(model))

        def note(module, inputs):
            seen.append((tuple(inputs[0].shape), module.training, torch.is_inference_mode_enabled()))

        model.register_forward_pre_hook(note)
        return model

    monkeypatch.setattr(throughput, "build", build)
    measure(catalog.configure("vit_tiny", image_size=(24, 40)), CPU, batch_size=5)
    assert set(seen) == {((5, 3, 24, 40), False, True)}
    assert len(seen) >= FEWEST + 2
    gc.collect()
    assert models[0]() is None


def test_what_does_not_fit_is_never_built(monkeypatch: pytest.MonkeyPatch) -> None:
    config = catalog.configure("vit_b_16")
    counted = account(config)
    assert memory_needed(counted, 8) == 4 * counted.parameters + 8 * counted.forward_bytes

    def build(config):
        raise AssertionError("built")

    monkeypatch.setattr(throughput, "build", build)
    monkeypatch.setattr(throughput, "free_memory", lambda device: memory_needed(counted, 8))
    with pytest.raises(VitreousError, match=r"takes about 0\.\d GiB, and 0\.\d are free"):
        measure(config, CPU)


def test_memory_that_runs_out_is_said_and_other_errors_are_not_hidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(error: Exception):
        def build(config):
            raise error

        monkeypatch.setattr(throughput, "build", build)
        measure(catalog.configure("vit_tiny"), CPU)

    for error in (
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ):
        with pytest.raises(VitreousError, match="does not fit into the memory of cpu"):
            fail(error)
    with pytest.raises(RuntimeError, match="shapes"):
        fail(RuntimeError("shapes do not match"))
