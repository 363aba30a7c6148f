"""The charts over the runs: F1, drift, and the values and missing values of each column."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from matplotlib.axes import Axes

from scripts.core.column_words import PLAIN, ColumnWords
from scripts.records.run_details import MeasurementHistory
from scripts.records.runs import Row
from scripts.reports import chart_style
from scripts.reports.chart_style import AxisScale, Drawing, Theme

N_CATEGORIES = 6
NAMES_PX = 160
N_DRIFTS = 30
N_IN_ALT = 5
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST_TICKS = 6
MINUTE, HOUR, DAY = 60, 3600, 86400
STEPS_S = (
    MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY,
    14 * DAY, 28 * DAY, 91 * DAY, 182 * DAY, 364 * DAY, 1820 * DAY, 9100 * DAY, 36400 * DAY,
)  # fmt: skip
# The eye tells so many points apart. More are drawn as a line alone.
MOST_POINTS = 60


def numbers(rows: Sequence[Row], name: str) -> list[float]:
    """Return a measure of the runs, with NaN, which is not drawn, for undefined."""
    return [math.nan if row[name] is None else float(row[name]) for row in rows]


def has_any(values: Sequence[float]) -> bool:
    """Return whether at least a value is finite."""
    return any(map(math.isfinite, values))


def seconds(moment: datetime) -> float:
    """Return a moment as seconds since 1970, the unit of the time axis."""
    return (moment - EPOCH).total_seconds()


def format_tick(at_s: float, step_s: int) -> str:
    """Format the time of a tick in UTC, with the hour for steps under a day."""
    moment = EPOCH + timedelta(seconds=at_s)
    return f"{moment:%d %b\n%Y}" if step_s >= DAY else f"{moment:%H:%M\n%d %b}"


def choose_ticks(first_s: float, last_s: float) -> tuple[list[float], list[str]]:
    """Return at most six round times between two, and the labels."""
    span = last_s - first_s
    step = next((step for step in STEPS_S if span / step < MOST_TICKS), STEPS_S[-1])
    ticks = [
        float(number * step)
        for number in range(int(first_s // step), int(last_s // step) + 1)
        if first_s <= number * step <= last_s
    ]
    return ticks, [format_tick(tick, step) for tick in ticks]


def time_scale(moments: Sequence[datetime]) -> AxisScale:
    """Return the scale of a time axis with round ticks, an hour wide for a single moment."""
    first, last = seconds(min(moments)), seconds(max(moments))
    room = max(0.03 * (last - first), 1800.0 if first == last else 30.0)
    return AxisScale(first - room, last + room, *choose_ticks(first - room, last + room))


def draw_axes_and_legend(
    axes: Axes, theme: Theme, rows: Sequence[Row], y: AxisScale, label: str
) -> None:
    """Draw the axes and the legend of a panel."""
    x = time_scale([row["started_at"] for row in rows])
    chart_style.draw_axes(axes, theme, x, y, ("", label))
    chart_style.add_legend(axes, theme)


def style_of(n_points: int) -> str:
    """Return the style of a line, with markers for few points only."""
    return "o-" if n_points <= MOST_POINTS else "-"


def draw_values(axes: Axes, theme: Theme, rows: Sequence[Row]) -> None:
    """Draw mean and median of a numeric column, and a standard deviation around the mean."""
    times = [seconds(row["started_at"]) for row in rows]
    mean, median, spread = (
        numbers(rows, name) for name in ("mean", "median", "standard_deviation")
    )
    if not has_any(mean):
        chart_style.draw_message(axes, theme, "No statistics: the column was blank.")
        return
    style = style_of(len(rows))
    low, high = ([m + sign * s for m, s in zip(mean, spread, strict=True)] for sign in (-1, 1))
    if len(rows) == 1:
        axes.vlines(
            times, low, high, color=theme.accent, alpha=0.35, linewidth=2, label="mean ± SD"
        )
    else:
        axes.fill_between(
            times, low, high, color=theme.accent, alpha=0.2, linewidth=0, label="mean ± SD"
        )
    axes.plot(times, mean, style, color=theme.accent, markersize=4, label="mean")
    axes.plot(times, median, style, color=theme.second, markersize=4, label="median")
    known = [value for value in (*low, *high, *mean, *median) if math.isfinite(value)]
    draw_axes_and_legend(
        axes, theme, rows, chart_style.round_scale(min(known), max(known)), "value"
    )


def draw_share(axes: Axes, theme: Theme, rows: Sequence[Row]) -> None:
    """Draw the share of the clients who left."""
    times = [seconds(row["started_at"]) for row in rows]
    axes.plot(
        times, numbers(rows, "mean"), style_of(len(rows)), color=theme.accent,
        markersize=4, label="share that left",
    )  # fmt: skip
    draw_axes_and_legend(axes, theme, rows, chart_style.FRACTION, "share")


def draw_categories(axes: Axes, theme: Theme, counts: Mapping[str, int]) -> None:
    """Draw the shares of the most frequent categories in the dataset of the production model."""
    total = sum(counts.values())
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [(name or "blank", count / total) for name, count in ranked[:N_CATEGORIES]]
    rest = sum(count for _, count in ranked[N_CATEGORIES:])
    if rest:
        shown.append((f"{len(ranked) - N_CATEGORIES:,} others", rest / total))
    axes.barh(range(len(shown)), [share for _, share in shown], height=0.7, color=theme.accent)
    for row, (_, share) in enumerate(shown):
        axes.text(share + 0.01, row, f"{share:.1%}", va="center", fontsize=8, color=theme.ink)
    names = [chart_style.fit_label(name, NAMES_PX - 24) for name, _ in shown]
    y = AxisScale(len(shown) - 0.4, -0.6, range(len(shown)), names)
    label = "share of the rows that production was trained on"
    chart_style.draw_axes(axes, theme, chart_style.PERCENT, y, (label, ""))


def draw_health(axes: Axes, theme: Theme, rows: Sequence[Row]) -> None:
    """Draw the share of missing values, and the drift of the new rows with the limit."""
    times = [seconds(row["started_at"]) for row in rows]
    missing, drift, limit = (
        numbers(rows, name) for name in ("missing_fraction", "drift", "drift_limit")
    )
    style = style_of(len(rows))
    axes.plot(times, missing, style, color=theme.second, markersize=4, label="blank")
    if has_any(drift):
        axes.plot(times, drift, style, color=theme.accent, markersize=4, label="drift")
        # A line through a single value is not drawn.
        ends = "--" if sum(map(math.isfinite, limit)) > 1 else "_"
        axes.plot(times, limit, ends, color=theme.warning, linewidth=1, markersize=12,
                  label="limit of drift")  # fmt: skip
    largest = max((v for v in (*missing, *drift, *limit) if math.isfinite(v)), default=0.0)
    draw_axes_and_legend(
        axes, theme, rows, chart_style.round_scale(0.0, max(largest, 0.05)), "share or difference"
    )


def format_runs(rows: Sequence[Row]) -> str:
    """Format the number of runs and the days."""
    first, last = (f"{row['started_at']:%Y-%m-%d}" for row in (rows[0], rows[-1]))
    days = f"on {first}" if first == last else f"from {first} to {last}"
    return f"{len(rows):,} run{'s' if len(rows) > 1 else ''} {days}"


def describe(rows: Sequence[Row], name: str) -> str:
    """Describe the statistics of a column, of the last run and over the runs."""
    last = rows[-1]
    parts = [f"{last['n_rows']:,} rows now", f"{last['missing_fraction'] or 0:.1%} of them blank"]
    if last["kind"] == "target":
        parts.append(f"{last['mean'] or 0:.1%} that left")
    elif last["mean"] is not None:
        known = [row["mean"] for row in rows if row["mean"] is not None]
        parts.append(f"mean {last['mean']:.4g} (between {min(known):.4g} and {max(known):.4g})")
        parts += [f"median {last['median']:.4g}", f"SD {last['standard_deviation'] or 0:.4g}"]
    if last["drift"] is not None and last["drift_limit"] is not None:
        is_over = last["drift"] > last["drift_limit"]
        parts.append(
            f"drift {last['drift']:.3f}, {'over' if is_over else 'within'} the limit of"
            f" {last['drift_limit']:.3f}"
        )
    else:
        parts.append("drift not measured")
    return f"{chart_style.safe_line(name)} in {format_runs(rows)}: {', '.join(parts)}."


def draw_column(
    position: int, rows: Sequence[Row], categories: Mapping[str, Mapping[str, int]], name: str
) -> Drawing:
    """Return the chart of a column over the runs: values above, missing values and drift below."""
    column, kind = rows[-1]["column"], rows[-1]["kind"]
    counts = categories.get(column)

    def values(axes: Axes, theme: Theme) -> None:
        """Draw the values of the column over the runs."""
        if kind == "target":
            draw_share(axes, theme, rows)
        elif kind == "categorical" and counts:
            draw_categories(axes, theme, counts)
        elif kind == "categorical":
            chart_style.draw_message(
                axes, theme, "No production model knows the categories of this column."
            )
        else:
            draw_values(axes, theme, rows)

    def health(axes: Axes, theme: Theme) -> None:
        """Draw the missing values and the drift over the runs."""
        draw_health(axes, theme, rows)

    left = NAMES_PX if kind == "categorical" and counts else chart_style.MARGINS[0]
    return Drawing(
        f"data_{position}", chart_style.safe_line(name, 80), describe(rows, name), "data", 560, 400,
        (values, health), left=left, column=column,
    )  # fmt: skip


def draw_columns(
    past: MeasurementHistory,
    categories: Mapping[str, Mapping[str, int]],
    words: ColumnWords = PLAIN,
) -> list[Drawing]:
    """Return a chart over the runs for each column of the newest dataset.

    Parameters
    ----------
    past : MeasurementHistory
        The statistics of the runs.
    categories : mapping of str to mapping of str to int
        The rows by category of each categorical column of the production model.
    words : ColumnWords
        The names of columns for people.

    Returns
    -------
    list of Drawing
        `data_1` is the first column of the newest dataset, ids left out.
    """
    of_column: dict[str, list[Row]] = {}
    for row in past.columns:
        of_column.setdefault(row["column"], []).append(row)
    newest = max((row["run_id"] for row in past.columns), default=None)
    shown = [rows for rows in of_column.values() if rows[-1]["run_id"] == newest]
    return [
        draw_column(number, rows, categories, words.name(rows[-1]["column"]))
        for number, rows in enumerate(shown, start=1)
    ]


def draw_drift(past: MeasurementHistory, words: ColumnWords = PLAIN) -> Drawing | None:
    """Return the chart of the drift of each column, as a share of the limit.

    Parameters
    ----------
    past : MeasurementHistory
        The statistics of the runs.
    words : ColumnWords
        The names of columns for people.

    Returns
    -------
    Drawing or None
        The columns by falling drift. None if nothing was compared.
    """
    newest = max((row["run_id"] for row in past.columns), default=None)
    compared = [
        (words.name(row["column"]), row["drift"] / row["drift_limit"])
        for row in past.columns
        if row["run_id"] == newest and row["drift"] is not None and row["drift_limit"]
    ]
    if not compared:
        return None
    ranked = sorted(compared, key=lambda item: -item[1])[:N_DRIFTS]
    n_over = sum(share > 1 for _, share in compared)

    def panel(axes: Axes, theme: Theme) -> None:
        """Draw a bar for the drift of each column."""
        colours = [theme.warning if share > 1 else theme.accent for _, share in ranked]
        axes.barh(range(len(ranked)), [share for _, share in ranked], height=0.7, color=colours)
        names = [chart_style.fit_label(name, NAMES_PX) for name, _ in ranked]
        axes.axvline(1, color=theme.warning, linestyle="--", linewidth=1, label="limit")
        x = chart_style.round_scale(0.0, max(1.0, *(share for _, share in ranked)))
        y = AxisScale(len(ranked) - 0.4, -0.6, range(len(ranked)), names)
        chart_style.draw_axes(axes, theme, x, y, ("drift as a share of its limit", ""))

    title = f"Drift per column: {n_over} of {len(compared)} over the limit"
    alt = f"{title}. " + "; ".join(
        f"{chart_style.safe_line(name)} {share:.0%}" for name, share in ranked[:N_IN_ALT]
    )
    return Drawing(
        "drift", title, f"{alt} of the limit.", "data", 600, 80 + 20 * len(ranked), (panel,),
        left=NAMES_PX + 24,
    )  # fmt: skip


def draw_interval(axes: Axes, theme: Theme, rows: Sequence[Row]) -> None:
    """Draw the interval of each F1, as a band for more than a few points."""
    times = [seconds(row["started_at"]) for row in rows]
    low, high = ([row[end] for row in rows] for end in ("f1_low", "f1_high"))
    label = "95 % interval"
    if len(rows) <= MOST_POINTS:
        axes.vlines(times, low, high, color=theme.accent, alpha=0.4, linewidth=2, label=label)
    else:
        axes.fill_between(
            times, low, high, color=theme.accent, alpha=0.25, linewidth=0, label=label
        )


def draw_f1_history(axes: Axes, theme: Theme, *, past: MeasurementHistory) -> None:
    """Draw the F1 of production with intervals, the candidates and the deployments."""
    scores = [row for row in past.scores if row["f1"] is not None]
    if not scores:
        chart_style.draw_message(axes, theme, "Nothing has been measured yet.")
        return
    times = [seconds(row["started_at"]) for row in scores]
    since = min(times)
    tried = [row for row in past.candidates if row["f1"] is not None]
    tried = [row for row in tried if seconds(row["started_at"]) >= since]
    moments = [row["started_at"] for row in (*scores, *tried)]
    for row in past.deployments:
        axes.axvline(seconds(row["at"]), color=theme.guide, linewidth=0.8, linestyle=":")
    draw_interval(axes, theme, [row for row in scores if row["f1_low"] is not None])
    axes.plot(
        times, [row["f1"] for row in scores], style_of(len(times)), color=theme.accent,
        markersize=4, label="production",
    )  # fmt: skip
    axes.plot(
        [seconds(row["started_at"]) for row in tried], [row["f1"] for row in tried],
        "D" if len(tried) <= MOST_POINTS else ".", color=theme.second, markersize=4,
        fillstyle="none", label="candidates",
    )  # fmt: skip
    label = "F1 on the test data of the day"
    chart_style.draw_axes(axes, theme, time_scale(moments), chart_style.FRACTION, ("", label))
    chart_style.add_legend(axes, theme)


def format_range(values: Sequence[float]) -> str:
    """Format the last value of a measure, and the range."""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"now {values[-1]:.3f}, between {min(values):.3f} and {max(values):.3f}"


def f1_history(past: MeasurementHistory) -> Drawing:
    """Return the chart of the F1 of production and candidates over the runs."""
    scores: list[Row] = [row for row in past.scores if row["f1"] is not None]
    alt = "The F1 of production over the runs: nothing has been measured yet."
    if scores:
        alt = (
            f"The F1 of production in {format_runs(scores)}:"
            f" {format_range([row['f1'] for row in scores])}. Deployments and rollbacks, marked by"
            f" dotted lines: {len(past.deployments):,}."
        )

    def panel(axes: Axes, theme: Theme) -> None:
        """Draw F1 over time."""
        draw_f1_history(axes, theme, past=past)

    return Drawing("f1_history", "F1 over time", alt, "overview", 720, 280, (panel,))
