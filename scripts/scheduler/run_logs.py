"""The logs of automate.sh: their last lines, the lines of one run, and new ones as they come."""

import os
import re
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from scripts.core.errors import NotMadeYetError

NAME = re.compile(r"\d{4}-\d{2}-\d{2}(\.\d+)?\.log")
# Several runs may write at the same time, so each line of a log names its process.
LINE = re.compile(r"\S+Z [A-Z]+ \[(\d+)\] ")
POLL_S = 0.3


def list_logs(folder: Path) -> list[Path]:
    """List the logs, oldest first; the full parts of a day stand before its last one."""
    found = folder.iterdir() if folder.is_dir() else iter(())
    return sorted(path for path in found if NAME.fullmatch(path.name))


def open_log(path: Path) -> TextIO:
    """Open a log; what is not UTF-8 in it is shown as a question mark."""
    return path.open(encoding="utf-8", errors="replace")


def last_lines(folder: Path, n: int) -> list[str]:
    """Read the last n lines, from as many logs as that takes."""
    lines: list[str] = []
    for path in reversed(list_logs(folder)):
        with open_log(path) as handle:
            lines = [*deque(handle, maxlen=n), *lines][-n:] if n else []
        if len(lines) >= n:
            break
    return lines


def lines_of_run(folder: Path, run_id: int) -> list[str]:
    """Read the lines of one run.

    Parameters
    ----------
    folder : Path
        The folder of the logs.
    run_id : int
        Its number in the records.

    Returns
    -------
    list of str
        From its first line to its last; those of runs at the same time are left out.

    Raises
    ------
    NotMadeYetError
        If no log has it.
    """
    begin = re.compile(rf"\S+Z [A-Z]+ \[(\d+)\] fullprocess: Run {run_id} (started|skipped)\b")
    other = re.compile(r"\S+Z [A-Z]+ \[\d+\] fullprocess: Run \d+ (started|skipped)\b")
    found: list[str] = []
    process, owner = "", ""
    for path in list_logs(folder):
        with open_log(path) as handle:
            for line in handle:
                named = LINE.match(line)
                # A traceback goes on without a name: it belongs to the line above.
                owner = named[1] if named else owner
                started = begin.match(line)
                if started:
                    process, found = started[1], []
                elif owner == process and other.match(line):
                    process = ""  # The number of a process that has ended was given out again.
                if process and owner == process:
                    found.append(line)
    if not found:
        raise NotMadeYetError(
            f"{folder} has no lines of run {run_id}: it was started by hand, or its log has been"
            " removed by age."
        )
    return found


def newest(folder: Path) -> Path | None:
    """Find the log that is being written."""
    logs = list_logs(folder)
    return logs[-1] if logs else None


def is_same(handle: TextIO, path: Path) -> bool:
    """Say whether an open file is the one that has a name now."""
    return os.path.samestat(os.fstat(handle.fileno()), path.stat())


def follow_log(folder: Path, handle: TextIO | None) -> Iterator[str]:
    """Give lines from where a log is read, and then of the logs that come after it."""
    try:
        while True:
            line = handle.readline() if handle else ""
            if line:
                yield line
                continue
            path = newest(folder)
            # The log read so far may be full and renamed, or of yesterday; it is at its end.
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
    """Give lines as they are written from now on; "" whenever there is none yet."""
    path = newest(folder)
    handle = open_log(path) if path else None
    if handle:
        handle.seek(0, os.SEEK_END)
    return follow_log(folder, handle)
