"""Photograph the gallery in the report of a pretraining run: python examples/gallery.py RUN PICTURE.png

Needs Chromium with Playwright.
"""

import shutil
import sys
from io import BytesIO
from pathlib import Path

from PIL import Image

WIDTH = 1180  # pixels of the window
COLOURS = 256  # of the picture: flat colours and small photographs need no more


def main(run: str, place: str | Path, cards: int = 6) -> None:
    """Write the first so many cards of RUN/report.html as a PNG."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        tab = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
        tab.goto((Path(run) / "report.html").resolve().as_uri())
        tab.add_style_tag(content=f".gallery figure:nth-child(n + {cards + 1}) {{ display: none; }}")
        picture = tab.locator(".gallery").screenshot()
        browser.close()
    small = Image.open(BytesIO(picture)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    small.save(place, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
