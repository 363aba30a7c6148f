"""Scores and outcomes of an earlier version, taken over into blocks."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from sqlalchemy.engine import Connection

from scripts.records import clients, database, migrations, scored_clients, scoring_records
from scripts.records.known_clients import KnownReader
from tests.support.recorded import last_scores, list_outcomes, read_bands, read_list

MODEL = {"schema": {"numeric": ["usage"], "categorical": ["plan"]}}
FIRST, SECOND, THIRD = (f"2025-0{month}-01 08:00:00.000000" for month in (1, 2, 3))


def insert(connection: Connection, table: str, **values: Any) -> None:
    """Insert a row into a table of the earlier version."""
    columns = ", ".join(f'"{name}"' for name in values)
    places = ", ".join(f":{name}" for name in values)
    connection.execute(sa.text(f"INSERT INTO {table} ({columns}) VALUES ({places})"), values)


def insert_score(connection: Connection, number: int, scoring_id: int, **facts: Any) -> None:
    """Insert a score, with two values and no label unless given."""
    usual: dict[str, Any] = {
        "position": 1, "band": "low", "values": '[7.5,"gold"]', "contributions": "[0,0]",
        "labels": "[]", "previous_id": None, "first_high_at": None,
    }  # fmt: skip
    insert(connection, "client_scores", id=number, scoring_id=scoring_id, **(usual | facts))


def make_old_records(connection: Connection) -> None:
    """Make records of version 5: three scorings, of which only one score of the first is left."""
    config = migrations.make_alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "0005")
    insert(connection, "runs", id=1, started_at=FIRST, status="finished")
    insert(connection, "scoring_models", stamp="s", content=json.dumps(MODEL))
    for number, (at, n_clients) in enumerate(((FIRST, 3), (SECOND, 2), (THIRD, 2)), start=1):
        insert(
            connection, "scorings", id=number, run_id=1, scored_at=at, release=f"r{number}",
            model_stamp="s", columns="[]", n_clients=n_clients, n_without_data=0, n_test_rows=1,
            gains=b"\x80",
        )  # fmt: skip
    insert_score(connection, 1, 1, client="gone", probability=0.7, band="high", labels="[3,1]")
    insert_score(connection, 2, 2, client="a", probability=0.2)
    insert_score(connection, 3, 2, client="ü", probability=0.1, position=2)
    insert_score(
        connection, 4, 3, client="a", probability=0.9, band="high", previous_id=2,
        first_high_at=THIRD, values='[null,""]', labels="[4000000000]",
    )  # fmt: skip
    insert_score(connection, 5, 3, client="b", probability=0.3, position=2)
    for score_id, client in ((3, "ü"), (99, "long ago")):
        insert(
            connection, "client_outcomes", run_id=1, score_id=score_id, client=client,
            known_at=THIRD, exited=True, scored_at=SECOND, release="r2", probability=0.1,
            band="low", position=2,
        )  # fmt: skip


@pytest.fixture
def taken_over(records_url: str) -> str:
    """The records after the migration."""
    engine = database.make_engine(records_url, 5)
    with database.writing(engine) as connection:
        make_old_records(connection)
    with database.open_records(records_url):
        pass
    engine.dispose()
    return records_url


def test_the_newest_list_is_read_as_before(taken_over: str) -> None:
    with database.open_records(taken_over) as engine, database.reading(engine) as connection:
        rows = read_list(connection, 3).rows
        by_rise = read_list(connection, 3, order="rise").rows
        bands = read_bands(connection, 3)

    a, b = rows
    assert [(row["client"], row["position"]) for row in rows] == [("a", 1), ("b", 2)]
    assert (a["probability"], a["previous_probability"], a["band"]) == (0.9, 0.2, "high")
    assert a["previous_at"] == datetime(2025, 2, 1, 8, tzinfo=UTC)
    assert a["first_high_at"] == datetime(2025, 3, 1, 8, tzinfo=UTC)
    assert (a["values"], b["values"]) == (
        {"usage": None, "plan": ""},
        {"usage": 7.5, "plan": "gold"},
    )
    assert [row["client"] for row in by_rise] == ["a", "b"]
    assert bands == {"high": 1, "low": 1}


def test_histories_and_last_scores_are_taken_over(taken_over: str) -> None:
    with database.open_records(taken_over) as engine, database.reading(engine) as connection:
        history = clients.history_of_client(connection, "a", 9)
        gone = clients.history_of_client(connection, "gone", 9)
        last = last_scores(connection)

    assert [(row["release"], row["probability"]) for row in history] == [("r3", 0.9), ("r2", 0.2)]
    assert [(row["release"], row["values"]["usage"]) for row in gone] == [("r1", 7.5)]
    assert {name: row["is_settled"] for name, row in last.items()} == {
        "a": False, "b": False, "gone": False, "ü": True,
    }  # fmt: skip


def test_known_labels_are_taken_over(taken_over: str) -> None:
    with database.open_records(taken_over) as engine:
        with database.reading(engine) as connection:
            scoring = scoring_records.last_scoring(connection)
        known = KnownReader(engine, scoring).read(0, 0)

    names = [known.scored.names[owner] for owner in known.labels.owners]
    labels = list(zip(names, known.labels.hashes.tolist(), strict=True))
    assert labels == [("a", 4000000000), ("gone", 1), ("gone", 3)]


def test_outcomes_are_taken_over(taken_over: str) -> None:
    with database.open_records(taken_over) as engine, database.reading(engine) as connection:
        outcomes = list_outcomes(connection)

    assert [(row["client"], row["scoring_id"], row["exited"]) for row in outcomes] == [
        ("ü", 2, True),
        ("long ago", None, True),
    ]


def test_what_was_taken_over_is_forgotten_in_time(taken_over: str) -> None:
    with database.open_records(taken_over) as engine:
        n_removed = scoring_records.forget_old_scores(engine, 1)
        with database.reading(engine) as connection:
            kept = [row["id"] for row in scoring_records.list_scorings(connection)]
            last = last_scores(connection)

    # The second and first scorings are those of clients that are gone.
    assert (n_removed, kept) == (2, [3, 2, 1])
    assert set(last) == {"a", "b", "gone", "ü"}


def test_moments_are_kept_to_the_microsecond() -> None:
    at = datetime(2025, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

    assert scored_clients.as_moment(scored_clients.as_microseconds(at)) == at
    assert scored_clients.as_moment(scored_clients.as_microseconds(None)) is None
