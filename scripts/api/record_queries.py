"""Queries of the service to the database of runs, imported by `records_reader` alone."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Self

from sqlalchemy.engine import Connection, Engine

from scripts.clients import (
    calling_effect,
    client_history,
    client_work,
    delivery_state,
    formatting,
    list_files,
    worklist,
)
from scripts.clients.client_history import LogOddsSum
from scripts.clients.response_types import (
    CallingEffect,
    ClientDetails,
    Outcomes,
    RecordedWork,
    ScoreEntry,
    WorkHistory,
    Worklist,
    WorklistEntry,
)
from scripts.clients.work_input import WorkInput
from scripts.clients.worklist import ListPage
from scripts.core import check_limits, column_words
from scripts.core.config import CheckSettings, Config
from scripts.core.errors import RecordsError
from scripts.core.failed_logins import Counted
from scripts.model.logistic_model import Model
from scripts.production import approval, card_records, model_card
from scripts.production.release import Release
from scripts.records import (
    alert_states,
    approvals,
    check_records,
    database,
    failed_logins,
    predictions,
    run_details,
    runs,
    shadows,
    tables,
)
from scripts.records import (
    client_work as work_records,
)
from scripts.records.runs import Row

N_TOP, N_LATEST_RUNS = 5, 6
N_MODELS, N_DEPLOYMENTS, N_RUNS = 30, 20, 30
# The deployment and the decision of the serving release are looked for among the latest.
N_SEARCHED_DEPLOYMENTS, N_SEARCHED_DECISIONS = 100, 200
# Names of alert states and their titles on the pages.
STATE_TITLES = {"data": "Input data", "model": "Model in production", "run": "Runs"}
# The state of data and model between a deployment and the first comparison with the new release.
NEW_MODEL = "new model"
# Names of checks and the problems that they look for.
CHECK_TITLES = {
    "leak": "A column alone tells who left",
    "perfect_f1": "F1 is too good to be true",
    "useless_model": "The model finds nobody who left",
    "shared_clients": "Clients of the test data are in training",
    "rejected_rows": "Many rows of a file were rejected",
    "refused_files": "Files were refused",
    "missing_files": "The newest extract has fewer files",
    "repeated_rows": "Rows of a client and day stand twice",
    "future_rows": "The newest rows are of a day to come",
    "one_label": "All labels have one value",
    "shrunk_list": "Today's list is short or empty",
    "changed_list": "Most of today's clients are new",
    "returned_clients": "The newest extract has clients who left",
    "respelt_keys": "Keys are written otherwise than before",
    "new_columns": "Files have columns that no model uses",
    "one_band": "Today's list has one band",
    "nobody_predicted": "Nobody is predicted to leave",
    "changed_values": "Today's clients are unlike the training rows",
    "outcome_shares": "Predicted and realised shares are apart",
    "old_test_data": "The test data is old",
}


def rank_table(used: Model, columns: dict[str, list[Any]], config: Config) -> list[WorklistEntry]:
    """Rank all clients of an uploaded table with a model, without the database."""
    n_rows = len(columns[used.schema.features[0]])
    words = column_words.words_of(config.schema)
    return worklist.rank_table(used, columns, config.api, config.worklist, n_rows, words)


# A config that changes brings another address now and then.
@lru_cache(maxsize=2)
def open_engine(database_url: str, wait_s: float) -> Engine:
    """Return the engine of an address, which keeps no connection open.

    A new engine asks a server for its version and settings first, in several round trips.
    """
    return database.make_engine(database_url, wait_s)


class RecordQueries:
    """Queries within one transaction.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        The open transaction.
    """

    rank_table = staticmethod(rank_table)
    approve = staticmethod(approval.approve)
    reject = staticmethod(approval.reject)
    entries_as_csv = staticmethod(formatting.format_entries_as_csv)
    part_as_csv = staticmethod(formatting.format_part_as_csv)
    write_workbook = staticmethod(list_files.write_workbook)
    crm_as_csv = staticmethod(list_files.format_crm)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @classmethod
    @contextmanager
    def reading(cls, database_url: str, wait_s: float) -> Iterator[Self]:
        """Open a reading transaction, and close the database afterwards.

        Raises
        ------
        NotMadeYetError
            If there are no records yet.
        RecordsError
            If the records cannot be used, or have another version.
        """
        engine = open_engine(database_url, wait_s)
        try:
            with database.reading(engine) as connection:
                yield cls(connection)
        except RecordsError:
            # Looked for after a failure only, since every page would pay for the question.
            database.check_tables(engine)
            raise

    @classmethod
    @contextmanager
    def writing(cls, database_url: str, wait_s: float) -> Iterator[Self]:
        """Open a writing transaction on a database of the present version."""
        with (
            database.open_records(database_url, wait_s=wait_s, may_change=False) as engine,
            database.writing(engine) as connection,
        ):
            yield cls(connection)

    def record_predictions(self, rows: Sequence[Row], n_kept: int) -> None:
        """Insert logged predictions, and delete all but the newest."""
        predictions.record_predictions(self._connection, rows)
        predictions.forget_old_predictions(self._connection, n_kept)

    def record_failed_logins(self, counted: Counted, now: datetime) -> None:
        """Add counted failed logins to the records, and remove the old ones."""
        failed_logins.record(self._connection, counted, now)

    def last_finished_run(self) -> Row | None:
        """Return the last successful run, or None."""
        return runs.last_finished_run(self._connection)

    def latest_runs(self, limit: int, offset: int) -> list[Row]:
        """Return a page of runs, newest first."""
        return runs.latest_runs(self._connection, limit, offset)

    def list_deployments(self, limit: int, offset: int) -> list[Row]:
        """Return a page of deployments and rollbacks, newest first."""
        return runs.list_deployments(self._connection, limit, offset)

    def run(self, run_id: int) -> dict[str, Any] | None:
        """Return a run with its steps, files, model and decision, or None."""
        return run_details.find_run_details(self._connection, run_id)

    def known_runs(self, numbers: Sequence[int]) -> set[int]:
        """Return the numbers of runs in the records."""
        return {n for n in numbers if runs.find_run(self._connection, n) is not None}

    def trained_runs(self, limit: int) -> list[Row]:
        """Return the last runs with a model, newest first."""
        return run_details.decided_models(self._connection, limit)

    def worklist(self, config: Config, **selection: Any) -> Worklist:
        """Return a page of today's worklist."""
        return self.list_page(config, **selection).whole()

    def list_page(self, config: Config, **selection: Any) -> ListPage:
        """Return a page of today's worklist before the reasons are found."""
        words = column_words.words_of(config.schema)
        return worklist.read_page(self._connection, config.worklist, config.api, words, **selection)

    def client(self, config: Config, client: str) -> ClientDetails | None:
        """Return the score and the history of a client, or None."""
        words = column_words.words_of(config.schema)
        return client_history.client_page(
            self._connection, config.worklist, client, config.api, words
        )

    def split_risk(self, config: Config, score: ScoreEntry) -> LogOddsSum:
        """Return the terms of a client's log-odds."""
        words = column_words.words_of(config.schema)
        return client_history.split_risk(self._connection, score, words)

    def record_work(self, config: Config, given: Sequence[WorkInput], actor: str) -> RecordedWork:
        """Record entries about the work with clients, all or none."""
        now = datetime.now(UTC)
        return client_work.record(self._connection, config.worklist, given, actor=actor, now=now)

    def work_history(self, limit: int, offset: int) -> WorkHistory:
        """Return a page of the entries about the work with clients, newest first."""
        return client_work.work_page(self._connection, limit, offset)

    def assignees(self) -> list[str]:
        """Return everybody to whom a client was ever assigned."""
        return work_records.list_assignees(self._connection)

    def outcomes(self, config: Config) -> Outcomes:
        """Return the measured success of earlier predictions."""
        return client_history.outcomes_page(
            self._connection, config.worklist, config.api, config.retention.outcome_days
        )

    def calling(self, config: Config) -> CallingEffect:
        """Return whether calling helps."""
        return calling_effect.calling_page(self._connection, config.worklist)

    def waiting_candidate(self) -> dict[str, Any] | None:
        """Return the candidate that waits for approval with the evidence of the gate, or None."""
        waiting = approvals.find_waiting(self._connection)
        if waiting is None:
            return None
        decision = runs.newest_row(self._connection, tables.decisions, run_id=waiting["run_id"])
        shadow = shadows.find_shadow(self._connection, waiting["run_id"])
        return {**(decision or {}), **waiting, "shadow": shadow}

    def model_card(self, config: Config, release: Release) -> str:
        """Return the card of the model in production, as Markdown."""
        found = card_records.read_card(self._connection, release.name, release.manifest.model_stamp)
        return model_card.as_markdown(model_card.make_card(config, release, found))

    def alert_states(self) -> list[Row]:
        """Return the alert states with their titles, None for a state before the first check.

        A deployment resets the states of data and model to "ok". Until a run has compared both with
        the new release, the state is `NEW_MODEL`.
        """
        known = {row["name"]: dict(row) for row in alert_states.list_states(self._connection)}
        deployed = runs.list_deployments(self._connection, 1)
        if deployed:
            measured = run_details.measured_states(self._connection, deployed[0]["at"])
            for name in {"data", "model"} & set(known) - measured:
                known[name] |= {"state": NEW_MODEL, "since": deployed[0]["at"]}
        return [
            {"name": name, "title": title, "state": None, "since": None} | known.get(name, {})
            for name, title in STATE_TITLES.items()
        ]

    def checks(self, settings: CheckSettings) -> list[Row]:
        """Return the states of the checks with their titles, alarms first.

        A check that has just been switched off has no state, though the last run has left one.
        """
        known = [
            dict(row) | {"title": CHECK_TITLES.get(row["name"], row["name"])}
            for row in check_records.list_checks(self._connection)
            if not check_limits.is_off(settings, row["name"])
        ]
        return sorted(known, key=lambda row: bool(row["state"] == alert_states.OK))

    def alarms(self, config: Config) -> list[str]:
        """Return the problems of checks, and of mails and events of the list."""
        found = [row for row in self.checks(config.checks) if row["state"] != alert_states.OK]
        problems = [f"{row['title']}: {row['detail']}" for row in found]
        return problems + delivery_state.describe_problems(self._connection, config)

    def evidence(self, model_stamp: str | None) -> dict[str, Row | None]:
        """Return a model's scores and the decision on its deployment, by name."""
        decisions = runs.list_decisions(self._connection, N_SEARCHED_DECISIONS)
        matching = [row for row in decisions if row["candidate_stamp"] == model_stamp]
        return {
            "model": (
                None if model_stamp is None else runs.find_model(self._connection, model_stamp)
            ),
            "decision": matching[0] if matching else None,
        }

    def overview(
        self, config: Config, release: str | None, model_stamp: str | None
    ) -> dict[str, Any]:
        """Return the variables of the template overview.html.

        Parameters
        ----------
        config : Config
            With the capacity of the team and the limits of the bands.
        release, model_stamp : str or None
            The release in production and its model.

        Returns
        -------
        dict
            Variables by name.
        """
        deployments = runs.list_deployments(self._connection, N_SEARCHED_DEPLOYMENTS)
        return {
            **self.evidence(model_stamp),
            "candidate": self.waiting_candidate(),
            "deployment": next((row for row in deployments if row["release"] == release), None),
            "runs": runs.latest_runs(self._connection, N_LATEST_RUNS),
            "states": self.alert_states(),
            "checks": self.checks(config.checks),
            "worklist": self.worklist(config, top=N_TOP),
            "outcomes": self.outcomes(config),
        }

    def models(self, model_stamp: str | None) -> dict[str, Any]:
        """Return the variables of the template models.html."""
        return {
            **self.evidence(model_stamp),
            "candidate": self.waiting_candidate(),
            "models": run_details.decided_models(self._connection, N_MODELS),
            "deployments": self.list_deployments(N_DEPLOYMENTS, 0),
        }

    def dataset(self) -> dict[str, Any]:
        """Return the last described dataset: run, columns, and each column over the runs."""
        run_id = run_details.last_described_run(self._connection)
        if run_id is None:
            return {"states": self.alert_states()}
        columns = runs.column_statistics_of_run(self._connection, run_id)
        deployed = runs.list_deployments(self._connection, 1)
        return {
            "run": runs.find_run(self._connection, run_id),
            "replaced": deployed[0] if deployed and deployed[0]["run_id"] == run_id else None,
            "states": self.alert_states(),
            "columns": columns,
            "past": {
                row["column"]: runs.list_column_statistics(self._connection, row["column"], N_RUNS)
                for row in columns
            },
        }
