"""What is to learn learns, what is to rest does not change by a bit, and both are looked at."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tests.training.test_fit import Stop, assert_same_end, rows
from vitreous.checkpoints.file import read
from vitreous.data.preprocess import Preprocess
from vitreous.errors import ConfigError, DataError, Interrupted, TrainingError
from vitreous.layers.lora import adapted_layers
from vitreous.layers.mlp import DropPath
from vitreous.models import catalog
from vitreous.models.model import Model
from vitreous.predictor import Predictor, load, save
from vitreous.tasks.config import Truth
from vitreous.training.config import ModelChoice, OptimizerConfig, TrainConfig, with_settings
from vitreous.training.fit import fit
from vitreous.training.optimizer import build_optimizer, set_rate
from vitreous.training.tuning import Tuning, prepare
from vitreous.training.tuning_config import LoraConfig, TuningConfig, check_tunable

SMALL = {"width": 16, "depth": 2, "heads": 2}
OPTIONS = {
    "vit_tiny": SMALL,
    "deit_tiny": SMALL,
    "beit_tiny": SMALL,
    "dinov3_tiny": SMALL | {"layer_scale": 1.0},
    "swin_tiny": {"width": 16, "depths": [1, 2], "heads": [2, 4]},
}
FAMILIES = tuple(OPTIONS)
MODES = {
    "all": TuningConfig(),
    "decay": TuningConfig(layer_decay=0.7),
    "head": TuningConfig(train="head"),
    "lora": TuningConfig(train="lora", lora=LoraConfig(rank=4)),
    "every layer's lora": TuningConfig(train="lora", lora=LoraConfig(rank=2, targets="*")),
    "frozen": TuningConfig(frozen_epochs=1),
    "top_down": TuningConfig(frozen_epochs=1, unfreezing="top_down"),
}


def build(name: str, **options: Any) -> Model:
    torch.manual_seed(0)
    return catalog.build(catalog.configure(name, classes=3, options=OPTIONS.get(name, {}) | options))


def copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def changed(before: dict[str, Tensor], model: nn.Module) -> set[str]:
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


def batch(size: int = 32) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(6, 3, size, size), torch.arange(6) % 3


def taught(model: Model, tuning: TuningConfig, epochs: int = 6, steps: int = 5) -> tuple[Tuning, list[float]]:
    """The losses on one batch, epoch by epoch."""
    prepare(model, tuning, 0)
    found = Tuning(model, tuning, 9)
    optimizer = build_optimizer(model, OptimizerConfig(), found.scale)
    images, labels = batch()
    losses = []
    for epoch in range(epochs):
        found.begin_epoch(epoch)
        for _ in range(steps):
            set_rate(optimizer, 1e-2 if tuning.train == "head" else 2e-3)
            model.train()
            found.rest()
            loss = cross_entropy(model(images).logits, labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(loss.item())
    return found, losses


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", FAMILIES)
def test_the_loss_falls_and_nothing_else_changes(name: str, mode: str) -> None:
    model, tuning = build(name), MODES[mode]
    before = copied(model)
    found, losses = taught(model, tuning)
    assert losses[-1] < 0.9 * losses[0]
    heads = {key for key in before if "head" in key}
    new = {key for key in model.state_dict() if key not in before}
    moved = changed(before | {key: torch.zeros(()) for key in new}, model) - new
    if tuning.train == "all":
        assert not new
        assert moved == set(before)
    else:
        assert moved == heads
        assert new == {f"{layer}.{part}" for layer in adapted_layers(model) for part in ("down", "up")}
        assert all(layer.up.any() for layer in adapted_layers(model).values())
        assert len(found.verified(model.state_dict())) == 1


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        (
            "vit_tiny",
            {
                "backbone.embed.class_token": 0.125,
                "backbone.embed.positions.table": 0.125,
                "backbone.encoder.blocks.0.attention.qkv.weight": 0.25,
                "backbone.encoder.blocks.1.mlp_norm.bias": 0.5,
                "backbone.norm.weight": 1.0,
                "head.weight": 1.0,
            },
        ),
        (
            "deit_tiny",
            {
                "backbone.embed.distillation_token": 0.125,
                "backbone.encoder.blocks.1.attention.projection.weight": 0.5,
                "head.bias": 1.0,
                "distillation_head.weight": 1.0,
            },
        ),
        (
            "beit_tiny",
            {
                "backbone.embed.patches.projection.weight": 0.125,
                "backbone.encoder.blocks.0.attention.bias.table": 0.25,
                "backbone.encoder.blocks.1.mlp_scale.scale": 0.5,
                "pool_norm.weight": 1.0,
            },
        ),
        (
            "swin_tiny",
            {
                "backbone.embed.norm.weight": 0.0625,
                "backbone.stages.0.encoder.blocks.0.attention.attention.qkv.bias": 0.125,
                "backbone.stages.1.merging.reduce.weight": 0.125,
                "backbone.stages.1.encoder.blocks.0.mlp.expand.weight": 0.25,
                "backbone.stages.1.encoder.blocks.1.attention.attention.bias.table": 0.5,
                "backbone.norm.bias": 1.0,
                "head.weight": 1.0,
            },
        ),
    ],
)
def test_each_parameter_has_the_rate_of_its_layer(name: str, rates: dict[str, float]) -> None:
    model = build(name)
    tuning = Tuning(model, TuningConfig(layer_decay=0.5), 9)
    optimizer = build_optimizer(model, OptimizerConfig(weight_decay=0.3), tuning.scale)
    set_rate(optimizer, 8.0)
    names = {parameter: key for key, parameter in model.named_parameters()}
    found = {
        names[parameter]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert set(found) == set(names.values())
    assert {key: found[key][0] / 8 for key in rates} == rates
    matrices = (nn.Linear, nn.Conv2d)
    decayed = {f"{key}.weight" for key, module in model.named_modules() if isinstance(module, matrices)}
    assert {key for key, (_, decay) in found.items() if decay} == decayed


def test_without_layer_decay_the_optimizer_has_two_groups() -> None:
    model = build("vit_tiny")
    groups = build_optimizer(model, OptimizerConfig(), Tuning(model, TuningConfig(), 9).scale).param_groups
    assert [group["weight_decay"] for group in groups] == [0.05, 0.0]
    assert [group["scale"] for group in groups] == [1.0, 1.0]


def test_adapters_are_decayed_like_the_matrices_beside_them() -> None:
    model = build("vit_tiny")
    prepare(model, MODES["lora"], 0)
    decayed, spared = build_optimizer(model, OptimizerConfig()).param_groups
    assert len(decayed["params"]) == 2 * len(adapted_layers(model)) + 1  # and the head's matrix
    assert len(spared["params"]) == 1


def learning(tuning: TuningConfig, epochs: Iterable[int], name: str = "vit_tiny") -> list[set[str]]:
    """The layers, by the beginnings of their names, that have a gradient in each epoch."""
    model = build(name)
    prepare(model, tuning, 0)
    found = Tuning(model, tuning, 9)
    result = []
    for epoch in epochs:
        found.begin_epoch(epoch)
        images, labels = batch()
        cross_entropy(model(images).logits, labels).backward()
        alive = {key for key, value in model.named_parameters() if value.grad is not None}
        model.zero_grad(set_to_none=True)
        parts = {"embed": "backbone.embed.", "head": "head.", "norm": "backbone.norm."}
        parts |= {f"block {place}": f"backbone.encoder.blocks.{place}." for place in (0, 1)}
        result.append({part for part, start in parts.items() if any(key.startswith(start) for key in alive)})
        for start in parts.values():  # a part learns as a whole or not at all
            same = {key in alive for key, _ in model.named_parameters() if key.startswith(start)}
            assert len(same) == 1
    return result


EVERYTHING = {"embed", "block 0", "block 1", "norm", "head"}


def test_the_backbone_rests_and_then_learns() -> None:
    assert learning(TuningConfig(frozen_epochs=2), range(4)) == [{"head"}, {"head"}, EVERYTHING, EVERYTHING]


def test_blocks_begin_to_learn_from_the_top() -> None:
    tuning = TuningConfig(frozen_epochs=1, unfreezing="top_down", block_epochs=2)
    high = {"head", "norm", "block 1"}
    wanted = [{"head"}, high, high, high | {"block 0"}, high | {"block 0"}, EVERYTHING, EVERYTHING]
    assert learning(tuning, range(7)) == wanted
    assert learning(replace(tuning, frozen_epochs=0, block_epochs=1), range(3)) == [
        high,
        high | {"block 0"},
        EVERYTHING,
    ]
    assert learning(tuning, [5]) == [EVERYTHING]  # a resumed run begins in the middle


@pytest.mark.parametrize("name", FAMILIES)
def test_a_backbone_that_rests_keeps_nothing_for_a_gradient(name: str) -> None:
    def kept(tuning: TuningConfig) -> int:
        model = build(name)
        prepare(model, tuning, 0)
        found = Tuning(model, tuning, 9)
        found.begin_epoch(0)
        model.train()
        found.rest()
        own = {value.data_ptr() for value in model.state_dict().values()}
        sizes: list[int] = []

        def pack(value: Tensor) -> Tensor:
            if value.untyped_storage().data_ptr() not in own:
                sizes.append(value.numel())
            return value

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
            loss = model(batch()[0]).logits.sum()
        loss.backward()
        backbone = [value for key, value in model.named_parameters() if "head" not in key]
        assert all(value.grad is None for value in backbone) == (tuning != TuningConfig())
        return sum(sizes)

    everything, head, frozen = map(kept, (MODES["all"], MODES["head"], MODES["frozen"]))
    assert head == frozen
    assert head < 0.01 * everything


def test_batch_norms_that_rest_keep_their_statistics() -> None:
    def statistics(model: Model) -> set[str]:
        return {key for key in model.state_dict() if "running" in key or "num_batches" in key}

    head = build("resnet_18")
    before = copied(head)
    found, _ = taught(head, MODES["head"], epochs=1, steps=2)
    assert changed(before, head) == {"network.fc.weight", "network.fc.bias"}
    assert len(found.verified(head.state_dict())) == 1
    late = build("resnet_18")
    taught(late, MODES["frozen"], epochs=2, steps=1)
    assert changed(before, late) >= statistics(late)
    top = build("resnet_18")
    taught(top, TuningConfig(unfreezing="top_down"), epochs=2, steps=1)  # the last two stages
    assert {key.split(".")[1] for key in changed(before, top)} == {"layer4", "layer3", "fc"}


def test_blocks_that_rest_drop_nothing_and_others_do() -> None:
    model = build("vit_tiny", drop_path=0.5)
    tuning = TuningConfig(unfreezing="top_down")
    found = Tuning(model, tuning, 9)
    found.begin_epoch(0)
    model.train()
    found.rest()
    assert [module.training for module in model.modules() if isinstance(module, DropPath)] == [False, True]
    prepare(model, MODES["lora"], 0)
    found = Tuning(model, MODES["lora"], 9)
    found.begin_epoch(0)
    model.train()
    found.rest()
    assert all(module.training for module in model.modules() if isinstance(module, DropPath))


def test_adapters_are_drawn_from_the_seed_alone() -> None:
    def first(seed: int) -> Tensor:
        model = build("vit_tiny")
        torch.rand(seed + 1)
        prepare(model, MODES["lora"], seed)
        return next(iter(adapted_layers(model).values())).down

    assert torch.equal(first(3), first(3))
    assert not torch.equal(first(3), first(4))


def test_an_adapter_that_did_not_move_and_a_weight_that_did_are_named() -> None:
    model = build("vit_tiny")
    found, _ = taught(model, MODES["lora"], epochs=1)
    good = copied(model)
    assert "all have moved" in found.verified(good)[0]
    still = good | {"backbone.encoder.blocks.1.attention.qkv.up": torch.zeros(3, 16, 4)}
    with pytest.raises(
        TrainingError, match=r"adapter of backbone\.encoder\.blocks\.1\.attention\.qkv has not"
    ):
        found.verified(good, still)
    moved = good["backbone.norm.weight"].clone()
    moved[3] = torch.nextafter(moved[3], torch.tensor(9.0))
    with pytest.raises(TrainingError, match=r"backbone\.norm\.weight was to rest"):
        found.verified(good | {"backbone.norm.weight": moved})


@pytest.mark.parametrize(
    ("targets", "count"),
    [
        (("attention.qkv", "attention.projection"), 4),
        ("qkv", 2),
        ("attention.*", 4),
        ("blocks.1.*", 4),
        (("blocks.[0-1].mlp.expand", "qkv"), 4),
        ("backbone.encoder.blocks.0.mlp.contract", 1),
        ("*", 8),
    ],
)
def test_patterns_mean_layers_and_never_the_head(targets: str | tuple[str, ...], count: int) -> None:
    model = build("vit_tiny")
    prepare(model, TuningConfig(train="lora", lora=LoraConfig(rank=2, targets=targets)), 0)
    assert len(adapted_layers(model)) == count
    assert "head" not in adapted_layers(model)


@pytest.mark.parametrize(
    ("name", "targets", "said"),
    [
        ("vit_tiny", "attention.qvk", r"'attention.qvk' matches no layer.*did you mean 'attention.qkv'"),
        ("vit_tiny", ("qkv", "porjection"), r"'porjection' matches no layer.*did you mean 'projection'"),
        ("vit_tiny", "nothing", r"are attention.qkv, attention.projection, mlp.expand, mlp.contract$"),
        ("vit_tiny", "head", r"'head' matches no layer"),
        ("swin_tiny", "nothing", r"are attention.attention.qkv, .*, merging.reduce$"),
        ("resnet_18", "qkv", r"'qkv' matches no layer.*below the head are none$"),
    ],
)
def test_patterns_that_mean_nothing_are_refused(name: str, targets: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        prepare(build(name), TuningConfig(train="lora", lora=LoraConfig(rank=2, targets=targets)), 0)


def test_a_rank_that_saves_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"tuning\.lora: a rank of 16 for .*qkv, whose smaller side is 16"):
        prepare(build("vit_tiny"), TuningConfig(train="lora", lora=LoraConfig(rank=16)), 0)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"train": "head", "frozen_epochs": 1}, "tuning.frozen_epochs is for a backbone that learns"),
        ({"train": "lora", "layer_decay": 0.5}, "tuning.layer_decay is for a backbone that learns"),
        ({"train": "head", "unfreezing": "top_down"}, "tuning.unfreezing is for a backbone"),
        ({"block_epochs": 2}, "tuning.block_epochs is for tuning.unfreezing=top_down"),
        ({"block_epochs": 0, "unfreezing": "top_down"}, "tuning.block_epochs must be 1 or more"),
        ({"frozen_epochs": -1}, "tuning.frozen_epochs must be 0 or more"),
        ({"layer_decay": 0.0}, "tuning.layer_decay must be above 0"),
        ({"layer_decay": 1.1}, "tuning.layer_decay must be above 0 and at most 1"),
        ({"lora": LoraConfig(rank=4)}, "tuning.lora describes the adapters of tuning.train=lora"),
    ],
)
def test_contradictions_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        TuningConfig(**values)


@pytest.mark.parametrize("values", [{"rank": 0}, {"alpha": 0.0}, {"alpha": float("inf")}, {"targets": ()}])
def test_adapters_that_make_no_sense_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"tuning.lora.{next(iter(values))}"):
        LoraConfig(**values)


@pytest.mark.parametrize(
    ("tuning", "goes_on", "truth", "said"),
    [
        (
            MODES["head"],
            False,
            "labels",
            "tuning.train=head is for weights that .*--from SOURCE",
        ),
        (MODES["decay"], False, "labels", "tuning.layer_decay=0.7 is for weights"),
        (MODES["lora"], True, "nothing", "tuning.train=lora is for telling classes apart"),
        (MODES["head"], True, "objects", "where objects are learnt all of the model learns"),
        (TuningConfig(frozen_epochs=5), True, "labels", "leaves none of 5 epochs"),
    ],
)
def test_what_no_run_can_do_is_refused(tuning: TuningConfig, goes_on: bool, truth: Truth, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_tunable(tuning, 5, goes_on=goes_on, truth=truth)
    check_tunable(TuningConfig(), 5, goes_on=goes_on, truth=truth)


def test_settings_reach_the_adapters(config: TrainConfig) -> None:
    found = with_settings(config, ["tuning.train=lora", "tuning.lora.rank=2", "tuning.lora.targets=qkv"])
    assert found.tuning == TuningConfig(train="lora", lora=LoraConfig(rank=2, targets="qkv"))
    found = with_settings(config, ["tuning.train=lora", "tuning.lora.targets=[qkv, expand]"])
    assert found.tuning.lora.patterns == ("qkv", "expand")


# Whole runs.


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A model that knows other classes, small enough for ``config``."""
    model = catalog.build(catalog.configure("vit_tiny", classes=3, image_size=12, options=SMALL))
    save(
        Predictor(model, Preprocess(size=(12, 12), shorter=None), ("a", "b", "c"), device="cpu"),
        tmp_path / "base",
    )
    return tmp_path / "base"


@pytest.fixture
def tuned(config: TrainConfig, base: Path) -> Callable[..., TrainConfig]:
    """The configuration of a run that goes on with ``base``."""
    return lambda tuning, **values: replace(
        config, model=ModelChoice(source=str(base)), tuning=tuning, **values
    )


@pytest.mark.parametrize("average", [0.8, 0.0])
def test_adapters_are_trained_said_and_saved_merged_and_alone(
    tuned: Callable[..., TrainConfig], base: Path, pictures: Path, average: float
) -> None:
    notes: list[str] = []
    run = fit(
        tuned(MODES["lora"], average=average, epochs=10, optimizer=OptimizerConfig(learning_rate=1e-2)),
        watch=lambda moment: notes.append(str(moment.values.get("text"))),
    )
    assert rows(run.path)[-1]["loss"] < 0.8 * rows(run.path)[0]["loss"]
    said = "LoRA: 4 adapters of rank 4 and the head"
    counted = "1,058 of 8,610 parameters"  # 2 blocks of 3 + 1 pairs of 4 x (16 + 16), 2 x 17 of the head
    assert f"{said}; {counted} learn (12.3%)" in notes
    assert f"{said}, {counted} trained (12.3%); all have moved, and no other weight has changed" in notes
    for place in ("best", "last"):
        model = read(run.path / place).model
        assert not adapted_layers(model)
        before, after = read(base).model.state_dict(), model.state_dict()
        same = {key for key in before if torch.equal(before[key], after[key])}
        assert set(before) - same == {
            "head.weight",
            "head.bias",
            *(key for key in before if key.endswith(("qkv.weight", "projection.weight")) and "blocks" in key),
        }
    merged, alone = load(run.path, device="cpu"), load(run.path / "adapter", device="cpu")
    assert alone.classes == merged.classes == ("above", "below")
    assert alone.temperature == merged.temperature
    picture = pictures / "val" / "below" / "03.png"
    assert alone(picture).scores.tolist() == pytest.approx(merged(picture).scores.tolist(), abs=1e-6)
    assert merged.lineage["training"]["tuned"] == "lora"
    held = load_file(run.path / "adapter" / "adapter.safetensors")
    assert sum(value.numel() for value in held.values()) == 1058


def test_a_head_alone_leaves_the_backbone_as_it_was(tuned: Callable[..., TrainConfig], base: Path) -> None:
    run = fit(tuned(MODES["head"], epochs=2))
    before = read(base).model.state_dict()
    for place in ("best", "last"):
        after = read(run.path / place).model.state_dict()
        assert {key for key in before if not torch.equal(before[key], after[key])} == {
            "head.weight",
            "head.bias",
        }
    assert not (run.path / "adapter").exists()


@pytest.mark.parametrize("mode", ["frozen", "top_down", "lora", "head"])
def test_resuming_from_any_epoch_ends_with_the_same_bits(
    tuned: Callable[..., TrainConfig], tmp_path: Path, mode: str
) -> None:
    tuning = TuningConfig(frozen_epochs=2) if mode == "frozen" else MODES[mode]
    config = tuned(tuning)
    fit(config)
    stopped = replace(config, output=str(tmp_path / "stopped"))
    for step in (3, 7, 20):  # where the head learns alone, and where more does
        with pytest.raises(Interrupted):
            fit(stopped, resume=True, watch=Stop(step, signal.SIGINT))
    fit(stopped, resume=True)
    assert_same_end(tmp_path / "run", tmp_path / "stopped")
    if mode == "lora":
        weights = [tmp_path / run / "adapter" / "adapter.safetensors" for run in ("run", "stopped")]
        assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_run_does_not_go_on_with_another_base(tuned: Callable[..., TrainConfig], base: Path) -> None:
    config = tuned(MODES["lora"])
    with pytest.raises(Interrupted):
        fit(config, watch=Stop(3))
    torch.manual_seed(5)
    other = catalog.build(read(base).model.config)
    save(Predictor(other, Preprocess(size=(12, 12), shorter=None), ("a", "b", "c"), device="cpu"), base)
    with pytest.raises(DataError, match="have changed since the run was begun, or the weights"):
        fit(config, resume=True)


def test_patience_waits_until_all_of_the_model_learns(tuned: Callable[..., TrainConfig]) -> None:
    slow = OptimizerConfig(learning_rate=1e-9)  # no evaluation is better than the first
    stopped = fit(tuned(TuningConfig(), epochs=9, patience=1, average=0.0, optimizer=slow))
    waited = fit(
        tuned(
            TuningConfig(frozen_epochs=4),
            epochs=9,
            patience=1,
            average=0.0,
            optimizer=slow,
            output=f"{stopped.path}-2",
        )
    )
    assert stopped.epochs < 4
    assert 4 < waited.epochs < 9


def test_what_cannot_be_tuned_begins_nothing(tuned: Callable[..., TrainConfig]) -> None:
    config = tuned(TuningConfig(train="lora", lora=LoraConfig(targets="qvk")))
    with pytest.raises(ConfigError, match="did you mean 'qkv'"):
        fit(config)
    assert not Path(config.output).exists()


@pytest.mark.parametrize(
    "settings", [["frozen_epochs=1", "unfreezing=top_down"], ["train=lora", "lora.rank=4"]]
)
def test_two_processes_tune_as_one(
    tuned: Callable[..., TrainConfig], base: Path, tmp_path: Path, settings: list[str]
) -> None:
    given = [f"tuning.{setting}" for setting in settings]
    plain = tuned(TuningConfig(), epochs=3, task=replace(tuned(TuningConfig()).task, smoothing=0.0))
    config = with_settings(plain, given)
    fit(config)
    values = {
        "augment.crop": "[0.6, 1.0]",
        "augment.rand_augment": "[1, 3]",
        "augment.erase": 0.1,
        "optimizer.learning_rate": config.optimizer.learning_rate,
        "task.smoothing": 0.0,
        "tuning.layer_decay": 1.0,
        "patience": "null",
        **{name: getattr(config, name) for name in ("epochs", "batch_size", "average", "workers", "device")},
    }
    said = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    said += [part for setting in given for part in ("--set", setting)]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
            *("-m", "vitreous", "train", config.data, "--from", str(base), "--recipe", "tune"),
            *("--output", str(tmp_path / "two"), *said),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    one, two = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("run", "two")
    )
    assert len(one) == len(two) == 3
    for alone, together in zip(one, two, strict=True):
        assert together["loss"] == pytest.approx(alone["loss"], rel=1e-4)
        assert together["validation_loss"] == pytest.approx(alone["validation_loss"], rel=1e-3)
