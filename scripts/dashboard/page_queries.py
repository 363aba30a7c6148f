"""What one look answers: is it healthy, what serves, what happened, what is next, whom to call."""

from typing import Any

from sqlalchemy.engine import Connection

from scripts.clients import client_history, worklist
from scripts.core.config import WorklistSettings
from scripts.records import alert_states, runs
from scripts.records.runs import Row

N_TOP, N_RUNS = 5, 6
# What is watched, and how it is called on the page.
WATCHED = {"data": "Input data", "model": "Model in production", "run": "Runs"}


def find_states(connection: Connection) -> list[Row]:
    """List what is watched, and how it is; None before the first look."""
    known = {row["name"]: row for row in alert_states.list_states(connection)}
    return [
        {"name": name, "title": title, "state": None, "since": None} | dict(known.get(name, {}))
        for name, title in WATCHED.items()
    ]


def find_evidence(connection: Connection, model_stamp: str | None) -> dict[str, Row | None]:
    """Find what the records say of the model that serves: its scores and why it was let serve."""
    decisions = runs.list_decisions(connection, 200)
    found = [row for row in decisions if row["candidate_stamp"] == model_stamp]
    return {
        "model": None if model_stamp is None else runs.find_model(connection, model_stamp),
        "decision": found[0] if found else None,
    }


def find_overview(
    connection: Connection, settings: WorklistSettings, release: str | None, stamp: str | None
) -> dict[str, Any]:
    """Find what the overview shows of the records.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    settings : WorklistSettings
        How many clients the team can call.
    release, stamp : str or None
        The release that serves, and its model.

    Returns
    -------
    dict
        By the names of the template.
    """
    served = runs.list_deployments(connection, 100)
    return {
        **find_evidence(connection, stamp),
        "deployment": next((row for row in served if row["release"] == release), None),
        "runs": runs.latest_runs(connection, N_RUNS),
        "states": find_states(connection),
        "worklist": worklist.worklist_page(connection, settings, top=N_TOP),
        "outcomes": client_history.outcomes_page(connection, settings),
    }
