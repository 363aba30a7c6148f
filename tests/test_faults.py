"""Whatever ends a run, and whenever: production is whole, and the next run completes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import SMALL_ROWS, make_rows, write_csv

ROOT = Path(__file__).parent.parent


def install(folder: Path) -> Path:
    """Make an installation before its first run, and return the path of its config."""
    write_csv(folder / "input" / "a.csv", SMALL_ROWS[:14])
    write_csv(folder / "input" / "b.csv", SMALL_ROWS[12:])
    write_csv(folder / "test" / "t.csv", make_rows(60, 99, noise=0.3))
    settings = {
        "input_folder_path": "input",
        "output_folder_path": "output",
        "test_data_path": "test",
        "output_model_path": "models",
        "prod_deployment_path": "prod",
        "ingestion": {"settle_s": 0},
        "api": {"port": 1},
        "retention": {"runs": 4, "releases": 4},
    }
    path = folder / "config.json"
    path.write_text(json.dumps(settings))
    return path


def cause(
    config_path: Path, *arguments: str, fast: bool = True, database_url: str | None = None
) -> dict[str, int]:
    """Let faults happen to an installation, and return what was counted."""
    command = [sys.executable, "-m", "tests.support.faults", str(config_path), *arguments]
    environment = {
        **os.environ, "OPENBLAS_NUM_THREADS": "1", "ADRAS_FAULTS": "fast" if fast else "",
    }  # fmt: skip
    if database_url is not None:
        # It may hold a password, which no config.json takes.
        environment["ADRAS_DATABASE_URL"] = database_url
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    counts: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return counts


def show(capsys: pytest.CaptureFixture[str], what: str, counts: dict[str, int]) -> None:
    """Print what a campaign counted."""
    with capsys.disabled():
        print(f"\n{what}: {counts}")


def mount(folder: Path, *arguments: str) -> Iterator[Path]:
    """Mount a file system for a test, if this user may."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", *arguments, str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a file system of its own needs the right to mount: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 6 MB."""
    yield from mount(tmp_path / "disk", "-t", "tmpfs", "-o", "size=6m", "tmpfs")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An ext4 file system in a file."""
    path = tmp_path / "disk.img"
    with path.open("wb") as handle:
        handle.truncate(48 * 2**20)
    try:
        subprocess.run(["mkfs.ext4", "-q", str(path)], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("mkfs.ext4 is not there")
    return path


@pytest.fixture
def loop_disk(tmp_path: Path, image: Path) -> Iterator[Path]:
    """That file system, mounted."""
    yield from mount(tmp_path / "disk", "-o", "loop", str(image))


def test_a_run_that_dies_before_some_of_its_file_system_calls_harms_nothing(
    tmp_path: Path,
) -> None:
    counts = cause(install(tmp_path), "calls", "3", "29")

    assert counts["deaths"] >= 2


def test_a_run_killed_at_random_harms_nothing(tmp_path: Path) -> None:
    counts = cause(install(tmp_path), "kills", "3")

    assert counts["old"] + counts.get("new", 0) == 3


def test_a_full_disk_harms_nothing(small_disk: Path) -> None:
    counts = cause(install(small_disk), "full", "3")

    assert counts["failed"] >= 1


@pytest.mark.campaign
def test_a_run_that_dies_before_any_file_system_call_harms_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show(capsys, "deaths before every call", cause(install(tmp_path), "calls", "0", "1"))


@pytest.mark.campaign
def test_200_kills_harm_nothing(
    tmp_path: Path, records_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show(capsys, "kills", cause(install(tmp_path), "kills", "200", database_url=records_url))


@pytest.mark.campaign
def test_65_levels_of_a_full_disk_harm_nothing(
    small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show(capsys, "levels of a full disk", cause(install(small_disk), "full", "65"))


@pytest.mark.campaign
def test_60_power_cuts_lose_nothing_acknowledged(
    loop_disk: Path, image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show(capsys, "power cuts", cause(install(loop_disk), "cuts", "60", str(image)))
