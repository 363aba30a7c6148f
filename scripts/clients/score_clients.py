"""The scoring of today's clients at the end of a run, and the join of outcomes to older scores."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy.engine import Engine

from scripts.core import artifacts
from scripts.core.artifacts import Kind
from scripts.core.config import Config, Schema
from scripts.core.errors import DatasetError
from scripts.data import dataset
from scripts.data.dataset import Labels
from scripts.model import logistic_model, metrics, ranking
from scripts.model.logistic_model import Columns, Model
from scripts.model.ranking import Band
from scripts.production.release import Release
from scripts.production.run_context import RunContext
from scripts.records import clients, database
from scripts.records.runs import Row

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TodaysClients:
    """The names of today's clients, and the values of the production model's columns."""

    names: list[str]
    columns: Columns
    values: list[str]


def encode_rows(parts: Iterable[NDArray[Any]]) -> list[str]:
    """Encode each row of several columns as a JSON array, with null for NaN."""
    rows = zip(*(part.tolist() for part in parts), strict=True)
    return [msgspec.json.encode(row).decode() for row in rows]


def encode_columns(schema: Schema) -> str:
    """Encode the columns behind a row hash as JSON."""
    return msgspec.json.encode([schema.ids, schema.features, schema.target]).decode()


def extract_columns(table: pd.DataFrame, schema: Schema, model: Model) -> Columns:
    """Return the production model's columns of today's clients.

    Raises
    ------
    DatasetError
        If the schema of the input lacks a column of the model.
    """
    wanted = model.schema
    if not (
        set(wanted.numeric) <= set(schema.numeric)
        and set(wanted.categorical) <= set(schema.categorical)
    ):
        raise DatasetError(
            f"The model in production wants the columns {list(wanted.features)}, and the input is"
            f" read with {list(schema.features)}: today's clients are not scored until a model of"
            " these columns is deployed."
        )
    return dataset.feature_arrays(table, wanted)


def describe_today(table: pd.DataFrame, schema: Schema, model: Model) -> TodaysClients:
    """Return the names and the values of today's clients."""
    columns = extract_columns(table, schema, model)
    values = encode_rows([columns[name] for name in model.schema.features])
    return TodaysClients(dataset.client_names(table, schema).tolist(), columns, values)


def first_high(band: str, last: Row | None, settled: set[int], now: datetime) -> datetime | None:
    """Return the time of a client's first `high` band since the last outcome, None without one."""
    if last is not None and not last["is_settled"] and last["id"] not in settled:
        earlier: datetime | None = last["first_high_at"]
        if earlier is not None:
            return earlier
    return now if band == Band.HIGH else None


def make_scores(
    today: TodaysClients,
    model: Model,
    config: Config,
    last_scores: Mapping[str, Row],
    labels: Mapping[str, Labels],
    settled: set[int],
    now: datetime,
) -> tuple[list[dict[str, Any]], int]:
    """Return the scores of today's clients as rows of the records, and the number without data."""
    ranked = ranking.rank(model, today.columns, config.api, config.worklist)
    contributions = encode_rows([ranked.contributions[name] for name in model.schema.features])
    rows = []
    for name, position, probability, band, values, contribution in zip(
        today.names, ranked.positions.tolist(), ranked.probability.tolist(), ranked.bands,
        today.values, contributions, strict=True,
    ):  # fmt: skip
        last = last_scores.get(name)
        rows.append(
            {
                "client": name,
                "position": position,
                "probability": probability,
                "band": band,
                "values": values,
                "contributions": contribution,
                "labels": msgspec.json.encode(list(labels.get(name, ()))).decode(),
                "previous_id": None if last is None else last["id"],
                "first_high_at": first_high(band, last, settled, now),
            }
        )
    return rows, ranked.n_without_data


def select_clients(today: TodaysClients, mask: NDArray[np.bool_]) -> TodaysClients:
    """Return the clients of a boolean mask."""
    columns = {name: values[mask] for name, values in today.columns.items()}
    indices = np.flatnonzero(mask).tolist()
    return TodaysClients(
        [today.names[i] for i in indices], columns, [today.values[i] for i in indices]
    )


def encode_without_reference(model: Model) -> str:
    """Encode a model without the reference, needed for drift only."""
    facts = msgspec.structs.replace(model.dataset, reference=None)
    return logistic_model.encode_model(msgspec.structs.replace(model, dataset=facts)).decode()


def measure_gains(context: RunContext, model: Model) -> tuple[int, bytes]:
    """Return the number of test rows and the labels as bits, by falling probability."""
    table, _ = context.test_data.read(model.schema)
    probability = metrics.predict_table(model, table)[1]
    y = dataset.target(table, model.schema)[np.argsort(-probability, kind="stable")]
    return len(y), np.packbits(y.astype(np.uint8)).tobytes()


def is_open(values: str, last: Row | None, settled: set[int]) -> bool:
    """Return whether a client has to be scored, with False for values of a known outcome."""
    if last is None or last["values"] != values:
        return True
    return not last["is_settled"] and last["id"] not in settled


def select_open(
    today: TodaysClients, last_scores: Mapping[str, Row], settled: set[int]
) -> TodaysClients:
    """Return today's clients without a known outcome."""
    pairs = zip(today.names, today.values, strict=True)
    mask = [is_open(values, last_scores.get(name), settled) for name, values in pairs]
    return select_clients(today, np.array(mask, dtype=np.bool_))


def record_scoring(
    engine: Engine,
    run_id: int,
    outcomes: list[dict[str, Any]],
    rows: list[dict[str, Any]],
    model: Model,
    **facts: Any,
) -> None:
    """Record outcomes and scores in a transaction."""
    with database.writing(engine) as connection:
        clients.record_outcomes(connection, [{"run_id": run_id, **row} for row in outcomes])
        clients.record_model_content(
            connection, facts["model_stamp"], encode_without_reference(model)
        )
        scoring_id = clients.record_scoring(connection, run_id, n_clients=len(rows), **facts)
        clients.record_scores(connection, [{"scoring_id": scoring_id, **row} for row in rows])
    log.info(
        "Scored %d clients with release %s, %d of them without enough data; joined %d outcomes.",
        len(rows), facts["release"], facts["n_without_data"], len(outcomes),
    )  # fmt: skip


def find_outcome(last: Row, labels: Labels, columns: str) -> int | None:
    """Return a client's newest label since the last score, None without one.

    If the schema has changed since, row hashes are incomparable. No outcome is better than a wrong
    outcome.
    """
    if last["is_settled"] or last["columns"] != columns:
        return None
    known_hashes = set(msgspec.json.decode(last["labels"], type=list[int]))
    new_labels = [label for row_hash, label in labels.items() if row_hash not in known_hashes]
    return new_labels[-1] if new_labels else None


def find_outcomes(
    last_scores: Mapping[str, Row], labels: Mapping[str, Labels], columns: str, now: datetime
) -> list[dict[str, Any]]:
    """Return the new outcomes, each joined to the last score of the client."""
    kept = (
        "client", "scored_at", "release", "probability", "band", "position", "first_high_at",
    )  # fmt: skip
    outcomes = []
    for name in last_scores.keys() & labels.keys():
        last = last_scores[name]
        label = find_outcome(last, labels[name], columns)
        if label is not None:
            facts = {key: last[key] for key in kept}
            outcomes.append(
                facts | {"score_id": last["id"], "known_at": now, "exited": bool(label)}
            )
    return sorted(outcomes, key=lambda row: int(row["score_id"]))


def score_clients(
    context: RunContext,
    engine: Engine,
    run_id: int,
    table: pd.DataFrame,
    dataset_path: Path,
    schema: Schema,
    current: Release,
) -> None:
    """Join outcomes, score today's clients with the production model, and record both."""
    config, model, now = context.config, current.model, datetime.now(UTC)
    with database.reading(engine) as connection:
        last_scores = clients.last_scores(connection)
    if table.empty and not last_scores:
        return
    today = describe_today(table, schema, model)
    wanted = {*last_scores, *today.names}
    labels = context.engine.outcome_labels(dataset_path, schema, wanted)
    columns = encode_columns(schema)
    outcomes = find_outcomes(last_scores, labels, columns, now)
    settled = {int(row["score_id"]) for row in outcomes}
    today = select_open(today, last_scores, settled)
    rows, n_without_data = make_scores(today, model, config, last_scores, labels, settled, now)
    n_test_rows, gains = measure_gains(context, model)
    record_scoring(
        engine, run_id, outcomes, rows, model, scored_at=now, release=current.name,
        model_stamp=current.manifest.model_stamp, columns=columns, n_without_data=n_without_data,
        n_test_rows=n_test_rows, gains=gains,
    )  # fmt: skip


def main(
    config: Config,
    engine: Engine,
    run_id: int,
    table: pd.DataFrame,
    dataset_path: Path,
    *,
    context: RunContext | None = None,
) -> None:
    """Score today's clients with the production model, if there is one, and record the scores.

    Parameters
    ----------
    config : Config
        The installation.
    engine : sqlalchemy.Engine
        The records.
    run_id : int
        The run of the scoring.
    table : pandas.DataFrame of shape (n_clients, n_columns)
        Today's clients, one row each.
    dataset_path : Path
        The labelled rows of the same run.
    context : RunContext, optional
        The context of the run.

    Raises
    ------
    DatasetError
        If the input lacks a column of the production model.
    """
    context = context or RunContext(config)
    current = context.current_release()
    if current is None:
        return
    stamp = artifacts.stamp_of(dataset_path)
    schema = dataset.read_schema(Kind.SCHEMA.path(dataset_path.parent, stamp), config.schema)
    if schema.ids:
        score_clients(context, engine, run_id, table, dataset_path, schema, current)
    elif len(table):
        log.warning(
            "%d clients have no label and no identifier, so nobody could be called: name a column"
            " in schema.ids, or rank them with python -m scripts.worklist TABLE.csv.", len(table),
        )  # fmt: skip
