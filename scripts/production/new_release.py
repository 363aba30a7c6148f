"""Records the start of a new release: the score, and the alert states of the release before."""

from datetime import datetime

from sqlalchemy.engine import Connection

from scripts.records import alert_states, runs
from scripts.records.alert_states import OK

LIVE = "live"


def record_new_release(
    connection: Connection, run_id: int, release: str, now: datetime, **score: float | int | None
) -> None:
    """Record the F1 of a new release, and reset the alert states of the previous release.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction.
    run_id : int
        The run that trained it.
    release : str
        The name of the release, trained on the newest data.
    now : datetime
        The present.
    **score : float, int or None
        `f1`, `f1_low`, `f1_high` and `n_rows` of the test data.
    """
    runs.record_production_score(connection, run_id, release, **score)
    detail = f"release {release}, trained on the newest data, serves"
    # Where predictions are not logged, live rows have no state.
    watched = [LIVE] if alert_states.current_state(connection, LIVE) else []
    for name in ("data", "model", *watched):
        alert_states.record_change(connection, name, OK, at=now, detail=detail, run_id=run_id)
