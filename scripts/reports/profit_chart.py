"""The chart of the profit of a list by length: of today's list, and of the test data."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from msgspec import Struct

from scripts.core.amounts import format_amount
from scripts.data.arrays import Floats, Ints
from scripts.model import gain, save_belief
from scripts.model.gain import GainTerms, ProfitCurve
from scripts.reports import chart_style
from scripts.reports.chart_style import Drawing, Theme

N_POINTS = 400
PER = 100

Panel = Callable[[Axes, Theme], None]


class TodaysProfit(Struct, frozen=True):
    """Today's clients by falling expected gain: the curve, the terms, and the best lengths."""

    curve: ProfitCurve
    terms: GainTerms
    best: tuple[int, int, int]


class TestedProfit(Struct, frozen=True):
    """The test data: labels, probabilities and worth."""

    y: Ints
    probability: Floats
    value: Floats


def curve_of_list(gains: Floats, saved: Floats, terms: GainTerms) -> ProfitCurve:
    """Return the profit of today's list by length, from the gains in their order."""
    costs = terms.save_rate * saved - gains
    sums = [np.concatenate([[0.0], np.cumsum(part)]) for part in (saved, costs)]
    return ProfitCurve(np.arange(len(gains) + 1), *sums)


def thin(curve: ProfitCurve) -> ProfitCurve:
    """Return fewer points of a curve, the first and the last among them."""
    places = np.unique(np.linspace(0, len(curve.lengths) - 1, N_POINTS).round().astype(int))
    return ProfitCurve(curve.lengths[places], curve.saved[places], curve.costs[places])


def draw_today(todays: TodaysProfit) -> Panel:
    """Return the panel of today's list: the expected profit with the band of the belief."""
    shown, (low, high) = thin(todays.curve), save_belief.save_interval(todays.terms)
    profits = [shown.profit(rate) for rate in (todays.terms.save_rate, low, high)]
    best, best_low, best_high = todays.best

    def panel(axes: Axes, theme: Theme) -> None:
        """Draw the expected profit by the length of today's list."""
        axes.axvspan(best_low, best_high, color=theme.second, alpha=0.15, linewidth=0)
        axes.axvline(best, color=theme.second, linewidth=1.2, label=f"best length {best:,}")
        axes.fill_between(
            shown.lengths, np.minimum(*profits[1:]), np.maximum(*profits[1:]), color=theme.accent,
            alpha=0.2, linewidth=0, label="95 % interval",
        )  # fmt: skip
        axes.plot(shown.lengths, profits[0], color=theme.accent, label="expected")
        x = chart_style.round_scale(0.0, float(shown.lengths[-1]))
        y = chart_style.round_scale(
            min(0.0, *(float(p.min()) for p in profits)), max(float(p.max()) for p in profits)
        )
        chart_style.draw_axes(
            axes, theme, x, y, ("today's clients contacted, the highest gain first", "gain in all")
        )
        chart_style.add_legend(axes, theme)

    return panel


def draw_tested(tested: TestedProfit, terms: GainTerms) -> Panel:
    """Return the panel of the test data: the profit of lists by gain and by risk."""
    by_gain = gain.expected_gains(tested.probability, tested.value, terms)
    orders = {"by gain": by_gain, "by risk": tested.probability}
    curves = {
        name: thin(gain.profit_curve(tested.y, score, tested.value, terms))
        for name, score in orders.items()
    }

    def panel(axes: Axes, theme: Theme) -> None:
        """Draw the profit on the test rows by the length of the list."""
        n_rows = len(tested.y)
        profits = {n: PER * c.profit(terms.save_rate) / n_rows for n, c in curves.items()}
        colours = {"by gain": theme.accent, "by risk": theme.second}
        axes.axhline(0, color=theme.guide, linewidth=0.8)
        for name, profit in profits.items():
            axes.plot(curves[name].lengths / n_rows, profit, color=colours[name], label=name)
        every = np.concatenate(list(profits.values()))
        y = chart_style.round_scale(min(0.0, float(every.min())), max(0.0, float(every.max())))
        labels = "test clients contacted", f"gain per {PER} clients"
        chart_style.draw_axes(axes, theme, chart_style.PERCENT, y, labels)
        chart_style.add_legend(axes, theme)

    return panel


def describe_tested(tested: TestedProfit, terms: GainTerms) -> str:
    """Describe the profit of the test data in a sentence."""
    by_gain = gain.expected_gains(tested.probability, tested.value, terms)
    best = [
        format_amount(PER * gain.maximum_profit(tested.y, score, tested.value, terms))
        for score in (by_gain, tested.probability)
    ]
    expected = save_belief.expected_maximum_profit(tested.y, by_gain, tested.value, terms)
    return (
        f"On {len(tested.y):,} test rows the best list brings {best[0]} per {PER} clients in the"
        f" order of the gain, and {best[1]} in the order of the risk. Over the belief about the"
        f" save rate the expected maximum profit (EMPC) is {format_amount(PER * expected)}."
    )


def profit(
    todays: TodaysProfit | None, tested: TestedProfit | None, terms: GainTerms, release: str
) -> Drawing | None:
    """Return the chart of the profit by length of the list, None without any client.

    Parameters
    ----------
    todays : TodaysProfit, optional
        Today's list.
    tested : TestedProfit, optional
        The test data.
    terms : GainTerms
        The costs and the belief about the save rate, for the test data.
    release : str
        The release in production.
    """
    panels, texts, title = [], [f"Profit of the list by length, release {release}."], "Profit"
    if todays is not None:
        panels.append(draw_today(todays))
        best, low, high = todays.best
        expected = format_amount(float(todays.curve.profit(todays.terms.save_rate).max()))
        title = f"Profit by length of the list: best at {best:,} clients"
        texts.append(
            f"Contacting the first {best:,} of today's clients by gain is expected to bring"
            f" {expected}; the best length is {low:,} to {high:,} over the 95 % interval of the"
            " save rate."
        )
    if tested is not None:
        panels.append(draw_tested(tested, terms))
        texts.append(describe_tested(tested, terms))
    if not panels:
        return None
    return Drawing(
        "profit", title, " ".join(texts), "worklist", 720, 300 * len(panels), tuple(panels), left=84
    )
