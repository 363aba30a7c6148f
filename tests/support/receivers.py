"""Receivers of the list: a real mail server, and a real receiver of webhooks."""

import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

ACCEPTED = "250 OK"


def make_certificate(folder: Path, name: str = "localhost") -> tuple[Path, Path]:
    """Make a certificate for a host, and return the paths of certificate and key."""
    certificate, key = folder / "server.pem", folder / "server.key"
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
        "-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}",
        "-keyout", str(key), "-out", str(certificate),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@dataclass
class Postbox:
    """The mails that a server took, and what the server does at each step."""

    mails: list[EmailMessage] = field(default_factory=list)
    envelopes: list[Any] = field(default_factory=list)
    at_receiver: Callable[[], str] = lambda: ACCEPTED
    at_content: Callable[[], str] = lambda: ACCEPTED
    at_end: Callable[[], str] = lambda: "221 Bye"
    logins: list[LoginPassword] = field(default_factory=list)
    password: bytes = b""

    async def handle_RCPT(  # noqa: N802 - a name of aiosmtpd
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        """Answer a receiver."""
        envelope.rcpt_tos.append(address)
        return self.at_receiver()

    async def handle_DATA(  # noqa: N802 - a name of aiosmtpd
        self, _server: Any, _session: Any, envelope: Any
    ) -> str:
        """Answer the content of a mail, and keep an accepted one."""
        answer = self.at_content()
        if answer == ACCEPTED:
            mail = message_from_bytes(envelope.content, policy=default)
            assert isinstance(mail, EmailMessage)
            self.mails.append(mail)
            self.envelopes.append(envelope)
        return answer

    async def handle_QUIT(  # noqa: N802 - a name of aiosmtpd
        self, _server: Any, _session: Any, _envelope: Any
    ) -> str:
        """Answer the end of a session."""
        return self.at_end()

    def authenticate(
        self, _server: Any, _session: Any, _envelope: Any, _way: str, given: Any
    ) -> Any:
        """Judge a login."""
        self.logins.append(given)
        return AuthResult(success=given.password == self.password, handled=False)


class AnyPortController(Controller):
    """A controller of a server on an unused port."""

    def _trigger_server(self) -> None:
        """Ask the server for its greeting, at the port that it was given."""
        self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        super()._trigger_server()  # type: ignore[no-untyped-call]


@contextmanager
def mail_server(
    postbox: Postbox,
    *,
    certificate: tuple[Path, Path] | None = None,
    is_implicit: bool = False,
    needs_login: bool = False,
) -> Iterator[int]:
    """Run a mail server on loopback and return the port."""
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
    options: dict[str, Any] = {"hostname": "127.0.0.1", "port": 0}
    if context is not None and is_implicit:
        options["ssl_context"] = context
    elif context is not None:
        options |= {"tls_context": context, "require_starttls": True}
    if needs_login:
        options |= {
            "authenticator": postbox.authenticate, "auth_required": True,
            "auth_require_tls": not is_implicit,
        }  # fmt: skip
    controller = AnyPortController(postbox, **options)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


@dataclass
class Hook:
    """The messages that a receiver got, with headers, and the answers that it gives in turn."""

    messages: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    at_message: Callable[[], None] = lambda: None


@contextmanager
def hook_receiver(hook: Hook) -> Iterator[str]:
    """Run a receiver of webhooks and return the URL. The last code is given for ever."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.messages.append(({k.lower(): v for k, v in self.headers.items()}, body))
            hook.at_message()
            code = hook.codes[0] if hook.codes else 204
            if len(hook.codes) > 1:
                del hook.codes[0]
            self.send_response(code)
            if code == 302:
                self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_given: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/hook"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def text_of(mail: EmailMessage, kind: str) -> str:
    """Return the plain or the html part of a mail."""
    part = mail.get_body((kind,))
    assert part is not None
    content: str = part.get_content()
    return content.replace("\r\n", "\n")
