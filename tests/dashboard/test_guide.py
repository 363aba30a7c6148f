"""The documentation as pages: every link and picture leads somewhere, and nothing can run."""

import re
from html import unescape
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from scripts.dashboard import guide, rendering

GUARD = "Content-Security-Policy"


def links_of(html: str, attribute: str) -> list[str]:
    """List the values of an attribute in the text of a page."""
    article = html.split('<article class="guide">')[1].split("</article>")[0]
    return [unescape(value) for value in re.findall(f' {attribute}="([^"]*)"', article)]


def test_every_link_of_every_page_leads_to_a_page_and_a_heading(client: FlaskClient) -> None:
    answers = {f"/docs/guide/{name}": "" for name in guide.list_pages()} | {"/docs/guide": ""}
    for address in answers:
        answer = client.get(address)
        assert answer.status_code == 200, address
        answers[address] = answer.text

    lost = []
    for address, html in answers.items():
        for target in links_of(html, "href"):
            place, _, anchor = target.partition("#")
            html_there = answers.get(place or address, "")
            if "://" not in target and (
                not html_there or (anchor and f'id="{anchor}"' not in html_there)
            ):
                lost.append((address, target))
    assert lost == []


def test_every_picture_of_every_page_is_there(client: FlaskClient) -> None:
    sources = [
        source
        for path in guide.list_pages().values()
        for source in re.findall(r'<img src="([^"]*)"', guide.render(path).content)
    ]

    assert len(sources) > 5
    for source in set(sources):
        answer = client.get(source)
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.data.startswith(b"\x89PNG")


def test_a_page_keeps_the_policy_of_the_pages(client: FlaskClient) -> None:
    answer = client.get("/docs/guide/worklist")

    assert answer.headers[GUARD] == rendering.POLICY
    assert " style=" not in answer.text
    assert "<title>Whom to call · " in answer.text


def test_the_guide_is_open_where_a_token_is_set(guarded: FlaskClient) -> None:
    assert guarded.get("/docs/guide").status_code == 200
    assert guarded.get("/").status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "/docs/guide/nothing", "/docs/guide/../config", "/docs/guide/docs/worklist.md",
        "/docs/pictures/config.json", "/docs/pictures/examples/../config.json",
        "/docs/pictures//etc/passwd", "/docs/pictures/scripts/dashboard/static/mark.svg",
    ],
)  # fmt: skip
def test_no_other_file_is_served(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code in (400, 404)


def test_html_in_a_page_is_shown_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guide, "ROOT", tmp_path)
    hostile = "# A <b>x</b>\n\n<script>alert(1)</script>\n\n[a](javascript:alert(1)) <img src=x>\n"
    (tmp_path / "x.md").write_text(hostile)

    page = guide.render.__wrapped__("x.md")

    assert "<script" not in page.content
    assert "<img" not in page.content
    assert "<b>" not in page.content
    assert 'href="javascript' not in page.content


def test_a_link_to_a_file_that_is_no_page_is_text() -> None:
    assert guide.address_of("../LICENSE", "docs/README.md") is None
    assert (
        guide.address_of("worklist.md#the-list", "docs/api.md") == "/docs/guide/worklist#the-list"
    )
    assert guide.address_of("docs/README.md", "README.md") == "/docs/guide"
    assert guide.address_of("https://example.com/#a", "README.md") == "https://example.com/#a"


def test_without_the_documentation_the_guide_says_so(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guide, "list_pages", dict)

    assert client.get("/docs/guide").status_code == 404


def test_every_page_leads_to_the_guide(client: FlaskClient) -> None:
    answer = client.get("/", headers={"Accept": "text/html"})

    assert '<a href="/docs/guide">Guide</a>' in answer.text
