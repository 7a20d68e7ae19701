"""Floor 3: a backbone and what is put on it. ``catalog`` is the table of names.

The room itself can be called: ``vitreous.models("vit_b_*")`` is ``catalog.names``, and
``vitreous.models.catalog`` is still the module below it. Nothing heavy is imported before that.
"""

import sys
from types import ModuleType


class _Room(ModuleType):
    """A package has the name of its main function; being callable, it can be both."""

    def __call__(self, pattern: str = "*") -> tuple[str, ...]:
        """See ``vitreous.models.catalog.names``."""
        from vitreous.models.catalog import names

        return names(pattern)


sys.modules[__name__].__class__ = _Room
