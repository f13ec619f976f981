"""The page, driven in Chromium from file://, and what it is made from."""

from __future__ import annotations

import io
import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image
from stand_ins import Absent, Broken, Coarse

from aquatint.evaluation import baselines, plots, report, runner, tables
from aquatint.evaluation.report import crops
from aquatint.evaluation.runner import Run, SetRow
from aquatint.evaluation.statistics import Estimate

WIDE, PHONE = (1440, 900), (390, 844)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, list[runner.Row]]:
    """Three codecs, of which one is broken and one absent, on two photographs and a wreck."""
    data = pytest.importorskip("skimage.data", reason="scikit-image carries the sample photographs")
    folder = tmp_path_factory.mktemp("run")
    names = ["a & b", "c'<b>d"]  # as files may be called
    for name, pixels in zip(names, (data.coffee()[100:300, 150:450], data.astronaut()[:300, 100:300]), strict=True):
        Image.fromarray(pixels).save(folder / f"{name}.png")
    (folder / "wreck.png").write_bytes(b"nothing")
    chosen = [Coarse(), Coarse("noisy", noise=8), Broken("broken"), Absent("absent")]
    metrics = ["psnr", "ms-ssim", "fid-mobilenet"]  # the last with a title that is long for a phone
    plan = Run(sorted(folder.glob("*.png")), chosen, [1, 2, 4], metrics, folder / "out", workers=2)
    return plan, runner.run(plan)


@pytest.fixture(scope="module")
def page(run: tuple[Run, list[runner.Row]]) -> Path:
    """The report, moved away from what it was made from."""
    plan, rows = run
    written = tables.write(plan.folder, rows, [], plan.metrics, anchor="coarse")
    curves = baselines.load("kodak")
    drawn = plots.draw(plan.folder / "plots", rows, [], plan.metrics, curves)
    report.build(
        plan.folder / "report",
        plan,
        rows,
        [],
        anchor="coarse",
        command="aquatint evaluate </script>",
        baselines=curves,
        plots=drawn,
        tables=written,
    )
    target = plan.folder.parent / "elsewhere"
    shutil.move(plan.folder / "report", target)
    return target / "index.html"


# --- what goes into it


def test_the_folder_is_complete(page: Path) -> None:
    content = json.loads((page.parent / "data.js").read_text().removeprefix("const DATA = ").rstrip(";\n"))
    files = [item["file"] for item in content["pictures"] + content["results"] if item["file"]]
    assert len(files) == 2 + 2 * (3 + 3 + 2)
    for name in [*files, *content["tables"], *(f"plots/{name}.svg" for name in content["plots"])]:
        assert (page.parent / name).stat().st_size > 100, name
    for name in ("index.html", "page.css"):
        assert "//" not in (page.parent / name).read_text().replace("/*", ""), name


def test_facts(run: tuple[Run, list[runner.Row]]) -> None:
    plan, rows = run
    facts = report.facts(plan, rows, [], anchor="coarse", command="", baselines=[], plots=[], tables=[])
    json.dumps(facts, allow_nan=False)
    noisy = facts["differences"]["psnr"]["noisy"]["rate"]
    assert noisy["mean"] > 0
    assert noisy["count"] == 2
    assert facts["differences"]["psnr"]["absent"]["rate"] is None
    assert facts["equal_bits"]["psnr"]["coarse"]["2"] > facts["equal_bits"]["psnr"]["noisy"]["2"]
    assert facts["equal_bits"]["psnr"]["broken"]["1"] is None
    assert [item["error"] is None for item in facts["pictures"]] == [True, True, False]


def test_metrics_on_sets(run: tuple[Run, list[runner.Row]]) -> None:
    plan, rows = run
    sets = [
        SetRow(codec, rate, rate, 2, {"fid": Estimate(20 - 5 * math.log2(rate / factor), None, None, 2)})
        for codec, factor in (("coarse", 1.0), ("noisy", 1.5))
        for rate in (1, 2, 4)
    ]
    plan = Run(plan.pictures, plan.coders, plan.rates, ["psnr", "fid"], plan.folder)
    facts = report.facts(plan, rows, sets, anchor="coarse", command="", baselines=[], plots=[], tables=[])
    estimate = facts["differences"]["fid"]["noisy"]["rate"]
    assert estimate["low"] is None
    assert estimate["mean"] == pytest.approx(50)
    drawn = plots.draw(plan.folder / "set plots", rows, sets, plan.metrics)
    assert "mean-fid" in drawn
    assert "plane-psnr-fid" in drawn


def test_crops_are_where_error_and_texture_disagree() -> None:
    random = np.random.default_rng(0)
    original = np.full((3 * crops.TILE, 4 * crops.TILE + 10, 3), 128, np.uint8)
    texture = slice(crops.TILE, 2 * crops.TILE), slice(2 * crops.TILE, 3 * crops.TILE)
    original[texture] = random.integers(88, 168, (crops.TILE, crops.TILE, 1))
    flat, lively = original.copy(), original.copy()
    flat[texture] = 128  # the smaller error, but no texture
    lively[texture] = random.integers(88, 168, (crops.TILE, crops.TILE, 1))
    (found,) = crops.find(original, {"flat": flat, "lively": lively})
    assert found == crops.Crop(2 * crops.TILE, crops.TILE, crops.TILE, closer="flat", livelier="lively")
    assert crops.find(original, {"flat": flat, "original": original}) == []  # better in every way
    assert crops.find(original[:50], {"flat": flat[:50], "lively": lively[:50]}) == []


def test_plots_are_reproducible(run: tuple[Run, list[runner.Row]], tmp_path: Path) -> None:
    plan, rows = run
    for name in ("one", "two"):
        plots.draw(tmp_path / name, rows, [], plan.metrics)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert "mean-ms-ssim.svg" in names
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    words = (tmp_path / "one" / "mean-psnr.svg").read_text()
    for label in ("bits per pixel", "PSNR [dB]", "coarse", "noisy", "mean of 2 pictures"):
        assert label in words
    assert "absent" not in words


# --- the page in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """Headless Chromium: $CHROMIUM, or the one on the PATH."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no Chromium: install it, or set CHROMIUM to its path")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--force-color-profile=srgb"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=arguments)
        yield browser
        browser.close()


class Driver:
    """A page in the browser, with what it complains about.

    Arguments:
        browser: of playwright.
        address: of the page.
        size: of the window in CSS pixels. A narrow one belongs to a phone: touch, and two device pixels a pixel.
    """

    def __init__(self, browser, address: str, size: tuple[int, int]) -> None:
        phone = size == PHONE
        self.context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            device_scale_factor=2 if phone else 1,
            has_touch=phone,
            offline=True,
        )
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", lambda request: self.complaints.append(request.url))
        self.page.goto(address)
        self.settle()
        self.page.evaluate("document.querySelector('#stage').scrollIntoView({block: 'center', behavior: 'instant'})")

    def settle(self) -> None:
        """Waits until the pictures that are wanted are shown, and the address says so."""
        self.page.wait_for_function(
            "[...document.querySelectorAll('.layer img')].every(i => i.hidden || (i.complete && i.naturalWidth "
            "&& i.src.endsWith(i.dataset.file)))"
        )
        self.page.wait_for_timeout(250)

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)
        self.settle()

    @property
    def state(self) -> dict[str, str]:
        """What the address holds."""
        return {key: values[0] for key, values in parse_qs(urlsplit(self.page.url).fragment).items()}

    def pixels(self) -> np.ndarray:
        """The stage as it is seen, without captions, divider and its rounded corners."""
        self.page.add_style_tag(content=".caption, #divider { opacity: 0 }")
        picture = Image.open(io.BytesIO(self.page.locator("#stage").screenshot())).convert("RGB")
        return np.asarray(picture)[10:-10, 10:-10].astype(int)

    def box(self) -> dict[str, float]:
        return self.page.locator("#stage").bounding_box()


@pytest.fixture(params=[WIDE, PHONE], ids=["desktop", "phone"])
def driver(browser: object, page: Path, request: pytest.FixtureRequest) -> Iterator[Driver]:
    """The page on a desktop and on a phone; in the end it must not have complained."""
    driver = Driver(browser, page.as_uri(), request.param)
    yield driver
    driver.context.close()
    assert driver.complaints == []


def test_the_page_fits_and_shows_everything(driver: Driver) -> None:
    width = driver.page.viewport_size["width"]
    assert driver.page.evaluate("document.documentElement.scrollWidth") <= width
    text = driver.page.inner_text("body")
    for word in ("noisy", "c'<b>d", "not a picture of a known format", "pip install absent", "ZeroDivisionError", "C3"):
        assert word in text
    assert "</script>" in driver.page.inner_text("#command")
    assert driver.page.locator("#saved tbody tr").count() == 3
    assert driver.page.locator("#equal tbody tr").count() == 4
    assert driver.page.locator("#chart svg path").count() > 10
    if folder := os.environ.get("AQUATINT_SCREENSHOTS"):
        driver.page.screenshot(path=Path(folder, f"report-{width}.png"), full_page=True)


def test_flip_changes_the_picture_in_place(driver: Driver) -> None:
    driver.press("1")
    first = driver.pixels()
    driver.press(" ")
    second = driver.pixels()
    assert driver.state["m"] == "b"
    assert first.shape == second.shape
    assert 2 < np.abs(first - second).mean() < 40
    driver.press(" ")
    np.testing.assert_array_equal(driver.pixels(), first)
    driver.press("x")
    assert (driver.state["a"], driver.state["b"]) == ("noisy", "coarse")
    np.testing.assert_array_equal(driver.pixels(), second)


def test_the_slider_shows_one_picture_on_either_side(driver: Driver) -> None:
    views = {}
    for key in "132":
        driver.press(key)
        views[key] = driver.pixels()
    middle = views["1"].shape[1] // 2
    np.testing.assert_array_equal(views["2"][:, : middle - 2], views["1"][:, : middle - 2])
    np.testing.assert_array_equal(views["2"][:, middle + 2 :], views["3"][:, middle + 2 :])
    box, grip = driver.box(), driver.page.locator("#divider span").bounding_box()
    driver.page.mouse.move(grip["x"] + 16, grip["y"] + 16)
    driver.page.mouse.down()
    driver.page.mouse.move(box["x"] + 0.25 * box["width"], grip["y"] + 16, steps=4)
    driver.page.mouse.up()
    driver.settle()
    assert float(driver.state["s"]) == pytest.approx(0.25, abs=0.01)
    seen = driver.pixels()
    quarter = (seen.shape[1] + 20) // 4 - 10
    np.testing.assert_array_equal(seen[:, : quarter - 4], views["1"][:, : quarter - 4])
    np.testing.assert_array_equal(seen[:, quarter + 4 :], views["3"][:, quarter + 4 :])


def test_the_original_is_shown_while_a_key_is_held(driver: Driver, run: tuple[Run, list[runner.Row]]) -> None:
    driver.press("1")
    coded = driver.pixels()
    driver.page.keyboard.down("o")
    driver.settle()
    held = driver.pixels()
    driver.page.keyboard.up("o")
    driver.settle()
    np.testing.assert_array_equal(driver.pixels(), coded)
    driver.press("4")
    np.testing.assert_array_equal(driver.pixels(), held)
    assert np.abs(held - coded).mean() > 1


def test_at_100_percent_a_pixel_is_a_pixel(driver: Driver, run: tuple[Run, list[runner.Row]]) -> None:
    driver.press("4")
    for _ in range(8):
        if driver.page.inner_text("#zoom") == "100 %":
            break
        driver.page.click("#zoom-out" if int(driver.page.inner_text("#zoom").split()[0]) > 100 else "#zoom-in")
    driver.settle()
    original = np.asarray(Image.open(run[0].pictures[0]).convert("RGB")).astype(int)
    seen = driver.pixels()
    place = [(seen.shape[k] - original.shape[k]) / 2 for k in (0, 1)]
    candidates = [  # the middle of a stage of odd size lies between pixels
        seen[round(place[0]) + i :, round(place[1]) + j :][: original.shape[0], : original.shape[1]]
        for i in (-1, 0, 1)
        for j in (-1, 0, 1)
    ]
    assert min(np.abs(view - original).max() for view in candidates if view.shape == original.shape) <= 1


def test_zoom_to_800_percent_in_step_and_pixelated(driver: Driver) -> None:
    driver.press("4")
    for _ in range(6):
        driver.press("+")
    assert driver.page.inner_text("#zoom") == "800 %"
    transforms = driver.page.evaluate("[...document.querySelectorAll('.layer img')].map(i => i.style.transform)")
    assert len(set(transforms)) == 1
    sharp = driver.pixels()
    neighbours = np.abs(np.diff(sharp, axis=1)).sum(axis=(0, 2))
    edges = neighbours > 0
    assert edges.mean() < 0.2  # seven of eight columns equal their left neighbour
    driver.press("p")
    assert driver.state["i"] == "0"
    assert (np.abs(np.diff(driver.pixels(), axis=1)).sum(axis=(0, 2)) > 0).mean() > 0.7
    driver.press("f")
    assert driver.state["z"] == "0"


def test_wheel_and_drag_keep_hold_of_the_picture(driver: Driver) -> None:
    driver.press("1")
    box = driver.box()
    x, y = box["x"] + 0.6 * box["width"], box["y"] + 0.4 * box["height"]
    under = """([x, y]) => { const b = document.querySelector('#layer-a img').getBoundingClientRect();
        return [(x - b.left) / b.width, (y - b.top) / b.height]; }"""
    driver.page.mouse.move(x, y)
    for _ in range(5):
        driver.page.mouse.wheel(0, -240)
    driver.settle()
    before = driver.page.evaluate(under, [x, y])
    driver.page.mouse.wheel(0, -120)
    driver.settle()
    assert driver.page.evaluate(under, [x, y]) == pytest.approx(before, abs=2e-3)
    driver.page.mouse.down()
    driver.page.mouse.move(x - 40, y + 30, steps=3)
    driver.page.mouse.up()
    driver.settle()
    assert driver.page.evaluate(under, [x - 40, y + 30]) == pytest.approx(before, abs=2e-3)


def test_the_address_restores_the_view(driver: Driver, browser: object) -> None:
    driver.press("ArrowRight")
    driver.press("ArrowDown")
    driver.press("3")
    driver.press("+")
    driver.press("+")
    assert driver.state["p"] == "c'<b>d"
    assert driver.state["r"] == "1"
    seen = driver.pixels()
    size = driver.page.viewport_size
    again = Driver(browser, driver.page.url, (size["width"], size["height"]))
    assert again.state == driver.state
    np.testing.assert_array_equal(again.pixels(), seen)
    again.context.close()


@pytest.mark.parametrize("fragment", ["p=none&r=9&a=x&b=%3Cimg%20src%3Dx%3E&m=y&z=1e9&x=-4&y=NaN&s=7", "%", "p="])
def test_an_address_of_nonsense_is_repaired(driver: Driver, fragment: str) -> None:
    driver.page.evaluate("fragment => { location.hash = fragment; }", fragment)
    driver.settle()
    assert driver.page.locator("#caption-a b").inner_text() == "coarse"
    assert driver.state["m"] == "split"
    assert math.isfinite(float(driver.state["y"]))


def test_what_is_absent_is_said(driver: Driver) -> None:
    driver.page.select_option("#codec-b", "broken")
    driver.press("ArrowDown")
    driver.press("3")
    assert "broken at 1 bpp: ZeroDivisionError: by nothing" in driver.page.inner_text("#layer-b")
    assert not driver.page.locator("#layer-b img").is_visible()


def test_crops_by_key_and_button(driver: Driver) -> None:
    buttons = driver.page.locator("#crops button")
    assert buttons.count() >= 1
    driver.page.locator("#stage").focus()
    driver.press("c")
    by_key = driver.state
    assert float(by_key["z"]) >= 1
    assert {by_key["a"], by_key["b"]} <= {"coarse", "noisy", "broken"}
    driver.press("f")
    buttons.first.click()
    driver.settle()
    assert driver.state == by_key


def test_curves_follow_their_controls(driver: Driver) -> None:
    page = driver.page
    lines = "#chart path[fill=none]"
    assert page.locator(lines).count() > 5  # with published curves
    page.uncheck("#published")
    assert page.locator(lines).count() == 3  # broken has one rate less
    page.locator("#legend button", has_text="noisy").click()
    assert page.locator(lines).count() == 2
    page.select_option("#chart-picture", "a & b")
    page.select_option("#chart-y", "ms-ssim")
    page.select_option("#chart-x", "psnr")
    assert "MS-SSIM" in page.locator("#chart svg").get_attribute("aria-label")
    marker = page.locator("#chart path[transform]").first.bounding_box()
    page.locator("#chart").scroll_into_view_if_needed()
    marker = page.locator("#chart path[transform]").first.bounding_box()
    page.mouse.move(marker["x"] + 4, marker["y"] + 4)
    assert page.locator("#tip").inner_text().startswith("coarse: ")


@pytest.mark.usefixtures("browser")
def test_two_fingers_zoom(browser: object, page: Path) -> None:
    driver = Driver(browser, page.as_uri(), PHONE)
    driver.press("1")
    box = driver.box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = int(driver.page.inner_text("#zoom").split()[0])
    session = driver.context.new_cdp_session(driver.page)

    def touch(kind: str, gap: float) -> None:
        points = [{"x": x - gap, "y": y, "id": 0}, {"x": x + gap, "y": y, "id": 1}] if kind != "touchEnd" else []
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 50)
    for gap in (60, 75, 100):
        touch("touchMove", gap)
    touch("touchEnd", 0)
    driver.settle()
    assert int(driver.page.inner_text("#zoom").split()[0]) == pytest.approx(2 * before, rel=0.03)
    assert driver.complaints == []
    driver.context.close()
