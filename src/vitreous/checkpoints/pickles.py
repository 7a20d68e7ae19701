"""A pickle read as data. Its opcodes move plain values about a stack; there is nothing here that could
be imported, called or built, so what a file asks for can be looked at before anybody obeys it.

Only names of tensors, plain containers and settings are let through, and the classes of a whole model where
the file is one of those of ``whole``. Any other is refused by name.
"""

import pickle
import pickletools
from collections.abc import Callable, Mapping
from io import BytesIO
from math import prod
from typing import Any, NamedTuple

from vitreous.checkpoints.whole import MODELS, MODULES, Module
from vitreous.errors import CheckpointError

PROGRAM_LIMIT = 16 * 2**20  # bytes of opcodes; a hundred tensors take about 20 kB
STEP_LIMIT = 1_000_000  # opcodes; a model of 1000 tensors with its optimizer needs 120,000

SIZES: Mapping[str, int] = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "int16": 2,
    "int8": 1, "uint8": 1, "uint16": 2, "uint32": 4, "uint64": 8, "bool": 1, "complex64": 8,
    "complex128": 16, "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1,
}  # fmt: skip
STORAGES: Mapping[str, str] = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32",
    "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8", "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "uint8",
}  # fmt: skip
TENSORS = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3")
PARAMETERS = ("_rebuild_parameter", "_rebuild_parameter_with_state")
STRANGE_TENSORS: Mapping[str, str] = {
    "torch._utils._rebuild_sparse_tensor": "a sparse tensor",
    "torch._utils._rebuild_qtensor": "a quantized tensor",
    "torch._utils._rebuild_nested_tensor": "a nested tensor",
    "torch._utils._rebuild_meta_tensor_no_storage": "a tensor without numbers",
    "torch._utils._rebuild_wrapper_subclass": "a tensor of a class of its own",
    "torch._utils._rebuild_device_tensor_from_numpy": "a tensor of another device",
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": "a tensor of another device",
    "torch._tensor._rebuild_from_type_v2": "a tensor of a class of its own",
}
# What training scripts keep beside the weights. These names are read as plain words: the classes are
# never looked for, and nothing of theirs is made.
SETTINGS = frozenset({
    "argparse.Namespace", "yacs.config.CfgNode", "pathlib.PosixPath", "pathlib.PurePosixPath",
    "pathlib.WindowsPath", "pathlib.PureWindowsPath", "pathlib._local.PosixPath",
    "pathlib._local.WindowsPath", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar",
    "numpy.dtype",
})  # fmt: skip
PLAIN = frozenset({"torch.Size", "torch.device", "_codecs.encode", "collections.Counter", "builtins.set"})
DICTIONARY = "collections.OrderedDict"
Key = str | int | float | bytes | bool | None


class NeedsCode(Exception):
    """The pickle asks for something that is not data; ``args[0]`` is its name."""


class Name(NamedTuple):
    """A global that a pickle speaks of."""

    path: str


class Storage(NamedTuple):
    """A block of numbers beside the pickle: how many, of which type."""

    dtype: str
    key: str
    length: int


class Numbers(NamedTuple):
    """A tensor: a view of a storage. ``offset`` and ``strides`` are in numbers."""

    storage: Storage
    dtype: str
    shape: tuple[int, ...]
    offset: int
    strides: tuple[int, ...]


class Settings(NamedTuple):
    """A value that is neither a tensor nor a plain one: its class by name, and what it was given."""

    kind: str
    state: Any = None


def read_pickle(program: BytesIO, budget: list[int] | None = None) -> Any:
    """One value of a pickle: plain values, ``Numbers`` for tensors, a ``Module`` where it is a whole model,
    ``Settings`` for the rest. ``budget`` is how many more opcodes several pickles of one file may have.

    Raises:
        NeedsCode: it needs something that is not data.
        CheckpointError: a tensor that is no plain array, or one that lies about its size.
        ValueError: it is no pickle, or a damaged one.
    """
    machine = _Machine()
    budget = [STEP_LIMIT] if budget is None else budget
    try:
        for opcode, argument, _ in pickletools.genops(program):
            budget[0] -= 1
            if budget[0] < 0:
                raise CheckpointError(f"more than {STEP_LIMIT} opcodes, no file of weights needs so many")
            if opcode.name == "STOP":
                return machine.result()
            machine.step(opcode.name, argument)
    except (IndexError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError("not a pickle") from error
    raise ValueError("cut short")


class _Machine:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.first: str | None = None  # the first global that it speaks of

    def step(self, name: str, argument: Any) -> None:
        if name in _LITERALS:
            self.stack.append(argument)
        elif name in _FRESH:
            self.stack.append(_FRESH[name]())
        elif name in _STEPS:
            _STEPS[name](self, argument)
        elif name == "PROTO":
            if argument > pickle.HIGHEST_PROTOCOL:
                raise ValueError("an unknown protocol")
        elif name != "FRAME":
            raise NeedsCode(f"the opcode {name}")

    def result(self) -> Any:
        """What is left at the end; where classes of a whole model were let through, that model."""
        value = self.stack.pop()
        if self.first in MODELS and not (isinstance(value, Module) and value.kind == self.first):
            raise NeedsCode(self.first)
        return value

    def marked(self) -> list[Any]:
        """What was put on the stack since the last mark."""
        items = self.stack
        self.stack = self.below.pop()
        return items

    def mark(self, _: Any) -> None:
        self.below.append(self.stack)
        self.stack = []

    def name(self, argument: str) -> None:
        self.stack.append(self.known(argument.replace(" ", ".", 1)))

    def known(self, path: str) -> Name:
        """A name that may be spoken of: parts of a whole model inside one alone."""
        self.first = self.first or path
        return Name(path) if self.first in MODELS and path in MODULES else _known(path)

    def instance(self, argument: str) -> None:
        self.name(argument)  # who asks is refused by the name of what was asked for
        raise NeedsCode("the opcode INST")

    def stacked_name(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(self.known(f"{module}.{name}"))

    def put(self, place: int) -> None:
        self.memo[place] = self.stack[-1]

    def memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def get(self, place: int) -> None:
        self.stack.append(self.memo[place])

    def group(self, _: Any) -> None:
        items = tuple(self.marked())
        self.stack.append(items)

    def last(self, count: int) -> None:
        items = tuple(self.stack[-count:])
        if len(items) != count:
            raise ValueError("an empty stack")
        self.stack[-count:] = [items]

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise ValueError("appends to what is no list")
        target.extend(items)

    def update(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Settings) and isinstance(target.state, dict):
            target = target.state
        _fill(target, zip(items[::2], items[1::2], strict=True))

    def pair(self, _: Any) -> None:
        items = self.stack[-2:]
        del self.stack[-2:]
        self.update(items)

    def persistent(self, _: Any) -> None:
        identity = self.stack.pop()
        if isinstance(identity, tuple) and identity[:1] in (("module",), (b"module",)):
            self.stack.append(_class(identity))  # in the format before zip, with the text of its code
        else:
            self.stack.append(_storage(identity))

    def call(self, _: Any) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        if not isinstance(called, Name) or not isinstance(arguments, tuple):
            raise NeedsCode("a call of what is no name")
        self.stack.append(_called(called.path, arguments))

    def new(self, _: Any) -> None:
        arguments, called = self.stack[-1], self.stack[-2]
        if not isinstance(called, Name) or called.path not in MODULES:
            self.call(_)
            return
        if arguments != ():
            raise NeedsCode(f"a call of {called.path}")
        self.stack[-2:] = [Module(called.path)]

    def build(self, _: Any) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Settings):
            if isinstance(state, dict) and isinstance(target.state, dict):
                target.state.update(state)
        elif isinstance(target, Module):
            target.state = _fill({}, state.items())
        elif not isinstance(target, dict | Numbers):  # those have metadata, which nobody needs
            raise NeedsCode("the state of what has none")


_LITERALS = frozenset({
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE",
    "SHORT_BINSTRING", "BINSTRING", "BINBYTES", "SHORT_BINBYTES",
})  # fmt: skip
_FRESH: Mapping[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
_STEPS: Mapping[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "GLOBAL": _Machine.name,
    "INST": _Machine.instance,
    "STACK_GLOBAL": _Machine.stacked_name,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.memoize,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "TUPLE": _Machine.group,
    "TUPLE1": lambda machine, _: machine.last(1),
    "TUPLE2": lambda machine, _: machine.last(2),
    "TUPLE3": lambda machine, _: machine.last(3),
    "APPEND": lambda machine, _: machine.extend([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.marked()),
    "SETITEM": _Machine.pair,
    "SETITEMS": lambda machine, _: machine.update(machine.marked()),
    "BINPERSID": _Machine.persistent,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.new,
    "BUILD": _Machine.build,
}


_SIMPLE_CALLS: Mapping[str, Callable[[tuple[Any, ...]], bool]] = {
    # What is hashed must be plain: tuples that hold one tuple twice, again and again, have no end.
    "builtins.set": lambda given: len(given) == 1 and all(isinstance(item, Key) for item in given[0]),
    "collections.Counter": lambda given: not given or (len(given) == 1 and isinstance(given[0], dict)),
    "_codecs.encode": lambda given: len(given) == 2 and given[1] in ("latin1", "latin-1", "ascii", "utf-8"),
}


def _known(path: str) -> Name:
    path = path.replace("__builtin__.", "builtins.", 1)
    if path in STRANGE_TENSORS:
        raise CheckpointError(f"wanted plain numbers, found {STRANGE_TENSORS[path]}")
    module, _, last = path.rpartition(".")
    torch_storage = module in ("torch", "torch.cuda", "torch.storage") and last in STORAGES
    torch_type = module == "torch" and last in SIZES
    rebuilt = module == "torch._utils" and last in (*TENSORS, *PARAMETERS)
    if torch_storage or torch_type or rebuilt or path in SETTINGS or path in PLAIN or path == DICTIONARY:
        return Name(path)
    raise NeedsCode(path.removeprefix("builtins."))


def _called(path: str, arguments: tuple[Any, ...]) -> Any:
    last = path.rpartition(".")[2]
    if path == DICTIONARY:
        return _fill({}, arguments[0] if arguments else ())
    if last in TENSORS:
        return _numbers(last, arguments)
    if last in PARAMETERS and isinstance(arguments[0], Numbers):
        return arguments[0]
    if path == "torch.Size":
        return tuple(arguments[0])
    if path in _SIMPLE_CALLS and not _SIMPLE_CALLS[path](arguments):
        raise NeedsCode(f"a call of {path} with strange values")
    if path in SETTINGS or path in PLAIN:
        return Settings(path, {} if not arguments else None)
    raise NeedsCode(f"a call of {path}")


def _fill(target: Any, pairs: Any) -> Any:
    if not isinstance(target, dict):
        raise ValueError("items for what is no dictionary")
    for key, value in pairs:
        if not isinstance(key, Key):
            raise ValueError("a key that is no plain value")
        target[key] = value
    return target


def _class(identity: tuple[Any, ...]) -> Name:
    if len(identity) != 4 or not isinstance(identity[1], Name) or identity[1].path not in MODULES:
        raise ValueError("a class of no module")
    return identity[1]


def _storage(identity: Any) -> Storage:
    if (
        not isinstance(identity, tuple)
        or len(identity) not in (5, 6)
        or identity[0] not in ("storage", b"storage")
    ):
        raise ValueError("a reference to something else than a storage")
    _, kind, key, _, length = identity[:5]
    if not isinstance(kind, Name) or kind.path.rpartition(".")[2] not in STORAGES:
        raise ValueError("a storage of no type")
    if not isinstance(length, int) or length < 0 or (len(identity) == 6 and identity[5] is not None):
        raise ValueError("a storage of no size")
    return Storage(STORAGES[kind.path.rpartition(".")[2]], str(key), length)


def _numbers(kind: str, arguments: tuple[Any, ...]) -> Numbers:
    storage, offset, shape, strides = arguments[:4]
    whole = (offset, *shape, *strides)
    if not isinstance(storage, Storage) or any(type(side) is not int or side < 0 for side in whole):
        raise ValueError("a tensor of no shape")
    dtype, length = storage.dtype, storage.length
    if kind == "_rebuild_tensor_v3":
        dtype = arguments[6].path.removeprefix("torch.")
        length = length * SIZES[storage.dtype] // SIZES[dtype]
    reach = offset + 1 + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
    if prod(shape) and (reach > length or prod(shape) > length):
        raise CheckpointError("refused, a tensor claims more numbers than the file holds")
    return Numbers(storage, dtype, tuple(shape), offset, tuple(strides))
