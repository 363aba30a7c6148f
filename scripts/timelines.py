"""Draws F1 over the runs, and gives everything that is drawn over the runs its axis of time."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from matplotlib.axes import Axes

from scripts import canvas
from scripts.canvas import Drawing, Look, Scale
from scripts.database import Row
from scripts.past import Past

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


def spell_moment(at_s: float, step_s: int) -> str:
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
    return ticks, [spell_moment(tick, step) for tick in ticks]


def time_scale(moments: Sequence[datetime]) -> Scale:
    """Make an axis that runs over the moments, with round ticks; one moment gets an hour."""
    first, last = seconds(min(moments)), seconds(max(moments))
    room = max(0.03 * (last - first), 1800.0 if first == last else 30.0)
    return Scale(first - room, last + room, *choose_ticks(first - room, last + room))


def style_of(n_points: int) -> str:
    """Draw a line with its points, or alone where there are too many to tell apart."""
    return "o-" if n_points <= MOST_POINTS else "-"


def draw_interval(axes: Axes, look: Look, rows: Sequence[Row]) -> None:
    """Draw the interval of each F1, as a band where there are too many to tell apart."""
    times = [seconds(row["started_at"]) for row in rows]
    low, high = ([row[end] for row in rows] for end in ("f1_low", "f1_high"))
    label = "95 % interval"
    if len(rows) <= MOST_POINTS:
        axes.vlines(times, low, high, color=look.accent, alpha=0.4, linewidth=2, label=label)
    else:
        axes.fill_between(times, low, high, color=look.accent, alpha=0.25, linewidth=0, label=label)


def draw_f1_history(axes: Axes, look: Look, *, past: Past) -> None:
    """Draw the F1 of production with its interval, of candidates, and when what was deployed."""
    scores = [row for row in past.scores if row["f1"] is not None]
    if not scores:
        canvas.say(axes, look, "Nothing has been measured yet.")
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
    canvas.frame(axes, look, time_scale(moments), canvas.FRACTION, ("", label))
    canvas.add_legend(axes, look)


def spell_range(values: Sequence[float]) -> str:
    """Say what a measure is now, and between what it has been."""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"now {values[-1]:.3f}, between {min(values):.3f} and {max(values):.3f}"


def spell_runs(rows: Sequence[Row]) -> str:
    """Say of how many runs rows are, and of which days."""
    first, last = (f"{row['started_at']:%Y-%m-%d}" for row in (rows[0], rows[-1]))
    days = f"on {first}" if first == last else f"from {first} to {last}"
    return f"{len(rows):,} run{'s' if len(rows) > 1 else ''} {days}"


def f1_history(past: Past) -> Drawing:
    """Draw how good production has been, run by run."""
    scores: list[Row] = [row for row in past.scores if row["f1"] is not None]
    alt = "The F1 of production over the runs: nothing has been measured yet."
    if scores:
        alt = (
            f"The F1 of production in {spell_runs(scores)}:"
            f" {spell_range([row['f1'] for row in scores])}. Deployments and rollbacks, marked by"
            f" dotted lines: {len(past.deployments):,}."
        )

    def panel(axes: Axes, look: Look) -> None:
        draw_f1_history(axes, look, past=past)

    return Drawing("f1_history", "F1 over time", alt, "overview", 720, 280, (panel,))
