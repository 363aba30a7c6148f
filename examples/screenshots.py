"""Take the screenshots of the README from a running service.

    ./setup.sh demo
    python -m examples.screenshots http://127.0.0.1:8000

Needs the extra `test` and Debian's Chromium.
"""

import sys
from pathlib import Path
from typing import Literal

from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).parent / "dashboard"
CHROMIUM = "/usr/bin/chromium"
Scheme = Literal["light", "dark"]
# Name, path, colours, width and height.
PICTURES: tuple[tuple[str, str, Scheme, int, int], ...] = (
    ("overview", "/", "light", 1200, 900),
    ("worklist", "/dashboard/worklist", "light", 1200, 960),
    ("client", "", "dark", 1200, 960),
    ("models", "/dashboard/models", "light", 1200, 1200),
)


def main(url: str) -> None:
    """Capture the screenshots, with the client of the largest rise in risk."""
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name, path, scheme, width, height in PICTURES:
            page = browser.new_page(
                color_scheme=scheme, viewport={"width": width, "height": height}
            )
            page.goto(url + (path or "/dashboard/worklist?order=rise"))
            if not path:
                page.goto(url + str(page.locator("tbody th a").first.get_attribute("href")))
            page.wait_for_load_state("networkidle")
            page.screenshot(path=FOLDER / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
