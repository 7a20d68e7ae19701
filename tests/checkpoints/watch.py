"""A watcher of what reading a file does: code that runs, modules and names that are looked up, files that
are written, connections, time and memory. It can fail: the negative controls show it."""

import codecs
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

for _lazy in ("cp437", "unicode_escape"):  # what zipfile and we look up at the first odd name
    codecs.lookup(_lazy)
SECONDS, MEGABYTES = 2.0, 512
PATIENCE = 20  # seconds until a case is given up

RUNS = (
    "exec", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.kill",
    "subprocess.Popen", "pty.spawn", "socket.connect", "socket.bind", "socket.getaddrinfo",
    "urllib.Request", "ctypes.dlopen", "ctypes.dlsym", "ctypes.call_function", "pickle.find_class",
    "import", "marshal.loads", "code.__new__", "function.__new__", "webbrowser.open", "cpython.run_command",
)  # fmt: skip
WRITES = (
    "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod",
    "os.chown", "shutil.rmtree", "shutil.move", "shutil.copyfile", "tempfile.mkstemp", "tempfile.mkdtemp",
    "shutil.unpack_archive",
)  # fmt: skip
MARK = "executed"  # the file that every payload makes


class Seen(NamedTuple):
    """What happened: offences, seconds, megabytes above what the process had, and what came of it."""

    offences: tuple[str, ...]
    seconds: float
    megabytes: float
    result: Any
    error: BaseException | None


class _Slow(BaseException):
    """Longer than ``PATIENCE``."""


_seen: list[str] | None = None
_installed = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _seen is None:
        return
    if event == "open":
        path, mode, flags = arguments
        writes = any(letter in (mode or "") for letter in "wax+") if mode else False
        if writes or (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            _seen.append(f"open {path!r} to write")
    elif event == "import" and arguments[0] in sys.modules:
        return
    elif event == "compile" and arguments[1] != "<unknown>":  # that is ast.parse, which makes no code
        _seen.append(f"compile {arguments[1]!r}")
    elif event in RUNS or event in WRITES:
        _seen.append(f"{event} {str(arguments)[:80]}")


@contextmanager
def recording() -> Iterator[list[str]]:
    """Everything that is watched for, while it lasts."""
    global _seen, _installed
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True
    _seen = found = []
    try:
        yield found
    finally:
        _seen = None


def watched(work: Callable[[], Any], folder: Path) -> Seen:
    """Do the work and tell what it did. ``folder`` must be the same before and after."""
    before = _listing(folder)
    start_memory = _resident("VmRSS", forget=True)
    started = time.perf_counter()
    result, error = None, None
    with recording() as offences, _limit():
        try:
            result = work()
        except BaseException as caught:
            error = caught
    seconds = time.perf_counter() - started
    megabytes = _resident("VmHWM") - start_memory
    after = _listing(folder)
    found = list(dict.fromkeys(offences))
    found += [f"the folder changed: {name}" for name in sorted(before.symmetric_difference(after))[:3]]
    if seconds > SECONDS:
        found.append(f"{seconds:.1f} s")
    if megabytes > MEGABYTES:
        found.append(f"{megabytes:.0f} MB")
    return Seen(tuple(found), seconds, megabytes, result, error)


def _listing(folder: Path) -> set[tuple[str, int, int]]:
    found = set()
    for path in folder.rglob("*"):
        stat = path.lstat()
        found.add((str(path.relative_to(folder)), stat.st_size, stat.st_mtime_ns))
    return found


def _resident(key: str, forget: bool = False) -> float:
    if forget:
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return _resident("VmHWM")
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) / 1024
    return 0.0


@contextmanager
def _limit() -> Iterator[None]:
    def stop(_: int, __: FrameType | None) -> None:
        raise _Slow(f"given up after {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
