"""A discrete VAE: pictures are painted again from tokens, which are chosen so that they can be.

"Zero-Shot Text-to-Image Generation" (arXiv:2102.12092), section 2.1 and appendix A.2 and A.3: a choice has no
gradient, so while it learns a token is a mixture of codes, drawn by the Gumbel softmax (arXiv:1611.01144, eq.
2), whose temperature falls over the run. What is judged is painted from the likeliest codes alone.

Shapes: B pictures of C channels and H x W pixels; K codes; rows x cols tokens, s x s pixels each.
"""

from collections.abc import Mapping
from math import cos, exp, log, pi

import torch
from torch import Tensor, nn

from vitreous.data.draws import seed_of
from vitreous.data.loader import Labelled
from vitreous.data.masks import Masks
from vitreous.data.preprocess import Preprocess
from vitreous.errors import ConfigError
from vitreous.models.config import DVAEConfig
from vitreous.tasks.config import TokenizerConfig
from vitreous.tasks.task import Loss, Progress

CODE = "code "  # ahead of a code's number, where its tokens are counted
COLLAPSED = 0.01  # share of the codes below which the perplexity of their use is tiny
SMALLEST = 1e-30  # of an exponential draw, whose logarithm is taken
EDGE = 1e-3  # how near to 0 and 1 a pixel may be, whose logit is taken; a blanked one is 0


class Tokenizing:
    """The error of the painted pixels, and how unevenly each token chooses among the codes where
    ``divergence`` weighs that.

    Pixels are held to their mean square error. Where the model paints a distribution, they are held to its
    logarithm (logit-Laplace), which wants pixels normalised into the open interval from 0 to 1.
    """

    masks: Masks | None = None
    calibrated = False

    def __init__(
        self,
        config: TokenizerConfig,
        model: DVAEConfig,
        preprocess: Preprocess,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        if model.paints == "logit_laplace":
            check_open(preprocess)
        self.config = config
        self.model = model
        self.seed = seed
        self.progress = progress or Progress()

    @property
    def temperature(self) -> float:
        """Of the Gumbel softmax at present: half a cosine from the first value to the last."""
        first, last = self.config.temperature
        return last + (first - last) * 0.5 * (1 + cos(pi * self.progress.done))

    def loss(self, model: nn.Module, batch: Labelled) -> Loss:
        """The mean over the pictures of a batch, per pixel and channel."""
        noise = self._noise(batch)
        logits, painted = model(batch.images, noise, self.temperature)
        painted = painted.float()
        wanted = _covered(batch.images, painted)
        if self.model.paints == "logit_laplace":
            error = logit_laplace(painted, wanted).mean()
        else:
            error = (painted - wanted).square().mean()
        if not self.config.divergence:
            return Loss(error, {"error": error})
        divergence = from_even(logits.float()).mean()
        return Loss(error + self.config.divergence * divergence, {"error": error, "divergence": divergence})

    @torch.no_grad()
    def tally(self, model: nn.Module, batch: Labelled) -> dict[str, float]:
        """Sums over a held-out batch: pictures, the errors of what is painted from the likeliest codes, and
        how often each code is the likeliest."""
        logits, painted = model(batch.images)
        painted = painted.float()
        if self.model.paints == "logit_laplace":
            painted = torch.sigmoid(painted[:, : self.model.channels])
        errors = (painted - _covered(batch.images, painted)).square().mean((1, 2, 3))  # (B,)
        sums = {"pictures": float(len(errors)), "error": errors.sum().item()}
        counts = torch.bincount(logits.argmax(1).flatten())
        used = counts.nonzero().flatten().tolist()
        return sums | {f"{CODE}{code}": float(counts[code]) for code in used}

    def measures(self, sums: Mapping[str, float]) -> dict[str, float]:
        """``painted_error``, the mean square error of what is painted from tokens, in normalised pixels;
        ``codes_used``, how many codes are; and ``code_perplexity``, how many they would be if all were used
        alike often (exp of the entropy of their shares)."""
        counts = sorted(count for name, count in sums.items() if name.startswith(CODE))
        tokens = sum(counts)
        entropy = -sum(count / tokens * log(count / tokens) for count in counts)
        return {
            "painted_error": sums["error"] / sums["pictures"],
            "code_perplexity": exp(entropy),
            "codes_used": float(len(counts)),
        }

    def rank(self, measures: Mapping[str, float]) -> tuple[float, ...]:
        """The lower error is better."""
        return (-measures["painted_error"],)

    def _noise(self, batch: Labelled) -> Tensor:
        """(B, K, rows, cols): for each picture what its view draws, in whichever batch it comes."""
        images = batch.images
        rows, cols = self.model.grid_at((images.shape[-2], images.shape[-1]))
        views = batch.indices if batch.views is None else batch.views
        generator = torch.Generator(images.device)
        drawn = torch.empty(len(images), self.model.codes, rows, cols, device=images.device)
        for place, view in enumerate(views.tolist()):
            generator.manual_seed(seed_of("gumbel", self.seed, view))
            drawn[place].exponential_(generator=generator)
        return -drawn.clamp_min_(SMALLEST).log_()


def from_even(logits: Tensor) -> Tensor:
    """(B, K, rows, cols) -> (B, rows, cols): how far each token's distribution over the codes is from the
    even one, in nats, from 0 to log K (section 2.1)."""
    surprise = logits.log_softmax(1)
    return (surprise.exp() * surprise).sum(1) + log(logits.shape[1])


def logit_laplace(painted: Tensor, images: Tensor) -> Tensor:
    """What is painted, location and logarithm of the scale (B, 2 C, h, w), and pixels (B, C, h, w) from 0 to
    1 -> (B, C, h, w): the negative logarithm of their density (appendix A.3), in nats."""
    location, log_scale = painted.chunk(2, dim=1)
    images = images.clamp(EDGE, 1 - EDGE)
    distance = (torch.logit(images) - location).abs()
    return distance * (-log_scale).exp() + log_scale + log(2) + (images * (1 - images)).log()


def unused_codes(measures: Mapping[str, float], codes: int) -> str | None:
    """What is wrong with the use of so many codes, as part of a sentence; None where nothing is."""
    perplexity = measures["code_perplexity"]
    if perplexity >= max(2.0, COLLAPSED * codes):
        return None
    return (
        f"tokens are hardly told apart: {measures['codes_used']:.0f} of {codes} codes are used, as if"
        f" {perplexity:.1f} were used alike often (a higher task.divergence spreads them)"
    )


def check_open(preprocess: Preprocess) -> None:
    """ConfigError unless normalised pixels lie between 0 and 1, and reach neither."""
    pairs = list(zip(preprocess.mean, preprocess.std, strict=True))
    lowest, highest = min(-mean / std for mean, std in pairs), max((1 - mean) / std for mean, std in pairs)
    if not 0 < lowest < highest < 1:
        raise ConfigError(
            "a model that paints logit_laplace wants pixels normalised to between 0 and 1, got from"
            f" {lowest:g} to {highest:g}; leave out mean and std"
        )


def _covered(images: Tensor, painted: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, h, w): the part of pictures that whole tokens cover."""
    return images[..., : painted.shape[-2], : painted.shape[-1]]
