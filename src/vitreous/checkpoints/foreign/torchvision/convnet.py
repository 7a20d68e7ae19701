"""torchvision's ``ResNet``, ``EfficientNet`` and ``RegNet``: a bare ``.pth`` of weights, or the directory
that we write. The lines that load what we write are

    values = json.load(open("config.json"))["convnet"]
    model = torchvision.models.get_model(values["architecture"], num_classes=values["num_classes"])
    model.load_state_dict(safetensors.torch.load_file("model.safetensors"))
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from vitreous.checkpoints.directory import FileContent, to_json
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.class_names import unnamed
from vitreous.checkpoints.foreign.fields import pair, section
from vitreous.checkpoints.foreign.plan import IMAGENET_MEAN, IMAGENET_STD, Found, Plan, Reader, Shapes
from vitreous.checkpoints.foreign.torchvision.common import LAYOUT, told, written
from vitreous.checkpoints.foreign.writing import Writer, weights_file
from vitreous.checkpoints.weights import blueprint
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.catalog import CATALOG
from vitreous.models.config import ConvNetConfig, ConvNetName, ModelConfig
from vitreous.models.convnet_stages import HEADS, Kind, Network, network

SECTION = "convnet"
OURS = "network."
COUNTER = ".num_batches_tracked"  # files older than torch 0.4.1 have none

# What is there in every network of a kind: its stem, and its first block.
KINDS: Mapping[Kind, tuple[str, str]] = {
    "resnet": ("conv1.weight", "layer1.0.conv1.weight"),
    "efficientnet": ("features.0.0.weight", "features.1.0.block.0.0.weight"),
    "regnet": ("stem.0.weight", "trunk_output.block1.block1-0.f.a.0.weight"),
}
BLOCKS: Mapping[Kind, str] = {
    "resnet": r"layer(\d+)\.(\d+)\.conv1\.weight",
    "efficientnet": r"features\.(\d+)\.(\d+)\.block\.0\.0\.weight",
    "regnet": r"trunk_output\.block(\d+)\.block\d+-(\d+)\.f\.a\.0\.weight",
}
# Convolutions of the second stage's first block, which tell the relatives of a kind apart: groups, widths.
TELLING: Mapping[Kind, tuple[str, ...]] = {
    "resnet": ("layer2.0.conv1", "layer2.0.conv2", "layer2.0.conv3"),
    "efficientnet": ("features.2.0.block.0.0", "features.2.0.block.1.0", "features.2.0.block.3.0"),
    "regnet": tuple(f"trunk_output.block2.block2-0.f.{part}.0" for part in "abc"),
}
SQUEEZED = "trunk_output.block2.block2-0.f.se.fc1.weight"  # RegNetX has none

# The shorter side before the crop, and the interpolation, of the best weights that torchvision publishes
# under a name where they are not 232 pixels, bilinear: the second edition's of most networks.
SHORTER: Mapping[ConvNetName, int] = {
    "resnet18": 256,
    "resnet34": 256,
    "efficientnet_b0": 256,
    "efficientnet_b1": 255,
    "efficientnet_b2": 288,
    "efficientnet_b3": 320,
    "efficientnet_b4": 384,
    "efficientnet_b5": 456,
    "efficientnet_b6": 528,
    "efficientnet_b7": 600,
    "regnet_y_128gf": 384,
}
BICUBIC = {"regnet_y_128gf", *(f"efficientnet_b{number}" for number in (0, 2, 3, 4, 5, 6, 7))}


def recognises(found: Found) -> bool:
    """Whether these are the names of one of the three classes."""
    return _kind(found.shapes) is not None


def plan(found: Found, model: str | None) -> Plan:
    """Read the architecture off names and shapes, and the rest from ``config`` where we have written one.

    Raises:
        CheckpointError: a relative that is not read, or a ``name=`` that is another architecture's.
    """
    shapes, name = found.shapes, found.name
    known, standard = _known(shapes, name)
    architecture = standard.architecture
    if model not in (None, known, architecture):
        raise CheckpointError(
            f"{name}: its tensors are those of {architecture}; {model!r} is another network, or one that"
            " computes otherwise from the same tensors, and is not read"
        )
    head = shapes.get(f"{HEADS[network(architecture).kind]}.weight")
    config = replace(standard, classes=head[0] if head else 0)
    labels = unnamed(config.classes)
    names, preprocess = labels.names, published(config)
    assumed: tuple[str, ...] = ("preprocessing", *labels.assumed)
    if found.config is not None:
        config, preprocess, names = _told(found.config, config, name)
        assumed = ()
    expected = blueprint(config, len(shapes), name).state_dict()
    counters = [key for key in expected if key.endswith(COUNTER)]
    counted = any(key.endswith(COUNTER) for key in shapes)
    return Plan(
        LAYOUT,
        config,
        preprocess,
        names,
        {key: (key.removeprefix(OURS),) for key in expected if counted or key not in counters},
        assumed=assumed,
        finish=lambda tensors: tensors if counted else tensors | {key: torch.tensor(0) for key in counters},
    )


def write(checkpoint: Checkpoint) -> dict[str, FileContent]:
    """The files of a directory that torchvision's module can be filled from."""
    config = checkpoint.model.config
    state = {key.removeprefix(OURS): value.detach() for key, value in checkpoint.model.state_dict().items()}
    if checkpoint.temperature != 1.0:
        head = HEADS[network(config.architecture).kind]
        state |= {
            f"{head}.{leaf}": state[f"{head}.{leaf}"] / checkpoint.temperature for leaf in ("weight", "bias")
        }
    values = {
        "layout": LAYOUT,
        SECTION: {"architecture": config.architecture, "num_classes": config.classes},
        "image_size": list(config.image_size),
        **written(checkpoint),
    }
    return {"config.json": to_json(values), "model.safetensors": weights_file(state)}


def _kind(shapes: Shapes) -> Kind | None:
    return next(
        (kind for kind, keys in KINDS.items() if all(len(shapes.get(k, ())) == 4 for k in keys)), None
    )


def _known(shapes: Shapes, name: str) -> tuple[str, ConvNetConfig]:
    """The catalog's name and configuration of the network with so many blocks and these telling shapes."""
    kind = _kind(shapes)
    assert kind is not None
    depths = _depths(shapes, kind)
    read = {key: config for key, config in CATALOG.items() if isinstance(config, ConvNetConfig)}
    relatives = {key: config for key, config in read.items() if network(config.architecture).kind == kind}
    for key, config in relatives.items():
        parts = network(config.architecture)
        if parts.depths == depths and all(shapes.get(k) == shape for k, shape in _telling(parts).items()):
            return key, config
    blocks = ", ".join(map(str, depths))
    raise CheckpointError(
        f"{name}: names of torchvision's {kind}, but its stages of {blocks} blocks or their widths are those"
        f" of no network that is read; wanted one of {', '.join(relatives)}"
    )


def _depths(shapes: Shapes, kind: Kind) -> tuple[int, ...]:
    """The blocks of each stage."""
    stages: dict[int, int] = {}
    for key in shapes:
        match = re.fullmatch(BLOCKS[kind], key)
        if match:
            stage, index = map(int, match.groups())
            stages[stage] = max(stages.get(stage, 0), index + 1)
    return tuple(stages[stage] for stage in sorted(stages))


def _telling(parts: Network) -> dict[str, tuple[int, ...]]:
    block = parts.stages[1][0]
    told: dict[str, tuple[int, ...]] = {}
    for key, conv in zip(TELLING[parts.kind], block.convolutions, strict=False):  # two in a small ResNet
        told[f"{key}.weight"] = (conv.out, conv.channels // conv.groups, conv.kernel, conv.kernel)
    if parts.kind == "regnet":
        told[SQUEEZED] = (block.squeezed, block.convolutions[1].out, 1, 1)
    return told


def published(config: ConvNetConfig) -> Preprocess:
    """What the best weights that torchvision publishes under this name were measured with."""
    name = config.architecture
    return Preprocess(
        size=config.image_size,
        shorter=SHORTER.get(name, 232),
        interpolation="bicubic" if name in BICUBIC else "bilinear",
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )


def _told(
    values: Mapping[str, Any], config: ConvNetConfig, name: str
) -> tuple[ConvNetConfig, Preprocess, tuple[str, ...]]:
    """What ``config.json`` of a directory that we wrote adds to the weights."""
    where = f"{name}/config.json"
    stated = section(values, SECTION, where).get("architecture")
    if stated is None:
        raise CheckpointError(
            f"{where}: not one that was written for torchvision's weights; give the file of weights alone"
        )
    if stated != config.architecture:
        raise CheckpointError(
            f"{where}: architecture {stated!r}, but the weights are {config.architecture}'s"
        )
    preprocess, classes = told(values, where)
    if len(classes) != config.classes:
        raise CheckpointError(f"{where}: {len(classes)} class names for a head of {config.classes}")
    size = pair(values.get("image_size"), f"{where}: image_size")
    try:
        return replace(config, image_size=size), preprocess, classes
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from error


def _reasons(config: ModelConfig) -> list[str]:
    return [] if config.classes else ["it has no head"]


READER = Reader(LAYOUT, "convnet", recognises, plan, ())
WRITER = Writer("torchvision's convolutional networks", ("convnet",), _reasons, write)
