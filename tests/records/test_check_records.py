"""Sums for the checks of a run: outcomes beside predictions."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from scripts.records import check_records, client_work, database, outcome_records, runs
from scripts.records.tables import WorkKind, scorings
from tests.support.outcomes import insert_outcomes

SCORED = datetime(2026, 8, 1, 12, tzinfo=UTC)
KNOWN = SCORED + timedelta(days=40)
SCORING = {
    "is_whole": True, "scored_at": SCORED, "release": "r", "model_stamp": "m", "columns": "[]",
    "bits": 0, "n_clients": 6, "n_without_data": 0, "n_test_rows": 0, "gains": b"",
}  # fmt: skip


def test_clients_whom_somebody_tried_to_contact_do_not_judge_the_prediction(
    tmp_path: Path,
) -> None:
    outcome = {
        "scored_at": SCORED, "known_at": KNOWN, "release": "r", "probability": 0.5, "band": "high",
        "position": 1, "scoring_id": 1,
    }  # fmt: skip
    contacts = {
        "saved": (1, "saved"), "unreached": (2, "not reached"), "before": (-1, "reached"),
        "after": (41, "lost"),
    }  # fmt: skip
    names = [*contacts, "left", "stayed"]
    with (
        database.open_records(f"sqlite:///{tmp_path / 'a.db'}") as engine,
        database.writing(engine) as connection,
    ):
        run_id = runs.start_run(connection, KNOWN)
        connection.execute(scorings.insert().values(run_id=run_id, **SCORING))
        rows = [
            outcome | {"run_id": run_id, "client": name, "exited": name in ("left", "unreached")}
            for name in names
        ]
        insert_outcomes(connection, rows)
        work = {"actor": "ada", "contacted_by": "ada", "contacted_on": "2026-08-03"}
        client_work.record_work(
            connection,
            [
                work | {
                    "client": name, "kind": WorkKind.CONTACT, "result": result,
                    "at": SCORED + timedelta(days=days),
                }
                for name, (days, result) in contacts.items()
            ],
        )  # fmt: skip
        client_work.record_work(
            connection,
            [
                {"client": "left", "kind": WorkKind.ASSIGNMENT, "at": KNOWN, "actor": "ada",
                 "assigned_to": "bob"}
            ],
        )  # fmt: skip

        (sums,) = check_records.sum_outcomes(connection, run_id)

    assert (sums["n_scored"], sums["n_contacted"], sums["n_known"]) == (6, 2, 4)
    assert (int(sums["n_left"]), sums["sum_predicted"], sums["sum_variance"]) == (1, 2.0, 1.0)


def test_the_rows_of_a_day_are_one_list_for_the_shares_also_when_one_is_forgotten(
    tmp_path: Path,
) -> None:
    # Who had left by the second list is joined to the first one. Of another date there are more.
    outcome = {
        "scored_at": SCORED, "known_at": KNOWN, "release": "r", "probability": 0.25, "band": "low",
        "position": 1, "as_of": "2026-07-31",
    }  # fmt: skip
    with (
        database.open_records(f"sqlite:///{tmp_path / 'a.db'}") as engine,
        database.writing(engine) as connection,
    ):
        first, second = (runs.start_run(connection, KNOWN) for _ in range(2))
        # The second list has an upload of a later day.
        for run_id, day, n_clients in ((first, "2026-06-30", 9), (second, "2026-08-02", 5)):
            facts = {"run_id": run_id, "as_of": day, "n_clients": n_clients}
            connection.execute(scorings.insert().values(**SCORING | facts))
        rows = [
            outcome | {"run_id": first, "client": "old", "scoring_id": 1, "as_of": "2026-06-30",
                       "exited": False},
            # The list with this leaver is forgotten.
            outcome | {"run_id": first, "client": "left", "scoring_id": 9, "exited": True},
            outcome | {"run_id": second, "client": "stayed", "scoring_id": 2, "exited": False},
        ]  # fmt: skip
        insert_outcomes(connection, rows)

        (sums,) = check_records.sum_outcomes(connection, second)

    assert (sums["n_scored"], sums["n_known"], int(sums["n_left"])) == (5, 2, 1)


def test_the_outcome_of_the_newest_row_comes_first_whatever_was_recorded_first(
    tmp_path: Path,
) -> None:
    outcome = {
        "scored_at": SCORED, "known_at": KNOWN, "release": "r", "probability": 0.25, "band": "low",
        "position": 1, "client": "acme", "scoring_id": 1,
    }  # fmt: skip
    with (
        database.open_records(f"sqlite:///{tmp_path / 'a.db'}") as engine,
        database.writing(engine) as connection,
    ):
        run_id = runs.start_run(connection, KNOWN)
        rows = [
            outcome
            | {"run_id": run_id, "as_of": day, "exited": day is not None and day > "2026-07"}
            for day in (None, "2026-07-31", "2026-06-30")
        ]
        insert_outcomes(connection, rows)

        found = outcome_records.outcomes_of_client(connection, "acme")

    assert [row["as_of"] for row in found] == ["2026-07-31", "2026-06-30", None]
    assert found[0]["exited"]
