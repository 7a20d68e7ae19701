"""safetensors, npz and zip files that lie, and files that are something else altogether."""

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from tests.checkpoints.hostile import Case, file_case, header, npy, saved, tensor, zipped
from tests.checkpoints.hostile_pickles import Call, archive

TENSORS = {"blocks.0.norm1.weight": torch.ones(4), "patch_embed.proj.weight": torch.ones(4, 3, 2, 2)}
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4" * 64 + b"\nsize 346284714\n"


def safetensors(name: str, content: Callable[[], bytes], says: str) -> Case:
    """A case of a safetensors file."""
    return file_case(f"safetensors: {name}", lambda _: content(), says, "model.safetensors")


def npz(name: str, content: Callable[[Path], bytes], says: str) -> Case:
    """A case of an ``.npz``."""
    return file_case(f"npz: {name}", content, says, "weights.npz")


def other(name: str, content: Callable[[], bytes], says: str, file: str = "weights.pth") -> Case:
    """A case of a file that is no weights at all."""
    return file_case(name, lambda _: content(), says, file)


def png() -> bytes:
    """A picture."""
    import io

    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    return buffer.getvalue()


def npy_header(text: bytes, version: tuple[int, int] = (2, 0)) -> bytes:
    """An array of numpy with this header and four numbers."""
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + size + text + bytes(16)


def lying_array() -> bytes:
    """An array whose header claims a million values, and which holds four."""
    return npy(np.zeros(4, np.float32)).replace(b"(4,)", b"(1000000,)").replace(b"      \n", b"\n", 1)


def encrypted() -> bytes:
    """A zip file whose entry says that it is encrypted."""
    data = bytearray(zipped({"a.npy": npy(np.zeros(3))}))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + place] |= 1
    return bytes(data)


def twice() -> bytes:
    """A zip file with two entries of one name."""
    data = zipped({"a.npy": npy(np.zeros(3)), "b.npy": npy(np.zeros(3))})
    return data.replace(b"b.npy", b"a.npy")


def long_table() -> bytes:
    """A zip file that claims a table of contents of 2 GB."""
    data = bytearray(zipped({"a.npy": npy(np.zeros(3))}))
    end = data.rindex(b"PK\x05\x06")
    data[end + 12 : end + 16] = (2**31).to_bytes(4, "little")
    return bytes(data)


def flipped(data: bytes, part: bytes, offset: int = 0) -> bytes:
    """One bit changed, behind the start of a part."""
    place = data.index(part) + offset
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def one(**entries: object) -> bytes:
    """A safetensors file of one tensor of four numbers, with changes to what its header says."""
    return header({"a": tensor(0, 16, [4]) | entries}, bytes(16))


SAFETENSORS = [
    safetensors("an endless header", lambda: header({}, length=2**62), "cut short in its header"),
    safetensors(
        "a header of 100 MB", lambda: header({}, b" " * 100 * 2**20, 100 * 2**20), "more than .* are refused"
    ),
    safetensors("a negative header", lambda: header({}, length=2**64 - 8), "cut short in its header"),
    safetensors(
        "a header of 4 MB of nothing",
        lambda: header(b'{"a":[' + b"[]," * 1_390_000 + b"[]]}"),
        "damaged safetensors header",
    ),
    safetensors("no header", lambda: struct.pack("<Q", 0) + b"{", "damaged safetensors header"),
    safetensors(
        "a header nested 200,000 deep",
        lambda: header(b'{"a":' + b"[" * 200_000),
        "damaged safetensors header",
    ),
    safetensors(
        "a header that is a list",
        lambda: struct.pack("<Q", 4) + b'{"a"' + bytes(8),
        "damaged safetensors header",
    ),
    safetensors(
        "a header in UTF-16", lambda: header('{"a":1}'.encode("utf-16-le")), "damaged safetensors header"
    ),
    safetensors(
        "a header that is no UTF-8", lambda: header(b'{"\xff\xfe":{}}'), "damaged safetensors header"
    ),
    safetensors(
        "NaN in the header",
        lambda: header(b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,16]}}', bytes(16)),
        "damaged safetensors header",
    ),
    safetensors(
        "one name twice",
        lambda: header(
            b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}',
            bytes(16),
        ),
        "damaged safetensors header",
    ),
    safetensors(
        "a tensor behind the end",
        lambda: header({"a": tensor(0, 10**9, [250_000_000])}, bytes(16)),
        "cut short, 16 of 1000000000 bytes",
    ),
    safetensors(
        "a tensor ahead of the start",
        lambda: header({"a": tensor(-8, 8, [4])}, bytes(16)),
        "damaged safetensors header",
    ),
    safetensors(
        "offsets in the wrong order", lambda: header({"a": tensor(16, 0, [4])}, bytes(16)), "claims -16 bytes"
    ),
    safetensors("a negative size", lambda: one(shape=[-4]), "damaged safetensors header"),
    safetensors("a size of 2**63 by 2**63", lambda: one(shape=[2**63, 2**63]), "claims 16 bytes"),
    safetensors("a size that is a word", lambda: one(shape="four"), "damaged safetensors header"),
    safetensors("a size of 4.0", lambda: one(shape=[4.0]), "damaged safetensors header"),
    safetensors("a size of true", lambda: one(shape=[True]), "damaged safetensors header"),
    safetensors(
        "another size than its bytes", lambda: one(shape=[5]), "of shape 5 and type F32 claims 16 bytes"
    ),
    safetensors("an unknown type", lambda: one(dtype="F31"), "unknown type 'F31'"),
    safetensors("a type that is a list", lambda: one(dtype=["F32"]), "damaged safetensors header"),
    safetensors(
        "no type",
        lambda: header({"a": {"shape": [4], "data_offsets": [0, 16]}}, bytes(16)),
        "damaged safetensors header",
    ),
    safetensors(
        "tensors that overlap",
        lambda: header({"a": tensor(0, 16, [4]), "b": tensor(8, 24, [4])}, bytes(24)),
        "overlaps another tensor",
    ),
    safetensors(
        "a hole between tensors",
        lambda: header({"a": tensor(0, 16, [4]), "b": tensor(20, 36, [4])}, bytes(36)),
        "leaves bytes unexplained",
    ),
    safetensors(
        "bytes behind the last tensor",
        lambda: header({"a": tensor(0, 16, [4])}, bytes(99)),
        "83 bytes at its end belong to no tensor",
    ),
    safetensors("cut short by 5 bytes", lambda: save(TENSORS)[:-5], "cut short, .* download it again"),
    safetensors(
        "a name with a line end and an escape",
        lambda: header({"a\n\x1b[31m": tensor(0, 16, [4])}, bytes(16)),
        r"no known layout",
    ),
    safetensors(
        "a block number of 10**9",
        lambda: save({f"blocks.{10**9}.norm1.weight": torch.ones(2), **TENSORS}),
        "",
    ),
]

NPZ = [
    npz(
        "an array of objects",
        lambda folder: zipped({"a.npy": npy(np.array([Call(print, "x")], object), True)}),
        "array of objects",
    ),
    npz(
        "an array of structures with objects",
        lambda _: zipped({"a.npy": npy(np.zeros(2, [("x", "f4"), ("y", "O")]), True)}),
        "array of objects",
    ),
    npz("an array of text", lambda _: zipped({"a.npy": npy(np.array(["a"]))}), "array of numbers"),
    npz(
        "an array that claims more",
        lambda _: zipped({"embedding/kernel.npy": lying_array()}),
        "claims another number",
    ),
    npz(
        "an array of a negative size",
        lambda _: zipped(
            {"a.npy": npy_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-4,)}\n")}
        ),
        "damaged",
    ),
    npz(
        "an array of 2**64 by 2**64",
        lambda _: zipped(
            {
                "a.npy": npy_header(
                    b"{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d)}\n" % (2**64, 2**64)
                )
            }
        ),
        "damaged",
    ),
    npz(
        "a header of 4 GB",
        lambda _: zipped({"a.npy": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b"x" * 99}),
        "damaged",
    ),
    npz(
        "a header of 1 MB",
        lambda _: zipped(
            {
                "a.npy": npy_header(
                    b"{'descr': '<f4', 'fortran_order': False, 'shape': (4,)}" + b" " * 2**20 + b"\n"
                )
            }
        ),
        "damaged",
    ),
    npz(
        "a header that is a program",
        lambda _: zipped({"a.npy": npy_header(b"__import__('os').system('true')\n")}),
        "damaged",
    ),
    npz(
        "a header nested deeply",
        lambda _: zipped({"a.npy": npy_header(b"(" * 9000 + b"\n", (3, 0))}),
        "damaged",
    ),
    npz("a header of version 9", lambda _: zipped({"a.npy": b"\x93NUMPY\x09\x00" + bytes(99)}), "damaged"),
    npz(
        "zeros that unpack to 400 MB",
        lambda _: zipped({"a.npy": npy(np.zeros(10**8, np.float32))}, zipfile.ZIP_DEFLATED),
        "unpack to more",
    ),
    npz(
        "zeros packed by lzma",
        lambda _: zipped({"a.npy": npy(np.zeros(10**7, np.float32))}, zipfile.ZIP_LZMA),
        "unpack to more",
    ),
    npz("it points upwards", lambda _: zipped({"../../evil.npy": npy(np.zeros(3))}), "outside itself"),
    npz("it points to the root", lambda _: zipped({"/etc/evil.npy": npy(np.zeros(3))}), "outside itself"),
    npz("it points to a drive", lambda _: zipped({"C:\\evil.npy": npy(np.zeros(3))}), "outside itself"),
    npz("something else in it", lambda _: zipped({"a.npy": npy(np.zeros(3)), "b.txt": b"x"}), "not an array"),
    npz("an encrypted entry", lambda _: encrypted(), "is encrypted"),
    npz("two entries of one name", lambda _: twice(), "two of its entries have one name"),
    npz("a table of contents of 2 GB", lambda _: long_table(), "its table of contents claims"),
    npz("cut short", lambda _: zipped({"a.npy": npy(np.zeros(999))})[:-30], "damaged zip file"),
    npz("nothing in it", lambda _: zipped({}), "no file of weights; it holds nothing"),
    npz(
        "a changed bit in its numbers",
        lambda _: flipped(
            zipped({"embedding/kernel.npy": npy(np.ones((2, 2, 3, 4), np.float32))}), b"\x00\x00\x80?"
        ),
        "",
    ),
    file_case(
        "pth: it points upwards", lambda _: zipped({"../archive/data.pkl": b"\x80\x02}."}), "outside itself"
    ),
    file_case(
        "pth: zeros that unpack to 40 MB",
        lambda _: archive(b"\x80\x02}.", {"0": bytes(40 * 2**20)}, compression=zipfile.ZIP_DEFLATED),
        "unpack to more",
    ),
    file_case(
        "pth: two pickles",
        lambda _: zipped({"a/data.pkl": b"\x80\x02}.", "b/data.pkl": b"\x80\x02}."}),
        "no file of weights; it holds a/data.pkl",
    ),
    file_case(
        "pth: a changed bit in its numbers",
        lambda _: flipped(saved({"w": torch.full((64,), 1.5)}), b"\x00\x00\xc0?" * 4),
        "",
    ),
    file_case("pth: cut short", lambda _: saved({"w": torch.ones(999)})[:-100], "damaged zip file"),
]

OTHERS = [
    other(
        "a Git LFS pointer",
        lambda: LFS,
        r"Git LFS pointer, not the weights of 346,284,714 bytes; run git lfs pull",
    ),
    other("a Git LFS pointer as safetensors", lambda: LFS, "Git LFS pointer", "model.safetensors"),
    other("a web page", lambda: b"\n<!DOCTYPE html><html><head><title>403 Forbidden</title>", "a web page"),
    other(
        "an answer in XML",
        lambda: b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
        "a web page",
    ),
    other("an answer in JSON", lambda: b'{"error": "Repository not found"}', "JSON text"),
    other("an empty file", lambda: b"", "empty, 0 bytes"),
    other("a file of zeros", lambda: bytes(10_000), "nothing but zeros"),
    other("text", lambda: b"hello, I am a model", "text, not a file of weights"),
    other("noise", lambda: bytes(range(128, 256)) * 4, "damaged, not what torch.save writes"),
    other("a picture as safetensors", png, r"a picture \(PNG\)", "model.safetensors"),
    other("a picture of JPEG", lambda: b"\xff\xd8\xff\xe0" + bytes(99), r"a picture \(JPEG\)"),
    other("Keras, HDF5", lambda: b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5, as Keras", "model.h5"),
    other(
        "Keras, zip",
        lambda: zipped({"config.json": b"{}", "model.weights.h5": b"x"}),
        "no file of weights; it holds config.json",
        "model.keras",
    ),
    other(
        "a list of TensorFlow's checkpoints",
        lambda: b'model_checkpoint_path: "model.ckpt-1"\n',
        "the list of a TensorFlow checkpoint",
        "checkpoint",
    ),
    other(
        "the index of TensorFlow's checkpoint",
        lambda: bytes(range(99)) + bytes.fromhex("57fb808b247547db"),
        "the index of a TensorFlow checkpoint",
        "model.ckpt-1.index",
    ),
    other(
        "the numbers of TensorFlow's checkpoint",
        lambda: bytes(range(1, 99)),
        "the numbers of a TensorFlow checkpoint",
        "model.ckpt-1.data-00000-of-00001",
    ),
    other("GGUF", lambda: b"GGUF\x03\x00\x00\x00" + bytes(99), "GGUF, as llama.cpp"),
    other("ONNX", lambda: b"\x08\x07\x12\x07pytorch\x1a\x051.13" + bytes(99), "an ONNX graph", "model.onnx"),
    other("TensorFlow Lite", lambda: b"\x1c\x00\x00\x00TFL3" + bytes(99), "TensorFlow Lite", "model.tflite"),
    other("msgpack of flax", lambda: b"\x81\xa6params" + bytes(99), "msgpack, as flax", "flax_model.msgpack"),
    other("gzip", lambda: b"\x1f\x8b\x08" + bytes(99), "compressed by gzip"),
    other("an array without a name", lambda: npy(np.zeros(4)), "a single array of numpy", "weights.npy"),
    other("a program", lambda: b"\x7fELF\x02" + bytes(99), "a program, not weights"),
    other(
        "an unfinished download",
        lambda: save(TENSORS)[:100],
        "an unfinished download",
        "model.safetensors.incomplete",
    ),
    other(
        "half a browser's download",
        lambda: save(TENSORS)[:100],
        "an unfinished download",
        "model.safetensors.crdownload",
    ),
]

CASES = (*SAFETENSORS, *NPZ, *OTHERS)
