"""The join of dated outcomes to scores: once, corrected, and passed over while nothing changes."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from sqlalchemy.engine import Engine

from scripts.clients import client_history, dated_outcomes, worklist
from scripts.clients.dated_outcomes import Joined
from scripts.core.config import Config, WorklistSettings
from scripts.core.errors import RecordsError
from scripts.data import client_dates
from scripts.data.dated_rows import CLIENT, DAY, LABEL, TableHistory
from scripts.production import card_records
from scripts.records import (
    client_blocks,
    database,
    outcome_records,
    outcome_writer,
    runs,
    scoring_records,
)
from scripts.records.outcome_writer import JoinFacts
from scripts.records.tables import outcome_counts, scorings
from tests.support import outcomes
from tests.support.clientele import CLIENTS, FIRST, put_clients, score, serve

LISTED = "2025-01-31"


@pytest.fixture
def engine(config: Config, records_url: str) -> Iterator[Engine]:
    """The records with one list, as of a date."""
    config = msgspec.structs.replace(config, database_url=records_url)
    serve(config, FIRST)
    put_clients(config, CLIENTS)
    score(config)
    with database.open_records(config.database_url) as engine:
        with database.writing(engine) as connection:
            connection.execute(scorings.update().values(as_of=LISTED))
        yield engine


def make_history(*rows: tuple[str, str, int]) -> TableHistory:
    """Return outcomes by client and day."""
    clients, days, labels = zip(*sorted(rows), strict=True)
    return TableHistory(
        pd.DataFrame(
            {
                CLIENT: pd.Series(clients, dtype="str"),
                DAY: np.array([client_dates.iso_day(day) for day in days]),
                LABEL: np.array(labels, np.int64),
            }
        )
    )


def join(engine: Engine, history: TableHistory) -> Joined:
    """Join the outcomes as a run of its own does."""
    with database.writing(engine) as connection:
        run_id = runs.start_run(connection, datetime.now(UTC))
    return dated_outcomes.join(engine, history, JoinFacts(run_id, datetime.now(UTC), 1))


def read_outcomes(engine: Engine) -> dict[str, tuple[bool, bool | None]]:
    """Return by client the outcome, and the one before a correction."""
    with database.reading(engine) as connection:
        rows = outcomes.read_outcomes(connection)
    return {row["client"]: (row["exited"], row["previously"]) for row in rows}


def refuse(*given: Any, **named: Any) -> Any:
    """Fail, in place of a function that should not be called."""
    raise AssertionError


def test_what_is_joined_already_is_not_read_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = make_history(("x", LISTED, 1), ("y", LISTED, 0), ("gone", LISTED, 1))
    first = join(engine, history)
    second = join(engine, history)
    for name in ("read_recorded", "read_scores"):
        monkeypatch.setattr(dated_outcomes, name, refuse)

    third = join(engine, history)

    assert (first.n_joined, second.n_joined, third.n_joined) == (2, 0, 0)
    # The client who had left before the list was made is counted by each run.
    assert {LISTED: 1} == first.left_before == second.left_before == third.left_before
    assert read_outcomes(engine) == {"x": (True, None), "y": (False, None)}


def test_corrections_that_keep_the_counts_are_found(engine: Engine) -> None:
    join(engine, make_history(("x", LISTED, 1), ("y", LISTED, 0)))

    found = join(engine, make_history(("x", LISTED, 0), ("y", LISTED, 1)))

    assert (found.n_joined, found.n_corrected) == (0, 2)
    assert read_outcomes(engine) == {"x": (False, True), "y": (True, False)}


def test_later_outcomes_of_a_date_join_as_well(engine: Engine) -> None:
    join(engine, make_history(("x", LISTED, 1)))

    found = join(engine, make_history(("x", LISTED, 1), ("y", LISTED, 0), ("z", LISTED, 0)))

    assert found.n_joined == 2
    assert read_outcomes(engine) == {"x": (True, None), "y": (False, None), "z": (False, None)}


def test_a_list_is_late_by_the_clients_of_its_date_and_not_by_earlier_leavers(
    engine: Engine,
) -> None:
    unlisted = [(f"u{n}", LISTED, 0) for n in range(30)]
    left = [(f"g{n}", "2020-01-31", 1) for n in range(2_000)]

    found = join(engine, make_history(("x", LISTED, 1), ("y", LISTED, 0), *unlisted, *left))

    assert found.late_dates == {LISTED}


def test_a_join_that_was_killed_is_completed_by_the_next_run(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = make_history(("x", LISTED, 1), ("y", LISTED, 0), ("z", LISTED, 0))
    insert, n_written = client_blocks.insert_values, 0

    def insert_once(*given: Any) -> None:
        """Write the first batch alone."""
        nonlocal n_written
        n_written += 1
        if n_written > 1:
            raise RecordsError("killed")
        insert(*given)

    with monkeypatch.context() as patch:
        patch.setattr(outcome_writer, "WRITTEN_BYTES", client_blocks.BATCH_BYTES)
        patch.setattr(client_blocks, "insert_values", insert_once)
        with pytest.raises(RecordsError, match="killed"):
            join(engine, history)
    assert len(read_outcomes(engine)) == 1

    assert join(engine, history).n_joined == 2
    assert len(read_outcomes(engine)) == 3


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff"])
def test_a_damaged_record_of_the_join_or_of_the_counts_is_made_anew(
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    content: bytes,
) -> None:
    history, settings = make_history(("x", LISTED, 1), ("y", LISTED, 0)), WorklistSettings()
    monkeypatch.setattr(outcome_records, "MANY_OUTCOMES", 1)
    join(engine, history)
    client_history.record_counts(engine, settings)
    with database.writing(engine) as connection:
        connection.execute(scorings.update().values(joined=content))
        connection.execute(outcome_counts.update().values(content=content))

    with database.reading(engine) as connection:
        shown = client_history.outcomes_page(connection, settings)
    found = join(engine, history)
    client_history.record_counts(engine, settings)

    assert (shown.n_outcomes, found.n_joined, found.n_corrected) == (2, 0, 0)
    assert caplog.text.count("damaged") == 3
    with database.reading(engine) as connection:
        assert client_history.read_counts(connection, worklist.list_length(settings)) is not None
        assert LISTED in scoring_records.read_joined(connection).dates


def test_another_history_has_another_digest() -> None:
    digests = {
        dated_outcomes.digest_rows(history.table)
        for history in (
            make_history(("a", LISTED, 0), ("b", LISTED, 1)),
            make_history(("a", LISTED, 1), ("b", LISTED, 0)),
            make_history(("a", LISTED, 0), ("b", "2025-01-30", 1)),
            make_history(("ab", LISTED, 0), ("c", LISTED, 1)),
        )
    }
    empty = make_history(("a", LISTED, 0)).table[:0]

    assert len(digests | {dated_outcomes.digest_rows(empty)}) == 5


def test_the_counts_over_many_outcomes_are_those_that_the_run_has_recorded(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, n_listed = WorklistSettings(), worklist.list_length(WorklistSettings())
    monkeypatch.setattr(outcome_records, "MANY_OUTCOMES", 1)
    join(engine, make_history(("x", LISTED, 1), ("y", LISTED, 0)))
    client_history.record_counts(engine, settings)
    with database.reading(engine) as connection:
        counted = client_history.count_all(connection, n_listed)

    with monkeypatch.context() as patch, database.reading(engine) as connection:
        patch.setattr(outcome_records, "read_groups", refuse)
        recorded = client_history.count_outcomes(connection, n_listed)
        on_card = card_records.read_realised(connection)
    join(engine, make_history(("x", LISTED, 0), ("y", LISTED, 0), ("z", LISTED, 0)))
    with database.reading(engine) as connection:
        later = client_history.count_outcomes(connection, n_listed)
        other = client_history.count_outcomes(connection, n_listed + 1)

    assert recorded == counted
    assert on_card is not None
    assert (on_card.n_outcomes, on_card.realised) == (2, 0.5)
    assert (counted.n_outcomes, counted.n_exits) == (2, 1)
    assert (later.n_outcomes, later.n_exits) == (other.n_outcomes, other.n_exits) == (3, 0)
