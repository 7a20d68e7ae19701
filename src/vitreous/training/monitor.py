"""Looks at the features of the weights that are judged, while a run learns without labels.

Its loss says how well hidden patches are rebuilt, not what the features are worth. So some pictures are shown
to the model whole: how many directions their features fill (effective rank), and, where pictures have
labels, how well their classes are told by their nearest neighbours. What looks wrong is said: an alarm.

Which pictures, and at which evaluations, follows from the configuration and the data alone, and what a
later look compares with is kept in the counters: a resumed run says the same.
"""

from collections.abc import Mapping
from math import ceil
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from vitreous.data.collection import Collection, Sample
from vitreous.data.draws import seed_of
from vitreous.evaluation.collapse import collapse, variety
from vitreous.evaluation.features import extract
from vitreous.evaluation.neighbours import neighbour_accuracy
from vitreous.models.config import DetrConfig
from vitreous.models.model import Model
from vitreous.tasks.config import truth_of
from vitreous.tasks.tokenizing import unused_codes
from vitreous.training import distributed
from vitreous.training.config import TrainConfig
from vitreous.training.distributed import World
from vitreous.training.precision import autocast
from vitreous.training.setup import Setup
from vitreous.training.state import Counters
from vitreous.training.unlearnt import Marked, finds_nothing, look_at_boxes, nothing_found, one_class_only

BANK = 2000  # training pictures, at most, among which neighbours are looked for
QUERIES = 256  # validation pictures, at most, whose neighbours and effective rank are looked at
RANKED = 64  # pictures that a rank is told from, at least; where validation has fewer, training lends some
SHARE = 0.05  # pictures looked at for each picture trained on: the bank is as large as that allows
SMALLEST_BANK = 256  # a smaller one is not worth a look
BANK_OF_A_CLASS = 4
MOST = 0.1  # of SHARE's kind; rather than more than that, some evaluations have no look
BATCH = 64
PATIENT = 0.5  # share of all steps before which neither a fallen rank nor a bad guess is a bad sign
COLLAPSE = "collapse: {}; try a smaller optimizer.learning_rate or a longer optimizer.warmup"
NOTHING_LEARNT = "nothing learnt: {}; train longer, or with another optimizer.learning_rate"

Places = NDArray[np.int64]


class Say(Protocol):
    """Who tells a person a sentence."""

    def __call__(self, *, text: str) -> None:
        """Tell it."""
        ...


class Monitor:
    """The pictures that are looked at again and again, and how they are shared among the processes. Where
    labels or places are learnt there are none: their measures say it all, and where nothing is found by them
    at the first evaluation or later, what may be the reason is said (``unlearnt.py``)."""

    def __init__(self, config: TrainConfig, setup: Setup, world: World, say: Say) -> None:
        self.config, self.setup, self.world, self.say = config, setup, world, say
        self.watches = truth_of(config.task) == "nothing"
        self.labelled = _labelled(setup.train)
        self.queries = _chosen("monitor queries", config.seed, setup.validation, QUERIES * self.watches)
        between = min(config.evaluate_every, config.epochs)  # epochs from one evaluation to the next
        trained = between * len(setup.train)  # pictures
        self.bank = _chosen("monitor bank", config.seed, setup.train, self._bank_size(trained))
        looked = len(self.queries) + len(self.bank)
        self.marked: tuple[Marked, Marked] | None = None
        self.every = max(1, ceil(looked / (MOST * trained)))  # evaluations

    def begin(self, model: Model, counters: Counters) -> None:
        """Look at the features before the first step, keep what later looks are compared with, and tell it.
        Every process must call this alike."""
        if not self.watches:
            return
        counters.before, _ = self._look(model)
        told = {"effective_rank": "effective rank {:.1f}", "neighbour_accuracy": "neighbour accuracy {:.2%}"}
        seen = ", ".join(told[name].format(value) for name, value in counters.before.items())
        self.say(text=f"features before training: {seen or 'none could be looked at'}")

    def judge(
        self, model: Model, measures: dict[str, float], counters: Counters, epoch: int
    ) -> dict[str, str]:
        """Add what the features of the judged weights are like after so many epochs to the task's
        ``measures``, where this evaluation comes with a look. Returns ``{"alarm": what is wrong}`` where
        something is; it is told when it comes and when it is over. Every process must call this alike."""
        done = epoch / self.config.epochs
        if not self.watches:
            return self._told(self._nothing_found(measures, counters), counters)
        if epoch // self.config.evaluate_every % self.every and done < 1:
            return {}
        seen, wrong = self._look(model, counters.before.get("effective_rank") if done >= PATIENT else None)
        wrong = wrong or no_better_than_guessing(measures, done) or self._few_codes(measures, done)
        measures |= seen
        return self._told(wrong, counters)

    def _told(self, wrong: str | None, counters: Counters) -> dict[str, str]:
        """What is wrong, which is said when it comes, and when it is over."""
        kind = "" if wrong is None else wrong.partition(":")[0]
        if kind != counters.alarm:
            self.say(text=wrong or f"{counters.alarm}: over, nothing looks wrong any more")
        counters.alarm = kind
        return {} if wrong is None else {"alarm": wrong}

    def _nothing_found(self, measures: Mapping[str, float], counters: Counters) -> str | None:
        """What is wrong with the boxes or the pixels of a model that learns those."""
        if self.config.task.kind == "detection":
            if not finds_nothing(measures):
                return None
            if self.marked is None:
                self.marked = look_at_boxes(self.setup.train), look_at_boxes(self.setup.validation)
            model = getattr(self.setup.model, "config", None)  # which a rival has not
            plain = isinstance(model, DetrConfig) and model.references == "none"
            return nothing_found(measures, *self.marked, self.config, step=counters.step, plain=plain)
        if self.config.task.kind == "segmentation":
            return one_class_only(measures, self.config, counters.step)
        return None

    def _few_codes(self, measures: Mapping[str, float], done: float) -> str | None:
        """What is wrong with the tokens of a tokenizer after the share ``done`` of all steps."""
        if "code_perplexity" not in measures or done < PATIENT:
            return None
        said = unused_codes(measures, self.setup.model.config.codes)
        return None if said is None else f"few codes: {said}"

    def _look(self, model: Model, before: float | None = None) -> tuple[dict[str, float], str | None]:
        """The effective rank of the features, and where there are labels the accuracy of nearest neighbours;
        and what is wrong with them. ``before`` is the effective rank before training."""
        samples = (*self.queries.samples, *self.bank.samples)
        features, kept = self._features(model, samples)
        asked = len(self.queries)
        ranked = features[kept < max(asked, min(len(samples), RANKED))]
        if not np.isfinite(features).all():
            return {}, COLLAPSE.format("the features of some pictures are not finite")
        varied = variety(ranked)
        if varied is None:
            return {}, None
        measures = {"effective_rank": varied.rank}
        labels = np.asarray([sample.number for sample in samples])[kept]
        query, known = (kept < asked) & (labels >= 0), (kept >= asked) & (labels >= 0)
        if self.labelled and query.any() and known.any():
            measures["neighbour_accuracy"] = neighbour_accuracy(
                features[known], labels[known], features[query], labels[query]
            )
        said = collapse(varied, before)
        return measures, None if said is None else COLLAPSE.format(said)

    def _bank_size(self, trained: int) -> int:
        """How many training pictures are looked at, where so many are trained on between evaluations."""
        if not self.watches:
            return 0
        lent = max(0, RANKED - len(self.queries))
        if not self.labelled:
            return lent
        least = max(SMALLEST_BANK, lent, BANK_OF_A_CLASS * len(self.setup.train.classes))
        affordable = int(SHARE * trained) - len(self.queries)
        return min(len(self.setup.train), BANK, max(least, affordable))

    def _features(self, model: Model, samples: tuple[Sample, ...]) -> tuple[NDArray[np.float32], Places]:
        """The features (n, D) of all samples that can be read, and their places (n,) among the samples, in
        order; each process looks at its share of them."""
        rank, size = self.world.rank, self.world.size
        with autocast(self.config.precision, self.world.device):
            found = extract(
                model,
                self.setup.preprocess,
                samples[rank::size],
                device=self.world.device,
                batch_size=min(BATCH, self.config.micro_batch or BATCH),
            )
        shares = distributed.gather((found.features, found.kept * size + rank), self.world)
        some = [(features, places) for features, places in shares if len(places)]
        if not some:
            return found.features, found.kept
        features = np.concatenate([features for features, _ in some])
        places = np.concatenate([places for _, places in some])
        order = np.argsort(places)
        return features[order], places[order]


def no_better_than_guessing(measures: Mapping[str, float], done: float) -> str | None:
    """What is wrong with the measures of a task after the share ``done`` of all steps: nothing that is hidden
    is told better than without looking at the picture. None early on, and where a task knows no guess."""
    pairs = [
        (name.replace("_", " "), value, measures[guess])
        for name, value in measures.items()
        if (guess := name.replace("masked_", "guessing_")) != name and guess in measures
    ]
    better = [value > guess if "accuracy" in name else value < guess for name, value, guess in pairs]
    if not pairs or done < PATIENT or any(better):
        return None
    told = " and ".join(
        f"the {name}, {value:.4f}, is no better than {guess:.4f}" for name, value, guess in pairs
    )
    return NOTHING_LEARNT.format(f"{told}, what guessing reaches")


def _labelled(collection: Collection) -> bool:
    """Whether neighbours can tell classes apart."""
    return len({sample.label for sample in collection.samples} - {None}) > 1


def _chosen(purpose: str, seed: int, pictures: Collection, most: int) -> Collection:
    """At most so many of the pictures, in the order in which they were drawn."""
    generator = torch.Generator().manual_seed(seed_of(purpose, seed))
    return pictures.select(torch.randperm(len(pictures), generator=generator)[:most].tolist())
