"""Floor 8: the command line, one verb a file. Nothing heavier than typer is imported before a verb's
arguments are known to be good."""

import errno
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from vitreous.cli.advise import advise
from vitreous.cli.convert import convert
from vitreous.cli.demo import demo
from vitreous.cli.doctor import doctor
from vitreous.cli.evaluate import evaluate
from vitreous.cli.explain import explain
from vitreous.cli.inspect import inspect
from vitreous.cli.models import models
from vitreous.cli.output import complain
from vitreous.cli.patches import patches
from vitreous.cli.predict import predict
from vitreous.cli.train import train
from vitreous.errors import VitreousError

INTERRUPTED = 130

# typer keeps its usage errors to itself, except for this child of theirs.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="vitreous",
    help="Vision Transformers that you can see through: train, evaluate, predict and explain.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (demo, train, advise, evaluate, predict, explain, doctor, models, patches, inspect, convert):
    app.command()(verb)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"vitreous {version('vitreous')}")
        raise typer.Exit


@app.callback()
def settings(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """Vision Transformers that you can see through: train, evaluate, predict and explain."""
    context.obj["debug"] = debug


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 1 where work failed, 2 for bad usage or input.

    Errors are one line on standard error. ``arguments`` are those of the process by default.
    """
    state = {"debug": False}
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a name must not break an old terminal
    try:
        code = app(given or ["--help"], prog_name="vitreous", standalone_mode=False, obj=state)
        sys.stdout.flush()
    except BrokenPipeError:
        return _quiet()
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as error:
        if state["debug"]:
            raise
        message, code = explained(error)
        complain(message)
    return code if isinstance(code, int) else 0


def explained(error: Exception) -> tuple[str, int]:
    """An error as one line and an exit code."""
    if isinstance(error, VitreousError):
        return str(error), error.exit_code
    if isinstance(error, UsageError):
        context = getattr(error, "ctx", None)
        verb = context.command_path if context is not None else "vitreous"
        message = error.format_message().rstrip(".")  # type: ignore[attr-defined]
        return f"{message} (see '{verb} --help')", 2
    if isinstance(error, OSError):
        what = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror
        return f"{error.filename or 'standard output'}: {what or error}", 2
    unallocated = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    if isinstance(error, MemoryError) or unallocated or type(error).__name__ == "OutOfMemoryError":
        return "out of memory; take fewer pictures at a time, a smaller model or the CPU", 1
    return f"unexpected {type(error).__name__}: {error}; 'vitreous --debug ...' shows where", 1


def _quiet() -> int:
    """The reader of our pipe has gone, as ``head`` does: end without a word."""
    # Without this the interpreter would flush once more on its way out, and complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1
