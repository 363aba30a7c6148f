"""The scoring of today's clients at the end of a run, and the join of outcomes to older scores."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from msgspec import Struct, field
from msgspec.structs import replace
from numpy.typing import NDArray
from sqlalchemy.engine import Engine

from scripts.clients import (
    calling_effect,
    client_gains,
    client_history,
    dated_outcomes,
    group_scores,
    holdout,
    list_orders,
    todays_clients,
    todays_columns,
    trial_enrolment,
    worklist,
)
from scripts.clients.client_gains import ClientGains
from scripts.clients.dated_outcomes import Joined
from scripts.clients.group_scores import Group, GroupScores, ScoringFacts
from scripts.clients.holdout import HoldoutPeriod
from scripts.clients.list_orders import Lists
from scripts.clients.todays_clients import TodaysClients, TodaysScores
from scripts.clients.trial_enrolment import TrialFacts
from scripts.core import artifacts, name_hashes, progress, sentences
from scripts.core.artifacts import Kind
from scripts.core.config import Config, Schema, WorklistSettings
from scripts.core.name_hashes import NameFilter
from scripts.data import dataset
from scripts.data.dataset import KnownLabels
from scripts.data.dated_rows import History
from scripts.data.profile import Reference
from scripts.model import gain, logistic_model, metrics
from scripts.model.logistic_model import Model
from scripts.production.release import Release
from scripts.production.run_context import RunContext
from scripts.records import database, outcome_writer, scoring_records, trials
from scripts.records.client_blocks import BulkWriter
from scripts.records.known_clients import KnownReader
from scripts.records.outcome_writer import JoinFacts, OutcomeColumns
from scripts.records.runs import Row

# A block is read whole for one client, so it should be short; a column of it is compressed by
# itself, so it should be long.
BUCKET_CLIENTS = 2**11
MAX_BITS = 24
# Buckets joined at a time: enough rows for numpy, and few enough for the memory.
GROUP_BITS = 4

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

log = logging.getLogger(__name__)


def encode_columns(schema: Schema) -> str:
    """Encode the columns behind a row hash as JSON."""
    return msgspec.json.encode([schema.ids, schema.features, schema.target]).decode()


def encode_without_reference(model: Model) -> str:
    """Encode a model with a reference of category counts only."""
    kept = model.dataset.reference
    if kept is not None:
        kept = Reference(numeric={}, categorical=kept.categorical, contributions={}, row_hashes=b"")
    facts = msgspec.structs.replace(model.dataset, reference=kept)
    return logistic_model.encode_model(msgspec.structs.replace(model, dataset=facts)).decode()


def measure_gains(context: RunContext, model: Model) -> tuple[int, bytes]:
    """Return the number of test rows and the labels as bits, by falling probability."""
    table, _ = context.test_data.read(model.schema)
    probability = metrics.predict_table(model, table)[1]
    y = dataset.target(table, model.schema)[np.argsort(-probability, kind="stable")]
    return len(y), np.packbits(y.astype(np.uint8)).tobytes()


def choose_bits(n_clients: int, last_bits: int) -> int:
    """Return the number of bits of a bucket, unchanged while the buckets have a fair size.

    With other buckets than before, all values are stored again.
    """
    bits = 0
    while n_clients > BUCKET_CLIENTS << bits and bits < MAX_BITS:
        bits += 1
    return last_bits if bits <= last_bits <= bits + 1 else bits


class ScoredList(Struct, frozen=True):
    """Facts about the list of a run, for its checks.

    `n_returning` of today's clients were on the list before. The others are those of Joined.
    """

    n_returning: int = 0
    left_before: Mapping[str, int] = field(default_factory=dict)
    late_dates: frozenset[str] = frozenset()


class JoinedScores(Struct):
    """The clients kept on the list, in the order of the blocks."""

    rows: list[Ints] = field(default_factory=list)
    previous_probability: list[NDArray[np.float64]] = field(default_factory=list)
    values_from: int = 0
    absent_in: set[int] = field(default_factory=set)
    outcomes: list[OutcomeColumns] = field(default_factory=list)

    def add(self, rows: Ints, scores: GroupScores) -> None:
        """Add the clients of a group."""
        self.rows.append(rows[scores.kept])
        self.previous_probability.append(scores.previous_probability)
        self.values_from = min(self.values_from, scores.values_from)
        self.absent_in |= scores.absent_in
        self.outcomes.append(scores.outcomes)

    @property
    def n_outcomes(self) -> int:
        """The number of outcomes."""
        return sum(map(len, self.outcomes))

    @property
    def n_returning(self) -> int:
        """The number of the clients with a score before."""
        return sum(int((~np.isnan(scores)).sum()) for scores in self.previous_probability)


class CallingFacts(Struct, frozen=True):
    """The facts about calling today's clients: gains, period, and held-out clients.

    Each is None where it is not declared.
    """

    gains: ClientGains | None
    period: HoldoutPeriod | None
    held_out: Mask | None


class ScoringWriter(Struct, frozen=True):
    """Joins, scores and records today's clients in groups."""

    today: TodaysClients
    scores: TodaysScores
    labels: KnownLabels
    known: KnownReader
    facts: ScoringFacts
    writer: BulkWriter
    calling: CallingFacts

    def join(self) -> JoinedScores:
        """Join today's clients with the known facts, and write all columns but the places."""
        joined = JoinedScores(values_from=self.facts.scoring_id)
        order = np.argsort(self.scores.hashes, kind="stable")
        hashes = self.scores.hashes[order]
        group_bits = max(0, max(self.facts.bits, self.known.bits) - GROUP_BITS)
        # A bucket is never of several groups.
        group_bits = min(group_bits, self.facts.bits)
        shift = name_hashes.HASH_BITS - group_bits
        for group in range(1 << group_bits):
            first, last = group << shift, ((group + 1) << shift) - 1
            start = int(np.searchsorted(hashes, np.uint32(first)))
            end = int(np.searchsorted(hashes, np.uint32(last), side="right"))
            rows = order[start:end]
            scored = group_scores.score_group(
                Group(
                    hashes[start:end], self.today.names(rows), self.today.values(rows),
                    self.today.kept_values(rows),
                    self.scores.probability[rows], self.scores.band[rows],
                    self.known.read(group, group_bits), self.labels.between(first, last),
                ),
                self.facts,
            )  # fmt: skip
            joined.add(rows, scored)
            self.write(scored)
        return joined

    def write(self, scored: GroupScores) -> None:
        """Write the blocks of a group."""
        for block in scored.blocks:
            self.writer.put_block(self.facts.scoring_id, block)

    def write_outcomes(self, joined: JoinedScores) -> None:
        """Write the outcomes of all groups of clients, which share the groups of outcomes."""
        outcomes = outcome_writer.concatenate(joined.outcomes)
        facts = JoinFacts(self.facts.run_id, self.facts.now, self.facts.scoring_id)
        outcome_writer.write(self.writer.engine, outcomes, self.facts.scorings, facts)

    def write_lists(self, joined: JoinedScores) -> Lists:
        """Write the places and the orders of the list."""
        rows = np.concatenate(joined.rows)
        previous = np.concatenate(joined.previous_probability)
        lists = list_orders.order_clients(
            self.today, self.scores, rows, previous, self.calling.gains
        )
        if self.calling.held_out is not None:
            lists = replace(lists, held_out=self.calling.held_out[rows])
        for block in list_orders.list_place_blocks(
            lists, self.scores.hashes[rows], self.facts.bits
        ):
            self.writer.put_block(self.facts.scoring_id, block)
        for block in (
            *list_orders.list_order_blocks(lists),
            *list_orders.list_held_out_blocks(lists),
        ):
            self.writer.put_block(self.facts.scoring_id, block)
        return lists


def read_scorings(engine: Engine) -> dict[int, Row]:
    """Return the whole scorings by id, newest first."""
    with database.reading(engine) as connection:
        return {row["id"]: row for row in scoring_records.list_scorings(connection)}


def oldest_kept(scorings: Mapping[int, Row], n_kept: int) -> int:
    """Return the oldest scoring to keep beside a new scoring."""
    return min(list(scorings)[: n_kept - 1], default=0)


def has_clients(scorings: Mapping[int, Row]) -> bool:
    """Return whether any client has been scored before."""
    return any(row["n_clients"] or row["absent_in"] for row in list(scorings.values())[:1])


def find_calling_facts(
    engine: Engine, today: TodaysClients, scores: TodaysScores, config: Config, now: datetime
) -> CallingFacts:
    """Return the expected gains of today's clients, and the held-out clients.

    The save rate is the believed one, updated by what the held-out clients have shown.
    """
    settings, gains, held_out = config.worklist, None, None
    if settings.costs is not None:
        with database.reading(engine) as connection:
            rate = calling_effect.current_rate(connection, settings)
        terms = replace(gain.as_terms(settings.costs), alpha=rate.alpha, beta=rate.beta)
        gains = client_gains.find_gains(today, scores, settings, terms)
    period = holdout.find_period(settings, now)
    if period is not None:
        held_out = trial_enrolment.draw(today, config, period)
    return CallingFacts(gains, period, held_out)


def list_enrolled(
    scoring: ScoringWriter, joined: JoinedScores, lists: Lists, settings: WorklistSettings
) -> list[dict[str, Any]]:
    """Return the clients new in the trial of a period as rows of the records."""
    calling, facts = scoring.calling, scoring.facts
    if calling.period is None or calling.held_out is None:
        return []
    trial = TrialFacts(
        facts.run_id, facts.scoring_id, facts.now, calling.period, worklist.list_length(settings)
    )
    rows = np.concatenate(joined.rows)
    return trial_enrolment.list_rows(
        scoring.today, scoring.scores, rows, lists.orders, calling.held_out, trial
    )


def describe_calling(
    scoring: ScoringWriter, joined: JoinedScores, settings: WorklistSettings
) -> dict[str, Any]:
    """Return the facts behind gains and held-out clients for the record of the scoring."""
    gains, period = scoring.calling.gains, scoring.calling.period
    rows, described = np.concatenate(joined.rows), None
    if scoring.calling.held_out is not None:
        # Nobody calls them, so they are no part of the best list.
        rows = rows[~scoring.calling.held_out[rows]]
    if gains is not None:
        described = client_gains.describe(gains, scoring.scores, rows, settings.value)
    return {
        "gain_facts": described,
        "holdout_facts": None if period is None else period.as_facts(),
    }


def finish(
    scoring: ScoringWriter, joined: JoinedScores, lists: Lists, model: Model, config: Config,
    **told: Any,
) -> None:  # fmt: skip
    """Complete a scoring with the model and the clients of the trial."""
    n_clients, n_without_data = len(lists.places), lists.bands[-1][1]
    with database.writing(scoring.writer.engine) as connection:
        scoring_records.record_model_content(
            connection, told["model_stamp"], encode_without_reference(model)
        )
        scoring_records.finish_scoring(
            connection, scoring.facts.scoring_id, n_clients=n_clients,
            n_without_data=n_without_data, bands=lists.bands, values_from=joined.values_from,
            absent_in=sorted(joined.absent_in),
            **describe_calling(scoring, joined, config.worklist),
        )  # fmt: skip
        n_enrolled = trials.enrol(
            connection, list_enrolled(scoring, joined, lists, config.worklist)
        )
    if n_enrolled:
        log.info("Enrolled %s in the trial of the list.", sentences.count(n_enrolled, "client"))
    log.info(
        "Scored %s with release %s, %d of them without enough data%s.",
        sentences.count(n_clients, "client"), told["release"], n_without_data,
        # Those of dated rows were joined before, and said so.
        "" if config.schema.date else f"; joined {sentences.count(joined.n_outcomes, 'outcome')}",
    )  # fmt: skip


def record_scoring(
    engine: Engine, run_id: int, today: TodaysClients, model: Model, context: RunContext,
    labels_of: Any, **told: Any,
) -> int:  # fmt: skip
    """Score today's clients, and record all scores and outcomes, or nothing.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The records.
    run_id : int
        The run.
    today : TodaysClients
        The clients.
    model : Model
        The model in production.
    context : RunContext
        The context of the run.
    labels_of : callable
        Takes a NameFilter and returns the KnownLabels of these clients.
    **told : object
        `release`, `model_stamp`, and `as_of`, the newest date of dated rows.

    Returns
    -------
    int
        The number of today's clients who were on the list before.
    """
    now, scorings = datetime.now(UTC), read_scorings(engine)
    last = next(iter(scorings.values()), None)
    known = KnownReader(engine, last)
    scores = todays_clients.score(today, model, context.config)
    calling = find_calling_facts(engine, today, scores, context.config, now)
    labels = labels_of(NameFilter([scores.hashes, *known.hashes()]))
    n_test_rows, gains = measure_gains(context, model)
    # Clients that are absent today are in the buckets as well.
    bits = choose_bits(max(len(today), known.count()), known.bits)
    columns = encode_columns(today.schema)
    scoring_id = scoring_records.begin_scoring(
        engine, run_id, scored_at=now, columns=columns, bits=bits, n_clients=0, n_without_data=0,
        n_test_rows=n_test_rows, gains=gains, **told,
    )  # fmt: skip
    facts = ScoringFacts(
        scoring_id, run_id, now, bits,
        values_from=oldest_kept(scorings, context.config.retention.scorings),
        keeps_pointers=bits == known.bits,
        scorings=scorings,
        comparable=frozenset(n for n, row in scorings.items() if row["columns"] == columns),
    )  # fmt: skip
    scoring = ScoringWriter(today, scores, labels, known, facts, BulkWriter(engine), calling)
    joined = scoring.join()
    lists = scoring.write_lists(joined)
    scoring.writer.flush()
    scoring.write_outcomes(joined)
    finish(scoring, joined, lists, model, context.config, **told)
    return joined.n_returning


def find_labels(
    context: RunContext, dataset_path: Path, schema: Schema, wanted: NameFilter
) -> KnownLabels:
    """Return the labels of the wanted clients, none of dated rows.

    The outcomes of dated rows are joined by client and day, in `clients.dated_outcomes`.
    """
    if schema.date:
        return dataset.sort_labels([])
    return context.engine.outcome_labels(dataset_path, schema, wanted)


def score_clients(
    context: RunContext,
    engine: Engine,
    run_id: int,
    table: pd.DataFrame,
    dataset_path: Path,
    schema: Schema,
    current: Release,
) -> int:
    """Join outcomes, score today's clients with the production model, and record both.

    Returns the number of today's clients who were on the list before.
    """
    if table.empty and not has_clients(read_scorings(engine)):
        return 0
    model = current.model
    as_of = str(table[schema.as_of].max()) if schema.date and len(table) else None
    todays_clients.check_columns(schema, model)
    kept = todays_columns.read(context, table, schema, model)
    todays_columns.warn_of_empty(kept)
    # No later step of the run asks for them, and there may be a million clients.
    context.todays_texts = None
    today = TodaysClients(table, schema, model.schema, kept)
    with progress.shown("Scoring today's clients", len(table)):
        return record_scoring(
            engine, run_id, today, model, context,
            lambda wanted: find_labels(context, dataset_path, schema, wanted),
            release=current.name, model_stamp=current.manifest.model_stamp, as_of=as_of,
        )  # fmt: skip


def main(
    config: Config,
    engine: Engine,
    run_id: int,
    table: pd.DataFrame,
    dataset_path: Path,
    *,
    history: History | None = None,
    context: RunContext | None = None,
) -> ScoredList:
    """Score today's clients with the model in production, if any, and record the scores.

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
    history : History, optional
        The outcomes of all dated rows.
    context : RunContext, optional
        The context of the run.

    Returns
    -------
    ScoredList
        The number of today's clients who were on the list before, and who had left before a list.

    Raises
    ------
    DatasetError
        If the input lacks a column of the production model.
    """
    context = context or RunContext(config)
    current = context.current_release()
    n_returning, joined = 0, Joined()
    if current is None:
        return ScoredList()
    stamp = artifacts.stamp_of(dataset_path)
    schema = dataset.read_schema(Kind.SCHEMA.path(dataset_path.parent, stamp), config.schema)
    if schema.ids:
        n_returning = score_clients(context, engine, run_id, table, dataset_path, schema, current)
        if history is not None:
            last = next(iter(read_scorings(engine)), None)
            facts = JoinFacts(run_id, datetime.now(UTC), last)
            joined = dated_outcomes.join(engine, history, facts)
        client_history.record_counts(engine, config.worklist)
    elif len(table):
        log.warning(
            "%d clients have no label and no identifier, so nobody could be called: name a column"
            " in schema.ids, or rank them with python -m scripts.worklist TABLE.csv.", len(table),
        )  # fmt: skip
    return ScoredList(n_returning, joined.left_before, joined.late_dates)
