"""Erasure of a client from the rows and texts of the records: outcomes, work, trials, predictions.

Each function may be repeated: what a killed program has removed is not there the second time.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from scripts.core.errors import RecordsError
from scripts.records import (
    column_blocks,
    database,
    outcome_records,
    score_erasure,
    tables,
)

# The tables with a row per client and event, such as contacts. Predictions have a hash.
BY_CLIENT = tuple(
    table
    for table in tables.metadata.sorted_tables
    if "client" in table.c and table is not tables.predictions
)
# Shorter names, and numbers, would be found in texts that speak of something else.
MIN_NAME_LENGTH = 4
# A longer number with leading zeros is no count of anything.
MIN_DIGITS = 6
# Rows deleted by a statement.
BATCH_ROWS = 1_000
REPLACEMENT = "[erased client]"
# A column of JSON of this name has clients: those of a list that was sent.
MEMBERS = "members"
WRITTEN_BY_PEOPLE = frozenset(
    {tables.client_work.c.note, tables.approvals.c.reason, tables.deployments.c.reason}
)


def list_names(connection: Connection) -> set[str]:
    """List the names of all clients in the records."""
    query = sa.select(tables.client_blocks.c.names, tables.client_blocks.c.n_clients)
    names: set[str] = set()
    for row in connection.execute(query.where(tables.client_blocks.c.names.is_not(None))):
        names.update(column_blocks.unpack_texts(row.names, row.n_clients))
    for table in BY_CLIENT:
        names.update(connection.execute(sa.select(table.c.client).distinct()).scalars())
    return names


def count_rows(connection: Connection, name: str, logged_hash: str) -> dict[str, int]:
    """Count the records about a client, by kind."""
    counts = {"scores": score_erasure.count_scores(connection, name)}
    for table in BY_CLIENT:
        query = sa.select(sa.func.count()).select_from(table).where(table.c.client == name)
        counts[table.name] = connection.execute(query).scalar_one()
    logged = tables.predictions.c.client == logged_hash
    query = sa.select(sa.func.count()).select_from(tables.predictions).where(logged)
    counts["predictions"] = connection.execute(query).scalar_one()
    return counts


def replace_fingerprint(connection: Connection, run_id: int, fingerprint: str) -> None:
    """Record the new fingerprint of a run after its files lost a client."""
    own = tables.runs.update().where(tables.runs.c.id == run_id)
    connection.execute(own.values(fingerprint=fingerprint))


def erase_rows(engine: Engine, name: str) -> dict[str, int]:
    """Remove the outcomes, contacts and trials of a client, and return their numbers by table."""
    with database.writing(engine) as connection:
        outcome_records.forget_counts(connection, name)
        n_removed = {
            table.name: connection.execute(table.delete().where(table.c.client == name)).rowcount
            for table in BY_CLIENT
        }
        connection.execute(tables.outcome_groups.delete().where(outcome_records.IS_EMPTY))
    return n_removed


def is_row_of(logged: Sequence[Any], known: Sequence[Any]) -> bool:
    """Return whether a logged row has the values of a known row, as far as sent.

    A request may lack columns, such as changes against an earlier row. At least half must be there.
    """
    sent = [(cell, own) for cell, own in zip(logged, known, strict=False) if cell is not None]
    is_same = len(logged) == len(known) and 2 * len(sent) >= len(known)
    return is_same and all(cell == own for cell, own in sent)


def find_nameless(connection: Connection, rows: Collection[Sequence[Any]]) -> list[int]:
    """Return the logged predictions without a client but with the values of some rows."""
    logged = tables.predictions.c
    query = sa.select(logged.id, logged["values"]).where(logged.client.is_(None))
    return [
        found.id
        for found in connection.execute(query)
        if any(is_row_of(msgspec.json.decode(found[1]), row) for row in rows)
    ]


def erase_predictions(engine: Engine, logged_hash: str, rows: Collection[Sequence[Any]]) -> int:
    """Remove the logged predictions of a client, and return their number.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The records.
    logged_hash : str
        The keyed hash of the client's identifiers.
    rows : collection of sequence
        The client's values in the order of the model's features. A prediction without a client
        that has these values is the client's.
    """
    logged = tables.predictions.c
    with database.writing(engine) as connection:
        nameless = find_nameless(connection, rows) if rows else []
        gone = tables.predictions.delete().where(logged.client == logged_hash)
        n_removed = connection.execute(gone).rowcount
        for start in range(0, len(nameless), BATCH_ROWS):
            part = nameless[start : start + BATCH_ROWS]
            gone = tables.predictions.delete().where(logged.id.in_(part))
            n_removed += connection.execute(gone).rowcount
    return n_removed


def is_distinct(name: str) -> bool:
    """Return whether a name is distinct in a text: long enough, and no plain number."""
    is_number = name.isdigit() and not (name.startswith("0") and len(name) >= MIN_DIGITS)
    return len(name) >= MIN_NAME_LENGTH and not is_number


def name_pattern(name: str) -> re.Pattern[str]:
    """Return the pattern of a name as a whole word."""
    return re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")


def is_about(value: Any, name: str, *, of_clients: bool) -> bool:
    """Return whether an entry of JSON is about a client, among clients also a bare name."""
    if isinstance(value, dict):
        return bool(value.get("client") == name)
    first = value[0] if isinstance(value, list) and value else value
    return of_clients and isinstance(first, str) and first == name


def clean_json(value: Any, name: str, *, of_clients: bool) -> Any:
    """Return a value of JSON without the entries about a client.

    Parameters
    ----------
    value : object
        As decoded.
    name : str
        The name of the client.
    of_clients : bool
        Whether lists and keys are clients. Elsewhere a column may have the name of a client, and
        only entries with the key `client` are about one.
    """
    if isinstance(value, list):
        return [
            clean_json(each, name, of_clients=of_clients)
            for each in value
            if not is_about(each, name, of_clients=of_clients)
        ]
    if isinstance(value, dict):
        return {
            key: clean_json(each, name, of_clients=of_clients)
            for key, each in value.items()
            if not (of_clients and key == name) and not is_about(each, name, of_clients=of_clients)
        }
    return value


def clean_text(text: str, name: str) -> str:
    """Return a text of a person with the name of a client replaced."""
    return name_pattern(name).sub(REPLACEMENT, text) if is_distinct(name) else text


def clean_cell(column: "sa.Column[Any]", value: Any, name: str) -> Any:
    """Return the value of a column without a client."""
    if isinstance(column.type, sa.JSON):
        return clean_json(value, name, of_clients=column.name == MEMBERS)
    return clean_text(value, name)


def clean_column(connection: Connection, column: "sa.Column[Any]", name: str) -> int:
    """Remove a client from the values of a column, and return the number of changed rows."""
    table = column.table
    assert isinstance(table, sa.Table)
    keys = list(table.primary_key.columns)
    query = sa.select(*keys, column.label("found")).where(column.is_not(None))
    n_changed = 0
    for row in connection.execute(query).all():
        cleaned = clean_cell(column, row.found, name)
        if cleaned != row.found:
            own = [key == row[place] for place, key in enumerate(keys)]
            connection.execute(table.update().where(*own).values({column.name: cleaned}))
            n_changed += 1
    return n_changed


def erase_texts(engine: Engine, name: str) -> int:
    """Remove a client from JSON and people's texts, and return the number of changed rows.

    What programs write about runs names no client, and may have any word in it.
    """
    columns = [
        column
        for table in tables.metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, sa.JSON) or column in WRITTEN_BY_PEOPLE
    ]
    n_changed = 0
    for column in columns:
        with database.writing(engine) as connection:
            n_changed += clean_column(connection, column, name)
    return n_changed


def replace_file_hashes(connection: Connection, uploads: Mapping[str, str]) -> None:
    """Record the new hashes of uploads without a client, by path."""
    known = tables.digests
    for path, new in uploads.items():
        before = connection.execute(sa.select(known.c.sha256).where(known.c.path == path)).scalar()
        own = sa.and_(tables.files.c.path == path, tables.files.c.sha256 == before)
        connection.execute(tables.files.update().where(own).values(sha256=new))


def replace_dataset_hashes(connection: Connection, replaced: Mapping[str, str]) -> None:
    """Record the new hashes of datasets without a client."""
    for old, new in replaced.items():
        own = tables.models.update().where(tables.models.c.dataset_sha256 == old)
        connection.execute(own.values(dataset_sha256=new))


def compact(engine: Engine) -> None:
    """Rewrite the database file without deleted content in free pages.

    On PostgreSQL the tables are rewritten. The server's own log and backups are its
    administrator's.

    Raises
    ------
    RecordsError
        If another program keeps the database busy.
    """
    connection = engine.raw_connection()
    try:
        driver: Any = connection.driver_connection
        if engine.dialect.name == "postgresql":
            driver.rollback()
            driver.set_autocommit(True)
            for table in tables.metadata.sorted_tables:
                driver.execute(f"VACUUM FULL {table.name}")
        else:
            driver.execute("VACUUM")
    # To mypy an engine may lack its driver.
    except engine.dialect.dbapi.Error as error:  # type: ignore[union-attr]
        raise RecordsError(
            f"The records could not be rewritten: {error}. Run the erasure again to complete it."
        ) from error
    finally:
        connection.close()


def iterate_contents(connection: Connection) -> Iterable[tuple[str, str]]:
    """Return stamp and content of the models of the scorings."""
    query = sa.select(tables.scoring_models.c.stamp, tables.scoring_models.c.content)
    return [(row.stamp, row.content) for row in connection.execute(query)]


def replace_content(connection: Connection, stamp: str, content: str) -> None:
    """Replace the content of the model of a scoring."""
    own = tables.scoring_models.update().where(tables.scoring_models.c.stamp == stamp)
    connection.execute(own.values(content=content))
