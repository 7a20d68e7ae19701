"""The backbone of one model under the head of another: what was pretrained as a classifier, or without
classes, goes on as a model of places or of objects. What is new is said aloud."""

from dataclasses import replace
from typing import Any, get_args, get_type_hints

from torch import Tensor

from vitreous.backbones.config import BackboneConfig, ViTConfig
from vitreous.backbones.convnet_config import ConvNetBackboneConfig
from vitreous.checkpoints.adapt import adapt
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.weights import load_weights
from vitreous.data.preprocess import Preprocess
from vitreous.errors import ConfigError
from vitreous.models.averaging import NORM, POOL_NORM
from vitreous.models.catalog import build
from vitreous.models.config import ClassifierConfig, ConvNetConfig, ModelConfig, family_of
from vitreous.models.convnet_stages import RESNETS

BACKBONE = "backbone."


def transplant(
    checkpoint: Checkpoint, wanted: ModelConfig, classes: tuple[str, ...]
) -> tuple[Checkpoint, tuple[str, ...]]:
    """A model of the ``wanted`` kind, native pictures and head on the checkpoint's own backbone; and a
    sentence on each thing that is not as it was.

    The backbone keeps its sizes, whatever those of ``wanted`` are, and every tensor, its positions resized;
    where a classifier normalised after pooling, that norm goes back to the end of the backbone. Of a residual
    network the statistics of its norms are frozen, as DETR's authors tuned them (arXiv:2005.12872, section
    4). All else is random, from torch's global generator. Pictures are seen whole, with the mean and the
    deviation that the backbone knows.

    Raises:
        ConfigError: the checkpoint has no backbone, or one that the wanted head does not stand on.
    """
    given: Any = checkpoint.model.config
    template: Any = wanted
    residual = isinstance(given, ConvNetConfig) and given.architecture in RESNETS
    if not (hasattr(given, "backbone") or residual) or not hasattr(template, "backbone"):
        raise ConfigError(
            f"a model of family {family_of(given)} has no backbone that one of family {family_of(wanted)}"
            " could stand on; wanted the weights of a ViT, a Swin, a Mix Transformer or a ResNet"
        )
    resized, notes = adapt(checkpoint, image_size=template.image_size)
    state = dict(resized.model.state_dict())
    backbone, state = (_residual if residual else _backbone)(resized.model.config, state)
    stands = get_type_hints(type(template))["backbone"]
    kinds = get_args(stands) or (stands,)
    if not isinstance(backbone, kinds):
        known = " or ".join(map(_kind, kinds))
        raise ConfigError(
            f"a model of family {family_of(wanted)} does not stand on a {_kind(type(backbone))}; wanted the"
            f" weights of a {known}"
        )
    config = replace(template, backbone=backbone, classes=len(classes))
    kept = {key: value for key, value in state.items() if key.startswith(BACKBONE)}
    like = next(iter(kept.values()))
    fresh = build(config).to(like.device, like.dtype).state_dict()
    new = {key: value for key, value in fresh.items() if not key.startswith(BACKBONE)}
    model = load_weights(config, kept | new, "the transplanted model", dtype=None)
    model.train(checkpoint.model.training)
    said = [
        f"the backbone of the {family_of(given)} is kept ({len(kept)} tensors); a {family_of(wanted)} head"
        f" with random weights for {len(classes)} classes stands on it"
    ]
    preprocess = _whole(resized.preprocess)
    if preprocess != resized.preprocess:
        size = "x".join(map(str, preprocess.size))
        said.insert(0, f"pictures are squashed to {size} pixels: a crop would leave out their edges")
    return Checkpoint(model, preprocess, classes, lineage=checkpoint.lineage), (*notes, *said)


def _kind(config: type) -> str:
    names = {"ConvNetBackbone": "ResNet", "MiT": "Mix Transformer"}
    name = config.__name__.removesuffix("Config")
    return names.get(name, name)


def _whole(preprocess: Preprocess) -> Preprocess:
    """The same where it sees whole pictures, else the whole picture squashed to the same size."""
    if preprocess.longest is not None or (preprocess.shorter is None and preprocess.squashed is None):
        return preprocess
    return replace(preprocess, shorter=None, squashed=None)


def _residual(
    config: ConvNetConfig, state: dict[str, Tensor]
) -> tuple[ConvNetBackboneConfig, dict[str, Tensor]]:
    """A ResNet of torchvision without its head, and its tensors by our names of them."""
    bottleneck, depths = RESNETS[config.architecture]
    backbone = ConvNetBackboneConfig(
        widths=tuple(64 * 2**stage * (4 if bottleneck else 1) for stage in range(len(depths))),
        depths=depths,
        bottleneck=bottleneck,
        image_size=config.image_size,
        channels=config.channels,
    )
    parts = {"conv1": "stem", "bn1": "stem_norm"}
    parts |= {f"layer{stage + 1}": f"stages.{stage}" for stage in range(len(depths))}
    found = {}
    for key, value in state.items():
        part, _, rest = key.removeprefix("network.").partition(".")
        if part in parts and not rest.endswith("num_batches_tracked"):
            found[f"{BACKBONE}{parts[part]}.{rest}"] = value
    return backbone, found


def _backbone(config: Any, state: dict[str, Tensor]) -> tuple[BackboneConfig, dict[str, Tensor]]:
    """The backbone with a norm at its end, and its tensors."""
    backbone: BackboneConfig = config.backbone
    pooled = isinstance(config, ClassifierConfig) and config.pool_norm and config.pool != "class_mean"
    if isinstance(backbone, ViTConfig) and not backbone.final_norm and pooled:
        backbone = replace(backbone, final_norm=True)
        moved = {NORM + key.removeprefix(POOL_NORM): key for key in state if key.startswith(POOL_NORM)}
        state = state | {ours: state[key] for ours, key in moved.items()}
    return backbone, state
