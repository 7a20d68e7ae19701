"""Whether ``vitreous advise`` keeps to its budget, and whether its advice follows from its own table.

    python -m benchmarks.advisor [--budget 5m] [--data digits,scenes:hard]

Each data set is advised on in a process of its own, timed from its start to its end. Bars: no longer than
the budget and a tenth, and no recommendation of a candidate that the table itself shows beaten beyond noise.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from vitreous.cli.advise import parse_budget

LATE = 1.1  # times the budget


def advised(data: str, budget: str) -> tuple[dict[str, object], float]:
    """What is printed as JSON, and the seconds that the whole process took."""
    with TemporaryDirectory() as folder:
        page = Path(folder) / "advice.html"
        command = [sys.executable, "-m", "vitreous", "advise", data, "--budget", budget, "--json"]
        begun = perf_counter()
        done = subprocess.run(
            [*command, "--output", str(page)], check=True, stdout=subprocess.PIPE, text=True
        )
        return json.loads(done.stdout), perf_counter() - begun


def main() -> None:
    """Print a table for each data set, and the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--budget", default="5m")
    parser.add_argument("--data", default="digits,scenes:hard")
    arguments = parser.parse_args()
    budget = parse_budget(arguments.budget)
    for data in arguments.data.split(","):
        advice, seconds = advised(data, arguments.budget)
        rows = advice["candidates"]
        chosen = advice["recommended"]
        print(f"{data}: {advice['pictures']} held-out pictures in {advice['folds']} folds")
        for row in rows:  # type: ignore[attr-defined]
            if row["accuracy"] is None:
                print(f"    {row['title']:<44} {row['status']}: {row['why']}")
                continue
            found = row["accuracy"]
            mark = "*" if row["candidate"] == chosen else " "
            beaten = "  beaten beyond noise" if row["beaten"] else ""
            print(
                f"  {mark} {row['title']:<44} {found['value']:>6.1%}"
                f"  {found['low']:.1%} to {found['high']:.1%}  {row['seconds']:>5.0f} s{beaten}"
            )
        late = "kept" if seconds <= LATE * budget else "MISSED"
        # What the recommended one has over another is below zero, all of its interval.
        wrong = [row for row in rows if row["behind"] and row["behind"]["high"] < 0]  # type: ignore[attr-defined]
        print(f"  {seconds:.0f} s of {budget:.0f}: {late} (<= {LATE * budget:.0f} s)")
        print(f"  recommended {chosen}: {'MISSED, it is beaten' if wrong else 'kept, nobody beats it'}")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
