"""The folder of the metrics that several processes share."""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from scripts.api import metrics_folder

ROOT = Path(__file__).parents[2]
SERVE = """
import sys, tempfile, time
from scripts.api import metrics_folder
tempfile.tempdir = sys.argv[1]
with metrics_folder.opened() as folder:
    (folder / "counter_1.db").write_bytes(b"counts")
    print(folder.name, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_folder_of_a_killed_service_is_removed_by_the_next_one(place: Path) -> None:
    command = [sys.executable, "-c", SERVE, str(place)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        with metrics_folder.opened() as folder:
            beside = sorted(path.name for path in place.iterdir())
        process.send_signal(signal.SIGKILL)
        process.wait()
    left = [path.name for path in place.iterdir()]

    with metrics_folder.opened() as own:
        found = list(place.iterdir())

    assert beside == sorted([name, folder.name])
    assert left == [name]
    assert found == [own]
    assert list(place.iterdir()) == []


def test_what_no_service_made_stays(place: Path) -> None:
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / metrics_folder.LOCK_NAME).touch()
    (place / f"{metrics_folder.PREFIX}link").symlink_to(elsewhere)
    (place / f"{metrics_folder.PREFIX}begun").mkdir()
    (place / f"{metrics_folder.PREFIX}file").touch()
    before = sorted(place.rglob("*"))

    metrics_folder.remove_left_over()

    assert sorted(place.rglob("*")) == before
