"""What passes over the rows of a store tell: the split, and how columns spread in its parts."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from scripts.config import TrainingSettings
from scripts.errors import InsufficientDataError
from scripts.rowstore import Store
from scripts.spread import Counted, Running, Sorted, Spread

N_CLASSES = 4  # held out or not, left or stayed
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


def split_rows(n_rows: int, settings: TrainingSettings) -> Split:
    """Split rows as scikit-learn's train_test_split does, without copying any.

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
    order = np.arange(n_rows, dtype=np.int32 if n_rows < 2**31 else np.int64)
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
    running: dict[str, Running]
    is_held_out: Mask

    @cached_property
    def counted(self) -> dict[str, NDArray[np.int64]]:
        """How often each small whole number occurs, by held out and target, one pass for all."""
        schema = self.store.schema
        small = [(p, n) for p, n in enumerate(schema.numeric) if self.running[n].is_small]
        counts = {name: np.zeros(N_CLASSES, np.int64) for _, name in small}
        for chunk in self.store:
            kinds = 2 * self.is_held_out[chunk.rows] + chunk.y
            for place, name in small:
                values = chunk.numbers[:, place]
                is_there = ~np.isnan(values)
                keys = values[is_there].astype(np.int64) * N_CLASSES + kinds[is_there]
                found = np.bincount(keys, minlength=len(counts[name]))
                found[: len(counts[name])] += counts[name]
                counts[name] = found
        return {
            name: np.pad(own, (0, -len(own) % N_CLASSES)).reshape(-1, N_CLASSES)
            for name, own in counts.items()
        }

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
        if self.running[name].is_small:
            return Counted(self.counted[name][:, kinds].sum(axis=1))
        place, taken = self.store.schema.numeric.index(name), []
        for chunk in self.store:
            kind = 2 * self.is_held_out[chunk.rows] + chunk.y
            values = chunk.numbers[:, place]
            taken.append(values[np.isin(kind, kinds) & ~np.isnan(values)])
        ordered = np.concatenate(taken)
        ordered.sort()
        return Sorted(ordered)
