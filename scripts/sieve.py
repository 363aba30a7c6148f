"""Finds which of very many rows repeat an earlier one, by two keyed hashes of each, within a bound.

Rows are taken for equal if both their 64-bit hashes are. The keys are drawn anew for each sieve, so
nobody can make two rows that are taken for one, and by chance it does not happen: of a thousand
million rows with a probability below one in 10**20.
"""

import secrets
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scripts import duplicates

WORD_BYTES = 8
FIRST = np.array([2 ** (8 * n) - 1 for n in range(WORD_BYTES + 1)], np.uint64)
SHIFT = np.uint64(32)
# The parts that are looked at one after the other when all hashes would not fit.
N_PARTS_BITS = 8
RECORD_BYTES = 3 * WORD_BYTES
# What sorting and pairing need beside the hashes themselves.
ROW_BYTES = 64

Numbers = NDArray[np.uint64]
Places = NDArray[np.int64]
Mask = NDArray[np.bool_]


def draw_key() -> np.uint64:
    """Draw an odd number of 64 bits, to multiply by."""
    return np.uint64(secrets.randbits(64) | 1)


@dataclass(frozen=True)
class Keys:
    """What makes the hashes of one sieve its own."""

    first: np.uint64 = field(default_factory=draw_key)
    second: np.uint64 = field(default_factory=draw_key)
    further: np.uint64 = field(default_factory=draw_key)


def mix(one: Numbers, other: Numbers, word: Numbers, keys: Keys) -> tuple[Numbers, Numbers]:
    """Fold a word of each line into its two hashes."""
    one = (one ^ word) * keys.first
    one ^= one >> SHIFT
    other = (other + word) * keys.second
    other ^= other >> SHIFT
    other *= keys.further
    return one, other ^ (other >> SHIFT)


def hash_lines(content: bytes, starts: Places, ends: Places, keys: Keys) -> tuple[Numbers, Numbers]:
    """Hash lines twice, a word of eight bytes at a time.

    Parameters
    ----------
    content : bytes
        The lines.
    starts, ends : numpy.ndarray of shape (n_lines,)
        Where each begins and ends.
    keys : Keys
        Of the sieve.

    Returns
    -------
    tuple of two numpy.ndarray of shape (n_lines,)
        Equal lines have equal pairs of hashes.
    """
    padded = content + bytes(WORD_BYTES)
    words: Numbers = np.ndarray(len(content) + 1, np.dtype("<u8"), padded, strides=(1,))
    lengths = ends - starts
    one = lengths.astype(np.uint64) * keys.first
    other = one ^ keys.further
    shortest, longest = int(lengths.min(initial=0)), int(lengths.max(initial=0))
    for place in range(0, longest, WORD_BYTES):
        # A line's hashes are its own: they must not depend on how long its neighbours are.
        rows = slice(None) if place < shortest else np.flatnonzero(lengths > place)
        word = words[starts[rows] + place]
        if place + WORD_BYTES > shortest:
            word &= FIRST[np.minimum(lengths[rows] - place, WORD_BYTES)]
        one[rows], other[rows] = mix(one[rows], other[rows], word, keys)
    return one, other


def find_repeats(one: Numbers, other: Numbers) -> Mask:
    """Mark the rows of which an earlier one has the same two hashes."""
    is_repeat = np.zeros(len(one), np.bool_)
    if len(one) < 2:
        return is_repeat
    later, first = duplicates.pair_up(one)
    same = (one[later] == one[first]) & (other[later] == other[first])
    is_repeat[later[same]] = True
    if not same.all():
        # Different rows, which part of a hash took for one: their groups are settled one by one.
        unclear = np.isin(first, first[~same])
        places = np.union1d(later[unclear], first[unclear])
        seen: set[tuple[int, int]] = set()
        for place in places.tolist():
            pair = int(one[place]), int(other[place])
            is_repeat[place] = pair in seen
            seen.add(pair)
    return is_repeat


class Sieve:
    """Takes the hashes of rows in their order and tells which rows are the first of their kind.

    Parameters
    ----------
    folder : Path
        Where hashes are kept that do not fit into memory.
    bound_bytes : int or None
        How much memory the hashes may take.
    """

    def __init__(self, folder: Path, bound_bytes: int | None = None) -> None:
        """Begin without rows."""
        self.n_rows = 0
        self.keys = Keys()
        self.bound_bytes = bound_bytes
        self.waiting: list[tuple[Numbers, Numbers]] = []
        self.n_waiting = 0
        self.cancelled: list[tuple[int, int]] = []
        self.folder = folder
        self.parts: tempfile.TemporaryDirectory[str] | None = None

    def add(self, content: bytes, starts: Places, ends: Places) -> None:
        """Take the next rows."""
        self.waiting.append(hash_lines(content, starts, ends, self.keys))
        self.n_rows += len(starts)
        self.n_waiting += len(starts)
        if self.bound_bytes is not None and self.n_waiting * ROW_BYTES > self.bound_bytes:
            self.put_away()

    def cancel(self, since: int) -> None:
        """Take back the rows from a place on: they are no rows after all."""
        if since < self.n_rows:
            self.cancelled.append((since, self.n_rows))

    def is_cancelled(self, places: Places) -> Mask:
        """Mark the places that were taken back."""
        found = np.zeros(len(places), np.bool_)
        for start, stop in self.cancelled:
            found |= (places >= start) & (places < stop)
        return found

    def take_waiting(self) -> tuple[Numbers, Numbers]:
        """Give the hashes in memory, and forget them."""
        ones, others = zip(*self.waiting, strict=True) if self.waiting else ((), ())
        self.waiting, self.n_waiting = [], 0
        empty = np.zeros(0, np.uint64)
        return np.concatenate([empty, *ones]), np.concatenate([empty, *others])

    def put_away(self) -> None:
        """Write the hashes in memory to the files of their parts, with the places of the rows."""
        one, other = self.take_waiting()
        places = np.arange(self.n_rows - len(one), self.n_rows, dtype=np.uint64)
        parts = (other >> np.uint64(64 - N_PARTS_BITS)).astype(np.int64)
        order = np.argsort(parts, kind="stable")
        records = np.column_stack([one, other, places])[order]
        bounds = np.searchsorted(parts[order], np.arange(2**N_PARTS_BITS + 1))
        if self.parts is None:
            self.parts = tempfile.TemporaryDirectory(dir=self.folder, prefix=".", suffix=".tmp")
        for part in range(2**N_PARTS_BITS):
            with (Path(self.parts.name) / str(part)).open("ab") as handle:
                handle.write(records[bounds[part] : bounds[part + 1]].tobytes())

    def find_firsts(self) -> Mask:
        """Mark the rows that repeat no earlier one and were not taken back; then it is empty."""
        is_first = np.zeros(self.n_rows, np.bool_)
        if self.parts is None:
            one, other = self.take_waiting()
            self.mark(is_first, one, other, np.arange(self.n_rows))
            return is_first
        self.put_away()
        for part in range(2**N_PARTS_BITS):
            records = np.fromfile(Path(self.parts.name) / str(part), np.uint64).reshape(-1, 3)
            one, other = np.ascontiguousarray(records[:, 0]), np.ascontiguousarray(records[:, 1])
            self.mark(is_first, one, other, records[:, 2].astype(np.int64))
        self.close()
        return is_first

    def mark(self, is_first: Mask, one: Numbers, other: Numbers, places: Places) -> None:
        """Mark the first rows among those with some hashes."""
        if self.cancelled:
            valid = ~self.is_cancelled(places)
            one, other, places = one[valid], other[valid], places[valid]
        is_first[places] = ~find_repeats(one, other)

    def close(self) -> None:
        """Remove the files."""
        if self.parts is not None:
            self.parts.cleanup()
            self.parts = None
