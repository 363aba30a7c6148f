"""The outcome and the possible use of each dated row, from the rows of its client alone."""

import numpy as np
import pandas as pd
from msgspec import Struct
from numpy.typing import NDArray

from scripts.core.config import OutcomeSettings, Schema
from scripts.data import dated_rows, outcomes, time_split
from scripts.data.cells import UNLABELLED
from scripts.data.dated_rows import OF_TEST
from scripts.data.known_outcomes import KnownOutcomes
from scripts.data.outcomes import RowOutcomes

Flags = NDArray[np.bool_]


class JudgedRows(Struct, frozen=True):
    """The outcomes of rows, and masks of shape (n_rows,).

    `in_fold` are the rows of clients in the test fold. A row `is_open` if it is the last one of its
    client in the input, and its outcome is unknown. It `is_gone` if that holds, and its client has
    left before.
    """

    found: RowOutcomes
    of_test: Flags
    in_fold: Flags
    is_open: Flags
    is_gone: Flags


def judge_rows(
    places: pd.DataFrame, known: KnownOutcomes, settings: OutcomeSettings | None, schema: Schema
) -> JudgedRows:
    """Judge all rows of some clients.

    Parameters
    ----------
    places : pandas.DataFrame of shape (n_rows, n_columns)
        Key, day, label, OF_TEST, NUMBER, and the column of leaving, by client and day.
    known : KnownOutcomes
        The records of outcomes.
    settings : OutcomeSettings or None
        The outcomes of the installation, None without any.
    schema : Schema
        With key and date.
    """
    found = outcomes.label_rows(places, known, settings, schema)
    of_test = places[OF_TEST].to_numpy(np.bool_)
    is_open = (places[schema.target].to_numpy(np.int64) == UNLABELLED) & ~found.left_after
    is_open[of_test] = False
    is_open[~of_test] &= dated_rows.is_last(places[~of_test])
    in_fold = time_split.in_fold(places[schema.client_key])
    return JudgedRows(found, of_test, in_fold, is_open & ~found.is_gone, is_open & found.is_gone)
