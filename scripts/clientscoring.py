"""Scores today's clients at the end of a run, and joins the outcomes that have become known."""

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

from scripts import (
    artifacts,
    clients,
    database,
    dataset,
    evaluation,
    joining,
    model,
    ranking,
)
from scripts.artifacts import Kind
from scripts.config import Config, Schema
from scripts.database import Row
from scripts.errors import DatasetError
from scripts.joining import Labels
from scripts.model import Columns, Model
from scripts.release import Release
from scripts.run_context import RunContext

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Today:
    """Today's clients: their names, and their values as the model in production wants them."""

    names: list[str]
    columns: Columns
    values: list[str]


def spell_rows(parts: Iterable[NDArray[Any]]) -> list[str]:
    """Spell each row of several columns as a JSON array; NaN is null."""
    rows = zip(*(part.tolist() for part in parts), strict=True)
    return [msgspec.json.encode(row).decode() for row in rows]


def spell_columns(schema: Schema) -> str:
    """Spell the columns by which labelled rows are told apart."""
    return msgspec.json.encode([schema.ids, schema.features, schema.target]).decode()


def take_columns(table: pd.DataFrame, schema: Schema, used: Model) -> Columns:
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


def describe_today(table: pd.DataFrame, schema: Schema, used: Model) -> Today:
    """Say who today's clients are, and what is known of them."""
    columns = take_columns(table, schema, used)
    values = spell_rows([columns[name] for name in used.schema.features])
    return Today(dataset.client_names(table, schema).tolist(), columns, values)


def make_scores(
    today: Today,
    used: Model,
    config: Config,
    last_scores: Mapping[str, Row],
    labels: Mapping[str, Labels],
    settled: set[int],
    now: datetime,
) -> tuple[list[dict[str, Any]], int]:
    """Score today's clients; give the rows for the records, and how many have no data."""
    ranked = ranking.rank(used, today.columns, config.api, config.worklist)
    spelled = spell_rows([ranked.contributions[name] for name in used.schema.features])
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
                "first_high_at": joining.first_high(band, last, settled, now),
            }
        )
    return rows, ranked.n_without_data


def select(today: Today, is_wanted: NDArray[np.bool_]) -> Today:
    """Keep some of today's clients."""
    columns = {name: values[is_wanted] for name, values in today.columns.items()}
    places = np.flatnonzero(is_wanted).tolist()
    return Today([today.names[p] for p in places], columns, [today.values[p] for p in places])


def spell_model(used: Model) -> str:
    """Spell a model without what only its successor is compared with."""
    facts = msgspec.structs.replace(used.dataset, reference=None)
    return model.encode_model(msgspec.structs.replace(used, dataset=facts)).decode()


def measure_gains(context: RunContext, used: Model) -> tuple[int, bytes]:
    """Order the labels of the test rows by the model, the riskiest first, one bit each."""
    table, _ = context.test_data.read(used.schema)
    probability = evaluation.predict_table(used, table)[1]
    y = dataset.target(table, used.schema)[np.argsort(-probability, kind="stable")]
    return len(y), np.packbits(y.astype(np.uint8)).tobytes()


def keep_open(today: Today, last_scores: Mapping[str, Row], settled: set[int]) -> Today:
    """Keep those of today's clients whose outcome is not known."""
    found = zip(today.names, today.values, strict=True)
    is_wanted = [joining.is_open(values, last_scores.get(name), settled) for name, values in found]
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
        clients.record_model_content(connection, facts["model_stamp"], spell_model(used))
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
    columns = spell_columns(schema)
    outcomes = joining.find_outcomes(last_scores, labels, columns, now)
    settled = {int(row["score_id"]) for row in outcomes}
    today = keep_open(today, last_scores, settled)
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
