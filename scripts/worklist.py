"""The worklist command: clients to call, their history, outcomes, and the work with clients."""

import logging
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from scripts.clients import (
    calling_effect,
    client_history,
    client_work,
    delivery_state,
    filter_words,
    formatting,
    list_delivery,
    list_export,
    weekly_mail,
    work_file,
    worklist,
)
from scripts.clients.response_types import RecordedWork, Worklist, WorklistEntry
from scripts.clients.work_input import RESULTS, WorkInput
from scripts.clients.worklist import DEFAULT_TOP
from scripts.core import column_words, console, files, progress, sentences, terminal
from scripts.core.config import Config, Schema
from scripts.core.errors import DatasetError, MailError, NotMadeYetError
from scripts.data import (
    client_dates,
    csv_reader,
    name_dates,
    read_report,
    table_reader,
)
from scripts.data.read_report import FileReading
from scripts.model import ranking
from scripts.production import release
from scripts.records import database, list_deliveries, scoring_records

Page = TypeVar("Page")

log = logging.getLogger(__name__)


class Format(StrEnum):
    """The output format of the command."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def format_json(answer: object) -> str:
    """Format a response as indented JSON, with the members of the API."""
    return msgspec.json.format(msgspec.json.encode(answer), indent=2).decode()


def format_worklist(page: Worklist, form: Format) -> str:
    """Format the worklist in the chosen format."""
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


def query_records(config: Config, query: Callable[[Any], Page]) -> Page:
    """Return the result of a query to the records."""
    with (
        database.open_records(config.database_url, may_change=False) as engine,
        database.reading(engine) as connection,
    ):
        return query(connection)


def warn_of_leavers(n_gone: int, n_rows: int, schema: Schema) -> None:
    """Log the number of clients left out because they have left, and refuse a list of nobody."""
    if not n_gone:
        return
    shown = f"by the column {schema.leaving_names[0]!r}"
    if not n_rows:
        one, many = "The only client of the table has", f"All {n_gone} clients of the table have"
        raise DatasetError(f"{one if n_gone == 1 else many} left {shown}.")
    told = sentences.count(
        n_gone,
        f"client of the table has left {shown}, and is",
        f"clients of the table have left {shown}, and are",
    )
    log.info("%s not ranked.", told)


def rank_file(config: Config, path: Path, top: int) -> tuple[list[WorklistEntry], FileReading]:
    """Rank the clients of a table file with the production model, without labels.

    Parameters
    ----------
    config : Config
        The installation.
    path : Path
        The table.
    top : int
        The number of clients to list.

    Returns
    -------
    tuple of list of WorklistEntry and FileReading
        The clients by falling probability, and the reading of the file with the rejected rows.

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
    used = current.model.schema
    header = csv_reader.peek_header(path, client_dates.reading_schema(used))
    schema = client_dates.ranking_schema(used, header)
    with progress.shown("Reading the table", files.total_bytes([path])):
        reading, columns = table_reader.read_file(path, path.parent, schema)
    n_rows = len(columns[schema.columns[0]])
    if n_rows == 0:
        raise DatasetError(f"No usable row was found. {read_report.format_complaints([reading])}")
    day = name_dates.ranking_day(path.name, used.date_column)
    columns, n_gone = client_dates.leave_out_leavers(columns, used, day)
    warn_of_leavers(n_gone, len(columns[schema.columns[0]]), used)
    latest = client_dates.derive_latest(columns, used, day)
    words = column_words.words_of(config.schema)
    entries = worklist.rank_table(current.model, latest, config.api, config.worklist, top, words)
    return entries, reading


def check_complete(reading: FileReading) -> None:
    """Raise if rows of a table were rejected."""
    if reading.rejected:
        raise DatasetError(
            f"{len(reading.rejected)} of {reading.n_rows} rows of {reading.path} are not on this"
            f" list; the first: {read_report.first_reasons(reading)[0]}."
        )


def format_ranking(entries: Sequence[WorklistEntry], form: Format) -> str:
    """Format the ranking of a table in the chosen format."""
    if form is Format.JSON:
        return format_json(entries)
    return (
        formatting.format_entries_as_csv(entries)
        if form is Format.CSV
        else formatting.format_entries(entries)
    )


def format_client(config: Config, client: str, form: Format) -> str:
    """Format the details of a client in the chosen format.

    Raises
    ------
    DatasetError
        If no client of the name was scored.
    """
    page = query_records(
        config,
        lambda connection: client_history.client_page(
            connection, config.worklist, client, config.api, column_words.words_of(config.schema)
        ),
    )
    if page is None:
        similar = query_records(
            config, lambda connection: client_history.find_similar_names(connection, client)
        )
        hint = f"did you mean {' or '.join(map(repr, similar))}?" if similar else ""
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
    order: str | None = None,
    calling: bool = False,
) -> None:
    """List the clients to call: today's by expected gain or risk, or those of TABLE by risk."""
    chosen, settings = Format(form), config.worklist
    reading = None
    if outcomes:
        page = query_records(
            config,
            lambda connection: client_history.outcomes_page(
                connection, settings, config.api, config.retention.outcome_days
            ),
        )
        text = format_json(page) if chosen is Format.JSON else formatting.format_outcomes(page)
    elif calling:
        effect = query_records(
            config, lambda connection: calling_effect.calling_page(connection, settings)
        )
        text = format_json(effect) if chosen is Format.JSON else formatting.format_calling(effect)
    elif client is not None:
        text = format_client(config, client, chosen)
    elif table is not None:
        entries, reading = rank_file(config, table, top)
        text = format_ranking(entries, chosen)
    else:
        today = query_records(
            config,
            lambda connection: worklist.worklist_page(
                connection,
                settings,
                config.api,
                column_words.words_of(config.schema),
                top=top,
                order=order or "",
            ),
        )
        text = format_worklist(today, chosen)
    shown = terminal.wrap(text) if chosen is Format.TABLE else text
    click.echo(shown, nl=not shown.endswith("\n"))
    if reading is not None:
        check_complete(reading)


OPTIONS = (
    click.Argument(["table"], required=False, type=click.Path(path_type=Path, dir_okay=False)),
    click.Option(
        ["--top"],
        type=click.IntRange(min=1),
        default=DEFAULT_TOP,
        show_default=True,
        help="Number of clients.",
    ),
    click.Option(
        ["--format", "form"],
        type=click.Choice([str(form) for form in Format]),
        default=str(Format.TABLE),
        show_default=True,
        help="Output for a person, a spreadsheet or a program.",
    ),
    click.Option(
        ["--order"],
        type=click.Choice(list(scoring_records.ORDERS)),
        help="Order of the list; by gain where the worth of a client is declared, else by risk.",
    ),
    click.Option(["--client"], metavar="ID", help="Show a client: reasons, change and history."),
    click.Option(["--outcomes"], is_flag=True, help="Show whether predictions came true."),
    click.Option(["--calling"], is_flag=True, help="Show whether calling helps."),
)


def record(config: Config, given: Sequence[WorkInput]) -> RecordedWork:
    """Record entries about the work with clients in the name of the account at the terminal."""
    now, actor = datetime.now(UTC), console.actor()
    with (
        database.open_records(config.database_url, may_change=False) as engine,
        database.writing(engine) as connection,
    ):
        recorded = client_work.record(connection, config.worklist, given, actor=actor, now=now)
    word = "entry" if recorded.n_recorded == 1 else "entries"
    log.info("Recorded %d %s; %d known already.", recorded.n_recorded, word, recorded.n_known)
    return recorded


def record_one(config: Config, given: WorkInput) -> None:
    """Record an entry about a client, and print the state afterwards."""
    recorded = record(config, [given])
    for client, state in recorded.clients.items():
        known = "" if recorded.n_recorded else " (as recorded already)"
        shown = formatting.format_work(state) or "nobody's, and not away"
        terminal.echo(f"{formatting.printable(client)}: {shown}{known}")


def done(config: Config, client: str, **facts: str | None) -> None:
    """Record the result of a contact with CLIENT, who then rests at the end of the list."""
    # The options of the command have the types of the members, which mypy cannot see in `facts`.
    record_one(config, WorkInput(client=client, **facts))  # type: ignore[arg-type]


def assign(config: Config, client: str, name: str) -> None:
    """Assign CLIENT to NAME, or to nobody for an empty NAME."""
    record_one(config, WorkInput(client=client, assigned_to=name))


def snooze(config: Config, client: str, until: str) -> None:
    """Move CLIENT to the end of the list until the day UNTIL, or back for an empty UNTIL."""
    record_one(config, WorkInput(client=client, snoozed_until=until))


def import_file(config: Config, path: Path) -> None:
    """Record all results of a CSV file, or none: client, result, note, contacted_on and more.

    A downloaded worklist can be filled in and imported. Results known already are passed over.
    """
    recorded = record(config, work_file.parse(path.read_bytes()))
    terminal.echo(f"Recorded {recorded.n_recorded} results; {recorded.n_known} were known already.")


def export(
    config: Config, path: Path, *, crm: bool, due: datetime | None, top: int | None, **wanted: Any
) -> None:
    """Write the list to FILE: Excel (.xlsx), CSV (.csv), or CSV for a customer database (--crm).

    Excel and CSV have the rows and columns of the page, all clients unless --top says how many. The
    file for a customer database has the clients to call, as many as the team can call.
    """
    is_excel = path.suffix.casefold() == ".xlsx"
    if path.suffix.casefold() not in (".xlsx", ".csv") or (is_excel and crm):
        expected = ".csv" if crm else ".xlsx or .csv"
        raise click.BadParameter(f"{path} is no name of such a file; expected the end {expected}.")
    if due is not None and not crm:
        raise click.BadParameter("--due belongs to --crm: the other files have no due date.")
    if crm:
        day = "" if due is None else due.date().isoformat()
        list_export.write_crm(config, path, day, top=top, **wanted)
    else:
        write = list_export.write_excel if is_excel else list_export.write_csv
        write(config, path, top=top, **wanted)


def mail(config: Config, *, is_sent: bool) -> None:
    """Show the weekly mail with today's list, or send the mail with --send, also a second time."""
    smtp, now = config.alerts.smtp, datetime.now(UTC)
    week = now.date().isoformat() if smtp is None else delivery_state.week_of(smtp, now)
    with database.open_records(config.database_url, may_change=False) as engine:
        if not is_sent:
            facts = list_delivery.read_facts(engine, config, week, now)
            if facts is None:
                raise NotMadeYetError(
                    "No client has been scored yet; see python -m scripts.worklist."
                )
            click.echo(weekly_mail.format_plain(weekly_mail.describe_mail(facts)), nl=False)
            return
        with files.exclusive_lock(config.prod_deployment_path):
            failure = list_delivery.send_mail(engine, config, week, now)
    if failure:
        raise MailError(f"The mail was not sent: {failure}.")


def events(config: Config, *, is_again: bool) -> None:
    """Show the number of events waiting for the webhook, or retry given-up events with --again."""
    with database.open_records(config.database_url, may_change=False) as engine:
        if is_again:
            with database.writing(engine) as connection:
                n_again = list_deliveries.retry_given_up(connection, datetime.now(UTC))
            log.info("The next run tries %d given-up events again.", n_again)
        with database.reading(engine) as connection:
            first = list_deliveries.next_event(connection)
            n_waiting = list_deliveries.count_waiting(connection)
            n_given_up = list_deliveries.count_given_up(connection)
    fault = "" if first is None or not first["fault"] else f"; the last failure: {first['fault']}"
    terminal.echo(f"{n_waiting} events wait, {n_given_up} were given up{fault}.")


CLIENT = click.Argument(["client"])
SNOOZE = "The day on which the client is back, such as 2026-12-24."
DONE_OPTIONS = (
    CLIENT,
    click.Option(
        ["--result"], required=True, type=click.Choice(RESULTS), help="What came of the contact."
    ),
    click.Option(["--note"], help="A note in a few words."),
    click.Option(
        ["--on", "contacted_on"], metavar="DAY", help="The day of the contact (default: today)."
    ),
    click.Option(
        ["--by", "contacted_by"], metavar="NAME", help="Who had the contact (default: you)."
    ),
    click.Option(["--assign", "assigned_to"], metavar="NAME", help="Who goes on with the client."),
    click.Option(["--snooze", "snoozed_until"], metavar="DAY", help=SNOOZE),
)
AGAIN = "Let the next run try those that were given up."
EXPORT_OPTIONS = (
    click.Argument(["path"], metavar="FILE", type=click.Path(path_type=Path, dir_okay=False)),
    click.Option(["--crm"], is_flag=True, help="Write the clients to call as rows for a CRM."),
    click.Option(
        ["--due"], type=click.DateTime(["%Y-%m-%d"]),
        help="With --crm the day to call by (default: a week after the scoring).",
    ),
    click.Option(["--top"], type=click.IntRange(min=1), help="Number of clients."),
    click.Option(["--order"], default="", help="As on the page, such as rise or column.plan."),
    click.Option(["--where"], multiple=True, help="Only clients such as plan=gold; repeatable."),
    click.Option(["--search"], default="", help="Only clients with this text in their name."),
    click.Option(
        ["--band"], default="", type=click.Choice(["", *ranking.WORDS]), help="Only this band."
    ),
    click.Option(["--assigned"], default="", help="Only clients of this name; - is nobody."),
    click.Option(
        ["--contacted"], default="", type=click.Choice(filter_words.CONTACTED_WORDS),
        help="Only clients who were contacted, were not, or with this result.",
    ),
)  # fmt: skip


def make_program(words: Sequence[str]) -> click.Command:
    """Return the command line: list the clients, or record work with them."""
    table = click.Path(path_type=Path, exists=True, dir_okay=False)
    commands = [
        console.make_command(console.with_config(function), options, name)
        for name, function, options in (
            ("done", done, DONE_OPTIONS),
            ("assign", assign, (CLIENT, click.Argument(["name"]))),
            ("snooze", snooze, (CLIENT, click.Argument(["until"]))),
            ("export", export, EXPORT_OPTIONS),
            ("mail", mail, (click.Option(["--send", "is_sent"], is_flag=True, help="Send it."),)),
            ("events", events, (click.Option(["--again", "is_again"], is_flag=True, help=AGAIN),)),
            ("import", import_file, (click.Argument(["path"], metavar="FILE.csv", type=table),)),
        )
    ]
    show = console.make_command(console.with_config(main), OPTIONS)
    return console.choose_command(show, commands, words)


if __name__ == "__main__":
    console.run_program(make_program(sys.argv[1:]))
