"""The worklist on paper: sheets of A4 with 25 clients each, in the largest letters that fit."""

import math
from collections.abc import Iterator, Sequence

from flask import request
from msgspec import Struct

from scripts.api import client_routes, routes
from scripts.api.responses import Answer, RefusedError
from scripts.clients import client_names
from scripts.clients.response_types import Worklist, WorklistEntry
from scripts.core import column_words
from scripts.core.column_words import ColumnWords
from scripts.core.config import Config
from scripts.dashboard import rendering

N_ON_SHEET = 25
# Sizes of the letters in points, the largest first. The style sheet has a class for each.
SIZES = (9, 8, 7, 6)
# Millimetres of a landscape sheet of A4 for the rows, for the reasons, beside gains, and a name.
ROWS_MM, REASONS_MM, BESIDE_GAINS_MM, NAME_MM = 172.0, 180.0, 142.0, 40.0
MM_PER_POINT = 25.4 / 72
# Width of a letter and height of a line by size. The fonts of no usual system are wider.
LETTER, LINE = 0.53, 1.15
# Space above and below a row in millimetres.
SPACE_MM = 0.7
# A usual font takes a quarter less than the widest one. Where a sheet overflows, it goes on.
FULL_MM = 1.3 * ROWS_MM
RECORDS_UNAVAILABLE = 503


class PrintedRow(Struct, frozen=True):
    """A client on paper: name, entry, reasons, and a line of further facts."""

    place: int
    name: str
    entry: WorklistEntry
    reasons: str
    facts: str


class PrintedSheet(Struct, frozen=True):
    """The clients of a sheet, the number of the first, and the size of letters in points."""

    first: int
    rows: Sequence[PrintedRow]
    size: int


def describe_work(entry: WorklistEntry) -> list[str]:
    """Return the state of the work with a client in a few words each."""
    told = []
    if isinstance(entry.held_out_until, str):
        told.append(f"held out until {rendering.format_day(entry.held_out_until)}: do not call")
    work = entry.work
    if work is not None:
        if work.result:
            day = rendering.format_day(work.contacted_on)
            told.append(f"{work.result} {day} by {work.contacted_by}")
        if work.is_away:
            told.append(f"away until {rendering.format_day(work.snoozed_until)}")
        if work.assigned_to:
            told.append(f"for {work.assigned_to}")
    return told


def make_row(entry: WorklistEntry, place: int, words: ColumnWords) -> PrintedRow:
    """Return a client on paper.

    The columns of `worklist.columns` stand in a line: however many they are, they fit.
    """
    shown = client_names.shown_columns(entry).items()
    facts = [f"{words.name(name)} {words.value(name, v)}" for name, v in shown]
    title = client_names.title_of(entry)
    return PrintedRow(
        place,
        title if title == entry.client else f"{title} ({entry.client})",
        entry,
        "; ".join(reason.text for reason in entry.reasons),
        "; ".join([*describe_work(entry), *facts]),
    )


def row_height_mm(row: PrintedRow, size: int) -> float:
    """Return the estimated height of a row in millimetres, with letters of a size in points."""
    letter_mm, line_mm = (size * MM_PER_POINT * factor for factor in (LETTER, LINE))
    width_mm = BESIDE_GAINS_MM if isinstance(row.entry.gain, float) else REASONS_MM
    texts = (row.reasons, row.facts)
    n_lines = sum(math.ceil(len(text) * letter_mm / width_mm) for text in texts)
    n_name_lines = math.ceil(len(row.name) * letter_mm / NAME_MM)
    return max(n_lines, n_name_lines, 1) * line_mm + SPACE_MM


def choose_size(rows: Sequence[PrintedRow]) -> int:
    """Return the largest size in points for the rows of a sheet, or the smallest size."""
    for size in SIZES:
        if sum(row_height_mm(row, size) for row in rows) <= ROWS_MM:
            return size
    return SIZES[-1]


def count_fitting(rows: Sequence[PrintedRow]) -> int:
    """Return how many of the first rows fit a sheet in the smallest letters, one at least."""
    left_mm = FULL_MM
    for number, row in enumerate(rows[:N_ON_SHEET]):
        left_mm -= row_height_mm(row, SIZES[-1])
        if left_mm < 0:
            return max(number, 1)
    return min(len(rows), N_ON_SHEET)


def split_rows(rows: Sequence[PrintedRow]) -> Iterator[Sequence[PrintedRow]]:
    """Yield the rows of each sheet: 25, or fewer where their texts are too long for that."""
    start = 0
    while start < len(rows):
        end = start + count_fitting(rows[start:])
        yield rows[start:end]
        start = end


def make_sheets(page: Worklist, first_place: int, words: ColumnWords) -> list[PrintedSheet]:
    """Return the sheets of a page of the list.

    Parameters
    ----------
    page : Worklist
        The clients.
    first_place : int
        The place of the first client in the order of the list.
    words : ColumnWords
        The names of columns.
    """
    rows = [
        make_row(entry, place if page.order == "gain" else entry.position, words)
        for place, entry in enumerate(page.clients, start=first_place)
    ]
    sheets, first = [], first_place
    for part in split_rows(rows):
        sheets.append(PrintedSheet(first, part, choose_size(part)))
        first += len(part)
    return sheets


def list_filters(wanted: dict[str, object]) -> list[str]:
    """Return the filters of the list in words."""
    names = ("search", "band", "assigned", "contacted")
    told = [f"{name} {wanted[name]}" for name in names if wanted[name]]
    where = wanted["where"]
    return [*told, *(where if isinstance(where, tuple) else ())]


def read_selection(config: Config) -> dict[str, object]:
    """Read the selection off the query string, by default as many clients as the team can call."""
    wanted = client_routes.read_query(client_routes.MAX_TOP)
    if "top" not in request.args:
        n_listed = config.worklist.capacity or client_routes.DEFAULT_TOP
        wanted["top"] = min(n_listed, client_routes.MAX_TOP)
    return wanted


def show() -> Answer:
    """Show the list for the printer, 25 clients to a sheet of A4."""
    config = routes.serving().config
    wanted, fault, page = read_selection(config), "", None
    try:
        page = client_routes.find_selected(wanted).whole()
    except RefusedError as refusal:
        if refusal.status != RECORDS_UNAVAILABLE:
            raise
        fault = refusal.detail
    words = column_words.words_of(config.schema)
    offset = int(str(wanted["offset"]))
    return rendering.show(
        "printed_list.html",
        fault=fault,
        worklist=page,
        sheets=[] if page is None else make_sheets(page, offset + 1, words),
        filters=list_filters(wanted),
    )
