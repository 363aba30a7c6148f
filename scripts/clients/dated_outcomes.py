"""The join of dated outcomes to scores, by the period of the row.

A company may have a million clients, so the join works on columns, and a date on which nothing has
changed since the join before is passed over.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from msgspec import Struct, field
from numpy.typing import NDArray
from sqlalchemy.engine import Connection, Engine

from scripts.core import sentences
from scripts.data import client_dates, dataset
from scripts.data.dated_rows import CLIENT, DAY, LABEL, History
from scripts.records import (
    client_blocks,
    database,
    outcome_records,
    outcome_writer,
    scored_clients,
    scoring_records,
)
from scripts.records.outcome_writer import JoinFacts, OutcomeColumns
from scripts.records.runs import Row
from scripts.records.scored_clients import ScoredClients
from scripts.records.scoring_records import JoinedDate, JoinedOutcomes
from scripts.records.tables import client_outcomes, outcome_groups

# Buckets of clients read in one transaction.
N_BUCKETS = 64
COLUMNS = ("probability", "band", "position", "first_high_at")
# With more of the clients who stayed on no list, the others are no fair part of the period.
MAX_UNLISTED_FRACTION = 0.02

Flags = NDArray[np.bool_]

log = logging.getLogger(__name__)


class Joined(Struct, frozen=True):
    """The joined outcomes of a run.

    `left_before` has by date the clients who left in the period and are on no list of the date,
    since that was known when the first list of the date was made. `late_dates` are those whose
    first list was made so late that clients who left after the period are missing as well.
    """

    n_joined: int = 0
    n_corrected: int = 0
    left_before: Mapping[str, int] = field(default_factory=dict)
    late_dates: frozenset[str] = frozenset()


def digest_rows(rows: pd.DataFrame, *facts: object) -> str:
    """Return a digest of clients, days and outcomes in their order, and of some facts."""
    texts = pa.array(rows[CLIENT].astype("str"), pa.string())
    whole = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    together = pa.ListArray.from_arrays(pa.array([0, len(whole)], pa.int32()), whole)
    sha = hashlib.sha256(pc.binary_join(together, "\0")[0].as_buffer())
    for name in (DAY, LABEL):
        sha.update(rows[name].to_numpy(np.int64).tobytes())
    sha.update(repr(facts).encode())
    return sha.hexdigest()


def read_recorded(connection: Connection, day: str) -> pd.DataFrame:
    """Read the recorded outcomes of rows of a day: CLIENT, group_id, and LABEL."""
    outcome, group = client_outcomes.c, outcome_groups.c
    query = sa.select(outcome.client, outcome.group_id, group.exited)
    query = query.select_from(outcome_records.GROUPED).where(group.as_of == day)
    rows = connection.execute(query).all()
    clients, numbers, exited = zip(*rows, strict=True) if rows else ((), (), ())
    return pd.DataFrame(
        {
            CLIENT: pd.Series(clients, dtype="str"),
            "group_id": np.array(numbers, np.int64),
            LABEL: np.array(exited, np.int64),
        }
    )


def read_scores(engine: Engine, scoring_id: int) -> ScoredClients:
    """Read the scores of the clients on the list of a scoring, without their values."""
    with database.reading(engine) as connection:
        buckets = list(client_blocks.bucket_sizes(connection, scoring_id))
    parts = []
    for start in range(0, len(buckets), N_BUCKETS):
        part = buckets[start : start + N_BUCKETS]
        with database.reading(engine) as connection:
            parts.append(scored_clients.read_scores(connection, scoring_id, part, COLUMNS))
    return scored_clients.concatenate(parts) if parts else ScoredClients([], {})


def find_recorded(engine: Engine, rows: pd.DataFrame) -> Flags:
    """Return which rows of clients have a recorded outcome."""
    found, days = np.zeros(len(rows), np.bool_), rows[DAY].to_numpy(np.int64)
    for day in np.unique(days).tolist():
        with database.reading(engine) as connection:
            recorded = read_recorded(connection, client_dates.format_day(day))
        of_day = days == day
        found[of_day] = dataset.are_among(rows[CLIENT][of_day], recorded[CLIENT])
    return found


def record(
    engine: Engine, scored: ScoredClients, rows: pd.DataFrame, scoring: Row, facts: JoinFacts
) -> None:
    """Record the outcomes of scored clients, in short transactions.

    `scored` has the score of each of the `rows`.
    """
    n_rows, number = len(rows), scoring["id"]
    outcomes = OutcomeColumns(
        pa.array(scored.names, pa.large_string()),
        {name: scored.columns[name] for name in COLUMNS}
        | {
            "scoring_id": np.full(n_rows, number),
            "as_of": np.asarray(client_dates.format_days(rows[DAY].to_numpy()), object),
            "exited": rows[LABEL].to_numpy().astype(np.bool_),
        },
    )
    outcome_writer.write(engine, outcomes, {number: scoring}, facts)


def correct(engine: Engine, labelled: pd.DataFrame, facts: JoinFacts) -> int:
    """Replace the recorded outcomes of a day that a later file corrects, and count them.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The records.
    labelled : pandas.DataFrame of shape (n_rows, 3)
        The rows of the day with their outcomes.
    facts : JoinFacts
        The run.
    """
    with database.reading(engine) as connection:
        recorded = read_recorded(connection, client_dates.format_day(int(labelled[DAY].iloc[0])))
    both = recorded.merge(labelled[[CLIENT, LABEL]], on=CLIENT, suffixes=("", "_now"))
    changed = both[both[LABEL] != both[f"{LABEL}_now"]]
    if len(changed):
        outcome_writer.correct(
            engine, changed[CLIENT].tolist(), changed["group_id"].tolist(), facts
        )
    return len(changed)


def correct_days(
    engine: Engine, history: History, before: Mapping[str, str], facts: JoinFacts
) -> tuple[int, dict[str, str]]:
    """Correct the recorded outcomes of all days, and return their number, and a digest by day.

    A day with the digest of the join `before` is passed over.
    """
    with database.reading(engine) as connection:
        days = outcome_records.list_days(connection)
    n_corrected, digests = 0, dict[str, str]()
    for day in days:
        labelled = history.find_labelled([client_dates.iso_day(day)])
        digests[day] = digest_rows(labelled)
        if len(labelled) and before.get(day) != digests[day]:
            n_corrected += correct(engine, labelled, facts)
    return n_corrected, digests


def join_date(
    engine: Engine, scorings: Sequence[Row], found: pd.DataFrame, earlier: float, facts: JoinFacts
) -> int:
    """Record the outcomes of a date's scorings, and return their number.

    A client who is known to have left is not on the newest list of the date, so the score of
    such a client is that of an older list.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The records.
    scorings : sequence of mapping
        The scorings of the date, newest first.
    found : pandas.DataFrame of shape (n_clients, 3)
        Each client's row at the date with its outcome.
    earlier : float
        The date before. Leavers with rows up to it are of lists of that date.
    facts : JoinFacts
        The run.
    """
    n_joined, wanted = 0, found
    for scoring in scorings:
        if wanted.empty:
            break
        scored = read_scores(engine, scoring["id"])
        keys = pa.array(wanted[CLIENT].astype("str"), pa.large_string())
        names = pa.array(scored.names, pa.large_string())
        places = np.asarray(pc.index_in(keys, value_set=names).fill_null(-1))
        rows = wanted[places >= 0]
        is_new = ~find_recorded(engine, rows)
        record(engine, scored.select(places[places >= 0][is_new]), rows[is_new], scoring, facts)
        n_joined += int(is_new.sum())
        is_late = (wanted[LABEL].to_numpy() == 1) & (wanted[DAY].to_numpy() > earlier)
        wanted = wanted[(places < 0) & is_late]
    return n_joined


def describe_date(engine: Engine, found: pd.DataFrame, as_of: str, digest: str) -> JoinedDate:
    """Return what is known of a date after the join, with those who are on no list of the date."""
    labels = found[LABEL][found[DAY] == client_dates.iso_day(as_of)]
    with database.reading(engine) as connection:
        n_stays, n_exits = outcome_records.count_day(connection, as_of)
    n_left, n_stayed = int((labels == 1).sum()), int((labels == 0).sum())
    return JoinedDate(
        digest,
        n_left_before=max(0, n_left - n_exits),
        is_late=n_stayed - n_stays > MAX_UNLISTED_FRACTION * len(labels),
    )


def join(engine: Engine, history: History, facts: JoinFacts) -> Joined:
    """Join known outcomes to the scores of their periods, each once.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The records.
    history : History
        All rows with their outcomes.
    facts : JoinFacts
        The run.

    Returns
    -------
    Joined
        The number of joined outcomes, of corrected ones, and of those who had left before.
    """
    with database.reading(engine) as connection:
        dates = scoring_records.group_by_date(scoring_records.list_scorings(connection))
        known = scoring_records.read_joined(connection)
    n_corrected, digests = correct_days(engine, history, known.days, facts)
    n_joined, joined = 0, dict[str, JoinedDate]()
    for scorings, before in zip(dates, [*dates, None][1:], strict=True):
        as_of = scorings[0]["as_of"]
        found = history.find_period(client_dates.iso_day(as_of))
        digest = digest_rows(found, [row["id"] for row in scorings])
        if as_of in known.dates and known.dates[as_of].digest == digest:
            joined[as_of] = known.dates[as_of]
            continue
        earlier = client_dates.iso_day(before[0]["as_of"]) if before else -np.inf
        n_joined += join_date(engine, scorings, found, earlier, facts)
        joined[as_of] = describe_date(engine, found, as_of, digest)
    if n_joined or n_corrected:
        log.info(
            "Joined %s to the scores of their periods, and corrected %d.",
            sentences.count(n_joined, "outcome"), n_corrected,
        )  # fmt: skip
    scoring_records.record_joined(engine, facts.recorded_by, JoinedOutcomes(digests, joined))
    left_before = {date: of_date.n_left_before for date, of_date in joined.items()}
    late = frozenset(date for date, of_date in joined.items() if of_date.is_late)
    return Joined(n_joined, n_corrected, left_before, late)
