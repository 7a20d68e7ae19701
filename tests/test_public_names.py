"""The public names: sorted, importable, known to type checkers, and free until they are touched."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import vitreous

SOURCE = Path(vitreous.__file__).read_text()


def test_the_list_is_sorted_and_has_no_name_twice() -> None:
    assert vitreous.__all__ == sorted(set(vitreous.__all__))


@pytest.mark.parametrize("name", vitreous.__all__)
def test_every_name_can_be_imported(name: str) -> None:
    value = getattr(vitreous, name)
    assert callable(value)
    assert getattr(value, "__doc__", None)


def test_the_list_and_the_lazy_table_agree() -> None:
    assert set(vitreous._HOMES) == set(vitreous.__all__) - {"create"}


def test_type_checkers_see_the_same_names() -> None:
    seen: set[str] = set()
    for node in ast.parse(SOURCE).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for line in node.body:
                if isinstance(line, ast.ImportFrom) and str(line.module).startswith("vitreous"):
                    seen |= {alias.asname or "" for alias in line.names}
    assert seen == set(vitreous._HOMES)


def test_star_imports_and_dir_have_the_names() -> None:
    names: dict[str, object] = {}
    exec("from vitreous import *", names)
    assert set(vitreous.__all__) <= set(names)
    assert set(vitreous.__all__) <= set(dir(vitreous))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'distil'"):
        vitreous.distil  # noqa: B018


def test_the_version_is_that_of_the_installed_package() -> None:
    from importlib.metadata import version

    assert vitreous.__version__ == version("vitreous")


def test_rooms_that_are_called_are_still_rooms() -> None:
    from vitreous.models import catalog

    assert vitreous.models("vit_b_*") == catalog.names("vit_b_*")
    assert vitreous.models.catalog is catalog
    assert vitreous.explain.__name__ == "vitreous.explain"


def test_a_room_is_callable_whichever_way_it_was_imported() -> None:
    script = "import vitreous.models.catalog, vitreous; print(vitreous.models('vit_ti_16'))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "('vit_ti_16',)\n"


def test_models_are_created_by_name_with_options() -> None:
    model = vitreous.create("vit_tiny", classes=("cat", "dog"), image_size=(16, 24), channels=1, registers=2)
    assert model.config.classes == 2
    assert model.config.backbone.image_size == (16, 24)
    assert model.config.backbone.channels == 1
    assert model.config.backbone.registers == 2
    with pytest.raises(vitreous.ConfigError, match="did you mean 'registers'"):
        vitreous.create("vit_tiny", register=2)
