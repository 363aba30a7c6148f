"""The documentation as pages: Markdown files of the repository, rendered without any network."""

import posixpath
import re
from functools import cache
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markupsafe import Markup
from msgspec import Struct

from scripts.api.responses import Answer, RefusedError
from scripts.dashboard import rendering

ROOT = Path(__file__).resolve().parents[2]
GUIDE, PICTURES = "/docs/guide", "/docs/pictures"
INDEX = "docs/README.md"
TEXTS = ("docs/*.md", "*.md", "benchmarks/*.md", "examples/*/*.md")
IMAGES = ("examples/**/*.png",)
# The name of a page is its path without these.
FOLDER, SUFFIX = "docs/", ".md"


class Page(Struct, frozen=True):
    """A rendered page: the title, and the HTML of the text."""

    title: str
    content: Markup


@cache
def list_files(patterns: tuple[str, ...]) -> frozenset[str]:
    """List the files of the repository by patterns, relative to the root."""
    found = (path for pattern in patterns for path in ROOT.glob(pattern))
    return frozenset(path.relative_to(ROOT).as_posix() for path in found)


def name_page(path: str) -> str:
    """Return the name of a page in the address, for example worklist or benchmarks/README."""
    return path.removeprefix(FOLDER).removesuffix(SUFFIX) if path != "README.md" else "start"


@cache
def list_pages() -> dict[str, str]:
    """Return the path of each page by name."""
    return {name_page(path): path for path in list_files(TEXTS)}


def make_anchor(heading: str) -> str:
    """Return the anchor of a heading, by the rules of GitHub."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def resolve(target: str, path: str) -> str:
    """Return the path of a link's target, relative to the root of the repository."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), target))


def address_of(target: str, path: str) -> str | None:
    """Return the address of a link on a page, None for a file without a page.

    Parameters
    ----------
    target : str
        The link as it stands in the page.
    path : str
        The path of the page.
    """
    place, hash_mark, anchor = target.partition("#")
    if "://" in target or not place:
        return target
    resolved = resolve(place, path)
    if resolved not in list_files(TEXTS):
        return None
    name = name_page(resolved)
    return f"{GUIDE if resolved == INDEX else f'{GUIDE}/{name}'}{hash_mark}{anchor}"


def rewrite(tokens: list[Any], path: str) -> None:
    """Let links and pictures lead to the addresses of the service, and give headings anchors.

    The tokens are those of markdown-it-py.
    """
    for number, token in enumerate(tokens):
        if token.type == "heading_open":
            token.attrSet("id", make_anchor(tokens[number + 1].content))
        for child in token.children or ():
            if child.type == "link_open":
                address = address_of(str(child.attrs["href"]), path)
                if address is None:
                    del child.attrs["href"]
                else:
                    child.attrSet("href", address)
            elif child.type == "image":
                child.attrSet("src", f"{PICTURES}/{resolve(str(child.attrs['src']), path)}")


@cache
def render(path: str) -> Page:
    """Render a Markdown file. HTML in the file is shown as text.

    Parameters
    ----------
    path : str
        The path of the page, relative to the root of the repository.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse((ROOT / path).read_text(encoding="utf-8"))
    headings = [tokens[k + 1].content for k, token in enumerate(tokens) if token.tag == "h1"]
    rewrite(tokens, path)
    # Safe: the parser escapes all text, and takes no HTML.
    content = Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704
    return Page(headings[0] if headings else path, content)


def show(page: str = "") -> Answer:
    """Show a page of the documentation.

    Raises
    ------
    RefusedError
        With status 404 for a name of no page, and where the documentation is not installed.
    """
    path = list_pages().get(page or name_page(INDEX))
    if path is None:
        raise RefusedError(404, f"There is no such page; {GUIDE} lists all pages.")
    return rendering.show("guide.html", page=render(path), is_index=path == INDEX, guide=GUIDE)


def show_picture(file: str) -> Answer:
    """Return a picture of the documentation.

    Raises
    ------
    RefusedError
        With status 404 for another name.
    """
    if file not in list_files(IMAGES):
        raise RefusedError(404, "There is no such picture.")
    return Answer(200, (ROOT / file).read_bytes(), [("Content-Type", "image/png")])
