"""Queries for the clients, on both databases."""

from datetime import timedelta
from typing import Any

import pytest

from scripts.records import clients, database, outcome_records, runs, scoring_records, tables
from tests.support.recorded import (
    NOW,
    last_scores,
    list_outcomes,
    read_bands,
    read_list,
    record_outcome,
    record_scoring,
)


def test_scores_come_back_as_they_were_recorded(records_url: str) -> None:
    with database.open_records(records_url) as engine:
        record_scoring(engine, 1, "a", "é 株")
        record_outcome(engine, "a", exited=True)
    with database.open_records(records_url) as engine, database.reading(engine) as connection:
        scoring = scoring_records.last_scoring(connection)
        last = last_scores(connection)
        (ended,) = list_outcomes(connection)

    assert scoring is not None
    assert (scoring["gains"], scoring["scored_at"]) == (b"\xa0", NOW + timedelta(days=1))
    assert {n: (r["probability"], r["values"], r["is_settled"]) for n, r in last.items()} == {
        "a": (0.1, {"a": 1.5, "b": None, "c": "gold"}, True),
        "é 株": (0.2, {"a": 1.5, "b": None, "c": "gold"}, False),
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
    with database.open_records(records_url) as engine:
        scoring_id = record_scoring(engine, 1, "Alpha", "beta", "50%_x")

        with database.reading(engine) as connection:
            part = read_list(connection, scoring_id, search=search)

    assert names_found(part.rows) == found
    assert part.n_found == len(found)


def test_each_client_knows_the_score_before(records_url: str) -> None:
    with database.open_records(records_url) as engine:
        record_scoring(engine, 1, "a", "b", "c")
        record_scoring(engine, 2, "a", "b")
        third = record_scoring(engine, 3, "c", "x", "b")

        with database.reading(engine) as connection:
            rows = read_list(connection, third).rows
            risen = read_list(connection, third, order="rise").rows

    assert [(r["client"], r["previous_probability"]) for r in rows] == [
        ("c", 0.3), ("x", None), ("b", 0.2),
    ]  # fmt: skip
    assert rows[0]["previous_at"] == NOW + timedelta(days=1)
    # b rose by a tenth, x is new, c fell by two.
    assert names_found(risen) == ["b", "x", "c"]


def test_a_page_is_part_of_the_list(records_url: str) -> None:
    with database.open_records(records_url) as engine:
        scoring_id = record_scoring(engine, 1, *"abcdef")

        with database.reading(engine) as connection:
            rows = read_list(connection, scoring_id, 2, offset=3).rows

    assert names_found(rows) == ["d", "e"]


def test_old_scores_go_and_the_last_one_of_each_client_stays(records_url: str) -> None:
    with database.open_records(records_url) as engine:
        record_scoring(engine, 1, "a", "gone")
        record_scoring(engine, 2, "a")
        record_scoring(engine, 3, "a")
        record_scoring(engine, 4, "a")

        n_removed = scoring_records.forget_old_scores(engine, 2)

        with database.reading(engine) as connection:
            history = clients.history_of_client(connection, "a", 9)
            last_of_gone = clients.history_of_client(connection, "gone", 9)
            kept = [row["release"] for row in runs.newest_rows(connection, tables.scorings, 9)]
            models = [
                scoring_records.find_model_content(connection, f"stamp{n}") for n in (1, 2, 3, 4)
            ]
            last = last_scores(connection)
        assert scoring_records.forget_old_scores(engine, 2) == 0
    assert n_removed == 3
    assert [row["release"] for row in history] == ["r4", "r3"]
    # The first scoring is needed by the client who is gone.
    assert kept == ["r4", "r3", "r1"]
    assert models == ["model 1", None, "model 3", "model 4"]
    assert set(last) == {"a", "gone"}
    assert [(row["release"], row["values"]["a"]) for row in last_of_gone] == [("r1", 1.5)]


def test_bands_are_counted(records_url: str) -> None:
    with database.open_records(records_url) as engine:
        scoring_id = record_scoring(engine, 1, "a", "b", band="no data")

        with database.reading(engine) as connection:
            assert read_bands(connection, scoring_id) == {"no data": 2}


def test_the_newest_outcome_of_a_client_comes_first(records_url: str) -> None:
    with database.open_records(records_url) as engine:
        record_scoring(engine, 1, "a")
        record_outcome(engine, "a", exited=False)
        record_scoring(engine, 2, "a")
        record_outcome(engine, "a", exited=True)

        with database.reading(engine) as connection:
            outcomes = outcome_records.outcomes_of_client(connection, "a")

    assert [(row["exited"], row["release"]) for row in outcomes] == [(True, "r2"), (False, "r1")]
