"""Draws how well probabilities tell who leaves: ROC, precision, gains, calibration."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from sklearn.metrics import precision_recall_curve, roc_curve

from scripts import canvas, evaluation, outcomes
from scripts.canvas import Drawing, Look
from scripts.evaluation import Floats, Ints
from scripts.outcomes import Decile, Share

WIDTH, HEIGHT = 480, 360
# The head of a curve, the list that is called, is drawn point by point. An eye tells so many points
# of the rest apart.
N_HEAD, N_REST = 200, 200
TOLD_FRACTIONS = (0.1, 0.2, 0.5)
ONE_CLASS = "Nothing to draw: the test rows are all of one class."


@dataclass(frozen=True)
class Judged:
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
    look: Look,
    curve: Sequence[Floats],
    chance: tuple[float, float],
    at: tuple[float, float] | None,
) -> None:
    """Draw a curve, the straight line of a guess, and the point of the threshold."""
    axes.plot([0, 1], chance, color=look.guide, linestyle="--", linewidth=1, label="chance")
    axes.plot(curve[0], curve[1], color=look.accent, label="production")
    if at is not None:
        axes.plot(at[0], at[1], "o", color=look.second, markersize=7, label="threshold")
    canvas.add_legend(axes, look)


def empty(name: str, title: str, judged: Judged) -> Drawing:
    """Make the picture that says why there is no curve."""

    def panel(axes: Axes, look: Look) -> None:
        canvas.say(axes, look, ONE_CLASS)

    alt = f"{title} of {judged.origin}. {ONE_CLASS}"
    return Drawing(name, title, alt, "models", WIDTH, HEIGHT, (panel,))


def shares_at(judged: Judged) -> tuple[float, float, float]:
    """Compute false alarms among those who stay, catches, and the precision at the threshold."""
    said = judged.probability >= judged.threshold
    n_said, n_caught = int(said.sum()), int(judged.y[said].sum())
    n_left = int(judged.y.sum())
    precision = n_caught / n_said if n_said else 1.0
    return (n_said - n_caught) / (len(judged.y) - n_left), n_caught / n_left, precision


def roc(judged: Judged, auc: float | None) -> Drawing:
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

    def panel(axes: Axes, look: Look) -> None:
        draw_lines(axes, look, curve, (0, 1), at[:2])
        canvas.frame(
            axes,
            look,
            canvas.PERCENT,
            canvas.PERCENT,
            ("false alarms among those who stay", "caught of those who leave"),
        )

    return Drawing("roc", f"ROC curve: area {auc:.3f}", alt, "models", WIDTH, HEIGHT, (panel,))


def precision_recall(judged: Judged) -> Drawing:
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

    def panel(axes: Axes, look: Look) -> None:
        draw_lines(axes, look, curve, (share, share), (caught, exact))
        canvas.frame(
            axes,
            look,
            canvas.PERCENT,
            canvas.PERCENT,
            ("recall: caught of those who leave", "precision: right of listed"),
        )

    title = f"Precision {exact:.1%} and recall {caught:.1%} at the threshold"
    return Drawing("precision_recall", title, alt, "models", WIDTH, HEIGHT, (panel,))


def cumulate(judged: Judged) -> tuple[Floats, list[Share]]:
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
    return lengths / len(judged.y), [outcomes.share_of(int(count), n_left) for count in caught]


def gains(judged: Judged) -> Drawing:
    """Draw what share of the exits a list of the riskiest clients catches, by its length."""
    title = "Cumulative gains"
    if judged.y.sum() == 0:
        return empty("gains", title, judged)
    lengths, shares = cumulate(judged)
    told = [
        (part, outcomes.caught_share(judged.y, judged.probability, part)) for part in TOLD_FRACTIONS
    ]
    alt = f"Cumulative gains of {judged.origin}: " + "; ".join(
        f"calling the riskiest {part:.0%} catches {share.share or 0:.1%} of the exits"
        f" (95 % interval {share.low or 0:.1%} to {share.high or 0:.1%})"
        for part, share in told
    )

    def panel(axes: Axes, look: Look) -> None:
        low, high = [s.low or 0.0 for s in shares], [s.high or 0.0 for s in shares]
        axes.fill_between(
            lengths, low, high, color=look.accent, alpha=0.2, linewidth=0, label="95 % interval"
        )
        curve = lengths, np.array([share.share for share in shares])
        draw_lines(axes, look, curve, (0, 1), None)
        canvas.frame(
            axes,
            look,
            canvas.PERCENT,
            canvas.PERCENT,
            ("clients called, the riskiest first", "exits among them"),
        )

    part, share = told[0]
    title = f"{title}: the riskiest {part:.0%} hold {share.share or 0:.0%} of the exits"
    return Drawing("gains", title, alt + ".", "models", WIDTH, HEIGHT, (panel,))


def draw_calibration(axes: Axes, look: Look, deciles: Sequence[Decile]) -> None:
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
    canvas.frame(
        axes, look, canvas.PERCENT, canvas.PERCENT, ("predicted probability", "share that left")
    )
    canvas.add_legend(axes, look)


def calibration(judged: Judged) -> Drawing:
    """Draw what became of the test rows against what was predicted of them."""
    deciles = outcomes.calibrate_rows(judged.y, judged.probability)
    error = evaluation.expected_calibration_error(judged.y, judged.probability)
    brier = evaluation.brier_score(judged.y, judged.probability)
    tenths = "; ".join(
        f"{d.n_clients:,} with {d.mean_probability:.0%} predicted, {d.exited.share or 0:.0%} left"
        for d in deciles
    )
    alt = (
        f"Calibration of {judged.origin}: expected calibration error {error:.3f}, Brier score"
        f" {brier:.3f}. By tenth of the probability: {tenths}."
    )

    def panel(axes: Axes, look: Look) -> None:
        draw_calibration(axes, look, deciles)

    title = f"Calibration: error {error:.3f}, Brier score {brier:.3f}"
    return Drawing("calibration", title, alt, "models", WIDTH, HEIGHT, (panel,))
