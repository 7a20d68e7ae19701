"""What the documentation shows is drawn by a file that runs."""

import importlib.util
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from vitreous.training.fit import fit
from vitreous.training.recipes import digits

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium to photograph the page with")
def test_the_pictures_of_the_documentation_can_be_drawn_anew(tmp_path: Path) -> None:
    specification = importlib.util.spec_from_file_location("pictures", ROOT / "examples" / "pictures.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    run = fit(replace(digits("digits", str(tmp_path / "run")), epochs=1, workers=0))
    module.main(str(run.path), tmp_path / "pictures")
    drawn = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    shown = sorted(path.name for path in (ROOT / "docs" / "pictures").iterdir())
    assert drawn == shown
    for readme in ("README.md", "README.zh-CN.md"):
        text = (ROOT / readme).read_text()
        assert all(f"docs/pictures/{name}" in text for name in shown)


def test_the_two_readmes_have_the_same_shape() -> None:
    english, chinese = ((ROOT / name).read_text().splitlines() for name in ("README.md", "README.zh-CN.md"))
    for mark in ("## ", "```", "| ", "!["):
        counts = [sum(line.startswith(mark) for line in text) for text in (english, chinese)]
        assert counts[0] == counts[1], mark
    fenced = [_commands(text) for text in (english, chinese)]
    assert fenced[0] == fenced[1]


def _commands(lines: list[str]) -> list[str]:
    """The fenced lines without what is said beside them, which is in the reader's language."""
    inside, found = False, []
    for line in lines:
        if line.startswith("```"):
            inside = not inside
        elif inside:
            found.append(line.split("  ")[0].split(" #")[0].strip())
    return found
