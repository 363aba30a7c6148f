"""Two people work with the same client at once, each in a browser, and neither loses an entry."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from scripts.core.config_file import read_config
from tests.conftest import write_installation
from tests.support.browsing import NARROW, Visitor, browsing, read_axe
from tests.support.clientele import CLIENTS, FIRST, put_clients, score, serve
from tests.support.service import served

TOKENS = {"ada": "ada-4711-of-the-tests", "bob": "bob-4711-of-the-tests"}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service with four scored clients and two named users."""
    config_path = write_installation(tmp_path_factory.mktemp("two"))
    tokens = config_path.parent / "tokens"
    tokens.write_text("".join(f"work {name} {token}\n" for name, token in TOKENS.items()))
    tokens.chmod(0o600)
    config = read_config(config_path)
    serve(config, FIRST)
    put_clients(config, CLIENTS)
    score(config)
    with served(config_path, token_file="tokens", max_body_bytes=20_000) as (address, _):
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser."""
    with browsing() as started:
        yield started


def log_in(browser: Browser, url: str, name: str) -> Visitor:
    """Open a browser of its own, and log in as a user."""
    visitor = Visitor(browser.new_context(), url)
    visitor.go("/login")
    visitor.page.get_by_label("Token").fill(TOKENS[name])
    visitor.page.keyboard.press("Enter")
    visitor.page.wait_for_url(f"{url}/")
    return visitor


def test_two_people_at_once_lose_neither_entry(browser: Browser, url: str) -> None:
    ada, bob = log_in(browser, url, "ada"), log_in(browser, url, "bob")
    for visitor in (ada, bob):
        visitor.go("/dashboard/client?name=x")
    # Both have seen the client before anybody worked.
    for visitor, result, note in ((ada, "reached", "calls back"), (bob, "saved", "stays")):
        form = visitor.page.get_by_role("form", name="Record a contact")
        form.get_by_label("Result").select_option(result)
        form.get_by_label("Note").fill(note)
        visitor.follow(form.get_by_role("button"))
        expect(visitor.page.get_by_role("status")).to_have_text("Recorded.")

    history = bob.page.get_by_role("region", name="History of the work")
    expect(history).to_contain_text("calls back")
    expect(history).to_contain_text("stays")
    assert ada.find_barriers(read_axe()) == []
    ada.page.set_viewport_size(NARROW)
    assert ada.overflow() == 0
    ada.check()
    bob.check()


def test_who_assigns_what_another_has_assigned_meanwhile_is_told(
    browser: Browser, url: str
) -> None:
    ada, bob = log_in(browser, url, "ada"), log_in(browser, url, "bob")
    for visitor in (ada, bob):
        visitor.go("/dashboard/client?name=y")
    for visitor, name in ((bob, "bob"), (ada, "ada")):
        form = visitor.page.get_by_role("form", name="Assign")
        form.get_by_label("Assign to").fill(name)
        visitor.follow(form.get_by_role("button"))

    expect(ada.page.get_by_role("alert")).to_contain_text("bob has assigned y to bob")
    # What she typed is still there, and now she has seen his entry.
    form = ada.page.get_by_role("form", name="Assign")
    expect(form.get_by_label("Assign to")).to_have_value("ada")
    ada.follow(form.get_by_role("button"))
    expect(ada.page.get_by_role("status")).to_have_text("Recorded.")
    ada.go("/dashboard/worklist?assigned=ada")
    expect(ada.page.get_by_role("table")).to_contain_text("for ada")
