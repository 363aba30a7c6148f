"""Outcomes of version 25, put into groups: row for row, and counted as before."""

from datetime import UTC, datetime
from itertools import product
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import command
from sqlalchemy.engine import Connection

from scripts.clients import client_history
from scripts.model.outcome_metrics import OutcomeCounts
from scripts.records import database, migrations, outcome_records
from tests.support.outcomes import read_outcomes

MOMENT = "2026-07-01 08:00:00.250000"
LATER = "2026-08-01 08:00:01.500000"


def insert(connection: Connection, table: str, **values: Any) -> None:
    """Insert a row into a table of the earlier version."""
    columns = ", ".join(f'"{name}"' for name in values)
    places = ", ".join(f":{name}" for name in values)
    connection.execute(sa.text(f"INSERT INTO {table} ({columns}) VALUES ({places})"), values)


def make_old_records(connection: Connection) -> list[dict[str, Any]]:
    """Make outcomes of version 25, and recorded counts of them, and return the outcomes."""
    config = migrations.make_alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "0025")
    insert(connection, "runs", id=1, started_at=MOMENT, status="finished")
    kinds = product([True, False], ["low", "high"], [None, "2026-06-30"], [None, MOMENT])
    rows = []
    for number, (exited, band, as_of, high) in enumerate([*kinds] * 3, start=1):
        facts = {
            "run_id": 1, "scoring_id": None if number == 5 else 7, "client": f"ü{number % 20}",
            "as_of": as_of, "exited": exited, "release": "r7", "probability": number / 48,
            "band": band, "position": number,
            "warned_s": 2_678_401.25 if exited and high else None,
            "recorded_by": None, "previously": False if number == 9 else None,
        }  # fmt: skip
        moments = {"known_at": LATER, "scored_at": MOMENT, "first_high_at": high}
        insert(connection, "client_outcomes", id=2 * number, **facts, **moments)
        rows.append(facts | {name: as_moment(text) for name, text in moments.items()})
    counts = OutcomeCounts(n_outcomes=48, n_exits=24, n_listed=3, n_caught=3, deciles=[])
    insert(
        connection, "outcome_counts", n_listed=3, state="[96, 1, None]",
        content=msgspec.json.encode(counts),
    )  # fmt: skip
    return rows


def as_moment(text: str | None) -> datetime | None:
    """Return a moment as it is read."""
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_outcomes_are_put_into_groups_as_they_were(records_url: str) -> None:
    engine = database.make_engine(records_url, 5)
    with database.writing(engine) as connection:
        rows = make_old_records(connection)
    engine.dispose()

    with database.open_records(records_url) as engine:
        with database.reading(engine) as connection:
            found = read_outcomes(connection)
            recorded = outcome_records.find_counts(connection, 3)
            by_tenth = outcome_records.count_by_tenth(outcome_records.read_judged(connection))
            connection.execute(sa.text("UPDATE outcome_groups SET counts = NULL"))
            counted = client_history.count_all(connection, 3)
        with database.writing(engine) as connection:
            # New groups come after those that were taken over.
            known = read_outcomes(connection)[-1]["id"]
            copy = connection.execute(
                sa.text(
                    "INSERT INTO outcome_groups (run_id, known_at, exited, scored_at, release,"
                    " band) SELECT run_id, known_at, exited, scored_at, release, band FROM"
                    " outcome_groups WHERE id = :id RETURNING id"
                ),
                {"id": known},
            ).scalar_one()

    names = sorted(rows[0])
    key = [repr([row[name] for name in names]) for row in rows]
    assert sorted(repr([row[name] for name in names]) for row in found) == sorted(key)
    assert len({row["id"] for row in found}) == 18
    assert recorded is not None
    assert msgspec.json.decode(recorded, type=OutcomeCounts).n_outcomes == 48
    assert [tenth.n_clients for tenth in counted.deciles] == [n for _, n, _, _ in by_tenth]
    assert (counted.n_outcomes, counted.n_exits, counted.n_listed) == (48, 24, 3)
    assert copy > max(row["id"] for row in found)
