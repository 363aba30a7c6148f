"""Keys of clients that are written otherwise in one file than in another."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from scripts.data import cells
from scripts.data.arrays import Ints, Mask

# The columns of moves: the client, the place of the extract, and whether the client is new there.
KEY, PLACE, IS_NEW = "key", "place", "is new"
# Without letters in front many keys are alike by chance, so most of the new ones must be.
MIN_PREFIXED_FRACTION = 0.5
FEWEST = 5
MIN_PAIRS_FRACTION = 0.01
PART_ROWS = 2**16
# Between groups of three digits: also a no-break space, wide or narrow.
THOUSANDS = "[.,' \u00a0\u202f]"
GROUPED = f"^[0-9]{{1,3}}(?:{THOUSANDS}[0-9]{{3}})+(?:[.,]0{{1,2}})?$"
MARKS = tuple(mark.encode() for mark in ".,' \u00a0\u202f")


def have_marks(keys: pa.Array) -> bool:
    """Return whether any key has a decimal or thousands mark, by a search in all bytes at once."""
    chunks = keys.chunks if isinstance(keys, pa.ChunkedArray) else [keys]
    contents = [chunk.buffers()[2].to_pybytes() for chunk in chunks if len(chunk)]
    return any(mark in content for content in contents for mark in MARKS)


def plain_keys(keys: "pd.Series[str]") -> pa.Array:
    """Return keys in small letters, without leading zeros, thousands marks and `.0` at the end."""
    texts = pa.array(keys.astype("str"), pa.large_string())
    plain = pc.utf8_ltrim(pc.utf8_lower(texts), characters="0")
    if not have_marks(plain):
        return plain
    is_grouped = pc.match_substring_regex(plain, GROUPED)
    if pc.any(is_grouped).as_py():
        joined = pc.replace_substring_regex(
            plain, pattern=f"{THOUSANDS}([0-9]{{3}})", replacement=r"\1"
        )
        plain = pc.if_else(is_grouped, joined, plain)
    return pc.replace_substring_regex(plain, pattern=r"[.,]0+$", replacement="")


def find_pairs(keys: "pd.Series[str]", part: "pd.Series[Any]") -> pd.DataFrame:
    """Find keys that are written otherwise in one part of rows than in another.

    Parameters
    ----------
    keys : pandas.Series of shape (n_rows,)
        The key of each row.
    part : pandas.Series of shape (n_rows,)
        The extract of each row.

    Returns
    -------
    pandas.DataFrame of shape (n_keys, 2)
        Two spellings of each such key. Keys beside each other in a part, such as a7 and A7, are
        those of two clients.
    """
    rows = pd.DataFrame({KEY: keys, "part": part})[keys != ""].drop_duplicates()
    unique = rows[KEY].drop_duplicates()
    plain = pd.Series(plain_keys(unique).to_pylist(), index=unique)
    rows["plain"] = rows[KEY].map(plain)
    of_plain = rows.groupby("plain")[KEY]
    several = of_plain.nunique()
    beside = rows.loc[rows.duplicated(["plain", "part"]), "plain"]
    names = several.index[(several > 1) & ~several.index.isin(beside)]
    return pd.DataFrame({"first": of_plain.min(), "last": of_plain.max()}).loc[names]


def describe_pairs(keys: "pd.Series[str]", part: "pd.Series[Any]") -> list[str]:
    """Return a sentence about keys written otherwise in one part than in another, if many are."""
    pairs = find_pairs(keys, part)
    if len(pairs) < max(FEWEST, MIN_PAIRS_FRACTION * keys.nunique()):
        return []
    first, last = map(cells.shorten, pairs.iloc[0])
    return [
        f"{len(pairs)} clients have a {str(keys.name)!r} that is written otherwise in one file than"
        f" in another, such as {first} and {last}, and would count as two each. Export the files"
        " again."
    ]


def bare_keys(plain: pa.Array) -> pa.Array:
    """Return plain keys without the letters, marks and zeros in front of their first number."""
    return pc.replace_substring_regex(plain, pattern=r"^[^0-9]*0*([1-9])", replacement=r"\1")


def count_alike(keys: pa.Array, known: pa.Array) -> int:
    """Count the keys that are among known keys, but for empty ones."""
    is_alike = pc.and_(pc.is_in(keys, value_set=known), pc.not_equal(keys, ""))
    return int(pc.sum(is_alike).as_py() or 0)


def count_respelt(new: "pd.Series[str]", gone: "pd.Series[str]") -> int:
    """Count the keys of new clients that are those of vanished clients, written otherwise.

    If more are alike without a prefix such as `K-`, and most of the new ones are, it is their
    number.
    """
    plain_new, plain_gone = plain_keys(new), plain_keys(gone)
    n_bare = count_alike(bare_keys(plain_new), bare_keys(plain_gone))
    if not n_bare:
        # Who is alike with the prefix is alike without it.
        return 0
    is_prefixed = n_bare >= max(FEWEST, MIN_PREFIXED_FRACTION * len(new))
    return n_bare if is_prefixed else count_alike(plain_new, plain_gone)


def are_last(keys: "pd.Series[str]") -> Mask:
    """Return a mask of the last row of each client, by the keys of rows by client."""
    is_other = np.asarray(keys.array[1:] != keys.array[:-1], np.bool_)
    return np.append(is_other, True)[: len(keys)]


def find_moves(
    keys: "pd.Series[str]", is_last: Mask, days: Ints, extract_days: Ints
) -> pd.DataFrame:
    """Return KEY, PLACE and IS_NEW of clients who are new or absent in an extract.

    Parameters
    ----------
    keys : pandas.Series of shape (n_rows,)
        The client of each row, by client and day.
    is_last : numpy.ndarray of shape (n_rows,)
        Which rows are the last of their client.
    days : numpy.ndarray of shape (n_rows,)
        The days of the rows, counted from 1970-01-01.
    extract_days : numpy.ndarray of shape (n_days,)
        The days of the extracts, sorted.

    Returns
    -------
    pandas.DataFrame of shape (n_moves, 3)
        PLACE is that of the extract. A client is absent if the extract before has a row.
    """
    is_first = np.append(True, is_last[:-1])[: len(keys)]
    # The days are few: each is looked for once.
    first = int(days.min(initial=0))
    every_day = np.arange(first, int(days.max(initial=first)) + 1)
    place_of_day = np.searchsorted(extract_days, every_day, side="right").astype(np.int32) - 1
    parts = [(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.bool_))]
    # In parts that fit into the processor's cache.
    for start in range(0, len(keys), PART_ROWS):
        rows = slice(start, start + PART_ROWS)
        # With the row behind the part.
        places = place_of_day[days[start : rows.stop + 1] - first]
        following = np.append(places, len(extract_days))[1 : len(is_last[rows]) + 1]
        places = places[: len(following)]
        following = np.where(is_last[rows], len(extract_days), following)
        new = np.flatnonzero(is_first[rows] & (places > 0))
        gone = np.flatnonzero((following > places + 1) & (places >= 0))
        parts.append((start + new, places[new], np.ones(len(new), np.bool_)))
        parts.append((start + gone, places[gone] + 1, np.zeros(len(gone), np.bool_)))
    found, place, is_new = map(np.concatenate, zip(*parts, strict=True))
    return pd.DataFrame({KEY: keys.array.take(found), PLACE: place, IS_NEW: is_new})


def find_respelt(moves: pd.DataFrame, extract_days: Ints) -> dict[int, int]:
    """Count the keys of each extract that are written otherwise than in the extract before.

    Who is new in an extract and has the key of a client who is absent in it, but for leading zeros,
    capitals, thousands marks, a decimal such as `42.0` or a prefix, is the same client.

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
    places, is_new = moves[PLACE].to_numpy(np.int64), moves[IS_NEW].to_numpy(np.bool_)
    found = dict[int, int]()
    # An extract at a time stays in the processor's cache.
    for place, day in enumerate(extract_days.tolist()):
        new, gone = (moves[KEY][(places == place) & (is_new == flag)] for flag in (True, False))
        n_respelt = count_respelt(new, gone) if len(new) and len(gone) else 0
        found |= {day: n_respelt} if n_respelt else {}
    return found
