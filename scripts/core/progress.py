"""Shows the progress of a long step: a bar on a terminal, lines in a log."""

import contextlib
import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from msgspec import Struct

# A shorter step shows no progress.
QUIET_S = 1.0
BAR_EVERY_S = 0.2
LINE_EVERY_S = 5.0
# Limits of the line width: a wider bar is no easier to read, a narrower line has no room for one.
MAX_COLUMNS, MIN_BAR_COLUMNS = 100, 80

log = logging.getLogger(__name__)


def import_tqdm() -> Any:
    """Import tqdm with the logging helper, and return the package."""
    # Only a terminal has a bar, and a run with nothing new must not pay for the import.
    import tqdm.contrib.logging  # noqa: PLC0415

    return tqdm


def format_time_left(seconds: float) -> str:
    """Format the remaining time, without seconds above an hour."""
    if seconds < 60:
        return f"{seconds:.0f} s left"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s left"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min left"


def format_state(total: float, done: float, n_rows: int, elapsed_s: float) -> str:
    """Format the progress of a step.

    Parameters
    ----------
    total, done : float
        Amounts in any unit; a total of 0 means unknown.
    n_rows : int
        Rows so far.
    elapsed_s : float
        Seconds so far, above 0.

    Returns
    -------
    str
        Percent, rows, rows per second and remaining time, as far as known.
    """
    parts = []
    if total:
        parts.append(f"{min(done / total, 1.0):.0%}")
    if n_rows:
        parts.append(f"{n_rows:,} rows, {n_rows / elapsed_s:,.0f} rows/s")
    if total and done:
        parts.append(format_time_left(elapsed_s * max(total - done, 0.0) / done))
    return ", ".join(parts)


class Progress(Struct):
    """Progress of a step, on a terminal or, if `terminal` is None, in the log."""

    label: str
    total: float
    terminal: TextIO | None
    done: float = 0.0
    n_rows: int = 0
    bar: Any = None
    started_s: float = 0.0
    next_s: float = 0.0

    def __post_init__(self) -> None:
        wait_s = QUIET_S if self.terminal else LINE_EVERY_S
        self.started_s = time.monotonic()
        self.next_s = self.started_s + wait_s

    def add(self, done: float, n_rows: int) -> None:
        """Add an amount, and report the progress if an interval has passed."""
        self.done += done
        self.n_rows += n_rows
        # Called for every row of a small file, so the rest must stay cheap.
        if time.monotonic() >= self.next_s:
            self.report(time.monotonic())

    def report(self, now_s: float) -> None:
        """Redraw the bar, or log a line."""
        state = format_state(self.total, self.done, self.n_rows, max(now_s - self.started_s, 1e-9))
        if self.terminal is None:
            self.next_s = now_s + LINE_EVERY_S
            log.info("%s: %s.", self.label, state)
            return
        self.next_s = now_s + BAR_EVERY_S
        # A closed terminal must not stop the step.
        with contextlib.suppress(OSError):
            self.draw(state)

    def draw(self, state: str) -> None:
        """Draw a bar and the state on a line of the terminal."""
        columns = shutil.get_terminal_size().columns
        line_format = f"{self.label} {state}"[: columns - 1]
        if self.total and columns >= MIN_BAR_COLUMNS:
            line_format = f"{self.label} [{{bar}}] {state}"
        attributes = {
            "total": self.total or None,
            "n": min(self.done, self.total or self.done),
            "ncols": min(columns - 1, MAX_COLUMNS),
            "bar_format": line_format,
        }
        if self.bar is None:
            self.bar = import_tqdm().tqdm(
                file=self.terminal,
                leave=False,
                ascii="-#",
                initial=attributes.pop("n"),
                **attributes,
            )
            return
        for name, value in attributes.items():
            setattr(self.bar, name, value)
        self.bar.refresh()

    def erase(self) -> None:
        """Remove the bar from the terminal."""
        if self.bar is not None:
            # A closed terminal has no bar to remove.
            with contextlib.suppress(OSError):
                self.bar.close()


def logging_above_bar(terminal: TextIO | None) -> contextlib.AbstractContextManager[None]:
    """Redirect log lines on a terminal to the space above the bar."""
    if terminal is None:
        return contextlib.nullcontext()
    redirected: contextlib.AbstractContextManager[None]
    redirected = import_tqdm().contrib.logging.logging_redirect_tqdm()
    return redirected


# The present step, or empty. Functions deep inside the step, also in threads, need no argument.
CURRENT: list[Progress] = []


# Called at every progress, so they must be cheap.
REPORTS: list[Callable[[], None]] = []


@contextlib.contextmanager
def reported_to(report: Callable[[], None]) -> Iterator[None]:
    """Call a function at every progress of the enclosed steps."""
    REPORTS.append(report)
    try:
        yield
    finally:
        REPORTS.remove(report)


def advance(done: float = 0.0, n_rows: int = 0) -> None:
    """Add an amount to the progress of the present step, if any.

    Parameters
    ----------
    done : float
        The amount, in the unit of the step's total.
    n_rows : int
        Number of rows in this amount.
    """
    if CURRENT:
        CURRENT[0].add(done, n_rows)
    for report in REPORTS:
        report()


@contextlib.contextmanager
def shown(label: str, total: float = 0.0) -> Iterator[None]:
    """Show the progress of the enclosed step, after a short delay.

    A step inside another step is a part of the outer step.

    Parameters
    ----------
    label : str
        Description of the step.
    total : float
        Total amount in any unit; 0 if unknown.
    """
    if CURRENT:
        yield
        return
    current = Progress(label, total, sys.stderr if sys.stderr.isatty() else None)
    CURRENT.append(current)
    try:
        with logging_above_bar(current.terminal):
            yield
    finally:
        CURRENT.remove(current)
        current.erase()
