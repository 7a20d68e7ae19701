"""Pickles that run code, and tensors that lie, in every wrapping that a file of torch may have."""

import io
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.checkpoints.hostile import Case, file_case, saved, zipped
from tests.checkpoints.watch import MARK

CODE = "which is code and not weights"


def command(folder: Path) -> str:
    """What a payload runs: it leaves a mark."""
    return f"touch {folder / MARK}"


class Call:
    """Pickles as a call of a function with these arguments."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function = function
        self.arguments = arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


def text(value: str) -> bytes:
    """A string as an opcode."""
    data = value.encode()
    return b"X" + len(data).to_bytes(4, "little") + data


def call(module: str, name: str, *arguments: bytes) -> bytes:
    """GLOBAL, the arguments, REDUCE: any function by name, without importing it here."""
    return f"c{module}\n{name}\n".encode() + b"(" + b"".join(arguments) + b"tR"


def entry(value: bytes, key: str = "w") -> bytes:
    """The program of {key: value}."""
    return b"\x80\x02}" + text(key) + value + b"s."


def archive(program: bytes, records: dict[str, bytes] | None = None, **options: Any) -> bytes:
    """A zip file as ``torch.save`` writes it around a program, with storages."""
    entries = {"archive/data.pkl": program, "archive/byteorder": b"little", "archive/version": b"3\n"}
    entries |= {f"archive/data/{key}": data for key, data in (records or {}).items()}
    return zipped(entries, **options)


def stream(program: bytes, keys: list[str] | None = None, storages: bytes = b"") -> bytes:
    """The format before zip around a program."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    head = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, system)]
    return b"".join(head) + program + pickle.dumps(keys or [], 2) + storages


def number(value: int) -> bytes:
    """An integer as an opcode."""
    if -(2**31) <= value < 2**31:
        return b"J" + value.to_bytes(4, "little", signed=True)
    data = value.to_bytes(16, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def numbers(*values: int) -> bytes:
    """A tuple of integers."""
    return b"(" + b"".join(map(number, values)) + b"t"


def rebuilt(
    length: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], kind: str = "FloatStorage"
) -> bytes:
    """A tensor as torch pickles it, whatever it claims."""
    storage = b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text("0") + text("cpu")
    storage += number(length) + b"tQ"
    hooks = b"ccollections\nOrderedDict\n)R"
    return call(
        "torch._utils", "_rebuild_tensor_v2", storage, number(offset), numbers(*shape), numbers(*strides),
        b"\x89", hooks,
    )  # fmt: skip


def lying(*claims: Any, held: int = 16) -> Callable[[Path], bytes]:
    """A zip file with one tensor that claims this, and a storage of so many bytes."""
    return lambda _: archive(entry(rebuilt(*claims)), {"0": bytes(held)})


def tar(folder: Path) -> bytes:
    """The format before all others: a tar file of pickles."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as opened:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            data = pickle.dumps(Call(os.system, command(folder)), 2)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            opened.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def script() -> bytes:
    """TorchScript."""
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), buffer)
    return buffer.getvalue()


class Own(torch.Tensor):
    """A tensor of a class of its own."""


# What can be called to do harm, and how: the module, the name, the arguments.
CALLS: tuple[tuple[str, str, Callable[[Path], tuple[bytes, ...]]], ...] = (
    ("os", "system", lambda folder: (text(command(folder)),)),
    ("posix", "system", lambda folder: (text(command(folder)),)),
    ("nt", "system", lambda folder: (text(command(folder)),)),
    ("builtins", "eval", lambda folder: (text(f"open({str(folder / MARK)!r}, 'w')"),)),
    ("builtins", "exec", lambda folder: (text(f"open({str(folder / MARK)!r}, 'w')"),)),
    ("__builtin__", "eval", lambda folder: (text(f"open({str(folder / MARK)!r}, 'w')"),)),
    ("builtins", "__import__", lambda _: (text("antigravity"),)),
    ("builtins", "getattr", lambda _: (text("x"), text("upper"))),
    ("builtins", "open", lambda folder: (text(str(folder / MARK)), text("w"))),
    ("builtins", "bytearray", lambda _: (number(10**11),)),
    ("builtins", "print", lambda _: (text("printed"),)),
    ("subprocess", "Popen", lambda folder: (text(command(folder)),)),
    ("subprocess", "check_output", lambda folder: (text(command(folder)),)),
    ("os", "execv", lambda _: (text("/bin/true"), text("x"))),
    ("os", "popen", lambda folder: (text(command(folder)),)),
    ("shutil", "rmtree", lambda folder: (text(str(folder)),)),
    ("pty", "spawn", lambda _: (text("/bin/true"),)),
    ("runpy", "run_path", lambda _: (text("/nowhere.py"),)),
    ("importlib", "import_module", lambda _: (text("antigravity"),)),
    ("webbrowser", "open", lambda _: (text("http://127.0.0.1:9"),)),
    ("urllib.request", "urlopen", lambda _: (text("http://127.0.0.1:9"),)),
    ("socket", "create_connection", lambda _: (numbers(9),)),
    ("functools", "partial", lambda _: (b"cos\nsystem\n", text("true"))),
    ("operator", "methodcaller", lambda _: (text("__class__"),)),
    ("types", "FunctionType", lambda _: ()),
    ("marshal", "loads", lambda _: (text("x"),)),
    ("pickle", "loads", lambda _: (text("cos\nsystem\n."),)),
    ("ctypes", "CDLL", lambda _: (text("libc.so.6"),)),
    ("torch", "load", lambda folder: (text(str(folder / "weights.pth")),)),
    ("torch.storage", "_load_from_bytes", lambda _: (text("x"),)),
    ("torch.hub", "load", lambda _: (text("nobody/nothing"), text("x"))),
    ("torch.jit", "load", lambda _: (text("x"),)),
    ("torch", "FloatTensor", lambda _: (number(10**11),)),
    ("numpy.core.multiarray", "_reconstruct", lambda _: (b"cnumpy\nndarray\n", numbers(0), text("O"))),
    ("numpy", "load", lambda _: (text("x"),)),
    ("collections", "defaultdict", lambda _: (b"cbuiltins\neval\n",)),
    ("sys", "exit", lambda _: ()),
    ("timeit", "timeit", lambda _: (text("1"),)),
    ("torch.nn.modules.linear", "Linear", lambda _: (number(2), number(2))),
)


def _calls() -> list[Case]:
    cases = []
    for module, name, arguments in CALLS:
        said = name if module in ("builtins", "__builtin__") else f"{module}.{name}"

        def content(
            folder: Path, module: str = module, name: str = name, arguments: Any = arguments
        ) -> bytes:
            return archive(entry(call(module, name, *arguments(folder))))

        cases.append(file_case(f"pickle that calls {module}.{name}", content, rf"needs {said}, {CODE}"))
    return cases


def _system(folder: Path) -> bytes:
    return call("os", "system", text(command(folder)))


def _doubled() -> bytes:
    """A tuple that holds one tuple twice, and so on: hashing it has no end."""
    return b"\x80\x02})q\x00" + b"".join(b"h\x00h\x00\x86q\x00" for _ in range(60)) + b"K\x01s."


def _beside(folder: Path) -> bytes:
    """Sound weights, and a payload among the settings of the training."""
    return saved({"model": {"w": torch.ones(2)}, "args": Call(os.system, command(folder))})


WRAPPED = [
    file_case(
        "bare pickle", lambda folder: pickle.dumps(Call(os.system, command(folder)), 2), "posix.system"
    ),
    file_case(
        "bare pickle of protocol 0", lambda f: pickle.dumps(Call(os.system, command(f)), 0), "posix.system"
    ),
    file_case(
        "bare pickle of protocol 1",
        lambda f: pickle.dumps({"a": Call(os.system, command(f))}, 1),
        "text|not a file of weights",
    ),
    file_case(
        "bare pickle of protocol 4", lambda f: pickle.dumps(Call(os.system, command(f)), 4), "posix.system"
    ),
    file_case(
        "bare pickle of protocol 5", lambda f: pickle.dumps(Call(os.system, command(f)), 5), "posix.system"
    ),
    file_case("torch.save of a payload", lambda f: saved({"w": Call(os.system, command(f))}), "posix.system"),
    file_case(
        "the old torch.save of a payload",
        lambda f: saved({"w": Call(os.system, command(f))}, _use_new_zipfile_serialization=False),
        "posix.system",
    ),
    file_case(
        "the old format, payload instead of its magic number",
        lambda f: pickle.dumps(Call(os.system, command(f)), 2) + stream(b"\x80\x02}."),
        "posix.system",
    ),
    file_case(
        "the old format, payload among the names of storages",
        lambda f: stream(b"\x80\x02}.")[: -len(pickle.dumps([], 2))] + b"\x80\x02" + _system(f) + b".",
        "os.system",
    ),
    file_case("the oldest format, a tar of pickles", tar, "tar archive"),
    file_case(
        "payload as safetensors by name",
        lambda f: saved({"w": Call(os.system, command(f))}),
        "posix.system",
        "model.safetensors",
    ),
    file_case(
        "payload as npz by name",
        lambda f: saved({"w": Call(os.system, command(f))}),
        "posix.system",
        "weights.npz",
    ),
    file_case("TorchScript", lambda _: script(), "TorchScript archive is code"),
    file_case("a whole model", lambda _: saved(torch.nn.Linear(2, 2)), r"torch\.nn\.modules\.linear\.Linear"),
    file_case("payload beside sound weights", _beside, "posix.system"),
    file_case(
        "payload inside a payload",
        lambda f: saved({"w": Call(list, [Call(os.system, command(f))])}),
        "needs (list|posix.system)",
    ),
    file_case("payload as a key", lambda f: archive(b"\x80\x02}" + _system(f) + b"K\x01s."), "os.system"),
    file_case(
        "opcode INST", lambda f: archive(b"\x80\x02(" + text(command(f)) + b"ios\nsystem\n."), "os.system"
    ),
    file_case(
        "opcode OBJ", lambda f: archive(b"\x80\x02(cos\nsystem\n" + text(command(f)) + b"o."), "os.system"
    ),
    file_case(
        "opcode STACK_GLOBAL",
        lambda f: archive(b"\x80\x04" + text("os") + text("system") + b"\x93" + text(command(f)) + b"\x85R."),
        "os.system",
    ),
    file_case(
        "opcode NEWOBJ_EX", lambda _: archive(b"\x80\x04cargparse\nNamespace\n)}\x92."), "opcode NEWOBJ_EX"
    ),
    file_case("opcode EXT1", lambda _: archive(b"\x80\x02\x82\x01."), "opcode EXT1"),
    file_case("opcode PERSID", lambda _: archive(b"\x80\x02Pos.system\n."), "opcode PERSID"),
    file_case(
        "a persistent id that is code",
        lambda _: archive(b"\x80\x02(" + text("module") + b"cos\nsystem\n" + text("x") + text("y") + b"tQ."),
        "os.system",
    ),
    file_case(
        "BUILD on a class",
        lambda _: archive(b"\x80\x02cargparse\nNamespace\n}" + text("__init__") + text("x") + b"sb."),
        "the state of what has none",
    ),
    file_case(
        "REDUCE of a string",
        lambda _: archive(b"\x80\x02" + text("system") + b")R."),
        "a call of what is no name",
    ),
    file_case(
        "a codec of their own",
        lambda _: archive(entry(call("_codecs", "encode", text("x" * 100), text("idna")))),
        "strange values",
    ),
    file_case("1,000,001 opcodes", lambda _: archive(b"\x80\x02" + b"N0" * 600_000 + b"."), "opcode"),
    file_case(
        "1,200,000 opcodes",
        lambda _: archive(b"\x80\x02]" + b"Na" * 600_000 + b"."),
        "more than 1000000 opcodes",
    ),
    file_case(
        "a pickle of 20 MB", lambda _: archive(b"\x80\x02" + text("x" * 20 * 2**20) + b"."), "more than 16 MB"
    ),
    file_case("a memo of 2**31 places", lambda _: archive(b"\x80\x02}r\xff\xff\xff\x7f."), "it is empty"),
    file_case("a string that claims 4 GB", lambda _: archive(b"\x80\x02X\xff\xff\xff\xffx."), "damaged"),
    file_case(
        "a number of 4 GB", lambda _: archive(b"\x80\x02\x8b\xff\xff\xff\x7fx."), "damaged|opcode LONG4"
    ),
    file_case(
        "tuples 100,000 deep", lambda _: archive(b"\x80\x02)" + b"\x85" * 100_000 + b"."), "holds a tuple"
    ),
    file_case("tuples that double 60 times, as a key", lambda _: archive(_doubled()), "damaged"),
    file_case("an empty stack", lambda _: archive(b"\x80\x02R."), "damaged"),
    file_case("a program without end", lambda _: archive(b"\x80\x02}"), "damaged"),
]

TENSORS = [
    file_case(
        "a tensor larger than its storage", lying(4, 0, (10**6,), (1,)), "more numbers than the file holds"
    ),
    file_case("a tensor of 10**12 numbers by stride 0", lying(4, 0, (10**12,), (0,)), "more numbers"),
    file_case("a tensor behind its storage", lying(4, 10**9, (4,), (1,)), "more numbers"),
    file_case("a tensor with a stride out of its storage", lying(4, 0, (2, 2), (10**9, 1)), "more numbers"),
    file_case("a tensor of a negative size", lying(4, 0, (-4,), (1,)), "damaged"),
    file_case("a tensor with a negative offset", lying(4, -4, (4,), (1,)), "damaged"),
    file_case("a tensor of 2**62 by 2**62", lying(4, 0, (2**62, 2**62), (1, 1)), "more numbers"),
    file_case(
        "a storage that claims more than its record", lying(10**6, 0, (10**6,), (1,)), "claims other numbers"
    ),
    file_case("a storage that claims less than its record", lying(2, 0, (2,), (1,)), "claims other numbers"),
    file_case(
        "a storage without a record",
        lambda _: archive(entry(rebuilt(4, 0, (4,), (1,)))),
        "claims other numbers",
    ),
    file_case(
        "a storage of 2**40 in the old format",
        lambda _: stream(entry(rebuilt(2**40, 0, (4,), (1,))), ["0"], (2**40).to_bytes(8, "little")),
        "damaged",
    ),
    file_case(
        "a storage of another length in the old format",
        lambda _: stream(entry(rebuilt(4, 0, (4,), (1,))), ["0"], (2**40).to_bytes(8, "little") + bytes(16)),
        "damaged",
    ),
    file_case(
        "storages that the old format does not name",
        lambda _: stream(entry(rebuilt(4, 0, (4,), (1,))), ["1"], bytes(24)),
        "damaged",
    ),
    file_case(
        "one storage of two types",
        lambda _: archive(
            b"\x80\x02}"
            + text("a")
            + rebuilt(4, 0, (4,), (1,))
            + b"s"
            + text("b")
            + rebuilt(4, 0, (4,), (1,), "IntStorage")
            + b"s.",
            {"0": bytes(16)},
        ),
        "damaged",
    ),
    file_case(
        "compressed numbers",
        lambda _: archive(
            entry(rebuilt(4, 0, (4,), (1,))), {"0": bytes(16)}, compression=zipfile.ZIP_DEFLATED
        ),
        "compressed|unpack to more",
    ),
    file_case(
        "a tensor without numbers",
        lambda _: saved({"a": torch.empty(10**9, device="meta")}),
        "a tensor without numbers",
    ),
    file_case("a sparse tensor", lambda _: saved({"a": torch.eye(3).to_sparse()}), "a sparse tensor"),
    file_case(
        "a quantized tensor",
        lambda _: saved({"a": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)}),
        "quantized|QInt8",
    ),
    file_case(
        "a tensor of a class of its own",
        lambda _: saved({"a": torch.ones(2).as_subclass(Own)}),
        "a class of its own|Own",
    ),
    file_case("a number", lambda _: saved(3), "holds a int"),
    file_case("a tensor alone", lambda _: saved(torch.ones(3)), "holds a tensor, wanted tensors by name"),
    file_case("values that are no tensors", lambda _: saved({"a": 3, "b": [1]}), "holds no weights"),
    file_case("tensors among other values", lambda _: saved({"a": 3, "b": torch.ones(2)}), "a is no tensor"),
    file_case("nothing", lambda _: saved({}), "it is empty"),
    file_case(
        "an optimizer's state",
        lambda _: saved(torch.optim.Adam([torch.nn.Parameter(torch.ones(2))]).state_dict()),
        "the state of an optimizer and no weights",
    ),
]

CALLS_CASES = _calls()
CASES = (*CALLS_CASES, *WRAPPED, *TENSORS)
