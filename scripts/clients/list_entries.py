"""The clients of a page of the worklist as entries, made from columns."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import asdict, replace

from scripts.clients import client_reasons
from scripts.clients.client_names import names_of
from scripts.clients.client_reasons import Value
from scripts.clients.response_types import ReasonEntry, WorklistEntry, WorkState
from scripts.core.column_words import ColumnWords
from scripts.model import ranking
from scripts.model.logistic_model import Columns, Model
from scripts.model.ranking import BandLimits
from scripts.records import scored_clients
from scripts.records.column_blocks import Column
from scripts.records.scored_clients import GAINS, NAME, ScoredClients


def list_known(column: Column) -> list[Any]:
    """Return the values of a column, None for missing numbers."""
    values = column
    if column.dtype == np.float64 and np.isnan(column).any():
        values = column.astype(object)
        values[np.isnan(column)] = None
    found: list[Any] = values.tolist()
    return found


def list_moments(column: Column) -> list[str | None]:
    """Return moments in microseconds as texts of RFC 3339, None for a missing moment."""
    moments = {number: scored_clients.as_moment(number) for number in {*column.tolist()}}
    texts = {number: None if at is None else at.isoformat() for number, at in moments.items()}
    return [texts[number] for number in column.tolist()]


def list_bands(recorded: Column, probability: Column, limits: BandLimits) -> list[str]:
    """Return the bands of recorded scores by the limits of today."""
    words = np.array([str(band) for band in ranking.BANDS], object)
    now = words[ranking.find_places(probability, limits)]
    bands: list[str] = np.where(recorded == ranking.NO_DATA, recorded, now).tolist()
    return bands


def find_shown(columns: Mapping[str, Column], shown: Sequence[str]) -> dict[str, list[Any]]:
    """Return the columns of `worklist.columns` by name, features before those kept for people."""
    kept = {name: name.partition(":")[2] for name in columns if scored_clients.is_kept(name)}
    features = {name: name.partition(":")[2] for name in columns if scored_clients.is_feature(name)}
    marked = {name: marked for marked, name in (kept | features).items()}
    n_rows = len(columns["probability"])
    return {
        name: list_known(columns[marked[name]]) if name in marked else [None] * n_rows
        for name in shown
    }


def list_rows(columns: Mapping[str, Sequence[Any]], n_rows: int) -> list[dict[str, Any]]:
    """Return the rows of columns, each with the values by column."""
    if not columns:
        return [{} for _ in range(n_rows)]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


class EntryColumns(Struct, frozen=True):
    """The members of the entries of a list, with a value for each client.

    `names` and `columns` are by column. A member without any value is None.
    """

    position: Sequence[int]
    client: Sequence[str]
    probability: Sequence[float]
    band: Sequence[str]
    reasons: Sequence[list[ReasonEntry]]
    previous_probability: Sequence[float | None]
    previous_at: Sequence[str | None]
    change: Sequence[float | None]
    work: Sequence[WorkState | None]
    columns: Mapping[str, Sequence[Value]] = {}
    names: Mapping[str, Sequence[str]] = {}
    value: Sequence[float | UnsetType | None] | None = None
    gain: Sequence[float | UnsetType] | None = None
    held_out_until: Sequence[str | UnsetType] | None = None

    def entries(self) -> list[WorklistEntry]:
        """Return the entries."""
        members = {name: values for name, values in asdict(self).items() if values is not None}
        members["columns"] = list_rows(self.columns, len(self.client))
        members["names"] = (
            list_rows(self.names, len(self.client)) if self.names else [UNSET] * len(self.client)
        )
        names = list(members)
        return [
            WorklistEntry(**dict(zip(names, row, strict=True)))
            for row in zip(*members.values(), strict=True)
        ]


def split_entries(entries: Sequence[WorklistEntry]) -> EntryColumns:
    """Return the members of entries as columns."""
    names = names_of(entries[0]) if entries else {}
    columns = entries[0].columns if entries else {}
    members: dict[str, Any] = {
        name: [getattr(entry, name) for entry in entries] for name in EntryColumns.__struct_fields__
    }
    members["names"] = {name: [names_of(entry)[name] for entry in entries] for name in names}
    members["columns"] = {name: [entry.columns[name] for entry in entries] for name in columns}
    if not entries or entries[0].gain is UNSET:
        # All entries of a list have gains, or none.
        members |= {"value": None, "gain": None}
    return EntryColumns(**members)


class ListedClients(Struct, frozen=True):
    """The clients of a page of the list, as columns.

    `before` are the features at the score before, and `states` are those of the work. Held-out
    clients are `until` a day. `shown` are the columns of `worklist.columns`.
    """

    model: Model
    clients: ScoredClients
    before: Columns
    states: Sequence[WorkState | None]
    limits: BandLimits
    words: ColumnWords
    shown: Sequence[str]
    until: str | None

    def __len__(self) -> int:
        """Return the number of clients."""
        return len(self.clients.names)

    def slice(self, start: int, stop: int) -> "ListedClients":
        """Return some of the clients."""
        rows = slice(start, stop)
        clients = ScoredClients(
            self.clients.names[rows], {n: c[rows] for n, c in self.clients.columns.items()}
        )
        before = {name: column[rows] for name, column in self.before.items()}
        return replace(self, clients=clients, before=before, states=self.states[rows])

    def find_reasons(self) -> list[list[ReasonEntry]]:
        """Return the reasons of each client."""
        columns = client_reasons.read_values(self.model, self.clients)
        return client_reasons.list_reasons(self.model, columns, self.words, self.before)

    def members(self) -> EntryColumns:
        """Return the members of the entries, with the reasons."""
        columns = self.clients.columns
        probability, previous = columns["probability"], columns["previous_probability"]
        optional = {name: list_known(columns[name]) for name in GAINS if name in columns}
        if "gain" in optional:
            optional["gain"] = [UNSET if gain is None else gain for gain in optional["gain"]]
        if "held_out" in columns and self.until is not None:
            optional["held_out_until"] = [
                self.until if is_held_out else UNSET for is_held_out in columns["held_out"].tolist()
            ]
        return EntryColumns(
            position=columns["position"].tolist(),
            client=self.clients.names,
            probability=probability.tolist(),
            band=list_bands(columns["band"], probability, self.limits),
            reasons=self.find_reasons(),
            previous_probability=list_known(previous),
            previous_at=list_moments(columns["previous_at"]),
            change=list_known(probability - previous),
            work=self.states,
            columns=find_shown(columns, self.shown),
            names={
                name.removeprefix(NAME): columns[name].tolist()
                for name in columns
                if name.startswith(NAME)
            },
            **optional,
        )
