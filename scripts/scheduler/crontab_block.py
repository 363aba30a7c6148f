"""Edits one marked block of a crontab, and leaves every other byte as it is."""

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


class Block(NamedTuple):
    """Where a block stands in a table, in bytes, and the job line in it."""

    start: int
    end: int
    line: bytes


def quote(argument: bytes) -> bytes:
    r"""Quote an argument for a shell that cron starts.

    Notes
    -----
    crontab(5): an unescaped % ends the command, and \% stands for it. Some crons also turn \\
    into \, so that a quote follows each backslash here, between which and % nothing can happen.
    """
    spelled = argument.replace(b"\\", b"\0").replace(b"'", b"'\\''").replace(b"\0", b"\\''")
    return (b"'" + spelled + b"'").replace(b"%", b"\\%")


def format_line(job: Job) -> bytes:
    """Spell a job as a line of a crontab.

    Parameters
    ----------
    job : Job
        A paused one becomes a comment, so that nothing is lost.

    Returns
    -------
    bytes
        With its line end.

    Raises
    ------
    CrontabError
        If no crontab can carry it.
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


def read_line(line: bytes) -> Job | None:
    """Read a job line, also one that was re-scheduled or commented out by hand."""
    found = JOB_LINE.fullmatch(line)
    if not found:
        return None
    try:
        arguments = shlex.split(os.fsdecode(found["command"].replace(b"\\%", b"%")))
    except ValueError:
        return None
    expression = " ".join(found["expression"].decode(errors="replace").split())
    since = (found["since"] or b"").decode(errors="replace") if found["off"] else None
    return Job(expression, tuple(arguments), since)


def markers(name: str) -> tuple[bytes, bytes]:
    """Spell the first and the last line of a block; the name is the path of the config."""
    check_arguments([name])
    path = os.fsencode(name)
    return b"# BEGIN adras %s\n" % path, b"# END adras %s\n" % path


def format_block(name: str, job: Job) -> bytes:
    """Spell the whole block of an installation."""
    begin, end = markers(name)
    return begin + format_line(job) + end


def line_numbers(lines: Sequence[bytes], marker: bytes) -> list[int]:
    """Count, from 1, the lines that are a marker, also one whose end an editor has changed."""
    return [n for n, line in enumerate(lines, 1) if line.strip() == marker.strip()]


def find_block(table: bytes, name: str) -> Block | None:
    """Find the block of an installation.

    Parameters
    ----------
    table : bytes
        A whole crontab.
    name : str
        The path of the installation's config.

    Returns
    -------
    Block or None
        None if there is no trace of it.

    Raises
    ------
    CrontabError
        If a marker is missing, doubled or changed, or if between the two stands anything but
        one job line: then nobody can say which lines are whose.
    """
    begin, end = markers(name)
    lines = re.findall(rb"[^\n]*\n|[^\n]+", table)
    begins, ends = line_numbers(lines, begin), line_numbers(lines, end)
    if not begins and not ends:
        return None
    whole = len(begins) == len(ends) == 1 and ends[0] - begins[0] == 2
    first = begins[0] - 1 if whole else 0
    found = lines[first : first + 3]
    if not whole or (found[0], found[2]) != (begin, end) or read_line(found[1]) is None:
        places = ", ".join(map(str, sorted(begins + ends)))
        raise CrontabError(
            f"The block of {name} in your crontab is damaged: its first line stands"
            f" {len(begins)} times and its last line {len(ends)} times (lines {places}); expected"
            " each once, with one job line between them. Nothing was changed. Open it with"
            " `crontab -e`, delete these lines and the job line, keep what is yours, and run"
            " `python -m scripts.automate install` again."
        )
    start = len(b"".join(lines[:first]))
    return Block(start, start + len(b"".join(found)), found[1])


def read_job(table: bytes, name: str) -> Job | None:
    """Read the job of an installation; None if it has no block."""
    block = find_block(table, name)
    return None if block is None else read_line(block.line)


def put_job(table: bytes, name: str, job: Job | None) -> bytes:
    """Write, replace or, with None, take away the block of an installation.

    Parameters
    ----------
    table : bytes
        A whole crontab, in whatever encoding.
    name : str
        The path of the installation's config.
    job : Job or None
        What the block says afterwards.

    Returns
    -------
    bytes
        The table with every byte outside of the block as it was. A new block stands at the
        top: a variable set in a crontab holds for the lines below it, and no PATH, SHELL or
        CRON_TZ of others shall change this job; nor does a last line without an end matter.
    """
    block = find_block(table, name)
    start, end = (block.start, block.end) if block else (0, 0)
    return table[:start] + (format_block(name, job) if job else b"") + table[end:]


def other_installations(table: bytes, name: str) -> list[str]:
    """List the configs of the other installations that have a block."""
    found = re.findall(rb"^# BEGIN adras ([^\n]*)$", table, re.MULTILINE)
    return [other for other in map(os.fsdecode, found) if other != name]


def stray_lines(table: bytes) -> list[int]:
    """Count, from 1, the lines outside of all blocks that start an automate.sh."""
    numbers, inside = [], False
    for number, line in enumerate(table.split(b"\n"), 1):
        if re.match(rb"# (BEGIN|END) adras ", line):
            inside = line.startswith(b"# BEGIN")
        elif not inside and b"automate.sh" in line and not line.lstrip().startswith(b"#"):
            numbers.append(number)
    return numbers
