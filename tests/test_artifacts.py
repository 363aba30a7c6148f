"""Files written whole, named in order, found again; and one writer at a time."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scripts import artifacts
from scripts.artifacts import Kind
from scripts.errors import BusyError, DatasetError, NotMadeYetError, ReleaseError

ROOT = Path(__file__).parent.parent
NOW = datetime(2026, 3, 1, 12, 30, 45, 678901, tzinfo=UTC)
STAMP = "20260301T123045678901Z"


# Stamps


def test_a_stamp_is_the_moment_in_utc() -> None:
    berlin = NOW.astimezone(tz=None)

    assert artifacts.next_stamp(NOW, []) == STAMP
    assert artifacts.next_stamp(berlin, []) == STAMP


def test_1000_stamps_of_a_clock_that_steps_are_in_order(tmp_path: Path) -> None:
    clock = random.Random(14)
    folders, moment, stamps = [tmp_path / "a", tmp_path / "b"], NOW, []
    for folder in folders:
        folder.mkdir()
    for number in range(1000):
        # The same microsecond again, a little on, or back by up to a day.
        step_s = clock.choice([0, 0, 0, 1e-6, 1, 86400, 86400, -1e-6, -1, -3600, -86400])
        moment += timedelta(seconds=step_s)
        stamps.append(artifacts.next_stamp(moment, folders))
        kind = (Kind.DATASET, Kind.MODEL, Kind.REJECTED)[number % 3]
        kind.path(folders[number % 2], stamps[-1]).touch()

    assert len(set(stamps)) == 1000
    assert stamps == sorted(stamps)
    listed = artifacts.list_exact(folders[0], Kind.DATASET)
    assert [artifacts.stamp_of(path) for path in listed] == stamps[0::6]


def test_a_stamp_at_the_end_of_a_year_goes_on(tmp_path: Path) -> None:
    Kind.MODEL.path(tmp_path, "20261231T235959999999Z").touch()

    assert artifacts.next_stamp(NOW, [tmp_path]) == "20270101T000000000000Z"


@pytest.mark.parametrize(
    ("name", "stamp"),
    [
        (f"model_{STAMP}.json", STAMP),
        (f"0001_{STAMP}", STAMP),
        ("model.json", ""),
        ("model_20260301T123045Z.json", ""),
        ("model_20261301T123045678901Z.json", ""),
        ("model_20260230T123045678901Z.json", ""),
        ("model_20260301T250045678901Z.json", ""),
    ],
)
def test_a_stamp_is_read_off_a_name_or_is_none(name: str, stamp: str) -> None:
    assert artifacts.stamp_of(Path(name)) == stamp


def test_a_name_that_is_no_date_does_not_stop_stamps(tmp_path: Path) -> None:
    (tmp_path / "model_99999999T999999999999Z.json").touch()

    assert artifacts.next_stamp(NOW, [tmp_path, tmp_path / "missing"]) == STAMP


# Written whole


class Faulty:
    """Counts the calls that change a disk and lets one of them fail."""

    CALLS = (
        (Path, "open"), (os, "fsync"), (Path, "replace"), (os, "open"), (Path, "mkdir"),
    )  # fmt: skip

    def __init__(self, patch: pytest.MonkeyPatch, failing: int) -> None:
        self.failing, self.seen = failing, list[str]()
        for owner, name in self.CALLS:
            patch.setattr(owner, name, self.counted(getattr(owner, name), name))

    def counted(self, real: Callable[..., Any], name: str) -> Callable[..., Any]:
        """Count the calls of a function, and fail at the chosen one."""

        def call(*args: Any, **options: Any) -> Any:
            self.seen.append(name)
            if len(self.seen) == self.failing:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*args, **options)

        return call


WRITE_CALLS = ["mkdir", "open", "fsync", "replace", "open", "fsync"]


def test_a_file_is_synced_then_renamed_then_its_folder_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        watched = Faulty(patch, failing=0)
        artifacts.write_whole(tmp_path / "x.txt", "new")

    assert watched.seen == WRITE_CALLS
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]


@pytest.mark.parametrize("failing", range(1, len(WRITE_CALLS) + 1))
def test_a_failing_call_leaves_the_old_file_or_the_new_one_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old and longer")

    with monkeypatch.context() as patch:
        Faulty(patch, failing)
        with pytest.raises(OSError, match="No space left"):
            artifacts.write_whole(path, "new")

    # After the rename, when only the folder's sync failed, it is the new one.
    renamed = failing > WRITE_CALLS.index("replace") + 1
    assert path.read_text() == ("new" if renamed else "old and longer")
    assert [found.name for found in tmp_path.iterdir()] == ["x.txt"]


LIMITED_WRITER = """
import resource, signal, sys
from pathlib import Path
from scripts import artifacts
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
artifacts.write_whole(Path(sys.argv[1]), b"n" * 200_000)
"""


def test_a_write_that_the_kernel_cuts_short_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")

    done = subprocess.run(
        [sys.executable, "-c", LIMITED_WRITER, str(path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert "File too large" in done.stderr
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_text_is_utf_8_and_line_ends_stay(tmp_path: Path) -> None:
    path = artifacts.write_whole(tmp_path / "new" / "deep" / "x.txt", "é\n\r\n")

    assert path.read_bytes() == b"\xc3\xa9\n\r\n"


def test_a_link_is_replaced_in_one_step(tmp_path: Path) -> None:
    link = tmp_path / "current"
    (tmp_path / ".current.tmp").symlink_to("left over by a killed run")
    artifacts.replace_link(link, "first")

    artifacts.replace_link(link, "second")

    assert str(link.readlink()) == "second"
    assert list(tmp_path.iterdir()) == [link]


def test_a_link_that_cannot_be_replaced_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "current"
    artifacts.replace_link(link, "first")

    with monkeypatch.context() as patch:
        Faulty(patch, failing=1)
        with pytest.raises(OSError, match="No space left"):
            artifacts.replace_link(link, "second")

    assert str(link.readlink()) == "first"


# Found again


def make_dated(folder: Path, kind: Kind, *days: int) -> list[Path]:
    """Make dated files of some days."""
    folder.mkdir(exist_ok=True)
    paths = [kind.path(folder, f"202603{day:02d}T000000000000Z") for day in days]
    for path in paths:
        path.write_text(path.name)
    return paths


def test_the_latest_whole_file_is_found(tmp_path: Path) -> None:
    models = make_dated(tmp_path, Kind.MODEL, 3, 1, 2)
    make_dated(tmp_path, Kind.PICKLE, 1, 2)
    (tmp_path / "model_copy.json").touch()
    (tmp_path / "model_20260309T000000000000Z (1).json").touch()
    (tmp_path / ".model_20260309T000000000000Z.json.tmp").touch()

    # Of the third day there is no pickle: training died between its two files.
    assert artifacts.find_latest(tmp_path, Kind.MODEL, "training") == models[2]


@pytest.mark.parametrize("folder", ["", "missing"])
def test_without_any_file_the_step_to_run_is_named(tmp_path: Path, folder: str) -> None:
    with pytest.raises(NotMadeYetError, match=r"no model_<stamp>\.json; run python -m scripts\.x "):
        artifacts.find_latest(tmp_path / folder, Kind.MODEL, "x")


def test_leftovers_go_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    (folder / ".0001_x.tmp").mkdir(parents=True)
    (folder / ".0001_x.tmp" / "model.json").touch()
    (folder / ".x.tmp").symlink_to(tmp_path)
    for name in (".y.csv.tmp", "mine.tmp", ".hidden", "model.json"):
        (folder / name).touch()

    assert artifacts.remove_leftovers([folder, tmp_path / "missing"]) == 3

    assert sorted(path.name for path in folder.iterdir()) == [".hidden", "mine.tmp", "model.json"]
    assert tmp_path.exists()


def test_the_newest_stamps_and_the_spared_ones_stay(tmp_path: Path) -> None:
    make_dated(tmp_path, Kind.MODEL, 1, 2, 3, 4, 5)
    make_dated(tmp_path, Kind.PICKLE, 1, 2, 3, 4, 5)
    make_dated(tmp_path, Kind.SCORE, 5)
    (tmp_path / "model_of_mine.json").touch()

    n_removed = artifacts.remove_all_but_latest(tmp_path, 2, frozenset({"20260302T000000000000Z"}))

    left = sorted(path.name[:14] for path in tmp_path.glob("model_2026*"))
    assert n_removed == 2
    assert left == ["model_20260302", "model_20260304", "model_20260305"]
    assert len(list(tmp_path.iterdir())) == 3 + 3 + 1 + 1


# Input


def test_tables_are_listed_in_name_order_without_what_is_being_written(tmp_path: Path) -> None:
    names = ["b.csv", "a.csv", "C.CSV", "ä.csv", ".hidden.csv", "d.csv.part", "d.csv.tmp", "e.txt"]
    for name in names:
        (tmp_path / name).touch()

    listed = [path.name for path in artifacts.list_tables(tmp_path)]

    assert listed == ["C.CSV", "a.csv", "b.csv", "ä.csv"]


def test_one_file_is_a_list_of_one(tmp_path: Path) -> None:
    path = tmp_path / "test.data"
    path.touch()

    assert artifacts.list_tables(path) == [path]


def test_a_name_that_is_not_utf_8_is_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9.csv")).touch()

    assert artifacts.list_tables(tmp_path) == []
    assert "its name is not UTF-8; rename it" in caplog.text


def test_a_folder_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be listed: No such file"):
        artifacts.list_tables(tmp_path / "missing")


class Clock:
    """A clock that only moves when somebody sleeps, and what happens meanwhile."""

    def __init__(self, patch: pytest.MonkeyPatch, meanwhile: Callable[[], object]) -> None:
        self.slept_s = list[float]()
        self.meanwhile = meanwhile
        patch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        """Note the sleep and let things happen."""
        self.slept_s.append(seconds)
        self.meanwhile()


def settle(
    folder: Path, patch: pytest.MonkeyPatch, meanwhile: Callable[[], object]
) -> tuple[list[str], list[str], list[float]]:
    """Ask which files of a folder are complete; give their names and the sleeps."""
    with patch.context() as inner:
        clock = Clock(inner, meanwhile)
        settled, growing = artifacts.settled_tables(folder, 2.0)
    return [p.name for p in settled], [p.name for p in growing], clock.slept_s


def nothing() -> None:
    """Let nothing happen."""


def make_old(path: Path) -> Path:
    """Make a file that was last changed long ago."""
    path.write_text("old")
    os.utime(path, (1, 1))
    return path


def test_old_files_are_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_old(tmp_path / "a.csv")

    assert settle(tmp_path, monkeypatch, nothing) == (["a.csv"], [], [])


def test_a_young_file_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_old(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("young")

    assert settle(tmp_path, monkeypatch, nothing) == (["a.csv", "b.csv"], [], [2.0])


def test_a_file_from_the_future_is_waited_for_and_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.utime(make_old(tmp_path / "a.csv"), (2**33, 2**33))

    assert settle(tmp_path, monkeypatch, nothing) == (["a.csv"], [], [2.0])


def test_what_changes_comes_or_goes_meanwhile_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_old(tmp_path / "a.csv")
    for name in ("grows.csv", "goes.csv", "swapped.csv", "young.csv"):
        (tmp_path / name).write_text("x")

    def change() -> None:
        with (tmp_path / "grows.csv").open("a") as handle:
            handle.write("more")
        (tmp_path / "goes.csv").unlink()
        (tmp_path / "comes.csv").write_text("x")
        before = (tmp_path / "swapped.csv").stat()
        (tmp_path / "new").write_text("y")
        os.utime(tmp_path / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
        (tmp_path / "new").replace(tmp_path / "swapped.csv")

    settled, growing, _ = settle(tmp_path, monkeypatch, change)

    assert settled == ["a.csv", "young.csv"]
    assert growing == ["comes.csv", "grows.csv", "swapped.csv"]


def test_a_link_follows_its_target_and_a_dangling_one_has_a_state(tmp_path: Path) -> None:
    target = make_old(tmp_path / "data")
    (tmp_path / "a.csv").symlink_to(target)
    (tmp_path / "b.csv").symlink_to("nowhere")

    assert artifacts.file_state(tmp_path / "a.csv") == artifacts.file_state(target)
    assert len(artifacts.file_state(tmp_path / "b.csv")) == 3


# Releases


def test_releases_are_listed_by_their_number(tmp_path: Path) -> None:
    folder = tmp_path / artifacts.RELEASES
    for name in (f"9999_{STAMP}", f"10000_{STAMP}", f"0002_{STAMP}", f".0003_{STAMP}.tmp", "notes"):
        (folder / name).mkdir(parents=True)

    names = [path.name.split("_")[0] for path in artifacts.list_releases(tmp_path)]

    assert names == ["0002", "9999", "10000"]
    assert artifacts.list_releases(tmp_path / "missing") == []


def test_the_current_release_is_a_link_or_nothing(tmp_path: Path) -> None:
    assert artifacts.current_target(tmp_path) is None
    (tmp_path / "current").symlink_to("releases/x")
    assert artifacts.current_target(tmp_path) == "releases/x"
    (tmp_path / "current").unlink()
    (tmp_path / "current").mkdir()
    with pytest.raises(ReleaseError, match="is not a symbolic link"):
        artifacts.current_target(tmp_path)


# SHA-256 of "abc": FIPS 180-2, appendix B.1.
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_digests_are_sha_256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")

    assert artifacts.digest(b"abc") == artifacts.digest_file(tmp_path / "x") == ABC


# The lock

HOLDER = """
import sys, time
from pathlib import Path
from scripts import artifacts
with artifacts.exclusive_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_keeps_others_out_and_ends_with_its_holder(tmp_path: Path) -> None:
    folder = tmp_path / "prod"
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        inode = (folder / artifacts.LOCK).stat().st_ino

        with (
            pytest.raises(BusyError, match="Another program is writing"),
            artifacts.exclusive_lock(folder),
        ):
            pass
        holder.send_signal(signal.SIGKILL)

    with artifacts.exclusive_lock(folder):
        assert (folder / artifacts.LOCK).stat().st_ino == inode


def test_the_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), artifacts.exclusive_lock(tmp_path):
        raise ZeroDivisionError

    with artifacts.exclusive_lock(tmp_path):
        assert (tmp_path / artifacts.LOCK).exists()


def test_a_program_started_meanwhile_does_not_inherit_the_lock(tmp_path: Path) -> None:
    with artifacts.exclusive_lock(tmp_path):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)

    with artifacts.exclusive_lock(tmp_path):
        assert child.poll() is None
    child.communicate(b"\n")
