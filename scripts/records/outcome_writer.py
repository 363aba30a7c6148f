"""Outcomes written as columns: in groups with what they have in common, in short transactions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from msgspec import Struct
from numpy.typing import NDArray
from sqlalchemy.engine import Connection, Engine

from scripts.core import progress
from scripts.records import client_blocks, database, outcome_records, scored_clients
from scripts.records.column_blocks import Column
from scripts.records.outcome_records import N_TENTHS, Tenth
from scripts.records.runs import Row
from scripts.records.tables import client_outcomes, outcome_groups

# A group is removed in one transaction.
GROUP_SIZE = 10_000
# A written outcome changes a page of each index as well. On SQLite the pages of a transaction stay
# below the page cache, as those of `client_blocks.BATCH_BYTES` do.
WRITTEN_BYTES = 500
# Groups inserted in a transaction.
BATCH_GROUPS = 1_000
# Outcomes corrected in a transaction.
BATCH_CORRECTIONS = 64
# The columns of OutcomeColumns with the same value in a group.
COMMON = ("scoring_id", "as_of", "exited", "band", "first_high_at")

Places = NDArray[np.int64]


class OutcomeColumns(Struct, frozen=True):
    """Outcomes of clients as columns of equal length.

    `names` are an array of Arrow, a third of the memory of texts in Python. The others are
    probability, position, scoring_id, as_of (perhaps None), exited, band, and first_high_at in
    microseconds.
    """

    names: pa.LargeStringArray
    columns: dict[str, Column]

    def __len__(self) -> int:
        return len(self.names)


NO_OUTCOMES = OutcomeColumns(pa.array([], pa.large_string()), {})


class JoinFacts(Struct, frozen=True):
    """The run of a join, its moment, and the scoring of the run."""

    run_id: int
    now: datetime
    recorded_by: int | None


def concatenate(parts: Iterable[OutcomeColumns]) -> OutcomeColumns:
    """Return the outcomes of all parts."""
    whole = [part for part in parts if len(part)]
    if not whole:
        return NO_OUTCOMES
    names = pa.concat_arrays([part.names for part in whole])
    columns = {
        name: np.concatenate([part.columns[name] for part in whole]) for name in whole[0].columns
    }
    return OutcomeColumns(names, columns)


def number_values(column: Column) -> Places:
    """Return a number for each value, the same for equal values."""
    if column.dtype != np.object_:
        return np.unique(column, return_inverse=True)[1]
    numbers: dict[Any, int] = {}
    return np.fromiter(
        (numbers.setdefault(value, len(numbers)) for value in column.tolist()),
        np.int64, len(column),
    )  # fmt: skip


def number_groups(outcomes: OutcomeColumns) -> tuple[Places, Places]:
    """Return the number of the group of each outcome, and the first outcome of each group."""
    together = np.zeros(len(outcomes), np.int64)
    for name in COMMON:
        numbers = number_values(outcomes.columns[name])
        together = number_values(together * (numbers.max(initial=0) + 1) + numbers)
    order = np.argsort(together, kind="stable")
    in_order = together[order]
    rank = np.arange(len(order)) - np.searchsorted(in_order, in_order)
    is_first = rank % GROUP_SIZE == 0
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.cumsum(is_first) - 1
    return numbers, order[is_first]


def count_tenths(outcomes: OutcomeColumns, numbers: Places, n_groups: int) -> list[list[Tenth]]:
    """Count the outcomes of each group by tenth of the probability."""
    p = outcomes.columns["probability"].astype(np.float64)
    tenths = np.minimum((p * N_TENTHS).astype(np.int64), N_TENTHS - 1)
    cells = numbers * N_TENTHS + tenths
    sums = [np.bincount(cells, weights) for weights in (None, p, p * (1 - p))]
    counted: list[list[Tenth]] = [[] for _ in range(n_groups)]
    for cell in np.flatnonzero(sums[0]).tolist():
        number, tenth = divmod(cell, N_TENTHS)
        n_outcomes, total, variance = (column[cell].item() for column in sums)
        counted[number].append(Tenth(tenth, n_outcomes, total, variance))
    return counted


def list_groups(
    outcomes: OutcomeColumns, firsts: Places, scorings: Mapping[int, Row], facts: JoinFacts
) -> Iterator[dict[str, Any]]:
    """Yield the groups as rows of the records, by the first outcome of each."""
    common = (outcomes.columns[name][firsts].tolist() for name in COMMON)
    for scoring_id, as_of, exited, band, first_high in zip(*common, strict=True):
        first_high_at = scored_clients.as_moment(first_high)
        yield {
            "run_id": facts.run_id, "scoring_id": scoring_id, "as_of": as_of,
            "known_at": facts.now, "exited": exited,
            "scored_at": scorings[scoring_id]["scored_at"],
            "release": scorings[scoring_id]["release"], "band": band,
            "first_high_at": first_high_at, "recorded_by": facts.recorded_by,
            "warned_s": outcome_records.warned_seconds(first_high_at, facts.now, exited=exited),
        }  # fmt: skip


def insert_groups(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Insert groups, and return their ids in the order of the rows."""
    ids = outcome_groups.insert().returning(outcome_groups.c.id, sort_by_parameter_order=True)
    return list(connection.execute(ids, rows).scalars())


def insert_outcomes(
    connection: Connection, outcomes: OutcomeColumns, places: Places, group_ids: Places
) -> None:
    """Insert some of the outcomes, with the group of each."""
    columns = outcomes.columns
    values = zip(
        columns["probability"][places].tolist(), group_ids.tolist(),
        columns["position"][places].tolist(), outcomes.names.take(pa.array(places)).to_pylist(),
        strict=True,
    )  # fmt: skip
    names = [column.name for column in client_outcomes.c]
    client_blocks.insert_values(connection, client_outcomes, names, values)


def write(
    engine: Engine, outcomes: OutcomeColumns, scorings: Mapping[int, Row], facts: JoinFacts
) -> None:
    """Record outcomes in short transactions.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The records.
    outcomes : OutcomeColumns
        The outcomes, of different clients or days.
    scorings : mapping of int to mapping
        The scorings of the scores, by id, with `scored_at` and `release`.
    facts : JoinFacts
        The run.

    Notes
    -----
    All groups come before the first outcome, and the counts after the last one. A killed run leaves
    groups without counts, whose outcomes are counted. The names in order change the same pages of
    their index.
    """
    if not len(outcomes):
        return
    numbers, firsts = number_groups(outcomes)
    groups, ids = list(list_groups(outcomes, firsts, scorings, facts)), list[int]()
    for start in range(0, len(groups), BATCH_GROUPS):
        with database.writing(engine, is_one_of_many=True) as connection:
            ids += insert_groups(connection, groups[start : start + BATCH_GROUPS])
    order = pc.array_sort_indices(outcomes.names).to_numpy().astype(np.int64)
    group_ids = np.array(ids, np.int64)[numbers]
    n_rows = max(1, client_blocks.BATCH_BYTES // WRITTEN_BYTES)
    for start in range(0, len(order), n_rows):
        places = order[start : start + n_rows]
        with database.writing(engine, is_one_of_many=True) as connection:
            insert_outcomes(connection, outcomes, places, group_ids[places])
        progress.advance()
    counted = dict(zip(ids, count_tenths(outcomes, numbers, len(ids)), strict=True))
    for start in range(0, len(ids), BATCH_GROUPS):
        with database.writing(engine, is_one_of_many=True) as connection:
            part = ids[start : start + BATCH_GROUPS]
            outcome_records.set_counts(connection, {number: counted[number] for number in part})


def copy_corrected(connection: Connection, group_id: int, facts: JoinFacts) -> int:
    """Insert a group with the other outcome, and return the id.

    The outcome before stays in `previously`.
    """
    query = sa.select(outcome_groups).where(outcome_groups.c.id == group_id)
    row = dict(connection.execute(query).mappings().one())
    exited = not row["exited"]
    warned_s = outcome_records.warned_seconds(row["first_high_at"], facts.now, exited=exited)
    del row["id"]
    changed = row | {
        "run_id": facts.run_id, "known_at": facts.now, "exited": exited,
        "previously": row["exited"], "warned_s": warned_s, "counts": None,
    }  # fmt: skip
    return insert_groups(connection, [changed])[0]


def correct(
    engine: Engine, clients: Sequence[str], group_ids: Sequence[int], facts: JoinFacts
) -> None:
    """Turn the outcomes of clients in some groups, in short transactions.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The records.
    clients : sequence of str
        The clients.
    group_ids : sequence of int
        The group of each client's outcome.
    facts : JoinFacts
        The run.
    """
    outcome, copies = client_outcomes.c, dict[int, int]()
    # Those of a group stand together, so that few groups are copied in a transaction.
    pairs = sorted(zip(group_ids, clients, strict=True))
    for start in range(0, len(pairs), BATCH_CORRECTIONS):
        part = pairs[start : start + BATCH_CORRECTIONS]
        with database.writing(engine, is_one_of_many=True) as connection:
            for group_id, of_group in groupby(part, itemgetter(0)):
                if group_id not in copies:
                    copies[group_id] = copy_corrected(connection, group_id, facts)
                # The sum keeps SQLite from the index of the group, which has thousands of clients.
                mine = sa.and_(
                    outcome.group_id + 0 == group_id,
                    outcome.client.in_([client for _, client in of_group]),
                )
                moved = client_outcomes.update().where(mine)
                connection.execute(moved.values(group_id=copies[group_id]))
                both = outcome_groups.c.id.in_([group_id, copies[group_id]])
                connection.execute(outcome_groups.update().where(both).values(counts=None))
    with database.writing(engine) as connection:
        connection.execute(outcome_groups.delete().where(outcome_records.IS_EMPTY))
