"""The ledger of preprocessing, row by row; the page that shows both ledgers; and a proof for every family."""

from pathlib import Path

import pytest

from tests.parity.case import Case
from tests.parity.cases import CASES
from tests.parity.preprocess_case import LEVELS, PreprocessCase, measure
from tests.parity.preprocess_cases import PREPROCESS
from vitreous.checkpoints.certificate import CERTIFICATE, NotTheSame
from vitreous.checkpoints.conversion import convert, open_origin
from vitreous.checkpoints.destination import LAYOUTS
from vitreous.checkpoints.directory import read_json
from vitreous.checkpoints.verify import prover
from vitreous.data.photographs import photographs
from vitreous.errors import CheckpointError

pytest.importorskip("timm")
pytest.importorskip("transformers")

PAGE = (Path(__file__).parent.parent.parent / "docs" / "parity.md").read_text()
LARGE = ("resnet50", "efficientnet_b7", "regnet_y_16gf")  # of the size in which they are published
SMALL = [case for case in CASES if not case.family.endswith(LARGE)]


@pytest.mark.parametrize(
    "case", [case for case in PREPROCESS if case.family != "convnet"], ids=lambda case: case.name
)
def test_pixels_are_the_same(case: PreprocessCase, tmp_path: Path) -> None:
    found = measure(case, tmp_path / "theirs")
    assert found
    for apart in found:
        assert apart.pictures >= 6
        assert apart.most < (LEVELS if apart.exact else 16 * LEVELS), apart
        assert apart.mean < LEVELS / 2, apart


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_every_family_is_converted_with_proof(case: Case, tmp_path: Path) -> None:
    origin = open_origin(str(case.build(tmp_path / "theirs").path))
    layout = "vitreous" if case.back is None else case.layout or case.library
    pictures = photographs()[2:5]
    convert(origin, tmp_path / "there", layout, prove=prover(origin, "there", layout, pictures))
    found = read_json(tmp_path / "there" / CERTIFICATE, CERTIFICATE)
    parts = [check["part"] for check in found["checks"] if check["what"] == "logits"]
    # DALL-E's classes compute in float32 alone.
    each = 3 if case.library == "dall_e" else 6
    assert parts.count("destination") == (each if case.back is not None else 0)
    if case.library in ("timm", "transformers"):
        assert parts.count("source") == 6
    else:
        assert parts.count("source") == 6 or found["not_run"][0].startswith("source: ")


@pytest.mark.parametrize(
    ("case", "layout"),
    [(case, layout) for case in SMALL for layout in LAYOUTS[1:] if layout != case.library],
    ids=lambda part: part.name if isinstance(part, Case) else part,
)
def test_another_librarys_layout_is_proven_or_refused(case: Case, layout: str, tmp_path: Path) -> None:
    origin = open_origin(str(case.build(tmp_path / "theirs").path))
    pictures = photographs()[2:4]
    try:
        convert(origin, tmp_path / "there", layout, prove=prover(origin, "there", layout, pictures))
    except CheckpointError as refused:
        assert "cannot hold" in str(refused) or "has no class for" in str(refused)
    except NotTheSame as difference:
        # The view is smaller than the native picture, which timm's directory does not say.
        assert layout == "timm" and "preprocessing size (224, 224) became" in str(difference)
    else:
        assert read_json(tmp_path / "there" / CERTIFICATE, CERTIFICATE)["verdict"] == "passed"


def test_the_page_shows_every_row() -> None:
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.splitlines()]
    rows = [line for line in lines if len(line) > 5]
    for case in CASES:
        reference = " ".join((case.library, *case.family.split()[1:]))
        ways = {row[1] for row in rows if row[0] == reference}
        assert ways >= ({"read", "written"} if case.back is not None else {"read"}), case.name
    for case in PREPROCESS:
        assert [case.library, case.title] in [row[:2] for row in rows], case.name
    assert "MISSED" not in PAGE
    assert "Every bound is kept." in PAGE
