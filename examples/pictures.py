"""Draw the pictures of the documentation anew: python examples/pictures.py RUN (a run of the demo).

Needs scikit-image for the cat, and Chromium with Playwright for the picture of the page.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import skimage.data
from PIL import Image

import vitreous
from vitreous.data.folder import read_data
from vitreous.explain.overlay import overlay
from vitreous.report.figures import patch_figure, strip_figure
from vitreous.report.page import explanation_page

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
DIGIT = 12  # of the test part


def main(run: str, pictures: Path = PICTURES) -> None:
    """Write all pictures into a folder."""
    pictures.mkdir(parents=True, exist_ok=True)
    cat = Image.fromarray(skimage.data.chelsea())
    patch_figure(cat).save(pictures / "patches.svg")
    predictor = vitreous.load(run, device="cpu")
    test = read_data("digits").test
    assert test is not None
    sample = test.samples[DIGIT]
    picture = sample.open()
    overlays = []
    for method in ("attention", "rollout", "relevance"):
        found = vitreous.explain(predictor, picture, method=method)
        overlays.append((f"{method} for {found.label!r}", overlay(picture, found.heat)))
    strip_figure(picture, overlays).save(pictures / "explanation.svg")
    page = explanation_page(predictor, picture, f"{sample.name}.png")
    photograph(page, pictures / "explanation-page.png")


def photograph(page: str, place: Path) -> None:
    """A page as a browser shows it, with a patch chosen."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "page.html"
        file.write_text(page)
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        tab = browser.new_page(viewport={"width": 1180, "height": 1560})
        tab.goto(file.as_uri())
        tab.screenshot(path=place)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
