"""The drift limits of a column, on the plain numbers of the records and the diagnostics."""

from collections.abc import Mapping
from typing import Any


def is_above(difference: float | None, limit: float | None) -> bool:
    """Return whether a difference is above its limit, with False for an undefined number."""
    return difference is not None and limit is not None and difference > limit


def has_drifted(column: Mapping[str, Any]) -> bool:
    """Return whether the values or the share of missing values of a column have drifted.

    Parameters
    ----------
    column : mapping of str to object
        The statistics of a column, with the names of the records: `drift`, `drift_limit`,
        `missing_drift` and `missing_drift_limit`.

    Returns
    -------
    bool
        True if at least one difference is above its limit.
    """
    return is_above(column["drift"], column["drift_limit"]) or is_above(
        column["missing_drift"], column["missing_drift_limit"]
    )
