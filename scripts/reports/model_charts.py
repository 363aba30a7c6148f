"""Draws how well probabilities tell who leaves: ROC, precision, gains, calibration.

Draws how good a model is.

Draws what moves a model's probabilities, and how much.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from sklearn.metrics import precision_recall_curve, roc_curve

from scripts.core.config import Schema
from scripts.data.arrays import Floats, Ints
from scripts.model import explanation, metrics, outcome_metrics
from scripts.model.explanation import Effect
from scripts.model.logistic_model import Model
from scripts.model.metrics import Evaluation
from scripts.model.outcome_metrics import Decile, Share
from scripts.reports import chart_style
from scripts.reports.chart_style import AxisScale, Drawing, Theme

WIDTH, HEIGHT = 480, 360
# The head of a curve, the list that is called, is drawn point by point. An eye tells so many points
# of the rest apart.
N_HEAD, N_REST = 200, 200
TOLD_FRACTIONS = (0.1, 0.2, 0.5)
ONE_CLASS = "Nothing to draw: the test rows are all of one class."


@dataclass(frozen=True)
class ScoredTestRows:
    """Test rows, what a release says of them, and the threshold from which it predicts an exit."""

    y: Ints
    probability: Floats
    threshold: float
    release: str

    @property
    def has_both_classes(self) -> bool:
        """Whether some left and some stayed."""
        return 0 < int(self.y.sum()) < len(self.y)

    @property
    def origin(self) -> str:
        """Say whose rows these are."""
        n_left = int(self.y.sum())
        return f"release {self.release} on {len(self.y):,} test rows, {n_left:,} of them positive"


def thinned(*arrays: Floats) -> list[Floats]:
    """Return the points of a curve: all of its head, and evenly chosen ones of the rest.

    Parameters
    ----------
    *arrays : numpy.ndarray of shape (n_points,)
        The coordinates, the point of the riskiest clients first.

    Returns
    -------
    list of numpy.ndarray of shape (n_kept,)
        The first `N_HEAD` points, and at most `N_REST` later ones up to the last.
    """
    n_points = len(arrays[0])
    head = np.arange(min(n_points, N_HEAD))
    rest = np.linspace(len(head), n_points - 1, min(n_points - len(head), N_REST))
    kept = np.concatenate((head, np.unique(rest.round().astype(int))))
    return [array[kept] for array in arrays]


def draw_lines(
    axes: Axes,
    look: Theme,
    curve: Sequence[Floats],
    chance: tuple[float, float],
    at: tuple[float, float] | None,
) -> None:
    """Draw a curve, the straight line of a guess, and the point of the threshold."""
    axes.plot([0, 1], chance, color=look.guide, linestyle="--", linewidth=1, label="chance")
    axes.plot(curve[0], curve[1], color=look.accent, label="production")
    if at is not None:
        axes.plot(at[0], at[1], "o", color=look.second, markersize=7, label="threshold")
    chart_style.add_legend(axes, look)


def empty(name: str, title: str, judged: ScoredTestRows) -> Drawing:
    """Make the picture that says why there is no curve."""

    def panel(axes: Axes, look: Theme) -> None:
        chart_style.draw_message(axes, look, ONE_CLASS)

    alt = f"{title} of {judged.origin}. {ONE_CLASS}"
    return Drawing(name, title, alt, "models", WIDTH, HEIGHT, (panel,))


def shares_at(judged: ScoredTestRows) -> tuple[float, float, float]:
    """Compute false alarms among those who stay, catches, and the precision at the threshold."""
    said = judged.probability >= judged.threshold
    n_said, n_caught = int(said.sum()), int(judged.y[said].sum())
    n_left = int(judged.y.sum())
    precision = n_caught / n_said if n_said else 1.0
    return (n_said - n_caught) / (len(judged.y) - n_left), n_caught / n_left, precision


def roc(judged: ScoredTestRows, auc: float | None) -> Drawing:
    """Draw catches against false alarms, threshold by threshold."""
    if auc is None or not judged.has_both_classes:
        return empty("roc", "ROC curve", judged)
    false_alarms, caught, _ = roc_curve(judged.y, judged.probability)
    curve = thinned(false_alarms, caught)
    at = shares_at(judged)
    alt = (
        f"ROC curve of {judged.origin}: the area under it is {auc:.3f}, where chance gives 0.5. At"
        f" the threshold {judged.threshold:.3f}, {at[1]:.1%} of those who leave are caught, with"
        f" false alarms for {at[0]:.1%} of those who stay."
    )

    def panel(axes: Axes, look: Theme) -> None:
        draw_lines(axes, look, curve, (0, 1), at[:2])
        chart_style.frame(
            axes,
            look,
            chart_style.PERCENT,
            chart_style.PERCENT,
            ("false alarms among those who stay", "caught of those who leave"),
        )

    return Drawing("roc", f"ROC curve: area {auc:.3f}", alt, "models", WIDTH, HEIGHT, (panel,))


def precision_recall(judged: ScoredTestRows) -> Drawing:
    """Draw precision against recall, threshold by threshold."""
    if not judged.has_both_classes:
        return empty("precision_recall", "Precision and recall", judged)
    precision, recall, _ = precision_recall_curve(judged.y, judged.probability)
    # scikit-learn begins with the lowest threshold. Its last point, full precision of nobody, is a
    # convention and no threshold's.
    curve = thinned(recall[-2::-1], precision[-2::-1])
    _, caught, exact = shares_at(judged)
    share = float(judged.y.mean())
    alt = (
        f"Precision against recall of {judged.origin}. At the threshold {judged.threshold:.3f},"
        f" {caught:.1%} of those who leave are caught, and {exact:.1%} of those predicted to leave"
        f" do; by chance it would be {share:.1%}."
    )

    def panel(axes: Axes, look: Theme) -> None:
        draw_lines(axes, look, curve, (share, share), (caught, exact))
        chart_style.frame(
            axes,
            look,
            chart_style.PERCENT,
            chart_style.PERCENT,
            ("recall: caught of those who leave", "precision: right of listed"),
        )

    title = f"Precision {exact:.1%} and recall {caught:.1%} at the threshold"
    return Drawing("precision_recall", title, alt, "models", WIDTH, HEIGHT, (panel,))


def cumulate(judged: ScoredTestRows) -> tuple[Floats, list[Share]]:
    """Compute the share of exits among the riskiest clients, for lists of growing length.

    Returns
    -------
    tuple of numpy.ndarray of shape (n_points,) and list of Share
        The length of a list as a share of all clients, and what it catches, with its interval.
    """
    order = np.argsort(-judged.probability, kind="stable")
    caught = np.concatenate(([0], np.cumsum(judged.y[order]))).astype(np.float64)
    lengths = np.arange(len(caught), dtype=np.float64)
    lengths, caught = thinned(lengths, caught)
    n_left = int(judged.y.sum())
    return lengths / len(judged.y), [
        outcome_metrics.share_of(int(count), n_left) for count in caught
    ]


def gains(judged: ScoredTestRows) -> Drawing:
    """Draw what share of the exits a list of the riskiest clients catches, by its length."""
    title = "Cumulative gains"
    if judged.y.sum() == 0:
        return empty("gains", title, judged)
    lengths, shares = cumulate(judged)
    told = [
        (part, outcome_metrics.caught_share(judged.y, judged.probability, part))
        for part in TOLD_FRACTIONS
    ]
    alt = f"Cumulative gains of {judged.origin}: " + "; ".join(
        f"calling the riskiest {part:.0%} catches {share.share or 0:.1%} of the exits"
        f" (95 % interval {share.low or 0:.1%} to {share.high or 0:.1%})"
        for part, share in told
    )

    def panel(axes: Axes, look: Theme) -> None:
        low, high = [s.low or 0.0 for s in shares], [s.high or 0.0 for s in shares]
        axes.fill_between(
            lengths, low, high, color=look.accent, alpha=0.2, linewidth=0, label="95 % interval"
        )
        curve = lengths, np.array([share.share for share in shares])
        draw_lines(axes, look, curve, (0, 1), None)
        chart_style.frame(
            axes,
            look,
            chart_style.PERCENT,
            chart_style.PERCENT,
            ("clients called, the riskiest first", "exits among them"),
        )

    part, share = told[0]
    title = f"{title}: the riskiest {part:.0%} hold {share.share or 0:.0%} of the exits"
    return Drawing("gains", title, alt + ".", "models", WIDTH, HEIGHT, (panel,))


def draw_calibration(axes: Axes, look: Theme, deciles: Sequence[Decile]) -> None:
    """Draw realised against predicted exits by tenth of the probability, with counts."""
    predicted = [decile.mean_probability for decile in deciles]
    low, high = ([getattr(d.exited, end) or 0.0 for d in deciles] for end in ("low", "high"))
    axes.plot([0, 1], [0, 1], color=look.guide, linestyle="--", linewidth=1, label="exact")
    axes.vlines(predicted, low, high, color=look.accent, alpha=0.5, linewidth=2)
    axes.plot(
        predicted, [decile.exited.share or 0.0 for decile in deciles], "o-", color=look.accent,
        markersize=4, linewidth=1, label="realised, 95 % interval, clients",
    )  # fmt: skip
    for decile in deciles:
        share = decile.exited.share or 0.0
        # Below the point, where the curve rarely is, but not below the axis.
        axes.annotate(
            f"{decile.n_clients:,}", (decile.mean_probability, share), fontsize=8, color=look.ink,
            xytext=(5, 5 if share < 0.1 else -10), textcoords="offset points",
        )  # fmt: skip
    chart_style.frame(
        axes,
        look,
        chart_style.PERCENT,
        chart_style.PERCENT,
        ("predicted probability", "share that left"),
    )
    chart_style.add_legend(axes, look)


def calibration(judged: ScoredTestRows) -> Drawing:
    """Draw what became of the test rows against what was predicted of them."""
    deciles = outcome_metrics.calibrate_rows(judged.y, judged.probability)
    error = metrics.expected_calibration_error(judged.y, judged.probability)
    brier = metrics.brier_score(judged.y, judged.probability)
    tenths = "; ".join(
        f"{d.n_clients:,} with {d.mean_probability:.0%} predicted, {d.exited.share or 0:.0%} left"
        for d in deciles
    )
    alt = (
        f"Calibration of {judged.origin}: expected calibration error {error:.3f}, Brier score"
        f" {brier:.3f}. By tenth of the probability: {tenths}."
    )

    def panel(axes: Axes, look: Theme) -> None:
        draw_calibration(axes, look, deciles)

    title = f"Calibration: error {error:.3f}, Brier score {brier:.3f}"
    return Drawing("calibration", title, alt, "models", WIDTH, HEIGHT, (panel,))


# Text stays readable on the strongest colour, in the light and in the dark.
STRONGEST = 0.45
CELL_PX = 120


def class_words(schema: Schema) -> tuple[str, str]:
    """Say what those who stayed and those who left are called in a client table."""
    negative, positive = sorted(schema.labels, key=schema.labels.__getitem__)
    if positive == "1":
        target = chart_style.shorten(schema.target, 20)
        return f"not {target}", target
    target = chart_style.shorten(schema.target, 14)
    return (
        f"{target} = {chart_style.shorten(negative, 8)}",
        f"{target} = {chart_style.shorten(positive, 8)}",
    )


def format_number(value: float | None, digits: int = 3) -> str:
    """Spell a number that may not be defined."""
    return "undefined" if value is None else f"{value:.{digits}f}"


def format_f1(measured: Evaluation) -> str:
    """Spell the F1 with its interval."""
    if measured.f1 is None or measured.f1_low is None or measured.f1_high is None:
        return "F1 undefined"
    return f"F1 {measured.f1:.3f} (95 % interval {measured.f1_low:.3f} to {measured.f1_high:.3f})"


def format_count(count: int, total: int) -> str:
    """Spell a count and, below it, its percentage of the row's total."""
    return f"{count:,}\n{count / total:.1%}" if total else f"{count:,}\n-"


def draw_confusion_matrix(
    axes: Axes, look: Theme, *, counts: np.ndarray, words: tuple[str, str]
) -> None:
    """Draw the four counts of a confusion matrix with the percentage of each row."""
    # A row without clients has no percentages; its cells stay blank.
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    texts = np.array([[format_count(count, row.sum()) for count in row] for row in counts])
    heat = LinearSegmentedColormap.from_list(
        "heat", [to_rgba(look.accent, 0.0), to_rgba(look.accent, STRONGEST)]
    )
    labels = [chart_style.fit(word, CELL_PX) for word in words]
    sns.heatmap(
        fractions, annot=texts, fmt="", vmin=0, vmax=1, cmap=heat, cbar=False, ax=axes,
        xticklabels=labels, yticklabels=labels, linewidths=1, linecolor=look.guide,
        annot_kws={"fontsize": 14, "color": look.ink},
    )  # fmt: skip
    axes.set_yticks([0.5, 1.5], labels, rotation=90, va="center")
    axes.set_xticks([0.5, 1.5], labels, rotation=0)
    axes.tick_params(colors=look.ink, labelsize=9, length=0)
    axes.set_xlabel("predicted", fontsize=9, color=look.ink)
    axes.set_ylabel("actual", fontsize=9, color=look.ink)


def confusion_matrix(measured: Evaluation, schema: Schema, release: str) -> Drawing:
    """Draw what happened, in rows, against what was predicted, in columns."""
    counts = np.array(
        [
            [measured.n_true_negatives, measured.n_false_positives],
            [measured.n_false_negatives, measured.n_true_positives],
        ]
    )
    words = class_words(schema)
    stayed, left = words
    alt = (
        f"Confusion matrix of release {release} on {measured.n_rows:,} test rows."
        f" Of {measured.n_positives:,} that were {left}, {measured.n_true_positives:,} were"
        f" predicted and {measured.n_false_negatives:,} missed; of"
        f" {measured.n_rows - measured.n_positives:,} that were {stayed},"
        f" {measured.n_true_negatives:,} were predicted and {measured.n_false_positives:,} were"
        f" false alarms. {format_f1(measured)}."
    )

    def panel(axes: Axes, look: Theme) -> None:
        draw_confusion_matrix(axes, look, counts=counts, words=words)

    title = f"Confusion matrix: F1 {format_number(measured.f1)}, {measured.n_rows:,} rows"
    return Drawing("confusion_matrix", title, alt, "models", 480, 400, (panel,))


N_SHOWN = 15
N_TOLD = 5
BAR_PX = 22
WIDEST_PX = 320


def name_of(effect: Effect) -> str:
    """Name a column and its step in a length that fits beside a chart."""
    return f"{chart_style.shorten(effect.column, 20)}: {chart_style.shorten(effect.step, 28)}"


def draw_effects(axes: Axes, look: Theme, shown: list[Effect]) -> None:
    """Draw a bar to the right for what raises the risk, to the left for what lowers it."""
    values = [effect.log_odds for effect in shown]
    colours = [look.warning if value > 0 else look.accent for value in values]
    axes.barh(range(len(shown)), values, height=0.7, color=colours)
    axes.axvline(0, color=look.ink, linewidth=0.8)
    names = [chart_style.fit(name_of(effect), WIDEST_PX) for effect in shown]
    y = AxisScale(len(shown) - 0.4, -0.6, range(len(shown)), names)
    x = chart_style.round_scale(min(0.0, *values), max(0.0, *values))
    chart_style.frame(axes, look, x, y, ("change of the log-odds: right raises the risk", ""))


def draw_model(used: Model, release: str) -> Drawing:
    """Draw the strongest effects of a model, one step of each column."""
    found = explanation.list_effects(used)
    shown = found[:N_SHOWN]
    told = "; ".join(f"{name_of(effect)} {effect.log_odds:+.3f}" for effect in shown[:N_TOLD])
    more = f", the strongest {N_TOLD} of {len(found)}" if len(found) > N_TOLD else ""
    alt = (
        f"What changes the log-odds of release {release}{more}: {told}. Above 0 it raises the risk."
    )

    def panel(axes: Axes, look: Theme) -> None:
        if shown:
            draw_effects(axes, look, shown)
        else:
            chart_style.draw_message(axes, look, "The model has no columns.")

    widest = max((chart_style.width_of(name_of(effect)) for effect in shown), default=0.0)
    return Drawing(
        "effects", f"Strongest effects on the risk ({len(shown)} of {len(found)})", alt, "models",
        680, 80 + BAR_PX * max(len(shown), 4), (panel,), left=int(24 + min(widest, WIDEST_PX)),
    )  # fmt: skip
