"""Scores today's clients at the end of a run, and joins the outcomes that have become known.

Joins the outcomes of clients, when they become known, to what was said of them before.
"""

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
    """Today's clients: their names, and their values as the model in production wants them."""

    names: list[str]
    columns: Columns
    values: list[str]


def format_rows(parts: Iterable[NDArray[Any]]) -> list[str]:
    """Spell each row of several columns as a JSON array; NaN is null."""
    rows = zip(*(part.tolist() for part in parts), strict=True)
    return [msgspec.json.encode(row).decode() for row in rows]


def format_columns(schema: Schema) -> str:
    """Spell the columns by which labelled rows are told apart."""
    return msgspec.json.encode([schema.ids, schema.features, schema.target]).decode()


def extract_columns(table: pd.DataFrame, schema: Schema, used: Model) -> Columns:
    """Take from today's clients what the model in production wants to know.

    Raises
    ------
    DatasetError
        If the input is read by another schema than that model's.
    """
    wanted = used.schema
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


def describe_today(table: pd.DataFrame, schema: Schema, used: Model) -> TodaysClients:
    """Say who today's clients are, and what is known of them."""
    columns = extract_columns(table, schema, used)
    values = format_rows([columns[name] for name in used.schema.features])
    return TodaysClients(dataset.client_names(table, schema).tolist(), columns, values)


def make_scores(
    today: TodaysClients,
    used: Model,
    config: Config,
    last_scores: Mapping[str, Row],
    labels: Mapping[str, Labels],
    settled: set[int],
    now: datetime,
) -> tuple[list[dict[str, Any]], int]:
    """Score today's clients; give the rows for the records, and how many have no data."""
    ranked = ranking.rank(used, today.columns, config.api, config.worklist)
    spelled = format_rows([ranked.contributions[name] for name in used.schema.features])
    rows = []
    for name, position, probability, band, values, terms in zip(
        today.names, ranked.positions.tolist(), ranked.probability.tolist(), ranked.bands,
        today.values, spelled, strict=True,
    ):  # fmt: skip
        last = last_scores.get(name)
        rows.append(
            {
                "client": name,
                "position": position,
                "probability": probability,
                "band": band,
                "values": values,
                "contributions": terms,
                "labels": msgspec.json.encode(list(labels.get(name, ()))).decode(),
                "previous_id": None if last is None else last["id"],
                "first_high_at": first_high(band, last, settled, now),
            }
        )
    return rows, ranked.n_without_data


def select(today: TodaysClients, is_wanted: NDArray[np.bool_]) -> TodaysClients:
    """Keep some of today's clients."""
    columns = {name: values[is_wanted] for name, values in today.columns.items()}
    places = np.flatnonzero(is_wanted).tolist()
    return TodaysClients(
        [today.names[p] for p in places], columns, [today.values[p] for p in places]
    )


def format_model(used: Model) -> str:
    """Spell a model without what only its successor is compared with."""
    facts = msgspec.structs.replace(used.dataset, reference=None)
    return logistic_model.encode_model(msgspec.structs.replace(used, dataset=facts)).decode()


def measure_gains(context: RunContext, used: Model) -> tuple[int, bytes]:
    """Order the labels of the test rows by the model, the riskiest first, one bit each."""
    table, _ = context.test_data.read(used.schema)
    probability = metrics.predict_table(used, table)[1]
    y = dataset.target(table, used.schema)[np.argsort(-probability, kind="stable")]
    return len(y), np.packbits(y.astype(np.uint8)).tobytes()


def select_open(
    today: TodaysClients, last_scores: Mapping[str, Row], settled: set[int]
) -> TodaysClients:
    """Keep those of today's clients whose outcome is not known."""
    found = zip(today.names, today.values, strict=True)
    is_wanted = [is_open(values, last_scores.get(name), settled) for name, values in found]
    return select(today, np.array(is_wanted, dtype=np.bool_))


def record(
    engine: Engine,
    run_id: int,
    outcomes: list[dict[str, Any]],
    rows: list[dict[str, Any]],
    used: Model,
    **facts: Any,
) -> None:
    """Record outcomes and scores, all or nothing."""
    with database.writing(engine) as connection:
        clients.record_outcomes(connection, [{"run_id": run_id, **row} for row in outcomes])
        clients.record_model_content(connection, facts["model_stamp"], format_model(used))
        scoring_id = clients.record_scoring(connection, run_id, n_clients=len(rows), **facts)
        clients.record_scores(connection, [{"scoring_id": scoring_id, **row} for row in rows])
    log.info(
        "Scored %d clients with release %s, %d of them without enough data; joined %d outcomes.",
        len(rows), facts["release"], facts["n_without_data"], len(outcomes),
    )  # fmt: skip


def score_clients(
    context: RunContext,
    engine: Engine,
    run_id: int,
    table: pd.DataFrame,
    dataset_path: Path,
    schema: Schema,
    current: Release,
) -> None:
    """Join outcomes, score today's clients with the model in production, and record both."""
    config, used, now = context.config, current.model, datetime.now(UTC)
    with database.reading(engine) as connection:
        last_scores = clients.last_scores(connection)
    if table.empty and not last_scores:
        return
    today = describe_today(table, schema, used)
    wanted = {*last_scores, *today.names}
    labels = context.engine.outcome_labels(dataset_path, schema, wanted)
    columns = format_columns(schema)
    outcomes = find_outcomes(last_scores, labels, columns, now)
    settled = {int(row["score_id"]) for row in outcomes}
    today = select_open(today, last_scores, settled)
    rows, n_blank = make_scores(today, used, config, last_scores, labels, settled, now)
    n_test_rows, gains = measure_gains(context, used)
    record(
        engine, run_id, outcomes, rows, used, scored_at=now, release=current.name,
        model_stamp=current.manifest.model_stamp, columns=columns, n_without_data=n_blank,
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
    """Score today's clients with the model in production, if there is one, and record it.

    Parameters
    ----------
    config : Config
        The installation.
    engine : sqlalchemy.Engine
        Of the records.
    run_id : int
        The run that read them.
    table : pandas.DataFrame of shape (n_clients, n_columns)
        Today's clients, one row each.
    dataset_path : Path
        The labelled rows of the same run.
    context : RunContext, optional
        Of the run.

    Raises
    ------
    DatasetError
        If the model in production wants other columns.
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


def find_outcome(last: Row, known: Labels, columns: str) -> int | None:
    """Find the label that a client has got since the last score; None if there is none.

    Under another schema than then, rows cannot be told apart; no outcome is better than a wrong
    one.
    """
    if last["is_settled"] or last["columns"] != columns:
        return None
    before = set(msgspec.json.decode(last["labels"], type=list[int]))
    new = [label for row_hash, label in known.items() if row_hash not in before]
    return new[-1] if new else None


def find_outcomes(
    last_scores: Mapping[str, Row], labels: Mapping[str, Labels], columns: str, now: datetime
) -> list[dict[str, Any]]:
    """Join the outcomes that have become known to the last score of each client."""
    kept = (
        "client", "scored_at", "release", "probability", "band", "position", "first_high_at",
    )  # fmt: skip
    found = []
    for name in last_scores.keys() & labels.keys():
        last = last_scores[name]
        label = find_outcome(last, labels[name], columns)
        if label is not None:
            facts = {key: last[key] for key in kept}
            found.append(facts | {"score_id": last["id"], "known_at": now, "exited": bool(label)})
    return sorted(found, key=lambda row: int(row["score_id"]))


def is_open(values: str, last: Row | None, settled: set[int]) -> bool:
    """Say whether a client is to be scored: not if the outcome of just these values is known."""
    if last is None or last["values"] != values:
        return True
    return not last["is_settled"] and last["id"] not in settled


def first_high(band: str, last: Row | None, settled: set[int], now: datetime) -> datetime | None:
    """Say since when a client, whose last outcome is past, has once been `high`."""
    if last is not None and not last["is_settled"] and last["id"] not in settled:
        earlier: datetime | None = last["first_high_at"]
        if earlier is not None:
            return earlier
    return now if band == Band.HIGH else None
