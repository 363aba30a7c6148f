"""Edits the marked block of an installation in a crontab, and no other byte."""

import os
import re
import shlex
from collections.abc import Sequence
from typing import NamedTuple

from scripts.core.errors import CrontabError
from scripts.scheduler.scheduled_job import LONGEST_COMMAND, Job, check_arguments

JOB_LINE = re.compile(
    rb"(?P<off>#\s*(?:paused (?P<since>\S+) )?)?"
    rb"(?P<expression>@\w+|[^\s'#@]+(?:[ \t]+[^\s']+){4})[ \t]+(?P<command>'[^\n]*)\n"
)


class JobBlock(NamedTuple):
    """Position of a block in a crontab, in bytes, with its job line."""

    start: int
    end: int
    line: bytes


def quote(argument: bytes) -> bytes:
    r"""Quote an argument for the shell in a crontab.

    Notes
    -----
    crontab(5): an unescaped % ends the command, and \% stands for a percent sign. Some crons also
    turn \\ into \, so a quote follows each backslash here and separates it from a %.
    """
    escaped = argument.replace(b"\\", b"\0").replace(b"'", b"'\\''").replace(b"\0", b"\\''")
    return (b"'" + escaped + b"'").replace(b"%", b"\\%")


def format_job_line(job: Job) -> bytes:
    """Return the line of a job in a crontab.

    Parameters
    ----------
    job : Job
        A paused job becomes a comment.

    Returns
    -------
    bytes
        The line with its line end.

    Raises
    ------
    CrontabError
        If the line is too long, or a path contains control characters.
    """
    check_arguments(job.arguments)
    quoted = (
        argument.encode() if argument.startswith("--") else quote(os.fsencode(argument))
        for argument in job.arguments
    )
    command = b" ".join(quoted)
    if len(command) > LONGEST_COMMAND:
        raise CrontabError(
            f"The line for cron would be {len(command)} bytes long, and cron takes"
            f" {LONGEST_COMMAND}; move the installation to a shorter path."
        )
    paused = "" if job.paused_since is None else f"# paused {job.paused_since or 'unknown'} "
    return f"{paused}{job.expression} ".encode() + command + b"\n"


def parse_job_line(line: bytes) -> Job | None:
    """Return the job of a line, also after a manual change of the schedule, or None."""
    match = JOB_LINE.fullmatch(line)
    if not match:
        return None
    try:
        arguments = shlex.split(os.fsdecode(match["command"].replace(b"\\%", b"%")))
    except ValueError:
        return None
    expression = " ".join(match["expression"].decode(errors="replace").split())
    since = (match["since"] or b"").decode(errors="replace") if match["off"] else None
    return Job(expression, tuple(arguments), since)


def format_markers(name: str) -> tuple[bytes, bytes]:
    """Return the first and the last line of a block, for the path of a config as name."""
    check_arguments([name])
    path = os.fsencode(name)
    return b"# BEGIN adras %s\n" % path, b"# END adras %s\n" % path


def format_block(name: str, job: Job) -> bytes:
    """Return the block of an installation."""
    begin, end = format_markers(name)
    return begin + format_job_line(job) + end


def line_numbers(lines: Sequence[bytes], marker: bytes) -> list[int]:
    """Return the line numbers of a marker, from 1, also with a changed line end."""
    return [n for n, line in enumerate(lines, 1) if line.strip() == marker.strip()]


def find_block(table: bytes, name: str) -> JobBlock | None:
    """Return the block of an installation in a crontab.

    Parameters
    ----------
    table : bytes
        A whole crontab.
    name : str
        The path of the installation's config.

    Returns
    -------
    JobBlock or None
        None for a crontab without the block.

    Raises
    ------
    CrontabError
        If a marker is missing, duplicated or changed, or unless a single job line is between the
        markers.
    """
    begin, end = format_markers(name)
    lines = re.findall(rb"[^\n]*\n|[^\n]+", table)
    begins, ends = line_numbers(lines, begin), line_numbers(lines, end)
    if not begins and not ends:
        return None
    whole = len(begins) == len(ends) == 1 and ends[0] - begins[0] == 2
    first = begins[0] - 1 if whole else 0
    block = lines[first : first + 3]
    if not whole or (block[0], block[2]) != (begin, end) or parse_job_line(block[1]) is None:
        places = ", ".join(map(str, sorted(begins + ends)))
        raise CrontabError(
            f"The block of {name} in your crontab is damaged: its first line stands"
            f" {len(begins)} times and its last line {len(ends)} times (lines {places}); expected"
            " each once, with one job line between them. Nothing was changed. Open it with"
            " `crontab -e`, delete these lines and the job line, keep what is yours, and run"
            " `python -m scripts.automate install` again."
        )
    start = len(b"".join(lines[:first]))
    return JobBlock(start, start + len(b"".join(block)), block[1])


def read_job(table: bytes, name: str) -> Job | None:
    """Return the job of an installation, or None."""
    block = find_block(table, name)
    return None if block is None else parse_job_line(block.line)


def replace_job(table: bytes, name: str, job: Job | None) -> bytes:
    """Return a crontab with an added, replaced or, with None, removed block.

    Parameters
    ----------
    table : bytes
        A whole crontab, in any encoding.
    name : str
        The path of the installation's config.
    job : Job or None
        The job in the new block.

    Returns
    -------
    bytes
        The table with all bytes outside the block unchanged. A new block comes first, because a
        variable in a crontab applies to the lines below: no PATH, SHELL or CRON_TZ of the user
        may change this job. At the top, a last line without a line end does no harm either.
    """
    block = find_block(table, name)
    start, end = (block.start, block.end) if block else (0, 0)
    return table[:start] + (format_block(name, job) if job else b"") + table[end:]


def other_installations(table: bytes, name: str) -> list[str]:
    """Return the config paths of other installations with a block."""
    names = re.findall(rb"^# BEGIN adras ([^\n]*)$", table, re.MULTILINE)
    return [other for other in map(os.fsdecode, names) if other != name]


def find_stray_lines(table: bytes) -> list[int]:
    """Return the numbers, from 1, of lines outside blocks with an automate.sh."""
    numbers, inside = [], False
    for number, line in enumerate(table.split(b"\n"), 1):
        if re.match(rb"# (BEGIN|END) adras ", line):
            inside = line.startswith(b"# BEGIN")
        elif not inside and b"automate.sh" in line and not line.lstrip().startswith(b"#"):
            numbers.append(number)
    return numbers
