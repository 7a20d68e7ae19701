"""``vitreous doctor``: a report for people, one for machines, and an exit code for scripts."""

import json
from pathlib import Path

from tests.cli.conftest import Run, write_pictures


def test_sound_data_is_called_sound(run: Run, pictures: Path) -> None:
    said = run("doctor", "pictures")
    assert (said.code, said.err) == (0, "")
    assert "11 pictures, 0 unreadable" in said.out
    assert said.rows[said.rows.index(["class", "train", "validation", "test"]) + 1] == ["ant", "4", "1", "1"]


def test_what_spoils_scores_is_an_exit_code_of_one(run: Run, tmp_path: Path) -> None:
    write_pictures(tmp_path / "data" / "train", {"ant": 3, "bee": 3})
    write_pictures(tmp_path / "data" / "test", {"ant": 1, "bee": 1}, seed=1)
    (tmp_path / "data/test/ant/00.png").write_bytes((tmp_path / "data/train/ant/01.png").read_bytes())
    (tmp_path / "data/train/bee/02.png").write_bytes(b"")
    said = run("doctor", "data")
    assert said.code == 1
    assert "error: 1 picture in more than one part" in said.out
    assert "train/ant/01.png" in said.out
    found = run("doctor", "data", "--json")
    assert (found.code, found.err) == (1, "")
    result = json.loads(found.out)
    assert result["ok"] is False
    assert {finding["kind"] for finding in result["findings"]} >= {"leak", "unreadable", "tiny_class"}


def test_a_folder_without_labels_can_be_examined(run: Run, pictures: Path) -> None:
    said = run("doctor", "pictures/ant")
    assert said.code == 0
    assert "(no label)" in said.out
