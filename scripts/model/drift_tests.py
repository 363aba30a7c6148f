"""Two-sample tests of drift: numbers, shares and categories of a column, and the F1 of a model."""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from msgspec import Struct
from scipy import stats

from scripts.data.arrays import Ints

# Smaller differences have no consequence even where they are significant: a tenth of a standard
# deviation, Cohen's "small" effect w, two percentage points.
SMALLEST_DIFFERENCE = 0.03
SMALLEST_W = 0.1
SMALLEST_SHARE = 0.02
# Cochran's rule for the approximation by a chi-square distribution.
MIN_EXPECTED = 5
# The fraction of comparisons with a false alarm of a fallen F1. It is below the usual 5 %, because
# a release is compared again with every change of the test data, and because its first F1 is
# biased upwards by its selection.
FALSE_ALARM_FRACTION = 0.01

# The rows of a sample in each bin or category.
Counts = Ints


class TwoSampleResult(Struct, frozen=True):
    """A difference between two samples, and the largest difference explained by chance."""

    difference: float
    limit: float

    @property
    def is_drift(self) -> bool:
        """Whether the difference is larger than chance explains."""
        return self.difference > self.limit


def rms_difference(before: Sequence[int] | Counts, now: Sequence[int] | Counts) -> float:
    """Compute the root mean square difference of the cumulative shares of two samples.

    Parameters
    ----------
    before, now : sequence of int of shape (n_bins,)
        Counts in the same ordered bins; each has at least one row.

    Returns
    -------
    float
        In [0, 0.577]: 0 for equal shares, the root of 1/3 when a few rows lie beyond all others.
        Between bins the difference of the cumulative shares is interpolated.

    Notes
    -----
    The two-sample Cramér-von Mises statistic is n m / (n + m) times its square: Anderson, "On
    the distribution of the two-sample Cramér-von Mises criterion" (1962).
    """
    a, b = np.asarray(before, dtype=np.float64), np.asarray(now, dtype=np.float64)
    right = np.cumsum(b) / b.sum() - np.cumsum(a) / a.sum()
    left = np.concatenate([[0.0], right[:-1]])
    pooled = (a + b) / (a + b).sum()
    return math.sqrt(float(np.sum(pooled * (left**2 + left * right + right**2)) / 3))


def rms_limit(n_before: int, n_now: int, false_alarm: float) -> float:
    """Compute the limit of `rms_difference` for two samples of the same distribution.

    Parameters
    ----------
    n_before, n_now : int
        Sizes of the samples, at least 1.
    false_alarm : float
        The probability of a larger difference by chance, in (0, 0.05].

    Returns
    -------
    float
        It is z / pi * sqrt(1 / n_before + 1 / n_now); z is the normal quantile exceeded with
        probability false_alarm / sqrt(8).

    Notes
    -----
    For continuous distributions the statistic is that of the sum of chi-square variables over
    (pi j)^2, whose tail is sqrt(2) P(chi-square > pi^2 x): Zolotarev (1961). Ties and bins
    replace a Brownian bridge by its mean given some of its points, which does not increase any
    weight of the sum: the limit then errs on the side of no alarm.
    """
    z = NormalDist().inv_cdf(1 - false_alarm / math.sqrt(8))
    return z / math.pi * math.sqrt(1 / n_before + 1 / n_now)


def compare_numbers(before: Counts, now: Counts, false_alarm: float) -> TwoSampleResult:
    """Compare two samples of an ordered column by counts in the same bins."""
    limit = rms_limit(int(before.sum()), int(now.sum()), false_alarm)
    return TwoSampleResult(rms_difference(before, now), max(limit, SMALLEST_DIFFERENCE))


def compare_shares(
    hits_before: int, n_before: int, hits_now: int, n_now: int, false_alarm: float
) -> TwoSampleResult:
    """Compare the share of rows with a property between two samples.

    Parameters
    ----------
    hits_before, n_before, hits_now, n_now : int
        Rows with the property and total number of rows of each sample.
    false_alarm : float
        The probability of exceeding the limit by chance, in (0, 1), half of it on each side.

    Returns
    -------
    TwoSampleResult
        The absolute difference of the shares, and the largest difference in its direction when
        the rows with the property are assigned to the samples by chance.

    Notes
    -----
    Fisher's exact test.
    """
    hits, n = hits_before + hits_now, n_before + n_now
    chance = stats.hypergeom(n, hits, n_now)
    difference = hits_now / n_now - hits_before / n_before
    ordinary = chance.isf(false_alarm / 2) if difference > 0 else chance.ppf(false_alarm / 2)
    limit = abs(ordinary / n_now - (hits - ordinary) / n_before)
    return TwoSampleResult(abs(difference), max(float(limit), SMALLEST_SHARE))


def merge_rare_categories(before: Counts, now: Counts) -> tuple[Counts, Counts]:
    """Merge rare categories until each is expected at least five times in both samples."""
    order = np.argsort(before + now, kind="stable")
    a, b = before[order].tolist(), now[order].tolist()
    share = min(before.sum(), now.sum()) / (before.sum() + now.sum())
    while len(a) > 1 and (a[0] + b[0]) * share < MIN_EXPECTED:
        a[1], b[1] = a[0] + a[1], b[0] + b[1]
        del a[0], b[0]
    return np.array(a, dtype=np.int64), np.array(b, dtype=np.int64)


def compare_categories(before: Counts, now: Counts, false_alarm: float) -> TwoSampleResult | None:
    """Compare two samples of a categorical column by counts of the same categories.

    Parameters
    ----------
    before, now : numpy.ndarray of shape (n_categories,)
        Counts; rare categories are merged first.
    false_alarm : float
        The probability of exceeding the limit by chance, in (0, 1).

    Returns
    -------
    TwoSampleResult or None
        Cohen's effect size w of the shares of both samples against the pooled shares; None with
        fewer than two categories.

    Notes
    -----
    Pearson's chi-square of the two samples is w^2 / (1 / n_before + 1 / n_now). Cohen,
    "Statistical Power Analysis for the Behavioral Sciences" (1988), chapter 7.
    """
    a, b = merge_rare_categories(before, now)
    if len(a) < 2:
        return None
    pooled = (a + b) / (a + b).sum()
    w = math.sqrt(float(np.sum((b / b.sum() - a / a.sum()) ** 2 / pooled)))
    spread = 1 / int(a.sum()) + 1 / int(b.sum())
    limit = math.sqrt(float(stats.chi2.isf(false_alarm, len(a) - 1)) * spread)
    return TwoSampleResult(w, max(limit, SMALLEST_W))


class F1Counts(Struct, frozen=True):
    """The counts behind F1: test rows, true positives, and false predictions of either kind."""

    n_rows: int
    n_true_positives: int
    n_errors: int

    @property
    def f1(self) -> float | None:
        """The F1, or None without any positive label or prediction."""
        counted = 2 * self.n_true_positives + self.n_errors
        return 2 * self.n_true_positives / counted if counted else None


class F1Drift(Struct, frozen=True):
    """The F1 of a model at the deployment and now, with the p-value of a fall."""

    f1_before: float
    f1_now: float
    n_rows_before: int
    n_rows_now: int
    p_value: float

    @property
    def has_fallen(self) -> bool:
        """Whether the fall is significant at 1 %."""
        return self.p_value < FALSE_ALARM_FRACTION


def compare_f1(before: F1Counts, now: F1Counts) -> F1Drift | None:
    """Test whether a model's F1 fell between two sets of test rows.

    Parameters
    ----------
    before, now : F1Counts
        The counts of the same model on the test rows of its deployment and of today.

    Returns
    -------
    F1Drift or None
        None where F1 is undefined.

    Notes
    -----
    True negatives do not count in F1. Among the remaining rows let J be the share of true
    positives; F1 = 2 J / (1 + J) rises with J, hence a fall of F1 is a fall of J: Fisher's exact
    test, one-sided. Rows common to both sets make the test err on the side of no alarm; equal sets
    never raise an alarm.
    """
    if before.f1 is None or now.f1 is None:
        return None
    n_before, n_now = (side.n_true_positives + side.n_errors for side in (before, now))
    hits = before.n_true_positives + now.n_true_positives
    p_value = stats.hypergeom.cdf(now.n_true_positives, n_before + n_now, hits, n_now)
    return F1Drift(before.f1, now.f1, before.n_rows, now.n_rows, float(p_value))
