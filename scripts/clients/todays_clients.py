"""Today's clients as a table: names, values, and probabilities, a part of the rows at a time."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct, field
from numpy.typing import NDArray

from scripts.core import name_hashes, progress
from scripts.core.config import Config, Schema
from scripts.core.errors import DatasetError
from scripts.core.name_hashes import NameHashes
from scripts.data import dataset
from scripts.model import ranking
from scripts.model.logistic_model import Columns, Model

PART_ROWS = 2**16

Rows = NDArray[np.int64]


def check_columns(schema: Schema, model: Model) -> None:
    """Raise if the input lacks a column of the model.

    Raises
    ------
    DatasetError
        If the schema of the input lacks a column of the model.
    """
    wanted = model.schema
    if not (
        set(wanted.numeric) <= set(schema.numeric)
        and set(wanted.categorical) <= set(schema.categorical)
    ):
        raise DatasetError(
            f"The model in production wants the columns {list(wanted.features)}, and the input is"
            f" read with {list(schema.features)}: today's clients are not scored until a model of"
            " these columns is deployed."
        )


class TodaysClients(Struct, frozen=True, dict=True):
    """Today's clients, a row each, and the features of the model that scores them.

    `kept` are the columns kept for people, under names with their kind.
    """

    table: pd.DataFrame
    schema: Schema
    features: Schema
    kept: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of clients."""
        return len(self.table)

    @cached_property
    def _identifiers(self) -> pd.DataFrame:
        return self.table[list(self.schema.ids)]

    @cached_property
    def _values(self) -> pd.DataFrame:
        return self.table[list(self.features.features)]

    def names(self, rows: Rows | slice) -> list[str]:
        """Return the names of some clients."""
        names: list[str] = dataset.client_names(self._identifiers.iloc[rows], self.schema).tolist()
        return names

    def values(self, rows: Rows | slice) -> Columns:
        """Return the values of some clients by feature."""
        return dataset.feature_arrays(self._values.iloc[rows], self.features)

    def kept_values(self, rows: Rows | slice) -> dict[str, NDArray[Any]]:
        """Return the columns kept for people of some clients."""
        return {name: column[rows] for name, column in self.kept.items()}

    def parts(self) -> Iterator[slice]:
        """Yield the rows in parts."""
        for start in range(0, len(self), PART_ROWS):
            yield slice(start, min(start + PART_ROWS, len(self)))

    def order_by_name(self) -> Rows:
        """Return the rows in the order of the names, by code points."""
        names = pa.array(dataset.client_names(self._identifiers, self.schema).array)
        return np.asarray(pc.array_sort_indices(names)).view(np.int64)


class TodaysScores(Struct, frozen=True):
    """The hash of the name, the probability and the band of each of today's clients."""

    hashes: NameHashes
    probability: NDArray[np.float64]
    band: NDArray[np.uint8]


def score(today: TodaysClients, model: Model, config: Config) -> TodaysScores:
    """Score today's clients.

    Parameters
    ----------
    today : TodaysClients
        The clients.
    model : Model
        The model in production.
    config : Config
        The limits of the bands and of missing values.

    Returns
    -------
    TodaysScores
        In the order of the rows.
    """
    n_clients = len(today)
    hashes = np.empty(n_clients, np.uint32)
    probability, band = np.empty(n_clients), np.empty(n_clients, np.uint8)
    for rows in today.parts():
        hashes[rows] = name_hashes.hash_names(today.names(rows))
        scored: tuple[Any, Any] = ranking.score(
            model, today.values(rows), config.api, config.worklist
        )
        probability[rows], band[rows] = scored
        progress.advance(n_rows=rows.stop - rows.start)
    return TodaysScores(hashes, probability, band)
