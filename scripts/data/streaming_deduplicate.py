"""Finds which of very many rows repeat an earlier one, by keyed hashes of each, within a bound.

The keys are drawn anew for each sieve, so nobody can choose rows whose hashes are equal. In memory
a hash only tells which rows to compare. Beyond memory rows are taken for equal if 128 bits are: any
two different rows are taken for one with a probability of 2**-128, so that among 10**8 rows that
happens with one below 10**-22.

Values of one kind one after the other, in one piece of memory, which grows as it must.
"""

import mmap
import secrets
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from scripts.data import deduplicate

WORD_BYTES = 8
FIRST = np.array([2 ** (8 * n) - 1 for n in range(WORD_BYTES + 1)], np.uint64)
LOW = np.uint64(2**32 - 1)
HALF = np.uint64(32)
# The parts that are looked at one after the other when all hashes would not fit.
N_PARTS_BITS = 8
# What sorting and pairing need beside the hashes themselves.
ROW_BYTES = 64

Numbers = NDArray[np.uint64]
Places = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Keys:
    """Random numbers that make some hashes their own, as many as the longest line needs."""

    def __init__(self, n_hashes: int) -> None:
        """Begin without any."""
        self.drawn: Numbers = np.zeros((0, n_hashes), np.uint64)

    def take(self, n_keys: int) -> Numbers:
        """Give so many for each hash, shape (at least n_keys, n_hashes); always the same ones."""
        n_lacking, n_hashes = n_keys - len(self.drawn), self.drawn.shape[1]
        if n_lacking > 0:
            content = secrets.token_bytes(n_lacking * n_hashes * WORD_BYTES)
            more = np.frombuffer(content, np.uint64).reshape(-1, n_hashes)
            self.drawn = np.concatenate([self.drawn, more])
        return self.drawn


def hash_lines(content: bytes, starts: Places, ends: Places, keys: Keys) -> list[Numbers]:
    """Hash lines, a word of eight bytes at a time.

    Parameters
    ----------
    content : bytes
        The lines.
    starts, ends : numpy.ndarray of shape (n_lines,)
        Where each begins and ends.
    keys : Keys
        Of the hashes.

    Returns
    -------
    list of numpy.ndarray of shape (n_lines,)
        Of each hash 64 bits. Equal lines have equal ones; of different lines the upper 32 are equal
        with a probability of 2**-32 over the keys.

    Notes
    -----
    Multilinear: Lemire and Kaser (2014), "Strongly universal string hashing is fast". What is
    hashed of a line is its length, the words from its start on, and the one before its end.
    """
    padded = content + bytes(WORD_BYTES)
    words: Numbers = np.ndarray(len(content) + 1, np.dtype("<u8"), padded, strides=(1,))
    lengths = ends - starts
    shortest, longest = int(lengths.min(initial=0)), int(lengths.max(initial=0))
    drawn = keys.take(longest // WORD_BYTES * 2 + 5)
    sums = [lengths.astype(np.uint64) * key for key in drawn[0]]

    def add(word: Numbers, place: int, rows: Places | slice) -> None:
        low, high = word & LOW, word >> HALF
        for total, of_low, of_high in zip(sums, drawn[place], drawn[place + 1], strict=True):
            total[rows] += low * of_low + high * of_high

    last = words[starts + np.maximum(lengths - WORD_BYTES, 0)]
    if shortest < WORD_BYTES:
        last &= FIRST[np.minimum(lengths, WORD_BYTES)]
    add(last, 1, slice(None))
    for number, place in enumerate(range(0, longest - WORD_BYTES, WORD_BYTES)):
        rows: Places | slice = slice(None)
        if place + WORD_BYTES >= shortest:
            # A line's hash is its own: it must not depend on how long its neighbours are.
            rows = np.flatnonzero(lengths > place + WORD_BYTES)
        add(words[starts[rows] + place], 3 + 2 * number, rows)
    return sums


def join_halves(one: Numbers, other: Numbers) -> Numbers:
    """Make one number of the upper halves of two."""
    return (one & ~LOW) | (other >> HALF)


class Comparable(Protocol):
    """Rows by their places."""

    def are_equal(self, left: Places, right: Places) -> Mask:
        """Compare pairs of rows."""

    def row(self, place: int) -> object:
        """Give of a row what only equal rows have."""


@dataclass(frozen=True)
class Chosen:
    """Some of the rows, by their places among these."""

    rows: Comparable
    places: Places

    def are_equal(self, left: Places, right: Places) -> Mask:
        """Compare pairs of rows."""
        return self.rows.are_equal(self.places[left], self.places[right])

    def row(self, place: int) -> object:
        """Give of a row what only equal rows have."""
        return self.rows.row(int(self.places[place]))


@dataclass(frozen=True)
class Hashes:
    """Two hashes of each row, which stand for it."""

    one: Numbers
    other: Numbers

    def are_equal(self, left: Places, right: Places) -> Mask:
        """Compare pairs of rows."""
        same: Mask = self.one[left] == self.one[right]
        same &= self.other[left] == self.other[right]
        return same

    def row(self, place: int) -> object:
        """Give of a row what only equal rows have."""
        return int(self.one[place]), int(self.other[place])


def find_repeats(numbers: Numbers, rows: Comparable) -> Mask:
    """Mark the rows that repeat an earlier one; equal rows have equal numbers, overwritten here."""
    is_repeat = np.zeros(len(numbers), np.bool_)
    if len(numbers) < 2:
        return is_repeat
    later, first = deduplicate.pair_up(numbers)
    same = rows.are_equal(later, first)
    is_repeat[later[same]] = True
    if not same.all():
        # Different rows, which part of a hash took for one: their groups are settled one by one.
        unclear = np.isin(first, first[~same])
        seen: set[object] = set()
        for place in np.union1d(later[unclear], first[unclear]).tolist():
            row = rows.row(place)
            is_repeat[place] = row in seen
            seen.add(row)
    return is_repeat


class Sieve:
    """Takes the bytes of rows in their order and tells which rows are the first of their kind.

    Parameters
    ----------
    folder : Path
        Where hashes are kept that do not fit into memory.
    bound_bytes : int or None
        How much memory the hashes may take; with a bound there are two of each row.
    n_rows : int
        How many rows there may be, about.
    drops_equal : bool
        Whether repeats go; otherwise every row counts as the first of its kind.
    """

    def __init__(
        self,
        folder: Path,
        bound_bytes: int | None = None,
        n_rows: int = 0,
        *,
        drops_equal: bool = True,
    ) -> None:
        """Begin without rows."""
        self.n_rows = 0
        self.drops_equal = drops_equal
        self.keys = Keys(1 if bound_bytes is None else 4)
        self.bound_bytes = bound_bytes
        self.hashes = Stack(np.uint64, n_rows)
        self.waiting: list[list[Numbers]] = []
        self.n_waiting = 0
        self.cancelled: list[tuple[int, int]] = []
        self.folder = folder
        self.parts: tempfile.TemporaryDirectory[str] | None = None

    def add(self, content: bytes, starts: Places, ends: Places) -> None:
        """Take the next rows."""
        self.n_rows += len(starts)
        if not self.drops_equal:
            return
        sums = hash_lines(content, starts, ends, self.keys)
        self.n_waiting += len(starts)
        if self.bound_bytes is None:
            self.hashes.put(sums[0])
            return
        self.waiting.append([join_halves(*sums[:2]), join_halves(*sums[2:])])
        if self.n_waiting * ROW_BYTES > self.bound_bytes:
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

    def take_waiting(self) -> list[Numbers]:
        """Give the hashes in memory, and forget them."""
        waiting, self.waiting, self.n_waiting = self.waiting, [], 0
        empty = [np.zeros(0, np.uint64)] * 2
        return [np.concatenate(parts) for parts in zip(empty, *waiting, strict=True)]

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

    def take_parts(self) -> Iterator[tuple[Numbers, Numbers, Places]]:
        """Yield both hashes of rows and their places, equal rows together."""
        if self.parts is None:
            one, other = self.take_waiting()
            yield one, other, np.arange(self.n_rows)
            return
        self.put_away()
        for part in range(2**N_PARTS_BITS):
            records = np.fromfile(Path(self.parts.name) / str(part), np.uint64).reshape(-1, 3)
            one, other = np.ascontiguousarray(records[:, 0]), np.ascontiguousarray(records[:, 1])
            yield one, other, records[:, 2].astype(np.int64)
        self.close()

    def find_firsts(self, kept: Comparable) -> Mask:
        """Mark the rows that repeat no earlier one and were not taken back; then it is empty.

        Parameters
        ----------
        kept : Comparable
            The rows in memory, which are compared where no bound is set.

        Returns
        -------
        numpy.ndarray of shape (n_rows,)
            True for those that stay.
        """
        if not self.drops_equal:
            return ~self.is_cancelled(np.arange(self.n_rows))
        is_first = np.zeros(self.n_rows, np.bool_)
        if self.bound_bytes is None:
            one, self.hashes = self.hashes.values, Stack(np.uint64, 0)
            if not self.cancelled:
                return ~find_repeats(one, kept)
            places = np.flatnonzero(~self.is_cancelled(np.arange(self.n_rows)))
            is_first[places] = ~find_repeats(one[places], Chosen(kept, places))
            return is_first
        for one, other, places in self.take_parts():
            valid = ~self.is_cancelled(places)
            hashes = Hashes(one[valid], other[valid])
            is_first[places[valid]] = ~find_repeats(hashes.one.copy(), hashes)
        return is_first

    def close(self) -> None:
        """Remove the files."""
        if self.parts is not None:
            self.parts.cleanup()
            self.parts = None


class Stack:
    """Values one after the other, to which more are put.

    Parameters
    ----------
    kind : numpy.dtype
        Of the values.
    n_values : int
        For how many there is to be room. Memory that is not used is only asked for, not taken.

    Notes
    -----
    Large arrays of numpy are given pages of 2 MB, which on a virtual machine take four times as
    long to be there as small ones do; what is mapped is not.
    """

    def __init__(self, kind: Any, n_values: int) -> None:
        """Begin without values."""
        self.n_values = 0
        self.room: NDArray[Any] = self.map(np.dtype(kind), n_values)

    @staticmethod
    def map(kind: np.dtype[Any], n_values: int) -> NDArray[Any]:
        """Ask for room."""
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        return np.frombuffer(mmap.mmap(-1, max(1, n_values) * kind.itemsize, flags), kind)

    @property
    def values(self) -> NDArray[Any]:
        """The values so far."""
        return self.room[: self.n_values]

    def put(self, more: NDArray[Any]) -> None:
        """Put further values behind the others."""
        n_all = self.n_values + len(more)
        if n_all > len(self.room):
            larger = self.map(self.room.dtype, max(n_all, 2 * len(self.room)))
            larger[: self.n_values] = self.values
            self.room = larger
        self.room[self.n_values : n_all] = more
        self.n_values = n_all
