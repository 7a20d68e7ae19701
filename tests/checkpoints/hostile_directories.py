"""Directories whose JSON lies, or whose numbers are no weights."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tests.checkpoints.hostile import Case, edited_json, saved, timm_directory, transformers_directory
from tests.checkpoints.hostile_containers import LFS
from tests.checkpoints.make import random_checkpoint
from vitreous.checkpoints.file import save

HEAD = "head.weight"


def config(key: str, value: Any, says: str) -> Case:
    """A transformers directory with one strange value in its config.json."""

    def build(folder: Path) -> Path:
        directory = transformers_directory(folder)
        edited_json(directory / "config.json", lambda values: values.update({key: value}))
        return directory

    said = json.dumps(value)
    return Case(f"config.json: {key} {said if len(said) < 40 else said[:40] + '...'}", build, says)


def processor(key: str, value: Any, says: str) -> Case:
    """The same in its preprocessor_config.json."""

    def build(folder: Path) -> Path:
        directory = transformers_directory(folder)
        edited_json(directory / "preprocessor_config.json", lambda values: values.update({key: value}))
        return directory

    return Case(f"preprocessor_config.json: {key} {json.dumps(value)}", build, says)


def timm(change: dict[str, Any], says: str) -> Case:
    """A timm directory with strange values in its config.json."""

    def build(folder: Path) -> Path:
        directory = timm_directory(folder)
        edited_json(directory / "config.json", lambda values: values.update(change))
        return directory

    return Case(f"timm's config.json: {json.dumps(change)[:60]}", build, says)


def raw(name: str, text: Callable[[], bytes], says: str, file: str = "config.json") -> Case:
    """A transformers directory in which the text of one file is another."""

    def build(folder: Path) -> Path:
        directory = transformers_directory(folder)
        (directory / file).write_bytes(text())
        return directory

    return Case(f"{file}: {name}", build, says)


def weights(
    name: str, change: Callable[[dict[str, torch.Tensor]], Any], says: str, pickled: bool = False
) -> Case:
    """A timm directory with strange numbers."""

    def build(folder: Path) -> Path:
        directory = timm_directory(folder)
        state = load_file(directory / "model.safetensors")
        change(state)
        if pickled:
            (directory / "model.safetensors").unlink()
            (directory / "pytorch_model.bin").write_bytes(saved(state))
        else:
            save_file(state, directory / "model.safetensors", metadata={"format": "pt"})
        return directory

    return Case(f"{'pth' if pickled else 'safetensors'}: {name}", build, says, "NaN or infinity" in says)


def files(name: str, contents: dict[str, bytes], says: str) -> Case:
    """A directory of these files."""

    def build(folder: Path) -> Path:
        for file, data in contents.items():
            (folder / file).write_bytes(data)
        return folder

    return Case(f"a directory of {name}", build, says)


def ours(name: str, change: Callable[[Path], Any], says: str) -> Case:
    """A directory of ours, spoilt."""

    def build(folder: Path) -> Path:
        save(folder / "model", random_checkpoint())
        change(folder / "model")
        return folder / "model"

    return Case(f"ours: {name}", build, says)


def pipe(folder: Path) -> Path:
    """A pipe as the source."""
    os.mkfifo(folder / "weights.pth")
    return folder / "weights.pth"


def nan(state: dict[str, torch.Tensor], value: float = float("nan")) -> None:
    """One number that is none."""
    state[HEAD][0, 0] = value


def endless(folder: Path) -> Path:
    """An epsilon that JSON can write and that is infinite once it is read."""
    directory = transformers_directory(folder)
    text = (directory / "config.json").read_text()
    (directory / "config.json").write_text(text.replace("1e-06", "1e999"))
    return directory


def listing(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """A change of the manifest."""
    return lambda directory: edited_json(directory / "manifest.json", change)


POSITIVE = "wanted a positive whole number|wanted one side or two"
CONFIGS = [
    *(
        config(key, value, POSITIVE)
        for key in (
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "patch_size",
        )
        for value in (0, -1, "64", [64], 1.5, True, 10**30)
    ),
    config("num_hidden_layers", 10**9, "blocks"),
    config("num_hidden_layers", 400, "blocks, but holds only"),
    config("hidden_size", 2**30, "no model can have|do not fit|cannot be shared"),
    config("intermediate_size", 10**9, "do not fit|no model can have"),
    config("num_attention_heads", 7, "cannot be shared by 7 heads"),
    config("image_size", 10**9, "does not fit|positions"),
    config("image_size", -32, POSITIVE),
    config("image_size", [32, 32, 32], "one side or two"),
    config("image_size", {"height": 32}, POSITIVE),
    config("patch_size", 10**9, "do not fit|patch|grid|positions"),
    config("layer_norm_eps", -1.0, "norm_eps|layer_norm_eps"),
    config("layer_norm_eps", "tiny", "wanted a number"),
    config("hidden_act", "__import__('os').system('true')", "hidden_act"),
    config("hidden_act", {"a": 1}, "hidden_act|unhashable"),
    config("hidden_act", None, "hidden_act"),
    config("model_type", "evil", "model_type 'evil'"),
    config("model_type", ["vit"], "model_type"),
    config("id2label", {"0": "a"}, "id2label"),
    config("id2label", [1, 2], "id2label"),
    config("auto_map", {"AutoModel": "evil--modeling.Evil"}, "code of its own"),
    config("trust_remote_code", True, "code of its own"),
    config("attn_implementation", "evil/kernel", "code of its own"),
    config("_attn_implementation", "evil/kernel", "code of its own"),
    config("quantization_config", {"quant_method": "bitsandbytes"}, "quantised weights"),
    raw("4 MB of lists", lambda: b'{"a":[' + b"[]," * 1_390_000 + b"[]]}", "damaged, not JSON"),
    raw("nested 100,000 deep", lambda: b'{"a":' + b"[" * 100_000, "damaged, not JSON"),
    raw("a list", lambda: b"[1]", "wanted a JSON object"),
    raw("NaN", lambda: b'{"model_type": "vit", "layer_norm_eps": NaN}', "damaged, not JSON"),
    Case("config.json: layer_norm_eps 1e999", endless, "wanted a number"),
    raw("no UTF-8", lambda: b'{"\xff": 1}', "damaged, not JSON"),
    raw(
        "a number of 5000 digits",
        lambda: b'{"model_type": "vit", "hidden_size": ' + b"9" * 5000 + b"}",
        "damaged, not JSON",
    ),
    raw("cut short", lambda: b'{"model_type": "vi', "damaged, not JSON"),
    raw("empty", lambda: b"", "damaged, not JSON"),
    raw("a Git LFS pointer", lambda: LFS, "damaged, not JSON"),
    processor("size", {"height": -1, "width": 32}, POSITIVE),
    processor("size", {"height": 10**9, "width": 10**9}, "pixels, more than"),
    processor("image_mean", [0.5], "mean has 1"),
    processor("image_mean", [0.5, 0.5, "x"], "wanted a number"),
    processor("image_std", [0.0, 0.5, 0.5], "std"),
    processor("resample", 99, "resample"),
    processor("do_normalize", "yes", "wanted true or false"),
    processor("image_processor_type", "EvilProcessor", "'EvilProcessor' is not known"),
    raw("a list", lambda: b"[1]", "wanted a JSON object", "preprocessor_config.json"),
    timm({"architecture": "../../evil"}, "architecture"),
    timm({"architecture": 3}, "architecture"),
    timm({"model_args": {"norm_layer": "evil"}}, "norm_layer"),
    timm({"model_args": {"block_fn": "os.system"}}, "block_fn"),
    timm({"model_args": [1]}, "model_args must be an object"),
    timm({"pretrained_cfg": [1]}, "pretrained_cfg must be an object"),
    timm({"pretrained_cfg": {"crop_pct": -1}}, "crop"),
    timm({"pretrained_cfg": {"mean": "x"}}, "wanted a list of numbers"),
]
NUMBERS = [
    weights(
        "block 999999", lambda state: state.update({"blocks.999999.norm1.weight": torch.ones(2)}), "blocks"
    ),
    weights("NaN", nan, r"1 tensors hold NaN or infinity: head\.weight"),
    weights("infinity", lambda state: nan(state, float("inf")), "NaN or infinity"),
    weights("NaN", nan, r"NaN or infinity: head\.weight", pickled=True),
    weights(
        "float8 weights",
        lambda state: state.update({HEAD: state[HEAD].to(torch.float8_e4m3fn)}),
        r"head\.weight \(float8_e4m3fn\)",
    ),
    weights(
        "int8 weights",
        lambda state: state.update({HEAD: state[HEAD].to(torch.int8)}),
        r"head\.weight \(int8\)",
    ),
    weights("bool weights", lambda state: state.update({HEAD: state[HEAD] > 0}), r"head\.weight \(bool\)"),
    weights(
        "complex weights", lambda state: state.update({HEAD: state[HEAD] + 0j}), r"head\.weight \(complex64\)"
    ),
    weights(
        "complex weights",
        lambda state: state.update({HEAD: state[HEAD] + 0j}),
        r"head\.weight \(complex64\)",
        pickled=True,
    ),
    weights(
        "a matrix of another shape",
        lambda state: state.update({"blocks.0.attn.proj.weight": torch.ones(64, 63)}),
        r"wanted 64x64, found 64x63",
    ),
    weights("a tensor too few", lambda state: state.pop("norm.bias"), r"missing: norm\.bias"),
    weights("a tensor too many", lambda state: state.update({"surprise": torch.ones(2)}), "surprise"),
    weights(
        "a table of positions of three axes less",
        lambda state: state.update({"pos_embed": torch.ones(2)}),
        "pos_embed",
    ),
    weights(
        "a patch of 0 pixels",
        lambda state: state.update({"patch_embed.proj.weight": torch.ones(64, 3, 0, 0)}),
        "",
    ),
]
DIRECTORIES = [
    files("nothing", {}, "no weights are there; it is empty"),
    files("only a config.json", {"config.json": b"{}"}, "no weights are there; it holds config.json"),
    files(
        "an unfinished download",
        {"config.json": b"{}", "model.safetensors.incomplete": b"x"},
        "model.safetensors.incomplete: an unfinished download",
    ),
    files(
        "TensorFlow's weights",
        {"config.json": b"{}", "tf_model.h5": b"\x89HDF\r\n\x1a\n"},
        "tf_model.h5: HDF5",
    ),
    files(
        "flax's weights", {"config.json": b"{}", "flax_model.msgpack": b"\x81\xa6params"}, "msgpack, as flax"
    ),
    files("two files of weights", {"a.pth": b"x", "b.pth": b"x"}, "several files of weights"),
    files("a Git LFS pointer", {"config.json": b"{}", "model.safetensors": LFS}, "Git LFS pointer"),
    Case("a pipe", pipe, "no such file of weights"),
    ours(
        "weights of another model",
        lambda directory: (directory / "model.safetensors").write_bytes(b"x"),
        "damaged",
    ),
    ours(
        "a manifest that points outside",
        listing(lambda values: values["files"].update({"../outside": {"size": 1, "sha256": "x"}})),
        "manifest.json is damaged",
    ),
    ours("a manifest of nothing", listing(lambda values: values.update({"files": {}})), "it lists no files"),
    ours(
        "a manifest that is a list",
        lambda directory: (directory / "manifest.json").write_text("[]"),
        "wanted a JSON object",
    ),
    ours(
        "a manifest with other digests",
        listing(lambda values: values["files"]["config.json"].update({"sha256": "0" * 64})),
        "SHA-256",
    ),
    ours("no weights", lambda directory: (directory / "model.safetensors").unlink(), "missing"),
]

CASES = (*CONFIGS, *NUMBERS, *DIRECTORIES)
