"""Reads the logs of automate.sh: last lines, lines of a run, and new lines."""

import os
import re
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from scripts.core.errors import NotMadeYetError

NAME = re.compile(r"\d{4}-\d{2}-\d{2}(\.\d+)?\.log")
# Several runs may write at the same time, so each line contains the process number.
LINE = re.compile(r"\S+Z [A-Z]+ \[(\d+)\] ")
POLL_S = 0.3


def list_logs(folder: Path) -> list[Path]:
    """List the logs, oldest first, with the full parts of a day before its last part."""
    paths = folder.iterdir() if folder.is_dir() else iter(())
    return sorted(path for path in paths if NAME.fullmatch(path.name))


def open_log(path: Path) -> TextIO:
    """Open a log, with a replacement for invalid UTF-8."""
    return path.open(encoding="utf-8", errors="replace")


def last_lines(folder: Path, n: int) -> list[str]:
    """Return the last n lines of the newest logs."""
    lines: list[str] = []
    for path in reversed(list_logs(folder)):
        with open_log(path) as handle:
            lines = [*deque(handle, maxlen=n), *lines][-n:] if n else []
        if len(lines) >= n:
            break
    return lines


def lines_of_run(folder: Path, run_id: int) -> list[str]:
    """Return the lines of a run.

    Parameters
    ----------
    folder : Path
        The folder of the logs.
    run_id : int
        Id of the run in the records.

    Returns
    -------
    list of str
        First to last line of the run, without lines of concurrent runs.

    Raises
    ------
    NotMadeYetError
        If no log has lines of the run.
    """
    begin = re.compile(rf"\S+Z [A-Z]+ \[(\d+)\] fullprocess: Run {run_id} (started|skipped)\b")
    other = re.compile(r"\S+Z [A-Z]+ \[\d+\] fullprocess: Run \d+ (started|skipped)\b")
    lines: list[str] = []
    process, owner = "", ""
    for path in list_logs(folder):
        with open_log(path) as handle:
            for line in handle:
                named = LINE.match(line)
                # Lines of a traceback have no process number, and belong to the line above.
                owner = named[1] if named else owner
                started = begin.match(line)
                if started:
                    process, lines = started[1], []
                elif owner == process and other.match(line):
                    process = ""  # The system reused the number of the ended process.
                if process and owner == process:
                    lines.append(line)
    if not lines:
        raise NotMadeYetError(
            f"{folder} has no lines of run {run_id}: it was started by hand, or its log has been"
            " removed by age."
        )
    return lines


def newest_log(folder: Path) -> Path | None:
    """Return the newest log, or None."""
    logs = list_logs(folder)
    return logs[-1] if logs else None


def is_same(handle: TextIO, path: Path) -> bool:
    """Return whether an open file and a path are the same file."""
    return os.path.samestat(os.fstat(handle.fileno()), path.stat())


def follow_log(folder: Path, handle: TextIO | None) -> Iterator[str]:
    """Iterate over the further lines of an open log and of later logs, or "" while waiting."""
    try:
        while True:
            line = handle.readline() if handle else ""
            if line:
                yield line
                continue
            path = newest_log(folder)
            # The open log is at its end, and may be full and renamed, or of yesterday.
            if path and not (handle and is_same(handle, path)):
                if handle:
                    handle.close()
                handle = open_log(path)
                continue
            yield ""
            time.sleep(POLL_S)
    finally:
        if handle:
            handle.close()


def follow(folder: Path) -> Iterator[str]:
    """Iterate over new lines of the logs, or "" while waiting."""
    path = newest_log(folder)
    handle = open_log(path) if path else None
    if handle:
        handle.seek(0, os.SEEK_END)
    return follow_log(folder, handle)
