"""Set everything up, then run: ``python3 bootstrap.py demo`` or ``python3 bootstrap.py test``.

Needs Python >= 3.11 and pip, nothing else. It makes a virtual environment in ``.venv``, installs
vitreous into it with the versions of ``constraints.txt``, and runs the tests, or ``vitreous`` with the
arguments that it was given.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE / ".venv"
BIN = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
DEVELOPMENT = "[dev,parity,track]"

Command = list[str | Path]


def main(arguments: list[str]) -> int:
    """Install what the arguments need, and run them; the exit code is theirs."""
    if sys.version_info < (3, 11):  # noqa: UP036, whatever Python is there runs this file
        print(f"bootstrap: Python 3.11 or newer is needed, this is {sys.version.split()[0]}", file=sys.stderr)
        return 2
    testing = arguments[:1] == ["test"]
    make_environment()
    install(DEVELOPMENT if testing else "")
    if testing:
        install_browser()
        return run_tests(arguments[1:])
    return subprocess.call([PYTHON, "-m", "vitreous", *(arguments or ["--help"])])


def make_environment() -> None:
    """A virtual environment in ``.venv``, unless it is there."""
    if PYTHON.exists():
        return
    say("making a virtual environment in .venv")
    if subprocess.call([sys.executable, "-m", "venv", ENVIRONMENT], stderr=subprocess.DEVNULL) != 0:
        # Some systems split ensurepip off; the pip that is there can install into any environment.
        run([sys.executable, "-m", "venv", "--clear", "--without-pip", ENVIRONMENT])


def install(extras: str) -> None:
    """vitreous and its dependencies; nothing is done where the same was installed before."""
    stamp = ENVIRONMENT / f"installed{extras.replace(',', '-')}"
    wanted = hashlib.sha256(
        b"".join((HERE / name).read_bytes() for name in ("pyproject.toml", "constraints.txt"))
    ).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    say("installing (torch is large: minutes on a first run)")
    own_pip = (
        subprocess.call(
            [PYTHON, "-m", "pip", "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        == 0
    )
    pip: Command = [PYTHON, "-m", "pip"] if own_pip else [sys.executable, "-m", "pip", "--python", PYTHON]
    constraints = HERE / "constraints.txt"
    run(
        [
            *pip,
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-c",
            constraints,
            "-e",
            f"{HERE}{extras}",
        ]
    )
    stamp.write_text(wanted)


def install_browser() -> None:
    """Chromium for the tests of the pages, where apt can bring it and it is missing."""
    if any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")):
        return
    if os.name == "nt" or not shutil.which("apt-get") or os.geteuid() != 0:
        say("no Chromium here: the tests in a browser will be skipped (apt-get install chromium)")
        return
    say("installing Chromium")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], environment)
    run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"], environment)


def run_tests(arguments: list[str]) -> int:
    """The checks of style and types, then the tests, on all cores."""
    checks: list[Command] = [
        [PYTHON, "-m", "ruff", "check", "."],
        [PYTHON, "-m", "ruff", "format", "--check", "."],
        [PYTHON, "-m", "mypy"],
    ]
    if not arguments:
        for check in checks:
            if code := subprocess.call(check, cwd=HERE):
                return code
    return subprocess.call([PYTHON, "-m", "pytest", "-n", "auto", *arguments], cwd=HERE)


def run(command: Command, environment: dict[str, str] | None = None) -> None:
    """Run a command that must succeed."""
    code = subprocess.call(command, env=environment, stdout=sys.stderr)
    if code:
        say(f"failed ({code}): {' '.join(map(str, command))}")
        sys.exit(1)


def say(text: str) -> None:
    """One line about what is going on."""
    print(f"bootstrap: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
