"""How far a long step has come, on a real terminal and in a log."""

import io
import logging
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pexpect
import pytest

from scripts.core import progress
from scripts.core.progress import Progress

ROOT = Path(__file__).parents[2]
# Steps of a tenth of a second, for two and a half.
PROGRAM = """
import logging, time
from scripts.core import console
from scripts.core import progress
console.set_up_logging()
with progress.shown('Reading the input', 25 * 1000):
    for number in range(25):
        time.sleep(0.1)
        progress.advance(1000, 10)
        if number == 20:
            logging.getLogger('step').warning('Something to look at.')
logging.getLogger('step').info('Done.')
"""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s left"), (59.4, "59 s left"), (61, "1 min 1 s left"),
        (3599, "59 min 59 s left"), (7290, "2 h 1 min left"),
    ],
)  # fmt: skip
def test_the_time_left_has_the_two_units_that_matter(seconds: float, text: str) -> None:
    assert progress.format_time_left(seconds) == text


@pytest.mark.parametrize(
    ("total", "done", "n_rows", "text"),
    [
        # A quarter in 10 seconds leaves 30.
        (400, 100, 5000, "25%, 5,000 rows, 500 rows/s, 30 s left"),
        (400, 400, 5000, "100%, 5,000 rows, 500 rows/s, 0 s left"),
        (0, 0, 5000, "5,000 rows, 500 rows/s"),
        (4, 1, 0, "25%, 30 s left"),
        (4, 0, 0, "0%"),
        # A file that grew while it was read.
        (100, 120, 10, "100%, 10 rows, 1 rows/s, 0 s left"),
    ],
)
def test_the_state_shows_share_rows_speed_and_time_left(
    total: float, done: float, n_rows: int, text: str
) -> None:
    assert progress.format_state(total, done, n_rows, 10.0) == text


def test_without_a_step_nothing_happens(capsys: pytest.CaptureFixture[str]) -> None:
    progress.advance(5, 5)

    assert capsys.readouterr() == ("", "")


def test_a_short_step_says_nothing(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), progress.shown("Reading", 10):
        progress.advance(10, 10)

    assert capsys.readouterr() == ("", "")
    assert caplog.text == ""


def test_a_long_step_logs_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    with caplog.at_level(logging.INFO), progress.shown("Reading", 100):
        for _ in range(24):
            now[0] += 1
            progress.advance(4, 1000)

    # After 5, 10, 15 and 20 seconds.
    assert [record.getMessage() for record in caplog.records] == [
        "Reading: 20%, 5,000 rows, 1,000 rows/s, 20 s left.",
        "Reading: 40%, 10,000 rows, 1,000 rows/s, 15 s left.",
        "Reading: 60%, 15,000 rows, 1,000 rows/s, 10 s left.",
        "Reading: 80%, 20,000 rows, 1,000 rows/s, 5 s left.",
    ]


def test_a_step_within_a_step_is_part_of_it() -> None:
    with progress.shown("Outer", 10):
        (outer,) = progress.CURRENT
        with progress.shown("Inner", 5):
            progress.advance(3, 1)

        assert [outer] == progress.CURRENT
        assert outer.done == 3
    assert progress.CURRENT == []


def test_the_work_of_threads_counts() -> None:
    with progress.shown("Outer", 10):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: progress.advance(1, 2), range(10)))

        assert (progress.CURRENT[0].done, progress.CURRENT[0].n_rows) == (10, 20)


def test_a_failed_step_leaves_nothing_behind() -> None:
    filters = [len(handler.filters) for handler in logging.getLogger().handlers]
    with pytest.raises(ValueError, match="as it happens"), progress.shown("Reading", 10):
        raise ValueError("as it happens")

    assert progress.CURRENT == []
    assert [len(handler.filters) for handler in logging.getLogger().handlers] == filters


def test_a_terminal_that_went_away_stops_no_step() -> None:
    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(5, "Input/output error")

    Progress("Reading", 10, Gone()).report(time.monotonic() + 2)


@pytest.mark.parametrize("columns", [20, 79, 80, 120, 200])
def test_a_bar_fits_on_one_line_with_the_time_that_is_left(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal = io.StringIO()
    step = Progress("Reading the input", 10, terminal, done=5, n_rows=123_456)
    step.started_s = time.monotonic() - 2

    for _ in range(2):
        step.report(time.monotonic())

    first, second = terminal.getvalue().split("\r")[1:]
    assert len(first) < columns
    assert len(second) < columns
    assert ("[" in first) is (columns >= 80)
    if columns >= 79:
        assert re.search(r"50%, 123,456 rows, \d\d,\d{3} rows/s, 2 s left$", second.rstrip())


def test_noting_costs_next_to_nothing() -> None:
    with progress.shown("Reading", 1e9):
        started = time.process_time()
        for _ in range(100_000):
            progress.advance(1, 1)

    # A row costs 20 microseconds to read; noting it a fiftieth of that.
    assert time.process_time() - started < 0.5


def test_on_a_terminal_there_is_a_bar_which_makes_way_and_goes() -> None:
    child = pexpect.spawn(
        sys.executable, ["-c", PROGRAM], cwd=str(ROOT), dimensions=(24, 120), encoding="utf-8"
    )
    child.expect(pexpect.EOF, timeout=60)
    written = str(child.before)

    drawn = re.findall(
        r"Reading the input \[[#-]+\] \d+%, \d+ rows, \d+ rows/s, \d s left", written
    )
    assert 3 <= len(drawn) <= 12
    # What is logged stands on a line of its own, and nothing of the bar is left at the end.
    assert re.search(r"\r20\S+Z WARNING [^\r]*Something to look at\.\r*\n", written)
    assert re.search(r"\r *\r20\S+Z INFO .*Done\.$", written.rstrip())


def test_into_a_log_go_no_control_characters() -> None:
    program = PROGRAM.replace(
        "console.set_up_logging()", "console.set_up_logging(); progress.LINE_EVERY_S = 1"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout == ""
    assert "\x1b" not in done.stderr
    assert "\r" not in done.stderr
    assert len(re.findall(r"INFO progress: Reading the input: \d+%, .* left\.\n", done.stderr)) == 2
