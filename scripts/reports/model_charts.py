"""The charts of a model: curves, gains, calibration, confusion matrix and effects."""

from collections.abc import Sequence

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from msgspec import Struct
from sklearn.metrics import precision_recall_curve, roc_curve

from scripts.core.column_words import PLAIN, ColumnWords
from scripts.core.config import Schema
from scripts.data.arrays import Floats, Ints
from scripts.model import effects as model_effects
from scripts.model import metrics, outcome_metrics
from scripts.model.effects import Effect
from scripts.model.logistic_model import Model
from scripts.model.metrics import Evaluation
from scripts.model.outcome_metrics import Decile, Share
from scripts.reports import chart_style
from scripts.reports.chart_style import AxisScale, Drawing, Theme

WIDTH, HEIGHT = 480, 360
# The head of a curve, the clients to call, is drawn point by point. An eye tells so many points of
# the rest apart.
N_HEAD, N_REST = 200, 200
EXAMPLE_FRACTIONS = (0.1, 0.2, 0.5)
ONE_CLASS = "Nothing to draw: the test rows are all of one class."
# Text stays readable on the strongest colour, in the light and in the dark.
STRONGEST = 0.45
CELL_PX = 120
N_SHOWN = 15
N_IN_ALT = 5
BAR_PX = 22
WIDEST_PX = 320


class ScoredTestRows(Struct, frozen=True):
    """The labels and predicted probabilities of the test rows, and the threshold of an exit."""

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
        """Describe release and test rows."""
        n_left = int(self.y.sum())
        return f"release {self.release} on {len(self.y):,} test rows, {n_left:,} of them positive"


def thinned(*arrays: Floats) -> list[Floats]:
    """Return fewer points of a curve: the whole head, and evenly spaced points of the rest.

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
    theme: Theme,
    curve: Sequence[Floats],
    chance: tuple[float, float],
    at: tuple[float, float] | None,
) -> None:
    """Draw a curve, the straight line of chance, and the point of the threshold."""
    axes.plot([0, 1], chance, color=theme.guide, linestyle="--", linewidth=1, label="chance")
    axes.plot(curve[0], curve[1], color=theme.accent, label="production")
    if at is not None:
        axes.plot(at[0], at[1], "o", color=theme.second, markersize=7, label="threshold")
    chart_style.add_legend(axes, theme)


def empty(name: str, title: str, scored: ScoredTestRows) -> Drawing:
    """Return a chart without a curve, with the reason."""

    def panel(axes: Axes, theme: Theme) -> None:
        """Draw the reason for the missing curve."""
        chart_style.draw_message(axes, theme, ONE_CLASS)

    alt = f"{title} of {scored.origin}. {ONE_CLASS}"
    return Drawing(name, title, alt, "models", WIDTH, HEIGHT, (panel,))


def shares_at(scored: ScoredTestRows) -> tuple[float, float, float]:
    """Return false positive rate, recall and precision at the threshold."""
    is_predicted = scored.probability >= scored.threshold
    n_predicted, n_caught = int(is_predicted.sum()), int(scored.y[is_predicted].sum())
    n_left = int(scored.y.sum())
    precision = n_caught / n_predicted if n_predicted else 1.0
    return (n_predicted - n_caught) / (len(scored.y) - n_left), n_caught / n_left, precision


def roc(scored: ScoredTestRows, auc: float | None) -> Drawing:
    """Return the ROC curve: recall against the false positive rate, threshold by threshold."""
    if auc is None or not scored.has_both_classes:
        return empty("roc", "ROC curve", scored)
    false_alarms, caught, _ = roc_curve(scored.y, scored.probability)
    curve = thinned(false_alarms, caught)
    at = shares_at(scored)
    alt = (
        f"ROC curve of {scored.origin}: the area under it is {auc:.3f}, where chance gives 0.5. At"
        f" the threshold {scored.threshold:.3f}, {at[1]:.1%} of those who leave are caught, with"
        f" false alarms for {at[0]:.1%} of those who stay."
    )

    def panel(axes: Axes, theme: Theme) -> None:
        """Draw the ROC curve, with the point of the threshold."""
        draw_lines(axes, theme, curve, (0, 1), at[:2])
        chart_style.draw_axes(
            axes,
            theme,
            chart_style.PERCENT,
            chart_style.PERCENT,
            ("false positive rate: share of stayers listed", "recall: share of exits listed"),
        )

    return Drawing("roc", f"ROC curve: area {auc:.3f}", alt, "models", WIDTH, HEIGHT, (panel,))


def precision_recall(scored: ScoredTestRows) -> Drawing:
    """Return the chart of precision against recall, threshold by threshold."""
    if not scored.has_both_classes:
        return empty("precision_recall", "Precision and recall", scored)
    precision, recall, _ = precision_recall_curve(scored.y, scored.probability)
    # scikit-learn begins with the lowest threshold. The last point, full precision of nobody, is a
    # convention and belongs to no threshold.
    curve = thinned(recall[-2::-1], precision[-2::-1])
    _, caught, exact = shares_at(scored)
    share = float(scored.y.mean())
    alt = (
        f"Precision against recall of {scored.origin}. At the threshold {scored.threshold:.3f},"
        f" {caught:.1%} of those who leave are caught, and {exact:.1%} of those predicted to leave"
        f" do; by chance it would be {share:.1%}."
    )

    def panel(axes: Axes, theme: Theme) -> None:
        """Draw precision against recall, with the point of the threshold."""
        draw_lines(axes, theme, curve, (share, share), (caught, exact))
        chart_style.draw_axes(
            axes,
            theme,
            chart_style.PERCENT,
            chart_style.PERCENT,
            ("recall: share of exits listed", "precision: share of listed who leave"),
        )

    title = f"Precision {exact:.1%} and recall {caught:.1%} at the threshold"
    return Drawing("precision_recall", title, alt, "models", WIDTH, HEIGHT, (panel,))


def cumulate(scored: ScoredTestRows) -> tuple[Floats, list[Share]]:
    """Return the share of the exits among the riskiest clients, by length of the list.

    Returns
    -------
    tuple of numpy.ndarray of shape (n_points,) and list of Share
        The length of a list as a share of all clients, and the share of the exits with the
        interval.
    """
    order = np.argsort(-scored.probability, kind="stable")
    caught = np.concatenate(([0], np.cumsum(scored.y[order]))).astype(np.float64)
    lengths = np.arange(len(caught), dtype=np.float64)
    lengths, caught = thinned(lengths, caught)
    n_left = int(scored.y.sum())
    return lengths / len(scored.y), [
        outcome_metrics.share_of(int(count), n_left) for count in caught
    ]


def gains(scored: ScoredTestRows) -> Drawing:
    """Return the chart of cumulative gains: the exits among the riskiest clients."""
    title = "Cumulative gains"
    if scored.y.sum() == 0:
        return empty("gains", title, scored)
    lengths, shares = cumulate(scored)
    examples = [
        (part, outcome_metrics.caught_share(scored.y, scored.probability, part))
        for part in EXAMPLE_FRACTIONS
    ]
    alt = f"Cumulative gains of {scored.origin}: " + "; ".join(
        f"calling the riskiest {part:.0%} catches {share.share or 0:.1%} of the exits"
        f" (95 % interval {share.low or 0:.1%} to {share.high or 0:.1%})"
        for part, share in examples
    )

    def panel(axes: Axes, theme: Theme) -> None:
        """Draw the share of caught leavers by the length of the list."""
        low, high = [s.low or 0.0 for s in shares], [s.high or 0.0 for s in shares]
        axes.fill_between(
            lengths, low, high, color=theme.accent, alpha=0.2, linewidth=0, label="95 % interval"
        )
        curve = lengths, np.array([share.share for share in shares])
        draw_lines(axes, theme, curve, (0, 1), None)
        chart_style.draw_axes(
            axes,
            theme,
            chart_style.PERCENT,
            chart_style.PERCENT,
            ("clients called, the riskiest first", "exits among them"),
        )

    part, share = examples[0]
    title = f"{title}: the riskiest {part:.0%} hold {share.share or 0:.0%} of the exits"
    return Drawing("gains", title, alt + ".", "models", WIDTH, HEIGHT, (panel,))


def draw_calibration(axes: Axes, theme: Theme, deciles: Sequence[Decile]) -> None:
    """Draw realised against predicted exits by tenth of the probability, with intervals."""
    predicted = [decile.mean_probability for decile in deciles]
    low, high = ([getattr(d.exited, end) or 0.0 for d in deciles] for end in ("low", "high"))
    axes.plot([0, 1], [0, 1], color=theme.guide, linestyle="--", linewidth=1, label="exact")
    axes.vlines(predicted, low, high, color=theme.accent, alpha=0.5, linewidth=2)
    axes.plot(
        predicted, [decile.exited.share or 0.0 for decile in deciles], "o-", color=theme.accent,
        markersize=4, linewidth=1, label="realised, 95 % interval, clients",
    )  # fmt: skip
    for decile in deciles:
        share = decile.exited.share or 0.0
        # Below the point, where the curve rarely is, but not below the axis.
        axes.annotate(
            f"{decile.n_clients:,}", (decile.mean_probability, share), fontsize=8, color=theme.ink,
            xytext=(5, 5 if share < 0.1 else -10), textcoords="offset points",
        )  # fmt: skip
    chart_style.draw_axes(
        axes,
        theme,
        chart_style.PERCENT,
        chart_style.PERCENT,
        ("predicted probability", "share that left"),
    )
    chart_style.add_legend(axes, theme)


def calibration(scored: ScoredTestRows) -> Drawing:
    """Return the calibration chart: realised against predicted exits of the test rows."""
    deciles = outcome_metrics.calibrate_rows(scored.y, scored.probability)
    error = metrics.expected_calibration_error(scored.y, scored.probability)
    brier = metrics.brier_score(scored.y, scored.probability)
    tenths = "; ".join(
        f"{d.n_clients:,} with {d.mean_probability:.0%} predicted, {d.exited.share or 0:.0%} left"
        for d in deciles
    )
    alt = (
        f"Calibration of {scored.origin}: expected calibration error {error:.3f}, Brier score"
        f" {brier:.3f}. By tenth of the probability: {tenths}."
    )

    def panel(axes: Axes, theme: Theme) -> None:
        """Draw the realised share by the predicted probability."""
        draw_calibration(axes, theme, deciles)

    title = f"Calibration: error {error:.3f}, Brier score {brier:.3f}"
    return Drawing("calibration", title, alt, "models", WIDTH, HEIGHT, (panel,))


def class_names(schema: Schema) -> tuple[str, str]:
    """Return the names of the negative and the positive class in the words of the schema."""
    negative, positive = sorted(schema.labels, key=schema.labels.__getitem__)
    if positive == "1":
        target = chart_style.safe_line(schema.target, 20)
        return f"not {target}", target
    target = chart_style.safe_line(schema.target, 14)
    return (
        f"{target} = {chart_style.safe_line(negative, 8)}",
        f"{target} = {chart_style.safe_line(positive, 8)}",
    )


def format_number(value: float | None, digits: int = 3) -> str:
    """Format a number, "undefined" for None."""
    return "undefined" if value is None else f"{value:.{digits}f}"


def format_f1(measured: Evaluation) -> str:
    """Format the F1 with the interval."""
    if measured.f1 is None or measured.f1_low is None or measured.f1_high is None:
        return "F1 undefined"
    return f"F1 {measured.f1:.3f} (95 % interval {measured.f1_low:.3f} to {measured.f1_high:.3f})"


def format_count(count: int, total: int) -> str:
    """Format a count with the percentage of the total on a second line."""
    return f"{count:,}\n{count / total:.1%}" if total else f"{count:,}\n-"


def draw_confusion_matrix(
    axes: Axes, theme: Theme, *, counts: np.ndarray, names: tuple[str, str]
) -> None:
    """Draw the four counts of a confusion matrix with the percentage of each row."""
    # A row without clients has no percentages, and the cells stay without colour.
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    texts = np.array([[format_count(count, row.sum()) for count in row] for row in counts])
    heat = LinearSegmentedColormap.from_list(
        "heat", [to_rgba(theme.accent, 0.0), to_rgba(theme.accent, STRONGEST)]
    )
    labels = [chart_style.fit_label(name, CELL_PX) for name in names]
    sns.heatmap(
        fractions, annot=texts, fmt="", vmin=0, vmax=1, cmap=heat, cbar=False, ax=axes,
        xticklabels=labels, yticklabels=labels, linewidths=1, linecolor=theme.guide,
        annot_kws={"fontsize": 14, "color": theme.ink},
    )  # fmt: skip
    axes.set_yticks([0.5, 1.5], labels, rotation=90, va="center")
    axes.set_xticks([0.5, 1.5], labels, rotation=0)
    axes.tick_params(colors=theme.ink, labelsize=9, length=0)
    axes.set_xlabel("predicted", fontsize=9, color=theme.ink)
    axes.set_ylabel("actual", fontsize=9, color=theme.ink)


def confusion_matrix(measured: Evaluation, schema: Schema, release: str) -> Drawing:
    """Return the confusion matrix as a chart, actual classes in rows and predicted in columns."""
    counts = np.array(
        [
            [measured.n_true_negatives, measured.n_false_positives],
            [measured.n_false_negatives, measured.n_true_positives],
        ]
    )
    names = class_names(schema)
    stayed, left = names
    alt = (
        f"Confusion matrix of release {release} on {measured.n_rows:,} test rows."
        f" Of {measured.n_positives:,} that were {left}, {measured.n_true_positives:,} were"
        f" predicted and {measured.n_false_negatives:,} missed; of"
        f" {measured.n_rows - measured.n_positives:,} that were {stayed},"
        f" {measured.n_true_negatives:,} were predicted and {measured.n_false_positives:,} were"
        f" false alarms. {format_f1(measured)}."
    )

    def panel(axes: Axes, theme: Theme) -> None:
        """Draw the counts of labels by predictions."""
        draw_confusion_matrix(axes, theme, counts=counts, names=names)

    title = f"Confusion matrix: F1 {format_number(measured.f1)}, {measured.n_rows:,} rows"
    return Drawing("confusion_matrix", title, alt, "models", 480, 400, (panel,))


def name_of(effect: Effect, words: ColumnWords) -> str:
    """Return the name of a column and a step, short enough beside a chart."""
    name = words.names(effect.columns)
    return f"{chart_style.safe_line(name, 24)}: {chart_style.safe_line(effect.step, 28)}"


def draw_effects(axes: Axes, theme: Theme, shown: list[Effect], words: ColumnWords) -> None:
    """Draw a bar per effect, to the right for a raised risk, to the left for a lowered."""
    values = [effect.log_odds for effect in shown]
    colours = [theme.warning if value > 0 else theme.accent for value in values]
    axes.barh(range(len(shown)), values, height=0.7, color=colours)
    axes.axvline(0, color=theme.ink, linewidth=0.8)
    names = [chart_style.fit_label(name_of(effect, words), WIDEST_PX) for effect in shown]
    y = AxisScale(len(shown) - 0.4, -0.6, range(len(shown)), names)
    x = chart_style.round_scale(min(0.0, *values), max(0.0, *values))
    chart_style.draw_axes(axes, theme, x, y, ("change of the log-odds: right raises the risk", ""))


def effects(model: Model, release: str, words: ColumnWords = PLAIN) -> Drawing:
    """Return the chart of a model's strongest effects, one step of each column by its name."""
    ranked = model_effects.list_effects(model)
    shown = ranked[:N_SHOWN]
    texts = "; ".join(
        f"{name_of(effect, words)} {effect.log_odds:+.3f}" for effect in shown[:N_IN_ALT]
    )
    more = f", the strongest {N_IN_ALT} of {len(ranked)}" if len(ranked) > N_IN_ALT else ""
    alt = (
        f"What changes the log-odds of release {release}{more}: {texts}. Above 0 it raises the"
        " risk."
    )

    def panel(axes: Axes, theme: Theme) -> None:
        """Draw a bar for each effect, or the reason for none."""
        if shown:
            draw_effects(axes, theme, shown, words)
        else:
            chart_style.draw_message(axes, theme, "The model has no columns.")

    widest = max((chart_style.width_of(name_of(effect, words)) for effect in shown), default=0.0)
    return Drawing(
        "effects", f"Strongest effects on the risk ({len(shown)} of {len(ranked)})", alt, "models",
        680, 80 + BAR_PX * max(len(shown), 4), (panel,), left=int(24 + min(widest, WIDEST_PX)),
    )  # fmt: skip
