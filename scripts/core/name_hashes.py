"""Hashes of clients' names, for the division into buckets and the search."""

import zlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

HASH_BITS = 32

NameHashes = NDArray[np.uint32]


def hash_name(name: str) -> int:
    """Return the 32-bit hash of a client's name, the same on every machine."""
    return zlib.crc32(name.encode("utf-8", "surrogatepass"))


def hash_names(names: Sequence[str]) -> NameHashes:
    """Return the 32-bit hash of each name, of shape (n_names,)."""
    # Without a call of Python's own per name, since there are millions.
    return np.fromiter(map(zlib.crc32, map(str.encode, names)), np.uint32, len(names))


def find_bucket(name_hash: int, bits: int) -> int:
    """Return the bucket of a hash, by the first bits."""
    return name_hash >> (HASH_BITS - bits)


class NameFilter:
    """A set of names, kept as sorted hashes.

    A name outside the set passes with a probability of the number of names over 2^32.

    Parameters
    ----------
    parts : iterable of numpy.ndarray
        The hashes of the names, in any order.
    """

    def __init__(self, parts: Iterable[NameHashes]) -> None:
        self._hashes = np.sort(np.concatenate([np.zeros(0, np.uint32), *parts]))

    def matches(self, hashes: NameHashes) -> NDArray[np.bool_]:
        """Return a mask of the hashes in the set, of shape (n_hashes,)."""
        if not len(self._hashes):
            return np.zeros(len(hashes), np.bool_)
        places = np.searchsorted(self._hashes, hashes)
        found: NDArray[np.bool_] = self._hashes[places.clip(max=len(self._hashes) - 1)] == hashes
        return found
