"""Tables and sentences fit the width of the terminal."""

from pathlib import Path

import pytest

from scripts import apicalls, automate
from scripts.core import terminal

LONG = "the candidate is better in every way that anybody has thought of so far"


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 40 columns."""
    monkeypatch.setenv("COLUMNS", "40")


def test_columns_are_aligned_and_their_ends_trimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    assert terminal.format_columns([("a", "long"), ("bbb", "")]) == "a    long\nbbb"


def test_for_a_pipe_nothing_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)

    assert terminal.format_columns([("a", "why"), ("b", f"{LONG}\nsecond")]) == (
        f"a  why\nb  {LONG}; second"
    )
    assert terminal.wrap(LONG) == LONG


@pytest.mark.usefixtures("narrow")
def test_columns_that_do_not_fit_stand_below_each_row() -> None:
    rows = [
        ("run", "release", "F1", "why"),
        ("1", "r" * 31, "0.5", LONG),
        ("2", "s", "", "first reason\nsecond reason"),
    ]

    assert terminal.format_columns(rows).splitlines() == [
        "run  release",
        f"1    {'r' * 31}",
        "    F1: 0.5",
        "    why: the candidate is better in",
        "      every way that anybody has thought",
        "      of so far",
        "2    s",
        "    first reason",
        "    second reason",
    ]


def test_a_last_column_with_room_is_wrapped_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")

    assert terminal.format_columns([("reason", LONG), ("f1", "0.5")]).splitlines() == [
        "reason  the candidate is better in every way that anybody",
        "          has thought of so far",
        "f1      0.5",
    ]


@pytest.mark.usefixtures("narrow")
def test_a_table_without_a_header_keeps_its_first_row() -> None:
    text = terminal.format_columns([("a", "b" * 39), ("c", "d")], has_header=False)

    assert text.splitlines() == ["a", f"    {'b' * 39}", "c", "    d"]


@pytest.mark.usefixtures("narrow")
def test_long_lines_of_a_text_are_broken_and_a_path_is_not() -> None:
    path = "/a/very/long/path/of/a/file/that/nobody/breaks.txt"

    assert terminal.wrap(f"short\n{LONG}").splitlines() == [
        "short",
        "the candidate is better in every way",
        "  that anybody has thought of so far",
    ]
    assert terminal.wrap(f"see {path}").splitlines() == ["see", f"  {path}"]
    assert terminal.wrap_value("every ten minutes", 30) == ["every ten", "  minutes"]


def test_the_summary_of_the_answers_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    names = [f"a rather long name of the column {number}" for number in range(3)]
    answers = {
        "score": {"score": 0.5, "release": "0001_20250101T000000000000Z"},
        "predictions": {
            "predictions": [1.0] * 1000,
            "risk_bands": ["high", "medium", "low", "no data"] * 250,
        },
        "summary": {"columns": names, "summary": [[1234.5678] * 3] * 3},
        "diagnosis": {
            "missing_values": [0.25], "execution_time": [12.345, 67.89],
            "outdated_dependencies": "not available: the package index could not be reached",
        },
    }  # fmt: skip

    shown = apicalls.format_summary(answers, Path("models/apireturns.txt"))

    assert max(map(len, shown.splitlines())) <= 80
    assert "1000 rows, of which 1000 are expected to leave" in shown


def test_the_rows_of_the_cron_tool_fit_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    automate.print_rows({"last run": LONG, "next": "soon"})

    assert capsys.readouterr().out.splitlines() == [
        "  last run   the candidate is better in every way that anybody has thought of so",
        "               far",
        "  next       soon",
    ]
