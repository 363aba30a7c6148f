"""The state of the deliveries of the list: due mails, a changed list, and problems."""

from datetime import UTC, datetime, timedelta

from sqlalchemy.engine import Connection, Engine

from scripts.core.config import Config, SmtpSettings, list_webhook_url
from scripts.records import client_work, database, list_deliveries, scoring_records
from scripts.records.list_deliveries import MailState

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
WEEK = timedelta(days=7)


def week_of(smtp: SmtpSettings, now: datetime) -> str:
    """Return the day of the latest appointment of the weekly mail, in ISO 8601.

    Parameters
    ----------
    smtp : SmtpSettings
        With the day of the week and the hour in UTC.
    now : datetime
        The present moment.
    """
    today = now.astimezone(UTC).replace(hour=smtp.hour, minute=0, second=0, microsecond=0)
    at = today - timedelta(days=(today.weekday() - WEEKDAYS.index(smtp.weekday)) % 7)
    return (at if at <= now else at - WEEK).date().isoformat()


def due_week(connection: Connection, config: Config, now: datetime) -> str | None:
    """Return the week of the due mail, or None.

    A mail whose sending was begun and not ended is due as well: a killed run has left it.
    """
    smtp = config.alerts.smtp
    if smtp is None or scoring_records.last_scoring(connection) is None:
        return None
    week, last = week_of(smtp, now), list_deliveries.last_mail(connection)
    if last is None or last["week"] < week:
        return week
    is_open = last["state"] in (MailState.TRYING, MailState.HANDED)
    return week if is_open and last["week"] == week else None


def is_list_changed(connection: Connection, now: datetime) -> bool:
    """Return whether the list may differ from the list known to the receiver of events."""
    scoring = scoring_records.last_scoring(connection)
    if scoring is None:
        return False
    known = list_deliveries.find_snapshot(connection)
    present = (scoring["id"], client_work.last_entry(connection), now.date().isoformat())
    return known is None or present != tuple(known[n] for n in ("scoring_id", "last_entry", "day"))


def is_anything_due(engine: Engine, config: Config, now: datetime) -> bool:
    """Return whether a mail or an event is to be sent."""
    has_webhook = bool(list_webhook_url(config))
    if config.alerts.smtp is None and not has_webhook:
        return False
    with database.reading(engine) as connection:
        if due_week(connection, config, now) is not None:
            return True
        return has_webhook and (
            list_deliveries.next_event(connection) is not None or is_list_changed(connection, now)
        )


def describe_mail_problem(connection: Connection, config: Config) -> list[str]:
    """Return the problem of the latest weekly mail, if there is one."""
    last = None if config.alerts.smtp is None else list_deliveries.last_mail(connection)
    if last is None or not last["fault"] or last["state"] == MailState.SENT:
        return []
    told = "may not have arrived" if last["state"] == MailState.UNKNOWN else "was not sent"
    return [f"The weekly mail of {last['week']} {told}: {last['fault']}"]


def describe_problems(connection: Connection, config: Config) -> list[str]:
    """Return the problems of the deliveries for /health, each as a sentence.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    config : Config
        The installation. Of a delivery that is switched off nothing is said.
    """
    problems = describe_mail_problem(connection, config)
    if not list_webhook_url(config):
        return problems
    n_given_up = list_deliveries.count_given_up(connection)
    if n_given_up:
        problems.append(
            f"{n_given_up} events of the list were given up for worklist.webhook_url; python -m"
            " scripts.worklist events --again tries them again."
        )
    event = list_deliveries.next_event(connection)
    if event is not None and event["fault"]:
        n_waiting = list_deliveries.count_waiting(connection)
        problems.append(
            f"{n_waiting} events of the list wait for worklist.webhook_url: {event['fault']}."
        )
    return problems
