"""Checks the settings of deliveries of the list: the weekly mail, and the webhook."""

from scripts.core.config import LOOPBACK_HOSTS, Config, list_webhook_url
from scripts.core.errors import ConfigError


def check_smtp(config: Config, place: str) -> None:
    """Refuse a password without a user, and a password in clear over a network."""
    smtp = config.alerts.smtp
    if smtp is None:
        return
    if smtp.password_file is not None and not smtp.user:
        raise ConfigError(
            f"{place}, alerts.smtp, has a password_file and no user; add the user, or remove the"
            " file for a server without a login."
        )
    if smtp.user and smtp.security == "none" and smtp.host not in LOOPBACK_HOSTS:
        raise ConfigError(
            f'{place}, alerts.smtp: security "none" would send the password of {smtp.user!r} in'
            ' clear. Choose "starttls", usually with port 587, or "tls", usually with port 465.'
        )


def check_webhook(config: Config, place: str) -> None:
    """Refuse a secret without a receiver."""
    worklist = config.worklist
    if worklist.webhook_secret_file is not None and not list_webhook_url(config):
        raise ConfigError(
            f"{place}, worklist, has a webhook_secret_file and no webhook_url; add the address of"
            " the receiver, or remove the file."
        )


def check(config: Config, place: str) -> None:
    """Refuse settings that cannot be right.

    Notes
    -----
    The secrets are read by the runs when something is sent, so the service need not have them.
    """
    check_smtp(config, place)
    check_webhook(config, place)
