"""Events of the list for a webhook: a signed message for each client who enters or leaves."""

import base64
import binascii
import hashlib
import hmac
import logging
import re
import time
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import UNSET
from sqlalchemy.engine import Engine

from scripts.clients import call_list
from scripts.clients.call_list import CallList, Members
from scripts.clients.client_names import names_of
from scripts.clients.response_types import WorklistEntry
from scripts.core import http_post, secret_files
from scripts.core.config import Config
from scripts.core.errors import ConfigError
from scripts.records import database, list_deliveries, people_names
from scripts.records.people_names import Names
from scripts.records.runs import Row

SECRET_VARIABLE = "ADRAS_WORKLIST_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable
SECRET_KEY = "worklist.webhook_secret_file"  # noqa: S105 - the name of a key
ENCODED = "whsec_"
MIN_BYTES = 24
TIMEOUT_S = 5.0
# A run sends no more, and begins no further one after so many seconds.
MAX_EVENTS, MAX_S = 200, 30.0
# Answers about the message itself, which it would get again. So many, and it is given up.
REFUSAL = re.compile(r"it answered (400|409|410|413|415|422)")
MAX_REFUSED = 5
MAX_AGE = timedelta(days=7)

log = logging.getLogger(__name__)


class EventKind(StrEnum):
    """The change reported by an event."""

    ENTERED = "client.entered"
    LEFT = "client.left"


def read_key(config: Config) -> bytes:
    """Return the key of the signatures.

    Raises
    ------
    ConfigError
        If there is no secret, or a short one.
    """
    path = config.worklist.webhook_secret_file
    secret = secret_files.read_secret(SECRET_VARIABLE, path, SECRET_KEY)
    try:
        key = (
            base64.b64decode(secret.removeprefix(ENCODED), validate=True)
            if secret.startswith(ENCODED)
            else secret.encode()
        )
    except binascii.Error as error:
        raise ConfigError(
            f"The secret of the webhook begins with {ENCODED} and is no base64 after that."
        ) from error
    if len(key) < MIN_BYTES:
        raise ConfigError(
            f"The secret of the webhook has {len(key)} bytes; expected {MIN_BYTES} or more, as"
            " python -c 'import secrets; print(secrets.token_urlsafe())' makes them."
        )
    return key


def sign(key: bytes, event_id: str, sent_s: int, body: bytes) -> str:
    """Return the signature of a message.

    Parameters
    ----------
    key : bytes
        The secret.
    event_id : str
        The id of the event.
    sent_s : int
        The time of the attempt in seconds since 1970.
    body : bytes
        The message.

    Returns
    -------
    str
        "v1," and the HMAC-SHA256 of id, time and body, joined by points, in base64.

    Notes
    -----
    Standard Webhooks 1.0.0, "Signature scheme", symmetric.
    """
    content = b".".join([event_id.encode(), str(sent_s).encode(), body])
    return "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()


def describe_names(names: Mapping[str, str] | None) -> dict[str, Any]:
    """Return the member of the names for people, {} without declared names."""
    return {"names": dict(names)} if names else {}


def describe_entry(entry: WorklistEntry) -> dict[str, Any]:
    """Return the facts of a client on the list."""
    gains = {"value": entry.value, "expected_gain": entry.gain} if entry.gain is not UNSET else {}
    return {
        "client": entry.client,
        **describe_names(names_of(entry)),
        "position": entry.position,
        "probability": entry.probability,
        "band": entry.band,
        **gains,
        "reasons": [reason.text for reason in entry.reasons],
        "columns": entry.columns,
        "owner": None if entry.work is None else entry.work.assigned_to,
    }


def make_event(
    config: Config, listed: CallList, now: datetime, kind: EventKind, data: dict[str, Any]
) -> dict[str, Any]:
    """Return an event as a row of the records, with the message."""
    event_id, base = f"evt_{uuid.uuid4().hex}", config.alerts.dashboard_url.rstrip("/")
    link = f"{base}/dashboard/client?name={quote(data['client'], safe='')}" if base else None
    facts = {"scored_at": listed.page.scored_at, "release": listed.page.release, "url": link}
    message = {
        "id": event_id, "type": kind, "timestamp": now.isoformat(), "data": data | facts,
    }  # fmt: skip
    return {
        "event_id": event_id, "at": now, "kind": str(kind), "client": data["client"],
        "body": msgspec.json.encode(message).decode(),
    }  # fmt: skip


def make_events(
    config: Config, before: Members, listed: CallList, now: datetime, names: Mapping[str, Names]
) -> list[dict[str, Any]]:
    """Return the events between two lists: the leaving clients, then the entering clients.

    Parameters
    ----------
    config : Config
        With the address of the pages.
    before : mapping
        The members of the list that the receiver knows.
    listed : CallList
        The present list.
    now : datetime
        The present moment.
    names : mapping of str to dict of str to str
        The names for people of those who left.

    Returns
    -------
    list of dict
        Rows of `list_events`, in the order of sending.
    """
    changes = call_list.compare(before, listed.members)
    entries = {entry.client: entry for entry in listed.entries}
    gone = [
        {"client": client, **describe_names(names.get(client)), **before[client]}
        for client in changes.left
    ]
    new = [describe_entry(entries[client]) for client in changes.entered]
    return [make_event(config, listed, now, EventKind.LEFT, data) for data in gone] + [
        make_event(config, listed, now, EventKind.ENTERED, data) for data in new
    ]


def record_events(engine: Engine, config: Config, now: datetime, run_id: int | None) -> int:
    """Record the events since the list known to the receiver, and return their number.

    Events and list are recorded in one transaction: whoever is killed leaves both or neither.
    """
    with database.reading(engine) as connection:
        known = list_deliveries.find_snapshot(connection)
        listed = call_list.read_call_list(connection, config, now)
        before = call_list.from_kept([] if known is None else known["members"])
        gone = {*before} - {*(listed.members if listed is not None else ())}
        names = people_names.find_names(connection, gone)
    if listed is None:
        return 0
    rows = make_events(config, before, listed, now, names)
    with database.writing(engine) as connection:
        list_deliveries.add_events(connection, [row | {"run_id": run_id} for row in rows])
        list_deliveries.replace_snapshot(
            connection, at=now, scoring_id=listed.scoring_id, last_entry=listed.last_entry,
            day=listed.day, members=call_list.as_kept(listed.members),
        )  # fmt: skip
    return len(rows)


def post_event(url: str, key: bytes, event: Row) -> str:
    """Send an event, and return "" or the failure."""
    body, sent_s = event["body"].encode(), int(time.time())
    headers = {
        "webhook-id": event["event_id"],
        "webhook-timestamp": str(sent_s),
        "webhook-signature": sign(key, event["event_id"], sent_s, body),
    }
    return http_post.post(url, body, "application/json", TIMEOUT_S, headers)


def note_failure(event: Row, failure: str, now: datetime) -> dict[str, Any]:
    """Return the changes in the row of an event after a failed attempt."""
    n_refused = event["n_refused"] + bool(REFUSAL.fullmatch(failure))
    is_over = n_refused >= MAX_REFUSED or now - event["at"] > MAX_AGE
    return {
        "fault": failure, "n_refused": n_refused, "given_up_at": now if is_over else None,
    }  # fmt: skip


def post_events(engine: Engine, url: str, key: bytes, now: datetime) -> str:
    """Send the waiting events in order, and return "" or the reason for the rest.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The records.
    url : str
        The receiver. It is a secret.
    key : bytes
        The key of the signatures.
    now : datetime
        The present moment.

    Returns
    -------
    str
        The failure of the event at the head, which keeps the later ones from overtaking it.

    Notes
    -----
    Each event is marked after the receiver has accepted it. Whoever is killed in between sends it
    again with the same id, so the receiver gets it at least once.
    """
    begun_s, n_sent = time.monotonic(), 0
    while n_sent < MAX_EVENTS and time.monotonic() - begun_s < MAX_S:
        with database.reading(engine) as connection:
            event = list_deliveries.next_event(connection)
        if event is None:
            break
        failure = post_event(url, key, event)
        changed = note_failure(event, failure, now) if failure else {"sent_at": now, "fault": None}
        with database.writing(engine) as connection:
            list_deliveries.mark_event(connection, event["id"], **changed)
        if failure and changed["given_up_at"] is None:
            return failure
        if failure:
            log.warning("Event %s of the list was given up: %s.", event["event_id"], failure)
        n_sent += not failure
    if n_sent:
        log.info("Sent %d events of the list.", n_sent)
    return ""
