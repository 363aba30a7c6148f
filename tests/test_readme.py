"""The README and the pages of docs name all there is, once, and every link in them resolves."""

import re
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import msgspec

from scripts import app
from scripts.core import errors
from scripts.core.config import Config

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = [
    *PAGES,
    *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted(ROOT.glob("benchmarks/*.md")),
    *sorted(ROOT.glob("examples/*/*.md")),
]
PROGRAMS = sorted(
    path.stem
    for path in (ROOT / "scripts").glob("[!_]*.py")
    if 'if __name__ == "__main__"' in path.read_text()
)
NAMED_FILES = (
    "setup.sh",
    "automate.sh",
    "mlops_cronjob",
    "environment.yml",
    "config.json",
    *(path.name for path in ROOT.glob("*.lock")),
)
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def name_of(path: Path) -> str:
    """Name a page for a test."""
    return str(path.relative_to(ROOT))


def is_code(line: str) -> bool:
    """Whether a line belongs to an indented block of code."""
    return line.startswith("    ")


@cache
def read_prose(path: Path) -> str:
    """Read a page without its blocks of code."""
    lines = FENCED.sub("", path.read_text()).splitlines()
    return "\n".join(line for line in lines if not is_code(line))


@cache
def anchors(path: Path) -> list[str]:
    """List the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", read_prose(path), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


def documented(header: str) -> list[str]:
    """List the names in backticks that open the rows of the tables with a header."""
    found = []
    for table in re.findall(r"(?:^\|.*\n)+", "\n".join(map(read_prose, PAGES)), re.MULTILINE):
        if table.startswith(f"| {header} |"):
            cells = re.findall(r"^\| (.*?) (?<!\\)\|", table, re.MULTILINE)
            found += re.findall(r"`([^`]+)`", "\n".join(cells))
    return found


def wrongly_counted(wanted: Iterable[str], named: list[str]) -> dict[str, int]:
    """Return the names that are not there exactly once."""
    return {name: named.count(name) for name in wanted if named.count(name) != 1}


def config_keys() -> list[str]:
    """List every key, those of sections with the section's name."""
    keys = []
    for field in msgspec.structs.fields(Config):
        inner = getattr(field.type, "__struct_encode_fields__", None)
        keys += [f"{field.name}.{name}" for name in inner] if inner else [field.name]
    return keys


def test_every_config_key_is_documented_once_and_no_other() -> None:
    named = documented("key | default")

    assert wrongly_counted(config_keys(), named) == {}
    assert set(named) == set(config_keys())


def test_every_program_is_documented_once() -> None:
    named = documented("module")

    assert wrongly_counted((f"scripts.{name}" for name in PROGRAMS), named) == {}


def test_every_route_is_documented_once(config_path: Path) -> None:
    routes = []
    for rule in app.create_app(config_path).url_map.iter_rules():
        path = re.sub(r"<(?:name:)?(client|file|model|name|page|run)>", r"{\1}", rule.rule)
        (method,) = (rule.methods or set()) - {"HEAD", "OPTIONS"}
        routes.append(f"{method} {path}")
    pages = documented("page")
    named = documented("route") + [
        f"{method} {path}" for path in pages for method in ("GET", "POST")
    ]

    assert wrongly_counted(routes, named) == {}


def test_every_exit_code_is_documented_once() -> None:
    page = (ROOT / "docs/configuration.md").read_text()
    codes = {kind.exit_code for kind in errors.PipelineError.__subclasses__()}

    assert [code for code in codes if page.count(f"\n| {code} |") != 1] == []


def test_every_file_that_stays_is_documented_once() -> None:
    assert wrongly_counted(NAMED_FILES, documented("file or folder")) == {}


def test_every_variable_of_the_environment_is_documented_once() -> None:
    read = "\n".join(path.read_text() for path in (ROOT / "scripts").rglob("*.py"))
    read += (ROOT / "automate.sh").read_text()
    variables = set(re.findall(r"\bADRAS_[A-Z_]+\b", read))

    assert wrongly_counted(variables, documented("variable")) == {}


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs/README.md").read_text()

    assert [p.name for p in PAGES if p.name != "README.md" and f"({p.name})" not in index] == []


def test_the_readme_has_at_most_200_lines() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def test_every_link_leads_to_a_file_and_a_heading() -> None:
    lost = []
    for path in TEXTS:
        for target in LINK.findall(read_prose(path)):
            place, _, anchor = target.partition("#")
            file = path.parent / place if place else path
            if "://" in target or (file.exists() and (not anchor or anchor in anchors(file))):
                continue
            lost.append(f"{name_of(path)}: {target}")

    assert lost == []


def test_no_two_headings_of_a_page_have_one_anchor() -> None:
    assert [name_of(path) for path in PAGES if len(anchors(path)) > len(set(anchors(path)))] == []


def test_no_text_keeps_the_marks_of_a_merge() -> None:
    marks = ("<<<<<<<", "=======", ">>>>>>>")
    lines = [line for path in TEXTS for line in path.read_text().splitlines()]

    assert [line for line in lines if line.startswith(marks)] == []


def test_project_changelog_and_citation_have_one_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    released = re.findall(r"^## (\S+) - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    citation = (ROOT / "CITATION.cff").read_text()
    assert released[0][0] == version
    assert f"version: {version}\ndate-released: {released[0][1]}\n" in citation


def test_the_product_has_one_name() -> None:
    texts = [*TEXTS, ROOT / "CITATION.cff", *(ROOT / "scripts").rglob("*.py")]
    texts += (ROOT / "scripts/dashboard/templates").glob("*.html")
    named = {
        name
        for path in texts
        for name in re.findall(r"dynamic\s+risk\s+assessment(?: system)?", path.read_text(), re.I)
    }

    assert named == {"Dynamic Risk Assessment System"}


def test_every_figure_of_the_readme_is_measured_by_the_command_beside_it() -> None:
    measured = (ROOT / "benchmarks/README.md").read_text()
    text = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| .* \| (.*) \| `python -m (\S+).*` \|$", text, re.MULTILINE)

    assert len(rows) == 5
    for figures, module in rows:
        section = measured.split(f"\n## {module.removeprefix('benchmarks.')}.py:")[1]
        section = section.split("\n## ")[0]
        # How many of how many tables is counted, not printed.
        numbers = re.findall(r"\d[\d,.]*", figures.replace("13 of 13", ""))
        assert [number for number in numbers if number.strip(",.") not in section] == []
