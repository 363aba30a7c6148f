"""Duplicate rows: detection by 64-bit hashes of the rows, and the row hashes of a model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct
from numpy.typing import NDArray

from scripts.core import sentences
from scripts.core.config import IngestionSettings, Schema
from scripts.data import profile
from scripts.data.arrays import Places

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
SHIFT = np.uint64(32)
PART_ROWS = 2**15
WORD_BYTES = 8
MASKS = np.array([2 ** (8 * n) - 1 for n in range(WORD_BYTES + 1)], np.uint64)
# At most 64 KiB per model. Up to this number of rows every row is recognised. Of larger datasets a
# sample is, chosen by the hash, so that the same rows are in the sample of every dataset.
N_HASHES = 2**14
HASH_TYPE = np.dtype("<u4")

Numbers = NDArray[np.uint64]
Hashes = NDArray[np.uint32]


def mix(mixed: Numbers, more: Numbers) -> Numbers:
    """Mix a number per row into the hashes of the rows."""
    mixed = mixed ^ more
    mixed *= MULTIPLIER
    mixed ^= mixed >> SHIFT
    return mixed


def number_words(values: NDArray[Any]) -> Numbers:
    """Return numbers as 64-bit words, equal numbers as equal words."""
    if values.dtype.kind == "f":
        # 0.0 and -0.0 are equal, and so are all NaN.
        numbers = values.astype(np.float64, copy=False) + 0.0
        is_missing = np.isnan(numbers)
        if is_missing.any():
            numbers[is_missing] = np.nan
        return numbers.view(np.uint64)
    return values.astype(np.int64, copy=False).view(np.uint64)


class ByteWords(Struct, frozen=True):
    """A text column as overlapping words of eight bytes, a word from each byte on."""

    words: Numbers
    starts: Places
    lengths: Places

    def at(self, rows: Places | slice, place: int) -> Numbers:
        """Return the word of each row from a byte on, with zeros after the end of the text."""
        n_bytes = np.minimum(self.lengths[rows] - place, WORD_BYTES)
        words: Numbers = self.words[self.starts[rows] + place] & MASKS[n_bytes]
        return words

    def part(self, start: int, n_rows: int) -> "ByteWords":
        """Return the texts of a range of rows."""
        rows = slice(start, start + n_rows)
        return ByteWords(self.words, self.starts[rows], self.lengths[rows])


def as_words(texts: pa.LargeStringArray) -> ByteWords:
    """Return texts as words after a single copy of the bytes."""
    _, offsets_buffer, data = texts.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    first, last = int(offsets[0]), int(offsets[-1])
    text_bytes = np.frombuffer(data, np.uint8)[first:last] if last else np.zeros(0, np.uint8)
    padded = np.concatenate([text_bytes, np.zeros(WORD_BYTES, np.uint8)])
    words: Numbers = np.ndarray(len(text_bytes) + 1, np.dtype("<u8"), padded.data, strides=(1,))
    return ByteWords(words, offsets[:-1] - first, np.diff(offsets))


def mix_texts(mixed: Numbers, texts: ByteWords) -> Numbers:
    """Mix texts into the hashes of their rows, word by word."""
    mixed = mix(mixed, texts.lengths.astype(np.uint64))
    for place in range(0, int(texts.lengths.max(initial=0)), WORD_BYTES):
        is_longer = texts.lengths > place
        rows = slice(None) if is_longer.all() else np.flatnonzero(is_longer)
        mixed[rows] = mix(mixed[rows], texts.at(rows, place))
    return mixed


def as_texts(column: "pd.Series[str]") -> pa.ChunkedArray:
    """Return a text column as an Arrow array, with missing values as ""."""
    texts = pa.array(column.array, type=pa.large_string())
    texts = texts if isinstance(texts, pa.ChunkedArray) else pa.chunked_array([texts])
    return pc.fill_null(texts, "") if texts.null_count else texts


def in_one_piece(texts: pa.ChunkedArray) -> pa.LargeStringArray:
    """Return chunked texts as a single array."""
    return texts.chunk(0) if texts.num_chunks == 1 else texts.combine_chunks()


def number_rows(
    columns: Sequence[NDArray[Any] | pa.ChunkedArray | ByteWords], n_rows: int
) -> Numbers:
    """Compute a 64-bit hash of each row of columns: numbers, or text without missing values."""
    numbers = np.zeros(n_rows, np.uint64)
    # In parts that stay in the processor's cache.
    for start in range(0, n_rows, PART_ROWS):
        mixed = numbers[start : start + PART_ROWS]
        for column in columns:
            if isinstance(column, np.ndarray):
                mixed = mix(mixed, number_words(column[start : start + PART_ROWS]))
            elif isinstance(column, ByteWords):
                mixed = mix_texts(mixed, column.part(start, PART_ROWS))
            else:
                texts = in_one_piece(column.slice(start, PART_ROWS))
                mixed = mix_texts(mixed, as_words(texts))
        numbers[start : start + PART_ROWS] = mixed
    return numbers


def row_numbers(table: pd.DataFrame) -> Numbers:
    """Compute a 64-bit hash of each row of a table."""
    columns = [
        as_texts(table[name]) if table[name].dtype == "str" else table[name].to_numpy()
        for name in table.columns
    ]
    return number_rows(columns, len(table))


class Dropped(Struct):
    """The numbers of dropped rows and of dropped positives, None if unknown."""

    n_rows: int = 0
    n_positives: int | None = 0

    def describe(self) -> str:
        """Describe the rows by class, for a message."""
        if self.n_positives is None:
            return sentences.count(self.n_rows, "row")
        n_stayed = self.n_rows - self.n_positives
        rows = sentences.count(self.n_rows, "row")
        return f"{rows} ({self.n_positives} of clients who left, {n_stayed} who stayed)"


def are_dropped_from_input(settings: IngestionSettings, schema: Schema) -> bool:
    """Return whether equal rows of the input are dropped: as declared, by default with ids only.

    With an identifier an equal row is the same client again. Without, it may be another client.
    """
    return bool(schema.ids) if settings.drop_duplicates is None else settings.drop_duplicates


def are_dropped_from_test_data(settings: IngestionSettings) -> bool:
    """Return whether equal rows of the test data are dropped: only if declared."""
    return bool(settings.drop_duplicates)


def count_dropped(before: NDArray[Any], after: NDArray[Any]) -> Dropped:
    """Count the rows dropped between two states of a target, 1 left and 0 stayed."""
    return Dropped(len(before) - len(after), int(before.sum()) - int(after.sum()))


def drop_duplicates(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table without duplicate rows, with a new index."""
    return table.drop_duplicates(ignore_index=True)


def hash_table_rows(table: pd.DataFrame, schema: Schema) -> NDArray[np.uint64]:
    """Compute a 64-bit hash of the cells of each row of a labelled table, shape (n_rows,).

    Numbers count as floats, since a column of integers becomes one of floats in the next dataset
    with a first missing value.
    """
    rows = {
        name: table[name].astype(np.float64 if name in (*schema.numeric, schema.target) else "str")
        for name in schema.columns
    }
    return row_numbers(pd.DataFrame(rows, copy=False))


def short_hashes(numbers: Numbers) -> Hashes:
    """Return the upper 32 bits of 64-bit hashes."""
    return (numbers >> np.uint64(32)).astype(np.uint32)


def hash_rows(table: pd.DataFrame, schema: Schema) -> Hashes:
    """Compute a 32-bit hash of each row of a labelled table, shape (n_rows,)."""
    return short_hashes(hash_table_rows(table, schema))


def add_smallest(smallest: Hashes, hashes: Hashes) -> Hashes:
    """Return the smallest of both kinds of hashes, in ascending order and at most N_HASHES."""
    if len(smallest) == N_HASHES:
        hashes = hashes[hashes < smallest[-1]]
    return profile.without_repeats(np.sort(np.concatenate([smallest, hashes])))[:N_HASHES]


def encode_smallest(hashes: Hashes) -> bytes:
    """Return the smallest hashes as bytes, at most N_HASHES."""
    return add_smallest(np.zeros(0, np.uint32), hashes).astype(HASH_TYPE).tobytes()
