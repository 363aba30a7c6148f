"""Files written whole, and the lock of who writes."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts import durable
from scripts.errors import BusyError

ROOT = Path(__file__).parent.parent


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
        durable.write_whole(tmp_path / "x.txt", "new")

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
            durable.write_whole(path, "new")

    # After the rename, when only the folder's sync failed, it is the new one.
    renamed = failing > WRITE_CALLS.index("replace") + 1
    assert path.read_text() == ("new" if renamed else "old and longer")
    assert [found.name for found in tmp_path.iterdir()] == ["x.txt"]


LIMITED_WRITER = """
import resource, signal, sys
from pathlib import Path
from scripts import durable
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
durable.write_whole(Path(sys.argv[1]), b"n" * 200_000)
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
    path = durable.write_whole(tmp_path / "new" / "deep" / "x.txt", "é\n\r\n")

    assert path.read_bytes() == b"\xc3\xa9\n\r\n"


def test_a_link_is_replaced_in_one_step(tmp_path: Path) -> None:
    link = tmp_path / "current"
    (tmp_path / ".current.tmp").symlink_to("left over by a killed run")
    durable.replace_link(link, "first")

    durable.replace_link(link, "second")

    assert str(link.readlink()) == "second"
    assert list(tmp_path.iterdir()) == [link]


def test_a_link_that_cannot_be_replaced_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "current"
    durable.replace_link(link, "first")

    with monkeypatch.context() as patch:
        Faulty(patch, failing=1)
        with pytest.raises(OSError, match="No space left"):
            durable.replace_link(link, "second")

    assert str(link.readlink()) == "first"


def test_leftovers_go_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    (folder / ".0001_x.tmp").mkdir(parents=True)
    (folder / ".0001_x.tmp" / "model.json").touch()
    (folder / ".x.tmp").symlink_to(tmp_path)
    for name in (".y.csv.tmp", "mine.tmp", ".hidden", "model.json"):
        (folder / name).touch()

    assert durable.remove_leftovers([folder, tmp_path / "missing"]) == 3

    assert sorted(path.name for path in folder.iterdir()) == [".hidden", "mine.tmp", "model.json"]
    assert tmp_path.exists()


# SHA-256 of "abc": FIPS 180-2, appendix B.1.
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_digests_are_sha_256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")

    assert durable.digest(b"abc") == durable.digest_file(tmp_path / "x") == ABC


HOLDER = """
import sys, time
from pathlib import Path
from scripts import durable
with durable.exclusive_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_keeps_others_out_and_ends_with_its_holder(tmp_path: Path) -> None:
    folder = tmp_path / "prod"
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        inode = (folder / durable.LOCK).stat().st_ino

        with (
            pytest.raises(BusyError, match="Another program is writing"),
            durable.exclusive_lock(folder),
        ):
            pass
        holder.send_signal(signal.SIGKILL)

    with durable.exclusive_lock(folder):
        assert (folder / durable.LOCK).stat().st_ino == inode


def test_the_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), durable.exclusive_lock(tmp_path):
        raise ZeroDivisionError

    with durable.exclusive_lock(tmp_path):
        assert (tmp_path / durable.LOCK).exists()


def test_a_program_started_meanwhile_does_not_inherit_the_lock(tmp_path: Path) -> None:
    with durable.exclusive_lock(tmp_path):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)

    with durable.exclusive_lock(tmp_path):
        assert child.poll() is None
    child.communicate(b"\n")
