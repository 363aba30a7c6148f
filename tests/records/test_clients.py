"""Queries for the clients, on both databases."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.engine import Connection

from scripts.records import clients, database, runs, tables

NOW = datetime(2025, 1, 1, tzinfo=UTC)


def record(connection: Connection, number: int, *names: str, band: str = "low") -> int:
    """Record a scoring of a few clients with rising probabilities."""
    last = clients.last_scores(connection)
    run_id = runs.start_run(connection, NOW)
    stamp = f"stamp{number}"
    clients.record_model_content(connection, stamp, f"model {number}")
    scoring_id = clients.record_scoring(
        connection, run_id, scored_at=NOW + timedelta(days=number), release=f"r{number}",
        model_stamp=stamp, columns="[]", n_clients=len(names), n_without_data=0,
        n_test_rows=3, gains=b"\xa0",
    )  # fmt: skip
    clients.record_scores(
        connection,
        [
            {
                "scoring_id": scoring_id, "client": name, "position": position,
                "probability": position / 10, "band": band, "values": "[1.5,null]",
                "contributions": "[0.1,0.2]", "labels": "[]", "first_high_at": None,
                "previous_id": last[name]["id"] if name in last else None,
            }
            for position, name in enumerate(names, start=1)
        ],
    )  # fmt: skip
    return scoring_id


def settle(connection: Connection, client: str, exited: bool) -> None:
    """Record the outcome of a client's last score."""
    last = clients.last_scores(connection)[client]
    facts = {
        key: last[key]
        for key in (
            "client", "scored_at", "release", "probability", "band", "position", "first_high_at",
        )
    }  # fmt: skip
    run_id = runs.start_run(connection, NOW)
    clients.record_outcomes(
        connection,
        [facts | {"score_id": last["id"], "known_at": NOW, "exited": exited, "run_id": run_id}],
    )


def test_scores_come_back_as_they_were_recorded(records_url: str) -> None:
    with database.open_records(records_url) as engine, database.writing(engine) as connection:
        record(connection, 1, "a", "é 株")
        settle(connection, "a", exited=True)
    with database.open_records(records_url) as engine, database.reading(engine) as connection:
        scoring = clients.last_scoring(connection)
        last = clients.last_scores(connection)
        (ended,) = clients.list_outcomes(connection)

    assert scoring is not None
    assert (scoring["gains"], scoring["scored_at"]) == (b"\xa0", NOW + timedelta(days=1))
    assert {n: (r["probability"], r["values"], r["is_settled"]) for n, r in last.items()} == {
        "a": (0.1, "[1.5,null]", True),
        "é 株": (0.2, "[1.5,null]", False),
    }
    assert (ended["client"], ended["exited"], ended["known_at"]) == ("a", True, NOW)


def names_found(rows: list[Any]) -> list[str]:
    """Name the clients of rows."""
    return [row["client"] for row in rows]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("", ["Alpha", "beta", "50%_x"]),
        ("ALPHA", ["Alpha"]),
        ("a", ["Alpha", "beta"]),
        ("%_", ["50%_x"]),
        ("_", ["50%_x"]),
        ("\\", []),
        ("'", []),
    ],
)
def test_a_search_takes_every_character_as_itself(
    records_url: str, search: str, found: list[str]
) -> None:
    with database.open_records(records_url) as engine, database.writing(engine) as connection:
        scoring_id = record(connection, 1, "Alpha", "beta", "50%_x")

        rows = clients.list_clients(connection, scoring_id, limit=9, search=search)

        assert names_found(rows) == found
        assert clients.count_listed(connection, scoring_id, search) == len(found)


def test_each_client_knows_the_score_before(records_url: str) -> None:
    with database.open_records(records_url) as engine, database.writing(engine) as connection:
        record(connection, 1, "a", "b", "c")
        record(connection, 2, "a", "b")
        third = record(connection, 3, "c", "x", "b")

        rows = clients.list_clients(connection, third, limit=9)
        risen = clients.list_clients(connection, third, limit=9, order="rise")

    assert [(r["client"], r["previous_probability"]) for r in rows] == [
        ("c", 0.3), ("x", None), ("b", 0.2),
    ]  # fmt: skip
    assert rows[0]["previous_at"] == NOW + timedelta(days=1)
    # b rose by a tenth, x is new, c fell by two.
    assert names_found(risen) == ["b", "x", "c"]


def test_a_page_is_part_of_the_list(records_url: str) -> None:
    with database.open_records(records_url) as engine, database.writing(engine) as connection:
        scoring_id = record(connection, 1, *"abcdef")

        rows = clients.list_clients(connection, scoring_id, limit=2, offset=3)

    assert names_found(rows) == ["d", "e"]


def test_old_scores_go_and_the_last_one_of_each_client_stays(records_url: str) -> None:
    with database.open_records(records_url) as engine, database.writing(engine) as connection:
        record(connection, 1, "a", "gone")
        record(connection, 2, "a")
        record(connection, 3, "a")
        record(connection, 4, "a")

        n_removed = clients.forget_old_scores(connection, 2)

        history = clients.history_of_client(connection, "a", 9)
        kept = [row["release"] for row in runs.newest_rows(connection, tables.scorings, 9)]
        models = [clients.find_model_content(connection, f"stamp{n}") for n in (1, 2, 3, 4)]
        assert n_removed == 2
        assert [row["release"] for row in history] == ["r4", "r3"]
        # The first scoring is needed by the client who is gone.
        assert kept == ["r4", "r3", "r1"]
        assert models == ["model 1", None, "model 3", "model 4"]
        assert set(clients.last_scores(connection)) == {"a", "gone"}
        assert clients.forget_old_scores(connection, 2) == 0


def test_bands_are_counted(records_url: str) -> None:
    with database.open_records(records_url) as engine, database.writing(engine) as connection:
        scoring_id = record(connection, 1, "a", "b", band="no data")

        assert clients.count_bands(connection, scoring_id) == {"no data": 2}


def test_the_newest_outcome_of_a_client_comes_first(records_url: str) -> None:
    with database.open_records(records_url) as engine, database.writing(engine) as connection:
        record(connection, 1, "a")
        settle(connection, "a", exited=False)
        record(connection, 2, "a")
        settle(connection, "a", exited=True)

        outcomes = clients.outcomes_of_client(connection, "a")

    assert [(row["exited"], row["release"]) for row in outcomes] == [(True, "r2"), (False, "r1")]
