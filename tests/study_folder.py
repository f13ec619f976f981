"""A small study on disk, and a client for its server."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image as PILImage
from starlette.testclient import TestClient

from aquatint.study import database, files, prepare, sources
from aquatint.study.app import App
from aquatint.study.files import Settings, Study
from aquatint.study.security import Keys
from aquatint.study.service import Service


def write_stimuli(
    folder: Path, *, pictures: int = 4, conditions: tuple[str, ...] = ("fine", "coarse", "rough"), size: int = 96
) -> None:
    """Noise as originals; each condition adds noise of its own, so that no two pictures are equal."""
    rng = np.random.default_rng(0)
    for number in range(pictures):
        original = rng.integers(0, 256, (size, size + 16, 3), np.uint8)
        for strength, name in enumerate(("reference", *conditions)):
            noise = rng.integers(-8 * strength, 8 * strength + 1, original.shape)
            pixels = np.clip(original + noise, 0, 255).astype(np.uint8)
            (folder / name).mkdir(parents=True, exist_ok=True)
            PILImage.fromarray(pixels).save(folder / name / f"picture{number}.png")


def make(folder: Path, settings: Settings = Settings(minimum_seconds=0), **stimuli: object) -> Study:  # noqa: B008
    """A study in folder/study."""
    write_stimuli(folder / "stimuli", **stimuli)  # type: ignore[arg-type]
    prepare.new(folder / "study", sources.from_folder(folder / "stimuli"), settings)
    return files.load(folder / "study")


def application(study: Study) -> App:
    return App(Service(study, database.Database(study.folder / database.NAME)), Keys.of(study.folder))


def client(study: Study) -> TestClient:
    return TestClient(application(study).starlette, base_url="http://testserver", follow_redirects=False)


def join(browser: TestClient) -> str:
    """Agrees to take part; the token against forged requests for votes."""
    page = browser.get("/").text
    answer = browser.post("/join", data={"csrf": re.findall(r'name="csrf" value="([^"]+)"', page)[0]})
    assert answer.status_code == 303
    return re.findall(r'name="csrf" content="([^"]+)"', browser.get("/rate").text)[0]


def vote(trial: str, **changes: object) -> dict[str, object]:
    """What the page of trials sends."""
    return {
        "trial": trial,
        "choice": "left",
        "seconds": 2.5,
        "flips": 3,
        "layout": "flip",
        "viewport_width": 1440,
        "viewport_height": 900,
        "pixel_ratio": 2,
        "zoom": 1,
        "input": "keyboard",
    } | changes
