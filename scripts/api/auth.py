"""Authentication of requests: tokens, browser sessions, failed logins and request origins."""

import hashlib
import hmac
import ipaddress
import logging
import math
import secrets
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field

from scripts.api.responses import RefusedError
from scripts.api.sessions import EndedSessions, Sessions
from scripts.api.tokens import Role, Tokens, User
from scripts.core.config import LOOPBACK_HOSTS
from scripts.core.failed_logins import UNKNOWN, Attempt, Way

# Wrong tokens of an address in a minute: so often the same one, and so many different ones.
MAX_FAILED_LOGINS = 10
WINDOW_S = 60.0
# So that a flood of addresses cannot fill the memory; the oldest are forgotten first.
MAX_ADDRESSES = 10_000
N_HASH_BYTES = 8
IPV6_SITE_BITS = 64
# Longer than any address with a port; a header may be longer.
MAX_ADDRESS_CHARACTERS = 64
TOO_LITTLE = "This token has the role {}; this method on this path wants the token of the role {}."
CHALLENGE = ("WWW-Authenticate", 'Bearer realm="adras"')


log = logging.getLogger(__name__)


def normalize_address(text: str) -> str:
    """Return the canonical form of an IP address, without port, brackets and zone.

    Parameters
    ----------
    text : str
        As a socket or the header X-Forwarded-For has it, such as `192.0.2.1:4711`,
        `[2001:db8::1]:443` or `::ffff:192.0.2.1`, by which a socket of IPv6 names an IPv4 client.

    Returns
    -------
    str
        "unknown" for any other text.
    """
    text = text.strip()[:MAX_ADDRESS_CHARACTERS]
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return UNKNOWN
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def site_of(address: str) -> str:
    """Return the key for counting failed logins: the IPv4 address, or the IPv6 network."""
    address = normalize_address(address)
    if ":" not in address:
        return address
    return str(ipaddress.IPv6Network((address, IPV6_SITE_BITS), strict=False))


def is_from_proxy(environ: Mapping[str, Any], trusted_proxies: tuple[str, ...]) -> bool:
    """Return whether a request comes from a trusted proxy."""
    if not trusted_proxies:
        return False
    address = normalize_address(str(environ.get("REMOTE_ADDR", "")))
    return address in map(normalize_address, trusted_proxies)


def client_address(environ: Mapping[str, Any], trusted_proxies: tuple[str, ...]) -> str:
    """Return the client's address: behind proxies, the last forwarded address of no proxy.

    Parameters
    ----------
    environ : mapping
        The WSGI environ.
    trusted_proxies : tuple of str
        Addresses with a trusted X-Forwarded-For. From other addresses the header could evade the
        limit.
    """
    address = normalize_address(str(environ.get("REMOTE_ADDR", "")))
    if not is_from_proxy(environ, trusted_proxies):
        return address
    proxies = set(map(normalize_address, trusted_proxies))
    chain = environ.get("HTTP_X_FORWARDED_FOR", "").split(",")
    passed = [normalize_address(part) for part in chain if part.strip()]
    strangers = [part for part in passed if part not in proxies]
    return strangers[-1] if strangers else address


class Window(Struct):
    """The wrong tokens of an address within a minute: the count of each, by hash."""

    started_s: float
    n_by_token: Counter[bytes] = field(default_factory=Counter)

    def has_failed_often(self) -> bool:
        """Return whether a token, or the number of different ones, has reached the limit."""
        return max(len(self.n_by_token), *self.n_by_token.values(), 0) >= MAX_FAILED_LOGINS

    def is_full(self, token: bytes) -> bool:
        """Return whether a token has reached the limit of attempts."""
        n_times = self.n_by_token[token]
        n_tokens = len(self.n_by_token)
        return n_times >= MAX_FAILED_LOGINS or (not n_times and n_tokens >= MAX_FAILED_LOGINS)


class FailedLogins:
    """A counter of wrong tokens per address, token and minute.

    The limit is per token too, so a program with an outdated token does not use up the attempts of
    other clients behind the same address.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows: OrderedDict[str, Window] = OrderedDict()
        # A keyed hash, so that the memory holds no nearly right token.
        self._key = secrets.token_bytes(32)

    def _hash(self, token: bytes) -> bytes:
        """Hash a token with the key of the process."""
        return hashlib.blake2b(token, digest_size=N_HASH_BYTES, key=self._key).digest()

    def count(self, address: str, token: bytes) -> float:
        """Count a wrong token in the window of an address, which lasts a minute.

        Parameters
        ----------
        address : str
            The address of the client.
        token : bytes
            The token as sent.

        Returns
        -------
        float
            Seconds until this address may send this token again, 0 for at once.
        """
        site, now_s, hashed = site_of(address), time.monotonic(), self._hash(token)
        with self._lock:
            window = self._windows.pop(site, None)
            if window is None or now_s - window.started_s >= WINDOW_S:
                window = Window(now_s)
            self._windows[site] = window
            while len(self._windows) > MAX_ADDRESSES:
                self._windows.popitem(last=False)
            if window.is_full(hashed):
                return window.started_s + WINDOW_S - now_s
            window.n_by_token[hashed] += 1
            return 0.0

    def is_locked_out(self, site: str) -> bool:
        """Return whether an address has reached a limit of attempts in its window."""
        with self._lock:
            window = self._windows.get(site)
            return (
                window is not None
                and time.monotonic() - window.started_s < WINDOW_S
                and window.has_failed_often()
            )


def check_host(environ: Mapping[str, Any]) -> None:
    """Refuse an unknown Host header where no token is set, against DNS rebinding.

    A web page with a domain name resolving to this machine could otherwise send requests as its
    visitor.
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


class Access:
    """Authorization of requests by token or by browser session.

    Parameters
    ----------
    tokens : Tokens
        The tokens of the service.
    ended : EndedSessions, optional
        The sessions that were ended before their time.
    note : callable, optional
        Called with each failed login, as `LoginLog.add`.
    """

    def __init__(
        self,
        tokens: Tokens,
        ended: EndedSessions | None = None,
        note: Callable[[Attempt], None] = lambda _: None,
    ) -> None:
        self._tokens = tokens
        self._note = note
        self._failed = FailedLogins()
        self._sessions = Sessions(tokens, ended)

    @property
    def needs_token(self) -> bool:
        """Return whether any token is set."""
        return bool(self._tokens.by_user)

    def _user_of_token(self, sent: bytes) -> User | None:
        """Return the user of a token, or None, with a comparison in constant time."""
        found = None
        for user, token in self._tokens.by_user.items():
            if hmac.compare_digest(sent, token):
                found = user
        return found

    def _user_of_header(self, header: str) -> User | None:
        """Return the user of the token in the header Authorization."""
        scheme, _, given = header.partition(" ")
        # WSGI decodes headers as latin-1. The comparison is between the original bytes.
        found = self._user_of_token(given.strip().encode("latin-1", "replace"))
        return found if scheme.lower() == "bearer" else None

    def _refuse_token(self, address: str, token: bytes, way: Way) -> None:
        """Count a wrong token, and refuse a client with too many."""
        wait_s = self._failed.count(address, token)
        self._note(Attempt(site_of(address), way, is_locked_out=bool(wait_s)))
        if wait_s:
            raise RefusedError(
                429,
                f"Too many wrong tokens from this address; {MAX_FAILED_LOGINS} a minute are taken."
                " The right token is taken at any time.",
                [("Retry-After", str(math.ceil(wait_s)))],
            )

    def locked_out_site(
        self, environ: Mapping[str, Any], trusted_proxies: tuple[str, ...] = ()
    ) -> str | None:
        """Return the key of the client's address after too many wrong tokens, otherwise None."""
        site = site_of(client_address(environ, trusted_proxies))
        return site if self._failed.is_locked_out(site) else None

    def begin_session(
        self, environ: Mapping[str, Any], token: str, trusted_proxies: tuple[str, ...] = ()
    ) -> str:
        """Begin a browser session with a token.

        Parameters
        ----------
        environ : mapping
            The WSGI environ.
        token : str
            The token from the form.
        trusted_proxies : tuple of str
            As for `client_address`.

        Returns
        -------
        str
            The cookie value of the session.

        Raises
        ------
        RefusedError
            With status 401 for a wrong token, 429 after too many.
        """
        given = token.strip().encode("utf-8", "surrogateescape")
        user = self._user_of_token(given)
        if user is None:
            self._refuse_token(client_address(environ, trusted_proxies), given, Way.FORM)
            raise RefusedError(401, "This is not the token of this service.", [CHALLENGE])
        log.info("A session of %s began.", user.actor)
        return self._sessions.begin(user)

    def end_session(self, environ: Mapping[str, Any]) -> None:
        """End a browser session, also for copies of the cookie.

        Raises
        ------
        RefusedError
            With status 503 if the end cannot be stored.
        """
        self._sessions.end(environ)

    def check(
        self, environ: Mapping[str, Any], wanted: Role, trusted_proxies: tuple[str, ...] = ()
    ) -> User | None:
        """Refuse a request without the required role.

        Parameters
        ----------
        environ : mapping
            The WSGI environ.
        wanted : Role
            The role required by the route.
        trusted_proxies : tuple of str
            As for `client_address`.

        Returns
        -------
        User or None
            The sender, or None if no token is set and everything is open.

        Raises
        ------
        RefusedError
            With status 401 without a valid token, 403 with the token of a lesser role, 429 after
            too many wrong tokens, 421 for an unknown host name.
        """
        if not self._tokens.by_user:
            check_host(environ)
            return None
        header = environ.get("HTTP_AUTHORIZATION", "")
        # A header is sent on purpose and wins over a cookie.
        user = self._user_of_header(header) if header else self._sessions.user_of(environ)
        if user is None:
            # A request without a token is no guess.
            if header:
                sent = (header.partition(" ")[2] or header).strip()
                address = client_address(environ, trusted_proxies)
                self._refuse_token(address, sent.encode("latin-1", "replace"), Way.HEADER)
            raise RefusedError(
                401, "Expected the header Authorization: Bearer <token>.", [CHALLENGE]
            )
        if not user.role.includes(wanted):
            address = client_address(environ, trusted_proxies)
            self._note(Attempt(site_of(address), Way.ROLE, user.actor))
            raise RefusedError(403, TOO_LITTLE.format(user.role, wanted))
        return user


def check_origin(environ: Mapping[str, Any]) -> None:
    """Refuse a cross-site request of a browser.

    A request with the header Authorization is accepted, since no other site can add the header.

    Notes
    -----
    Fetch Metadata Request Headers (W3C), "Sec-Fetch-Site", which browsers send to secure origins.
    RFC 6454, Origin, which browsers send with every form.
    """
    if environ.get("HTTP_AUTHORIZATION"):
        return
    site, origin = environ.get("HTTP_SEC_FETCH_SITE"), environ.get("HTTP_ORIGIN")
    is_ours = site in (None, "same-origin", "none")
    if site is None and origin is not None:
        is_ours = origin.partition("://")[2] == environ.get("HTTP_HOST", "")
    if site is None and origin is None:
        # Neither header: no browser sent the request.
        is_ours = "HTTP_COOKIE" not in environ
    if not is_ours:
        raise RefusedError(403, "This was sent by a page of another site; open this one instead.")
