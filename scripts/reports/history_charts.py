"""Draws what each column of the data looks like over the runs: values, blanks and drift.

Draws F1 over the runs, and gives everything that is drawn over the runs its axis of time.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from matplotlib.axes import Axes

from scripts.records.run_details import MeasurementHistory
from scripts.records.runs import Row
from scripts.reports import chart_style
from scripts.reports.chart_style import AxisScale, Drawing, Theme

N_CATEGORIES = 6
NAMES_PX = 160
N_DRIFTS = 30
N_TOLD = 5


def numbers(rows: Sequence[Row], name: str) -> list[float]:
    """Take one measure of the runs; NaN, which is not drawn, where it was not defined."""
    return [math.nan if row[name] is None else float(row[name]) for row in rows]


def has_any(values: Sequence[float]) -> bool:
    """Say whether there is anything to draw."""
    return any(map(math.isfinite, values))


def draw_values(axes: Axes, look: Theme, rows: Sequence[Row]) -> None:
    """Draw mean and median of a numeric column, and one standard deviation around the mean."""
    times = [seconds(row["started_at"]) for row in rows]
    mean, median, spread = (
        numbers(rows, name) for name in ("mean", "median", "standard_deviation")
    )
    if not has_any(mean):
        chart_style.draw_message(axes, look, "No statistics: the column was blank.")
        return
    style = style_of(len(rows))
    low, high = ([m + sign * s for m, s in zip(mean, spread, strict=True)] for sign in (-1, 1))
    if len(rows) == 1:
        axes.vlines(times, low, high, color=look.accent, alpha=0.35, linewidth=2, label="mean ± SD")
    else:
        axes.fill_between(
            times, low, high, color=look.accent, alpha=0.2, linewidth=0, label="mean ± SD"
        )
    axes.plot(times, mean, style, color=look.accent, markersize=4, label="mean")
    axes.plot(times, median, style, color=look.second, markersize=4, label="median")
    known = [value for value in (*low, *high, *mean, *median) if math.isfinite(value)]
    finish(axes, look, rows, chart_style.round_scale(min(known), max(known)), "value")


def draw_share(axes: Axes, look: Theme, rows: Sequence[Row]) -> None:
    """Draw the share of those who left."""
    times = [seconds(row["started_at"]) for row in rows]
    axes.plot(
        times, numbers(rows, "mean"), style_of(len(rows)), color=look.accent,
        markersize=4, label="share that left",
    )  # fmt: skip
    finish(axes, look, rows, chart_style.FRACTION, "share")


def draw_categories(axes: Axes, look: Theme, counts: Mapping[str, int]) -> None:
    """Draw the shares of the most frequent categories in the dataset of the production model."""
    total = sum(counts.values())
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [(name or "blank", count / total) for name, count in ranked[:N_CATEGORIES]]
    rest = sum(count for _, count in ranked[N_CATEGORIES:])
    if rest:
        shown.append((f"{len(ranked) - N_CATEGORIES:,} others", rest / total))
    axes.barh(range(len(shown)), [share for _, share in shown], height=0.7, color=look.accent)
    for place, (_, share) in enumerate(shown):
        axes.text(share + 0.01, place, f"{share:.1%}", va="center", fontsize=8, color=look.ink)
    names = [chart_style.fit(name, NAMES_PX - 24) for name, _ in shown]
    y = AxisScale(len(shown) - 0.4, -0.6, range(len(shown)), names)
    label = "share of the rows that production was trained on"
    chart_style.frame(axes, look, chart_style.PERCENT, y, (label, ""))


def draw_health(axes: Axes, look: Theme, rows: Sequence[Row]) -> None:
    """Draw the share of blanks, and how far new rows are from production's, with the limit."""
    times = [seconds(row["started_at"]) for row in rows]
    missing, drift, limit = (
        numbers(rows, name) for name in ("missing_fraction", "drift", "drift_limit")
    )
    style = style_of(len(rows))
    axes.plot(times, missing, style, color=look.second, markersize=4, label="blank")
    if has_any(drift):
        axes.plot(times, drift, style, color=look.accent, markersize=4, label="drift")
        ends = "--" if len(rows) > 1 else "_"
        axes.plot(times, limit, ends, color=look.warning, linewidth=1, markersize=12,
                  label="limit of drift")  # fmt: skip
    largest = max((v for v in (*missing, *drift, *limit) if math.isfinite(v)), default=0.0)
    finish(
        axes, look, rows, chart_style.round_scale(0.0, max(largest, 0.05)), "share or difference"
    )


def finish(axes: Axes, look: Theme, rows: Sequence[Row], y: AxisScale, label: str) -> None:
    """Give a panel its axes and its legend."""
    x = time_scale([row["started_at"] for row in rows])
    chart_style.frame(axes, look, x, y, ("", label))
    chart_style.add_legend(axes, look)


def describe(rows: Sequence[Row]) -> str:
    """Say in words what the column looks like now, and what it has been."""
    last = rows[-1]
    said = [f"{last['n_rows']:,} rows now", f"{last['missing_fraction'] or 0:.1%} of them blank"]
    if last["kind"] == "target":
        said.append(f"{last['mean'] or 0:.1%} that left")
    elif last["mean"] is not None:
        known = [row["mean"] for row in rows if row["mean"] is not None]
        said.append(f"mean {last['mean']:.4g} (between {min(known):.4g} and {max(known):.4g})")
        said += [f"median {last['median']:.4g}", f"SD {last['standard_deviation'] or 0:.4g}"]
    if last["drift"] is not None and last["drift_limit"] is not None:
        is_over = last["drift"] > last["drift_limit"]
        said.append(
            f"drift {last['drift']:.3f}, {'over' if is_over else 'within'} the limit of"
            f" {last['drift_limit']:.3f}"
        )
    else:
        said.append("drift not measured")
    return f"{chart_style.shorten(last['column'])} in {format_runs(rows)}: {', '.join(said)}."


def draw_column(
    position: int, rows: Sequence[Row], categories: Mapping[str, Mapping[str, int]]
) -> Drawing:
    """Draw one column of the data over the runs: what is in it above, how healthy it is below."""
    column, kind = rows[-1]["column"], rows[-1]["kind"]
    counts = categories.get(column)

    def values(axes: Axes, look: Theme) -> None:
        if kind == "target":
            draw_share(axes, look, rows)
        elif kind == "categorical" and counts:
            draw_categories(axes, look, counts)
        elif kind == "categorical":
            chart_style.draw_message(
                axes, look, "No production model knows the categories of this column."
            )
        else:
            draw_values(axes, look, rows)

    def health(axes: Axes, look: Theme) -> None:
        draw_health(axes, look, rows)

    left = NAMES_PX if kind == "categorical" and counts else chart_style.MARGINS[0]
    return Drawing(
        f"data_{position}", chart_style.shorten(column, 80), describe(rows), "data", 560, 400,
        (values, health), left=left, column=column,
    )  # fmt: skip


def draw_columns(
    past: MeasurementHistory, categories: Mapping[str, Mapping[str, int]]
) -> list[Drawing]:
    """Draw the columns of the newest dataset over the runs.

    Parameters
    ----------
    past : Past
        The statistics of the runs.
    categories : mapping of str to mapping of str to int
        Of the categorical columns of the production model: rows by category.

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
    return [draw_column(place, rows, categories) for place, rows in enumerate(shown, start=1)]


def draw_drift(past: MeasurementHistory) -> Drawing | None:
    """Draw how far each column of the newest dataset has drifted, as a share of its limit.

    Parameters
    ----------
    past : Past
        The statistics of the runs.

    Returns
    -------
    Drawing or None
        The furthest columns first; None if nothing was compared.
    """
    newest = max((row["run_id"] for row in past.columns), default=None)
    compared = [
        (row["column"], row["drift"] / row["drift_limit"])
        for row in past.columns
        if row["run_id"] == newest and row["drift"] is not None and row["drift_limit"]
    ]
    if not compared:
        return None
    ranked = sorted(compared, key=lambda item: -item[1])[:N_DRIFTS]
    n_over = sum(share > 1 for _, share in compared)

    def panel(axes: Axes, look: Theme) -> None:
        colours = [look.warning if share > 1 else look.accent for _, share in ranked]
        axes.barh(range(len(ranked)), [share for _, share in ranked], height=0.7, color=colours)
        names = [chart_style.fit(name, NAMES_PX) for name, _ in ranked]
        axes.axvline(1, color=look.warning, linestyle="--", linewidth=1, label="limit")
        x = chart_style.round_scale(0.0, max(1.0, *(share for _, share in ranked)))
        y = AxisScale(len(ranked) - 0.4, -0.6, range(len(ranked)), names)
        chart_style.frame(axes, look, x, y, ("drift as a share of its limit", ""))

    title = f"Drift per column: {n_over} of {len(compared)} over the limit"
    alt = f"{title}. " + "; ".join(
        f"{chart_style.shorten(name)} {share:.0%}" for name, share in ranked[:N_TOLD]
    )
    return Drawing(
        "drift", title, f"{alt} of the limit.", "data", 600, 80 + 20 * len(ranked), (panel,),
        left=NAMES_PX + 24,
    )  # fmt: skip


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST_TICKS = 6
MINUTE, HOUR, DAY = 60, 3600, 86400
STEPS_S = (
    MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY,
    14 * DAY, 28 * DAY, 91 * DAY, 182 * DAY, 364 * DAY, 1820 * DAY, 9100 * DAY, 36400 * DAY,
)  # fmt: skip
# So many points are told apart; more are drawn as a line alone.
MOST_POINTS = 60


def seconds(moment: datetime) -> float:
    """Place a moment on the axis."""
    return (moment - EPOCH).total_seconds()


def format_axis_moment(at_s: float, step_s: int) -> str:
    """Spell a moment in UTC as finely as ticks this far apart need."""
    moment = EPOCH + timedelta(seconds=at_s)
    return f"{moment:%d %b\n%Y}" if step_s >= DAY else f"{moment:%H:%M\n%d %b}"


def choose_ticks(first_s: float, last_s: float) -> tuple[list[float], list[str]]:
    """Choose at most six round moments between two, and spell them."""
    span = last_s - first_s
    step = next((step for step in STEPS_S if span / step < MOST_TICKS), STEPS_S[-1])
    ticks = [
        float(number * step)
        for number in range(int(first_s // step), int(last_s // step) + 1)
        if first_s <= number * step <= last_s
    ]
    return ticks, [format_axis_moment(tick, step) for tick in ticks]


def time_scale(moments: Sequence[datetime]) -> AxisScale:
    """Make an axis that runs over the moments, with round ticks; one moment gets an hour."""
    first, last = seconds(min(moments)), seconds(max(moments))
    room = max(0.03 * (last - first), 1800.0 if first == last else 30.0)
    return AxisScale(first - room, last + room, *choose_ticks(first - room, last + room))


def style_of(n_points: int) -> str:
    """Draw a line with its points, or alone where there are too many to tell apart."""
    return "o-" if n_points <= MOST_POINTS else "-"


def draw_interval(axes: Axes, look: Theme, rows: Sequence[Row]) -> None:
    """Draw the interval of each F1, as a band where there are too many to tell apart."""
    times = [seconds(row["started_at"]) for row in rows]
    low, high = ([row[end] for row in rows] for end in ("f1_low", "f1_high"))
    label = "95 % interval"
    if len(rows) <= MOST_POINTS:
        axes.vlines(times, low, high, color=look.accent, alpha=0.4, linewidth=2, label=label)
    else:
        axes.fill_between(times, low, high, color=look.accent, alpha=0.25, linewidth=0, label=label)


def draw_f1_history(axes: Axes, look: Theme, *, past: MeasurementHistory) -> None:
    """Draw the F1 of production with its interval, of candidates, and when what was deployed."""
    scores = [row for row in past.scores if row["f1"] is not None]
    if not scores:
        chart_style.draw_message(axes, look, "Nothing has been measured yet.")
        return
    times = [seconds(row["started_at"]) for row in scores]
    since = min(times)
    tried = [row for row in past.candidates if row["f1"] is not None]
    tried = [row for row in tried if seconds(row["started_at"]) >= since]
    moments = [row["started_at"] for row in (*scores, *tried)]
    for row in past.deployments:
        axes.axvline(seconds(row["at"]), color=look.guide, linewidth=0.8, linestyle=":")
    draw_interval(axes, look, [row for row in scores if row["f1_low"] is not None])
    axes.plot(
        times, [row["f1"] for row in scores], style_of(len(times)), color=look.accent, markersize=4,
        label="production",
    )  # fmt: skip
    axes.plot(
        [seconds(row["started_at"]) for row in tried], [row["f1"] for row in tried],
        "D" if len(tried) <= MOST_POINTS else ".", color=look.second, markersize=4,
        fillstyle="none", label="candidates",
    )  # fmt: skip
    label = "F1 on the test data of the day"
    chart_style.frame(axes, look, time_scale(moments), chart_style.FRACTION, ("", label))
    chart_style.add_legend(axes, look)


def format_range(values: Sequence[float]) -> str:
    """Say what a measure is now, and between what it has been."""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"now {values[-1]:.3f}, between {min(values):.3f} and {max(values):.3f}"


def format_runs(rows: Sequence[Row]) -> str:
    """Say of how many runs rows are, and of which days."""
    first, last = (f"{row['started_at']:%Y-%m-%d}" for row in (rows[0], rows[-1]))
    days = f"on {first}" if first == last else f"from {first} to {last}"
    return f"{len(rows):,} run{'s' if len(rows) > 1 else ''} {days}"


def f1_history(past: MeasurementHistory) -> Drawing:
    """Draw how good production has been, run by run."""
    scores: list[Row] = [row for row in past.scores if row["f1"] is not None]
    alt = "The F1 of production over the runs: nothing has been measured yet."
    if scores:
        alt = (
            f"The F1 of production in {format_runs(scores)}:"
            f" {format_range([row['f1'] for row in scores])}. Deployments and rollbacks, marked by"
            f" dotted lines: {len(past.deployments):,}."
        )

    def panel(axes: Axes, look: Theme) -> None:
        draw_f1_history(axes, look, past=past)

    return Drawing("f1_history", "F1 over time", alt, "overview", 720, 280, (panel,))
