"""Which rows of a table repeat an earlier one.

pandas.DataFrame.duplicated turns every column into codes first, which at ten million rows takes ten
times as long. Here a row becomes a 64-bit number; sorting the numbers brings equal rows together,
and only the rows that seem to repeat another are then compared cell by cell, so that the answer is
exact whatever the numbers are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from scripts.core.config import IngestionSettings, Schema
from scripts.data import profile
from scripts.data.arrays import Mask, Places

FEW_ROWS = 100_000
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
SHIFT = np.uint64(32)
PART_ROWS = 2**15
WORD_BYTES = 8
MASKS = np.array([2 ** (8 * n) - 1 for n in range(WORD_BYTES + 1)], np.uint64)

Numbers = NDArray[np.uint64]


def mix(mixed: Numbers, more: Numbers) -> Numbers:
    """Fold one number per row into those of the rows."""
    mixed = mixed ^ more
    mixed *= MULTIPLIER
    mixed ^= mixed >> SHIFT
    return mixed


def number_words(values: NDArray[Any]) -> Numbers:
    """Give numbers as 64 bits each; equal numbers give equal bits."""
    if values.dtype.kind == "f":
        # 0.0 and -0.0 are equal, and so are all NaN.
        values = np.where(np.isnan(values), np.nan, values + 0.0)
        return values.astype(np.float64).view(np.uint64)
    return values.astype(np.int64, copy=False).view(np.uint64)


@dataclass(frozen=True)
class Words:
    """Texts as words of eight bytes, which may start at any byte."""

    words: Numbers
    starts: Places
    lengths: Places

    def at(self, rows: Places | slice, place: int) -> Numbers:
        """Give the word of each row that starts at a place; what is beyond its text is zero."""
        n_bytes = np.minimum(self.lengths[rows] - place, WORD_BYTES)
        found: Numbers = self.words[self.starts[rows] + place] & MASKS[n_bytes]
        return found

    def part(self, start: int, n_rows: int) -> "Words":
        """Give the texts of some rows."""
        own = slice(start, start + n_rows)
        return Words(self.words, self.starts[own], self.lengths[own])


def as_words(texts: pa.LargeStringArray) -> Words:
    """Look at texts as words, copying their bytes once."""
    _, offsets_buffer, data = texts.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    first, last = int(offsets[0]), int(offsets[-1])
    used = np.frombuffer(data, np.uint8)[first:last] if last else np.zeros(0, np.uint8)
    padded = np.concatenate([used, np.zeros(WORD_BYTES, np.uint8)])
    words: Numbers = np.ndarray(len(used) + 1, np.dtype("<u8"), padded.data, strides=(1,))
    return Words(words, offsets[:-1] - first, np.diff(offsets))


def mix_texts(mixed: Numbers, spelled: Words) -> Numbers:
    """Fold texts into the numbers of their rows, word by word."""
    mixed = mix(mixed, spelled.lengths.astype(np.uint64))
    for place in range(0, int(spelled.lengths.max(initial=0)), WORD_BYTES):
        is_longer = spelled.lengths > place
        rows = slice(None) if is_longer.all() else np.flatnonzero(is_longer)
        mixed[rows] = mix(mixed[rows], spelled.at(rows, place))
    return mixed


def same_texts(texts: pa.LargeStringArray, left: Places, right: Places) -> Mask:
    """Compare pairs of texts word by word."""
    spelled = as_words(texts)
    same: Mask = spelled.lengths[left] == spelled.lengths[right]
    pairs = np.flatnonzero(same)
    for place in range(0, int(spelled.lengths.max(initial=0)), WORD_BYTES):
        pairs = pairs[spelled.lengths[left[pairs]] > place]
        equal = spelled.at(left[pairs], place) == spelled.at(right[pairs], place)
        same[pairs[~equal]] = False
        pairs = pairs[equal]
    return same


def row_numbers(table: pd.DataFrame) -> Numbers:
    """Compute a number for each row; equal rows have equal numbers."""
    columns = [
        as_texts(table[name]) if table[name].dtype == "str" else table[name].to_numpy()
        for name in table.columns
    ]
    return number_rows(columns, len(table))


def number_rows(columns: Sequence[NDArray[Any] | pa.ChunkedArray | Words], n_rows: int) -> Numbers:
    """Compute a number for each row of columns, of numbers or of text without missing ones."""
    numbers = np.zeros(n_rows, np.uint64)
    # In parts that stay in the processor's cache.
    for start in range(0, n_rows, PART_ROWS):
        mixed = numbers[start : start + PART_ROWS]
        for column in columns:
            if isinstance(column, np.ndarray):
                mixed = mix(mixed, number_words(column[start : start + PART_ROWS]))
            elif isinstance(column, Words):
                mixed = mix_texts(mixed, column.part(start, PART_ROWS))
            else:
                own = in_one_piece(column.slice(start, PART_ROWS))
                mixed = mix_texts(mixed, as_words(own))
        numbers[start : start + PART_ROWS] = mixed
    return numbers


def as_texts(column: "pd.Series[str]") -> pa.ChunkedArray:
    """Give a text column as Arrow has it; a missing text as "", from which it differs in cells."""
    texts = pa.array(column.array, type=pa.large_string())
    texts = texts if isinstance(texts, pa.ChunkedArray) else pa.chunked_array([texts])
    return pc.fill_null(texts, "") if texts.null_count else texts


def in_one_piece(texts: pa.ChunkedArray) -> pa.LargeStringArray:
    """Give texts as one array."""
    return texts.chunk(0) if texts.num_chunks == 1 else texts.combine_chunks()


def same_cells(table: pd.DataFrame, left: Places, right: Places) -> Mask:
    """Compare pairs of rows cell by cell; blanks are equal."""
    same = np.ones(len(left), np.bool_)
    for name in table.columns:
        column = table[name]
        if column.dtype == "str":
            same &= same_texts(in_one_piece(as_texts(column)), left, right)
            blank = column.isna().to_numpy()
            same &= blank[left] == blank[right]
        else:
            values = column.to_numpy()
            one, other = values[left], values[right]
            same &= (one == other) | ((one != one) & (other != other))
    return same


def pair_up(numbers: Numbers) -> tuple[Places, Places]:
    """Pair each row whose number seems to occur earlier with the first row that has it.

    The place of a row takes the lowest bits of its number, so that one plain sort orders by number
    and then by place; the bits that are lost only make more pairs to compare. The numbers are
    overwritten: memory that is touched for the first time costs more than what is done with it.
    There are fewer than 2**32.
    """
    n_bits = np.uint64(len(numbers).bit_length())
    of_place = (np.uint64(1) << n_bits) - np.uint64(1)
    keys = numbers
    for start in range(0, len(keys), PART_ROWS):
        own = keys[start : start + PART_ROWS]
        own &= ~of_place
        own |= np.arange(start, start + len(own), dtype=np.uint64)
    keys.sort()
    is_repeat = np.zeros(len(keys), np.bool_)
    for start in range(1, len(keys), PART_ROWS):
        stop = min(start + PART_ROWS, len(keys))
        is_repeat[start:stop] = (keys[start:stop] ^ keys[start - 1 : stop - 1]) <= of_place
    repeats = np.flatnonzero(is_repeat)
    # The first of a run of repeats: a repeat that follows another has that one's first.
    is_run_start = np.diff(repeats, prepend=-1) > 1
    firsts = np.maximum.accumulate(np.where(is_run_start, repeats - 1, 0))
    # In the order of the later rows: they are looked at one after the other, not all over memory.
    half = np.uint64(32)
    pairs = (keys[repeats] & of_place) << half | (keys[firsts] & of_place)
    pairs.sort()
    return (pairs >> half).astype(np.int64), (pairs & np.uint64(2**32 - 1)).astype(np.int64)


def is_simple(table: pd.DataFrame) -> bool:
    """Say whether every column is text or plain numbers."""
    return all(
        kind == "str" or (isinstance(kind, np.dtype) and kind.kind in "iufb")
        for kind in table.dtypes
    )


@dataclass
class Dropped:
    """How many rows were dropped, and how many of them are of clients who left; None unknown."""

    n_rows: int = 0
    n_positives: int | None = 0

    def describe(self) -> str:
        """Describe the rows by class, for a message."""
        if self.n_positives is None:
            return f"{self.n_rows} rows"
        n_stayed = self.n_rows - self.n_positives
        return f"{self.n_rows} rows ({self.n_positives} of clients who left, {n_stayed} who stayed)"


def are_dropped_from_input(settings: IngestionSettings, schema: Schema) -> bool:
    """Return whether equal rows of the input are dropped: as declared, else if rows have ids.

    With an identifier an equal row is the same client again. Without one it is another client, or
    cannot be told from one.
    """
    return bool(schema.ids) if settings.drop_duplicates is None else settings.drop_duplicates


def are_dropped_from_test_data(settings: IngestionSettings) -> bool:
    """Return whether equal rows of the test data are dropped: only if that is declared."""
    return bool(settings.drop_duplicates)


def count_dropped(before: NDArray[Any], after: NDArray[Any]) -> Dropped:
    """Count the rows dropped between two states of a target, 1 left and 0 stayed."""
    return Dropped(len(before) - len(after), int(before.sum()) - int(after.sum()))


def find_duplicates(table: pd.DataFrame) -> Mask:
    """Mark the rows that repeat an earlier one.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        Any table. It is left unchanged.

    Returns
    -------
    numpy.ndarray of shape (n_rows,)
        As `table.duplicated()` gives it, with blanks equal to each other.
    """
    if len(table) < FEW_ROWS or not is_simple(table):
        return table.duplicated().to_numpy()
    later, first = pair_up(row_numbers(table))
    is_duplicate = np.zeros(len(table), np.bool_)
    is_duplicate[later] = True
    different = ~same_cells(table, later, first)
    if different.any():
        # Two rows had the same number by chance: their groups are settled by pandas.
        unclear = np.isin(first, first[different])
        places = np.union1d(later[unclear], first[unclear])
        is_duplicate[places] = table.iloc[places].duplicated().to_numpy()
    return is_duplicate


def drop_duplicates(table: pd.DataFrame) -> pd.DataFrame:
    """Give a table without the rows that repeat an earlier one, with a fresh index.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        Any table. It is left unchanged.

    Returns
    -------
    pandas.DataFrame of shape (n_rows_left, n_columns)
        As `table.drop_duplicates(ignore_index=True)`.
    """
    if len(table) < FEW_ROWS:
        return table.drop_duplicates(ignore_index=True)
    kept = ~find_duplicates(table)
    mask = pa.array(kept)
    columns = {
        name: as_texts(column).filter(mask).to_pandas().array
        if column.dtype == "str" and not column.hasnans
        else column.array[kept]
        for name, column in table.items()
    }
    return pd.DataFrame(columns, copy=False)


# At most 64 KiB per model. Up to so many rows every row is known again; of larger datasets a
# sample is, chosen by the hash, so that the same rows are in the sample of every dataset.
N_HASHES = 2**14
HASH_TYPE = np.dtype("<u4")

Hashes = NDArray[np.uint32]


def hash_table_rows(table: pd.DataFrame, schema: Schema) -> NDArray[np.uint64]:
    """Compute a number for each row of a labelled table, shape (n_rows,), of its cells alone.

    Numbers count as floats, since a column is of integers in one dataset and of floats in
    the next, when a first blank has come.
    """
    rows = {
        name: table[name].astype(np.float64 if name in (*schema.numeric, schema.target) else "str")
        for name in schema.columns
    }
    return row_numbers(pd.DataFrame(rows, copy=False))


def hash_rows(table: pd.DataFrame, schema: Schema) -> Hashes:
    """Hash each row of a labelled table, shape (n_rows,); equal rows have equal hashes."""
    return shorten(hash_table_rows(table, schema))


def shorten(numbers: NDArray[np.uint64]) -> Hashes:
    """Make hashes of the numbers of rows."""
    return (numbers >> np.uint64(32)).astype(np.uint32)


def encode_smallest(hashes: Hashes) -> bytes:
    """Keep the smallest hashes, as many as a model has room for."""
    return profile.without_repeats(np.sort(hashes))[:N_HASHES].astype(HASH_TYPE).tobytes()
