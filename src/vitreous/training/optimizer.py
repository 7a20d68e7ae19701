"""What moves the weights: AdamW in groups, the learning rate of a step, the averaged weights."""

from collections.abc import Callable
from math import cos, pi

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from vitreous.training.config import OptimizerConfig


def build_optimizer(
    model: nn.Module, config: OptimizerConfig, scale: Callable[[str], float] = lambda name: 1.0
) -> AdamW:
    """AdamW, fused. Only the matrices of linear layers, their adapters among them, and the kernels of
    convolutions are decayed: norms, biases, position tables, prefix tokens and LayerScale are not.

    ``scale`` is what the learning rate of a parameter, by name, is multiplied by; a group keeps it as
    ``scale``. Parameters that need no gradient are left out.
    """
    decayed = {
        f"{name}.{part}"
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
        for part in ("weight", "down", "up")
    }
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = config.weight_decay if name in decayed else 0.0
            groups.setdefault((scale(name), decay), []).append(parameter)
    fused = next(model.parameters()).device.type in ("cpu", "cuda", "mps")
    return AdamW(
        [
            {"params": parameters, "weight_decay": decay, "scale": factor}
            for (factor, decay), parameters in sorted(groups.items(), reverse=True)
        ],
        lr=config.learning_rate,
        betas=config.betas,
        fused=fused,
    )


def set_rate(optimizer: AdamW, rate: float) -> None:
    """Give every group its part of the learning rate of a step."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


def learning_rate(step: int, steps: int, config: OptimizerConfig) -> float:
    """The rate of a step (from 0): linear warm-up, then half a cosine to ``final`` of the peak."""
    warmup = int(config.warmup * steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    share = config.final + (1 - config.final) * 0.5 * (1 + cos(pi * progress))
    return config.learning_rate * share


class Average:
    """The exponential moving average of the weights, which is what is judged and kept.

    Its decay rises from 0 as (1 + n) / (10 + n), so that the first random weights are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move towards the model's present weights."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        own: list[Tensor] = []
        new: list[Tensor] = []
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                own.append(self.weights[name])
                new.append(value)
            else:
                self.weights[name].copy_(value)
        torch._foreach_lerp_(own, new, 1 - decay)
