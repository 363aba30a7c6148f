"""Tells how far a long step has come: a bar on a terminal, lines in a log."""

import contextlib
import logging
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TextIO

# What takes less is not told at all.
QUIET_S = 1.0
BAR_EVERY_S = 0.2
LINE_EVERY_S = 5.0
# Of the terminal: a longer line is no easier to read, and in less there is no room for a bar.
MAX_COLUMNS, MIN_BAR_COLUMNS = 100, 80

log = logging.getLogger(__name__)


def import_tqdm() -> Any:
    """Import tqdm with its logging helper, and return it."""
    # Only a terminal has a bar, and a run with nothing new must not pay for it.
    import tqdm.contrib.logging  # noqa: PLC0415

    return tqdm


def format_left(seconds: float) -> str:
    """Spell a time that is left; nobody needs the seconds of an hour."""
    if seconds < 60:
        return f"{seconds:.0f} s left"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s left"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min left"


def format_state(total: float, done: float, n_rows: int, elapsed_s: float) -> str:
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
        said.append(format_left(elapsed_s * max(total - done, 0.0) / done))
    return ", ".join(said)


@dataclass
class Progress:
    """One step on its way; `place` is the terminal, None where there is none."""

    what: str
    total: float
    place: TextIO | None
    done: float = 0.0
    n_rows: int = 0
    bar: Any = None
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
        state = format_state(self.total, self.done, self.n_rows, max(now_s - self.started_s, 1e-9))
        if self.place is None:
            self.next_s = now_s + LINE_EVERY_S
            log.info("%s: %s.", self.what, state)
            return
        self.next_s = now_s + BAR_EVERY_S
        # That a terminal has gone away stops no step.
        with contextlib.suppress(OSError):
            self.draw(state)

    def draw(self, state: str) -> None:
        """Draw the bar, which takes the room that the state leaves on one line."""
        columns = shutil.get_terminal_size().columns
        spelled = f"{self.what} {state}"[: columns - 1]
        if self.total and columns >= MIN_BAR_COLUMNS:
            spelled = f"{self.what} [{{bar}}] {state}"
        facts = {
            "total": self.total or None,
            "n": min(self.done, self.total or self.done),
            "ncols": min(columns - 1, MAX_COLUMNS),
            "bar_format": spelled,
        }
        if self.bar is None:
            self.bar = import_tqdm().tqdm(
                file=self.place, leave=False, ascii="-#", initial=facts.pop("n"), **facts
            )
            return
        for name, value in facts.items():
            setattr(self.bar, name, value)
        self.bar.refresh()

    def erase(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            with contextlib.suppress(OSError):
                self.bar.close()


def logged_above(place: TextIO | None) -> contextlib.AbstractContextManager[None]:
    """Have what is logged stand above a bar on a terminal."""
    if place is None:
        return contextlib.nullcontext()
    redirected: contextlib.AbstractContextManager[None]
    redirected = import_tqdm().contrib.logging.logging_redirect_tqdm()
    return redirected


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
    """
    if AT_WORK:
        yield
        return
    current = Progress(what, total, sys.stderr if sys.stderr.isatty() else None)
    AT_WORK.append(current)
    try:
        with logged_above(current.place):
            yield
    finally:
        AT_WORK.remove(current)
        current.erase()
