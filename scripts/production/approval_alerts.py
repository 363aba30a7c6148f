"""Alerts about a candidate pending for approval, with a reminder after a day."""

from datetime import datetime, timedelta

from sqlalchemy.engine import Connection, Engine

from scripts.records import alert_states, approvals, database
from scripts.records.alert_states import OK
from scripts.records.runs import Row

NAME = "approval"
REMIND_AFTER = timedelta(days=1)
COMMANDS = (
    "python -m scripts.promotion approve {0} --reason TEXT, or reject {0} --reason TEXT; or the"
    " page /dashboard/candidate"
)


def record_waiting(
    connection: Connection, release: str, run_id: int | None, at: datetime, reason: str
) -> None:
    """Record a pending candidate, and so cause an alert."""
    detail = f"release {release} waits for approval ({reason}): {COMMANDS.format(release)}"
    state = f"{release} waits"
    alert_states.record_change(connection, NAME, state, at=at, detail=detail, run_id=run_id)


def record_decided(connection: Connection, entry: Row, at: datetime, detail: str) -> None:
    """Record the end of the wait for approval."""
    alert_states.record_change(connection, NAME, OK, at=at, detail=detail, run_id=entry["run_id"])


def record_reminder(engine: Engine, now: datetime) -> None:
    """Record a reminder of a candidate pending for a day, once per candidate."""
    with database.reading(engine) as connection:
        waiting = approvals.find_waiting(connection)
        before = alert_states.current_state(connection, NAME)
    if waiting is None or now - waiting["at"] < REMIND_AFTER:
        return
    state = f"{waiting['release']} still waits"
    if before is not None and before["state"] == state:
        return
    detail = (
        f"release {waiting['release']} has waited for approval since"
        f" {waiting['at']:%Y-%m-%d %H:%M} UTC: {COMMANDS.format(waiting['release'])}"
    )
    with database.writing(engine) as connection:
        alert_states.record_change(
            connection, NAME, state, at=now, detail=detail, run_id=waiting["run_id"]
        )
