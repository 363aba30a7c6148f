"""The chart of a backtest: the figures of each month beside the random split."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from scripts.production.backtest_file import Backtest, Measure, Period
from scripts.reports import chart_style
from scripts.reports.chart_style import AxisScale, Drawing, Theme

MOST_NAMES = 8


def draw_measure(
    axes: Axes,
    theme: Theme,
    periods: Sequence[Period],
    values: Sequence[Measure],
    promised: Measure,
) -> None:
    """Draw a figure by month with its interval, and the promise of the random split as a line."""
    points = [(p, m.value) for p, m in enumerate(values) if m.value is not None]
    if not points:
        chart_style.draw_message(axes, theme, "Nothing to draw: it is not defined in any month.")
        return
    if promised.value is not None:
        axes.axhline(promised.value, color=theme.guide, linestyle="--", label="random split")
    spans = [place for place, _ in points if values[place].low is not None]
    low, high = ([getattr(values[place], end) for place in spans] for end in ("low", "high"))
    axes.vlines(spans, low, high, color=theme.accent, alpha=0.4, linewidth=2, label="95 % interval")
    axes.plot(
        [place for place, _ in points], [value for _, value in points], "o-", color=theme.accent,
        markersize=4, label="the month to come",
    )  # fmt: skip


def name_scale(periods: Sequence[Period]) -> AxisScale:
    """Return the scale of the months, with at most some names."""
    step = -(-len(periods) // MOST_NAMES)
    places = range(0, len(periods), step)
    return AxisScale(
        -0.5, len(periods) - 0.5, list(map(float, places)), [periods[p].name for p in places]
    )


def backtest(result: Backtest) -> Drawing:
    """Return the chart of a backtest: AUC by month, and predicted beside realised shares."""

    def quality(axes: Axes, theme: Theme) -> None:
        """Draw the AUC of each month."""
        values = [period.roc_auc for period in result.periods]
        draw_measure(axes, theme, result.periods, values, result.random_split.roc_auc)
        chart_style.draw_axes(
            axes, theme, name_scale(result.periods), chart_style.FRACTION, ("", "AUC")
        )
        chart_style.add_legend(axes, theme)

    def shares(axes: Axes, theme: Theme) -> None:
        """Draw the predicted and the real share of leavers of each month."""
        values = [period.realised for period in result.periods]
        draw_measure(axes, theme, result.periods, values, Measure(value=None))
        axes.plot(
            range(len(result.periods)), [period.predicted for period in result.periods],
            "D", color=theme.second, fillstyle="none", markersize=5, label="predicted",
        )  # fmt: skip
        chart_style.draw_axes(
            axes, theme, name_scale(result.periods), chart_style.FRACTION, ("", "share that left")
        )
        chart_style.add_legend(axes, theme)

    together, promised = result.together.roc_auc.value, result.random_split.roc_auc.value
    shown = ["not defined" if v is None else f"{v:.3f}" for v in (together, promised)]
    alt = (
        f"The backtest of {len(result.periods)} months: AUC {shown[0]} over time, and {shown[1]} in"
        f" a random split. Predicted share {result.together.predicted:.1%}, realised"
        f" {result.together.realised.value or 0:.1%}."
    )
    return Drawing("backtest", "Backtest", alt, "models", 720, 480, (quality, shares))
