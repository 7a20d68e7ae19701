"""The pages in a real browser: Debian's Chromium, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from vitreous.report.page import RunReport, explanation_page, run_page
from vitreous.report.run_page import Trio

from .conftest import Make

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
HOSTILE = "<img src=http://127.0.0.1:9/x onerror=alert(1)>'\"&.png"


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium on a machine of the CI; its set-up installs Debian's package")
        pytest.skip("no chromium found; install it with: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


class Visit:
    """A page that is open, and all that it complained about or asked the network for."""

    def __init__(self, browser: "Browser", path: Path, *, width: int = 1240, scheme: str = "light") -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, has_touch=width < 500
        )
        self.page: Page = self.context.new_page()
        self.troubles: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.troubles.append(message.text))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("dialog", lambda dialog: self.troubles.append("dialog"))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def __enter__(self) -> "Visit":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.context.close()
        if kind is None:
            assert self.troubles == []
            outside = [url for url in self.requests if not url.startswith(("file:", "data:"))]
            assert outside == []

    def pixels(self, canvas: str) -> str:
        """What a canvas shows, as an encoded picture: equal for equal pixels."""
        return self.page.evaluate("name => document.getElementById(name).toDataURL()", canvas)

    def hover(self, row: int, col: int, *, of: int = 8) -> None:
        """Move the mouse to the middle of a patch of the large picture."""
        stage = self.page.locator("#stage")
        stage.scroll_into_view_if_needed()
        box = stage.bounding_box()
        assert box is not None
        x = box["x"] + (col + 0.5) * box["width"] / of
        y = box["y"] + (row + 0.5) * box["height"] / of
        self.page.mouse.move(x, y)


@pytest.fixture(scope="module")
def explained(make_predictor: Make, cat: Image.Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    predictor = make_predictor(classes=("<b>ant</b>", "bee", "cat", "dog", "eel", "fox"))
    path = tmp_path_factory.mktemp("pages") / "explained.html"
    path.write_text(explanation_page(predictor, cat, HOSTILE), "utf-8")
    return path


def test_hovering_a_patch_shows_what_it_attends_to(browser: "Browser", explained: Path) -> None:
    with Visit(browser, explained) as visit:
        assert visit.page.locator("#prefix-0").get_attribute("aria-pressed") == "true"
        before = [visit.pixels(f"map-{layer}") for layer in range(3)]
        visit.hover(2, 5)
        told = visit.page.locator("#told")
        assert told.inner_text().startswith("Patch 22 (row 3, column 6) in layer 2, mean of all heads")
        after = [visit.pixels(f"map-{layer}") for layer in range(3)]
        assert all(one != other for one, other in zip(before, after, strict=True))
        assert visit.page.evaluate("document.getElementById('map-0').width") == 8
        assert visit.page.locator("#prefix-0").get_attribute("aria-pressed") == "false"
        assert "patch 22 (row 3, column 6)" in visit.page.locator("#similar-told").inner_text()
        visit.hover(6, 1)
        assert told.inner_text().startswith("Patch 50 (row 7, column 2)")


def test_keys_and_clicks_do_the_same(browser: "Browser", explained: Path) -> None:
    with Visit(browser, explained) as visit:
        page, told = visit.page, visit.page.locator("#told")
        page.locator("#stage").focus()
        page.keyboard.press("ArrowRight")
        assert told.inner_text().startswith("Patch 38 (row 5, column 6)")
        page.keyboard.press("ArrowUp")
        assert told.inner_text().startswith("Patch 30 (row 4, column 6)")
        visit.hover(0, 0)  # it is held, so the mouse changes nothing
        assert told.inner_text().startswith("Patch 30")
        page.locator("#stage").focus()
        page.keyboard.press("Escape")
        visit.hover(0, 0)
        visit.hover(0, 1)
        assert told.inner_text().startswith("Patch 2 (row 1, column 2)")
        page.locator("#layer-1").click()
        assert "in layer 1, mean of all heads" in told.inner_text()
        page.locator("#head").select_option("3")
        assert "in layer 1, head 3" in told.inner_text()
        page.locator("#read-0-2").click()
        assert told.inner_text().startswith("[CLS] in layer 0, head 2")
        assert page.locator("#read-0-2").get_attribute("aria-pressed") == "true"


def test_classes_and_methods_change_the_overlay(browser: "Browser", explained: Path) -> None:
    with Visit(browser, explained) as visit:
        page = visit.page
        first = visit.pixels("heat")
        page.locator("#target-1").click()
        assert visit.pixels("heat") != first
        second = page.locator("#target-1 .name").inner_text()
        assert f"“{second}”" in page.locator("#method-told").inner_text()
        page.get_by_label("Rollout").check()
        assert "the same for every class" in page.locator("#method-told").inner_text()
        page.get_by_label("Picture", exact=True).check()
        assert not page.locator("#heat").is_visible()
        assert "dashed frame" in page.locator("#method-told").inner_text()


def test_heat_lies_where_the_crop_was(browser: "Browser", explained: Path) -> None:
    with Visit(browser, explained) as visit:
        source = visit.page.locator("#source").bounding_box()
        heat = visit.page.locator("#heat").bounding_box()
        assert source is not None and heat is not None
        # 451 x 300 was resized to 108 x 72, and 64 x 64 cut out of its middle.
        assert heat["width"] / source["width"] == pytest.approx(64 / 108, abs=0.01)
        assert heat["height"] / source["height"] == pytest.approx(64 / 72, abs=0.01)
        assert (heat["x"] - source["x"]) / source["width"] == pytest.approx(22 / 108, abs=0.01)


def test_names_with_html_are_text(browser: "Browser", explained: Path) -> None:
    with Visit(browser, explained) as visit:
        assert visit.page.locator("h1").inner_text() == f"What the model saw in {HOSTILE}"
        assert "<b>ant</b>" in visit.page.locator(".bars").inner_text()
        assert visit.page.locator("h1 img, .bars b").count() == 0


def test_light_dark_and_phone(browser: "Browser", explained: Path) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    with Visit(browser, explained, width=390, scheme="dark") as visit:
        assert visit.page.evaluate(ground) == "rgb(15, 17, 21)"
        visit.page.locator("#theme").click()
        assert visit.page.evaluate(ground) == "rgb(244, 245, 247)"
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
        visit.page.locator("#stage").tap(position={"x": 5, "y": 5})
        assert visit.page.locator("#told").inner_text().startswith("Patch 1 (row 1, column 1)")


@pytest.mark.parametrize("kind", ["digits", "mean pooling", "blocks", "bag", "deit", "beit", "dinov3"])
def test_every_kind_of_model_has_a_page(
    browser: "Browser", make_predictor: Make, cat: Image.Image, tmp_path: Path, kind: str
) -> None:
    predictor = {
        "digits": lambda: make_predictor(8, channels=1, shorter=None, patch=2),
        "mean pooling": lambda: make_predictor((60, 90), pool="mean", class_token=False, shorter=None),
        "blocks": lambda: make_predictor((42, 44), patch=2, shorter=None, registers=2),
        "bag": lambda: make_predictor(positions="none"),
        "deit": lambda: make_predictor(name="deit_tiny"),
        "beit": lambda: make_predictor(name="beit_tiny"),
        "dinov3": lambda: make_predictor(name="dinov3_tiny", pool="class_mean"),
    }[kind]()
    picture = Image.effect_noise((8, 8), 90) if kind == "digits" else cat
    (tmp_path / "page.html").write_text(explanation_page(predictor, picture, "picture.png"), "utf-8")
    with Visit(browser, tmp_path / "page.html") as visit:
        told = visit.page.locator("#told").inner_text()
        if kind == "mean pooling":
            assert told.startswith("The mean of all patches in layer 2, mean of all heads: most")
            assert visit.page.locator("#prefix-0").inner_text() == "the mean of all patches"
            assert visit.page.locator("#prefix-1").count() == 0 and "; to " not in told
            visit.page.locator("#stage").focus()
            visit.page.keyboard.press("ArrowRight")
            assert visit.page.locator("#told").inner_text().startswith("Patch 56 (row 5, column 8)")
        if kind == "blocks":
            visit.hover(10, 10, of=11)
            assert visit.page.locator("#told").inner_text().startswith("Block 121 (row 11, column 11)")
            assert visit.page.locator("#prefix-2").inner_text() == "register 1"
        if kind in ("deit", "beit", "dinov3"):
            name, others, similar = {
                "deit": ("[CLS] and [DIST]", "[CLS] and [DIST]", "The position of patch 37"),
                "beit": ("The mean of all patches", "[CLS]", "What is added to the scores of patch 37"),
                "dinov3": (
                    "[CLS] and the mean of all patches",
                    "[CLS] and registers",
                    "What is left of a score of 1 between patch 37",
                ),
            }[kind]
            assert told.startswith(f"{name} in layer 2, ") and f"; to {others} " in told
            assert visit.page.locator("#similar-told").inner_text().startswith(similar)
            # The map that is chosen is the one that lies on the large picture.
            visit.page.locator("#read-1-2").click()
            assert visit.page.locator("#told").inner_text().startswith(f"{name} in layer 1, head 2")
            hottest = "id => Math.max(...document.getElementById(id).getContext('2d').getImageData(0,0,8,8).data.filter((_, i) => i % 4 === 3))"  # noqa: E501
            assert visit.page.evaluate(hottest, "stage-heat") > 200
        if kind == "bag":
            assert visit.page.locator("#similar").count() == 0
        if kind == "digits":
            style = "getComputedStyle(document.querySelector('#stage img')).imageRendering"
            assert visit.page.evaluate(style) == "pixelated"


def test_the_page_of_a_run_opens(browser: "Browser", tmp_path: Path) -> None:
    metrics = [{"epoch": epoch, "loss": 1 / epoch, "accuracy": 1 - 1 / epoch} for epoch in range(1, 9)]
    report = RunReport(title=HOSTILE, metrics=metrics, summary=[("accuracy", "97%")])
    (tmp_path / "run.html").write_text(run_page(report), "utf-8")
    with Visit(browser, tmp_path / "run.html", scheme="dark") as visit:
        assert visit.page.locator("h1").inner_text() == HOSTILE
        line = "getComputedStyle(document.querySelector('svg polyline[stroke=\"var(--accent)\"]')).stroke"
        assert visit.page.evaluate(line) == "rgb(142, 164, 255)"  # the figure has turned dark too


@pytest.mark.parametrize(("width", "columns"), [(1240, 3), (390, 1)])
def test_the_gallery_of_a_pretraining_run(
    browser: "Browser", tmp_path: Path, width: int, columns: int
) -> None:
    original = Image.effect_noise((8, 8), 90)
    seen = original.convert("RGBA")
    seen.putalpha(Image.new("L", (8, 8), 0))
    metrics = [{"epoch": epoch, "loss": 1 / epoch, "effective_rank": 9.0} for epoch in range(1, 9)]
    report = RunReport(
        title="MAE",
        metrics=metrics,
        gallery=[Trio(HOSTILE, original, seen, original)] * 6,
        lineage=[("fingerprint of the training pictures", "0123456789abcdef" * 4)],
    )
    (tmp_path / "run.html").write_text(run_page(report), "utf-8")
    with Visit(browser, tmp_path / "run.html", width=width, scheme="dark") as visit:
        assert visit.page.locator(".gallery figcaption").first.inner_text() == HOSTILE
        boxes = [image.bounding_box() for image in visit.page.locator(".gallery figure").all()]
        assert len({round(box["x"]) for box in boxes if box is not None}) == columns
        images = visit.page.locator(".gallery figure").first.locator("img")
        sizes = [
            (box["width"], box["height"]) for box in (image.bounding_box() for image in images.all()) if box
        ]
        assert len(sizes) == 3 and all(abs(across - down) < 1 and across > 80 for across, down in sizes)
        style = "name => getComputedStyle(document.querySelector('.gallery img.hidden'))[name]"
        assert visit.page.evaluate(style, "imageRendering") == "pixelated"
        assert "gradient" in visit.page.evaluate(style, "backgroundImage")
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
