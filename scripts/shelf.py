"""Keeps the rows of a dataset in their order, in bytes, until it is known which of them stay."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from scripts.canonical import Rows

Breaks = NDArray[np.int32]
Mask = NDArray[np.bool_]


@dataclass
class Shelf:
    """Keeps rows in their order: in memory, or in a file that has no name."""

    file: BinaryIO | None = None
    held: list[tuple[bytes, Breaks]] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)

    def put(self, rows: Rows) -> None:
        """Keep the next rows."""
        breaks = (rows.ends + 1).astype(np.int32)
        if self.file is None:
            self.held.append((rows.content, breaks))
            return
        self.file.write(rows.content)
        self.file.write(breaks.tobytes())
        self.sizes.append((len(rows.content), breaks.nbytes))

    def take(self) -> Iterator[tuple[bytes, Breaks]]:
        """Yield the rows, each part's bytes and where its lines end, and forget them."""
        if self.file is None:
            self.held.reverse()
            while self.held:
                yield self.held.pop()
            return
        with self.file:
            self.file.seek(0)
            for n_bytes, n_break_bytes in self.sizes:
                content = self.file.read(n_bytes)
                yield content, np.frombuffer(self.file.read(n_break_bytes), np.int32)


def choose_rows(shelf: Shelf, is_first: Mask) -> Iterator[bytes]:
    """Yield the rows that are the first of their kind."""
    place = 0
    for content, breaks in shelf.take():
        kept = is_first[place : place + len(breaks)]
        place += len(breaks)
        if kept.all():
            yield content
        elif kept.any():
            codes = np.frombuffer(content, np.uint8)
            yield codes[np.repeat(kept, np.diff(breaks, prepend=0))].tobytes()
