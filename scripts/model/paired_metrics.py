"""The paired comparison of two models by the metric of the promotion, on the same rows."""

from collections.abc import Callable

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from scripts.data.arrays import Floats, Ints
from scripts.model import evidence_reuse, gain, metrics, paired_log_loss
from scripts.model.gain import GainTerms
from scripts.model.metrics import Comparison

# Means of more rows are resampled in so many groups.
MAX_GROUPS = 2_000
# Draws in memory at a time.
N_DRAWS = 200
NAMES = {
    "f1": "F1",
    "log_loss": "log loss",
    "recall_at_capacity": "recall at capacity",
    "expected_gain": "expected gain per client",
}
# Of these a lower value is better.
FALLING = frozenset({"log_loss"})


class MetricTerms(Struct, frozen=True):
    """The inputs of a metric besides labels and probabilities.

    `listed_fraction` is the share of the clients that the team can call. `value` is the worth of
    each row, and `costs` are those of a contact and an offer.
    """

    listed_fraction: float = 0.1
    value: Floats | None = None
    costs: GainTerms | None = None


class MetricComparison(Struct, frozen=True):
    """A metric of candidate and production, and the evidence for the difference.

    The difference is that of the candidate less production, so of the log loss a negative one is
    better.
    """

    metric: str
    candidate: float
    production: float
    comparison: Comparison

    @property
    def is_better(self) -> bool:
        """Whether the candidate's value is strictly better."""
        difference = self.comparison.difference
        return difference < 0 if self.metric in FALLING else difference > 0


def choose_listed(score: Floats, fraction: float) -> Ints:
    """Return 1 for the rows with the highest scores, up to a share of all rows, and 0 otherwise."""
    n_listed = int(np.ceil(round(fraction * len(score), 9)))
    listed = np.zeros(len(score), np.int64)
    listed[np.argsort(-score, kind="stable")[:n_listed]] = 1
    return listed


def row_gains(y: Ints, probability: Floats, terms: MetricTerms) -> Floats:
    """Return the gain of each row if the team calls the rows with an expected gain.

    The team calls at most its share of the clients, those with the highest expected gain. A call
    brings what the label says, at the mean save rate, and no call brings nothing.
    """
    assert terms.value is not None
    assert terms.costs is not None
    expected = gain.expected_gains(probability, terms.value, terms.costs)
    is_called = (choose_listed(expected, terms.listed_fraction) == 1) & (expected > 0)
    brought = gain.expected_gains(y.astype(np.float64), terms.value, terms.costs)
    return np.where(is_called, brought, 0.0)


def group_means(values: Floats) -> tuple[Floats, Floats]:
    """Return means and sizes of groups of rows drawn by chance, each row by itself if few."""
    n_groups = min(len(values), MAX_GROUPS)
    order = np.random.default_rng(metrics.SEED).permutation(len(values))
    starts = np.arange(n_groups) * len(values) // n_groups
    sizes = np.diff(np.append(starts, len(values))).astype(np.float64)
    return np.add.reduceat(values[order], starts) / sizes, sizes


def resample_means(values: Floats, n_resamples: int) -> Floats:
    """Return the means of resamples of rows, drawn with replacement.

    Notes
    -----
    Efron and Tibshirani, "An Introduction to the Bootstrap", chapter 6. Groups of equal size drawn
    by chance have means with the variance that resampling their rows would have.
    """
    means, sizes = group_means(values)
    random = np.random.default_rng(metrics.SEED)
    parts = []
    for start in range(0, n_resamples, N_DRAWS):
        n_draws = min(N_DRAWS, n_resamples - start)
        counts = random.multinomial(len(means), np.full(len(means), 1 / len(means)), size=n_draws)
        weights = counts * sizes
        parts.append(weights @ means / weights.sum(axis=1))
    return np.concatenate(parts)


def summarise(difference: float, resampled: Floats, metric: str, n_judged: int) -> Comparison:
    """Return the evidence of resampled differences, corrected for the number of candidates."""
    resampled = np.where(np.isnan(resampled), 0.0, resampled)
    low, high = np.percentile(resampled, evidence_reuse.interval_percent(n_judged))
    signed = -resampled if metric in FALLING else resampled
    better = float(np.mean(signed > 0) + np.mean(signed == 0) / 2)
    corrected = evidence_reuse.correct_probability(better, n_judged)
    return Comparison(difference, float(low), float(high), corrected)


def compare_means(candidate: Floats, production: Floats, metric: str, n_judged: int) -> Comparison:
    """Compare the means of a metric with a value per row."""
    differences = candidate - production
    resampled = resample_means(differences, evidence_reuse.count_resamples(n_judged))
    return summarise(float(np.mean(differences)), resampled, metric, n_judged)


def recall_of(draws: Floats, *, candidate: bool) -> Floats:
    """Return the recall of a model's list from draws of the joint counts, shape (n, 8)."""
    outcomes = np.arange(8)
    left, listed = outcomes >= 4, ((outcomes >> (1 if candidate else 0)) & 1) == 1
    whole = draws[:, left].sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, draws[:, left & listed].sum(axis=1) / whole, np.nan)


def compare_recall(y: Ints, candidate: Ints, production: Ints, n_judged: int) -> Comparison:
    """Compare the share of leavers on two lists of equal length."""
    counts = metrics.joint_counts(y, candidate, production)
    draws = np.random.default_rng(metrics.SEED).multinomial(
        len(y), counts / len(y), size=evidence_reuse.count_resamples(n_judged)
    )
    observed, drawn = counts[np.newaxis, :].astype(np.float64), draws.astype(np.float64)
    found, resampled = (
        recall_of(part, candidate=True) - recall_of(part, candidate=False)
        for part in (observed, drawn)
    )
    return summarise(float(found[0]), resampled, "recall_at_capacity", n_judged)


def measure(metric: str, y: Ints, probability: Floats, terms: MetricTerms) -> float:
    """Compute a metric of a model: `log_loss`, `recall_at_capacity` or `expected_gain`."""
    by_name: dict[str, Callable[[], float]] = {
        "log_loss": lambda: float(np.mean(paired_log_loss.log_losses(y, probability))),
        "recall_at_capacity": lambda: float(
            np.sum(y * choose_listed(probability, terms.listed_fraction)) / max(1, int(y.sum()))
        ),
        "expected_gain": lambda: float(np.mean(row_gains(y, probability, terms))),
    }
    return by_name[metric]()


def compare(
    metric: str, y: Ints, probabilities: tuple[Floats, Floats], terms: MetricTerms,
    n_judged: int = 1,
) -> MetricComparison:  # fmt: skip
    """Compare candidate and production by a metric, by paired bootstrap.

    Parameters
    ----------
    metric : str
        `log_loss`, `recall_at_capacity` or `expected_gain`; F1 is in `scripts.model.metrics`.
    y : numpy.ndarray of shape (n_rows,)
        0 stayed, 1 left; at least one row.
    probabilities : tuple of two numpy.ndarray of shape (n_rows,)
        Of the candidate and of production.
    terms : MetricTerms
        The share of clients to call, worth and costs.
    n_judged : int
        How many candidates these rows have judged, this one included.

    Returns
    -------
    MetricComparison
        In the form of `metrics.compare`: difference, 95 % interval, and the share of resamples in
        which the candidate is better. The lists are those of the test rows, also in a resample.
    """
    values = [measure(metric, y, part, terms) for part in probabilities]
    if metric == "recall_at_capacity":
        lists = [choose_listed(part, terms.listed_fraction) for part in probabilities]
        found = compare_recall(y, lists[0], lists[1], n_judged)
    elif metric == "log_loss":
        losses = [paired_log_loss.log_losses(y, part) for part in probabilities]
        found = compare_means(losses[0], losses[1], metric, n_judged)
    else:
        gains = [row_gains(y, part, terms) for part in probabilities]
        found = compare_means(gains[0], gains[1], metric, n_judged)
    exact = replace(found, difference=values[0] - values[1])
    return MetricComparison(metric, values[0], values[1], exact)
