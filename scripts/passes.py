"""What passes over the rows of a store tell: the split, and how columns spread in its parts."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from scripts.config import TrainingSettings
from scripts.errors import InsufficientDataError
from scripts.rowstore import Store
from scripts.spread import Column, Counted, Counting, Sorted, Spread

# Of so many rows the places are kept, from which samples are taken.
N_TRAINING_PLACES = 1_000_000
N_VALIDATION_PLACES = 100_000

Mask = NDArray[np.bool_]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Which rows are held out, and in random order the places of some that are and are not."""

    is_held_out: Mask
    training: Places
    validation: Places


def split_rows(n_rows: int, settings: TrainingSettings, *, is_tight: bool = False) -> Split:
    """Split rows as scikit-learn's train_test_split does, without copying any.

    Parameters
    ----------
    n_rows : int
        The number of rows.
    settings : TrainingSettings
        The share of them that is held out, and the state of the random order.
    is_tight : bool
        Whether memory is scarce: it then takes half of it, and a third longer.

    Returns
    -------
    Split
        Which rows are held out.

    Raises
    ------
    InsufficientDataError
        If there are too few rows.
    """
    n_held_out = int(np.ceil(settings.validation_fraction * n_rows))
    if not 0 < n_held_out < n_rows:
        raise InsufficientDataError(
            f"{n_rows} rows cannot be split with validation_fraction"
            f" {settings.validation_fraction}; add data."
        )
    # numpy shuffles numbers of 64 bits in a way of their own.
    order = np.arange(n_rows, dtype=np.int32 if is_tight and n_rows < 2**31 else np.int64)
    np.random.RandomState(settings.random_state).shuffle(order)
    is_held_out = np.zeros(n_rows, np.bool_)
    is_held_out[order[:n_held_out]] = True
    training = order[n_held_out:][:N_TRAINING_PLACES].astype(np.int64)
    validation = order[:n_held_out][:N_VALIDATION_PLACES].astype(np.int64)
    return Split(is_held_out, training, validation)


@dataclass(frozen=True)
class Passes:
    """What passes over the store tell of its columns."""

    store: Store
    columns: dict[str, Column]
    is_held_out: Mask

    @cached_property
    def counted(self) -> dict[str, NDArray[np.int64]]:
        """How often each small whole number occurs, by held out and target, shape (n_values, 4)."""
        places = {name: place for place, name in enumerate(self.store.schema.numeric)}
        tables = {name: own.counts for name, own in self.columns.items()}
        every = {name: counts for name, counts in tables.items() if counts is not None}
        held_out = {name: Counting() for name in every}
        # Reading has counted all rows, so only those that are held out are looked at.
        for chunk in self.store if every and self.is_held_out.any() else ():
            own = chunk.choose(np.flatnonzero(self.is_held_out[chunk.rows]))
            for name, counting in held_out.items():
                values = own.numbers[:, places[name]]
                is_there = ~np.isnan(values)
                counting.add(values[is_there], own.y[is_there])
        counted = {}
        for name, counts in every.items():
            out = np.zeros_like(counts)
            found = held_out[name].table()
            out[: len(found)] = found
            counted[name] = np.hstack([counts - out, out])
        return counted

    def spread(
        self, name: str, *, held_out: bool | None = None, left: bool | None = None
    ) -> Spread:
        """Tell how a numeric column spreads, over all rows or some kinds of them."""
        kinds = [
            2 * is_out + has_left
            for is_out in (False, True)
            for has_left in (False, True)
            if held_out in (None, is_out) and left in (None, has_left)
        ]
        if name in self.counted:
            return Counted(self.counted[name][:, kinds].sum(axis=1))
        place, taken = self.store.schema.numeric.index(name), []
        for chunk in self.store:
            kind = 2 * self.is_held_out[chunk.rows] + chunk.y
            values = chunk.numbers[:, place]
            taken.append(values[np.isin(kind, kinds) & ~np.isnan(values)])
        ordered = np.concatenate(taken)
        ordered.sort()
        return Sorted(ordered)
