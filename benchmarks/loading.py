"""What it costs to load a ViT-L/16 (1.2 GB in float32), beside the library that wrote the file.

    python -m benchmarks.loading [--rounds 7] [--only timm torchvision ...]

Files with random values are made in a temporary folder. Every figure comes from a process of its own,
which first imports all it needs and loads a tiny model of the same layout, so that neither imports nor
first calls are counted; then it loads the large one and sums every parameter, so that all weights are in
memory on both sides. Both sides run in turn, with the file in the system's cache; times are medians.

Peak memory is how far the process's resident set rose above what it was before. Pages of the file that
are mapped count as soon as they are touched, though the system shares them and may drop them; how many of
the pages are such stands beside it. Bars: 1.3 times the file, and the time of the library. Our own
directory has no rival: beside it stands the least that checks a SHA-256 and reads safetensors.
Exit code 1 where a bar is missed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

LARGE = {"width": 1024, "depth": 24, "heads": 16, "patch": 16, "side": 224, "classes": 1000}
TINY = {"width": 192, "depth": 2, "heads": 3, "patch": 8, "side": 32, "classes": 5}
MEMORY_BAR, TIME_BAR = 1.3, 1.0
Sizes = dict[str, int]


class Cost(NamedTuple):
    """One load: seconds, bytes above the baseline at the peak, and how many of them are mapped."""

    seconds: float
    peak: int
    mapped: int


# Writing: each library's own way.


def make_timm(path: Path, sizes: Sizes) -> Path:
    """A directory of ``save_for_hf``."""
    from timm.models import save_for_hf

    save_for_hf(_timm(sizes), str(path), safe_serialization=True)
    return path


def make_transformers(path: Path, sizes: Sizes) -> Path:
    """A directory of ``save_pretrained``."""
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=sizes["width"],
        num_hidden_layers=sizes["depth"],
        num_attention_heads=sizes["heads"],
        intermediate_size=4 * sizes["width"],
        image_size=sizes["side"],
        patch_size=sizes["patch"],
        num_labels=sizes["classes"],
    )
    ViTForImageClassification(config).save_pretrained(path)
    return path


def make_torchvision(path: Path, sizes: Sizes) -> Path:
    """A state dict of ``torch.save``."""
    import torch

    state = _torchvision(sizes).state_dict()
    torch.save(state, path.with_suffix(".pth"))
    return path.with_suffix(".pth")


def make_google(path: Path, sizes: Sizes) -> Path:
    """An ``.npz`` with Google's names and order of axes."""
    import numpy as np

    generator = np.random.default_rng(0)
    width, heads, patch, side = (sizes[key] for key in ("width", "heads", "patch", "side"))
    shapes: dict[str, tuple[int, ...]] = {
        "embedding/kernel": (patch, patch, 3, width),
        "embedding/bias": (width,),
        "cls": (1, 1, width),
        "Transformer/posembed_input/pos_embedding": (1, 1 + (side // patch) ** 2, width),
        "Transformer/encoder_norm/scale": (width,),
        "Transformer/encoder_norm/bias": (width,),
        "head/kernel": (width, sizes["classes"]),
        "head/bias": (sizes["classes"],),
    }
    for index in range(sizes["depth"]):
        block = f"Transformer/encoderblock_{index}"
        attention = f"{block}/MultiHeadDotProductAttention_1"
        for part in ("query", "key", "value"):
            shapes[f"{attention}/{part}/kernel"] = (width, heads, width // heads)
            shapes[f"{attention}/{part}/bias"] = (heads, width // heads)
        shapes |= {
            f"{attention}/out/kernel": (heads, width // heads, width),
            f"{attention}/out/bias": (width,),
        }
        for layer, (inside, outside) in enumerate(((width, 4 * width), (4 * width, width))):
            shapes |= {
                f"{block}/MlpBlock_3/Dense_{layer}/kernel": (inside, outside),
                f"{block}/MlpBlock_3/Dense_{layer}/bias": (outside,),
            }
        for norm in ("LayerNorm_0", "LayerNorm_2"):
            shapes |= {f"{block}/{norm}/scale": (width,), f"{block}/{norm}/bias": (width,)}
    arrays = {key: generator.standard_normal(shape, dtype=np.float32) / 32 for key, shape in shapes.items()}
    np.savez(path.with_suffix(".npz"), **arrays)
    return path.with_suffix(".npz")


def make_vitreous(path: Path, sizes: Sizes) -> Path:
    """A directory of ours."""
    import vitreous

    options = {key: sizes[key] for key in ("width", "depth", "heads", "patch")}
    model = vitreous.create("vit_b_16", classes=sizes["classes"], image_size=sizes["side"], **options)
    classes = tuple(f"class {index}" for index in range(sizes["classes"]))
    preprocess = vitreous.Preprocess(size=(sizes["side"], sizes["side"]), shorter=None)
    vitreous.save(vitreous.Predictor(model, preprocess, classes, device="cpu"), path)
    return path


def _timm(sizes: Sizes) -> Any:
    import timm

    return timm.create_model(
        f"vit_{'large' if sizes is LARGE else 'tiny'}_patch16_224",
        img_size=sizes["side"],
        patch_size=sizes["patch"],
        embed_dim=sizes["width"],
        depth=sizes["depth"],
        num_heads=sizes["heads"],
        num_classes=sizes["classes"],
    )


def _torchvision(sizes: Sizes) -> Any:
    from torchvision.models import VisionTransformer

    return VisionTransformer(
        image_size=sizes["side"],
        patch_size=sizes["patch"],
        num_layers=sizes["depth"],
        num_heads=sizes["heads"],
        hidden_dim=sizes["width"],
        mlp_dim=4 * sizes["width"],
        num_classes=sizes["classes"],
    )


# Reading: the library's own way, each returning its tensors.


def load_timm(path: Path, sizes: Sizes) -> Any:
    """``create_model(pretrained)`` of a local directory."""
    import timm

    return timm.create_model(f"local-dir:{path}", pretrained=True).parameters()


def load_transformers(path: Path, sizes: Sizes) -> Any:
    """``from_pretrained``."""
    from transformers import ViTForImageClassification

    return ViTForImageClassification.from_pretrained(path).parameters()


def load_torchvision(path: Path, sizes: Sizes) -> Any:
    """``load_state_dict`` of what ``torch.load`` gives."""
    import torch

    model = _torchvision(sizes)
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.parameters()


def load_google(path: Path, sizes: Sizes) -> Any:
    """timm's loader of Google's files: Google's own is in jax."""
    model = _timm(sizes)
    model.load_pretrained(str(path))
    return model.parameters()


def load_least(path: Path, sizes: Sizes) -> Any:
    """The SHA-256 of the weights, and their tensors: no model, no manifest."""
    import hashlib

    from safetensors.torch import load_file

    with (path / "model.safetensors").open("rb") as file:
        hashlib.file_digest(file, "sha256").hexdigest()
    return load_file(path / "model.safetensors").values()


def load_vitreous(path: Path, sizes: Sizes) -> Any:
    """Ours, whatever it is."""
    from vitreous.checkpoints.source import read_any

    return read_any(path).model.parameters()


class Layout(NamedTuple):
    """Who writes it, and who else reads it."""

    make: Callable[[Path, Sizes], Path]
    rival: Callable[[Path, Sizes], Any]
    rival_name: str


LAYOUTS = {
    "timm": Layout(make_timm, load_timm, "timm"),
    "transformers": Layout(make_transformers, load_transformers, "transformers"),
    "torchvision": Layout(make_torchvision, load_torchvision, "torchvision"),
    "google": Layout(make_google, load_google, "timm"),
    "vitreous": Layout(make_vitreous, load_least, "SHA-256 + safetensors"),
}


def resident() -> tuple[int, int, int]:
    """Bytes of this process: at the peak so far, now, and of the latter mapped from files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = {
        line.split(":")[0]: line.split()[1]
        for line in lines
        if line.startswith(("VmHWM", "VmRSS", "RssFile"))
    }
    peak, now, mapped = (int(found[key]) * 1024 for key in ("VmHWM", "VmRSS", "RssFile"))
    return peak, now, mapped


def child(load: Callable[[Path, Sizes], Any], tiny: Path, large: Path) -> Cost:
    """Load once and measure; in a process that does nothing else."""
    warnings.simplefilter("ignore")
    touch(load(tiny, TINY))
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    _, before, mapped_before = resident()
    started = time.perf_counter()
    tensors = list(load(large, LARGE))
    touch(tensors)
    seconds = time.perf_counter() - started
    peak, _, mapped = resident()
    return Cost(seconds, peak - before, mapped - mapped_before)


def touch(tensors: Any) -> float:
    """The sum of every number: none can stay on the disk."""
    return sum(float(tensor.detach().sum()) for tensor in tensors)


def measured(kind: str, side: str, tiny: Path, large: Path) -> Cost:
    """One load in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.loading", "--child", kind, side, str(tiny), str(large)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def compare(kind: str, folder: Path, rounds: int) -> bool:
    """One row of the table; whether both bars are kept."""
    layout = LAYOUTS[kind]
    tiny, large = (
        layout.make(folder / f"{kind}-{size}", sizes) for size, sizes in (("tiny", TINY), ("large", LARGE))
    )
    files = [large] if large.is_file() else list(large.iterdir())
    size = sum(file.stat().st_size for file in files)
    for file in files:
        with file.open("rb") as opened:
            while opened.read(2**24):
                pass
    pairs = [
        (measured(kind, "ours", tiny, large), measured(kind, "theirs", tiny, large)) for _ in range(rounds)
    ]
    ours, theirs = zip(*pairs, strict=True)
    seconds = [statistics.median(cost.seconds for cost in costs) for costs in (ours, theirs)]
    peaks = [max(cost.peak for cost in costs) / size for costs in (ours, theirs)]
    mapped = max(cost.mapped for cost in ours) / size
    kept = peaks[0] <= MEMORY_BAR and (kind == "vitreous" or seconds[0] <= TIME_BAR * seconds[1])
    times = f"{seconds[0]:>8.2f} s {seconds[1]:>8.2f} s {seconds[0] / seconds[1]:>7.2f}"
    memory = f"{peaks[0]:>8.2f} {mapped:>8.2f} {peaks[1]:>8.2f}"
    verdict = ("kept" if kept else "MISSED") + (", by memory alone" if kind == "vitreous" else "")
    print(f"{kind:<14}{size / 1e9:>6.2f} GB {times} {memory}  {layout.rival_name}: {verdict}", flush=True)
    return kept


def main() -> int:
    """Print the table; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="+", choices=list(LAYOUTS), default=list(LAYOUTS))
    parser.add_argument("--child", nargs=4, metavar=("KIND", "SIDE", "TINY", "LARGE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        kind, side, tiny, large = arguments.child
        load = load_vitreous if side == "ours" else LAYOUTS[kind].rival
        print(json.dumps(child(load, Path(tiny), Path(large))._asdict()))
        return 0
    print(f"ViT-L/16 in float32; medians of {arguments.rounds} rounds in turn; peaks in sizes of the file")
    titles = f"{'vitreous':>10} {'rival':>10} {'ratio':>7} {'peak':>8} {'mapped':>8} {'rival':>8}"
    print(f"{'layout':<14}{'file':>9} {titles}  bars: peak <= {MEMORY_BAR}, ratio <= {TIME_BAR}")
    kept = []
    for kind in arguments.only:
        with tempfile.TemporaryDirectory() as folder:
            kept.append(compare(kind, Path(folder), arguments.rounds))
    return 0 if all(kept) else 1


if __name__ == "__main__":
    raise SystemExit(main())
