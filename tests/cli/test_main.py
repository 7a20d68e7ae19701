"""How commands end: exit codes, one-line errors, pipes that close, and signals."""

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from vitreous.cli import app, explained
from vitreous.errors import InputError, Interrupted, MissingPackage, VitreousError

VITREOUS = [sys.executable, "-m", "vitreous"]


def test_without_arguments_there_is_help(run: Run) -> None:
    said = run()
    assert (said.code, said.err) == (0, "")
    assert said.out == run("--help").out
    for command in app.registered_commands:
        assert command.callback.__name__ in said.out


def test_the_version_is_printed(run: Run) -> None:
    from importlib.metadata import version

    assert run("--version").out == f"vitreous {version('vitreous')}\n"


@pytest.mark.parametrize("command", app.registered_commands, ids=lambda command: command.callback.__name__)
def test_every_verb_has_help_json_and_a_sentence(run: Run, command) -> None:
    verb = command.callback.__name__
    said = run(verb, "--help")
    assert said.code == 0
    assert "--json" in said.out
    assert command.callback.__doc__.splitlines()[0].endswith(".")


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["modles"], "No such command 'modles'. Did you mean 'models'? (see 'vitreous --help')"),
        (["models", "--patchs", "8"], "No such option: --patchs"),
        (["predict"], "Missing argument"),
        (["models", "--classes", "ten"], "--classes"),
        (["--verbose"], "No such option: --verbose"),
    ],
)
def test_usage_errors_are_one_line_and_exit_code_two(run: Run, arguments: list[str], wanted: str) -> None:
    said = run(*arguments)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("vitreous: ")
    assert said.err.count("\n") == 1
    assert wanted in said.err


@pytest.mark.parametrize(
    ("error", "code", "wanted"),
    [
        (InputError("a, b; c"), 2, "a, b; c"),
        (VitreousError("it failed"), 1, "it failed"),
        (Interrupted("stopped", exit_code=75), 75, "stopped"),
        (MissingPackage("onnx", "export"), 2, "pip install 'vitreous[export]'"),
        (OSError(errno.ENOSPC, "No space left on device", "out.html"), 2, "out.html: the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "out.html"), 2, "out.html: Permission denied"),
        (MemoryError(), 1, "out of memory"),
        (KeyError("width"), 1, "unexpected KeyError: 'width'; 'vitreous --debug ...' shows where"),
    ],
)
def test_errors_have_a_line_and_a_code(error: Exception, code: int, wanted: str) -> None:
    message, found = explained(error)
    assert found == code
    assert wanted in message


def test_debug_shows_where_an_error_comes_from(run: Run) -> None:
    assert run("models", "nothing").code == 2
    with pytest.raises(InputError, match="no model matches"):
        run("--debug", "models", "nothing")


def test_a_reader_that_leaves_early_is_no_error() -> None:
    sizes = ",".join(["224"] * 1000)  # as JSON far more than a pipe holds
    command = subprocess.Popen(
        [*VITREOUS, "models", "vit_tiny", "--image-size", sizes, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert command.stdout is not None
    assert command.stderr is not None
    command.stdout.readline()
    command.stdout.close()
    assert command.stderr.read() == b""
    command.stderr.close()
    assert command.wait() in (0, 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_full_disk_behind_the_output_is_named() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*VITREOUS, "models"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == "vitreous: standard output: the disk is full\n"


def test_an_interrupt_ends_with_130_and_without_a_traceback(model: Path, pictures: Path) -> None:
    command = subprocess.Popen(
        [*VITREOUS, "predict", str(model), "-", "--json", "--batch-size", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert command.stdin is not None
    assert command.stdout is not None
    command.stdin.write(f"{pictures}/ant/00.png\n" * 2)
    command.stdin.flush()
    assert "ant/00.png" in command.stdout.readline()  # now it waits for more names
    command.send_signal(signal.SIGINT)
    code = command.wait(timeout=60)  # its input stays open: nothing but the signal can have ended it
    assert command.stderr is not None
    assert (code, command.stderr.read()) == (130, "")
