"""The house stands: imports point down, the picture of it is true, and no file has grown past one idea."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "vitreous"
FILES = sorted(SOURCE.rglob("*.py"))


def test_imports_point_down_and_rooms_of_a_floor_do_not_know_one_another() -> None:
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0


def test_the_picture_of_the_architecture_names_every_file_and_no_other() -> None:
    picture = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"^ {2,}([a-z_0-9/]+\.py)\b", picture, flags=re.MULTILINE))
    there = {
        str(file.relative_to(SOURCE)) for file in FILES if file.name not in ("__init__.py", "__main__.py")
    }
    assert named == there


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_a_file_is_one_idea(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= 400


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_public_things_have_docstrings_and_the_library_does_not_print(file: Path) -> None:
    tree = ast.parse(file.read_text())
    assert ast.get_docstring(tree), "a file says what it is for"
    for definition in public(tree):
        assert ast.get_docstring(definition), f"{definition.name} at line {definition.lineno}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            assert "cli" in file.parts, f"print at line {node.lineno}"


def public(scope: ast.Module | ast.ClassDef) -> Iterator[ast.ClassDef | ast.FunctionDef]:
    """Classes and functions that others may use, and the methods of such classes."""
    for node in scope.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef) or node.name.startswith("_"):
            continue
        if any("overload" in ast.unparse(part) for part in node.decorator_list):
            continue
        yield node
        if isinstance(node, ast.ClassDef):
            yield from public(node)
