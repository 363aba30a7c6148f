"""A manager's summary of the week: whom to call, changes, and results of calls and predictions."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.engine import Connection

from scripts.clients import calling_effect, client_history, list_comparison, worklist
from scripts.clients.client_names import title_of
from scripts.clients.formatting import format_gain
from scripts.clients.response_types import Worklist, WorklistEntry
from scripts.core.amounts import format_amount
from scripts.core.column_words import words_of
from scripts.core.config import Config
from scripts.model.ranking import NO_DATA
from scripts.production.comparison_types import ListedClient
from scripts.production.manager_types import Facts, ListedLine, ManagerFacts
from scripts.records import client_work, scored_clients, scoring_records
from scripts.records.runs import Row

N_LISTED, N_NAMED, N_RISES = 10, 5, 3
WEEK = timedelta(days=7)
# A run of the same hour a week ago may have begun a little later than today's.
SLACK = timedelta(hours=12)


def format_day(moment: datetime | str) -> str:
    """Format the day of a moment for people, in UTC."""
    at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    # A plain date has no zone.
    at = at.astimezone(UTC) if at.tzinfo else at
    return f"{at.day} {at:%B %Y}"


def find_earlier(connection: Connection, newest: Row) -> Row | None:
    """Find the scoring of a week before, or the oldest scoring with scores.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    newest : mapping
        Today's scoring.

    Returns
    -------
    mapping or None
        None for the first scoring.
    """
    earlier = [
        row
        for row in scoring_records.list_scorings(connection)
        if row["id"] < newest["id"] and scoring_records.has_scores(connection, row["id"])
    ]
    until = newest["scored_at"] - WEEK + SLACK
    old = [row for row in earlier if row["scored_at"] <= until]
    if old:
        return max(old, key=lambda row: int(row["id"]))
    return min(earlier, key=lambda row: int(row["id"]), default=None)


def as_line(place: int, entry: WorklistEntry) -> ListedLine:
    """Return a client of the list as a line of the page, with the strongest reason."""
    risk = "not known" if entry.band == NO_DATA else f"{entry.probability:.1%}"
    raising = [reason.text for reason in entry.reasons if reason.effect > 0]
    worth, gain = format_gain(entry) or ("", "")
    change = "new" if entry.change is None else f"{100 * entry.change:+.1f}"
    return ListedLine(
        str(place), title_of(entry), risk, change, worth, gain, "; ".join(raising[:1])
    )


def describe_list(page: Worklist) -> Facts:
    """Describe today's list: clients by band, the expected catch and the expected gain."""
    bands = ", ".join(
        f"{page.bands[band]:,} {band}" for band in ("high", "medium", "low", NO_DATA)
        if page.bands.get(band)
    )  # fmt: skip
    scored = "" if page.scored_at is None else f", scored on {format_day(str(page.scored_at))}"
    dated = f" as of {format_day(page.as_of)}" if page.as_of else ""
    facts = [("Clients", f"{page.n_clients:,}{dated}{scored}: {bands}")]
    away = [
        f"{page.n_away:,} away after a contact" if page.n_away else "",
        f"{page.n_held_out:,} held out, whom nobody calls" if page.n_held_out else "",
    ]
    if any(away):
        facts.append(("At the end", " and ".join(filter(None, away))))
    if page.capacity is not None:
        caught = worklist.format_share(page.capacity.caught)
        facts.append(
            ("Expected", f"calling the {page.capacity.n_listed:,} riskiest reaches {caught} of"
             " those who leave")
        )  # fmt: skip
    if page.gain is not None:
        best = page.gain.best
        facts.append(
            ("Worth it", f"the first {best.n_clients:,} by gain bring {format_amount(best.gain)}"
             f" (95 % interval {format_amount(best.gain_low)} to {format_amount(best.gain_high)}),"
             " the most of all lengths")
        )  # fmt: skip
    return facts


def name_some(
    connection: Connection, scoring: Row, clients: Sequence[ListedClient], n_all: int
) -> str:
    """Return the number of clients, and the first of them by their names for people."""
    shown = clients[:N_NAMED]
    rows = scored_clients.read_named(connection, scoring, [client.client for client in shown])
    titles = {
        row["client"]: next(filter(None, row["names"].values()), row["client"]) for row in rows
    }
    named = [f"{titles.get(c.client, c.client)} ({c.probability:.0%})" for c in shown]
    n_more = n_all - len(named)
    return ", ".join(named) + (f" and {n_more:,} more" if n_more else "")


def describe_changes(connection: Connection, config: Config, earlier: Row, newest: Row) -> Facts:
    """Describe the clients new on the list, off the list, and with the largest rise of risk."""
    change = list_comparison.compare(connection, (earlier, newest), config.worklist)
    page = worklist.worklist_page(
        connection, config.worklist, config.api, words_of(config.schema), top=N_RISES, order="rise"
    )
    rises = ", ".join(
        f"{title_of(entry)} ({100 * entry.change:+.1f} points to {entry.probability:.0%})"
        for entry in page.clients
        if entry.change is not None and entry.change > 0
    )
    entered, gone = (
        f": {name_some(connection, scoring, clients, n_all)}" if clients else ""
        for scoring, clients, n_all in (
            (newest, change.only_b, change.n_only_b), (earlier, change.only_a, change.n_only_a),
        )
    )  # fmt: skip
    return [
        ("New on the list", f"{change.n_only_b:,} of {change.n_listed_b:,}{entered}"),
        ("No longer on it", f"{change.n_only_a:,}{gone}"),
        ("Rose since the last list", rises or "nobody's risk"),
    ]


def describe_calls(connection: Connection, config: Config, since: datetime | None) -> Facts:
    """Describe the contacts since an earlier list, and whether calling helps."""
    counts = client_work.count_results(connection, since)
    shown = ", ".join(f"{n:,} {result}" for result, n in counts.items())
    calls = f"{sum(counts.values()):,}: {shown}" if counts else "none is recorded"
    effect = calling_effect.calling_page(connection, config.worklist)
    has_trial = effect.is_on or bool(effect.periods)
    facts = [
        ("Contacts", calls),
        ("Does calling help?", effect.text if has_trial else f"Not known. {effect.cost_text}"),
    ]
    return [*facts, ("Who can be kept", effect.save_rate.text)] if has_trial else facts


def describe_predictions(connection: Connection, config: Config) -> Facts:
    """Describe whether the predictions came true."""
    page = client_history.outcomes_page(
        connection, config.worklist, config.api, config.retention.outcome_days
    )
    facts = [("Did they come true?", page.text)]
    if page.is_enough:
        missed = f"{page.n_missed:,} exits missed, {page.n_false_alarms:,} listed clients stayed"
        facts.append(("Missed", missed))
    if page.n_warned and page.warning_days_median is not None:
        days = (
            f"{page.warning_days_median:.0f} days before the exit was known, in the median of"
            f" {page.n_warned:,} exits"
        )
        facts.append(("Warned before", days))
    return facts


def summarise(connection: Connection, config: Config) -> ManagerFacts | None:
    """Summarise the list, the changes, the calls and the predictions for a manager.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    config : Config
        The installation.

    Returns
    -------
    ManagerFacts or None
        None before the first list.
    """
    newest = scoring_records.last_scoring(connection)
    if newest is None:
        return None
    wanted: dict[str, Any] = {"top": min(worklist.list_length(config.worklist), N_LISTED)}
    page = worklist.worklist_page(
        connection, config.worklist, config.api, words_of(config.schema), **wanted
    )
    earlier = find_earlier(connection, newest)
    since = None if earlier is None else earlier["scored_at"]
    return ManagerFacts(
        summary=describe_list(page),
        clients=[as_line(place, entry) for place, entry in enumerate(page.clients, start=1)],
        since=None if since is None else format_day(since),
        changes=([] if earlier is None else describe_changes(connection, config, earlier, newest)),
        calls=describe_calls(connection, config, since),
        predictions=describe_predictions(connection, config),
    )
