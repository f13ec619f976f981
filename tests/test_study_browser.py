"""A rater's way through a study in Chromium: by keys and by touch, on a phone and on large screens.

$AQUATINT_SCREENSHOTS names a folder where pictures of the pages are kept.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image as PILImage
from study_folder import application, make

from aquatint.study.database import NAME, Database
from aquatint.study.files import Settings, Study

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 3, "has_touch": True, "is_mobile": True}
DESKTOP = {"viewport": {"width": 1440, "height": 900}}
WIDE = {"viewport": {"width": 2560, "height": 1440}}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not Path(CHROMIUM).exists():
        pytest.skip(f"there is no browser at {CHROMIUM}")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield chromium
        chromium.close()


@contextmanager
def served(study: Study) -> Iterator[str]:
    """The address of a running server."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()  # a browser that comes before the server has started waits
        server = uvicorn.Server(uvicorn.Config(application(study).starlette, log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def page_of(browser: Any, device: dict[str, Any]) -> Iterator[Any]:
    """A page whose errors and messages on the console fail the test."""
    context = browser.new_context(**device)
    page = context.new_page()
    page.set_default_timeout(10_000)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert complaints == []


def shot(page: Any, name: str) -> np.ndarray:
    """What the screen shows, in device pixels."""
    data = page.screenshot(scale="device")
    if folder := os.environ.get("AQUATINT_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{name}.png").write_bytes(data)
    return np.asarray(PILImage.open(io.BytesIO(data)).convert("RGB"))


def begin(page: Any, address: str) -> None:
    page.goto(address)
    page.click("button.primary")
    page.wait_for_selector(".pane.shown")


def at_trial(page: Any, number: int) -> None:
    """Waits for a trial, counted from 1."""
    sync_api.expect(page.locator("#count")).to_have_text(re.compile(f"^{number} /"))


def shown(page: Any, screen: np.ndarray, side: str) -> np.ndarray:
    """The device pixels of a picture on the screen."""
    box = page.locator(f"[data-side={side}] canvas").bounding_box()
    ratio = page.evaluate("devicePixelRatio")
    left, top, width, height = (round(box[name] * ratio) for name in ("x", "y", "width", "height"))
    return screen[top : top + height, left : left + width]


def pictures(study: Study) -> dict[str, np.ndarray]:
    return {s.id: np.asarray(PILImage.open(study.path(s)).convert("RGB")) for s in study.stimuli}


def current(study: Study) -> Any:
    """The trial on the screen of the only rater."""
    votes = Database(study.folder / NAME, read_only=True)
    (rater,) = votes.raters()
    voted = votes.voted(rater.id)
    trial = next(trial for trial in votes.trials_of(rater.id) if trial.id not in voted)
    votes.close()
    return trial


def votes_of(study: Study) -> list[Any]:
    votes = Database(study.folder / NAME, read_only=True)
    found = list(votes.votes().values())
    votes.close()
    return found


@pytest.mark.parametrize("ratio", [1, 1.1, 1.25, 1.5, 2, 2.625, 3])
def test_a_pixel_of_a_picture_is_a_pixel_of_the_screen(tmp_path: Path, browser: Any, ratio: float) -> None:
    # The pictures are noise: any resampling or shift by a fraction of a pixel changes every sample.
    study = make(tmp_path)
    with served(study) as address, page_of(browser, {**DESKTOP, "device_scale_factor": ratio}) as page:
        begin(page, address)
        trial, stored = current(study), pictures(study)
        screen = shot(page, f"exact-{ratio}")
        for side in ("left", "reference", "right"):
            expected = stored[getattr(trial, side)]
            height, width, _ = expected.shape
            canvas = shown(page, screen, side)
            np.testing.assert_array_equal(canvas[:height, :width], expected)
            assert np.all(canvas[height:] == 128)
            assert np.all(canvas[:, width:] == 128)


def test_flipping_changes_the_pixels_in_place(tmp_path: Path, browser: Any) -> None:
    study = make(tmp_path, Settings(minimum_seconds=0, layout="flip-with-reference"))
    with served(study) as address, page_of(browser, DESKTOP) as page:
        begin(page, address)
        trial, stored = current(study), pictures(study)
        before = shot(page, "flip-a")
        page.keyboard.press("Space")
        after = shot(page, "flip-b")
        page.keyboard.down("ArrowUp")
        held = shot(page, "flip-original")
        page.keyboard.up("ArrowUp")
        np.testing.assert_array_equal(shown(page, before, "left"), stored[trial.left])
        np.testing.assert_array_equal(shown(page, after, "right"), stored[trial.right])
        np.testing.assert_array_equal(shown(page, held, "reference"), stored[trial.reference])
        box = page.locator("[data-side=left] canvas").bounding_box()
        assert box == page.locator("[data-side=right] canvas").bounding_box()
        rows, columns = np.nonzero((before != after).any(2)[: int(box["y"] + box["height"])])
        inside = (columns >= box["x"]) & (columns < box["x"] + box["width"]) & (rows >= box["y"])
        caption = (rows < box["y"]) & (rows > box["y"] - 30)
        assert inside.sum() > 1000
        assert np.all(inside | caption)
        np.testing.assert_array_equal(shown(page, shot(page, "flip-back"), "right"), stored[trial.right])


def test_a_whole_run_by_keys(tmp_path: Path, browser: Any) -> None:
    study = make(tmp_path, Settings(minimum_seconds=0.1, layout="flip"), pictures=3)
    with served(study) as address, page_of(browser, DESKTOP) as page:
        page.goto(address)
        shot(page, "desktop-welcome")
        while page.evaluate("document.activeElement.className") != "primary":
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        total = study.plan[0]
        for number, key in zip(range(total), ("ArrowLeft", "ArrowRight", "ArrowDown") * total, strict=False):
            at_trial(page, number + 1)
            page.wait_for_selector(".pane.shown")
            assert page.locator("[data-choice=left]").is_disabled()  # only one of the copies was seen
            page.keyboard.press("Space")
            page.wait_for_selector("[data-choice=left]:enabled")
            page.keyboard.press(key)
        page.wait_for_url("**/done")
        shot(page, "desktop-done")
    votes = votes_of(study)
    assert len(votes) == total
    assert [vote.choice for vote in votes[:3]] == ["left", "right", "neither"]
    assert {vote.input for vote in votes} == {"keyboard"}
    assert {vote.layout for vote in votes} == {"flip"}
    assert all(vote.seconds >= 0.1 and vote.flips == 1 for vote in votes)
    assert {(vote.viewport_width, vote.viewport_height, vote.pixel_ratio) for vote in votes} == {(1440, 900, 1.0)}


def test_a_whole_run_by_touch(tmp_path: Path, browser: Any) -> None:
    study = make(tmp_path, Settings(minimum_seconds=0, layout="flip-with-reference"), pictures=2, size=320)
    with served(study) as address, page_of(browser, PHONE) as page:
        page.goto(address)
        shot(page, "phone-welcome")
        page.tap("button.primary")
        total = study.plan[0]
        for number in range(total):
            at_trial(page, number + 1)
            page.wait_for_selector(".pane.shown")
            page.tap("[data-view=reference]")
            page.tap("#stage")
            page.tap("[data-view=right]")
            page.wait_for_selector("[data-choice=right]:enabled")
            if number == 0:
                shot(page, "phone-rate")
                assert page.evaluate("document.documentElement.scrollWidth") == 390
            page.tap("[data-choice=right]")
        page.wait_for_url("**/done")
    votes = votes_of(study)
    assert [vote.choice for vote in votes] == ["right"] * total
    assert {vote.input for vote in votes} == {"touch"}
    assert {vote.layout for vote in votes} == {"flip-with-reference"}
    assert {vote.flips for vote in votes} == {3}
    assert {vote.pixel_ratio for vote in votes} == {3.0}


def test_large_pictures_can_be_moved_about(tmp_path: Path, browser: Any) -> None:
    study = make(tmp_path, Settings(minimum_seconds=0, layout="flip-with-reference"), pictures=2, size=1000)
    with served(study) as address, page_of(browser, DESKTOP) as page:
        begin(page, address)
        trial, stored = current(study), pictures(study)
        for _ in range(10):
            page.keyboard.press("Shift+ArrowDown")
        bottom = shown(page, shot(page, "moved"), "left")
        np.testing.assert_array_equal(bottom, stored[trial.left][-len(bottom) :])
        page.mouse.move(700, 300)
        page.mouse.down()
        page.mouse.move(700, 420, steps=4)
        page.mouse.up()
        height = len(bottom)
        moved = shown(page, shot(page, "dragged"), "left")
        np.testing.assert_array_equal(moved, stored[trial.left][-height - 120 : -120])
        page.keyboard.press("Space")
        other = shown(page, shot(page, "dragged-flipped"), "right")
        np.testing.assert_array_equal(other, stored[trial.right][-height - 120 : -120])


def test_a_pause_and_another_device(tmp_path: Path, browser: Any) -> None:
    study = make(tmp_path)
    with served(study) as address, page_of(browser, WIDE) as page:
        begin(page, address)
        page.wait_for_selector("[data-choice=left]:enabled")
        shot(page, "wide-rate")
        page.keyboard.press("ArrowLeft")
        at_trial(page, 2)
        page.click("#pause")
        shot(page, "wide-pause")
        link = page.input_value("#link")
        assert page.locator("[data-choice=left]").is_disabled()
        with page_of(browser, PHONE) as other:
            other.goto(link)
            other.wait_for_selector(".pane.shown")
            assert other.text_content("#count") == f"2 / {study.plan[0]}"
            shot(other, "phone-resumed")


def test_an_answer_survives_a_lost_connection(tmp_path: Path, browser: Any) -> None:
    study = make(tmp_path)
    with served(study) as address:
        context = browser.new_context(**DESKTOP)
        page = context.new_page()
        answered: list[int] = []

        def lose_the_answer(route: Any) -> None:
            if not answered:
                answered.append(route.fetch().status)  # the server has counted it, and nobody heard of it
                route.abort()
            else:
                route.continue_()

        page.route("**/votes", lose_the_answer)  # before any request: a browser takes a moment to intercept them
        begin(page, address)
        page.wait_for_selector("[data-choice=left]:enabled")
        page.keyboard.press("ArrowRight")
        at_trial(page, 2)
        context.close()
    assert answered == [200]
    assert [vote.choice for vote in votes_of(study)] == ["right"]


def test_what_screen_readers_are_told(tmp_path: Path, browser: Any) -> None:
    study = make(tmp_path, Settings(minimum_seconds=0, layout="flip-with-reference"))
    with served(study) as address, page_of(browser, DESKTOP) as page:
        begin(page, address)
        roles = page.locator("body").aria_snapshot()
        for said in (
            'progressbar "Progress"',
            'button "A is closer"',
            'button "Pause"',
            'img "Copy A of the photograph"',
        ):
            assert said in roles.replace("← ", "").replace(" →", "")
        assert 'img "Copy B' not in roles  # it is not to be seen
        page.keyboard.press("Space")
        assert page.text_content("#status") == "B is shown"
