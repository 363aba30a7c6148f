"""Whether the F1 of a model fell since its deployment by more than chance explains."""

from dataclasses import dataclass

from scipy import stats

# A release is judged again whenever the test data change, and its first F1 is a lucky one in so
# far as it was chosen for it: hence less than the usual five of 100.
FALSE_ALARM_FRACTION = 0.01


@dataclass(frozen=True)
class F1Counts:
    """What F1 is made of: true positives, and errors of either kind, among so many test rows."""

    n_rows: int
    n_true_positives: int
    n_errors: int

    @property
    def f1(self) -> float | None:
        """The F1 of these counts; None when nobody left and nobody was predicted to."""
        counted = 2 * self.n_true_positives + self.n_errors
        return 2 * self.n_true_positives / counted if counted else None


@dataclass(frozen=True)
class F1Drift:
    """F1 of a model at its deployment and now, and whether it fell more than chance explains."""

    f1_before: float
    f1_now: float
    n_rows_before: int
    n_rows_now: int
    p_value: float

    @property
    def has_fallen(self) -> bool:
        """Whether a fall like this happens by chance less often than once in 100 comparisons."""
        return self.p_value < FALSE_ALARM_FRACTION


def compare_f1(before: F1Counts, now: F1Counts) -> F1Drift | None:
    """Ask whether a model's F1 fell between two sets of test rows by more than chance.

    Parameters
    ----------
    before, now : F1Counts
        The same model on the test rows of its deployment, and on those of today.

    Returns
    -------
    F1Drift or None
        None where F1 is not defined.

    Notes
    -----
    Rows that stayed and were predicted to do not count in F1. Of the others the share of true
    positives J is a plain share, and F1 = 2 J / (1 + J) rises with it, so that a fall of F1 is a
    fall of J: Fisher's exact test, one-sided. Rows that are in both sets make it err on the side
    of no alarm; equal sets never raise one.
    """
    if before.f1 is None or now.f1 is None:
        return None
    n_before, n_now = (side.n_true_positives + side.n_errors for side in (before, now))
    hits = before.n_true_positives + now.n_true_positives
    p_value = stats.hypergeom.cdf(now.n_true_positives, n_before + n_now, hits, n_now)
    return F1Drift(before.f1, now.f1, before.n_rows, now.n_rows, float(p_value))
