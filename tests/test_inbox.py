"""Files that others put into folders."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts import durable, inbox
from scripts.errors import DatasetError


def test_tables_are_listed_in_name_order_without_what_is_being_written(tmp_path: Path) -> None:
    names = ["b.csv", "a.csv", "C.CSV", "ä.csv", ".hidden.csv", "d.csv.part", "d.csv.tmp", "e.txt"]
    for name in names:
        (tmp_path / name).touch()

    listed = [path.name for path in inbox.list_tables(tmp_path)]

    assert listed == ["C.CSV", "a.csv", "b.csv", "ä.csv"]


def test_one_file_is_a_list_of_one(tmp_path: Path) -> None:
    path = tmp_path / "test.data"
    path.touch()

    assert inbox.list_tables(path) == [path]


def test_a_name_that_is_not_utf_8_is_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9.csv")).touch()

    assert inbox.list_tables(tmp_path) == []
    assert "its name is not UTF-8; rename it" in caplog.text


def test_a_folder_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be listed: No such file"):
        inbox.list_tables(tmp_path / "missing")


def make_link(path: Path) -> None:
    path.with_name("other").write_text("x")
    path.symlink_to(path.with_name("other"))


@pytest.mark.parametrize(
    "make", [os.mkfifo, make_link, Path.mkdir, lambda path: path.symlink_to("/dev/zero")]
)
def test_only_a_plain_file_is_opened(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "a.csv")

    with pytest.raises(inbox.NotRegularError):
        inbox.open_regular(tmp_path / "a.csv")


def test_a_digest_ends_at_a_line_that_is_too_long(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\n" * 10**6)
    assert inbox.digest_lines(path) == durable.digest_file(path)

    path.write_bytes(b"a,b\n" + bytes(2**21) + b"1\n")
    one = inbox.digest_lines(path)
    path.write_bytes(b"a,b\n" + bytes(2**21) + b"2\n")
    same = inbox.digest_lines(path)
    path.write_bytes(b"a,c\n" + bytes(2**21) + b"2\n")

    assert one == same != inbox.digest_lines(path)


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
        settled, growing = inbox.settled_tables(folder, 2.0)
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

    assert inbox.file_state(tmp_path / "a.csv") == inbox.file_state(target)
    assert len(inbox.file_state(tmp_path / "b.csv")) == 3
