"""Drift of the live rows: the logged rows of POST /predict against the training data."""

import logging
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
from msgspec import Struct
from sqlalchemy.engine import Engine

from scripts.core import artifacts, files
from scripts.core.column_words import PLAIN, ColumnWords
from scripts.core.config import Config, Schema
from scripts.model import drift
from scripts.model.drift import DataDrift
from scripts.production import monitor
from scripts.production.run_context import RunContext
from scripts.records import database, predictions, runs

# Differences of consequence show in so many rows, and more would drown a change of last week.
MAX_ROWS = 5_000

log = logging.getLogger(__name__)


class LiveDriftResult(Struct, frozen=True):
    """The drift of the `n_logged` latest logged rows of a release."""

    release: str
    model_stamp: str
    n_logged: int
    first_at: datetime
    last_at: datetime
    data: DataDrift


def last_of_each_client(rows: list[runs.Row]) -> list[runs.Row]:
    """Return the newest row of each named client and every unnamed row, from rows newest first."""
    seen: set[str] = set()
    kept = []
    for row in rows:
        if row["client"] is None or row["client"] not in seen:
            kept.append(row)
            seen.add(row["client"])
    return kept


def make_table(rows: list[runs.Row], schema: Schema) -> pd.DataFrame:
    """Return the features of logged rows as a table."""
    values = [msgspec.json.decode(row["values"]) for row in rows]
    table = pd.DataFrame(values, columns=list(schema.features))
    return table.astype(dict.fromkeys(schema.numeric, "float64"))


def measure(engine: Engine, context: RunContext) -> LiveDriftResult | None:
    """Compare the latest logged rows with the training data of the release in production.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The records.
    context : RunContext
        The context of the run.

    Returns
    -------
    LiveDriftResult or None
        None if no release is in production, predictions are not logged, or none has been.

    Notes
    -----
    docs/api.md, section "The prediction log".
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


def describe(result: LiveDriftResult, words: ColumnWords = PLAIN) -> str:
    """Describe the drift of the live rows in one sentence."""
    return f"live rows of release {result.release}: {monitor.describe_data(result.data, words)}"


def as_members(result: LiveDriftResult | None) -> dict[str, Any] | None:
    """Return the member `live` of the diagnostics, None without a result."""
    if result is None:
        return None
    return {
        "release": result.release,
        "n_logged": result.n_logged,
        "first_at": result.first_at.isoformat(),
        "last_at": result.last_at.isoformat(),
        **monitor.data_members(result.data),
    }


def update_diagnostics(path: Path, result: LiveDriftResult) -> None:
    """Replace the member `live` of the last diagnostics, if there are any."""
    try:
        measured: dict[str, Any] = msgspec.json.decode(path.read_bytes(), type=dict)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        # The next run of the diagnostics writes the file anew.
        return
    content = msgspec.json.encode(measured | {"live": as_members(result)})
    files.write_whole(path, msgspec.json.format(content) + b"\n")


def main(
    config: Config, *, engine: Engine, context: RunContext | None = None
) -> LiveDriftResult | None:
    """Compare the latest logged rows with the training data, and update GET /diagnose."""
    result = measure(engine, context or RunContext(config))
    if result is not None:
        level = logging.WARNING if result.data.drifted else logging.INFO
        log.log(level, "Compared %s.", describe(result))
        update_diagnostics(config.prod_deployment_path / artifacts.DIAGNOSTICS, result)
    return result
