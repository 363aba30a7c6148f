"""Small pictures as plain numbers."""

import pytest

from scripts.dashboard import inline_charts
from scripts.dashboard.inline_charts import TermBar

DAY = "2025-01-{:02d}T00:00:00+00:00"


def test_a_line_goes_from_the_oldest_to_the_newest_and_keeps_distances() -> None:
    scores = [(DAY.format(day), p, "low") for day, p in ((1, 0.0), (2, 1.0), (5, 0.5))]

    line = inline_charts.draw_line(scores, [0.25])

    # From 8 to 592 in four days, from 132 (never) to 8 (surely).
    assert line.points == "8,132 154,8 592,70"
    assert line.limits == (101.0,)


def test_one_score_stands_in_the_middle() -> None:
    assert inline_charts.draw_line([(DAY.format(1), 0.5, "low")], []).points == "300,70"
    assert inline_charts.draw_line([], []).points == ""


def test_bars_stand_on_both_sides_of_zero_the_strongest_first() -> None:
    assert inline_charts.draw_bars({"a": 1.0, "b": -2.0, "c": 0.0}) == [
        TermBar("b", -2.0, 0.0, 50.0), TermBar("a", 1.0, 50.0, 25.0), TermBar("c", 0.0, 50.0, 0.0),
    ]  # fmt: skip
    assert inline_charts.draw_bars({}) == []


@pytest.mark.parametrize(
    ("values", "points"),
    [([], ""), ([1.0], ""), ([None, 1.0], ""), ([1.0, None, 3.0], "0,18 100,2"),
     ([2.0, 2.0], "0,10 100,10")],
)  # fmt: skip
def test_a_trend_is_as_high_as_it_can_be(values: list[float | None], points: str) -> None:
    assert inline_charts.draw_trend(values) == points
