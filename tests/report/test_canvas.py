import xml.etree.ElementTree as ElementTree
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitreous.errors import ConfigError
from vitreous.report.canvas import Canvas
from vitreous.report.marks import Palette, Run

SVG = "{http://www.w3.org/2000/svg}"


def drawing() -> Canvas:
    canvas = Canvas(200, 100, title="Two <boxes> & a line", description="for a test")
    with canvas.group("boxes"):
        canvas.box(10, 10, 40, 30, fill="#ff0000")
        canvas.box(60, 10, 40, 30, fill="#0000ff", opacity=0.5, radius=6)
    canvas.line((10, 60), (190, 60), stroke="#000000", thickness=4)
    canvas.arrow((150, 90), (150, 70))
    canvas.text(20, 90, "a <b> & 中\x00")
    canvas.text(60, 90, [Run("x", italic=True), Run("2", "super"), Run(" y"), Run("i", "sub")])
    canvas.picture(110, 10, 40, 30, Image.new("RGB", (2, 1), (0, 255, 0)), pixelated=True)
    return canvas


def test_svg_is_well_formed_and_speaks() -> None:
    root = ElementTree.fromstring(drawing().svg())
    assert root.get("viewBox") == "0 0 200 100"
    assert root.findtext(f"{SVG}title") == "Two <boxes> & a line"
    assert root.findtext(f"{SVG}desc") == "for a test"
    assert [group.get("data-name") for group in root.iter(f"{SVG}g")] == ["boxes"]
    words = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert words == ["a <b> & 中", "x2 yi"]
    picture = next(root.iter(f"{SVG}image"))
    assert picture.get("href", "").startswith("data:image/png;base64,")


def test_raised_letters_come_back_to_the_line() -> None:
    root = ElementTree.fromstring(drawing().svg())
    moves = [float(part.get("dy", 0)) for part in root.iter(f"{SVG}tspan")]
    assert moves[-1] == pytest.approx(0.22 * 12, abs=0.01)
    assert sum(moves[:3]) == pytest.approx(0, abs=0.01)


def test_colours_follow_the_page_where_asked() -> None:
    canvas = Canvas(10, 10, title="t")
    canvas.box(0, 0, 5, 5, fill=Palette.ACCENT, stroke="#123456")
    assert Palette.ACCENT in canvas.svg() and "var(" not in canvas.svg()
    assert 'fill="var(--accent)"' in canvas.svg(themed=True)
    assert '"#123456"' in canvas.svg(themed=True)


def test_pixels_are_where_they_were_drawn() -> None:
    pixels = np.asarray(drawing().raster(scale=2)).astype(int)
    assert pixels.shape == (200, 400, 3)
    assert pixels[50, 60].tolist() == [255, 0, 0]
    assert pixels[50, 160].tolist() == [128, 128, 255]  # half blue on white
    assert pixels[50, 260].tolist() == [0, 255, 0]
    assert pixels[120, 200].tolist() == [0, 0, 0]
    assert pixels[198, 398].tolist() == [255, 255, 255]
    assert (pixels[150:190, 40:110] < 128).any()  # letters


def test_turned_text_is_turned() -> None:
    canvas = Canvas(100, 100, title="t")
    canvas.text(50, 90, "upwards", size=14, turn=-90)
    dark = np.argwhere(np.asarray(canvas.raster(1).convert("L")) < 128)
    height, width = np.ptp(dark, axis=0)
    assert height > 2 * width
    assert dark[:, 0].max() <= 91 and dark[:, 1].max() <= 53


def test_files_are_written_by_suffix(tmp_path: Path) -> None:
    canvas = drawing()
    canvas.save(tmp_path / "figure.svg")
    canvas.save(tmp_path / "figure.PNG")
    assert (tmp_path / "figure.svg").read_text("utf-8") == canvas.svg()
    assert Image.open(BytesIO((tmp_path / "figure.PNG").read_bytes())).size == (400, 200)
    with pytest.raises(ConfigError, match=r"wanted \.svg or \.png"):
        canvas.save(tmp_path / "figure.pdf")
    assert not (tmp_path / "figure.pdf").exists()
