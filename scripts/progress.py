"""Tells how far a long step has come: a bar on a terminal, lines in a log."""

import contextlib
import logging
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

# What takes less is not told at all.
QUIET_S = 1.0
BAR_EVERY_S = 0.2
LINE_EVERY_S = 5.0
# From column 0 on, and to the end of the line.
ERASE = "\r\x1b[K"

log = logging.getLogger(__name__)


def spell_left(seconds: float) -> str:
    """Spell a time that is left; nobody needs the seconds of an hour."""
    if seconds < 60:
        return f"{seconds:.0f} s left"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s left"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min left"


def spell_state(total: float, done: float, n_rows: int, elapsed_s: float) -> str:
    """Spell how far a step has come.

    Parameters
    ----------
    total, done : float
        In any unit; a total of 0 is not known, and then neither is what is left.
    n_rows : int
        Rows so far.
    elapsed_s : float
        Seconds so far, above 0.

    Returns
    -------
    str
        Percent, rows, rows per second, and what is left, as far as they are known.
    """
    said = []
    if total:
        said.append(f"{min(done / total, 1.0):.0%}")
    if n_rows:
        said.append(f"{n_rows:,} rows, {n_rows / elapsed_s:,.0f} rows/s")
    if total and done:
        said.append(spell_left(elapsed_s * max(total - done, 0.0) / done))
    return ", ".join(said)


def draw_bar(share: float, width: int) -> str:
    """Draw a bar of so many characters, of which a share is full."""
    n_full = round(min(share, 1.0) * width)
    return f"[{'#' * n_full}{'-' * (width - n_full)}]"


@dataclass
class Progress:
    """One step on its way; `place` is the terminal, None where there is none."""

    what: str
    total: float
    place: TextIO | None
    done: float = 0.0
    n_rows: int = 0
    is_drawn: bool = False
    started_s: float = 0.0
    next_s: float = 0.0

    def __post_init__(self) -> None:
        wait_s = QUIET_S if self.place else LINE_EVERY_S
        self.started_s = time.monotonic()
        self.next_s = self.started_s + wait_s

    def add(self, done: float, n_rows: int) -> None:
        """Note what was done, and tell if it is time."""
        self.done += done
        self.n_rows += n_rows
        # Called for every row of a small file: nothing else may cost anything.
        if time.monotonic() >= self.next_s:
            self.tell(time.monotonic())

    def tell(self, now_s: float) -> None:
        """Draw the bar anew, or log a line."""
        state = spell_state(self.total, self.done, self.n_rows, max(now_s - self.started_s, 1e-9))
        if self.place is None:
            self.next_s = now_s + LINE_EVERY_S
            log.info("%s: %s.", self.what, state)
            return
        self.next_s = now_s + BAR_EVERY_S
        columns = shutil.get_terminal_size().columns
        bar = f" {draw_bar(self.done / self.total, 20)}" if self.total and columns >= 80 else ""
        self.write(f"{self.what}{bar} {state}"[: columns - 1])
        self.is_drawn = True

    def erase(self) -> None:
        """Take the bar away, so that something else can be written there."""
        if self.is_drawn:
            self.write("")
            self.is_drawn = False

    def write(self, text: str) -> None:
        """Write over what stands on the line; that a terminal has gone away stops no step."""
        if self.place is not None:
            with contextlib.suppress(OSError):
                self.place.write(ERASE + text)
                self.place.flush()

    def make_way(self, _record: logging.LogRecord) -> bool:
        """Take the bar away before a line is logged; the next call draws it again."""
        self.erase()
        return True


# The step at work, if there is one. Deep inside it, also in its threads, nobody has to hand it on.
AT_WORK: list[Progress] = []


def advance(done: float = 0.0, n_rows: int = 0) -> None:
    """Note that a part of the step at work is done; without one, nothing happens.

    Parameters
    ----------
    done : float
        How much, in the unit of the step's total.
    n_rows : int
        How many rows that were.
    """
    if AT_WORK:
        AT_WORK[0].add(done, n_rows)


def start_pass(what: str, total: float) -> None:
    """Note that the step at work begins another pass, of which share and speed are then told."""
    if AT_WORK:
        current = AT_WORK[0]
        current.what, current.total = what, total
        current.done, current.n_rows, current.started_s = 0.0, 0, time.monotonic()


@contextlib.contextmanager
def shown(what: str, total: float = 0.0) -> Iterator[None]:
    """Show how far the step within has come, if it takes more than a moment.

    A step within a step is part of the outer one.

    Parameters
    ----------
    what : str
        What is being done.
    total : float
        How much there is to do, in any unit; 0 if nobody knows.

    Notes
    -----
    A bar of click or tqdm cannot be taken off its line when a step logs something, and knows one
    unit only: here the share is one of bytes and the speed one of rows.
    """
    if AT_WORK:
        yield
        return
    current = Progress(what, total, sys.stderr if sys.stderr.isatty() else None)
    handlers = logging.getLogger().handlers if current.place else []
    AT_WORK.append(current)
    for handler in handlers:
        handler.addFilter(current.make_way)
    try:
        yield
    finally:
        AT_WORK.remove(current)
        for handler in handlers:
            handler.removeFilter(current.make_way)
        current.erase()
