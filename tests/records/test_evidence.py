"""How often the same test rows have judged a candidate."""

from datetime import UTC, datetime

from sqlalchemy.engine import Connection

from scripts.records import database, evidence, runs
from scripts.records.tables import FileRole

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def run_with_tests(connection: Connection, *contents: str, decides: bool = True) -> int:
    """Record a run with test files of some contents."""
    run_id = runs.start_run(connection, NOW)
    rows = [
        {"role": role, "path": content, "sha256": content, "n_bytes": 1}
        for role, content in [(FileRole.INPUT, "in"), *((FileRole.TEST, c) for c in contents)]
    ]
    runs.record_files(connection, run_id, rows)
    if decides:
        runs.record_decision(connection, run_id, NOW, answer="hold", reason="")
    return run_id


def test_each_decision_on_the_same_files_counts_and_the_most_used_file_decides(
    records_url: str,
) -> None:
    with (
        database.open_records(records_url) as engine,
        database.writing(engine) as connection,
    ):
        first = run_with_tests(connection, "a")
        second = run_with_tests(connection, "a")
        run_with_tests(connection, "a", decides=False)
        added = run_with_tests(connection, "a", "b")
        fresh = run_with_tests(connection, "c")

        counts = {
            run_id: evidence.count_judged(connection, run_id)
            for run_id in (first, second, added, fresh)
        }

    # The other decisions on `a` are two; a run without a decision has judged nothing.
    assert counts == {first: 3, second: 3, added: 3, fresh: 1}
