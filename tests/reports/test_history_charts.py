"""The charts over the runs: values, missing values and drift of a column, in lines and in words."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scripts.core.column_words import ColumnWords
from scripts.core.config import ColumnLabel
from scripts.records.run_details import NO_MEASUREMENTS, MeasurementHistory
from scripts.reports import chart_style, history_charts
from scripts.reports.chart_style import Drawing

START = datetime(2026, 3, 1, tzinfo=UTC)
HOSTILE = ["<script>alert(1)</script>", "$x$ $y$", "größe 中文 🙂", "x" * 80, "a\x00\x1b[31m\u202e"]


def row(run: int, column: str = "months", kind: str = "numeric", **facts: Any) -> dict[str, Any]:
    """Make the statistics of a column in a run."""
    known = {
        "run_id": run, "column": column, "kind": kind, "n_rows": 1000, "missing_fraction": 0.05,
        "mean": 10.0, "median": 9.0, "standard_deviation": 2.0, "drift": 0.02, "drift_limit": 0.08,
        "started_at": START + timedelta(days=run),
    }  # fmt: skip
    return known | facts


def draw(*rows: dict[str, Any], counts: dict[str, int] | None = None) -> list[Drawing]:
    """Draw the columns of some runs."""
    categories = {} if counts is None else {rows[0]["column"]: counts}
    return history_charts.draw_columns(MeasurementHistory(columns=rows), categories)


def lines_of(drawing: Drawing, panel: int) -> dict[str, list[float]]:
    """Return the lines of a panel by label."""
    axes = chart_style.draw(drawing, chart_style.LIGHT).axes[panel]
    return {str(line.get_label()): list(line.get_ydata()) for line in axes.lines}  # type: ignore[arg-type]


def test_values_blanks_and_drift_are_drawn_run_by_run() -> None:
    (drawing,) = draw(row(1), row(2, mean=12.0, missing_fraction=0.5, drift=0.09))

    values, health = lines_of(drawing, 0), lines_of(drawing, 1)
    assert values["mean"] == [10, 12]
    assert values["median"] == [9, 9]
    assert health["blank"] == [0.05, 0.5]
    assert health["drift"] == [0.02, 0.09]
    assert health["limit of drift"] == [0.08, 0.08]


def test_the_limit_of_a_first_comparison_is_drawn_as_a_mark() -> None:
    (drawing,) = draw(row(1, drift=None, drift_limit=None), row(2))
    axes = chart_style.draw(drawing, chart_style.LIGHT).axes[1]

    (limit,) = [line for line in axes.lines if line.get_label() == "limit of drift"]
    assert limit.get_marker() == "_"


def test_a_column_and_its_drift_have_the_names_for_people() -> None:
    past = MeasurementHistory(columns=[row(1), row(2)])
    words = ColumnWords({"months": ColumnLabel(name="Client for", unit="months")})

    (drawing,) = history_charts.draw_columns(past, {}, words)
    drift = history_charts.draw_drift(past, words)

    assert (drawing.title, drawing.column) == ("Client for", "months")
    assert drawing.alt.startswith("Client for in 2 runs")
    assert drift is not None
    assert "Client for 25% of the limit" in drift.alt


def test_the_words_hold_the_numbers() -> None:
    (drawing,) = draw(row(1), row(2, mean=12.0, drift=0.09))

    assert drawing.alt == (
        "months in 2 runs from 2026-03-02 to 2026-03-03: 1,000 rows now, 5.0% of them blank,"
        " mean 12 (between 10 and 12), median 9, SD 2, drift 0.090, over the limit of 0.080."
    )


def test_columns_are_numbered_as_in_the_newest_dataset_and_old_ones_are_left_out() -> None:
    drawings = draw(row(1, "gone"), row(1, "kept"), row(2, "kept"), row(2, "new"))

    assert [(d.name, d.column, d.page) for d in drawings] == [
        ("data_1", "kept", "data"), ("data_2", "new", "data"),
    ]  # fmt: skip


def test_without_records_there_is_nothing_to_draw() -> None:
    assert history_charts.draw_columns(NO_MEASUREMENTS, {}) == []


def test_the_target_is_a_share() -> None:
    (drawing,) = draw(row(1, "left", "target", mean=0.25))

    assert "25.0% that left" in drawing.alt
    assert lines_of(drawing, 0)["share that left"] == [0.25]


def test_the_six_most_frequent_categories_are_shown_and_the_rest_counted() -> None:
    counts = {name: number for number, name in enumerate("abcdefgh", start=1)} | {"": 64}
    (drawing,) = draw(row(1, kind="categorical", mean=None), counts=counts)
    axes = chart_style.draw(drawing, chart_style.LIGHT).axes[0]

    shares = [text.get_text() for text in axes.texts if text.get_text().endswith("%")]
    # Of 100 rows; a, b and c together are 6.
    assert {"64.0%", "8.0%", "7.0%", "6.0%", "5.0%", "4.0%"} <= set(shares)
    assert {"blank", "3 others"} <= {text.get_text() for text in axes.texts}


def test_a_column_whose_categories_nobody_knows_says_so() -> None:
    (drawing,) = draw(row(1, kind="categorical", mean=None))

    assert b"No production model knows the categories" in chart_style.render_svg(drawing)


def test_what_was_not_defined_is_left_out() -> None:
    nothing: Any = dict.fromkeys(("mean", "median", "standard_deviation", "drift", "drift_limit"))
    (drawing,) = draw(row(1, missing_fraction=1.0, **nothing))

    assert "100.0% of them blank, drift not measured" in drawing.alt
    assert b"No statistics: the column was blank." in chart_style.render_svg(drawing)
    assert set(lines_of(drawing, 1)) & {"blank", "drift"} == {"blank"}


@pytest.mark.parametrize("kind", ["numeric", "categorical", "target"])
@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_is_drawn_as_it_is_and_never_markup(name: str, kind: str) -> None:
    (drawing,) = draw(row(1, name, kind, mean=0.5), counts={name: 3})

    svg = chart_style.render_svg(drawing)

    assert b"<script" not in svg
    assert drawing.column == name
    assert "\x00" not in drawing.title + drawing.alt


@pytest.mark.parametrize("n_runs", [1, 2, 60, 61, 100])
def test_any_number_of_runs_is_a_picture_of_bounded_size(n_runs: int) -> None:
    (drawing,) = draw(*(row(number, mean=number % 7) for number in range(n_runs)))

    assert len(chart_style.render_svg(drawing)) < 60_000


@pytest.mark.parametrize("mean", [0.0, 1e-12, -5e6, 2.0**53, 123456.789])
def test_means_of_any_size_are_drawn(mean: float) -> None:
    (drawing,) = draw(row(1, mean=mean, median=mean, standard_deviation=0.0))

    assert chart_style.render_svg(drawing).startswith(b"<svg")
