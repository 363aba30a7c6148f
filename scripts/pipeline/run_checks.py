"""The checks of a run: made at the steps under check, and recorded."""

import logging
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from msgspec.structs import astuple
from sqlalchemy.engine import Connection

from scripts.clients import worklist
from scripts.clients.score_clients import ScoredList
from scripts.core.artifacts import Kind
from scripts.core.config import FILE_NAME, Config
from scripts.core.errors import DatasetError, InsufficientDataError
from scripts.core.files import RemotePath
from scripts.data import (
    client_dates,
    dataset,
    name_dates,
    read_report,
    table_reader,
)
from scripts.data.read_report import FileReading
from scripts.engine.dated_ingest import ReadRows
from scripts.ingestion import Ingestion
from scripts.pipeline.run import Run
from scripts.production import checks, value_checks
from scripts.production.checks import Finding, OutcomeSums
from scripts.production.run_context import RunContext
from scripts.records import (
    check_records,
    client_blocks,
    clients,
    database,
    scored_clients,
    scoring_records,
)
from scripts.records.runs import Row
from scripts.scoring import Scoring
from scripts.training import Training

# So many rows show whether a column alone separates, and whether its values are as before.
MAX_ROWS = 50_000
# The period is that of at least so many of the newest steps from an extract to the next one.
N_STEPS = 3
# Smaller datasets are read without the import of Polars.
SMALL_BYTES = 2**20
OF_DATED_ROWS = (
    "repeated_rows",
    "changed_list",
    "old_test_data",
    "future_rows",
    "returned_clients",
    "respelt_keys",
)

log = logging.getLogger(__name__)


def find_pointless(config: Config) -> dict[str, str]:
    """Return the checks without anything to look at in an installation, each with the reason."""
    pointless = {}
    if config.tests_latest_rows:
        pointless["shared_clients"] = "The latest rows are the test: no folder has test data."
    if not config.schema.inferred:
        pointless["new_columns"] = "All columns are declared."
    if not config.schema.date:
        pointless |= dict.fromkeys(OF_DATED_ROWS, "No schema.date is declared any more.")
    return pointless


def end_pointless(connection: Connection, run: Run, now: datetime) -> None:
    """End the alarms of checks that an edit of the settings has left nothing to look at."""
    reasons = find_pointless(run.config)
    for row in check_records.list_checks(connection):
        if row["state"] == check_records.ALARM and row["name"] in reasons:
            detail = reasons[row["name"]]
            check_records.record_finding(
                connection, row["name"], run.id, now, detail, is_alarm=False
            )


def record(run: Run, findings: Sequence[Finding]) -> None:
    """Record findings, log the alarms, and end or forget the checks that do not apply any more."""
    now, settings = datetime.now(UTC), run.config.checks
    for finding in findings:
        if finding.is_alarm:
            log.warning("Check %s: %s", finding.name, finding.detail)
    with database.writing(run.engine) as connection:
        for finding in findings:
            check_records.record_finding(
                connection, finding.name, run.id, now, finding.detail, is_alarm=finding.is_alarm
            )
        for name in settings.__struct_fields__:
            if checks.find_limit(settings, name) is None:
                check_records.forget_check(connection, name)
        end_pointless(connection, run, now)


def find_refusals(run: Run, findings: Sequence[Finding]) -> list[str]:
    """List the refusing alarms: of this run, and of the last list of clients."""
    made = {finding.name for finding in findings}
    refusals = [f"{f.name}: {f.detail}" for f in findings if f.is_alarm and f.refuses]
    with database.reading(run.engine) as connection:
        known = check_records.list_checks(connection)
    for row in known:
        limit = checks.find_limit(run.config.checks, row["name"])
        is_alarm = row["state"] == check_records.ALARM and row["name"] not in made
        if is_alarm and limit is not None and limit.refuse:
            refusals.append(f"{row['name']}: {row['detail']}")
    return refusals


def check_files(
    readings: Sequence[FileReading], others: Sequence[FileReading], config: Config
) -> list[Finding]:
    """Check the rejected rows of files, and look for refused files."""
    return [
        *checks.check_rejected([*readings, *others], config.checks),
        *checks.check_refused([*readings, *others], config.checks),
    ]


def are_days_in_names(config: Config) -> bool:
    """Return whether the names of the files have the days of the rows."""
    own = config.schema.date_column
    return own is not None and own.column == FILE_NAME


def group_by_day(readings: Sequence[FileReading], config: Config) -> dict[int, list[FileReading]]:
    """Return the files with a day in their names by that day, the oldest day first."""
    own, by_day = config.schema.date_column, dict[int, list[FileReading]]()
    for reading in readings:
        day = None if own is None else name_dates.file_day(reading.path, own)
        if day is not None and not reading.refused:
            by_day.setdefault(day, []).append(reading)
    return dict(sorted(by_day.items()))


def find_same_days(readings: Sequence[FileReading], config: Config) -> list[str]:
    """Describe the files whose names have the same day."""
    days = group_by_day(readings, config).values()
    return [" and ".join(file.path.name for file in files) for files in days if len(files) > 1]


def find_last_days(readings: Sequence[FileReading], config: Config) -> list[list[str]]:
    """Return the names of the files of the last days, without additions such as an upload."""
    by_day = group_by_day(readings, config)
    sizes = np.array([read_report.count_usable(files) for files in by_day.values()], np.int64)
    whole = client_dates.find_whole_days(np.array(list(by_day), np.int64), sizes)
    return [
        [file.path.name for file in by_day[day]]
        for day in whole[-checks.N_COMPARED_DAYS :].tolist()
    ]


def check_newest_day(todays: pd.DataFrame, config: Config) -> list[Finding]:
    """Check the day of the newest of today's clients, if there are any."""
    if todays.empty:
        return []
    newest = str(todays[config.schema.as_of].max())
    n_days = client_dates.iso_day(newest) - client_dates.today()
    return checks.check_future(newest, n_days, config.checks)


def check_ingestion(ingested: Ingestion, config: Config) -> list[Finding]:
    """Check the files of an ingestion."""
    dated = ingested.dated
    others = [] if dated is None else [*dated.test_readings, *dated.outcome_readings]
    findings = check_files(ingested.readings, others, config)
    if config.schema.inferred:
        findings += checks.check_columns(ingested.new_columns, config.checks)
    if dated is not None:
        findings += checks.check_missing(find_last_days(ingested.readings, config), config.checks)
        findings += checks.check_repeated(
            dated.account.n_repeated, len(ingested.clients),
            find_same_days(ingested.readings, config), config.checks,
            are_named=are_days_in_names(config),
        )  # fmt: skip
        findings += check_newest_day(ingested.clients, config)
        findings += checks.check_returned(
            dated.n_returned, dated.n_gone, len(ingested.clients), config.checks,
            is_expected=config.schema.leaving_column is not None,
        )  # fmt: skip
        respelt = [astuple(keys) for keys in dated.respelt]
        findings += checks.check_respelt(respelt, config.checks)
    return findings


def check_extracts(read: ReadRows, config: Config) -> list[Finding]:
    """Check the files of dated rows before the first row with a known outcome."""
    n_newest, n_before = read.lengths
    return [
        *check_files(read.readings, [*read.test_readings, *read.outcome_readings], config),
        *check_newest_day(read.clients, config),
        *checks.check_missing(find_last_days(read.readings, config), config.checks),
        *checks.check_length("The newest extract", n_newest, n_before, config.checks),
    ]


def read_unique(path: Path, name: str, wanted: Collection[str] | None = None) -> list[str]:
    """Return the different texts of a column of a dataset, or only the wanted texts."""
    if path.is_file() and path.stat().st_size < SMALL_BYTES:
        # Identifiers such as 007 must stay as they are.
        texts = pd.read_csv(path, usecols=[name], dtype=str, keep_default_na=False)[name].unique()
        return [text for text in texts if wanted is None or text in wanted]
    # A cluster writes a folder of parts, beside files of its own.
    parts = sorted(path.glob("part-*")) if path.is_dir() else [path]
    found: list[str] = table_reader.import_polars().read_unique(parts, name, wanted)
    return found


def is_in_store(path: Path) -> bool:
    """Return whether the parts of a dataset lie in an object store: the folder here has none."""
    return isinstance(path, RemotePath) or (path.is_dir() and not any(path.glob("part-*")))


def count_shared(tested: "pd.Series[str]", dataset_path: Path, key: str) -> int:
    """Count the clients of the test rows with a row in the dataset, too."""
    return len(read_unique(dataset_path, key, set(tested)))


def to_days(texts: Iterable[str]) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Return ISO dates as sorted days."""
    return np.unique(np.array(list(texts), dtype="datetime64[D]")).astype(np.int64)


def find_period(extract_days: Sequence[int], test_day: int) -> float:
    """Return the days between two of the newest extracts, 0 without two of them.

    Weekly extracts may become monthly, or monthly ones weekly: the extracts since the test count,
    at least the newest ones, and no period is shorter than the time to the extract after the test.

    Parameters
    ----------
    extract_days : sequence of int
        The days of the extracts, sorted.
    test_day : int
        The newest day of the test rows, counted like these.
    """
    steps = np.diff(extract_days)
    if not len(steps):
        return 0.0
    # The step from the extract of the test to the one after it.
    place = int(np.searchsorted(extract_days, test_day, side="right")) - 1
    is_among = 0 <= place < len(steps)
    recent = steps[min(max(0, place), max(0, len(steps) - N_STEPS)) :]
    return float(max(np.median(recent), steps[place] if is_among else 0))


def check_test_age(
    table: pd.DataFrame, day: str, ingested: Ingestion, config: Config
) -> list[Finding]:
    """Check the age of dated test rows beside the rows they judge."""
    trained = to_days(read_unique(ingested.dataset_path, day))
    tested = to_days(table[day].unique())
    newest = trained if config.outcomes is None else to_days(ingested.clients[day].unique())
    if not len(tested) or not len(newest):
        return []
    horizon = 0 if config.outcomes is None else config.outcomes.horizon_days
    extracts = [] if ingested.dated is None else ingested.dated.extract_days
    period = find_period(extracts, int(tested[-1]))
    if not period:
        steps = np.diff(np.unique(np.concatenate([trained, tested, newest])))
        period = float(np.median(steps)) if len(steps) else 0.0
    return checks.check_age(int(newest[-1] - tested[-1]), period, horizon, config.checks)


def check_clients(
    table: pd.DataFrame, ids: Sequence[str], dataset_path: Path, config: Config
) -> list[Finding]:
    """Check whether clients of a folder of test data are in a dataset, too."""
    # The dataset of a cluster in an object store is not read again for this.
    if not ids or config.tests_latest_rows or is_in_store(dataset_path):
        return []
    n_shared = count_shared(table[ids[0]], dataset_path, ids[0])
    return checks.check_shared(table[ids[0]], n_shared, config.checks)


def thin_out(table: pd.DataFrame) -> pd.DataFrame:
    """Return at most MAX_ROWS rows of a table, evenly."""
    return table.iloc[:: max(1, math.ceil(len(table) / MAX_ROWS))]


def check_candidate(
    run: Run, context: RunContext, ingested: Ingestion, trained: Training, scored: Scoring
) -> list[Finding]:
    """Check the candidate and its test data."""
    config, model = run.config, trained.model
    table, _ = context.test_data.read(model.schema)
    sample = thin_out(table)
    y = dataset.target(sample, model.schema)
    columns = dataset.feature_arrays(sample, model.schema)
    facts = model.dataset
    findings = [
        *checks.check_leak(model, columns, y, config.checks),
        *checks.check_f1(scored.evaluation, config.checks),
        *checks.check_useless(scored.evaluation, config.checks),
        *checks.check_labels(facts.n_rows, facts.n_positives, config.checks),
    ]
    ids = model.schema.ids
    if config.schema.date and not is_in_store(ingested.dataset_path):
        # The identifiers of dated rows are the key and the day.
        findings += check_test_age(table, ids[1], ingested, config)
    return findings + check_clients(table, ids, ingested.dataset_path, config)


def check_one_label(ingested: Ingestion, target: str, config: Config) -> list[Finding]:
    """Check whether all labels of a dataset are equal, which leaves nothing to train on."""
    if is_in_store(ingested.dataset_path):
        return []
    labels = read_unique(ingested.dataset_path, target)
    if len(labels) != 1:
        return []
    n_positives = ingested.n_rows if str(labels[0]) == "1" else 0
    return checks.check_labels(ingested.n_rows, n_positives, config.checks)


def check_without_model(context: RunContext, ingested: Ingestion) -> list[Finding]:
    """Check the files, and the clients of test and training, without a model."""
    config, findings = context.config, check_ingestion(ingested, context.config)
    folder, stamp = ingested.dataset_path.parent, ingested.stamp
    try:
        schema = dataset.read_schema(Kind.SCHEMA.path(folder, stamp), config.schema)
        table, _ = context.test_data.read(schema)
    except (DatasetError, OSError) as error:
        log.warning("The test data was not checked: %s", error)
        return findings
    findings += check_one_label(ingested, schema.target, config)
    return findings + check_clients(table, schema.ids, ingested.dataset_path, config)


def count_predicted(connection: Connection, context: RunContext) -> tuple[int, int, float]:
    """Return predicted leavers and clients of the last list, and the share who left before.

    Clients without enough data are left out. The share is that of the labels in training.
    """
    scoring, current = scoring_records.last_scoring(connection), context.current_release()
    if scoring is None or current is None:
        return 0, 0, 0.0
    facts = current.model.dataset
    return (
        clients.count_at_least(connection, scoring, current.model.threshold),
        scoring["n_clients"] - scoring["n_without_data"],
        facts.n_positives / max(1, facts.n_rows),
    )


def as_sums(row: Row, left_before: Mapping[str, int]) -> OutcomeSums:
    """Return the sums of the records without the clients whom somebody tried to contact."""
    sums = OutcomeSums(
        n_scored=row["n_scored"] - int(row["n_contacted"]), n_known=int(row["n_known"]),
        n_left=int(row["n_left"]),
        sum_predicted=row["sum_predicted"], sum_variance=row["sum_variance"],
    )  # fmt: skip
    return checks.with_left_before(sums, left_before.get(row["date"], 0))


def find_length_before(connection: Connection, lengths: Sequence[Row]) -> int | None:
    """Return the length of the list to compare the newest list with, None without one.

    With dates it is of an earlier extract: beside the list of the same extract in an earlier run,
    an extract that is short would be as long as before.
    """
    earlier = None
    if lengths and lengths[0]["as_of"]:
        earlier = check_records.find_list_before(connection, lengths[0]["as_of"])
    if earlier is not None:
        return int(earlier["n_clients"])
    return lengths[1]["n_clients"] if len(lengths) > 1 else None


def read_names(connection: Connection, scoring_id: int) -> set[str]:
    """Return the clients of a list."""
    buckets = client_blocks.bucket_sizes(connection, scoring_id)
    return {
        name
        for bucket in buckets
        for name in scored_clients.read_clients(connection, scoring_id, [bucket]).names
    }


def count_known(
    connection: Connection, lengths: Sequence[Row], n_returning: int
) -> tuple[int, int] | None:
    """Return how many of today's clients were on the list before, and its length.

    While most of an extract's clients are new, the list before is that of an earlier extract: all
    of them were on the list of the same extract in an earlier run. None without a list before.
    """
    if len(lengths) < 2:
        return None
    newest, before = lengths
    if newest["as_of"] and newest["as_of"] == before["as_of"]:
        earlier = check_records.find_list_before(connection, newest["as_of"])
        if earlier is not None and check_records.is_alarm(connection, "changed_list"):
            known = read_names(connection, earlier["id"])
            return len(known & read_names(connection, newest["id"])), earlier["n_clients"]
    return n_returning, before["n_clients"]


def check_list(run: Run, context: RunContext, scored: ScoredList) -> list[Finding]:
    """Check today's list, and the outcomes joined by this run."""
    config = run.config
    with database.reading(run.engine) as connection:
        lengths = check_records.list_lengths(connection)
        n_compared = find_length_before(connection, lengths)
        known = count_known(connection, lengths, scored.n_returning)
        page = worklist.worklist_page(connection, config.worklist, config.api, top=1)
        sums = check_records.sum_outcomes(connection, run.id)
        predicted = count_predicted(connection, context)
    findings = []
    if lengths and lengths[0]["run_id"] == run.id:
        findings += checks.check_list(page.bands, n_compared, config.checks)
        if config.schema.date and known is not None:
            n_known, n_before = known
            n_today = lengths[0]["n_clients"]
            findings += checks.check_changed(n_known, n_today, n_before, config.checks)
        findings += checks.check_predicted(*predicted, config.checks)
    current = context.current_release()
    if not lengths and current is not None and config.schema.date:
        findings += checks.check_never_empty(config.checks)
    n_training = 0 if current is None else current.model.n_training_rows
    # Of an upload there are too few, and of the newest day perhaps the leavers alone.
    each = (
        as_sums(row, scored.left_before) for row in sums if row["date"] not in scored.late_dates
    )
    judged = (checks.check_outcomes(found, n_training, config.checks) for found in each)
    return findings + next(filter(None, judged), [])


def check_values(table: pd.DataFrame, context: RunContext) -> list[Finding]:
    """Check the values of today's clients beside the training rows of the model that scored them.

    Of very many clients some are taken, evenly.
    """
    current = context.current_release()
    if current is None or not set(current.model.schema.features) <= set(table.columns):
        return []
    columns = dataset.feature_arrays(thin_out(table), current.model.schema)
    return value_checks.check_values(columns, current.model, context.config)


def check_rejected_labels(readings: Sequence[FileReading], error: InsufficientDataError) -> None:
    """Raise if labels outside of the schema leave training data with one class.

    Raises
    ------
    DatasetError
        With the labels found.
    """
    rejected = [r for r in readings if read_report.rejected_labels(r)]
    if any(10 * len(r.rejected) >= r.n_rows for r in rejected):
        raise DatasetError(
            f"{error} Rows were rejected for their label: {read_report.format_complaints(rejected)}"
            " Compare schema.positive and schema.negative with the labels."
        ) from error
