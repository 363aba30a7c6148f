"""The weekly mail: the clients to call with reasons, and what changed since the mail before."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from msgspec import UNSET, Struct, field

from scripts.clients import call_list, formatting, worklist
from scripts.clients.call_list import CallList, ListChanges, Members
from scripts.clients.client_names import format_title, names_of
from scripts.clients.response_types import WorklistEntry
from scripts.core import dates, keys, sentences
from scripts.core.amounts import format_amount
from scripts.core.config import SmtpSettings
from scripts.records.people_names import Names

FOLDER = Path(__file__).resolve().parent / "templates"
PURPOSE, N_ID_BYTES = "adras mail", 8
# Further clients stand on the page.
MOST_ROWS, MOST_NAMES = 200, 40
NUMBERS = ("#", "Risk", "Change", "Worth", "Expected gain")


class MailFacts(Struct, frozen=True):
    """The content of a weekly mail: the list, the list of the mail before, and its week.

    `before` is None before the first mail. `address` is that of the pages, "" without one. `gone`
    are the names for people of clients who are no longer on the list.
    """

    listed: CallList
    before: Members | None
    before_week: str | None
    week: str
    address: str = ""
    gone: Mapping[str, Names] = field(default_factory=dict)


def make_message_id(key: bytes, week: str, sender: str) -> str:
    """Return the identifier of the mail of a week, equal in each attempt."""
    hashed = keys.keyed_hash(key, week.encode(), purpose=PURPOSE, n_bytes=N_ID_BYTES)
    return f"<worklist-{week}-{hashed.hex()}@{sender.rpartition('@')[2]}>"


def shorten(names: Sequence[str]) -> str:
    """Join names, or the first of many names."""
    rest = len(names) - MOST_NAMES
    shown = ", ".join(map(formatting.printable, names[:MOST_NAMES]))
    return f"{shown} and {rest} more" if rest > 0 else shown


def find_changes(facts: MailFacts) -> ListChanges | None:
    """Return the changes since the mail before, None for the first mail."""
    if facts.before is None:
        return None
    return call_list.compare(facts.before, facts.listed.members)


def describe_changes(facts: MailFacts, changes: ListChanges | None) -> list[str]:
    """Return the changes since the mail before, a sentence each."""
    if changes is None or facts.before is None:
        return ["This is the first mail; from the next one on it says what changed."]
    now, before = facts.listed.members, facts.before
    listed = {entry.client: names_of(entry) for entry in facts.listed.entries}
    names: Mapping[str, Names] = {**facts.gone, **listed}
    told = []
    if changes.entered:
        new = [format_title(c, names.get(c, {}), now[c]["band"]) for c in changes.entered]
        told.append(f"{len(new)} new on the list: {shorten(new)}.")
    if changes.left:
        left = [format_title(c, names.get(c, {}), f"was {before[c]['band']}") for c in changes.left]
        told.append(
            f"{len(left)} no longer on it: {shorten(left)}. A client leaves the list when"
            " somebody has called, when the risk falls, or when others come first."
        )
    if changes.moved:
        moved = [
            format_title(c, names.get(c, {}), old, f"now {now[c]['band']}")
            for c, old in changes.moved.items()
        ]
        told.append(f"{len(moved)} with another band: {shorten(moved)}.")
    return told or ["The same clients in the same bands."]


def count_bands(entries: Sequence[WorklistEntry]) -> str:
    """Return the clients by band in words."""
    words = dict.fromkeys(entry.band for entry in entries)
    return ", ".join(f"{sum(e.band == band for e in entries)} {band}" for band in words)


def describe_head(listed: CallList) -> list[str]:
    """Return the sentences above the list: the time of the list, and the expected catch."""
    page, n_listed = listed.page, len(listed.entries)
    scored = "" if page.scored_at is None else f"{page.scored_at[:16].replace('T', ' ')} UTC"
    dated = f" as of {page.as_of}" if page.as_of else ""
    bands = f" ({count_bands(listed.entries)})" if listed.entries else ""
    told = [
        f"{n_listed} of {sentences.count(page.n_clients, 'client')}{dated}{bands}, scored {scored}."
    ]
    if page.capacity is not None:
        caught = worklist.format_share(page.capacity.caught)
        told.append(
            f"Calling the {page.capacity.n_listed} riskiest is expected to reach {caught} of those"
            " who leave."
        )
    if page.n_away or page.n_held_out:
        told.append(
            f"{page.n_away} are away after a contact or a snooze, and {page.n_held_out} are held"
            " out; they are not on this list."
        )
    return told


def make_cells(place: int, entry: WorklistEntry) -> dict[str, str]:
    """Return the cells of a client by column."""
    gains = {}
    if entry.gain is not UNSET:
        worth = format_amount(formatting.known_value(entry))
        gains = {"Worth": worth, "Expected gain": format_amount(entry.gain)}
    return {
        "#": str(place),
        "Client": formatting.printable(format_title(entry.client, names_of(entry))),
        "Risk": f"{entry.probability:.1%}",
        "Band": entry.band,
        "Change": formatting.format_percentage_points(entry.change) or "new",
        **gains,
        "Why": "; ".join(formatting.printable(reason.text) for reason in entry.reasons),
    }


def make_row(place: int, entry: WorklistEntry) -> dict[str, Any]:
    """Return a client of the list for the template."""
    return {
        "cells": make_cells(place, entry),
        "reasons": [formatting.printable(reason.text) for reason in entry.reasons],
        "work": formatting.format_work(entry.work),
        "link": quote(entry.client, safe=""),
    }


def format_plain_row(row: Mapping[str, Any]) -> str:
    """Format a client for the plain part: a line of numbers, then a line for each reason."""
    cells = row["cells"]
    gain = f", expected gain {cells['Expected gain']}" if "Expected gain" in cells else ""
    change = cells["Change"] if cells["Change"] == "new" else f"{cells['Change']} points"
    first = f"{cells['#']}. {cells['Client']}: {cells['Risk']}, {cells['Band']}, {change}{gain}"
    return "\n".join([first, *(f"   {told}" for told in (*row["reasons"], row["work"]) if told)])


@cache
def template() -> jinja2.Template:
    """Return the template of the HTML part."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("weekly_mail.html")


def describe_mail(facts: MailFacts) -> dict[str, Any]:
    """Return the variables of both parts of the mail."""
    changes, listed = find_changes(facts), facts.listed
    n_listed, rest = len(listed.entries), ""
    if changes is not None:
        rest = f", {len(changes.entered)} new, {len(changes.left)} gone"
    rows = [make_row(p, e) for p, e in enumerate(listed.entries[:MOST_ROWS], start=1)]
    since = (
        ""
        if facts.before_week is None
        else f" since the mail of {dates.format_day(facts.before_week)}"
    )
    return {
        "subject": f"Worklist of {dates.format_day(facts.week)}:"
        f" {sentences.count(n_listed, 'client')} to call{rest}",
        "head": describe_head(listed),
        "changes_title": f"What changed{since}",
        "changes": describe_changes(facts, changes),
        "columns": list(rows[0]["cells"]) if rows else [],
        "numbers": NUMBERS,
        "rows": rows,
        "n_more": n_listed - len(rows),
        "address": facts.address.rstrip("/"),
    }


def format_plain(told: Mapping[str, Any]) -> str:
    """Format the plain part of the mail."""
    link = [f"{told['address']}/dashboard/worklist"] if told["address"] else []
    more = [f"And {told['n_more']} more on the page."] if told["n_more"] else []
    blocks = [
        told["subject"],
        "\n".join([*told["head"], *link]),
        "\n".join([f"{told['changes_title']}:", *(f"- {line}" for line in told["changes"])]),
        "The list:",
        *map(format_plain_row, told["rows"]),
        *more,
    ]
    return "\n\n".join(blocks) + "\n"


def compose(facts: MailFacts, smtp: SmtpSettings, message_id: str, at: datetime) -> EmailMessage:
    """Return the weekly mail with a plain and an HTML part.

    Parameters
    ----------
    facts : MailFacts
        The list, and the list of the mail before.
    smtp : SmtpSettings
        Sender and receivers.
    message_id : str
        The identifier of the mail.
    at : datetime
        The moment of the first attempt, which is the date of the mail.

    Returns
    -------
    email.message.EmailMessage
        With lines of at most 76 characters, in ASCII.
    """
    told = describe_mail(facts)
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = told["subject"]
    mail["From"] = smtp.sender
    mail["To"] = ", ".join(smtp.receivers)
    mail["Date"] = format_datetime(at)
    mail["Message-ID"] = message_id
    # No out-of-office notes in return (RFC 3834).
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(format_plain(told), cte="quoted-printable")
    mail.add_alternative(template().render(told), subtype="html", cte="quoted-printable")
    return mail
