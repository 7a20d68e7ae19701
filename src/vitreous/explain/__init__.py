"""What a model looked at: attention per layer and head, rollout, gradient-weighted relevance; for a class of
the whole picture, for one object, for the class of a place.

The model is only watched. It keeps its fused attention; the weights follow from the recorded queries
and keys, and are computed where somebody asks for them.

The room itself can be called: ``vitreous.explain(predictor, picture)`` is ``explanation.explain``, and
``vitreous.explain.saliency`` is still the module below it. Nothing heavy is imported before that.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from PIL.Image import Image

    from vitreous.explain.explanation import Explainable, Explanation


class _Room(ModuleType):
    """A package has the name of its main function; being callable, it can be both."""

    def __call__(
        self,
        predictor: "Explainable",
        picture: "str | os.PathLike[str] | Image",
        method: str = "relevance",
        target: "int | str | None" = None,
        layer: int | None = None,
        head: int | None = None,
        *,
        at: tuple[float, float] | None = None,
        threshold: float = 0.5,
    ) -> "Explanation":
        """See ``vitreous.explain.explanation.explain``."""
        from vitreous.explain.explanation import explain

        return explain(predictor, picture, method, target, layer, head, at=at, threshold=threshold)


sys.modules[__name__].__class__ = _Room
