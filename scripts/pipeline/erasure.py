"""The erasure of a client: from the records, files, models and reports of an installation.

An erasure that was killed is completed by the same command. Each part may be done twice, and what
a later part needs of the client is removed after it.
"""

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from msgspec import Struct, field
from msgspec.structs import replace
from sqlalchemy.engine import Engine

from scripts import reporting
from scripts.core import artifacts, console, erased_clients, files, keys, terminal
from scripts.core.artifacts import Kind
from scripts.core.config import Config
from scripts.core.errors import ConfigError, NotMadeYetError, PipelineError
from scripts.core.files import RemotePath
from scripts.data.client_lines import FoundLines
from scripts.pipeline import client_files, client_models, client_statistics, retention, snapshot
from scripts.pipeline.client_models import ClientModels, DatasetRows
from scripts.production import kept_models
from scripts.records import database, erasing, erasure_records, maintenance, runs, score_erasure
from scripts.records.tables import ErasureState
from scripts.reports import chart_files

log = logging.getLogger(__name__)


class Client(Struct, frozen=True):
    """A client to erase or to readmit, the keyed hash, the actor and the reason."""

    name: str
    hashed: str
    actor: str
    reason: str

    @property
    def told(self) -> dict[str, Any]:
        """The facts of a step for the records."""
        return {"at": datetime.now(UTC), "actor": self.actor, "reason": self.reason}


class Traces(Struct, frozen=True):
    """The places of a client: lines of our files, lines of company files, and rows of records."""

    own: tuple[FoundLines, ...]
    company: tuple[FoundLines, ...]
    parts: tuple[DatasetRows, ...] = ()
    n_rows: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether the client is nowhere."""
        return not (self.own or self.company or self.parts or any(self.n_rows.values()))

    def count_lines(self) -> int:
        """Count the records of the client in files of our own."""
        return sum(len(found.spans) for found in self.own)


def name_client(config: Config, name: str, reason: str) -> Client:
    """Return the client of a command.

    Raises
    ------
    ConfigError
        If no column identifies a client.
    UsageError
        If the reason names the client: it is kept for good.
    """
    if not config.schema.client_ids:
        raise ConfigError(
            "config.json declares no identifier in schema.ids, so no row is known to be of a"
            " client. Declare the columns that identify a client."
        )
    if erasing.is_distinct(name) and erasing.name_pattern(name).search(reason):
        raise click.UsageError(
            "The reason names the client, and is kept for good. Give one without the name, such as"
            ' --reason "request 17".'
        )
    key = keys.make_key(config.prod_deployment_path)
    return Client(name, erased_clients.hash_client(key, name), console.actor(), reason)


def list_predictions(config: Config, name: str) -> str:
    """Return the keyed hash of a client in the prediction log."""
    parts = [name]
    if len(config.schema.client_ids) > 1:
        # The name escapes a stroke and a backslash of an identifier.
        parts = [part.replace("\\|", "|").replace("\\\\", "\\") for part in name.split(" | ")]
    return erased_clients.hash_identifiers(keys.make_key(config.prod_deployment_path), parts)


def search(config: Config, engine: Engine, name: str) -> Traces:
    """Search files and records for a client."""
    own = client_files.find_all(client_files.list_own(config), name)
    company = client_files.find_all(client_files.list_company(config), name)
    with database.reading(engine) as connection:
        counts = erasing.count_rows(connection, name, list_predictions(config, name))
    parts = client_models.read_parts(config, name)
    return Traces(tuple(own), tuple(company), tuple(parts), counts)


def plan_fingerprints(config: Config, engine: Engine, uploads: Mapping[str, str]) -> dict[str, str]:
    """Return the next run's fingerprint now and without a client, {} if files are new anyway.

    Parameters
    ----------
    config : Config
        The installation.
    engine : sqlalchemy.Engine
        The records.
    uploads : mapping of str to str
        The hash of each upload without the client, by path.
    """
    with database.reading(engine) as connection:
        last, known = runs.last_decided_run(connection), runs.known_files(connection)
    try:
        snap = snapshot.take_snapshot(config, known)
        later = {
            path: replace(file, sha256=uploads.get(path, file.sha256))
            for path, file in snap.known.items()
        }
        after = snapshot.take_snapshot(config, later).fingerprint
    except PipelineError as error:
        log.warning("The next run will look for new data by itself: %s", error)
        return {}
    if last is None or last["fingerprint"] != snap.fingerprint:
        return {}
    return {"before": snap.fingerprint, "after": after}


def keep_current(config: Config, engine: Engine, planned: Mapping[str, str]) -> None:
    """Record that the changes of the erasure are no news for the next run."""
    with database.reading(engine) as connection:
        last, known = runs.last_decided_run(connection), runs.known_files(connection)
    if not planned or last is None or last["fingerprint"] != planned["before"]:
        return
    if snapshot.take_snapshot(config, known).fingerprint == planned["after"]:
        with database.writing(engine) as connection:
            erasing.replace_fingerprint(connection, last["id"], planned["after"])


def list_known(
    engine: Engine, name: str, datasets: Sequence[DatasetRows]
) -> list[Mapping[str, Any]]:
    """Return the known rows of a client, each by column."""
    with database.reading(engine) as connection:
        known: list[Mapping[str, Any]] = list(score_erasure.list_values(connection, name))
    for rows in datasets:
        table = rows.own.astype(object)
        found = table.where(table.notna(), None).to_dict("records")
        known += [{str(key): cell for key, cell in row.items()} for row in found]
    return known


def erase_predictions(
    config: Config, engine: Engine, name: str, datasets: Sequence[DatasetRows]
) -> dict[str, int]:
    """Remove the logged predictions of a client, also rows without identifiers.

    Statistics that have a number of the client go, too, and go first, as long as the numbers are
    known.
    """
    schemas = {rows.schema.features for rows in datasets} | client_models.list_features(config)
    known, logged = list_known(engine, name, datasets), list_predictions(config, name)
    with database.writing(engine) as connection:
        rows = client_statistics.list_logged(connection, logged, schemas)
        numbers = client_statistics.list_numbers([*known, *rows])
        client_statistics.clean_diagnostics(config, numbers)
        n_statistics = client_statistics.clean_records(connection, numbers)
    predicted = [
        [row.get(feature) for feature in features] for features in schemas for row in known
    ]
    n_predictions = erasing.erase_predictions(engine, logged, predicted)
    return {"predictions": n_predictions, "statistics of columns": n_statistics}


def remove_pictures(config: Config) -> int:
    """Remove reports, charts and answers of the service, and return their number.

    Their text is compressed or drawn, so nobody can search them for a category of one client.
    """
    folder = config.output_model_path
    charts = chart_files.folder_of(folder)
    paths = [
        *artifacts.list_exact(folder, Kind.REPORT),
        *(charts.glob("*") if charts.is_dir() else ()),
        folder / artifacts.CONFUSION_MATRIX,
        folder / artifacts.API_RETURNS,
    ]
    present = [path for path in paths if path.is_file()]
    for path in present:
        path.unlink()
    return len(present)


def draw_again(config: Config, engine: Engine) -> None:
    """Draw charts and report of the model in production, or log the failure."""
    if artifacts.current_name(config.prod_deployment_path) is None:
        return
    try:
        reporting.main(config, engine=engine, pdf=True)
    except (PipelineError, OSError) as error:
        log.warning("Charts and report were not drawn; the next run draws them: %s", error)


def remove_work(config: Config) -> None:
    """Remove the copies of inputs left by a killed reproduction."""
    folder = config.output_model_path / kept_models.REPRODUCED
    for work in folder.glob("run_*/work"):
        shutil.rmtree(work)


class Erasure(Struct, frozen=True):
    """The erasure of a client from an installation, under the installation's lock."""

    config: Config
    engine: Engine
    client: Client
    traces: Traces

    def plan_uploads(self, hashes: Mapping[str, str]) -> dict[str, str]:
        """Return the hash of each upload without the client, by path."""
        uploads = set(client_files.list_uploads(self.config))
        paths = [found.path for found in self.traces.own if found.path in uploads]
        return {str(path): hashes[files.digest_file(path)] for path in paths}

    def begin(self, uploads: Mapping[str, str]) -> dict[str, str]:
        """Record the intended erasure, and return the fingerprints of the next run."""
        with database.reading(self.engine) as connection:
            unfinished = erasure_records.find_unfinished(connection).get(self.client.hashed)
        if unfinished is not None:
            terminal.echo(f"An erasure begun at {unfinished['at']:%Y-%m-%d %H:%M} is completed.")
            return unfinished["facts"] or {}
        planned = plan_fingerprints(self.config, self.engine, uploads)
        with database.writing(self.engine) as connection:
            erasure_records.record(
                connection, ErasureState.BEGUN, self.client.hashed, planned, **self.client.told
            )
        return planned

    def refuse(self) -> None:
        """Add the client to the list of erased clients, whose rows are refused."""
        folder = self.config.prod_deployment_path
        listed = erased_clients.read_list(folder)
        erased_clients.write_list(folder, [*listed, self.client.hashed])

    def clean_files(self, hashes: Mapping[str, str]) -> int:
        """Remove the client from files of our own, and return the number of rejected lists cut."""
        with database.writing(self.engine) as connection:
            # First the records: the hashes of files that are written already are not known again.
            erasing.replace_file_hashes(connection, self.plan_uploads(hashes))
            erasing.replace_dataset_hashes(connection, hashes)
        client_files.rewrite(self.config, self.traces.own, hashes)
        for rows in self.traces.parts:
            # Their identity is known to the cluster alone, and nothing needs the rows any more.
            files.remove(rows.path)
        remove_work(self.config)
        return client_files.cut_rejected(self.config)

    def clean_records(self) -> dict[str, int]:
        """Remove the client from the records, and count the removed rows by kind."""
        name = self.client.name
        counts = {"scores": score_erasure.erase_scores(self.engine, name)}
        counts |= erasing.erase_rows(self.engine, name)
        counts["texts"] = erasing.erase_texts(self.engine, name)
        return counts

    def clean(self, hashes: Mapping[str, str]) -> tuple[dict[str, int], list[str]]:
        """Remove the client everywhere, and return counts and the files left unchanged."""
        config, engine, name = self.config, self.engine, self.client.name
        found = [client_models.read_rows(config, lines, hashes) for lines in self.traces.own]
        datasets = (*(rows for rows in found if rows is not None), *self.traces.parts)
        counts = erase_predictions(config, engine, name, datasets)
        present = artifacts.list_exact(config.output_folder_path, Kind.DATASET)
        in_parts = artifacts.list_exact(config.output_folder_path, Kind.PARTS)
        known = frozenset(
            {
                *map(files.digest_file, present), *hashes.values(),
                *map(artifacts.read_identity, in_parts),
            }
        )  # fmt: skip
        models = ClientModels(config, name, datasets, known)
        counts["models"], damaged = models.rewrite_all()
        counts["models"] += models.rewrite_scored(engine)
        counts["rows of files"] = self.traces.count_lines()
        counts["names in logs"] = client_files.clean_logs(name)
        counts["lists of rejected rows"] = self.clean_files(hashes)
        counts |= self.clean_records()
        counts["reports and charts"] = remove_pictures(config)
        erasing.compact(engine)
        return counts, damaged

    def run(self) -> tuple[dict[str, int], list[str]]:
        """Erase the client, and return counts of removed rows and the remaining traces."""
        hashes = client_files.plan_hashes(self.traces.own)
        planned = self.begin(self.plan_uploads(hashes))
        self.refuse()
        counts, damaged = self.clean(hashes)
        keep_current(self.config, self.engine, planned)
        draw_again(self.config, self.engine)
        left = [*damaged, *client_files.find_left(self.config, self.client.name)]
        with database.writing(self.engine) as connection:
            erasure_records.record(
                connection, ErasureState.ERASED, self.client.hashed, counts | {"left": len(left)},
                **self.client.told,
            )  # fmt: skip
        return counts, left


def list_workbooks(config: Config) -> list[Path]:
    """List the exported Excel lists of the installation, whose text is compressed."""
    return [path for path in client_files.iterate_files(config) if path.suffix == ".xlsx"]


def list_elsewhere(config: Config) -> list[str]:
    """Return the places of a client beyond the reach of this program."""
    remote = [place for place in client_files.list_places(config) if isinstance(place, RemotePath)]
    parts = [
        path
        for path in artifacts.list_exact(config.output_folder_path, Kind.PARTS)
        if not client_models.is_here(path)
    ]
    return [
        *(f"{place}: an object store is not searched; delete the rows there." for place in remote),
        *(
            f"{path}: a dataset of the Spark engine without Parquet files here; train again"
            " with python -m scripts.fullprocess --force, then remove it."
            for path in parts
        ),
        *(f"{path}: a workbook; look into it and remove it." for path in list_workbooks(config)),
        *(
            f"{path}: records from before a restore; remove the file."
            for path in maintenance.list_replaced(config)
        ),
        "Backups of the records, downloaded and exported lists, copies of the folders, sent mails"
        " and messages, and the shell's history: search them yourself.",
    ]


def format_counts(counts: Mapping[str, int]) -> str:
    """Format counts of removed or found rows."""
    found = [f"{name.replace('_', ' ')} {number}" for name, number in counts.items() if number]
    return ", ".join(found) or "nothing"


def report(client: Client, counts: Mapping[str, int], left: Sequence[str]) -> None:
    """Print the receipt of an erasure, without the name of the client."""
    terminal.echo(
        f"Erased the client {client.hashed}: {format_counts(counts)}. Later rows of the client are"
        f" refused. By {client.actor}: {client.reason}"
    )
    if left:
        terminal.echo(
            "The client is still in these files. Remove the lines, or wait for extracts without"
            " the client; the rows are refused meanwhile:"
        )
        for each in left:
            terminal.echo(f"  {each}")


def show_traces(config: Config, traces: Traces) -> None:
    """Print the places of a client, for a dry run."""
    terminal.echo(f"In the records: {format_counts(traces.n_rows)}.")
    for rows in traces.parts:
        terminal.echo(f"Would be removed as a whole: {rows.path}, a dataset of the Spark engine.")
    for title, found in (
        ("Would be removed from", traces.own),
        ("Would stay in, as files of the company", traces.company),
    ):
        for lines in found:
            terminal.echo(f"{title} {client_files.describe_lines(lines)}.")
    for each in list_elsewhere(config):
        terminal.echo(f"Not searched: {each}")


def check_found(traces: Traces, client: Client, unfinished: Mapping[str, Any]) -> None:
    """Raise if a client is nowhere: the name may be misspelt."""
    if traces.is_empty and client.hashed not in unfinished:
        raise NotMadeYetError(
            "Nothing of this client was found, so nothing was erased and nobody is refused. Write"
            ' the name as python -m scripts.worklist has it; of several identifiers with " | "'
            " between them."
        )


@contextmanager
def opened(config: Config, *, may_change: bool) -> Iterator[Engine]:
    """Open the records, perhaps for reading only."""
    with database.open_records(config.database_url, may_change=may_change) as engine:
        yield engine


def erase(config: Config, *, client: str, reason: str, is_dry: bool = False) -> None:
    """Erase CLIENT from records, files, models and reports, and refuse later rows of the client."""
    named = name_client(config, client, reason)
    if not is_dry:
        # They may have rows of the client, and nothing needs them.
        retention.remove_half_written(config)
        maintenance.remove_half_restored(config)
    with opened(config, may_change=not is_dry) as engine:
        traces = search(config, engine, client)
        with database.reading(engine) as connection:
            unfinished = erasure_records.find_unfinished(connection)
        check_found(traces, named, unfinished)
        if is_dry:
            show_traces(config, traces)
            return
        counts, left = Erasure(config, engine, named, traces).run()
    report(named, counts, left)
    for each in list_elsewhere(config):
        terminal.echo(f"Not searched: {each}")


def readmit(config: Config, *, client: str, reason: str) -> None:
    """Let rows of CLIENT be read again, from the next training run on."""
    named = name_client(config, client, reason)
    listed = erased_clients.read_list(config.prod_deployment_path)
    if named.hashed not in listed:
        raise NotMadeYetError("This client is not among the erased ones; nothing was changed.")
    with opened(config, may_change=True) as engine, database.writing(engine) as connection:
        erasure_records.record(connection, ErasureState.READMITTED, named.hashed, **named.told)
    kept = [each for each in listed if each != named.hashed]
    erased_clients.write_list(config.prod_deployment_path, kept)
    terminal.echo(
        f"Readmitted the client {named.hashed}. The next run that trains reads the rows again;"
        " python -m scripts.fullprocess --force REASON trains at once."
    )


def repeat(config: Config, *, reason: str) -> None:
    """Erase every client again whose erasure is in the records, after a restored backup."""
    erased = erased_clients.find(config.prod_deployment_path)
    with opened(config, may_change=True) as engine, database.reading(engine) as connection:
        names = sorted(erasing.list_names(connection))
    back = [] if erased is None else [name for name in names if erased.has(name)]
    for name in back:
        erase(config, client=name, reason=reason)
    terminal.echo(f"{len(back)} erased clients were in the records again.")


def show(config: Config) -> None:
    """List the erased clients by keyed hash, with who erased them, when and why."""
    listed = erased_clients.read_list(config.prod_deployment_path)
    with opened(config, may_change=False) as engine, database.reading(engine) as connection:
        steps = erasure_records.list_erasures(connection)
        unfinished = erasure_records.find_unfinished(connection)
        unknown = erasure_records.find_unknown(connection, listed)
    rows = [("client", "at (UTC)", "state", "by", "reason")]
    rows += [
        (
            row["client_hash"], f"{row['at']:%Y-%m-%d %H:%M}", row["state"], row["actor"],
            row["reason"],
        )
        for row in steps
    ]  # fmt: skip
    click.echo(terminal.format_columns(rows))
    terminal.echo(f"{len(listed)} clients are refused.")
    if unknown:
        terminal.echo(
            f"{len(unknown)} of them were erased after the backup of these records was made, and"
            f" may be in them again: python -m scripts.clients repeat. {', '.join(sorted(unknown))}"
        )
    for hashed in unfinished:
        terminal.echo(f"The erasure of {hashed} was killed: give the same command again.")
