"""Other libraries' own loaders, so that what they answer can be held against what we answer.

Nothing is imported before a peer is asked for. What a file says of itself only ever chooses from the
tables below.

Shapes: B pictures; C channels; h w pixels; P patches; K classes.
"""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from vitreous.checkpoints.destination import writer_for
from vitreous.checkpoints.directory import read_json
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.peer import Hidden, NotRun, Peer, Transform, drawn_in, quiet, require
from vitreous.checkpoints.peer_dall_e import load_dall_e
from vitreous.checkpoints.peer_transformers import load_transformers
from vitreous.checkpoints.stored import open_file
from vitreous.checkpoints.weights import first_line
from vitreous.data.preprocess import Preprocess
from vitreous.errors import MissingPackage
from vitreous.models.config import (
    ClassifierConfig,
    ConvNetConfig,
)

DIRECTORIES = ("transformers", "timm", "torchvision", "dall_e")
# What config.json calls the arguments, and which class of torchvision takes them.
TORCHVISION = {"vision_transformer": "VisionTransformer", "swin_transformer": "SwinTransformer"}
# Models of the catalog that torchvision has a builder for, under the same name.
TORCHVISION_BUILDERS = (
    "vit_b_16",
    "vit_b_32",
    "vit_l_16",
    "vit_l_32",
    "vit_h_14",
    "swin_t",
    "swin_s",
    "swin_b",
)


def peer_of_directory(layout: str, place: Path, checkpoint: Checkpoint, *, ours: bool = False) -> Peer:
    """What ``layout``'s own loader makes of a directory, in float32 (float64 where that is stored).
    ``ours`` where we wrote it.

    Raises:
        NotRun: the library cannot load it by itself.
        MissingPackage: the library is not installed.
    """
    if layout not in DIRECTORIES:
        raise NotRun(f"files of {layout} are loaded by its own programs alone")
    require(layout)
    load = {
        "transformers": lambda: load_transformers(place, checkpoint),
        "timm": lambda: _timm(place, checkpoint, ours),
        "torchvision": lambda: _torchvision(place, checkpoint),
        "dall_e": lambda: load_dall_e(place, checkpoint),
    }[layout]
    return _loaded(layout, load, checkpoint)


def peer_of_file(layout: str, place: Path, checkpoint: Checkpoint, name: str | None) -> Peer:
    """What another library makes of a bare file of weights. The same errors."""
    if layout == "google":
        require("timm")
        return _loaded("timm", lambda: _google(place, checkpoint), checkpoint)
    if layout == "dall_e":
        require("dall_e")
        return _loaded(layout, lambda: load_dall_e(place, checkpoint), checkpoint)
    if layout == "torchvision":
        require("torchvision")
        return _loaded(layout, lambda: _torchvision_file(place, checkpoint, name), checkpoint)
    if layout == "transformers":
        raise NotRun("transformers loads a directory with its config.json, not a bare file")
    timm = require("timm")
    if name is None or not timm.is_model(name):
        raise NotRun("timm loads a bare file only under the name of an architecture; give it as --name")
    return _loaded("timm", lambda: _timm_file(place, checkpoint, name), checkpoint)


def _loaded(library: str, load: Callable[[], Peer], checkpoint: Checkpoint) -> Peer:
    """A peer, quietly loaded; whatever its library raises becomes one line."""
    stored = next(checkpoint.model.parameters()).dtype
    try:
        with quiet(), drawn_in(torch.float64 if stored == torch.float64 else torch.float32):
            return load()
    except (NotRun, MissingPackage):
        raise
    except Exception as error:  # libraries raise whatever they trip over
        raise NotRun(f"{library} cannot load it: {type(error).__name__}, {first_line(error)}") from error


def _timm(place: Path, checkpoint: Checkpoint, ours: bool) -> Peer:
    def load(**options: Any) -> Any:
        return require("timm").create_model(f"local-dir:{place}", pretrained=True, **options)

    return _timm_peer(load, checkpoint, ours)


def _timm_file(place: Path, checkpoint: Checkpoint, name: str) -> Peer:
    config = checkpoint.model.config
    told = {"file": str(place), "custom_load": False, "num_classes": config.classes, "label_offset": 0}
    told |= {"input_size": (config.channels, *config.image_size)}
    given = {"num_classes": config.classes, "in_chans": config.channels, "img_size": config.image_size}

    def load(**options: Any) -> Any:
        create = require("timm").create_model
        return create(name, pretrained=True, pretrained_cfg_overlay=told, **given, **options)

    # The transform would be the architecture's own, of which the file says nothing.
    return _timm_peer(load, checkpoint, True)._replace(
        transforms=(), without_transforms="a bare file does not say its preprocessing"
    )


def _timm_peer(load: Callable[..., Any], checkpoint: Checkpoint, ours: bool) -> Peer:
    height, width = checkpoint.model.config.image_size
    patch = getattr(getattr(checkpoint.model.config, "backbone", None), "patch", 1)
    try:
        if height % patch or width % patch:  # where any size is allowed, such a one is not
            raise TypeError
        model, any_size = load(dynamic_img_size=True).eval(), True
    except TypeError:  # a class that does not take it
        model, any_size = load().eval(), False
    native = tuple(checkpoint.model.config.image_size)

    def answer(images: Tensor, _: Hidden) -> Tensor:
        size = tuple(images.shape[-2:])
        if any_size or size == native or not hasattr(model, "set_input_size"):
            return model(images)
        moved = deepcopy(model)
        moved.set_input_size(img_size=size)
        return moved(images)

    data = require("timm").data
    values, size = data.resolve_model_data_config(model), checkpoint.preprocess.size
    own, title = tuple(values["input_size"][1:]), "create_transform"
    if own != size and not ours:
        # A model that was made for another size keeps the size of its pretraining's transform.
        values["input_size"] = (values["input_size"][0], *size)
        title = f"create_transform at {size[0]}x{size[1]}, its own is {own[0]}x{own[1]}"
    transform = data.create_transform(**values)
    grey = checkpoint.preprocess.channels == 1

    def apply(picture: Image.Image) -> Tensor:
        pixels: Tensor = transform(picture.convert("L") if grey else picture)
        return pixels

    return Peer("timm", type(model).__name__, model, answer, (Transform(title, apply),))


def _google(place: Path, checkpoint: Checkpoint) -> Peer:
    config = checkpoint.model.config
    if not isinstance(config, ClassifierConfig) or config.head == "mlp":
        raise NotRun("timm's loader of .npz leaves out the hidden layer of the head (pre_logits)")
    backbone = config.vit
    model = (
        require("timm")
        .models.VisionTransformer(
            img_size=backbone.image_size,
            patch_size=backbone.patch,
            in_chans=backbone.channels,
            num_classes=config.classes,
            embed_dim=backbone.encoder.width,
            depth=backbone.depth,
            num_heads=backbone.heads,
            mlp_ratio=(backbone.encoder.mlp_width + 0.5) / backbone.encoder.width,  # rounded down there
            dynamic_img_size=True,
        )
        .eval()
    )
    model.load_pretrained(str(place))
    without = "an .npz does not say its preprocessing"
    return Peer("timm", type(model).__name__, model, lambda images, _: model(images), (), without)


def _torchvision(place: Path, checkpoint: Checkpoint) -> Peer:
    from safetensors.torch import load_file
    from torchvision import models

    values, config = read_json(place / "config.json", "config.json"), checkpoint.model.config
    key = next((key for key in TORCHVISION if key in values), None)
    if isinstance(config, ConvNetConfig):
        model = models.get_model(config.architecture, num_classes=config.classes)
    elif key is not None:
        # The file is a stranger's: only what its tensors have goes into a constructor.
        expected = json.loads(writer_for(config, "torchvision").write(checkpoint)["config.json"])  # type: ignore[arg-type]
        if values[key] != expected.get(key):
            raise NotRun(f"config.json gives other arguments for {TORCHVISION[key]} than its tensors have")
        model = getattr(models, TORCHVISION[key])(**expected[key])
    else:
        raise NotRun("config.json does not say the arguments of a class of torchvision")
    model.load_state_dict(load_file(place / "model.safetensors"))
    return _torchvision_peer(model, checkpoint)


def _torchvision_file(place: Path, checkpoint: Checkpoint, name: str | None) -> Peer:
    from torchvision import models

    from vitreous.checkpoints.passport import catalog_name

    config = checkpoint.model.config
    known = name or catalog_name(config)
    if isinstance(config, ConvNetConfig):
        known = config.architecture
    elif known not in TORCHVISION_BUILDERS:
        raise NotRun(f"torchvision has no builder for a model of this size ({known or 'of no name'})")
    options = {"image_size": config.image_size[0]} if known.startswith("vit") else {}
    model = models.get_model(known, weights=None, num_classes=config.classes, **options)
    model.load_state_dict(open_file(place, place.name).load())
    without = "a bare file does not say its preprocessing"
    return _torchvision_peer(model, checkpoint)._replace(transforms=(), without_transforms=without)


def _torchvision_peer(model: nn.Module, checkpoint: Checkpoint) -> Peer:
    from torchvision.models import VisionTransformer

    model.eval()

    def answer(images: Tensor, _: Hidden) -> Tensor:
        if isinstance(model, VisionTransformer) and images.shape[-1] != model.image_size:
            return _torchvision_resized(model, images.shape[-1])(images)
        return model(images)

    preprocess = checkpoint.preprocess
    cut = preprocess.shorter is not None or preprocess.squashed is not None
    exact = not cut or preprocess.crop_rounding == "even"  # as CenterCrop does, and nothing else there
    transforms = (Transform("transforms", _torchvision_transform(preprocess), exact),)
    return Peer("torchvision", type(model).__name__, model, answer, transforms)


def _torchvision_resized(model: Any, side: int) -> nn.Module:
    """The same model for square pictures of another side, by torchvision's own function."""
    from torchvision.models import VisionTransformer
    from torchvision.models.vision_transformer import interpolate_embeddings

    resized = VisionTransformer(
        image_size=side,
        patch_size=model.patch_size,
        num_layers=len(model.encoder.layers),
        num_heads=model.encoder.layers[0].num_heads,
        hidden_dim=model.hidden_dim,
        mlp_dim=model.mlp_dim,
        num_classes=model.num_classes,
        representation_size=model.representation_size,
    ).to(model.class_token.dtype)
    resized.load_state_dict(interpolate_embeddings(side, model.patch_size, model.state_dict()))
    return resized.eval()


def _torchvision_transform(preprocess: Preprocess) -> Callable[[Image.Image], Tensor]:
    """What the values of a preprocessing mean to torchvision, which keeps its own in code."""
    from torchvision import transforms

    method = transforms.InterpolationMode(preprocess.interpolation)
    sides = preprocess.shorter or preprocess.squashed or preprocess.size
    steps = [
        *([transforms.Grayscale()] if preprocess.channels == 1 else []),
        transforms.Resize(sides, method),
        transforms.CenterCrop(preprocess.size),
        transforms.ToTensor(),
        transforms.Normalize(preprocess.mean, preprocess.std),
    ]
    return transforms.Compose(steps)
