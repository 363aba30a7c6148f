"""Outcomes in groups: read back row for row, counted, killed, corrected, erased, and small."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.engine import Engine

from scripts.records import (
    client_blocks,
    database,
    erasing,
    outcome_records,
    outcome_writer,
    runs,
    scored_clients,
    tables,
)
from scripts.records.outcome_writer import JoinFacts, OutcomeColumns
from scripts.records.runs import Row
from scripts.records.scored_clients import NO_MOMENT
from scripts.records.tables import client_outcomes, outcome_groups
from tests.support.outcomes import read_outcomes

NOW = datetime(2026, 8, 1, 8, 30, 1, 250_000, tzinfo=UTC)
SCORINGS: dict[int, Row] = {
    number: {"scored_at": NOW - timedelta(days=9 - number), "release": f"r{number}"}
    for number in (1, 2)
}
WRITTEN = (
    "client", "probability", "position", "scoring_id", "as_of", "exited", "band", "first_high_at",
    "known_at", "scored_at", "release", "run_id", "recorded_by", "warned_s", "previously",
)  # fmt: skip


@pytest.fixture
def engine(records_url: str) -> Iterator[Engine]:
    """Records with a run and no outcome."""
    with database.open_records(records_url) as opened:
        with database.writing(opened) as connection:
            runs.start_run(connection, NOW)
        yield opened


def make_outcomes(n_clients: int, seed: int = 0) -> OutcomeColumns:
    """Return random outcomes with few different facts."""
    rng = np.random.default_rng(seed)

    def draw(*values: Any) -> NDArray[np.object_]:
        """Return a value of each client."""
        return np.array(values, object)[rng.integers(0, len(values), n_clients)]

    high = scored_clients.as_microseconds(NOW - timedelta(days=3, microseconds=7))
    return OutcomeColumns(
        pa.array([f"client {n}" for n in rng.permutation(n_clients)], pa.large_string()),
        {
            "probability": np.append(rng.random(n_clients - 2), [0.0, 1.0]),
            "position": rng.permutation(n_clients).astype(np.int32) + 1,
            "scoring_id": draw(1, 2).astype(np.int64),
            "as_of": draw(None, "2026-06-30", "2026-07-31"),
            "exited": draw(False, True).astype(np.bool_),
            "band": draw("low", "high"),
            "first_high_at": draw(NO_MOMENT, high).astype(np.int64),
        },
    )


def write(engine: Engine, outcomes: OutcomeColumns) -> None:
    """Write outcomes as the first run does."""
    outcome_writer.write(engine, outcomes, SCORINGS, JoinFacts(1, NOW, None))


def list_expected(outcomes: OutcomeColumns) -> list[list[Any]]:
    """Return the outcomes one by one, with all facts of the records."""
    rows = []
    columns = {name: column.tolist() for name, column in outcomes.columns.items()}
    for place, client in enumerate(outcomes.names.to_pylist()):
        row = {name: column[place] for name, column in columns.items()}
        first_high_at = scored_clients.as_moment(row["first_high_at"])
        warned = row["exited"] and first_high_at is not None
        row |= {
            **SCORINGS[row["scoring_id"]], "client": client, "first_high_at": first_high_at,
            "known_at": NOW, "run_id": 1, "recorded_by": None, "previously": None,
            "warned_s": 3 * 86_400 + 7e-6 if warned else None,
        }  # fmt: skip
        rows.append([row[name] for name in WRITTEN])
    return sorted(rows)


def read(engine: Engine) -> list[Row]:
    """Read all outcomes."""
    with database.reading(engine) as connection:
        return read_outcomes(connection)


def count_all(engine: Engine, n_listed: int = 10) -> list[Any]:
    """Return all counts over outcomes, with sums rounded."""
    with database.reading(engine) as connection:
        groups = outcome_records.read_judged(connection)
        tenths = outcome_records.count_by_tenth(groups)
        return [
            outcome_records.count_outcomes(connection, groups, n_listed),
            [(*tenth[:3], round(tenth[3], 9)) for tenth in tenths],
            outcome_records.measure_warning(groups),
        ]


def count_one_by_one(rows: list[Row], n_listed: int = 10) -> list[Any]:
    """Return the counts of `count_all` from the outcomes themselves."""
    last_stay = max((row["as_of"] or "" for row in rows if not row["exited"]), default="")
    rows = [row for row in rows if row["as_of"] is None or row["as_of"] <= last_stay]
    tenths = []
    for tenth in range(10):
        here = [row for row in rows if min(int(row["probability"] * 10), 9) == tenth]
        total = round(sum(row["probability"] for row in here), 9)
        tenths.append((tenth, len(here), sum(row["exited"] for row in here), total))
    listed = [row for row in rows if row["position"] <= n_listed]
    warned = [row["warned_s"] for row in rows if row["warned_s"] is not None]
    return [
        {
            "n_outcomes": len(rows), "n_exits": sum(row["exited"] for row in rows),
            "n_listed": len(listed), "n_caught": sum(row["exited"] for row in listed),
        },
        [each for each in tenths if each[1]],
        (len(warned), float(np.median(warned)) if warned else None),
    ]  # fmt: skip


def count_groups(engine: Engine, *, without_counts: bool = False) -> int:
    """Count the groups, or those without counts."""
    query = sa.select(sa.func.count()).select_from(outcome_groups)
    if without_counts:
        query = query.where(outcome_groups.c.counts.is_(None))
    with database.reading(engine) as connection:
        return int(connection.execute(query).scalar_one())


@pytest.mark.parametrize("group_size", [3, 10_000])
def test_outcomes_come_back_row_for_row_and_are_counted_as_one_by_one(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, group_size: int
) -> None:
    monkeypatch.setattr(outcome_writer, "GROUP_SIZE", group_size)
    monkeypatch.setattr(outcome_writer, "BATCH_GROUPS", 7)
    outcomes = make_outcomes(200)

    write(engine, outcomes)

    found = read(engine)
    assert sorted([row[name] for name in WRITTEN] for row in found) == list_expected(outcomes)
    sizes = np.unique([row["id"] for row in found], return_counts=True)[1]
    assert sizes.max() <= group_size
    assert count_all(engine) == count_one_by_one(found)
    # Beyond the first clients there is no index.
    monkeypatch.setattr(outcome_records, "N_FIRST", 5)
    assert count_all(engine) == count_one_by_one(found)


def test_no_outcome_is_no_group(engine: Engine) -> None:
    write(engine, outcome_writer.concatenate([outcome_writer.NO_OUTCOMES]))

    assert count_groups(engine) == 0
    assert count_all(engine)[2] == (0, None)


def test_what_a_killed_run_has_written_is_counted_and_its_counts_are_recorded_later(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert, written = client_blocks.insert_values, []

    def insert_some(*given: Any) -> None:
        """Write four transactions alone."""
        written.append(given)
        if len(written) > 4:
            raise KeyboardInterrupt
        insert(*given)

    monkeypatch.setattr(outcome_writer, "WRITTEN_BYTES", client_blocks.BATCH_BYTES // 10)
    monkeypatch.setattr(client_blocks, "insert_values", insert_some)
    with pytest.raises(KeyboardInterrupt):
        write(engine, make_outcomes(100))

    found = read(engine)
    before = count_all(engine)
    outcome_records.record_group_counts(engine)

    assert len(found) == 40
    assert count_groups(engine, without_counts=True) == 0
    assert before == count_all(engine) == count_one_by_one(found)


def test_a_stay_without_outcomes_makes_no_exit_of_its_day_count(engine: Engine) -> None:
    outcomes = make_outcomes(50)
    write(engine, outcomes)
    with database.writing(engine) as connection:
        late = outcome_groups.c.as_of == "2026-07-31"
        stays = sa.select(outcome_groups.c.id).where(late, ~outcome_groups.c.exited)
        gone = client_outcomes.delete().where(client_outcomes.c.group_id.in_(stays))
        connection.execute(gone)
        connection.execute(outcome_groups.update().values(counts=None))

    assert count_all(engine) == count_one_by_one(read(engine))


def test_damaged_counts_are_counted(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    write(engine, make_outcomes(50))
    with database.writing(engine) as connection:
        connection.execute(outcome_groups.update().values(counts=b'[[1,"x"]]'))

    assert count_all(engine) == count_one_by_one(read(engine))
    assert "The counts of a group of outcomes are damaged" in caplog.text


def test_corrections_turn_outcomes_and_the_counts_stay_true(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcome_writer, "BATCH_CORRECTIONS", 4)
    write(engine, make_outcomes(120))
    before = {row["client"]: row for row in read(engine)}
    chosen = [row for row in before.values() if row["band"] == "high"]
    now = NOW + timedelta(days=1)

    outcome_writer.correct(
        engine, [row["client"] for row in chosen], [row["id"] for row in chosen],
        JoinFacts(1, now, None),
    )  # fmt: skip

    after = {row["client"]: row for row in read(engine)}
    assert after.keys() == before.keys()
    for client, row in after.items():
        turned = row["band"] == "high"
        assert row["exited"] is (before[client]["exited"] is not turned)
        assert row["previously"] is (before[client]["exited"] if turned else None)
        assert row["known_at"] == (now if turned else NOW)
        kept = ("probability", "position", "scoring_id", "as_of", "first_high_at", "release")
        assert [row[name] for name in kept] == [before[client][name] for name in kept]
    assert count_all(engine) == count_one_by_one([*after.values()])
    # The groups are those with outcomes.
    assert count_groups(engine) == len({row["id"] for row in after.values()})


def test_an_erased_client_is_in_no_count(engine: Engine) -> None:
    write(engine, make_outcomes(12, seed=3))

    for number in range(6):
        assert erasing.erase_rows(engine, f"client {number}")["client_outcomes"] == 1

    found = read(engine)
    assert {row["client"] for row in found} == {f"client {number}" for number in range(6, 12)}
    assert count_groups(engine) == len({row["id"] for row in found})
    assert count_all(engine) == count_one_by_one(found)


def test_groups_are_removed_with_their_outcomes(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcome_records, "BATCH_OUTCOMES", 9)
    monkeypatch.setattr(outcome_records, "BATCH_GROUPS", 2)
    write(engine, make_outcomes(60))
    before = read(engine)

    n_removed = outcome_records.remove_groups(engine, outcome_groups.c.as_of == "2026-06-30")

    kept = [row for row in before if row["as_of"] != "2026-06-30"]
    assert n_removed == len(before) - len(kept)
    assert sorted(row["client"] for row in read(engine)) == sorted(row["client"] for row in kept)
    assert outcome_records.remove_groups(engine, outcome_groups.c.as_of == "2026-06-30") == 0


def test_old_outcomes_are_forgotten_unless_their_scores_are_kept(engine: Engine) -> None:
    write(engine, make_outcomes(60))
    before = read(engine)
    with database.writing(engine) as connection:
        early = outcome_groups.c.as_of == "2026-06-30"
        known_at = NOW - timedelta(days=100)
        connection.execute(outcome_groups.update().where(early).values(known_at=known_at))
        block = {"kind": tables.BlockKind.SCORES, "bucket": 0, "n_clients": 1, "content": b""}
        connection.execute(tables.client_blocks.insert().values(scoring_id=2, **block))
        outcome_records.record_counts(connection, 10, b"{}", "state")

    n_kept_all = outcome_records.forget_old(engine, NOW - timedelta(days=101))
    n_removed = outcome_records.forget_old(engine, NOW - timedelta(days=99))

    found = read(engine)
    is_old = [row["as_of"] == "2026-06-30" and row["scoring_id"] == 1 for row in before]
    assert (n_kept_all, n_removed) == (0, sum(is_old))
    kept = {row["client"] for row, old in zip(before, is_old, strict=True) if not old}
    assert {row["client"] for row in found} == kept
    assert count_all(engine) == count_one_by_one(found)
    with database.reading(engine) as connection:
        assert connection.execute(sa.select(tables.outcome_counts)).first() is None


def test_an_outcome_takes_little_room_with_its_indexes(engine: Engine) -> None:
    n_outcomes = 20_000
    outcomes = make_outcomes(n_outcomes)
    # Of many clients nearly all are behind the first ones.
    outcomes.columns["position"] += tables.N_FIRST
    write(engine, outcomes)

    with database.reading(engine) as connection:
        if engine.dialect.name == "sqlite":
            query = "SELECT SUM(pgsize) FROM dbstat WHERE name LIKE '%outcome%'"
        else:
            query = (
                "SELECT PG_TOTAL_RELATION_SIZE('client_outcomes')"
                " + PG_TOTAL_RELATION_SIZE('outcome_groups')"
            )
        n_bytes = connection.execute(sa.text(query)).scalar_one()
    # On PostgreSQL the maps of free space and the pages of the indexes of 48 groups count as well.
    assert n_bytes / n_outcomes < (90 if engine.dialect.name == "sqlite" else 120)
