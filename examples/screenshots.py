"""Take the pictures of the documentation from a running service.

    ./setup.sh demo
    python -m examples.screenshots http://127.0.0.1:8000

Needs the extra `test` and Debian's Chromium.
"""

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

FOLDER = Path(__file__).parent / "dashboard"
CHROMIUM = "/usr/bin/chromium"
# Text and flat areas look the same in so many colours, at less than half of the size.
N_COLOURS = 128
# The list whose first client has the largest rise in risk.
RISING = "/dashboard/worklist?order=rise"


@dataclass(frozen=True)
class Shot:
    """A picture: name, page, colours, and size of the window in pixels."""

    name: str
    path: str
    scheme: Literal["light", "dark"]
    width: int
    height: int


SHOTS = (
    Shot("overview", "/", "light", 1200, 900),
    Shot("worklist", "/dashboard/worklist", "light", 1200, 900),
    Shot("client", "", "dark", 1200, 960),
    Shot("models", "/dashboard/models", "light", 1200, 1200),
    Shot("calling", "/dashboard/calling", "light", 1200, 900),
    Shot("phone", "/dashboard/worklist", "light", 390, 844),
)


def take(browser: Browser, url: str, shot: Shot) -> bytes:
    """Save a picture of a page, by default of the client with the largest rise."""
    page = browser.new_page(
        color_scheme=shot.scheme, viewport={"width": shot.width, "height": shot.height}
    )
    page.goto(url + (shot.path or RISING))
    if not shot.path:
        page.goto(url + str(page.locator("tbody th a").first.get_attribute("href")))
    page.wait_for_load_state("networkidle")
    return page.screenshot()


def shrink(picture: bytes) -> Image.Image:
    """Return a picture with few colours."""
    # The default would mix the few red points of a page with the orange ones.
    method = Image.Quantize.MAXCOVERAGE
    return Image.open(io.BytesIO(picture)).convert("RGB").quantize(N_COLOURS, method)


def main(url: str) -> None:
    """Save all pictures."""
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for shot in SHOTS:
            picture = shrink(take(browser, url, shot))
            picture.save(FOLDER / f"{shot.name}.png", optimize=True)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
