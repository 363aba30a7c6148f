"""Views of the client routes: worklist, single client, outcomes."""

import logging
import re
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from flask import request
from msgspec.structs import replace

from scripts.api.middleware import REST, SERVING
from scripts.api.openapi import DEFAULT_LIMIT, MAX_LIMIT, Parameter
from scripts.api.records_reader import import_queries, query_records
from scripts.api.responses import Answer, RefusedError, answer_json
from scripts.api.serving_state import Serving
from scripts.clients import list_pages
from scripts.clients.filter_words import (
    COLUMN,
    CONTACTED_WORDS,
    MAX_FILTER,
    MAX_FILTERS,
    NOBODY,
)
from scripts.clients.response_types import CallingEffect, ClientDetails, Outcomes, Worklist
from scripts.clients.work_input import MAX_NAME
from scripts.core import column_words
from scripts.core.config import Config, Schema
from scripts.core.errors import (
    ExpiredCursorError,
    PipelineError,
    SelectionError,
    UnknownOrderError,
    describe_bug,
)
from scripts.model import ranking

if TYPE_CHECKING:
    from scripts.api.record_queries import RecordQueries
    from scripts.clients.worklist import ListPage

DEFAULT_TOP, MAX_TOP = 50, 500
MAX_TOP_CSV = list_pages.EVERYBODY
# The workbook is made before the first byte is sent, and 100,000 clients take some seconds.
MAX_TOP_XLSX = 100_000
MAX_TOP_CRM = list_pages.PART_CLIENTS
# Bytes of a workbook in memory at a time.
FILE_PART = 2**20
MAX_CURSOR = 37
INCOMPLETE = b"INCOMPLETE: the records did not answer; download the list again.\r\n"
MAX_SEARCH = 200
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Characters that mean something in a pattern.
SPECIAL = re.compile(r"[\\^$.|?*+()\[\]{}/]")
WHOLE_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
BANDS = ranking.WORDS
ORDERS = ("gain", "risk", "client", "rise")

Result = TypeVar("Result")

log = logging.getLogger(__name__)

CSV = "text/csv; charset=utf-8"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
LIST = (
    Parameter(
        "top",
        "How many clients.",
        {"type": "integer", "minimum": 1, "maximum": MAX_TOP, "default": DEFAULT_TOP},
    ),
    Parameter(
        "offset",
        "After how many.",
        {"type": "integer", "minimum": 0, "maximum": 999_999_999, "default": 0},
    ),
    Parameter(
        "search",
        "Only clients with this text in their name.",
        {"type": "string", "maxLength": MAX_SEARCH, "pattern": "^[^\\x00-\\x1f\\x7f]*$"},
    ),
    Parameter(
        # A form sends the empty string for no choice.
        "band",
        'Only clients of this band; "" is all.',
        {"type": "string", "enum": ["", *BANDS]},
    ),
    Parameter(
        "order",
        "The order: expected gain, risk, name, or rise of the risk. The default is the gain if the"
        " worth of a client is declared, otherwise the risk. A column is named as column.plan, with"
        " a minus before the word for the highest value first.",
        {"type": "string", "enum": ["", *ORDERS]},
    ),
    Parameter(
        "where",
        "A condition on a column: a value, for example plan=gold, or a limit of numbers, for"
        " example logins<=5. All conditions must hold.",
        {"type": "array", "items": {"type": "string"}, "maxItems": MAX_FILTERS},
    ),
    Parameter(
        "assigned",
        f'Only clients assigned to this name; "{NOBODY}" is nobody, "" is all.',
        {"type": "string", "maxLength": 64, "pattern": "^[^\\x00-\\x1f\\x7f]*$"},
    ),
    Parameter(
        "contacted",
        'Only clients with a contact, without a contact, or with this result; "" is all.',
        {"type": "string", "enum": list(CONTACTED_WORDS)},
    ),
    Parameter(
        "cursor",
        "The next_cursor of the page before, with the same search, band and order. The pages are of"
        " one list, also when a new one comes in between.",
        {"type": "string", "maxLength": MAX_CURSOR, "pattern": "^(([0-9]{1,9}[.]){3}[0-9]{1,7})?$"},
    ),
)
LIST_CSV, LIST_XLSX = (
    (Parameter("top", LIST[0].text, LIST[0].schema | {"maximum": most}), *LIST[1:])
    for most in (MAX_TOP_CSV, MAX_TOP_XLSX)
)
LIST_CRM = (
    Parameter(
        "top",
        "The number of clients, by default the capacity of the team, or 50.",
        {"type": "integer", "minimum": 1, "maximum": MAX_TOP_CRM},
    ),
    *LIST[1:],
)
CLIENT = (Parameter("client", "The client's name.", {"type": "string", "minLength": 1}, "path"),)


def describe_list(
    parameters: tuple[Parameter, ...], schema: Schema, config: Config
) -> tuple[Parameter, ...]:
    """Return the parameters of the list with the columns to filter and to order by."""
    if parameters not in (LIST, LIST_CSV, LIST_XLSX, LIST_CRM) or not schema.features:
        return parameters
    shown = dict.fromkeys((*config.schema.names_for_people, *config.worklist.columns))
    others = [name for name in shown if name not in schema.features]
    known = (*schema.features, *others)
    by_column = [f"{sign}{COLUMN}{name}" for name in known for sign in ("", "-")]
    numbers, texts = (
        "|".join(SPECIAL.sub(r"\\\g<0>", name) for name in names)
        for names in (schema.numeric, (*schema.categorical, *others))
    )
    patterns = [f"^({numbers})(=|>=|<=)-?[0-9]{{1,9}}$"] if numbers else []
    patterns += [f"^({texts})=[^\\x00-\\x1f\\x7f]{{0,50}}$"] if texts else []
    changed: dict[str, dict[str, object]] = {
        "order": {"type": "string", "enum": ["", *ORDERS, *by_column]},
        "where": {
            "type": "array",
            "items": {"type": "string", "pattern": "|".join(patterns)},
            "maxItems": MAX_FILTERS,
        },
    }
    return tuple(
        replace(parameter, schema=changed.get(parameter.name, parameter.schema))
        for parameter in parameters
    )


def run_query(question: "Callable[[RecordQueries], Result]") -> Result:
    """Run queries for the present request in one transaction.

    Parameters
    ----------
    question : callable
        Takes a `RecordQueries`.

    Returns
    -------
    object
        The result of `question`.

    Raises
    ------
    RefusedError
        With status 503, if the database cannot be used.
    """
    serving: Serving = request.environ[SERVING]
    try:
        return query_records(serving.config, question)
    except (ExpiredCursorError, SelectionError, UnknownOrderError) as error:
        raise RefusedError(422, str(error)) from error
    except (PipelineError, OSError) as error:
        raise RefusedError(503, serving.without_folders(str(error))) from error


def present_serving() -> Serving:
    """Return the config and release of the present request."""
    serving: Serving = request.environ[SERVING]
    return serving


def present_config() -> Config:
    """Return the config of the present request."""
    return present_serving().config


def read_number(name: str, text: str, lowest: int, highest: int) -> int:
    """Read a number off the query string."""
    if not WHOLE_NUMBER.fullmatch(text) or not lowest <= int(text) <= highest:
        raise RefusedError(422, f"Expected {name} to be a number from {lowest} to {highest}.")
    return int(text)


def read_word(name: str, text: str, words: tuple[str, ...]) -> str:
    """Read a word of a fixed set off the query string."""
    if text not in words:
        raise RefusedError(422, f"Expected {name} to be one of {', '.join(words)}.")
    return text


def read_text(name: str, text: str, longest: int) -> str:
    """Read a text without control characters off the query string."""
    if len(text) > longest or CONTROL.search(text):
        raise RefusedError(
            422, f"Expected {name} to be a text of at most {longest} printable characters."
        )
    return text


def read_conditions(where: list[str]) -> tuple[str, ...]:
    """Read the conditions on columns off the query string."""
    if len(where) > MAX_FILTERS:
        raise RefusedError(422, f"Expected where up to {MAX_FILTERS} times.")
    return tuple(read_text("where", text, MAX_FILTER) for text in where)


def read_order(text: str) -> str:
    """Read the order off the query string: a word, or a column."""
    if text.removeprefix("-").startswith(COLUMN):
        return read_text("order", text, MAX_FILTER)
    return read_word("order", text, ("", *ORDERS))


def read_query(max_top: int) -> dict[str, Any]:
    """Read the selection of the worklist off the query string, or refuse unknown parameters."""
    given = request.args.to_dict(flat=False)
    unknown = sorted(set(given) - {parameter.name for parameter in LIST})
    where = [text for text in given.pop("where", []) if text]
    if unknown or any(len(values) > 1 for values in given.values()):
        known = ", ".join(parameter.name for parameter in LIST)
        raise RefusedError(422, f"Expected nothing behind the path but, once each, {known}.")
    text = {name: values[0] for name, values in given.items()}
    search = text.get("search", "")
    band, cursor = text.get("band", ""), text.get("cursor", "")
    if cursor and "offset" in text:
        raise RefusedError(422, "Expected either cursor or offset: a cursor has its place.")
    return {
        "cursor": cursor,
        "top": read_number("top", text.get("top", str(DEFAULT_TOP)), 1, max_top),
        "offset": read_number("offset", text.get("offset", "0"), 0, 999_999_999),
        "search": read_text("search", search, MAX_SEARCH),
        "band": read_word("band", band, ("", *BANDS)),
        "where": read_conditions(where),
        "assigned": read_text("assigned", text.get("assigned", ""), MAX_NAME),
        "contacted": read_word("contacted", text.get("contacted", ""), CONTACTED_WORDS),
        "order": read_order(text.get("order", "")),
    }


def read_page() -> tuple[int, int]:
    """Read ?limit= and ?offset= off the query string, or refuse other parameters."""
    given = request.args.to_dict(flat=False)
    page = {"limit": DEFAULT_LIMIT, "offset": 0}
    for name, values in given.items():
        is_number = len(values) == 1 and re.fullmatch(r"[0-9]{1,9}", values[0]) is not None
        if name not in page or not is_number:
            raise RefusedError(422, "Expected nothing behind the path but ?limit= and &offset=.")
        page[name] = int(values[0])
    if not 1 <= page["limit"] <= MAX_LIMIT:
        raise RefusedError(422, f"The limit is {page['limit']}; expected 1 to {MAX_LIMIT}.")
    return page["limit"], page["offset"]


def find_page(config: Config, selection: dict[str, Any], queries: "RecordQueries") -> "ListPage":
    """Return a page of the worklist before the reasons are found."""
    return queries.list_page(config, **selection)


def find_selected(selection: dict[str, Any]) -> "ListPage":
    """Return the page of a selection, read in a transaction of its own."""
    return run_query(partial(find_page, present_config(), selection))


def find_worklist(max_top: int) -> Worklist:
    """Return the page of the worklist selected by the query string."""
    return find_selected(read_query(max_top)).whole()


def worklist() -> Answer:
    """List today's clients, those likeliest to leave first, with reasons and changes."""
    page = find_worklist(MAX_TOP)
    return answer_json(page, release=page.release)


def iterate_csv(config: Config, first: "ListPage", selection: dict[str, Any]) -> Iterator[bytes]:
    """Yield the parts of a CSV file behind a first page."""
    queries = import_queries()

    def fetch(wanted: dict[str, Any]) -> "ListPage":
        """Return the page of a selection."""
        return query_records(config, partial(find_page, config, wanted))

    try:
        for part in list_pages.parts_after(first, fetch, selection):
            yield queries.part_as_csv(part, with_header=False).encode()
    except Exception as error:
        # The status is sent already, and the server ends a broken stream like a whole one: of any
        # failure only a last line can tell.
        log.error("A CSV file of the worklist ended early: %s.", describe_bug(error))
        yield INCOMPLETE


def name_file(content_type: str, name: str) -> list[tuple[str, str]]:
    """Return the headers of a file to download."""
    return [
        ("Content-Type", content_type),
        ("Content-Disposition", f'attachment; filename="{name}"'),
    ]


def worklist_csv() -> Answer:
    """Download today's clients as CSV without spreadsheet formulas."""
    selection, config = read_query(MAX_TOP_CSV), present_config()
    first = find_selected(list_pages.first_part(selection))
    (head,) = first.parts(list_pages.PART_CLIENTS)
    content = import_queries().part_as_csv(head).encode()
    if selection["top"] > list_pages.PART_CLIENTS and first.facts.next_cursor is not None:
        request.environ[REST] = iterate_csv(config, first, selection)
    return Answer(200, content, name_file(CSV, "worklist.csv"))


def iterate_workbook(config: Config, selection: dict[str, Any]) -> Iterator[bytes]:
    """Yield the parts of an Excel workbook, which is whole before the first part."""
    first = find_selected(list_pages.first_part(selection))
    others = list_pages.parts_after(first, find_selected, selection)
    words = column_words.words_of(config.schema)
    # On disk without a name, since 100,000 clients would fill the memory.
    with tempfile.TemporaryFile() as handle:
        import_queries().write_workbook(first, others, words, handle)
        handle.seek(0)
        while part := handle.read(FILE_PART):
            yield part


def worklist_xlsx() -> Answer:
    """Download today's clients as an Excel workbook, without formulas."""
    parts = iterate_workbook(present_config(), read_query(MAX_TOP_XLSX))
    content = next(parts)
    if len(content) == FILE_PART:
        request.environ[REST] = parts
    return Answer(200, content, name_file(XLSX, "worklist.xlsx"))


def worklist_crm() -> Answer:
    """Download the clients to call as CSV for the import into a customer database."""
    selection, config = read_query(MAX_TOP_CRM), present_config()
    if "top" not in request.args:
        selection["top"] = min(config.worklist.capacity or DEFAULT_TOP, MAX_TOP_CRM)
    page = find_selected(selection).whole()
    content = import_queries().crm_as_csv(page).encode()
    return Answer(200, content, name_file(CSV, "worklist-crm.csv"))


def find_client(client: str) -> ClientDetails:
    """Return the score and history of a client, or refuse the request."""
    page, config = None, present_config()
    if not CONTROL.search(client):
        page = run_query(lambda queries: queries.client(config, client))
    if page is None:
        raise RefusedError(404, "No client of this name was scored.")
    return page


def client(client: str) -> Answer:
    """Return a client's last score, reasons, change since the score before, and history."""
    page = find_client(client)
    return answer_json(page, release=page.release)


def find_outcomes() -> Outcomes:
    """Return the measured success of earlier predictions."""
    config = present_config()
    return run_query(lambda queries: queries.outcomes(config))


def find_calling() -> CallingEffect:
    """Return whether calling helps, by the trial of listed against held-out clients."""
    config = present_config()
    return run_query(lambda queries: queries.calling(config))


def calling() -> Answer:
    """Return whether calling helps: leavers among listed clients against held-out ones."""
    page = find_calling()
    return answer_json(page, release=page.release)


def outcomes() -> Answer:
    """Return the success of predictions: precision, missed exits, calibration, early warning."""
    page = find_outcomes()
    return answer_json(page, release=page.release)
