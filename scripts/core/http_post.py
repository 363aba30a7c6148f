"""Sends messages to receivers named by the user: chat services and monitors of cron jobs."""

import threading
from collections.abc import Mapping
from types import MappingProxyType

from scripts.core import http_request

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


def post_now(
    url: str, body: bytes, content_type: str, timeout_s: float, headers: Mapping[str, str]
) -> str:
    """Send a body and return "" or the failure, without the URL since a URL may be a secret."""
    return http_request.post(url, body, content_type, timeout_s, headers)


def post(
    url: str,
    body: bytes,
    content_type: str,
    timeout_s: float,
    headers: Mapping[str, str] = NO_HEADERS,
) -> str:
    """Send a body to one receiver, and follow no redirect.

    Parameters
    ----------
    url : str
        The receiver. It is a secret.
    body : bytes
        The message.
    content_type : str
        The kind of the message.
    timeout_s : float
        The longest time of all in seconds.
    headers : mapping of str to str
        Further headers.

    Returns
    -------
    str
        "" if the receiver accepted, else the reason without the URL.

    Notes
    -----
    A separate thread limits the whole time: the timeout of a socket restarts with each byte of a
    slow answer and does not cover the look-up of a name. The thread is left behind if it is late,
    and ends with the program.
    """
    reasons: list[str] = []
    sender = threading.Thread(
        target=lambda: reasons.append(post_now(url, body, content_type, timeout_s, headers)),
        daemon=True,
    )
    sender.start()
    sender.join(timeout_s)
    return reasons[0] if reasons else f"no answer within {timeout_s:g} s"
