"""Drives the pages in a real browser, and watches for errors."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Locator,
    Page,
    ViewportSize,
    sync_playwright,
)

CHROMIUM = os.environ.get("ADRAS_TEST_CHROMIUM", "/usr/bin/chromium")
AXE = "ADRAS_TEST_AXE"
# What could also be found is of taste; these keep somebody from using a page.
GRAVE = ("serious", "critical")
TIMEOUT_MS = 10_000
# Those far down are loaded when somebody comes near them. A broken one is noted as a fault.
LOAD_IMAGES = """
Promise.all([...document.images].map(image => {
    image.loading = 'eager';
    return image.complete || new Promise(end => { image.onload = image.onerror = end; });
})).then(() => null)
"""
# Only the violations: the rest is long, and takes most of the time.
RUN_AXE = """
rules => axe.run(document, {
    preload: false, resultTypes: ['violations'],
    ...(rules.length ? {runOnly: {type: 'rule', values: rules}} : {}),
}).then(found => found.violations)
"""
COLOUR_RULES = ("color-contrast", "link-in-text-block")
WIDE = ViewportSize(width=1280, height=900)
NARROW = ViewportSize(width=390, height=844)


def skip_or_fail(reason: str) -> None:
    """Skip a test for a missing tool, but fail in CI."""
    if os.environ.get("ADRAS_CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def read_axe() -> str:
    """Return the source of the accessibility checker from .ci/run."""
    path = Path(os.environ.get(AXE, ""))
    if not path.is_file():
        skip_or_fail(f"{AXE} names no axe.min.js: npm pack axe-core, or run .ci/run")
    return path.read_text()


@contextmanager
def browsing(*more_options: str) -> Iterator[Browser]:
    """Run a browser, without a picture of itself."""
    if shutil.which(CHROMIUM) is None:
        skip_or_fail(f"{CHROMIUM} is not there: apt-get install --no-install-recommends chromium")
    with sync_playwright() as playwright:
        # Root, as in a container, has no sandbox to start.
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*options, *more_options]
        )
        yield browser
        browser.close()


class Visitor:
    """Browser with a user, and a record of errors and of requests to foreign hosts.

    Parameters
    ----------
    context : BrowserContext
        A profile of its own.
    url : str
        The address of the service.
    """

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.url = url
        context.set_default_timeout(TIMEOUT_MS)
        self.page: Page = context.new_page()
        self.faults: list[str] = []
        self.requested: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("dialog", self._refuse)
        self.page.on("request", lambda request: self.requested.append(request.url))
        self.page.on("requestfailed", self._note_failure)

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"{message.type}: {message.text}")

    def _note_failure(self, request: Any) -> None:
        # A download, or a picture of a page that was left, ends so; a refused connection does not.
        if request.failure != "net::ERR_ABORTED":
            self.faults.append(f"failed: {request.url}: {request.failure}")

    def _refuse(self, dialog: Any) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def go(self, path: str) -> None:
        """Open a page with all images, also far down."""
        self.page.goto(self.url + path)
        self.page.evaluate(LOAD_IMAGES)

    def follow(self, target: Locator) -> None:
        """Click a link and wait for the page."""
        with self.page.expect_navigation():
            target.click()

    def check(self) -> None:
        """Check for console messages, dialogs and requests to foreign hosts."""
        assert self.faults == []
        elsewhere = [url for url in self.requested if not url.startswith(f"{self.url}/")]
        assert elsewhere == []

    def find_barriers(self, axe: str, *rules: str) -> list[str]:
        """Return the violations of the page by some of axe-core's rules, or by all."""
        self.page.evaluate(f"{axe}; null")
        found = self.page.evaluate(RUN_AXE, list(rules))
        return [
            f"{violation['id']}: {node['html'][:200]}: {node['failureSummary'][:300]}"
            for violation in found
            if violation["impact"] in GRAVE
            for node in violation["nodes"]
        ]

    def overflow(self) -> int:
        """Return the excess of the page width over the window, in pixels."""
        wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return int(self.page.evaluate(wider))


@contextmanager
def visiting(browser: Browser, url: str, **options: Any) -> Iterator[Visitor]:
    """Open a browser with a new profile, and check for errors at the end."""
    context = browser.new_context(viewport=options.pop("viewport", WIDE), **options)
    visitor = Visitor(context, url)
    yield visitor
    visitor.check()
    context.close()
