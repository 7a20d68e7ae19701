"""What every model is: a module that keeps its own configuration and answers with one NamedTuple."""

from typing import Any

from torch import nn


class Model(nn.Module):
    """A backbone and what is put on it. ``config`` is one of ``vitreous.models.config.ModelConfig``, from
    which the same model can be built again."""

    config: Any
