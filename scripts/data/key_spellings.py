"""Keys of clients that are written otherwise in one file than in another."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from scripts.core.config import Schema
from scripts.data import dated_rows
from scripts.data.dated_rows import Flags

# Without letters in front many keys are alike by chance, so most of the new ones must be.
MIN_PREFIXED_FRACTION = 0.5
FEWEST = 5


def plain_keys(keys: "pd.Series[str]") -> pa.Array:
    """Return keys in small letters, without leading zeros and without `.0` at the end."""
    texts = pc.utf8_lower(pa.array(keys.astype("str"), pa.large_string()))
    return pc.replace_substring_regex(texts, pattern=r"^0+|[.,]0+$", replacement="")


def bare_keys(plain: pa.Array) -> pa.Array:
    """Return plain keys without the letters and marks in front, "" for a key without digits."""
    return pc.replace_substring_regex(plain, pattern=r"^[^0-9]*0*", replacement="")


def count_alike(keys: pa.Array, known: pa.Array) -> int:
    """Count the keys that are among known keys, but for empty ones."""
    is_alike = pc.and_(pc.is_in(keys, value_set=known), pc.not_equal(keys, ""))
    return int(pc.sum(is_alike).as_py() or 0)


def count_respelt(new: "pd.Series[str]", gone: "pd.Series[str]") -> int:
    """Count the keys of new clients that are those of vanished clients, written otherwise.

    Parameters
    ----------
    new : pandas.Series of shape (n_new,)
        The keys of the newest extract that are in no earlier one.
    gone : pandas.Series of shape (n_gone,)
        The keys of the extract before that are not in the newest one.

    Returns
    -------
    int
        Keys with other leading zeros, capitals, or a decimal such as `42.0`. If more keys are alike
        without a prefix such as `K-`, and most of the new ones are, it is their number.
    """
    if new.empty or gone.empty:
        return 0
    plain, known = plain_keys(new), plain_keys(gone)
    n_respelt = count_alike(plain, known)
    n_bare = count_alike(bare_keys(plain), bare_keys(known))
    is_prefixed = n_bare >= max(FEWEST, MIN_PREFIXED_FRACTION * len(new))
    return max(n_respelt, n_bare) if is_prefixed else n_respelt


def find_newcomers(
    table: pd.DataFrame, schema: Schema, before: int, newest: int
) -> tuple[Flags, Flags]:
    """Return masks of a row of each client who is new or just gone in the newest extract.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        Rows by client and day, with NUMBER.
    schema : Schema
        With key and date.
    before, newest : int
        The days of the last two extracts, counted from 1970-01-01. Who vanished earlier is left
        out, since the more keys there are, the more are alike by chance.
    """
    days = table[schema.as_of].to_numpy(np.int64)
    is_new = days >= newest
    is_gone = ~is_new & (days >= before)
    return dated_rows.is_first(table) & is_new, dated_rows.is_last(table) & is_gone
