"""Nobody else on the machine reads what the programs write."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from scripts.core.config import Config
from tests.conftest import write_installation
from tests.support import programs
from tests.support.programs import Call
from tests.support.service import ROOT, TOKEN, make_row, served

ADMIN = "admin-token-of-the-test"
PROGRAMS: tuple[tuple[str, ...], ...] = (
    ("fullprocess",), ("ingestion",), ("training",), ("scoring",), ("promotion",),
    ("deployment", "deploy"),
    ("diagnostics",), ("monitoring",), ("reporting", "--pdf"), ("worklist",), ("apicalls",),
    ("database", "backup", "copies/copy.db"), ("database", "restore", "copies/copy.db"),
    ("automate", "status"), ("fullprocess", "--dry-run"),
)  # fmt: skip


def run_open(folder: Path, program: str, *arguments: str) -> None:
    """Run a program with an open umask, to any end."""
    environment = os.environ | {"HOME": str(folder)}
    programs.run_call(
        Call(f"scripts.{program}", "", arguments, str(folder), environment, umask=0o022)
    )


def open_places(folder: Path, known: frozenset[Path] = frozenset()) -> list[str]:
    """List the files and folders that another account could use, but for those known."""
    return [
        f"{stat.filemode(path.lstat().st_mode)} {path.relative_to(folder)}"
        for path in sorted(folder.rglob("*"))
        if path not in known and not path.is_symlink() and path.lstat().st_mode & 0o077
    ]


@pytest.fixture
def umask() -> Iterator[None]:
    """Let this test write as most accounts do."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_no_program_writes_what_another_account_can_read(tmp_path: Path) -> None:
    config_path = write_installation(tmp_path)
    known = frozenset(tmp_path.rglob("*"))
    found = {}

    for name, *words in PROGRAMS:
        options = ["--config", str(config_path)]
        run_open(tmp_path, name, *words, *options)
        found[" ".join((name, *words))] = open_places(tmp_path, known)

    assert {program: places for program, places in found.items() if places} == {}
    written = {path.name for path in tmp_path.rglob("*") if path not in known}
    assert written >= {
        "adras.db",
        "model.json",
        "copy.db",
        "confusion_matrix.png",
        "diagnostics.json",
    }


@pytest.mark.usefixtures("umask")
def test_what_the_service_writes_is_for_its_own_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADRAS_API_ADMIN_TOKEN", ADMIN)
    config_path = write_installation(tmp_path)
    known = frozenset(tmp_path.rglob("*"))
    table = (tmp_path / "input" / "a.csv").read_bytes()
    run_open(tmp_path, "fullprocess", "--config", str(config_path))

    with served(config_path, token=TOKEN, log_predictions=1, max_body_bytes=10**6) as (url, _):
        headers = {"Authorization": f"Bearer {ADMIN}"}
        sent = requests.post(
            f"{url}/dashboard/upload", files={"table": ("x.csv", table)}, headers=headers, timeout=9
        )
        requests.post(f"{url}/predict", json={"data": [make_row()]}, headers=headers, timeout=9)

    assert sent.status_code in (200, 201, 303), sent.text
    assert open_places(tmp_path, known | {config_path}) == []


@pytest.mark.usefixtures("umask")
def test_the_log_of_scheduled_runs_is_for_its_own_account(tmp_path: Path) -> None:
    config_path = write_installation(tmp_path)
    (tmp_path / "automate.sh").write_bytes((ROOT / "automate.sh").read_bytes())
    (tmp_path / ".python-path").write_text(f"{sys.executable}\n")
    known = frozenset(tmp_path.rglob("*"))

    environment = os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    subprocess.run(
        ["sh", "automate.sh", "--config", str(config_path)],
        cwd=tmp_path, env=environment, umask=0o022, capture_output=True,
    )  # fmt: skip

    assert list((tmp_path / "logs").iterdir())
    assert open_places(tmp_path, known) == []


@pytest.mark.usefixtures("umask")
def test_a_split_table_is_for_its_own_account(tmp_path: Path) -> None:
    write_installation(tmp_path)
    known = frozenset(tmp_path.rglob("*"))

    run_open(tmp_path, "config", "suggest", "input", "--split", "0.5")

    assert (tmp_path / "traindata").is_dir()
    assert open_places(tmp_path, known) == []


@pytest.mark.usefixtures("umask")
def test_records_that_earlier_versions_left_open_are_closed(config: Config, tmp_path: Path) -> None:
    path = tmp_path / "adras.db"
    path.touch(0o644)

    run_open(tmp_path, "fullprocess", "--config", str(tmp_path / "config.json"))

    assert stat.filemode(path.stat().st_mode) == "-rw-------"


@pytest.mark.parametrize("unit", ["adras-app.service", "adras-run.service"])
def test_the_units_keep_what_is_written_private(unit: str) -> None:
    assert "\nUMask=0077\n" in (ROOT / "examples" / "deployment" / unit).read_text()
