"""What vitreous says when something is wrong: one line with what came, what was wanted, what to do.

The command line prints the message after ``vitreous:`` and ends with the error's ``exit_code``:
2 for bad usage or bad input, 1 for work that was rightly asked for and failed.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class VitreousError(Exception):
    """The root of everything that vitreous raises on purpose. Exit code 1: the work failed."""

    exit_code = 1


class TrainingError(VitreousError):
    """A run that cannot go on, for example after ten steps in a row without a finite loss."""


class Interrupted(VitreousError):
    """A run that was asked to stop by a signal and has saved its state; it can be resumed."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class InputError(VitreousError):
    """What was given cannot be used. Exit code 2; nothing was overwritten, nothing is lost."""

    exit_code = 2


class PictureError(InputError):
    """One picture that cannot be used: ``name`` is what the user called it, ``reason`` why not."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> tuple[type["PictureError"], tuple[str, str]]:
        # The default rebuilds an exception from its one message; loader processes send this one.
        return type(self), (self.name, self.reason)


class DataError(InputError):
    """A folder, table or set of pictures that does not have the shape that was asked for."""


class ConfigError(InputError):
    """A name, option or value that no configuration knows."""


class CheckpointError(InputError):
    """A file of weights that is damaged, unsafe, unknown, or of another size."""


class StorageError(InputError):
    """A place that cannot be written: a full disk, a missing permission. What was there is intact."""


class MissingPackage(InputError):
    """An optional package is not installed; the message holds the line that installs it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; run: pip install 'vitreous[{extra}]'")


def nearest(word: str, known: Iterable[str]) -> str:
    """The tail of an error message: ``; did you mean 'vit_b_16'?``, or nothing where nothing is near."""
    close = get_close_matches(word, list(known), n=3, cutoff=0.6)
    if not close:
        return ""
    return "; did you mean " + " or ".join(repr(candidate) for candidate in close) + "?"


def printable(name: str) -> str:
    """A name on one line: characters that cannot be shown, line ends among them, are escaped."""
    if name.isprintable():
        return name
    return "".join(
        mark if mark.isprintable() else mark.encode("unicode_escape").decode("ascii") for mark in name
    )
