"""Annotated data at the command line: what is wrong is told at once, before anything else happens."""

import json
from pathlib import Path

from tests.cli.conftest import Run
from tests.data.test_coco import WRONG, spoilt, values, write


def test_training_is_refused_with_the_whole_list(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    write(tmp_path / "bad", spoilt(), count=5)
    said = run("train", "bad", "--output", "run")
    assert said.code == 2
    assert not (tmp_path / "run").exists()
    assert f"bad: {len(WRONG)} problems in the annotations; correct or remove them:" in said.err
    for _, text in WRONG:
        assert text in said.err


def test_the_doctor_counts_pictures_and_objects(run: Run, tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    write(tmp_path / "good", values())
    said = run("doctor", "good/annotations.json", "--json")
    found = json.loads(said.out)
    assert not any(finding["kind"].startswith("annotation") for finding in found["findings"])
    assert sum(counts["dog"] for counts in found["marked"].values()) == 2
    assert sum(counts["dog"] for counts in found["parts"].values()) == 1
    (tmp_path / "bad").mkdir()
    write(tmp_path / "bad", spoilt(), count=5)
    said = run("doctor", "bad")
    assert said.code == 1
    assert "error: 1 object of an unknown class" in said.out
