"""Durable writes, the lock, lists of input files, and remote paths."""

import errno
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts.core import files
from scripts.core.errors import BusyError, DatasetError
from scripts.core.files import RemotePath, is_remote

PLACES = [
    "s3a://lake/in/a.csv",
    "viewfs:///in/a b.csv",
    "abfss://c@account.dfs.example.com/in/é.csv",
]


@pytest.mark.parametrize("text", PLACES)
def test_a_remote_path_keeps_its_text_also_in_another_process(text: str) -> None:
    address = RemotePath(text)

    assert str(address) == str(pickle.loads(pickle.dumps(address))) == f"{address}" == text
    assert pickle.loads(pickle.dumps(address)) == address
    assert address.name == text.rpartition("/")[2]


def test_an_address_is_nowhere_on_this_machine(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a")

    assert not RemotePath(f"file://{tmp_path}/a.csv").exists()
    assert not RemotePath(f"file://{tmp_path}/a.csv").is_absolute()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("s3a://lake", True), ("gs://lake/in", True), ("file:///in", True),
        ("hdfs://n:8020/", True), ("s3a:/lake", False), ("in", False), ("/in", False),
        ("C://in", False), ("s3a://a b", False), ("://in", False), ("s3a://", False), ("", False),
    ],
)  # fmt: skip
def test_what_has_a_scheme_is_an_address(text: str, answer: bool) -> None:
    assert is_remote(text) is answer


ROOT = Path(__file__).parents[2]


class Faulty:
    """Counter of calls with an effect on the disk, and a failure at a chosen call."""

    CALLS = (
        (Path, "open"), (os, "fsync"), (Path, "replace"), (os, "open"), (Path, "mkdir"),
    )  # fmt: skip

    def __init__(self, patch: pytest.MonkeyPatch, failing: int) -> None:
        self.failing, self.seen = failing, list[str]()
        for owner, name in self.CALLS:
            patch.setattr(owner, name, self.counted(getattr(owner, name), name))

    def counted(self, real: Callable[..., Any], name: str) -> Callable[..., Any]:
        """Count the calls of a function, and fail at the chosen call."""

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
        files.write_whole(tmp_path / "x.txt", "new")

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
            files.write_whole(path, "new")

    # After the rename, when only the folder's sync failed, it is the new one.
    renamed = failing > WRITE_CALLS.index("replace") + 1
    assert path.read_text() == ("new" if renamed else "old and longer")
    assert [found.name for found in tmp_path.iterdir()] == ["x.txt"]


LIMITED_WRITER = """
import resource, signal, sys
from pathlib import Path
from scripts.core import files
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
files.write_whole(Path(sys.argv[1]), b"n" * 200_000)
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
    path = files.write_whole(tmp_path / "new" / "deep" / "x.txt", "é\n\r\n")

    assert path.read_bytes() == b"\xc3\xa9\n\r\n"


def test_a_link_is_replaced_in_one_step(tmp_path: Path) -> None:
    link = tmp_path / "current"
    (tmp_path / ".current.tmp").symlink_to("left over by a killed run")
    files.replace_link(link, "first")

    files.replace_link(link, "second")

    assert str(link.readlink()) == "second"
    assert list(tmp_path.iterdir()) == [link]


def test_a_link_that_cannot_be_replaced_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "current"
    files.replace_link(link, "first")

    with monkeypatch.context() as patch:
        Faulty(patch, failing=1)
        with pytest.raises(OSError, match="No space left"):
            files.replace_link(link, "second")

    assert str(link.readlink()) == "first"


def test_only_leftovers_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    (folder / ".0001_x.tmp").mkdir(parents=True)
    (folder / ".0001_x.tmp" / "model.json").touch()
    (folder / ".x.tmp").symlink_to(tmp_path)
    for name in (".y.csv.tmp", "mine.tmp", ".hidden", "model.json"):
        (folder / name).touch()

    assert files.remove_leftovers([folder, tmp_path / "missing"]) == 3

    assert sorted(path.name for path in folder.iterdir()) == [".hidden", "mine.tmp", "model.json"]
    assert tmp_path.exists()


# SHA-256 of "abc": FIPS 180-2, appendix B.1.
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_digests_are_sha_256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")

    assert files.digest(b"abc") == files.digest_file(tmp_path / "x") == ABC


HOLDER = """
import sys, time
from pathlib import Path
from scripts.core import files
with files.exclusive_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_keeps_others_out_and_ends_with_its_holder(tmp_path: Path) -> None:
    folder = tmp_path / "prod"
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        inode = (folder / files.LOCK).stat().st_ino

        with (
            pytest.raises(BusyError, match="Another program is writing"),
            files.exclusive_lock(folder),
        ):
            pass
        holder.send_signal(signal.SIGKILL)

    with files.exclusive_lock(folder):
        assert (folder / files.LOCK).stat().st_ino == inode


def test_the_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), files.exclusive_lock(tmp_path):
        raise ZeroDivisionError

    with files.exclusive_lock(tmp_path):
        assert (tmp_path / files.LOCK).exists()


def test_a_program_started_meanwhile_does_not_inherit_the_lock(tmp_path: Path) -> None:
    with files.exclusive_lock(tmp_path):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)

    with files.exclusive_lock(tmp_path):
        assert child.poll() is None
    child.communicate(b"\n")


def test_tables_are_listed_in_name_order_without_what_is_being_written(tmp_path: Path) -> None:
    names = ["b.csv", "a.csv", "C.CSV", "ä.csv", ".hidden.csv", "d.csv.part", "d.csv.tmp", "e.txt"]
    for name in names:
        (tmp_path / name).touch()

    listed = [path.name for path in files.list_tables(tmp_path)]

    assert listed == ["C.CSV", "a.csv", "b.csv", "ä.csv"]


def test_one_file_is_a_list_of_one(tmp_path: Path) -> None:
    path = tmp_path / "test.data"
    path.touch()

    assert files.list_tables(path) == [path]


def test_a_name_that_is_not_utf_8_is_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9.csv")).touch()

    assert files.list_tables(tmp_path) == []
    assert "its name is not UTF-8; rename it" in caplog.text


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be listed: No such file"):
        files.list_tables(tmp_path / "missing")


def make_link(path: Path) -> None:
    path.with_name("other").write_text("x")
    path.symlink_to(path.with_name("other"))


@pytest.mark.parametrize(
    "make", [os.mkfifo, make_link, Path.mkdir, lambda path: path.symlink_to("/dev/zero")]
)
def test_only_a_plain_file_is_opened(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "a.csv")

    with pytest.raises(files.NotRegularError):
        files.open_regular(tmp_path / "a.csv")


def test_a_digest_ends_at_a_line_that_is_too_long(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\n" * 10**6)
    assert files.digest_lines(path) == files.digest_file(path)

    path.write_bytes(b"a,b\n" + bytes(2**21) + b"1\n")
    one = files.digest_lines(path)
    path.write_bytes(b"a,b\n" + bytes(2**21) + b"2\n")
    same = files.digest_lines(path)
    path.write_bytes(b"a,c\n" + bytes(2**21) + b"2\n")

    assert one == same != files.digest_lines(path)


class Clock:
    """Clock with changes only by sleep, and an event during the sleep."""

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
    """Return the names of complete and growing files, and the sleeps."""
    with patch.context() as inner:
        clock = Clock(inner, meanwhile)
        settled, growing = files.find_complete_tables(folder, 2.0)
    return [p.name for p in settled], [p.name for p in growing], clock.slept_s


def nothing() -> None:
    """Do nothing."""


def make_old(path: Path) -> Path:
    """Write a file with an old time of change."""
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

    assert files.file_state(tmp_path / "a.csv") == files.file_state(target)
    assert len(files.file_state(tmp_path / "b.csv")) == 3


def test_tables_that_nobody_reads_are_named(tmp_path: Path) -> None:
    for name in ("march.csv.gz", "april.xlsx", "may.txt", "README.txt", ".hidden.zip", "june.csv"):
        (tmp_path / name).touch()
    for name in ("2026-07", "outcomes", "empty"):
        (tmp_path / name).mkdir()
    for name in ("2026-07/clients.csv", "outcomes/left.csv"):
        (tmp_path / name).touch()

    told = files.describe_unread(tmp_path, [tmp_path / "outcomes"])

    assert told.startswith(
        f"Not read in {tmp_path}: 2026-07/, april.xlsx, march.csv.gz and 1 more."
    )
    (tmp_path / "loop.gz").symlink_to("loop.gz")
    (tmp_path / os.fsdecode(b"\xff.gz")).touch()
    assert "loop.gz" in files.describe_unread(tmp_path)
    files.describe_unread(tmp_path).encode()
    assert files.describe_unread(tmp_path / "outcomes") == ""


def test_a_folder_of_packed_tables_is_said_to_hold_them(tmp_path: Path) -> None:
    (tmp_path / "clients.csv.gz").touch()

    with pytest.raises(DatasetError, match=r"no CSV file in .* Not read in .*clients\.csv\.gz"):
        files.check_has_tables([], tmp_path)


def test_nothing_is_said_of_an_object_store(tmp_path: Path) -> None:
    (tmp_path / "old.zip").touch()
    stored = files.RemotePath("s3a://lake/outcomes")

    assert files.describe_unread(stored) == ""
    assert "old.zip" in files.describe_unread(tmp_path, [stored])
