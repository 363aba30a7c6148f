"""Draws what each column of the data looks like over the runs: values, blanks and drift."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from scripts import canvas, timelines
from scripts.canvas import Drawing, Look, Scale
from scripts.database import Row
from scripts.past import Past

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


def draw_values(axes: Axes, look: Look, rows: Sequence[Row]) -> None:
    """Draw mean and median of a numeric column, and one standard deviation around the mean."""
    times = [timelines.seconds(row["started_at"]) for row in rows]
    mean, median, spread = (
        numbers(rows, name) for name in ("mean", "median", "standard_deviation")
    )
    if not has_any(mean):
        canvas.say(axes, look, "No statistics: the column was blank.")
        return
    style = timelines.style_of(len(rows))
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
    finish(axes, look, rows, canvas.round_scale(min(known), max(known)), "value")


def draw_share(axes: Axes, look: Look, rows: Sequence[Row]) -> None:
    """Draw the share of those who left."""
    times = [timelines.seconds(row["started_at"]) for row in rows]
    axes.plot(
        times, numbers(rows, "mean"), timelines.style_of(len(rows)), color=look.accent,
        markersize=4, label="share that left",
    )  # fmt: skip
    finish(axes, look, rows, canvas.FRACTION, "share")


def draw_categories(axes: Axes, look: Look, counts: Mapping[str, int]) -> None:
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
    names = [canvas.fit(name, NAMES_PX - 24) for name, _ in shown]
    y = Scale(len(shown) - 0.4, -0.6, range(len(shown)), names)
    label = "share of the rows that production was trained on"
    canvas.frame(axes, look, canvas.PERCENT, y, (label, ""))


def draw_health(axes: Axes, look: Look, rows: Sequence[Row]) -> None:
    """Draw the share of blanks, and how far new rows are from production's, with the limit."""
    times = [timelines.seconds(row["started_at"]) for row in rows]
    missing, drift, limit = (
        numbers(rows, name) for name in ("missing_fraction", "drift", "drift_limit")
    )
    style = timelines.style_of(len(rows))
    axes.plot(times, missing, style, color=look.second, markersize=4, label="blank")
    if has_any(drift):
        axes.plot(times, drift, style, color=look.accent, markersize=4, label="drift")
        ends = "--" if len(rows) > 1 else "_"
        axes.plot(times, limit, ends, color=look.warning, linewidth=1, markersize=12,
                  label="limit of drift")  # fmt: skip
    largest = max((v for v in (*missing, *drift, *limit) if math.isfinite(v)), default=0.0)
    finish(axes, look, rows, canvas.round_scale(0.0, max(largest, 0.05)), "share or difference")


def finish(axes: Axes, look: Look, rows: Sequence[Row], y: Scale, label: str) -> None:
    """Give a panel its axes and its legend."""
    x = timelines.time_scale([row["started_at"] for row in rows])
    canvas.frame(axes, look, x, y, ("", label))
    canvas.add_legend(axes, look)


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
    return f"{canvas.shorten(last['column'])} in {timelines.spell_runs(rows)}: {', '.join(said)}."


def draw_column(
    position: int, rows: Sequence[Row], categories: Mapping[str, Mapping[str, int]]
) -> Drawing:
    """Draw one column of the data over the runs: what is in it above, how healthy it is below."""
    column, kind = rows[-1]["column"], rows[-1]["kind"]
    counts = categories.get(column)

    def values(axes: Axes, look: Look) -> None:
        if kind == "target":
            draw_share(axes, look, rows)
        elif kind == "categorical" and counts:
            draw_categories(axes, look, counts)
        elif kind == "categorical":
            canvas.say(axes, look, "No production model knows the categories of this column.")
        else:
            draw_values(axes, look, rows)

    def health(axes: Axes, look: Look) -> None:
        draw_health(axes, look, rows)

    left = NAMES_PX if kind == "categorical" and counts else canvas.MARGINS[0]
    return Drawing(
        f"data_{position}", canvas.shorten(column, 80), describe(rows), "data", 560, 400,
        (values, health), left=left, column=column,
    )  # fmt: skip


def draw_columns(past: Past, categories: Mapping[str, Mapping[str, int]]) -> list[Drawing]:
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


def draw_drift(past: Past) -> Drawing | None:
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

    def panel(axes: Axes, look: Look) -> None:
        colours = [look.warning if share > 1 else look.accent for _, share in ranked]
        axes.barh(range(len(ranked)), [share for _, share in ranked], height=0.7, color=colours)
        names = [canvas.fit(name, NAMES_PX) for name, _ in ranked]
        axes.axvline(1, color=look.warning, linestyle="--", linewidth=1, label="limit")
        x = canvas.round_scale(0.0, max(1.0, *(share for _, share in ranked)))
        y = Scale(len(ranked) - 0.4, -0.6, range(len(ranked)), names)
        canvas.frame(axes, look, x, y, ("drift as a share of its limit", ""))

    title = f"Drift per column: {n_over} of {len(compared)} over the limit"
    alt = f"{title}. " + "; ".join(
        f"{canvas.shorten(name)} {share:.0%}" for name, share in ranked[:N_TOLD]
    )
    return Drawing(
        "drift", title, f"{alt} of the limit.", "data", 600, 80 + 20 * len(ranked), (panel,),
        left=NAMES_PX + 24,
    )  # fmt: skip
