"""What transformers' ``config.json`` says alike for every family. The library leaves out what has a
family's default; the defaults here are those of most."""

from collections.abc import Mapping
from typing import Any

from vitreous.backbones.config import Activation, EncoderConfig
from vitreous.checkpoints.foreign.fields import integer, number, pair
from vitreous.checkpoints.foreign.plan import Found
from vitreous.errors import CheckpointError

LAYOUT = "transformers"

ACTIVATIONS: Mapping[str, Activation] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
}
ACTIVATION_NAMES: Mapping[Activation, str] = {
    "gelu": "gelu",
    "gelu_tanh": "gelu_pytorch_tanh",
    "quick_gelu": "quick_gelu",
}


def stated_config(found: Found, untold: str = "activation and norm epsilon") -> Mapping[str, Any]:
    """The values of ``config.json``. CheckpointError where there is none; ``untold`` is what the weights
    do not show."""
    if found.config is None:
        raise CheckpointError(
            f"{found.name}: names of transformers, whose {untold} stand in config.json;"
            " give the directory that holds both"
        )
    return found.config


def stated_activation(values: Mapping[str, Any], where: str) -> Activation:
    """What ``hidden_act`` says. CheckpointError for a function that is not known here."""
    given = values.get("hidden_act", "gelu")
    if not isinstance(given, str) or given not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise CheckpointError(f"{where}: hidden_act {given!r} is not known; wanted one of {known}")
    return ACTIVATIONS[given]


def refuse_patch(values: Mapping[str, Any], kernel: int, where: str, default: int = 16) -> None:
    """CheckpointError for a ``patch_size`` that is not the weights' own."""
    rows, cols = pair(values.get("patch_size", default), f"{where}: patch_size")
    if (rows, cols) != (kernel, kernel):
        raise CheckpointError(f"{where}: patch_size {rows}x{cols}, but the weights have {kernel}")


def stated_encoder(
    values: Mapping[str, Any],
    activation: Activation,
    where: str,
    *,
    width: int = 768,
    mlp_width: int = 3072,
    norm_eps: float = 1e-12,
) -> EncoderConfig:
    """The widths and the epsilon of blocks.

    Raises:
        CheckpointError: one that is no number.
        ConfigError: numbers of which no block can be made.
    """
    return EncoderConfig(
        width=integer(values.get("hidden_size", width), f"{where}: hidden_size"),
        mlp_width=integer(values.get("intermediate_size", mlp_width), f"{where}: intermediate_size"),
        norm_eps=number(values.get("layer_norm_eps", norm_eps), f"{where}: layer_norm_eps"),
        activation=activation,
    )


def stated_blocks(values: Mapping[str, Any], where: str, heads: int = 12) -> tuple[int, int]:
    """How many blocks there are, and heads in each."""
    return (
        integer(values.get("num_hidden_layers", 12), f"{where}: num_hidden_layers"),
        integer(values.get("num_attention_heads", heads), f"{where}: num_attention_heads"),
    )
