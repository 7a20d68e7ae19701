"""What pictures with several labels cannot be used for, said before torch is imported."""

from vitreous.data.collection import Collection
from vitreous.tasks.config import DistillationConfig, balance_of, needs_labels
from vitreous.training.config import TrainConfig

NOTE = (
    "pictures may show several classes, or none: a sigmoid for each class, learnt by binary cross-entropy;"
    " the best weights are those of the highest mean average precision"
)


def check_several(config: TrainConfig, train: Collection | None) -> None:
    """DataError where pictures may have several labels, and the run learns what needs one for each."""
    if train is None or not needs_labels(config.task):
        return
    if isinstance(config.task, DistillationConfig):
        train.refuse_tags("distillation")
    if balance_of(config.task) == "sampling":
        train.refuse_tags("task.balance=sampling (loss weighs rare labels)")
    if config.tuning.train == "probe":
        train.refuse_tags("a linear probe (--recipe head learns a new head by steps)")
