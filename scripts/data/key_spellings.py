"""Keys of clients that are written otherwise in one file than in another."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from scripts.data.arrays import Ints

# The columns of moves: the client, the place of the extract, and whether the client is new there.
KEY, PLACE, IS_NEW = "key", "place", "is new"
# Without letters in front many keys are alike by chance, so most of the new ones must be.
MIN_PREFIXED_FRACTION = 0.5
FEWEST = 5
PART_ROWS = 2**16


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


def count_respelt(new: pa.Array, gone: pa.Array) -> int:
    """Count the plain keys of new clients that are those of vanished clients.

    If more are alike without a prefix such as `K-`, and most of the new ones are, it is their
    number.
    """
    n_respelt = count_alike(new, gone)
    n_bare = count_alike(bare_keys(new), bare_keys(gone))
    is_prefixed = n_bare >= max(FEWEST, MIN_PREFIXED_FRACTION * len(new))
    return max(n_respelt, n_bare) if is_prefixed else n_respelt


def find_moves(keys: "pd.Series[str]", days: Ints, extract_days: Ints) -> pd.DataFrame:
    """Return KEY, PLACE and IS_NEW of clients who are new or absent in an extract.

    Parameters
    ----------
    keys : pandas.Series of shape (n_rows,)
        The client of each row, by client and day.
    days : numpy.ndarray of shape (n_rows,)
        The days of the rows, counted from 1970-01-01.
    extract_days : numpy.ndarray of shape (n_days,)
        The days of the extracts, sorted.

    Returns
    -------
    pandas.DataFrame of shape (n_moves, 3)
        PLACE is that of the extract. A client is absent if the extract before has a row.
    """
    is_other = np.asarray(keys.array[1:] != keys.array[:-1], np.bool_)
    is_first = np.append(True, is_other)[: len(keys)]
    is_last = np.append(is_first[1:], True)[: len(keys)]
    parts = [np.zeros((3, 0), np.int64)]
    # In parts that fit into the processor's cache.
    for start in range(0, len(keys), PART_ROWS):
        rows = slice(start, start + PART_ROWS)
        # With the row behind the part.
        places = np.searchsorted(extract_days, days[start : rows.stop + 1], side="right") - 1
        following = np.append(places, len(extract_days))[1 : len(is_last[rows]) + 1]
        places = places[: len(following)]
        following = np.where(is_last[rows], len(extract_days), following)
        new = np.flatnonzero(is_first[rows] & (places > 0))
        gone = np.flatnonzero((following > places + 1) & (places >= 0))
        parts.append(np.array([start + new, places[new], np.ones(len(new), np.int64)]))
        parts.append(np.array([start + gone, places[gone] + 1, np.zeros(len(gone), np.int64)]))
    found, place, is_new = np.concatenate(parts, axis=1)
    return pd.DataFrame(
        {KEY: keys.array.take(found), PLACE: place, IS_NEW: is_new.astype(np.bool_)}
    )


def find_respelt(moves: pd.DataFrame, extract_days: Ints) -> dict[int, int]:
    """Count the keys of each extract that are written otherwise than in the extract before.

    Who is new in an extract and has the key of a client who is absent in it, but for leading zeros,
    capitals, a decimal such as `42.0` or a prefix, is the same client.

    Parameters
    ----------
    moves : pandas.DataFrame of shape (n_moves, 3)
        As from `find_moves`.
    extract_days : numpy.ndarray of shape (n_days,)
        The days of the extracts, sorted.

    Returns
    -------
    dict of int to int
        The number by the day of the extract, for extracts with any.
    """
    plain, is_new = plain_keys(moves[KEY]), moves[IS_NEW].to_numpy(np.bool_)
    places, found = moves[PLACE].to_numpy(np.int64), dict[int, int]()
    order = np.argsort(places, kind="stable")
    starts = np.searchsorted(places[order], np.arange(len(extract_days) + 1))
    for place, (start, end) in enumerate(pairwise(starts.tolist())):
        rows = order[start:end]
        new, gone = rows[is_new[rows]], rows[~is_new[rows]]
        if len(new) and len(gone):
            n_respelt = count_respelt(plain.take(pa.array(new)), plain.take(pa.array(gone)))
            found |= {int(extract_days[place]): n_respelt} if n_respelt else {}
    return found
