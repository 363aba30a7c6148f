"""The time axis of the charts: round ticks, a single run, many runs, undefined values."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from scripts.records.run_details import NO_MEASUREMENTS, MeasurementHistory
from scripts.reports import chart_style, history_charts

START = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)


def score(number: int, f1: float | None = 0.7, **facts: Any) -> dict[str, Any]:
    """Make a measurement ten minutes after the previous."""
    at = START + timedelta(minutes=10 * number)
    known = {"f1": f1, "f1_low": f1 and f1 - 0.1, "f1_high": f1 and f1 + 0.1, "started_at": at}
    return known | facts


def at(text: str) -> float:
    """Return a time of the day on the axis."""
    return history_charts.seconds(datetime.fromisoformat(f"2026-03-01T{text}+00:00"))


@pytest.mark.parametrize(
    ("first", "last", "labels"),
    [
        ("10:00:30", "10:05:30", ["10:01", "10:02", "10:03", "10:04", "10:05"]),
        ("10:00", "10:29", ["10:00", "10:05", "10:10", "10:15", "10:20", "10:25"]),
        ("10:02", "13:01", ["11:00", "12:00", "13:00"]),
        ("00:30", "23:30", ["06:00", "12:00", "18:00"]),
    ],
)
def test_ticks_are_at_round_times(first: str, last: str, labels: list[str]) -> None:
    ticks, spelled = history_charts.choose_ticks(at(first), at(last))

    assert spelled == [f"{label}\n01 Mar" for label in labels]
    assert ticks == [at(label) for label in labels]


@pytest.mark.parametrize("days", [1, 3, 10, 40, 200, 800, 4000, 20000])
def test_there_are_at_most_six_ticks_over_any_time(days: int) -> None:
    first = at("10:00")

    ticks, labels = history_charts.choose_ticks(first, first + days * 86400)

    assert 1 <= len(ticks) <= 7
    assert len(set(labels)) == len(labels)
    assert all(first <= tick <= first + days * 86400 for tick in ticks)


def test_one_moment_stands_in_the_middle_of_an_hour() -> None:
    scale = history_charts.time_scale([START])

    assert (scale.low, scale.high) == (at("09:30"), at("10:30"))


def test_before_any_measurement_the_picture_says_so() -> None:
    drawing = history_charts.f1_history(NO_MEASUREMENTS)

    assert "nothing has been measured yet" in drawing.alt
    assert b"Nothing has been measured yet." in chart_style.render_svg(drawing)


def test_an_undefined_f1_is_left_out() -> None:
    drawing = history_charts.f1_history(
        MeasurementHistory(scores=[score(0), score(1, None), score(2, 0.8)])
    )

    assert drawing.alt.startswith(
        "The F1 of production in 2 runs on 2026-03-01: now 0.800, between 0.700 and 0.800."
    )


def test_production_candidates_and_deployments_are_drawn() -> None:
    past = MeasurementHistory(
        scores=[score(0), score(1, 0.75)],
        candidates=[score(-3, 0.1), score(0, 0.6), score(1, 0.75)],
        deployments=[{"at": START, "release": "0001_x"}],
    )
    axes = chart_style.draw(history_charts.f1_history(past), chart_style.LIGHT).axes[0]
    lines = {str(line.get_label()): np.asarray(line.get_ydata()).tolist() for line in axes.lines}

    assert lines["production"] == [0.7, 0.75]
    # A candidate from before the first measurement of production is not shown.
    assert lines["candidates"] == [0.6, 0.75]
    assert [line for line in axes.lines if line.get_linestyle() == ":"] != []


@pytest.mark.parametrize("n_runs", [1, 2, 60, 61, 300])
def test_any_number_of_runs_is_a_picture_of_bounded_size(n_runs: int) -> None:
    rows = [score(number) for number in range(n_runs)]

    svg = chart_style.render_svg(
        history_charts.f1_history(MeasurementHistory(scores=rows, candidates=rows))
    )

    assert svg.startswith(b"<svg")
    assert len(svg) < 100_000
