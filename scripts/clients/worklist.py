"""The worklist: today's clients of the records or the clients of a table, ranked by risk."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy.engine import Connection

from scripts.clients import client_reasons, client_work, list_entries, list_filters
from scripts.clients.filter_words import COLUMN
from scripts.clients.list_entries import EntryColumns, ListedClients
from scripts.clients.response_types import (
    Capacity,
    Interval,
    ListGain,
    OutcomeEntry,
    ScoreEntry,
    Worklist,
    WorklistEntry,
    WorkState,
)
from scripts.core.column_words import PLAIN, ColumnWords
from scripts.core.config import ApiSettings, WorklistSettings
from scripts.core.errors import ExpiredCursorError, ModelError, UnknownOrderError
from scripts.data.cells import name_client
from scripts.model import explanation, logistic_model, outcome_metrics, ranking
from scripts.model.logistic_model import Columns, Model, decode_model
from scripts.model.outcome_metrics import Share
from scripts.records import client_work as client_work_records
from scripts.records import clients, scoring_records
from scripts.records.clients import Selection
from scripts.records.runs import Row
from scripts.records.scored_clients import ScoredClients

EMPTY = Worklist(
    clients=[], n_clients=0, n_found=0, bands={}, limits=None, capacity=None, scored_at=None,
    n_away=0, run_id=None, model_stamp=None, next_offset=None, next_cursor=None, release=None,
)  # fmt: skip
DEFAULT_TOP = 50
FILTERS = ("where", "assigned", "contacted")
# A scoring, a place in the order, the last entry of work that counts, and the day.
CURSOR = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,7})", re.ASCII)
AUTO = ApiSettings()
# The number of shown scores of a client, and of shown outcomes.
N_SHOWN = 100


def format_timestamp(at: datetime | None) -> str | None:
    """Format a timestamp as RFC 3339, None for None."""
    return None if at is None else at.isoformat()


def as_gain(scoring: Row) -> ListGain | None:
    """Return the facts behind the gains of a scoring, None without a declared worth."""
    facts = scoring["gain_facts"]
    return None if facts is None else msgspec.convert(facts, ListGain)


def choose_order(scoring: Row, wanted: str) -> str:
    """Return the wanted order of the list, by default by gain, without gains by risk.

    Raises
    ------
    UnknownOrderError
        If there is no such order, or the list has no gains.
    """
    is_column = wanted.removeprefix("-").startswith(COLUMN)
    if wanted and not is_column and wanted not in scoring_records.ORDERS:
        known = ", ".join(scoring_records.ORDERS)
        raise UnknownOrderError(
            f"Expected order to be {known}, or a column such as {COLUMN}plan, got {wanted!r}."
        )
    if wanted == "gain" and scoring["gain_facts"] is None:
        raise UnknownOrderError(
            "Expected order to be risk, client or rise: this list has no gains. They come with"
            " worklist.value and worklist.costs in config.json, from the next run on."
        )
    return wanted or ("risk" if scoring["gain_facts"] is None else "gain")


def as_interval(share: Share) -> Interval:
    """Return a share as the response type."""
    return msgspec.convert(share, Interval, from_attributes=True)


def measure_capacity(scoring: Row, settings: WorklistSettings) -> Capacity | None:
    """Return the share of the test rows' exits on a list as long as the team's capacity."""
    n_ranked = scoring["n_clients"] - scoring["n_without_data"]
    if settings.capacity is None or n_ranked == 0:
        return None
    bits = np.frombuffer(scoring["gains"], dtype=np.uint8)
    y = np.unpackbits(bits, count=scoring["n_test_rows"]).astype(np.int64)
    listed_fraction = min(1.0, settings.capacity / n_ranked)
    # The labels are in the order of their probability already.
    falling = -np.arange(len(y), dtype=np.float64)
    return Capacity(
        n_listed=min(settings.capacity, n_ranked),
        listed_fraction=listed_fraction,
        caught=as_interval(outcome_metrics.caught_share(y, falling, listed_fraction)),
        n_test_rows=len(y),
    )


def read_model(connection: Connection, stamp: str) -> Model:
    """Read the model of a scoring.

    Raises
    ------
    ModelError
        If the model is missing or damaged.
    """
    content = scoring_records.find_model_content(connection, stamp)
    if content is None:
        raise ModelError(f"The records have no model {stamp}; the next run records one.")
    return decode_model(content.encode(), Path(f"model {stamp} in the records"))


class ListState(Struct, frozen=True):
    """The list of a page: scoring, first place, and the counted work with clients.

    A cursor keeps it, so that the pages of a list have every client once, also while others work.
    """

    scoring: Row
    place: int
    last_entry: int
    today: date

    def format_cursor(self, place: int | None) -> str | None:
        """Format the cursor of the page that begins at a place, None at the end."""
        if place is None:
            return None
        return f"{self.scoring['id']}.{place}.{self.last_entry}.{self.today.toordinal()}"


def find_list(connection: Connection, cursor: str, today: date | None = None) -> ListState | None:
    """Return the list of a cursor or of the last scoring, None before the first scoring.

    Raises
    ------
    ExpiredCursorError
        If the list of the cursor is no longer kept, or the text is no cursor.
    """
    if not cursor:
        scoring, last_entry = (
            scoring_records.last_scoring(connection),
            client_work_records.last_entry(connection),
        )
        day = today or datetime.now(UTC).date()
        return None if scoring is None else ListState(scoring, 0, last_entry, day)
    found = CURSOR.fullmatch(cursor)
    scoring_id, place, last_entry, number = (
        (int(part) for part in found.groups()) if found else (0, 0, 0, 1)
    )
    scoring = scoring_records.find_scoring(connection, scoring_id)
    is_day = 0 < number <= date.max.toordinal()
    if scoring is None or not is_day or not scoring_records.has_list(connection, scoring_id):
        raise ExpiredCursorError(
            "Expected cursor to be the next_cursor of a list that is still kept, which the last two"
            " are; begin again without a cursor."
        )
    return ListState(scoring, place, last_entry, date.fromordinal(number))


def describe_scoring(scoring: Row, settings: WorklistSettings) -> dict[str, Any]:
    """Return the facts of a scoring for every page of the list."""
    return {
        "n_clients": scoring["n_clients"],
        "held_out_until": (scoring["holdout_facts"] or {}).get("until"),
        "capacity": measure_capacity(scoring, settings),
        "scored_at": format_timestamp(scoring["scored_at"]),
        "run_id": scoring["run_id"],
        "model_stamp": scoring["model_stamp"],
        "release": scoring["release"],
        "gain": as_gain(scoring),
        "as_of": scoring["as_of"],
    }


def find_selected(
    connection: Connection, shown: ListState, known: list_filters.Known, filters: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the fields of a `clients.Selection` for filters and an order."""
    scoring, wanted = shown.scoring, {n: filters[n] for n in FILTERS if n in filters}
    return {
        "mask": list_filters.find_mask(
            connection, scoring, known, up_to=shown.last_entry, **wanted
        ),
        "sequence": list_filters.find_sequence(connection, scoring, known, filters["order"]),
        **{name: value for name, value in filters.items() if name not in wanted},
    }


def find_states(
    connection: Connection, found: ScoredClients, settings: WorklistSettings, shown: ListState
) -> list[WorkState | None]:
    """Return the state of the work with each client of a page."""
    if not shown.last_entry:
        return [None] * len(found.names)
    known = client_work_records.list_work(connection, found.names)
    return [
        client_work.make_state(
            [entry for entry in known.get(client, ()) if entry["id"] <= shown.last_entry],
            shown.today, probability, settings,
        )
        for client, probability in zip(
            found.names, found.columns["probability"].tolist(), strict=True
        )
    ]  # fmt: skip


class ListPage(Struct, frozen=True):
    """A page of the list: the facts, and the clients before their reasons are found.

    The reasons need no transaction, and no memory for all clients of a large page at a time.
    """

    facts: Worklist
    listed: ListedClients | None = None

    def __len__(self) -> int:
        """Return the number of clients."""
        return 0 if self.listed is None else len(self.listed)

    def parts(self, n_clients: int) -> Iterator[EntryColumns]:
        """Yield the members of the entries in parts of up to so many clients, one part or more."""
        if self.listed is None:
            yield list_entries.split_entries([])
            return
        for start in range(0, len(self), n_clients):
            yield self.listed.slice(start, start + n_clients).members()

    def whole(self) -> Worklist:
        """Return the page with all clients."""
        (members,) = self.parts(max(1, len(self)))
        return replace(self.facts, clients=members.entries())


def read_page(
    connection: Connection,
    settings: WorklistSettings,
    api: ApiSettings = AUTO,
    words: ColumnWords = PLAIN,
    *,
    top: int = DEFAULT_TOP,
    cursor: str = "",
    today: date | None = None,
    **filters: Any,
) -> ListPage:
    """Read a page of the worklist, of the last scoring or of the cursor's scoring.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    settings : WorklistSettings
        With the capacity of the team, and the rest of contacted clients.
    api : ApiSettings
        The limits of the bands, which count for scores already recorded.
    words : ColumnWords
        The words of the reasons.
    top : int
        The number of clients on the page.
    cursor : str
        `next_cursor` of the page before. "" begins at the first client.
    today : datetime.date, optional
        The day in UTC, by which a snooze ends. That of a cursor counts first.
    **filters : object
        The fields `order`, `search`, `band` and `offset` of `clients.Selection`, and the filters
        `where`, `assigned` and `contacted` of `list_filters.find_mask`. Without an order the list
        is by gain where the scoring has gains, else by risk. An order may also be a column, such as
        `column.plan`, or `-column.plan` from the highest value on.

    Returns
    -------
    ListPage
        Without clients before the first scoring.

    Raises
    ------
    ExpiredCursorError
        If the list of the cursor is no longer kept.
    UnknownOrderError
        If the order is by gain, and the scoring has no gains.
    SelectionError
        If a filter or the order names a column that the list has not.
    """
    shown = find_list(connection, cursor, today)
    if shown is None:
        return ListPage(EMPTY)
    scoring = shown.scoring
    filters["order"] = choose_order(scoring, filters.get("order", ""))
    model = read_model(connection, scoring["model_stamp"])
    limits = ranking.band_limits(model, api)
    away = client_work.find_away(connection, scoring, settings, shown.today, shown.last_entry)
    held_out = clients.read_held_out(connection, scoring)
    known = list_filters.find_columns(connection, scoring, model.schema)
    wanted = Selection(
        ranges=limits.ranges,
        start=shown.place,
        away=sorted({*away, *held_out}),
        **find_selected(connection, shown, known, filters),
    )
    part = clients.list_part(connection, scoring, wanted, top)
    next_offset = part.n_before + len(part.clients.names)
    facts = Worklist(
        clients=[],
        n_found=part.n_found,
        n_away=len({*away} - {*held_out}),
        n_held_out=len(held_out),
        bands=clients.count_bands(connection, scoring, limits.ranges),
        limits=limits,
        next_offset=None if part.next_place is None else next_offset,
        next_cursor=shown.format_cursor(part.next_place),
        order=filters["order"],
        columns=list(known),
        **describe_scoring(scoring, settings),
    )
    if not part.clients.names:
        return ListPage(facts)
    listed = ListedClients(
        model,
        part.clients,
        before=client_reasons.read_before(connection, model, part.clients),
        states=find_states(connection, part.clients, settings, shown),
        limits=limits,
        words=words,
        shown=settings.columns,
        until=facts.held_out_until,
    )
    return ListPage(facts, listed)


def worklist_page(
    connection: Connection,
    settings: WorklistSettings,
    api: ApiSettings = AUTO,
    words: ColumnWords = PLAIN,
    **wanted: Any,
) -> Worklist:
    """Return a page of the worklist with all clients.

    The parameters and errors are those of `read_page`.
    """
    return read_page(connection, settings, api, words, **wanted).whole()


def name_clients(model: Model, columns: Mapping[str, Sequence[Any]], n_rows: int) -> list[str]:
    """Return the names of a table's clients: identifiers, or row numbers."""
    ids = [columns[name] for name in model.schema.client_ids]
    if not ids:
        return [f"row {number}" for number in range(1, n_rows + 1)]
    return [name_client(row) for row in zip(*ids, strict=True)]


def as_shown(values: Columns, name: str, row: int) -> client_reasons.Value:
    """Return a shown value of a table, None for a missing value or column."""
    return client_reasons.as_value(values[name][row]) if name in values else None


def rank_table(
    model: Model,
    columns: Mapping[str, Sequence[Any]],
    api: ApiSettings,
    settings: WorklistSettings,
    top: int,
    words: ColumnWords = PLAIN,
) -> list[WorklistEntry]:
    """Rank the clients of a table without the records.

    Parameters
    ----------
    model : Model
        The model in production.
    columns : mapping of str to sequence
        The columns of the table by name.
    api, settings : ApiSettings, WorklistSettings
        The limits of the bands.
    top : int
        The number of clients to return.
    words : ColumnWords
        The words of the reasons.

    Returns
    -------
    list of WorklistEntry
        The clients by falling probability.
    """
    schema = model.schema
    kinds = dict.fromkeys(schema.numeric, np.float64) | dict.fromkeys(schema.categorical, object)
    values = {name: np.array(columns[name], dtype=kind) for name, kind in kinds.items()}
    names = name_clients(model, columns, len(columns[schema.features[0]]))
    ranked = ranking.rank(model, values, api, settings)
    indices, bands = ranked.order[:top], ranked.bands
    listed = {name: column[indices] for name, column in values.items()}
    reasons = client_reasons.list_reasons(model, listed, words)
    return [
        WorklistEntry(
            position=position,
            client=names[index],
            probability=float(ranked.probability[index]),
            band=bands[index],
            reasons=why,
            previous_probability=None,
            previous_at=None,
            change=None,
            work=None,
            columns={name: as_shown(values, name, index) for name in settings.columns},
        )
        for position, (index, why) in enumerate(
            zip(indices.tolist(), reasons, strict=True), start=1
        )
    ]


def as_score(row: Row, model: Model, api: ApiSettings) -> ScoreEntry:
    """Return a score of the records as the response type."""
    names = model.schema.features
    values = {name: row["values"][name] for name in names}
    terms = logistic_model.contributions(model, explanation.as_columns(model, values))
    return ScoreEntry(
        scored_at=row["scored_at"].isoformat(),
        probability=row["probability"],
        band=ranking.band_now(row["band"], row["probability"], ranking.band_limits(model, api)),
        position=row["position"],
        n_clients=row["n_clients"],
        release=row["release"],
        model_stamp=row["model_stamp"],
        values=values,
        contributions={name: float(terms[name][0]) for name in names},
        as_of=row["as_of"],
    )


def list_length(settings: WorklistSettings) -> int:
    """Return the number of clients on the worklist: the team's capacity or the default."""
    return settings.capacity or DEFAULT_TOP


def as_outcome(row: Row, n_listed: int, api: ApiSettings) -> OutcomeEntry:
    """Return an outcome of the records as the response type.

    The model of the score may be gone. With limits that depend on the model, the band is that of
    the scoring.
    """
    return OutcomeEntry(
        client=row["client"],
        as_of=row["as_of"],
        exited=row["exited"],
        previously=row["previously"],
        known_at=row["known_at"].isoformat(),
        scored_at=row["scored_at"].isoformat(),
        probability=row["probability"],
        band=ranking.band_now(row["band"], row["probability"], ranking.declared_limits(api)),
        position=row["position"],
        is_listed=row["position"] <= n_listed,
        release=row["release"],
    )


def format_share(share: Interval) -> str:
    """Format a share with the interval and the counts."""
    if share.share is None:
        return "none"
    return (
        f"{share.share:.0%} ({share.n_part} of {share.n_whole}; 95 % interval"
        f" {share.low:.0%} to {share.high:.0%})"
    )
