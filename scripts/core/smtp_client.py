"""Sends a mail by SMTP within a limited time, and reports whether a failed mail may be there."""

import re
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from msgspec import Struct

from scripts.core.config import SmtpSettings
from scripts.core.errors import MailError, MailUnknownError

# Of one answer of the server, and of all together.
TIMEOUT_S, LIMIT_S = 10.0, 30.0
OK, GO_ON = 250, 354
MAX_TOLD = 200
LINE_BEGIN = re.compile(rb"^\.", re.MULTILINE)


def describe_answer(code: int, text: bytes | str) -> str:
    """Return an answer of the server in words."""
    decoded = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    printable = "".join(c if c.isprintable() else " " for c in decoded)
    return f"the server answered {code} {printable}"[:MAX_TOLD]


def describe(error: Exception) -> str:
    """Return a failure in words, of an answer of the server the code and the text."""
    if isinstance(error, smtplib.SMTPResponseException):
        return describe_answer(error.smtp_code, error.smtp_error)
    return f"{type(error).__name__}: {error}"[:MAX_TOLD]


def make_context(settings: SmtpSettings) -> ssl.SSLContext:
    """Return the TLS rules: a certificate of the host, from a known issuer."""
    return ssl.create_default_context(cafile=settings.ca_file)


def cut(server: smtplib.SMTP) -> None:
    """End a connection after its time, and so wake up the waiting caller."""
    if server.sock is not None:
        # A socket of TLS hands this on to the one below.
        with suppress(OSError):
            server.sock.shutdown(socket.SHUT_RDWR)


@contextmanager
def connected(settings: SmtpSettings, password: str) -> Iterator[smtplib.SMTP]:
    """Connect to the server, with TLS and a login if set."""
    host, port = settings.host, settings.port
    if settings.security == "tls":
        context = make_context(settings)
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_S, context=context)
    else:
        server = smtplib.SMTP(host, port, timeout=TIMEOUT_S)
    watch = threading.Timer(LIMIT_S, cut, [server])
    watch.daemon = True
    watch.start()
    try:
        if settings.security == "starttls":
            server.starttls(context=make_context(settings))
        server.ehlo_or_helo_if_needed()
        if settings.user:
            server.login(settings.user, password)
        yield server
    finally:
        watch.cancel()
        server.close()


def name_receivers(server: smtplib.SMTP, sender: str, receivers: Sequence[str]) -> list[str]:
    """Name sender and receivers to the server, and return the answers to refused receivers.

    Raises
    ------
    MailError
        If the server refuses the sender, or every receiver.
    """
    code, text = server.mail(sender)
    if code != OK:
        raise MailError(describe_answer(code, text))
    answers = [server.rcpt(receiver) for receiver in receivers]
    refused = [describe_answer(code, text) for code, text in answers if code not in (OK, OK + 1)]
    if len(refused) == len(receivers):
        raise MailError(f"every receiver was refused: {refused[0]}")
    return refused


def hand_over_content(
    server: smtplib.SMTP, message: bytes, before_content: Callable[[], None]
) -> None:
    """Send the content of a mail.

    Raises
    ------
    MailError
        If the server refuses the content.
    MailUnknownError
        If the server did not answer after the content.
    """
    code, text = server.docmd("DATA")
    if code != GO_ON:
        raise MailError(describe_answer(code, text))
    before_content()
    try:
        # A line that begins with a dot would end the mail (RFC 5321, 4.5.2).
        server.send(LINE_BEGIN.sub(b"..", message) + b"\r\n.\r\n")
        code, text = server.getreply()
    except (smtplib.SMTPException, OSError) as error:
        raise MailUnknownError(describe(error)) from error
    if code != OK:
        raise MailError(describe_answer(code, text))


class Handover(Struct, frozen=True):
    """Callbacks at the handover of a mail to the server.

    `begins` is called when the server is ready for the content. Before that moment the server
    cannot have the mail. `is_accepted` is called when the server has the mail.
    """

    begins: Callable[[], None]
    is_accepted: Callable[[], None]


def send(settings: SmtpSettings, password: str, message: bytes, handover: Handover) -> list[str]:
    """Send a mail.

    Parameters
    ----------
    settings : SmtpSettings
        Server, sender and receivers.
    password : str
        The password, "" without a login.
    message : bytes
        Header and text with the line ends CR LF, none of them longer than 998 bytes.
    handover : Handover
        What to call before and after the content.

    Returns
    -------
    list of str
        The answers to receivers that the server refused, while it took the mail for others.

    Raises
    ------
    MailError
        If the server cannot be reached in time, its certificate is wrong, or it refuses.
    MailUnknownError
        If the connection broke after the content, so that the mail may have arrived.

    Notes
    -----
    RFC 5321, section 4.2.5: a server that answered 250 to the end of the content is responsible
    for the mail.
    """
    try:
        with connected(settings, password) as server:
            refused = name_receivers(server, settings.sender, settings.receivers)
            hand_over_content(server, message, handover.begins)
            handover.is_accepted()
            # The message is accepted, so a poor farewell is no failure.
            with suppress(smtplib.SMTPException, OSError):
                server.quit()
            return refused
    except (smtplib.SMTPException, OSError, UnicodeError) as error:
        raise MailError(describe(error)) from error
