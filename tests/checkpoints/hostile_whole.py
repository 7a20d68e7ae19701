"""Whole models, pickled as DALL-E's are, that are made to do harm, or are none of the two that are read."""

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from tests.checkpoints.hostile import Case, file_case, saved
from tests.checkpoints.hostile_pickles import Call, archive, call, command, number, rebuilt, stream, text

ENCODER = "dall_e.encoder.Encoder"
SEQUENTIAL = "torch.nn.modules.container.Sequential"
CONVOLUTION = "dall_e.utils.Conv2d"


def module(kind: str, **state: bytes) -> bytes:
    """A module as a pickle spells it: its class, NEWOBJ, what it holds, BUILD."""
    home, _, name = kind.rpartition(".")
    items = b"".join(text(key) + value for key, value in state.items())
    return f"c{home}\n{name}\n)\x81}}(".encode("latin1") + items + b"ub"


def named(**values: bytes) -> bytes:
    """A dictionary."""
    return b"}(" + b"".join(text(key) + value for key, value in values.items()) + b"u"


def encoder(**state: bytes) -> bytes:
    """A program that is an encoder and nothing else."""
    return b"\x80\x02" + module(ENCODER, **state) + b"."


def inside(*values: bytes) -> bytes:
    """An encoder with modules in it."""
    return encoder(_modules=named(**{f"m{number}": value for number, value in enumerate(values)}))


def holding(value: bytes, kind: bytes = b"_parameters") -> bytes:
    """An encoder whose one parameter this is."""
    return encoder(**{kind.decode(): named(w=value)})


def system(folder: Path) -> bytes:
    """A call that leaves a mark."""
    return call("os", "system", text(command(folder)))


def nested(depth: int) -> bytes:
    """Modules inside one another."""
    head, _, tail = module(SEQUENTIAL, _modules=named(m=b"@")).partition(b"@")
    return b"\x80\x02" + module(ENCODER, _modules=named(m=head * depth + b"N" + tail * depth)) + b"."


def doubled() -> bytes:
    """A module that holds one module twice, which holds one twice, and so on."""
    twice = module(SEQUENTIAL, _modules=named(a=b"h\x05", b=b"h\x05")) + b"q\x05"
    first = b"\x80\x02cdall_e.encoder\nEncoder\n" + module(SEQUENTIAL) + b"q\x05"
    return first + 40 * twice + module(ENCODER, _modules=named(m=b"h\x05")) + b"."


def circle() -> bytes:
    """A module that holds itself."""
    home, _, name = ENCODER.rpartition(".")
    return (
        b"\x80\x02"
        + f"c{home}\n{name}\n)\x81q\x07}}(".encode("latin1")
        + text("_modules")
        + named(m=b"h\x07")
        + b"ub."
    )


def persistent(kind: str) -> bytes:
    """A class as the format before zip speaks of it."""
    home, _, name = kind.rpartition(".")
    return b"(" + text("module") + f"c{home}\n{name}\n".encode() + text("x.py") + text("import os") + b"tQ"


def pickled(value: Any) -> bytes:
    """An encoder of the package with a value in it that is not the package's."""
    from dall_e import Encoder

    model = Encoder(n_hid=8, vocab_size=12)
    model.blocks.added = value
    return saved(model)


def strange_gain(_: Path) -> bytes:
    """An encoder whose blocks are scaled otherwise."""
    from dall_e import Encoder

    model = Encoder(n_hid=8, vocab_size=12)
    model.blocks.group_2.block_1.post_gain = 1.0
    return saved(model)


def decoder_alone(_: Path) -> bytes:
    """A sound decoder."""
    from dall_e import Decoder

    return saved(Decoder(n_hid=8, n_init=12, vocab_size=12))


CASES: tuple[Case, ...] = (
    file_case(
        "an encoder whose weight is a payload", lambda f: archive(holding(system(f))), "needs os.system"
    ),
    file_case(
        "an encoder with a payload for a state", lambda f: archive(encoder(a=system(f))), "needs os.system"
    ),
    file_case(
        "an encoder with a payload in torch's own words",
        lambda f: archive(holding(pickle.dumps(Call(os.system, command(f)), 2)[2:-1])),
        "needs posix.system",
    ),
    file_case(
        "an encoder that holds another kind of module",
        lambda _: pickled(torch.nn.Linear(2, 2)),
        r"needs torch\.nn\.modules\.linear\.Linear",
    ),
    file_case(
        "an encoder that holds a payload", lambda f: pickled(Call(os.system, command(f))), "posix.system"
    ),
    file_case(
        "modules without a model",
        lambda _: saved(torch.nn.Sequential(torch.nn.ReLU())),
        f"needs {SEQUENTIAL}",
    ),
    file_case(
        "a module beside tensors",
        lambda _: saved({"w": torch.ones(2), "m": torch.nn.ReLU()}),
        r"needs torch\.nn\.modules\.activation\.ReLU",
    ),
    file_case(
        "an encoder inside a dictionary",
        lambda _: archive(b"\x80\x02" + named(model=module(ENCODER)) + b"."),
        f"needs {ENCODER}",
    ),
    file_case(
        "the class of an encoder beside tensors",
        lambda _: archive(
            b"\x80\x02"
            + named(a=b"cdall_e.encoder\nEncoder\n", model=named(w=rebuilt(4, 0, (4,), (1,))))
            + b".",
            {"0": bytes(16)},
        ),
        f"needs {ENCODER}",
    ),
    file_case(
        "a block that is the whole", lambda _: archive(b"\x80\x02" + module(CONVOLUTION) + b"."), CONVOLUTION
    ),
    file_case(
        "an encoder made with arguments",
        lambda _: archive(b"\x80\x02cdall_e.encoder\nEncoder\nK\x01\x85\x81}b."),
        f"a call of {ENCODER}",
    ),
    file_case(
        "an encoder that is called",
        lambda _: archive(b"\x80\x02cdall_e.encoder\nEncoder\n)R}b."),
        f"a call of {ENCODER}",
    ),
    file_case(
        "an encoder that is called with a payload",
        lambda f: archive(b"\x80\x02cdall_e.encoder\nEncoder\n" + system(f) + b"\x85\x81}b."),
        "needs os.system",
    ),
    file_case("an encoder without anything", lambda _: archive(encoder()), "it is empty"),
    file_case(
        "an encoder of numbers", lambda _: archive(holding(number(3))), "wanted a state dict|holds no weights"
    ),
    file_case(
        "an encoder with a state of no names", lambda _: archive(encoder(_modules=number(3))), "damaged"
    ),
    file_case(
        "an encoder with names of no text",
        lambda _: archive(
            encoder(_parameters=b"}K\x01" + rebuilt(4, 0, (4,), (1,)) + b"s"), {"0": bytes(16)}
        ),
        "damaged",
    ),
    file_case(
        "a name that stands for a place",
        lambda _: archive(encoder(_parameters=named(**{"a.b": rebuilt(4, 0, (4,), (1,))})), {"0": bytes(16)}),
        "damaged",
    ),
    file_case("a module that is a number", lambda _: archive(inside(number(3))), "damaged"),
    file_case(
        "a state that is a tuple", lambda _: archive(b"\x80\x02cdall_e.encoder\nEncoder\n)\x81)b."), "damaged"
    ),
    file_case("an encoder inside itself", lambda _: archive(circle()), "damaged"),
    file_case("modules that double 40 times", lambda _: archive(doubled()), "damaged"),
    file_case("modules 3,000 deep", lambda _: archive(nested(3000)), "damaged"),
    file_case(
        "a module with a buffer",
        lambda _: archive(holding(rebuilt(4, 0, (4,), (1,)), b"_buffers"), {"0": bytes(16)}),
        "damaged",
    ),
    file_case(
        "an encoder whose tensor lies",
        lambda _: archive(holding(rebuilt(4, 0, (10**6,), (1,))), {"0": bytes(16)}),
        "more",
    ),
    file_case(
        "an encoder without its numbers",
        lambda _: archive(holding(rebuilt(4, 0, (4,), (1,)))),
        "claims other",
    ),
    file_case(
        "an encoder with one tensor of another name",
        lambda _: archive(holding(rebuilt(4, 0, (4,), (1,))), {"0": bytes(16)}),
        "no known layout has these tensors",
    ),
    file_case("blocks that are scaled otherwise", strange_gain, "8 blocks that are not scaled by 1/64"),
    file_case("a decoder alone", decoder_alone, "a decoder alone, which makes no tokens"),
    file_case(
        "in the format before zip, another class",
        lambda _: stream(b"\x80\x02" + persistent("os.system") + b")\x81}b."),
        "needs os.system",
    ),
    file_case(
        "in the format before zip, a class where a storage is wanted",
        lambda _: stream(
            b"\x80\x02(" + text("module") + text("dall_e.encoder.Encoder") + text("x") + text("y") + b"tQ."
        ),
        "damaged",
    ),
    file_case(
        "in the format before zip, an encoder with a payload",
        lambda f: stream(
            b"\x80\x02" + persistent(ENCODER) + b")\x81" + named(_parameters=named(w=system(f))) + b"b."
        ),
        "needs os.system",
    ),
    file_case(
        "in the format before zip, numbers that are not there",
        lambda _: stream(
            b"\x80\x02"
            + persistent(ENCODER)
            + b")\x81"
            + named(_parameters=named(w=rebuilt(2**40, 0, (4,), (1,))))
            + b"b.",
            ["0"],
            (2**40).to_bytes(8, "little"),
        ),
        "damaged",
    ),
)
