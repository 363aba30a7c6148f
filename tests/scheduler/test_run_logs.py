"""Last lines, lines of a run, and new lines of the logs."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from scripts.core.errors import NotMadeYetError
from scripts.scheduler import run_logs


def write(folder: Path, name: str, *lines: str) -> None:
    """Add lines to a log."""
    folder.mkdir(exist_ok=True)
    with (folder / name).open("a") as handle:
        handle.writelines(f"{line}\n" for line in lines)


def stripped(lines: Iterator[str] | list[str]) -> list[str]:
    """Return lines without line ends."""
    return [line.rstrip("\n") for line in lines]


def test_logs_are_ordered_by_day_and_part_and_nothing_else_counts(tmp_path: Path) -> None:
    names = ["2026-01-01.log", "2026-01-02.001.log", "2026-01-02.002.log", "2026-01-02.log"]
    for name in (*reversed(names), "notes.log", "crontab_1.txt", "2026-01-02.log.gz"):
        write(tmp_path, name, "x")

    assert [path.name for path in run_logs.list_logs(tmp_path)] == names
    assert run_logs.list_logs(tmp_path / "missing") == []


@pytest.mark.parametrize(
    ("n", "expected"), [(0, []), (1, ["d"]), (3, ["b", "c", "d"]), (9, ["a", "b", "c", "d"])]
)
def test_the_last_lines_come_from_as_many_logs_as_it_takes(
    n: int, expected: list[str], tmp_path: Path
) -> None:
    write(tmp_path, "2026-01-01.log", "a", "b")
    write(tmp_path, "2026-01-02.001.log", "c")
    write(tmp_path, "2026-01-02.log", "d")

    assert stripped(run_logs.last_lines(tmp_path, n)) == expected


def test_what_is_not_utf8_is_shown_as_such(tmp_path: Path) -> None:
    (tmp_path / "2026-01-01.log").write_bytes(b"caf\xe9\n")

    assert run_logs.last_lines(tmp_path, 1) == ["caf\ufffd\n"]


def a_line(process: int, text: str, level: str = "INFO") -> str:
    """Return a line in the format of a log."""
    return f"2026-01-02T03:04:05Z {level} [{process}] {text}"


def test_the_lines_of_concurrent_runs_are_separated(tmp_path: Path) -> None:
    one = [
        a_line(41, "fullprocess: Run 7 started by cron."),
        a_line(41, "ingestion: Wrote 5 rows."),
        a_line(41, "console: boom", "ERROR"),
        "Traceback (most recent call last):",
        "  ...",
    ]
    two = a_line(52, "fullprocess: Run 8 skipped: busy.")
    write(tmp_path, "2026-01-01.log", a_line(41, "fullprocess: Run 5 started by cron."), one[0])
    write(tmp_path, "2026-01-02.log", one[1], two, *one[2:])
    write(tmp_path, "2026-01-02.log", a_line(41, "fullprocess: Run 9 started by cron."))

    assert stripped(run_logs.lines_of_run(tmp_path, 7)) == one
    assert stripped(run_logs.lines_of_run(tmp_path, 8)) == [two]
    with pytest.raises(NotMadeYetError, match="no lines of run 70"):
        run_logs.lines_of_run(tmp_path, 70)


def test_following_goes_on_into_the_next_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_logs, "POLL_S", 0)
    write(tmp_path, "2026-01-01.log", "old")
    coming = run_logs.follow(tmp_path)

    assert next(coming) == ""
    write(tmp_path, "2026-01-01.log", "a")
    assert next(coming) == "a\n"
    write(tmp_path, "2026-01-01.log", "b")
    (tmp_path / "2026-01-01.log").rename(tmp_path / "2026-01-01.001.log")
    write(tmp_path, "2026-01-01.log", "c")
    assert [line for line in islice(coming, 3) if line] == ["b\n", "c\n"]
    write(tmp_path, "2026-01-02.log", "d")
    assert "d\n" in list(islice(coming, 2))


def test_following_waits_for_the_first_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_logs, "POLL_S", 0)
    coming = run_logs.follow(tmp_path / "logs")

    assert next(coming) == ""
    write(tmp_path / "logs", "2026-01-01.log", "first")
    assert "first\n" in list(islice(coming, 2))
