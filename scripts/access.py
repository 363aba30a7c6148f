"""Who may ask: tokens compared in constant time, failed logins limited per address."""

import hmac
import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from scripts.answers import RefusedError
from scripts.config import LOOPBACK_HOSTS
from scripts.sessions import Sessions
from scripts.tokens import Role, Tokens

MAX_FAILED_LOGINS = 10
WINDOW_S = 60.0
# So that a flood of addresses cannot fill the memory; the oldest are forgotten first.
MAX_ADDRESSES = 10_000
IPV6_SITE_BITS = 64
WHO = ("WWW-Authenticate", 'Bearer realm="adras"')


def site_of(address: str) -> str:
    """Name the address that failed logins are counted for; a whole site of IPv6 counts as one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    return str(ipaddress.IPv6Network((parsed, IPV6_SITE_BITS), strict=False))


def client_address(environ: Mapping[str, Any], trusted_proxies: tuple[str, ...]) -> str:
    """Say who asks: behind a proxy of ours the last address that no proxy of ours added.

    Parameters
    ----------
    environ : mapping
        Of WSGI.
    trusted_proxies : tuple of str
        Addresses whose X-Forwarded-For is believed; from others it would be a way around the
        limit.
    """
    address = str(environ.get("REMOTE_ADDR", ""))
    if address not in trusted_proxies:
        return address
    chain = [part.strip() for part in environ.get("HTTP_X_FORWARDED_FOR", "").split(",")]
    strangers = [part for part in chain if part and part not in trusted_proxies]
    return strangers[-1] if strangers else address


class FailedLogins:
    """Count failed logins per address and minute."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """Say how long an address has to wait before it may try again; 0 if it may."""
        if not self._windows:
            return 0.0
        site, now = site_of(address), time.monotonic()
        with self._lock:
            started, count = self._windows.get(site, (now, 0))
            return max(0.0, started + WINDOW_S - now) if count >= MAX_FAILED_LOGINS else 0.0

    def count(self, address: str) -> None:
        """Count a failed login; after a minute an address begins anew."""
        site, now = site_of(address), time.monotonic()
        with self._lock:
            started, count = self._windows.pop(site, (now, 0))
            if now - started >= WINDOW_S:
                started, count = now, 0
            self._windows[site] = (started, count + 1)
            while len(self._windows) > MAX_ADDRESSES:
                self._windows.popitem(last=False)


class Access:
    """Let in who holds the token that a route wants, or a session that one began with it."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._failed = FailedLogins()
        self._sessions = Sessions(tokens)

    @property
    def needs_token(self) -> bool:
        """Whether there is a token to be asked for."""
        return bool(self._tokens.by_role)

    def _role_of_token(self, sent: bytes) -> Role | None:
        """Say which role a token has, comparing bytes in constant time."""
        found = None
        for role, token in self._tokens.by_role.items():
            if hmac.compare_digest(sent, token):
                found = role
        return found

    def _role_of_header(self, environ: Mapping[str, Any]) -> Role | None:
        """Say which role the token in the header of a request has."""
        scheme, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        # WSGI hands headers over as latin-1; the bytes compared are those that were sent.
        found = self._role_of_token(given.strip().encode("latin-1", "replace"))
        return found if scheme.lower() == "bearer" else None

    def _check_wait(self, address: str) -> None:
        """Refuse an address with too many wrong tokens."""
        wait_s = self._failed.wait_s(address)
        if wait_s:
            raise RefusedError(
                429,
                f"Too many wrong tokens from this address; {MAX_FAILED_LOGINS} a minute are taken.",
                [("Retry-After", str(math.ceil(wait_s)))],
            )

    def begin_session(
        self, environ: Mapping[str, Any], token: str, trusted_proxies: tuple[str, ...] = ()
    ) -> str:
        """Begin the session of a browser whose user knows a token.

        Parameters
        ----------
        environ : mapping
            Of WSGI.
        token : str
            As typed in.
        trusted_proxies : tuple of str
            As for `client_address`.

        Returns
        -------
        str
            The value of its cookie.

        Raises
        ------
        RefusedError
            With status 401 for a wrong token, which counts as a failed login, 429 after too many.
        """
        address = client_address(environ, trusted_proxies)
        self._check_wait(address)
        role = self._role_of_token(token.strip().encode("utf-8", "surrogateescape"))
        if role is None:
            self._failed.count(address)
            raise RefusedError(401, "This is not the token of this service.", [WHO])
        return self._sessions.spell(role)

    def check(
        self, environ: Mapping[str, Any], wanted: Role, trusted_proxies: tuple[str, ...] = ()
    ) -> Role | None:
        """Refuse a request whose sender may not have what it asks for.

        Parameters
        ----------
        environ : mapping
            Of WSGI.
        wanted : Role
            What the route wants.
        trusted_proxies : tuple of str
            As for `client_address`.

        Returns
        -------
        Role or None
            What the sender may do; None where no token is set, and everybody may do everything.

        Raises
        ------
        RefusedError
            With status 401 without the right token, 403 with the token of a lesser role, 429
            after too many wrong ones, 421 for a name that is none of this machine's.
        """
        if not self._tokens.by_role:
            check_host(environ)
            return None
        role = None
        # A header is meant, a cookie comes by itself.
        if not environ.get("HTTP_AUTHORIZATION"):
            role = self._sessions.role_of(environ)
        if role is None:
            address = client_address(environ, trusted_proxies)
            self._check_wait(address)
            role = self._role_of_header(environ)
        if role is None:
            # Who sends no token guesses none.
            if environ.get("HTTP_AUTHORIZATION"):
                self._failed.count(address)
            raise RefusedError(401, "Expected the header Authorization: Bearer <token>.", [WHO])
        if wanted is Role.ADMIN and role is not Role.ADMIN:
            raise RefusedError(403, "This token may read only; expected the token of role admin.")
        return role


def check_origin(environ: Mapping[str, Any]) -> None:
    """Refuse what a page of somebody else makes a browser send here.

    A program that holds a token says so in a header, which no other page can add.

    Notes
    -----
    Fetch Metadata Request Headers (W3C), "Sec-Fetch-Site", which browsers send to what they hold
    for safe; the header Origin of RFC 6454, which they send with every form.
    """
    if environ.get("HTTP_AUTHORIZATION"):
        return
    site, origin = environ.get("HTTP_SEC_FETCH_SITE"), environ.get("HTTP_ORIGIN")
    is_ours = site in (None, "same-origin", "none")
    if site is None and origin is not None:
        is_ours = origin.partition("://")[2] == environ.get("HTTP_HOST", "")
    if site is None and origin is None:
        # No browser; what no browser sends, no page can have made it send.
        is_ours = "HTTP_COOKIE" not in environ
    if not is_ours:
        raise RefusedError(403, "This was sent by a page of another site; open this one instead.")


def check_host(environ: Mapping[str, Any]) -> None:
    """Refuse, where no token is set, a name under which only a web page could know this service.

    A page whose name is made to point here (DNS rebinding) could else ask as its visitor.
    """
    host = environ.get("HTTP_HOST", "")
    name = (
        host.rpartition("]")[0].removeprefix("[")
        if host.startswith("[")
        else host.partition(":")[0]
    )
    if name and name.lower() not in LOOPBACK_HOSTS:
        raise RefusedError(
            421,
            "Without a token this service answers under the names of this machine only, such as"
            " 127.0.0.1; to be reached under another one, set ADRAS_API_TOKEN.",
        )
