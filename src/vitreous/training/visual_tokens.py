"""The tokenizer of a run that learns visual tokens: read, held against the model, and tried on pictures."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from vitreous.checkpoints.adapter import fingerprint
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.source import read_any
from vitreous.data.collection import Collection
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, ConfigError, PictureError
from vitreous.models.config import MaskedTokensConfig, ModelConfig, family_of
from vitreous.tasks.config import TaskConfig, VisualTokensConfig
from vitreous.tasks.visual_tokens import Answers
from vitreous.training.config import ModelChoice

TRIED = 16  # pictures that a tokenizer is asked about before a run


class FrozenTokenizer(NamedTuple):
    """A discrete VAE that answers in a run and learns nothing: where it came from, and what it is."""

    source: str
    checkpoint: Checkpoint

    @property
    def codes(self) -> int:
        """How many tokens it tells apart."""
        codes: int = self.checkpoint.model.config.codes
        return codes

    def answers(self, ours: Preprocess, model: MaskedTokensConfig, device: torch.device) -> Answers:
        """What it says of views that a model is shown, as ``ours`` normalises them, on this device."""
        network: Any = self.checkpoint.model.to(device).eval().requires_grad_(False)
        return Answers(network, self.checkpoint.preprocess, ours, model.backbone)

    def lineage(self) -> dict[str, object]:
        """Where the tokens come from, as plain values."""
        return {
            "source": Path(self.source).name,  # the last part: the rest would tell of somebody's disk
            "codes": self.codes,
            "sha256": self.fingerprint(),
            "lineage": self.checkpoint.lineage,
        }

    def fingerprint(self) -> str:
        """SHA-256 over its weights: 64 hex digits. With another tokenizer a run would not be the same."""
        return fingerprint(self.checkpoint.model.state_dict())

    def model_for(self, choice: ModelChoice, config: ModelConfig) -> ModelConfig:
        """The configuration of a new model that tells as many tokens apart as there are, unless a number was
        said. ConfigError where it was another one."""
        if not isinstance(config, MaskedTokensConfig) or config.visual_tokens == self.codes:
            return config
        if "visual_tokens" in choice.options:
            raise ConfigError(
                f"model.options.visual_tokens is {config.visual_tokens}, and the tokenizer {self.source} has"
                f" {self.codes} tokens; leave the option out, or give another tokenizer"
            )
        return replace(config, visual_tokens=self.codes)

    def check_taught(self, source: str, config: ModelConfig) -> None:
        """ConfigError unless weights that are gone on with tell as many tokens apart."""
        if isinstance(config, MaskedTokensConfig) and config.visual_tokens != self.codes:
            raise ConfigError(
                f"{source} tells {config.visual_tokens} visual tokens apart, and the tokenizer {self.source}"
                f" has {self.codes}; give the one that it was taught by, or start anew without --from"
            )

    def tried(self, pictures: Collection, ours: Preprocess, model: MaskedTokensConfig) -> str:
        """How many tokens occur in some pictures of a collection, for a person to hear.

        ConfigError where all patches have the same one: there would be nothing to learn.
        """
        step = max(1, len(pictures) // TRIED)
        views = []
        for index in range(0, len(pictures), step)[:TRIED]:
            try:
                views.append(ours(pictures.open(index)).image)
            except PictureError:  # which training names
                continue
        if not views:
            return f"visual tokens of {self.source}: {self.codes}"
        tokens = self.answers(ours, model, torch.device("cpu"))(torch.stack(views))
        occurring = len(set(tokens.flatten().tolist()))
        if occurring == 1:
            raise ConfigError(
                f"{self.source}: this tokenizer gives all patches of {len(views)} pictures the same token, so"
                " there is nothing to learn; train it for longer, or give another"
            )
        return f"visual tokens of {self.source}: {occurring} of {self.codes} occur in {len(views)} pictures"


def read_tokenizer(task: TaskConfig) -> FrozenTokenizer | None:
    """The tokenizer that a task asks for, None where it asks for none.

    Raises:
        CheckpointError: it cannot be read, or is no discrete VAE.
    """
    if not isinstance(task, VisualTokensConfig):
        return None
    checkpoint = read_any(Path(task.tokenizer))
    family = family_of(checkpoint.model.config)
    if family != "dvae":
        raise CheckpointError(
            f"{task.tokenizer}: a model of the family {family} makes no visual tokens; wanted a discrete VAE:"
            " train one with --recipe tokenizer, or give the DALL-E encoder"
        )
    return FrozenTokenizer(task.tokenizer, checkpoint)
