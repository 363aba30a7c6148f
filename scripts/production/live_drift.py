"""Whether the rows that production is asked about are like those that it was trained on."""

import logging
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
from sqlalchemy.engine import Engine

from scripts.core import artifacts, files
from scripts.core.config import Config, Schema
from scripts.model import drift
from scripts.model.drift import DataDrift
from scripts.production import monitor
from scripts.production.run_context import RunContext
from scripts.records import database, predictions, runs

# Differences of any consequence are seen in so many rows, and what began last week is not drowned.
MAX_ROWS = 5_000

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LiveDriftResult:
    """What was found of the rows that a release was asked about, `n_logged` of them."""

    release: str
    model_stamp: str
    n_logged: int
    first_at: datetime
    last_at: datetime
    data: DataDrift


def last_of_each_client(rows: list[runs.Row]) -> list[runs.Row]:
    """Take the last row of each client who is known, and all others; rows are newest first."""
    seen: set[str] = set()
    kept = []
    for row in rows:
        if row["client"] is None or row["client"] not in seen:
            kept.append(row)
            seen.add(row["client"])
    return kept


def make_table(rows: list[runs.Row], schema: Schema) -> pd.DataFrame:
    """Make a table of the features out of logged rows."""
    values = [msgspec.json.decode(row["values"]) for row in rows]
    table = pd.DataFrame(values, columns=list(schema.features))
    return table.astype(dict.fromkeys(schema.numeric, "float64"))


def find(engine: Engine, context: RunContext) -> LiveDriftResult | None:
    """Compare the last logged rows with the dataset of production.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The records.
    context : RunContext
        Of the run.

    Returns
    -------
    LiveFindings or None
        None if nothing serves, predictions are not logged, or none has been.

    Notes
    -----
    README, section "The prediction log".
    """
    current = context.current_release()
    if current is None or context.config.api.log_predictions is None:
        return None
    with database.reading(engine) as connection:
        rows = predictions.recent_predictions(connection, current.name, MAX_ROWS)
    if not rows:
        return None
    clients = last_of_each_client(rows)
    table = make_table(clients, current.model.schema)
    return LiveDriftResult(
        release=current.name,
        model_stamp=current.manifest.model_stamp,
        n_logged=len(rows),
        first_at=rows[-1]["at"],
        last_at=rows[0]["at"],
        data=drift.compare_live(table, current.model),
    )


def describe(found: LiveDriftResult) -> str:
    """Say in one sentence whether live rows differ from the dataset."""
    return f"live rows of release {found.release}: {monitor.describe_data(found.data)}"


def as_members(found: LiveDriftResult | None) -> dict[str, Any] | None:
    """Give what was found as a member of the diagnostics; None if there is nothing to compare."""
    if found is None:
        return None
    return {
        "release": found.release,
        "n_logged": found.n_logged,
        "first_at": found.first_at.isoformat(),
        "last_at": found.last_at.isoformat(),
        **monitor.data_members(found.data),
    }


def renew_diagnostics(path: Path, found: LiveDriftResult) -> None:
    """Put what was found into the diagnostics as last measured, if there are any."""
    try:
        measured: dict[str, Any] = msgspec.json.decode(path.read_bytes(), type=dict)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        # The next measuring makes them whole again.
        return
    content = msgspec.json.encode(measured | {"live": as_members(found)})
    files.write_whole(path, msgspec.json.format(content) + b"\n")


def main(
    config: Config, *, engine: Engine, context: RunContext | None = None
) -> LiveDriftResult | None:
    """Compare the last logged rows with the dataset of production, and note it for /diagnose."""
    found = find(engine, context or RunContext(config))
    if found is not None:
        level = logging.WARNING if found.data.drifted else logging.INFO
        log.log(level, "Compared %s.", describe(found))
        renew_diagnostics(config.prod_deployment_path / artifacts.DIAGNOSTICS, found)
    return found
