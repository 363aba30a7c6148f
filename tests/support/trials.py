"""Clients of a trial in the records, listed or held out, with their outcomes."""

from datetime import UTC, datetime, timedelta

from sqlalchemy.engine import Connection

from scripts.records import runs, trials
from tests.support.outcomes import insert_outcomes

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def record_trial(
    connection: Connection, *, held_out: bool, n_left: int, n_stayed: int, n_open: int = 0,
    period: str = "2026-08-01", band: str = "high",
) -> None:  # fmt: skip
    """Record clients of a trial with their outcomes."""
    run_id = runs.start_run(connection, NOW)
    start = datetime.fromisoformat(f"{period}T12:00:00+00:00")
    common = {
        "run_id": run_id, "scoring_id": 1, "probability": 0.5, "band": band, "position": 1,
    }  # fmt: skip
    names = [f"{period} {band} {held_out} {number}" for number in range(n_left + n_stayed + n_open)]
    trials.enrol(
        connection,
        [
            common | {
                "period": period, "until": "2027-01-01", "client": name, "is_held_out": held_out,
                "enrolled_at": start, "enrolled_on": period, "ends_at": start + timedelta(days=90),
            }
            for name in names
        ],
    )  # fmt: skip
    insert_outcomes(
        connection,
        [
            common | {
                "client": name, "known_at": NOW, "exited": number < n_left, "release": "r",
                "scored_at": start + timedelta(days=number % 80),
            }
            for number, name in enumerate(names[: n_left + n_stayed])
        ],
    )  # fmt: skip
