"""The recorded changes of the settings."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from scripts.records import audit_records, database, runs
from scripts.records.tables import Status, Verdict, config_changes

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_equal_settings_are_no_change_and_the_change_outlives_the_run_that_found_it(
    records_url: str,
) -> None:
    with (
        database.open_records(records_url) as engine,
        database.writing(engine) as connection,
    ):
        for number, limit in enumerate([1, 1, 7, 7]):
            run_id = runs.start_run(connection, NOW + timedelta(hours=number))
            audit_records.record_settings(connection, run_id, NOW, "ada", {"limit": limit})
            runs.end_run(connection, run_id, status=Status.FINISHED, verdict=Verdict.NOTHING_NEW)

        assert runs.forget_old_runs(connection, 1) == 3
        found = connection.execute(
            sa.select(config_changes.c.run_id, config_changes.c.reason)
        ).all()

    assert [tuple(row) for row in found] == [
        (None, "the first recorded settings"),
        (None, "limit: 1 -> 7"),
    ]
