"""The pages about objects and regions in a real browser."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from vitreous.report.objects_page import objects_page
from vitreous.report.regions_page import regions_page

from .dense_models import dense_predictor
from .test_page_in_browser import HOSTILE, Visit
from .test_page_in_browser import browser as browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CLASSES = ("<b>ant</b>", "bee", "cat", "dog", "eel")


@pytest.fixture(scope="module")
def found(cat: Image.Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "found.html"
    predictor = dense_predictor("detr_vit_tiny", classes=CLASSES, shorter=80)
    path.write_text(objects_page(predictor, cat, HOSTILE, threshold=0.0), "utf-8")
    return path


@pytest.fixture(scope="module")
def painted(cat: Image.Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "painted.html"
    predictor = dense_predictor("segformer_tiny", classes=CLASSES)
    path.write_text(regions_page(predictor, cat, HOSTILE, places=4, at=(20, 250)), "utf-8")
    return path


def test_a_box_a_line_and_a_small_picture_choose_an_object(browser: "Browser", found: Path) -> None:
    with Visit(browser, found) as visit:
        page = visit.page
        assert page.locator("#object-0").get_attribute("aria-pressed") == "true"
        first = visit.pixels("heat")
        page.locator("#object-3").click()
        assert page.locator("#box-3").get_attribute("aria-pressed") == "true"
        second = visit.pixels("heat")
        assert second != first
        page.locator("#box-0").focus()
        page.keyboard.press("Enter")
        assert visit.pixels("heat") == first
        page.locator("#small-3").click()
        assert visit.pixels("heat") == second
        label = page.locator("#object-3 .name").inner_text().strip()
        assert f"“{label}”" in page.locator("#told").inner_text()
        assert page.locator("#shares tr").count() == 5
        page.get_by_label("Decoder attention").check()
        assert visit.pixels("heat") != second
        assert "the last of 3 layers" in page.locator("#told").inner_text()
        third = visit.pixels("heat")
        page.get_by_label("Gradient").check()
        assert visit.pixels("heat") not in (second, third)
        assert "gradient times activation" in page.locator("#told").inner_text()
        page.get_by_label("Picture", exact=True).check()
        assert page.locator("#heat").is_hidden() and "dashed frame" in page.locator("#told").inner_text()


def test_a_place_is_chosen_by_mouse_and_by_keys(browser: "Browser", painted: Path) -> None:
    with Visit(browser, painted) as visit:
        page, told = visit.page, visit.page.locator("#told")
        assert told.inner_text().startswith("Pixel 20, 250: ")
        first = visit.pixels("heat")
        box = page.locator("#ask").bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + 0.1 * box["height"])
        assert told.inner_text().startswith("Pixel 394, 50: ")
        assert visit.pixels("heat") != first
        page.locator("#ask").focus()
        page.keyboard.press("ArrowLeft")
        assert told.inner_text().startswith("Pixel 281, 50: ")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        assert told.inner_text().startswith("Pixel 281, 250: ")
        page.locator("#class-0").click()
        assert told.inner_text().startswith("What the region of “")
        assert page.locator("#mark").is_hidden()
        page.get_by_label("Classes").check()
        assert page.locator("#classes").is_visible() and page.locator("#heat").is_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [380, 1240])
@pytest.mark.parametrize("name", ["found", "painted"])
def test_nothing_is_wider_than_the_window(
    browser: "Browser", request: pytest.FixtureRequest, name: str, width: int, scheme: str
) -> None:
    with Visit(browser, request.getfixturevalue(name), width=width, scheme=scheme) as visit:
        wide = visit.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width
        colour = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(int(part) for part in colour[4:-1].split(",")) > 380) == (scheme == "light")
        visit.page.locator("#theme").click()
        assert visit.page.evaluate("getComputedStyle(document.body).backgroundColor") != colour


def test_where_nothing_was_found_the_page_has_no_errors(
    browser: "Browser", cat: Image.Image, tmp_path: Path
) -> None:
    path = tmp_path / "nothing.html"
    path.write_text(objects_page(dense_predictor("detr_resnet_tiny"), cat, "x", threshold=0.9999), "utf-8")
    with Visit(browser, path) as visit:
        assert "Nothing was found above 0.9999" in visit.page.locator("h1 + p").inner_text()
