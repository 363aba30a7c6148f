"""Formatting of the worklist, a client's history and the outcomes for people and spreadsheets."""

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import UNSET

from scripts.clients import worklist
from scripts.clients.client_names import names_of
from scripts.clients.list_entries import EntryColumns, split_entries
from scripts.clients.response_types import (
    CallingEffect,
    Change,
    ClientDetails,
    ContactEffect,
    EffectEntry,
    ListGain,
    Outcomes,
    ReasonEntry,
    WorkEntry,
    Worklist,
    WorklistEntry,
    WorkState,
)
from scripts.core import sentences
from scripts.core.amounts import format_amount
from scripts.core.terminal import format_columns
from scripts.data import safe_csv
from scripts.data.safe_csv import Cell
from scripts.model import explanation
from scripts.model.ranking import NO_DATA

HEADER = (
    "position", "client", "probability", "band", "change", "previous_probability", "previous_at",
    "reason_1", "reason_2", "reason_3", "favour_1", "favour_2", "held_out_until",
    "assigned_to", "contacted_on", "contacted_by", "result", "note", "snoozed_until",
)  # fmt: skip
GAIN_HEADER = ("value", "gain")
WORK_COLUMNS = HEADER[HEADER.index("assigned_to") :]
BARS = "▁▂▃▄▅▆▇█"


def printable(text: str) -> str:
    """Return a text without control characters, safe for a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def format_moment(at: str) -> str:
    """Format a time of ISO 8601 for people, in UTC and without parts of a second."""
    return f"{datetime.fromisoformat(at).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def format_percentage_points(change: float | None) -> str:
    """Format the change of a probability in percentage points."""
    return "" if change is None else f"{100 * change:+.1f}"


def have_gains(entries: Sequence[WorklistEntry]) -> bool:
    """Return whether entries have gains: all entries of a list have gains, or none."""
    return bool(entries) and entries[0].gain is not UNSET


def known_value(entry: WorklistEntry) -> float | None:
    """Return the worth of a client, None if unknown."""
    return None if entry.value is UNSET else entry.value


def format_gain(entry: WorklistEntry) -> list[str]:
    """Return the worth of a client and the gain as cells of a printed table, if known."""
    if entry.gain is UNSET:
        return []
    return [format_amount(known_value(entry)), format_amount(entry.gain)]


def format_work(work: WorkState | None) -> str:
    """Format the state of the work with a client in a few words."""
    if work is None:
        return ""
    parts = []
    if work.result is not None:
        parts.append(f"{work.result} {work.contacted_on} by {work.contacted_by}")
    if work.is_away:
        parts.append(f"away until {work.snoozed_until}")
    if work.assigned_to is not None:
        parts.append(f"assigned to {work.assigned_to}")
    return printable(", ".join(parts))


def format_work_entry(entry: WorkEntry) -> list[str]:
    """Return a change of the work with a client as a row of a printed table."""
    change = f"{entry.before or 'none'} -> {entry.after or 'none'}"
    about = f"{entry.contacted_on} by {entry.contacted_by}" if entry.contacted_on else ""
    cells = (format_moment(entry.at), entry.actor, entry.kind, change, about, entry.note or "")
    return [printable(cell) for cell in cells]


def format_name(entry: WorklistEntry | ClientDetails) -> str:
    """Format the client, followed by the names for people."""
    texts = [text for text in names_of(entry).values() if text]
    return printable(f"{entry.client} ({', '.join(texts)})" if texts else entry.client)


def format_entry(entry: WorklistEntry) -> list[str]:
    """Return an entry of the worklist as a row of a printed table."""
    why = "\n".join(printable(reason.text) for reason in entry.reasons)
    return [
        str(entry.position),
        format_name(entry),
        "" if entry.band == NO_DATA else f"{entry.probability:.1%}",
        entry.band if entry.held_out_until is UNSET else f"{entry.band}, held out",
        format_percentage_points(entry.change),
        *format_gain(entry),
        "too many blanks" if entry.band == NO_DATA else why,
        format_work(entry.work),
    ]


def format_entries(entries: Sequence[WorklistEntry]) -> str:
    """Format the worklist as a printed table."""
    gains = GAIN_HEADER if have_gains(entries) else ()
    header = ["#", "client", "risk", "band", "change", *gains, "why", "work"]
    rows = [header, *map(format_entry, entries)]
    # Before the first contact the column would be empty.
    has_work = any(entry.work is not None for entry in entries)
    return format_columns(rows if has_work else [row[:-1] for row in rows])


def work_cells(states: Sequence[WorkState | None]) -> list[Sequence[Cell]]:
    """Return the work with clients as columns of a CSV file, in the order of the header."""
    if not any(states):
        return [[None] * len(states)] * len(WORK_COLUMNS)
    return [
        [None if state is None else getattr(state, name) for state in states]
        for name in WORK_COLUMNS
    ]


def reason_cells(reasons: Sequence[ReasonEntry]) -> list[str | None]:
    """Return the reasons as cells of a CSV file: first the reasons to leave, then to stay."""
    raising = [reason.text for reason in reasons if reason.effect > 0]
    lowering = [reason.text for reason in reasons if reason.effect <= 0]
    n_left = explanation.N_REASONS - len(raising), explanation.N_FAVOURS - len(lowering)
    return [*raising, *[None] * n_left[0], *lowering, *[None] * n_left[1]]


def without_unset(values: Sequence[Any] | None, n_rows: int) -> Sequence[Cell]:
    """Return the values of a member, None where there is none."""
    if values is None:
        return [None] * n_rows
    return [None if value is UNSET else value for value in values]


def shown_cells(part: EntryColumns) -> dict[str, Sequence[Cell]]:
    """Return the columns of `worklist.columns` without the names for people."""
    return {name: values for name, values in part.columns.items() if name not in part.names}


def file_header(part: EntryColumns) -> tuple[str, ...]:
    """Return the names of the columns of a file of the worklist, without `worklist.columns`.

    The names for people stand behind the client.
    """
    header = HEADER if part.gain is None else (*HEADER, *GAIN_HEADER)
    (place, client), rest = header[:2], header[2:]
    return (place, client, *part.names, *rest)


def file_rows(part: EntryColumns) -> Iterator[Sequence[Cell]]:
    """Return the rows of a CSV or Excel file of the worklist."""
    n_rows = len(part.client)
    gains = [] if part.gain is None else [part.value, part.gain]
    return zip(
        part.position,
        part.client,
        *part.names.values(),
        part.probability,
        part.band,
        part.change,
        part.previous_probability,
        part.previous_at,
        *zip(*map(reason_cells, part.reasons), strict=True),
        without_unset(part.held_out_until, n_rows),
        *work_cells(part.work),
        *(without_unset(values, n_rows) for values in gains),
        *shown_cells(part).values(),
        strict=True,
    )


def format_part_as_csv(part: EntryColumns, *, with_header: bool = True) -> str:
    """Format a part of the worklist as CSV without formulas for a spreadsheet."""
    # The names of the files, so that the columns can be joined with them again.
    header = (*file_header(part), *shown_cells(part))
    return safe_csv.format_csv(header if with_header else None, file_rows(part))


def format_entries_as_csv(entries: Sequence[WorklistEntry]) -> str:
    """Format entries of the worklist as CSV without formulas for a spreadsheet."""
    return format_part_as_csv(split_entries(entries))


def format_best(gain: ListGain) -> str:
    """Describe the best length of the list in a sentence."""
    best = gain.best
    return (
        f"Contacting the first {best.n_clients} by gain is expected to bring"
        f" {format_amount(best.gain)} ({format_amount(best.gain_low)} to"
        f" {format_amount(best.gain_high)}), more than any other number; with the save rate between"
        f" the ends of its interval the best number is {best.low} to {best.high}."
    )


def format_head(page: Worklist) -> str:
    """Return the lines above a worklist: counts, scoring and expected share of the exits."""
    if page.scored_at is None:
        return (
            "No client has been scored yet. The last run says why: python -m scripts.fullprocess"
            " --history 1. Without dates, today's clients are rows without a label."
        )
    counts = ", ".join(f"{count} {band}" for band, count in sorted(page.bands.items()))
    dated = f" as of {page.as_of}" if page.as_of else ""
    lines = [
        f"{sentences.count(page.n_clients, 'client')}{dated} ({counts}), scored at"
        f" {format_moment(page.scored_at)} with release {page.release}."
    ]
    if page.capacity is not None:
        caught = worklist.format_share(page.capacity.caught)
        lines.append(
            f"Calling the {page.capacity.n_listed} riskiest is expected to reach {caught} of those"
            f" who leave, judged on {page.capacity.n_test_rows} test rows."
        )
    if page.n_held_out:
        lines.append(
            f"{page.n_held_out} are held out until {page.held_out_until} and stand at the end: do"
            " not call them."
        )
    if page.gain is not None:
        lines.append(format_best(page.gain))
    if page.n_away:
        lines.append(f"{page.n_away} of them were contacted or snoozed, and stand at the end.")
    return "\n".join(lines)


def format_effect(effect: float) -> str:
    """Format an effect on the log-odds."""
    return f"{effect:+.4f}"


def format_split(change: Change) -> str:
    """Format the change of a client's log-odds as a table of terms."""
    rows = [[printable(m.text), format_effect(m.effect)] for m in change.movements]
    if change.is_retrained:
        rows.append(["the model was trained again", format_effect(change.retraining)])
    total = change.after_log_odds - change.before_log_odds
    rows.append(["together, in log-odds", format_effect(total)])
    return (
        f"Since {format_moment(change.before_at)}: {change.before_probability:.1%} to"
        f" {change.after_probability:.1%}\n{format_columns(rows, has_header=False)}"
    )


def format_sparkline(probabilities: Sequence[float]) -> str:
    """Return probabilities over time as a line of block characters."""
    top = len(BARS) - 1
    return "".join(BARS[min(top, math.floor(p * len(BARS)))] for p in probabilities)


def format_client(page: ClientDetails) -> str:
    """Format the details of a client as text."""
    last = page.last
    state = "" if page.is_current else " (not among today's clients)"
    if page.held_out_until is not UNSET:
        state = f" (held out until {page.held_out_until}: do not call)"
    parts = [
        f"{format_name(page)}{state}: {last.probability:.1%}, {last.band}, place"
        f" {last.position} of {last.n_clients}, scored at {format_moment(last.scored_at)} with"
        f" release {last.release}.",
        "\n".join(printable(reason.text) for reason in page.reasons),
    ]
    if page.change is not None:
        parts.append(format_split(page.change))
    if page.work_history:
        header = ["recorded", "who", "what", "change", "contact", "note"]
        rows = [header, *map(format_work_entry, page.work_history)]
        parts.append(f"{format_work(page.work)}\n{format_columns(rows)}".strip())
    rows = [
        [format_moment(s.scored_at), *([f"as of {s.as_of}"] if s.as_of else ()),
         f"{s.probability:.1%}", s.band, s.release]
        for s in page.history
    ]  # fmt: skip
    line = format_sparkline([score.probability for score in reversed(page.history)])
    parts.append(f"History {line}\n{format_columns(rows, has_header=False)}")
    for outcome in page.outcomes:
        result = "left" if outcome.exited else "stayed"
        if outcome.previously is not None:
            result += f" (a correction: before {'left' if outcome.previously else 'stayed'})"
        parts.append(
            f"Known at {format_moment(outcome.known_at)}"
            f"{f', as of {outcome.as_of}' if outcome.as_of else ''}: {result};"
            f" predicted {outcome.probability:.1%}."
        )
    return "\n\n".join(filter(None, parts))


def format_effect_row(entry: EffectEntry) -> list[str]:
    """Return an effect of calling as a row of a printed table."""
    interval = ""
    if entry.low is not None and entry.high is not None:
        interval = f"{100 * entry.low:+.1f} to {100 * entry.high:+.1f}"
    shares = [
        f"{n} ({share.n_part} of {share.n_whole} left)"
        for n, share in ((entry.n_listed, entry.listed), (entry.n_held_out, entry.held_out))
    ]
    return [entry.name, *shares, format_percentage_points(entry.difference), interval]


def format_contact(contact: ContactEffect | None) -> str:
    """Describe the effect by contact, with the number if known."""
    if contact is None:
        return ""
    if contact.difference is None or contact.low is None or contact.high is None:
        return contact.text
    return (
        f"By contact {100 * contact.difference:+.1f} percentage points (95 % interval"
        f" {100 * contact.low:+.1f} to {100 * contact.high:+.1f}). {contact.text}"
    )


def format_calling(page: CallingEffect) -> str:
    """Format the effect of calling as text."""
    header = ["", "listed", "held out", "difference", "95 % interval"]
    entries = [page.effect, *page.bands, *page.periods]
    parts = [page.cost_text]
    if page.is_on or page.periods:
        parts += [page.text, format_columns([header, *map(format_effect_row, entries)])]
        parts += [format_contact(page.contact), page.save_rate.text]
    return "\n\n".join(filter(None, parts))


def format_outcomes(page: Outcomes) -> str:
    """Format the outcomes as text."""
    parts = [page.text]
    if page.is_enough:
        days = page.warning_days_median
        parts.append(
            f"{page.n_missed} exits were missed, {page.n_false_alarms} listed clients stayed;"
            f" listed are the first {page.n_listed_per_scoring} of each scoring."
        )
        if days is not None:
            parts.append(
                f"{page.n_warned} exits were announced, {days:.0f} days before they were known"
                " (median)."
            )
        rows = [["predicted", "clients", "mean", "left"]]
        rows += [
            [f"{d.low:.0%} to {d.high:.0%}", str(d.n_clients), f"{d.mean_probability:.0%}",
             worklist.format_share(d.exited)]
            for d in page.deciles
        ]  # fmt: skip
        parts.append(format_columns(rows))
    return "\n\n".join(parts)
