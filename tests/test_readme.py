"""The README names what there is."""

import re
from pathlib import Path

import msgspec
import pytest

from scripts import app
from scripts.core import errors
from scripts.core.config import Config

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PROGRAMS = sorted(
    path.stem
    for path in (ROOT / "scripts").glob("[!_]*.py")
    if 'if __name__ == "__main__"' in path.read_text()
)


def config_keys() -> list[str]:
    """List every key, those of sections with the section's name."""
    keys = []
    for field in msgspec.structs.fields(Config):
        inner = getattr(field.type, "__struct_encode_fields__", None)
        keys += [f"{field.name}.{name}" for name in inner] if inner else [field.name]
    return keys


@pytest.mark.parametrize("key", config_keys())
def test_every_config_key_is_documented(key: str) -> None:
    assert f"`{key}`" in README


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_is_documented(name: str) -> None:
    assert f"scripts.{name}" in README


def test_every_endpoint_is_documented(config_path: Path) -> None:
    rules = [
        re.sub(r"<(?:name:)?(client|file|model|name)>", r"{\1}", rule.rule)
        for rule in app.create_app(config_path).url_map.iter_rules()
    ]

    assert [rule for rule in rules if rule not in README] == []


def test_every_exit_code_is_documented() -> None:
    codes = {kind.exit_code for kind in errors.PipelineError.__subclasses__()}

    assert [code for code in codes if f"| {code} |" not in README] == []


def test_every_file_that_stays_is_documented() -> None:
    for name in ("mlops_cronjob", "automate.sh", "setup.sh", "environment.yml", "config.json"):
        assert name in README


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "CHANGELOG.md",
        "benchmarks/README.md",
        "docs/architecture.md",
        "docs/own-data.md",
    ],
)
def test_no_text_keeps_the_marks_of_a_merge(name: str) -> None:
    lines = (ROOT / name).read_text().splitlines()

    assert [line for line in lines if line.startswith(("<<<<<<<", "=======", ">>>>>>>"))] == []
