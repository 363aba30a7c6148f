"""Delivery of the list by a run: the weekly mail, and the events for the webhook."""

import logging
from datetime import datetime

from sqlalchemy.engine import Engine

from scripts.clients import call_list, delivery_state, list_events, weekly_mail
from scripts.clients.weekly_mail import MailFacts
from scripts.core import keys, secret_files, smtp_client
from scripts.core.config import Config, SmtpSettings, list_webhook_url
from scripts.core.errors import ConfigError, MailError, MailUnknownError, NotMadeYetError
from scripts.core.smtp_client import Handover
from scripts.records import alert_states, database, list_deliveries, people_names
from scripts.records.alert_states import OK
from scripts.records.list_deliveries import MailState
from scripts.records.runs import Row

FAILING = "failing"
MAIL, EVENTS = "weekly mail", "list events"
PASSWORD = "ADRAS_SMTP_PASSWORD"  # noqa: S105 - the name of a variable
PASSWORD_KEY = "alerts.smtp.password_file"  # noqa: S105 - the name of a key
AGAIN = "python -m scripts.worklist mail --send sends it again"

log = logging.getLogger(__name__)


def report(engine: Engine, name: str, failure: str, now: datetime, run_id: int | None) -> None:
    """Record the state of a delivery, and warn of a failure once.

    The change of the state is an alert as well.
    """
    state = FAILING if failure else OK
    detail = failure or "delivered again"
    with database.writing(engine) as connection:
        before = alert_states.current_state(connection, name)
        alert_states.record_change(connection, name, state, at=now, detail=detail, run_id=run_id)
    is_new = before is None or before["state"] != state
    if failure:
        told = "" if is_new else " still"
        log.log(
            logging.WARNING if is_new else logging.INFO, "The %s%s failed: %s.", name, told, failure
        )


def read_facts(engine: Engine, config: Config, week: str, now: datetime) -> MailFacts | None:
    """Return the content of the mail of a week, None before the first scoring."""
    with database.reading(engine) as connection:
        listed = call_list.read_call_list(connection, config, now)
        last = list_deliveries.last_sent_mail(connection, week)
        before = None if last is None else call_list.from_kept(last["members"])
        gone = people_names.find_names(connection, before or ())
    if listed is None:
        return None
    return MailFacts(
        listed,
        before=before,
        before_week=None if last is None else last["week"],
        week=week,
        address=config.alerts.dashboard_url,
        gone=gone,
    )


def read_password(smtp: SmtpSettings) -> str:
    """Return the password of the mail server, "" for a server without a login."""
    if not smtp.user:
        return ""
    return secret_files.read_secret(PASSWORD, smtp.password_file, PASSWORD_KEY)


def begin(
    engine: Engine, config: Config, smtp: SmtpSettings, week: str, now: datetime, run_id: int | None
) -> Row:
    """Record the attempt to send the mail of a week, before the sending."""
    key = keys.make_key(config.prod_deployment_path)
    message_id = weekly_mail.make_message_id(key, week, smtp.sender)
    with database.writing(engine) as connection:
        return list_deliveries.begin_mail(
            connection, week, run_id=run_id, at=now, message_id=message_id
        )


def mark(engine: Engine, week: str, state: MailState, **facts: object) -> None:
    """Record the state of the mail of a week."""
    with database.writing(engine) as connection:
        list_deliveries.mark_mail(connection, week, state, **facts)


def send_mail(
    engine: Engine, config: Config, week: str, now: datetime, run_id: int | None = None
) -> str:
    """Send the mail of a week, and return "" or the failure.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The records.
    config : Config
        With a mail server.
    week : str
        The day of the appointment in ISO 8601.
    now : datetime
        The present moment.
    run_id : int, optional
        The run that sends.

    Returns
    -------
    str
        The failure in words, without a password.

    Notes
    -----
    Three records make the mail arrive at most once, and exactly once but for one case. The attempt
    is recorded first. `handed` is recorded when the server is ready for the content, before which
    the server cannot have the mail. `sent` is recorded after the server has accepted. Who is killed
    before `handed` sends again in the next run. Who is killed, or loses the connection, between
    `handed` and the answer cannot know, does not send again, and says so.
    """
    smtp = config.alerts.smtp
    facts = None if smtp is None else read_facts(engine, config, week, now)
    if smtp is None or facts is None:
        raise NotMadeYetError(
            "There is no mail to send: no list, or no alerts.smtp in config.json."
        )
    row = begin(engine, config, smtp, week, now, run_id)
    members = call_list.as_kept(facts.listed.members)
    n_clients = len(facts.listed.entries)
    handover = Handover(
        begins=lambda: mark(engine, week, MailState.HANDED, members=members, n_clients=n_clients),
        is_accepted=lambda: mark(engine, week, MailState.SENT, sent_at=now, fault=None),
    )
    try:
        password = read_password(smtp)
        mail = weekly_mail.compose(facts, smtp, row["message_id"], row["at"])
        refused = smtp_client.send(smtp, password, mail.as_bytes(), handover)
    except MailUnknownError as error:
        failure = f"{error} after the content, so the mail may have arrived; {AGAIN}"
        mark(engine, week, MailState.UNKNOWN, fault=failure)
        return failure
    except (ConfigError, MailError) as error:
        failure = str(error).removesuffix(".")
        mark(engine, week, MailState.TRYING, fault=failure)
        return failure
    log.info("Sent the weekly mail of %s, %d clients, by %s.", week, n_clients, smtp.host)
    if refused:
        log.warning("The mail server refused %d receivers: %s.", len(refused), refused[0])
    return ""


def resolve_killed(engine: Engine, week: str) -> str:
    """Record and log the unknown fate of a mail of a killed program."""
    failure = (
        "the program was killed while it handed the mail over, so the mail may have arrived;"
        f" {AGAIN}"
    )
    mark(engine, week, MailState.UNKNOWN, fault=failure)
    return failure


def deliver_mail(engine: Engine, config: Config, now: datetime, run_id: int | None) -> None:
    """Send the weekly mail if due, after a look at the rest of a killed run."""
    with database.reading(engine) as connection:
        week = delivery_state.due_week(connection, config, now)
        last = list_deliveries.last_mail(connection)
    if week is None:
        return
    if last is not None and last["state"] == MailState.HANDED:
        report(engine, MAIL, resolve_killed(engine, last["week"]), now, run_id)
        if last["week"] == week:
            return
    report(engine, MAIL, send_mail(engine, config, week, now, run_id), now, run_id)


def deliver_events(engine: Engine, config: Config, now: datetime, run_id: int | None) -> None:
    """Record the events since the last list, and send the waiting events."""
    url = list_webhook_url(config)
    if not url:
        return
    with database.reading(engine) as connection:
        is_changed = delivery_state.is_list_changed(connection, now)
    if is_changed:
        list_events.record_events(engine, config, now, run_id)
    try:
        failure = list_events.post_events(engine, url, list_events.read_key(config), now)
    except ConfigError as error:
        failure = str(error).removesuffix(".")
    report(engine, EVENTS, failure, now, run_id)


def deliver(engine: Engine, config: Config, now: datetime, run_id: int | None) -> None:
    """Deliver all due events, then the mail, since a mail may take longer.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The records.
    config : Config
        With a mail server, a webhook, or both.
    now : datetime
        The present moment.
    run_id : int or None
        The run that delivers.
    """
    deliver_events(engine, config, now, run_id)
    deliver_mail(engine, config, now, run_id)
