"""Says whom to call, why a client's risk changed, and whether predictions came true."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from scripts.clients import client_history, formatting, worklist
from scripts.clients.response_types import Worklist, WorklistEntry
from scripts.clients.worklist import DEFAULT_TOP
from scripts.core import files, progress
from scripts.core.config import Config
from scripts.core.console import run_as_script
from scripts.core.errors import DatasetError, NotMadeYetError
from scripts.data import csv_reader, read_report
from scripts.data.read_report import FileReading
from scripts.production import release
from scripts.records import database

Page = TypeVar("Page")


class Format(StrEnum):
    """How a list is written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def format_json(answer: object) -> str:
    """Spell an answer as the API would, indented."""
    return msgspec.json.format(msgspec.json.encode(answer), indent=2).decode()


def format_list(page: Worklist, form: Format) -> str:
    """Spell the worklist in the form that was asked for."""
    if form is Format.JSON:
        return format_json(page)
    if form is Format.CSV:
        return formatting.format_entries_as_csv(page.clients)
    return "\n\n".join(
        [
            formatting.format_head(page),
            *([formatting.format_entries(page.clients)] if page.clients else []),
        ]
    )


def ask(config: Config, question: Callable[[Any], Page]) -> Page:
    """Ask the records one question."""
    with (
        database.open_records(config.database_url, may_change=False) as engine,
        database.reading(engine) as connection,
    ):
        return question(connection)


def rank_file(config: Config, path: Path, top: int) -> tuple[list[WorklistEntry], FileReading]:
    """Rank the clients of one table with the model in production; labels are not needed.

    Parameters
    ----------
    config : Config
        The installation.
    path : Path
        The table.
    top : int
        How many clients to list.

    Returns
    -------
    tuple of list of WorklistEntry and FileReading
        The first to call first; what of the table was not used.

    Raises
    ------
    NotMadeYetError
        If there is no release.
    DatasetError
        If no row is usable.
    """
    current = release.load_current(config.prod_deployment_path)
    if current is None:
        raise NotMadeYetError("There is no release yet; run python -m scripts.fullprocess.")
    schema = msgspec.structs.replace(current.model.schema, target="")
    with progress.shown("Reading the table", files.total_bytes([path])):
        found, columns = csv_reader.read_file(path, path.parent, schema)
    n_rows = len(columns[schema.columns[0]])
    if n_rows == 0:
        raise DatasetError(f"No usable row was found. {read_report.format_complaints([found])}")
    entries = worklist.rank_table(current.model, columns, config.api, config.worklist, top)
    return entries, found


def check_complete(found: FileReading) -> None:
    """Refuse to end well where rows of a table are missing from its list."""
    if found.rejected:
        raise DatasetError(
            f"{len(found.rejected)} of {found.n_rows} rows of {found.path} are not on this list;"
            f" the first: {read_report.first_reasons(found)[0]}."
        )


def show_ranked(entries: Sequence[WorklistEntry], form: Format) -> str:
    """Spell the ranking of one table in the form that was asked for."""
    if form is Format.JSON:
        return format_json(entries)
    return (
        formatting.format_entries_as_csv(entries)
        if form is Format.CSV
        else formatting.format_entries(entries)
    )


def show_client(config: Config, client: str, form: Format) -> str:
    """Spell all of one client in the form that was asked for.

    Raises
    ------
    DatasetError
        If no client of that name was scored.
    """
    page = ask(
        config, lambda connection: client_history.client_page(connection, config.worklist, client)
    )
    if page is None:
        near = ask(config, lambda connection: client_history.find_near(connection, client))
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise DatasetError(
            f"No client {client!r} was scored; {hint or 'see python -m scripts.worklist.'}"
        )
    return format_json(page) if form is Format.JSON else formatting.format_client(page)


def main(
    config: Config,
    *,
    table: Path | None = None,
    top: int = DEFAULT_TOP,
    form: str = Format.TABLE,
    client: str | None = None,
    outcomes: bool = False,
) -> None:
    """Say whom to call: today's clients, or those of TABLE, by how likely they are to leave."""
    chosen, settings = Format(form), config.worklist
    found = None
    if outcomes:
        page = ask(config, lambda connection: client_history.outcomes_page(connection, settings))
        text = format_json(page) if chosen is Format.JSON else formatting.format_outcomes(page)
    elif client is not None:
        text = show_client(config, client, chosen)
    elif table is not None:
        entries, found = rank_file(config, table, top)
        text = show_ranked(entries, chosen)
    else:
        text = format_list(
            ask(config, lambda connection: worklist.worklist_page(connection, settings, top=top)),
            chosen,
        )
    click.echo(text, nl=not text.endswith("\n"))
    if found is not None:
        check_complete(found)


OPTIONS = (
    click.Argument(["table"], required=False, type=click.Path(path_type=Path, dir_okay=False)),
    click.Option(
        ["--top"],
        type=click.IntRange(min=1),
        default=DEFAULT_TOP,
        show_default=True,
        help="How many clients.",
    ),
    click.Option(
        ["--format", "form"],
        type=click.Choice([str(form) for form in Format]),
        default=str(Format.TABLE),
        show_default=True,
        help="For a person, a spreadsheet or a program.",
    ),
    click.Option(["--client"], metavar="ID", help="Show one client: why, what changed, history."),
    click.Option(["--outcomes"], is_flag=True, help="Show whether predictions came true."),
)

if __name__ == "__main__":
    run_as_script(main, options=OPTIONS)
