"""The comparison of two runs: settings, files, schema, terms, metrics and lists."""

import gc

if __name__ == "__main__":
    # Before the imports, of whose time garbage collection would take a fifth.
    gc.disable()

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import click
import msgspec
import sqlalchemy as sa
from msgspec import Struct, field
from sqlalchemy.engine import Connection

from scripts.clients import list_comparison
from scripts.core import artifacts, console, files
from scripts.core.config import LATEST_ROWS, Config, Schema
from scripts.core.errors import NotMadeYetError, PipelineError
from scripts.pipeline import comparison_text
from scripts.production import kept_models, model_comparison, promotion_metric
from scripts.production.comparison_types import (
    FileChange,
    ListChange,
    MetricChange,
    RunComparison,
    RunSide,
    TermChange,
    ValueChange,
)
from scripts.production.evaluation_data import EvaluationData
from scripts.production.kept_models import KeptModel
from scripts.records import database, runs, scoring_records, tables
from scripts.records.runs import Row

Result = TypeVar("Result")


class UnknownError(NotMadeYetError):
    """The reason for a part of a comparison without a result."""


class RecordedRun(Struct, frozen=True):
    """A run in the records, with its model if the model is kept."""

    run: Row
    model: Row | None
    files: Sequence[Row]
    settings: Mapping[str, Any] | None
    scoring: Row | None
    kept: KeptModel

    @property
    def id(self) -> int:
        """The number of the run."""
        return int(self.run["id"])

    def describe(self) -> RunSide:
        """Return the run for the response."""
        return RunSide(
            run_id=self.id, started_at=self.run["started_at"].isoformat(),
            verdict=self.run["verdict"] or self.run["status"],
            model_stamp=None if self.model is None else self.model["stamp"],
            release=self.run["release"], model_from=self.kept.place,
        )  # fmt: skip

    def schema(self) -> Schema:
        """Return the training schema of the run.

        Raises
        ------
        UnknownError
            If neither the model nor its origin is kept.
        """
        if self.kept.model is not None:
            return self.kept.model.schema
        raise UnknownError(self.kept.place)


class MissingParts(Struct):
    """The reasons for parts of a comparison without a result."""

    reasons: dict[str, str] = field(default_factory=dict)

    def ask(self, part: str, question: Callable[[], Result], default: Result) -> Result:
        """Return the answer of a question, or note why there is none and return the default."""
        try:
            return question()
        except (PipelineError, OSError) as error:
            self.reasons[part] = str(error).rstrip(".")
            return default


def settings_at(connection: Connection, run: Row) -> Mapping[str, Any] | None:
    """Return the settings of a run by full name, None if none are recorded."""
    changes = tables.config_changes
    query = sa.select(changes).where(changes.c.at <= run["started_at"])
    found = runs.first_row(connection, query.order_by(changes.c.id.desc()))
    return None if found is None else found["settings"]


def read_run(connection: Connection, config: Config, run_id: int) -> RecordedRun:
    """Read a run from the records.

    Raises
    ------
    NotMadeYetError
        If there is no such run.
    """
    run = runs.find_run(connection, run_id)
    if run is None:
        raise NotMadeYetError(
            f"There is no run {run_id}; python -m scripts.fullprocess --history 20 lists them."
        )
    model = runs.newest_row(connection, tables.models, run_id=run_id)
    scoring = runs.newest_row(connection, tables.scorings, run_id=run_id, is_whole=True)
    return RecordedRun(
        run,
        model,
        runs.files_of_run(connection, run_id),
        settings_at(connection, run),
        scoring,
        kept_models.find(connection, config, run_id, model),
    )


def format_setting(value: Any) -> str:
    """Format a setting as JSON."""
    return json.dumps(value, ensure_ascii=False)


def compare_values(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[ValueChange]:
    """Return the names with different values, also names of one side only."""
    return [
        ValueChange(
            name=str(name),
            a=None if name not in a else format_setting(a[name]),
            b=None if name not in b else format_setting(b[name]),
        )
        for name in sorted({*a, *b})
        if name not in a or name not in b or a[name] != b[name]
    ]


def compare_settings(a: RecordedRun, b: RecordedRun) -> list[ValueChange]:
    """Return the changed settings."""
    for side in (a, b):
        if side.settings is None:
            raise UnknownError(f"run {side.id} was recorded before settings were")
    return compare_values(a.settings or {}, b.settings or {})


def compare_versions(a: RecordedRun, b: RecordedRun) -> list[ValueChange]:
    """Return the changed versions of Python and packages, if both runs recorded them."""
    old, new = (side.run["versions"] or {} for side in (a, b))
    both = old.keys() & new.keys()
    return compare_values({n: old[n] for n in both}, {n: new[n] for n in both})


def files_by_place(side: RecordedRun) -> dict[tuple[str, str], Row]:
    """Return the files of a run by role and path."""
    if not side.files:
        raise UnknownError(
            f"run {side.id} read no file, or its files are forgotten (retention.history)"
        )
    return {(str(row["role"]), str(row["path"])): row for row in side.files}


def compare_files(a: RecordedRun, b: RecordedRun) -> list[FileChange]:
    """Return the added, removed and changed files from run a to run b."""
    old, new = files_by_place(a), files_by_place(b)
    changes = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if before is not None and after is not None and before["sha256"] == after["sha256"]:
            continue
        changes.append(
            FileChange(
                role=key[0], path=key[1],
                change="added" if before is None else "removed" if after is None else "changed",
                n_rows_a=None if before is None else before["n_rows"],
                n_rows_b=None if after is None else after["n_rows"],
            )
        )  # fmt: skip
    return changes


def describe_columns(schema: Schema) -> dict[str, str]:
    """Return the role of each column of a schema."""
    roles = {
        "identifier": schema.ids, "number": schema.numeric, "text": schema.categorical,
        "label": (schema.target,),
    }  # fmt: skip
    return {name: role for role, names in roles.items() for name in names}


def compare_schemas(a: RecordedRun, b: RecordedRun) -> list[ValueChange]:
    """Return the columns with a changed role."""
    old, new = (describe_columns(side.schema()) for side in (a, b))
    changes = compare_values(old, new)
    # A role is a word, not a value in quotes.
    return [
        msgspec.structs.replace(change, a=old.get(change.name), b=new.get(change.name))
        for change in changes
    ]


def compare_terms(a: RecordedRun, b: RecordedRun) -> tuple[list[TermChange], int]:
    """Return the changed terms, and the number of equal terms."""
    for side in (a, b):
        side.schema()
    assert a.kept.model is not None
    assert b.kept.model is not None
    return model_comparison.compare_terms(a.kept.model, b.kept.model)


def without_store(config: Config) -> Config:
    """Return a config with the fetched copy of test data in an object store."""
    place = config.test_data_path
    if place == LATEST_ROWS or not isinstance(place, files.RemotePath):
        return config
    fetched = config.output_folder_path / artifacts.FETCHED_TESTS
    if not fetched.is_dir():
        raise UnknownError("the test data lies in an object store, and no run has fetched it yet")
    return msgspec.structs.replace(config, test_data_path=fetched)


def compare_metrics(
    config: Config, a: RecordedRun, b: RecordedRun
) -> tuple[list[MetricChange], int]:
    """Return the metrics of both models on the test rows of now, and the number of rows."""
    schema = model_comparison.merge_schemas(a.schema(), b.schema())
    assert a.kept.model is not None
    assert b.kept.model is not None
    table, _ = EvaluationData(without_store(config)).read(schema)
    n_clients = len(table) if b.scoring is None else b.scoring["n_clients"]
    fraction = promotion_metric.find_listed_fraction(config.worklist, n_clients)
    found = model_comparison.compare_metrics(a.kept.model, b.kept.model, table, config, fraction)
    return found, len(table)


def compare_lists(
    connection: Connection, config: Config, a: RecordedRun, b: RecordedRun
) -> ListChange:
    """Return the clients on the list of only one of the runs."""
    for side in (a, b):
        if side.scoring is None:
            raise UnknownError(f"run {side.id} left no list, or it is no longer kept")
    assert a.scoring is not None
    assert b.scoring is not None
    with_scores = set(scoring_records.blocks_of(connection, [tables.BlockKind.SCORES]))
    for side in (a, b):
        assert side.scoring is not None
        if side.scoring["n_clients"] and side.scoring["id"] not in with_scores:
            raise UnknownError(
                f"the list of run {side.id} is no longer kept (retention.scorings is"
                f" {config.retention.scorings})"
            )
    return list_comparison.compare(connection, (a.scoring, b.scoring), config.worklist)


@contextmanager
def reading(config: Config) -> Iterator[Connection]:
    """Open the records in one reading transaction."""
    with (
        database.open_records(config.database_url, may_change=False) as engine,
        database.reading(engine) as connection,
    ):
        yield connection


def compare(config: Config, run_a: int, run_b: int) -> RunComparison:
    """Compare two runs.

    Parameters
    ----------
    config : Config
        The installation.
    run_a, run_b : int
        The runs. The differences are those of b beside a.

    Returns
    -------
    RunComparison
        What is no longer kept stands in `unknown`, with the reason.

    Raises
    ------
    NotMadeYetError
        If there is no such run.
    """
    unknown = MissingParts()
    with reading(config) as connection:
        a, b = (read_run(connection, config, number) for number in (run_a, run_b))
        lists = unknown.ask("lists", lambda: compare_lists(connection, config, a, b), None)
    no_terms: tuple[list[TermChange], int] = ([], 0)
    no_metrics: tuple[list[MetricChange], int] = ([], 0)
    terms, n_equal_terms = unknown.ask("terms", lambda: compare_terms(a, b), no_terms)
    found, n_rows = unknown.ask("metrics", lambda: compare_metrics(config, a, b), no_metrics)
    return RunComparison(
        a=a.describe(), b=b.describe(),
        settings=unknown.ask("settings", lambda: compare_settings(a, b), []),
        versions=compare_versions(a, b),
        files=unknown.ask("files", lambda: compare_files(a, b), []),
        schema=unknown.ask("schema", lambda: compare_schemas(a, b), []),
        terms=terms, n_equal_terms=n_equal_terms, metrics=found, n_test_rows=n_rows, lists=lists,
        unknown=unknown.reasons,
    )  # fmt: skip


def main(config: Config, *, run_a: int, run_b: int, as_json: bool = False) -> RunComparison:
    """Compare two runs, and print the comparison as text or as JSON."""
    if as_json:
        console.give_way()
    found = compare(config, run_a, run_b)
    click.echo(
        msgspec.json.encode(found).decode() if as_json else comparison_text.format_comparison(found)
    )
    return found


def print_json(config: Config, *, run_a: int, run_b: int) -> None:
    """Compare two runs for a service, and print the comparison as JSON."""
    main(config, run_a=run_a, run_b=run_b, as_json=True)


RUNS = (click.Argument(["run_a"], type=int), click.Argument(["run_b"], type=int))

if __name__ == "__main__":
    # What `fullprocess --compare` does, without the imports of a whole run: half of its time.
    console.run_program(console.make_command(console.with_config(print_json), RUNS))
