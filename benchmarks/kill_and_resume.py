"""Kill a training run with SIGKILL at random moments, resume it, and compare every bit of its end.

    python -m benchmarks.kill_and_resume [--kills 20]

Weights, averaged and best weights, the optimizer's moments and metrics.jsonl of each killed and resumed
run are compared with those of a run that was never stopped. Negative control: a run whose newest state
was replaced by an older step's counters must end with other bits.
"""

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from safetensors.torch import load_file
from torch import equal

SETTINGS = ("epochs=12", "save_seconds=0.2", "evaluate_every=2", "model.options.drop_path=0.1")


def command(output: Path, *, resume: bool) -> list[str]:
    """The run of the digits recipe that is killed."""
    line = [sys.executable, "-m", "vitreous", "train", "digits", "--output", str(output)]
    for setting in SETTINGS:
        line += ["--set", setting]
    return [*line, "--resume"] if resume else line


def finish(output: Path, *, resume: bool) -> float:
    """Run to the end; returns the seconds."""
    begun = time.monotonic()
    subprocess.run(
        command(output, resume=resume), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return time.monotonic() - begun


def kill_after(output: Path, seconds: float, *, resume: bool) -> bool:
    """Start or go on, kill after so many seconds; False where the run ended before."""
    process = subprocess.Popen(
        command(output, resume=resume), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True
    return False


def differences(one: Path, other: Path) -> list[str]:
    """The names of what is not equal, bit for bit."""
    first, second = (
        load_file(sorted((run / "state").glob("step-*"))[-1] / "tensors.safetensors") for run in (one, other)
    )
    found = [name for name in first if name not in second or not equal(first[name], second[name])]
    found += [name for name in second if name not in first]
    if (one / "metrics.jsonl").read_bytes() != (other / "metrics.jsonl").read_bytes():
        found.append("metrics.jsonl")
    return found


def main() -> None:
    """Print a line for each kill, and the count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    dice = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        seconds = finish(root / "whole", resume=False)
        print(f"a run takes {seconds:.1f} s; killing {arguments.kills} at random moments of it", flush=True)
        same = kills = 0
        for number in range(arguments.kills):
            run = root / f"killed-{number}"
            moments = [dice.uniform(0.5, seconds)]
            kills += kill_after(run, moments[0], resume=False)
            if dice.random() < 0.5:  # half of them are killed a second time, after going on
                moments.append(dice.uniform(0.5, seconds))
                kills += kill_after(run, moments[1], resume=True)
            finish(run, resume=True)
            found = differences(root / "whole", run)
            same += not found
            at = " and ".join(f"{moment:.1f} s" for moment in moments)
            print(f"{number + 1:3}  killed at {at}: {'identical' if not found else found[:4]}", flush=True)
            shutil.rmtree(run)
        print(f"{same} of {arguments.kills} identical after {kills} kills")
        print(f"negative control, a state moved back: {control(root)}")


def control(root: Path) -> str:
    """A state whose counters are older than its weights must be found out by the comparison."""
    run = root / "control"
    kill_after(run, 0.7 * finish_time(root), resume=False)
    states = sorted((run / "state").glob("step-*"))
    counters = json.loads((states[-1] / "counters.json").read_text())
    counters["step"] -= 1
    (states[-1] / "counters.json").write_text(json.dumps(counters))
    (states[-1] / "manifest.json").write_text(_manifest(states[-1]))
    finish(run, resume=True)
    return "found out" if differences(root / "whole", run) else "NOT found out"


def finish_time(root: Path) -> float:
    """Seconds between the first and the last file of the whole run."""
    whole = root / "whole"
    return (whole / "best" / "config.json").stat().st_mtime - (whole / "config.json").stat().st_mtime + 4


def _manifest(state: Path) -> str:
    from vitreous.checkpoints.directory import sha256

    files = {
        name: {"size": (state / name).stat().st_size, "sha256": sha256(state / name)}
        for name in ("counters.json", "tensors.safetensors")
    }
    return json.dumps({"files": files})


if __name__ == "__main__":
    main()
