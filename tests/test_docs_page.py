"""The page of the API in a real browser: each kind of parameter is shown and sent as such."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from scripts.core.config_file import read_config
from tests.conftest import write_installation
from tests.support.browsing import WIDE, Visitor, browsing, visiting
from tests.support.clientele import score_twice
from tests.support.service import served


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service whose clients have been scored."""
    config_path = write_installation(tmp_path_factory.mktemp("docs"))
    score_twice(read_config(config_path))
    with served(config_path) as (address, _):
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser."""
    with browsing() as started:
        yield started


@pytest.fixture
def visitor(browser: Browser, url: str) -> Iterator[Visitor]:
    """A visitor of the page."""
    with visiting(browser, url, viewport=WIDE) as found:
        found.go("/docs")
        yield found


def test_the_page_leads_back_to_the_dashboard(visitor: Visitor) -> None:
    visitor.follow(visitor.page.get_by_role("link", name="Back to the dashboard"))

    assert visitor.page.url == f"{visitor.url}/"


def test_a_part_of_a_path_is_filled_in(visitor: Visitor) -> None:
    operation = visitor.page.locator("details", has_text="/clients/{client}")
    operation.locator("summary").click()
    expect(operation.locator("p", has_text="in the path")).to_contain_text("{client}")

    operation.get_by_label("client").fill("x")
    operation.get_by_role("button", name="Send").click()

    expect(operation.locator("form pre")).to_contain_text('"client": "x"')


def test_a_header_is_sent_as_a_header(visitor: Visitor) -> None:
    operation = visitor.page.locator("details", has_text="POST/predict")
    operation.locator("summary").click()
    expect(operation.locator("p", has_text="in the header")).to_contain_text("Adras-Log:")
    expect(operation.locator("p", has_text="in the query")).to_contain_text("?explain=")

    operation.get_by_label("Adras-Log").fill("off")
    operation.get_by_label("explain").fill("true")
    with visitor.page.expect_request("**/predict?explain=true") as sent:
        operation.get_by_role("button", name="Send").click()

    assert sent.value.headers["adras-log"] == "off"
    expect(operation.locator("form pre")).to_contain_text("contributions")


def test_every_example_of_the_page_is_answered(visitor: Visitor) -> None:
    for path in ("POST/predict", "POST/invocations", "POST/v2/models/{model}/infer"):
        operation = visitor.page.locator("details", has_text=path)
        operation.locator("summary").click()
        operation.get_by_role("button", name="Send").click()

        expect(operation.locator("form pre")).to_contain_text("200")
