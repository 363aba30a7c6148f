"""The work with clients: entries are checked and recorded, and their sum is a client's state."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy.engine import Connection

from scripts.clients.response_types import RecordedWork, WorkEntry, WorkHistory, WorkState
from scripts.clients.work_input import (
    MAX_ENTRIES,
    MAX_NAME,
    MAX_NOTE,
    RESULTS,
    ContactResult,
    WorkInput,
    describe_results,
)
from scripts.core.config import WorklistSettings
from scripts.core.errors import WorkConflictError, WorkError
from scripts.records import client_work, clients, scored_clients, scoring_records
from scripts.records.runs import Row
from scripts.records.tables import WorkKind

# Faults named in one message.
N_FAULTS = 10
# A day in a time zone before or behind that of the service.
ZONE = timedelta(days=1)
LONGEST = timedelta(days=3660)


def check_text(name: str, text: str, longest: int) -> str:
    """Return a text on a line, or raise for a long or unprintable text."""
    line = " ".join(text.split())
    if len(line) > longest or not line.isprintable():
        raise WorkError(f"{name} has {len(line)} characters; expected up to {longest} printable.")
    return line


def check_day(name: str, text: str, first: date, last: date) -> str:
    """Return a day in ISO 8601, or raise for another text or a day out of range."""
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise WorkError(f"{name} is {text!r}; expected a day such as {first}.") from error
    if not first <= day <= last:
        raise WorkError(f"{name} is {day}; expected a day from {first} to {last}.")
    return day.isoformat()


def check_contact(given: WorkInput, today: date) -> dict[str, Any]:
    """Return the checked facts of a contact, {} without a contact."""
    if not given.result:
        about = [n for n in ("note", "contacted_on", "contacted_by") if getattr(given, n)]
        if about:
            raise WorkError(
                f"{' and '.join(about)} without a result; expected {describe_results()}."
            )
        return {}
    if given.result not in RESULTS:
        raise WorkError(f"The result is {given.result!r}; expected {describe_results()}.")
    first, last = today - LONGEST, today + ZONE
    return {
        "result": given.result,
        "note": check_text("note", given.note or "", MAX_NOTE) or None,
        "contacted_on": check_day("contacted_on", given.contacted_on or str(today), first, last),
        "contacted_by": check_text("contacted_by", given.contacted_by or "", MAX_NAME) or None,
    }


def check_input(
    given: WorkInput, today: date, snoozed_until: str | None
) -> dict[WorkKind, dict[str, Any]]:
    """Return the checked facts of an input by kind.

    A downloaded list has the end of each snooze, `snoozed_until`, also one that is over.

    Raises
    ------
    WorkError
        If a fact cannot be right, or there is none.
    """
    facts: dict[WorkKind, dict[str, Any]] = {}
    contact = check_contact(given, today)
    if contact:
        facts[WorkKind.CONTACT] = contact
    if given.assigned_to is not None:
        name = check_text("assigned_to", given.assigned_to, MAX_NAME)
        facts[WorkKind.ASSIGNMENT] = {"assigned_to": name}
    if given.snoozed_until is not None:
        until = given.snoozed_until
        if until and until != snoozed_until:
            until = check_day("snoozed_until", until, today, today + LONGEST)
        facts[WorkKind.SNOOZE] = {"snoozed_until": until}
    if not facts:
        raise WorkError("There is nothing to record: no result, assigned_to or snoozed_until.")
    return facts


def find_latest(rows: Iterable[Row]) -> dict[str, Row]:
    """Return the current entry of each kind: the last entry, of contacts by their day."""
    latest: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: (row["contacted_on"] or "", row["id"])):
        latest[row["kind"]] = row
    return latest


def is_away(snooze: Row | None, today: date, probability: float | None, rise: float) -> bool:
    """Return whether a client rests: until the snooze ends, or the risk has risen since.

    Parameters
    ----------
    snooze : mapping or None
        The last snooze.
    today : datetime.date
        The day in UTC. On the day on which the snooze ends the client is back.
    probability : float or None
        The risk now.
    rise : float
        The rise of the probability that brings a client back.
    """
    if snooze is None or not snooze["snoozed_until"] > today.isoformat():
        return False
    before = snooze["probability"]
    # A rise of exactly the limit brings back, also where the difference is rounded down.
    return before is None or probability is None or round(probability - before, 9) < rise


def make_state(
    rows: Sequence[Row], today: date, probability: float | None, settings: WorklistSettings
) -> WorkState | None:
    """Return the state of a client from the entries, None without any."""
    if not rows:
        return None
    latest = find_latest(rows)
    contact, snooze = latest.get(WorkKind.CONTACT), latest.get(WorkKind.SNOOZE)
    assignment = latest.get(WorkKind.ASSIGNMENT)
    told = ("result", "contacted_on", "contacted_by", "note")
    facts = {name: None if contact is None else contact[name] for name in told}
    return WorkState(
        **facts,
        assigned_to=None if assignment is None else assignment["assigned_to"] or None,
        snoozed_until=None if snooze is None else snooze["snoozed_until"] or None,
        is_away=is_away(snooze, today, probability, settings.return_rise),
        version=max(row["id"] for row in rows),
    )


def value_of(row: Row) -> str | None:
    """Return the new value of an entry."""
    names = {WorkKind.CONTACT: "result", WorkKind.ASSIGNMENT: "assigned_to"}
    value = row[names.get(WorkKind(row["kind"]), "snoozed_until")]
    return str(value) if value else None


def as_history(rows: Sequence[Row], earlier: Mapping[str, Sequence[Row]]) -> list[WorkEntry]:
    """Return entries as the response type, each with the value before.

    Parameters
    ----------
    rows : sequence of mapping
        The entries to return, in their order.
    earlier : mapping of str to sequence of mapping
        All entries of these clients by name, the oldest first.
    """
    before: dict[int, str | None] = {}
    for entries in earlier.values():
        values: dict[str, str | None] = {}
        for row in entries:
            before[row["id"]] = values.get(row["kind"])
            values[row["kind"]] = value_of(row)
    same = ("id", "actor", "client", "kind", "contacted_on", "contacted_by", "note")
    return [
        WorkEntry(
            **{name: row[name] for name in same},
            at=row["at"].isoformat(),
            before=before[row["id"]],
            after=value_of(row),
        )
        for row in rows
    ]


def work_page(connection: Connection, limit: int, offset: int) -> WorkHistory:
    """Return a page of the entries about all clients, newest first."""
    rows = client_work.latest_work(connection, limit + 1, offset)
    shown = rows[:limit]
    earlier = client_work.list_work(connection, {row["client"] for row in shown})
    return WorkHistory(
        entries=as_history(shown, earlier),
        next_offset=offset + limit if len(rows) > limit else None,
    )


def find_away(
    connection: Connection, scoring: Row, settings: WorklistSettings, today: date, up_to: int
) -> list[int]:
    """Return the rising places on the list by risk of the clients who are away, from 0."""
    snoozed = {row["client"]: row for row in client_work.list_snoozed(connection, today, up_to)}
    found = scored_clients.locate(connection, scoring, snoozed)
    return sorted(
        at.position - 1
        for client, at in found.items()
        if is_away(snoozed[client], today, at.probability, settings.return_rise)
    )


def find_probabilities(connection: Connection, names: Sequence[str]) -> dict[str, float]:
    """Return the last recorded probability of clients by name, without unscored clients."""
    scoring = scoring_records.last_scoring(connection)
    if scoring is None:
        return {}
    found = scored_clients.locate(connection, scoring, names)
    known = {client: at.probability for client, at in found.items()}
    for client in names:
        if client not in known:
            # Clients of earlier lists.
            for row in clients.history_of_client(connection, client, 1):
                known[client] = row["probability"]
    return known


def default_snooze(contact: Mapping[str, Any], settings: WorklistSettings) -> str:
    """Return the day of a contacted client's return to the list."""
    was_reached = contact["result"] != ContactResult.NOT_REACHED
    n_days = settings.snooze_days if was_reached else settings.retry_days
    return (date.fromisoformat(contact["contacted_on"]) + timedelta(days=n_days)).isoformat()


def add_snooze(
    facts: dict[WorkKind, dict[str, Any]],
    latest: Mapping[str, Row],
    settings: WorklistSettings,
    today: date,
) -> None:
    """Add the snooze after a contact, without a given snooze or a later contact."""
    until = facts.get(WorkKind.SNOOZE, {}).get("snoozed_until")
    if until and until < today.isoformat():
        # A line of a downloaded list has the snooze of the contact before, which is over.
        del facts[WorkKind.SNOOZE]
    contact, last = facts.get(WorkKind.CONTACT), latest.get(WorkKind.CONTACT)
    if contact is None or WorkKind.SNOOZE in facts:
        return
    is_latest = last is None or last["contacted_on"] <= contact["contacted_on"]
    until = default_snooze(contact, settings)
    if is_latest and until > today.isoformat():
        facts[WorkKind.SNOOZE] = {"snoozed_until": until}


def is_known(kind: WorkKind, facts: Mapping[str, Any], rows: Sequence[Row]) -> bool:
    """Return whether an entry is an equal contact, or the present state."""
    if kind is WorkKind.CONTACT:
        # A form sent twice, and a file imported twice, are no second contact.
        return any(all(row[n] == v for n, v in facts.items()) for row in rows)
    last = find_latest(rows).get(kind)
    present = None if last is None else value_of(last)
    return present == (next(iter(facts.values())) or None)


def check_seen(given: WorkInput, facts: Mapping[WorkKind, Any], rows: Sequence[Row]) -> None:
    """Raise if somebody has assigned the client otherwise since the sender looked.

    Contacts are added to those of others, so they never conflict.
    """
    last = find_latest(rows).get(WorkKind.ASSIGNMENT)
    if WorkKind.ASSIGNMENT not in facts or given.seen is None or last is None:
        return
    if last["id"] > given.seen and last["assigned_to"] != facts[WorkKind.ASSIGNMENT]["assigned_to"]:
        raise WorkConflictError(
            f"{last['actor']} has assigned {given.client} to"
            f" {last['assigned_to'] or 'nobody'} in the meantime; nothing was recorded. Look again,"
            " and assign anew if need be."
        )


def check_inputs(
    given: Sequence[WorkInput],
    known: Mapping[str, float],
    history: Mapping[str, Sequence[Row]],
    today: date,
) -> list[dict[WorkKind, dict[str, Any]]]:
    """Return the checked facts of every input.

    Raises
    ------
    WorkError
        With the first faults by number, if any input is wrong.
    """
    checked, faults = [], []
    for number, entry in enumerate(given, start=1):
        try:
            if entry.client not in known:
                raise WorkError(f"No client {entry.client!r} was scored.")
            snooze = find_latest(history.get(entry.client, ())).get(WorkKind.SNOOZE)
            checked.append(check_input(entry, today, value_of(snooze) if snooze else None))
        except WorkError as error:
            faults.append(f"entry {number}: {error}" if len(given) > 1 else str(error))
    if faults:
        more = f" And {len(faults) - N_FAULTS} more." if len(faults) > N_FAULTS else ""
        raise WorkError(" ".join(faults[:N_FAULTS]) + more)
    return checked


def record(
    connection: Connection,
    settings: WorklistSettings,
    given: Sequence[WorkInput],
    *,
    actor: str,
    now: datetime,
) -> RecordedWork:
    """Record entries about clients, all or none.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that writes, so that nobody else records between look and entry.
    settings : WorklistSettings
        The rest after a contact.
    given : sequence of WorkInput
        The entries, applied in their order.
    actor : str
        Who records.
    now : datetime.datetime
        The present.

    Returns
    -------
    RecordedWork
        The numbers of entries that were new and known, and the states afterwards.

    Raises
    ------
    WorkError
        If an entry cannot be right.
    WorkConflictError
        If somebody else has assigned a client since the sender looked.
    """
    if len(given) > MAX_ENTRIES:
        raise WorkError(f"There are {len(given)} entries; expected up to {MAX_ENTRIES}.")
    names, today = list(dict.fromkeys(entry.client for entry in given)), now.astimezone(UTC).date()
    known = find_probabilities(connection, names)
    history = client_work.list_work(connection, names)
    checked = check_inputs(given, known, history, today)
    n_recorded = n_known = 0
    for entry, facts in zip(given, checked, strict=True):
        rows = history.setdefault(entry.client, [])
        check_seen(entry, facts, rows)
        if WorkKind.CONTACT in facts:
            facts[WorkKind.CONTACT]["contacted_by"] = entry.contacted_by or actor
            if not is_known(WorkKind.CONTACT, facts[WorkKind.CONTACT], rows):
                add_snooze(facts, find_latest(rows), settings, today)
        new = [kind for kind in facts if not is_known(kind, facts[kind], rows)]
        n_recorded, n_known = n_recorded + bool(new), n_known + (not new)
        told = {"at": now, "actor": actor, "client": entry.client}
        told |= {"probability": known[entry.client]}
        client_work.record_work(connection, [{**told, "kind": k, **facts[k]} for k in new])
        if new:
            history |= client_work.list_work(connection, [entry.client])
    states = {name: make_state(history[name], today, known[name], settings) for name in names}
    return RecordedWork(
        n_recorded=n_recorded, n_known=n_known,
        clients={name: state for name, state in states.items() if state is not None},
    )  # fmt: skip
