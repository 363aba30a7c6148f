"""Authentication of requests: tokens, browser sessions, failed logins and request origins."""

import hashlib
import hmac
import ipaddress
import logging
import math
import os
import secrets
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from itsdangerous import BadSignature, TimestampSigner
from werkzeug.http import dump_cookie, parse_cookie

from scripts.api.responses import RefusedError
from scripts.api.tokens import Role, Tokens
from scripts.core import files
from scripts.core.config import LOOPBACK_HOSTS

# Wrong tokens of an address in a minute: so often the same one, and so many different ones.
MAX_FAILED_LOGINS = 10
WINDOW_S = 60.0
# So that a flood of addresses cannot fill the memory; the oldest are forgotten first.
MAX_ADDRESSES = 10_000
N_HASH_BYTES = 8
IPV6_SITE_BITS = 64
# Longer than any address with a port; a header may be longer.
MAX_ADDRESS_CHARACTERS = 64
UNKNOWN = "unknown"
READ_ONLY = "This token may read only; this method on this path wants the token of the role admin."
CHALLENGE = ("WWW-Authenticate", 'Bearer realm="adras"')

COOKIE = "adras_session"
LIFETIME_S = 12 * 3600
SALT = b"adras session"
# A slow key derivation, against guessing short tokens from a stolen cookie.
N_ITERATIONS = 100_000
N_ID_BYTES = 16
FOLDER = "ended_sessions"
# A hanging disk delays other requests this long, once.
LOOKUP_S = 0.25

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


@dataclass
class Window:
    """The wrong tokens of an address within a minute: the count of each, by hash."""

    started_s: float
    n_by_token: Counter[bytes] = field(default_factory=Counter)

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


@dataclass(frozen=True)
class Session:
    """The content of a session cookie."""

    role: Role
    identifier: str
    began_s: int

    @property
    def name(self) -> str:
        """Return the session's file name in the list of ended sessions: start and identifier."""
        return f"{self.began_s}-{self.identifier}"


class EndedSessions:
    """The list of ended sessions, kept as a folder with an empty file for each.

    Other processes of the service see a new file at once, and files survive a restart. A file is
    deleted after the expiry of its session.

    Parameters
    ----------
    find_parent : callable, optional
        Returns the parent folder of the list. Without it the list is kept in memory only.
    """

    def __init__(self, find_parent: Callable[[], Path] | None = None) -> None:
        self._find_parent = find_parent
        self._known: dict[str, int] = {}
        self._lookup: threading.Thread | None = None

    def add(self, session: Session) -> None:
        """Add a session durably, and delete the expired sessions of the list.

        Raises
        ------
        OSError
            If the file cannot be written. In this process the session is ended nevertheless.
        """
        oldest_s = int(time.time()) - LIFETIME_S
        kept = {name: began_s for name, began_s in self._known.items() if began_s >= oldest_s}
        self._known = kept | {session.name: session.began_s}
        if self._find_parent is None:
            return
        folder = self._find_parent() / FOLDER
        files.make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
        os.close(os.open(folder / session.name, flags, 0o600))
        files.sync_folder(folder)
        for path in folder.iterdir():
            began = path.name.partition("-")[0]
            if began.isdecimal() and int(began) < oldest_s:
                path.unlink(missing_ok=True)

    def has(self, session: Session) -> bool:
        """Return whether a session was ended.

        Raises
        ------
        RefusedError
            With status 503 if the list cannot be read, or its disk hangs.
        """
        if session.name in self._known:
            return True
        if self._find_parent is None:
            return False
        found = self._look_up(self._find_parent() / FOLDER / session.name)
        if isinstance(found, OSError):
            raise RefusedError(
                503,
                f"The list of ended sessions cannot be read ({found.strerror}); see that the"
                f" service may read the folder {FOLDER} beside the releases, or send the token in"
                " the header Authorization.",
            )
        return found

    def _look_up(self, path: Path) -> bool | OSError:
        """Return whether a file exists, checked in a thread since a network disk may hang."""
        results: list[bool | OSError] = []

        def find() -> None:
            try:
                path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                results.append(False)
            except OSError as error:
                results.append(error)
            else:
                results.append(True)

        if self._lookup is None or not self._lookup.is_alive():
            lookup = threading.Thread(target=find, name="ended-sessions", daemon=True)
            lookup.start()
            lookup.join(LOOKUP_S)
            self._lookup = lookup if lookup.is_alive() else None
        return results[0] if results else TimeoutError(0, "the disk hangs")


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


class Sessions:
    """Signed session cookies, each valid until expiry or a change of the token.

    The key is derived from the token, and so is the same in every process and after a restart.

    Parameters
    ----------
    tokens : Tokens
        The tokens by role.
    ended : EndedSessions, optional
        The list of ended sessions, in memory only by default.
    """

    def __init__(self, tokens: Tokens, ended: EndedSessions | None = None) -> None:
        self._tokens = tokens
        self._ended = EndedSessions() if ended is None else ended
        self._signers: dict[Role, TimestampSigner] = {}

    def _signer(self, role: Role) -> TimestampSigner:
        """Return the signer of a role, made at the first call since key derivation is slow."""
        if role not in self._signers:
            key = hashlib.pbkdf2_hmac("sha256", self._tokens.by_role[role], SALT, N_ITERATIONS)
            self._signers[role] = TimestampSigner(key, salt=SALT, digest_method=hashlib.sha256)
        return self._signers[role]

    def begin(self, role: Role) -> str:
        """Return the cookie value of a session beginning now."""
        identifier = secrets.token_hex(N_ID_BYTES)
        return self._signer(role).sign(f"{role}.{identifier}").decode()

    def read(self, environ: Mapping[str, Any]) -> Session | None:
        """Read the session off the cookie of a request.

        Returns
        -------
        Session or None
            None without a valid cookie, or after 12 hours.
        """
        value = parse_cookie(environ.get("HTTP_COOKIE")).get(COOKIE)
        role = value.partition(".")[0] if value else ""
        if value is None or role not in self._tokens.by_role:
            return None
        try:
            signed, began_at = self._signer(Role(role)).unsign(
                value, max_age=LIFETIME_S, return_timestamp=True
            )
        except BadSignature:
            return None
        identifier = signed.decode().partition(".")[2]
        # Sessions of earlier versions have no identifier, and could not be ended.
        return Session(Role(role), identifier, int(began_at.timestamp())) if identifier else None

    def role_of(self, environ: Mapping[str, Any]) -> Role | None:
        """Return the role of a request's session, or None without a valid session.

        Raises
        ------
        RefusedError
            With status 503 if the list of ended sessions cannot be read.
        """
        session = self.read(environ)
        return None if session is None or self._ended.has(session) else session.role

    def end(self, environ: Mapping[str, Any]) -> None:
        """End the session of a request in every process.

        Raises
        ------
        RefusedError
            With status 503 if the end cannot be stored.
        """
        session = self.read(environ)
        if session is None:
            return
        try:
            self._ended.add(session)
        except OSError as error:
            log.error("The end of a session cannot be noted: %s.", error)
            raise RefusedError(
                503,
                "This browser is logged out, but the end of the session could not be noted"
                f" ({error.strerror}): a copy of its cookie stays valid until its 12 hours are"
                " over. Make the deployment folder writable for the service, or change the token.",
            ) from error


class Access:
    """Authorization of requests by token or by browser session."""

    def __init__(self, tokens: Tokens, ended: EndedSessions | None = None) -> None:
        self._tokens = tokens
        self._failed = FailedLogins()
        self._sessions = Sessions(tokens, ended)

    @property
    def needs_token(self) -> bool:
        """Return whether any token is set."""
        return bool(self._tokens.by_role)

    def _role_of_token(self, sent: bytes) -> Role | None:
        """Return the role of a token, or None, with a comparison in constant time."""
        found = None
        for role, token in self._tokens.by_role.items():
            if hmac.compare_digest(sent, token):
                found = role
        return found

    def _role_of_header(self, header: str) -> Role | None:
        """Return the role of the token in the header Authorization."""
        scheme, _, given = header.partition(" ")
        # WSGI decodes headers as latin-1. The comparison is between the original bytes.
        found = self._role_of_token(given.strip().encode("latin-1", "replace"))
        return found if scheme.lower() == "bearer" else None

    def _refuse_token(
        self, environ: Mapping[str, Any], token: bytes, trusted_proxies: tuple[str, ...]
    ) -> None:
        """Count a wrong token, and refuse a client with too many."""
        wait_s = self._failed.count(client_address(environ, trusted_proxies), token)
        if wait_s:
            raise RefusedError(
                429,
                f"Too many wrong tokens from this address; {MAX_FAILED_LOGINS} a minute are taken."
                " The right token is taken at any time.",
                [("Retry-After", str(math.ceil(wait_s)))],
            )

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
        role = self._role_of_token(given)
        if role is None:
            self._refuse_token(environ, given, trusted_proxies)
            raise RefusedError(401, "This is not the token of this service.", [CHALLENGE])
        return self._sessions.begin(role)

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
    ) -> Role | None:
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
        Role or None
            The role of the sender, or None if no token is set and everything is open.

        Raises
        ------
        RefusedError
            With status 401 without a valid token, 403 with the token of a lesser role, 429 after
            too many wrong tokens, 421 for an unknown host name.
        """
        if not self._tokens.by_role:
            check_host(environ)
            return None
        header = environ.get("HTTP_AUTHORIZATION", "")
        # A header is sent on purpose and wins over a cookie.
        role = self._role_of_header(header) if header else self._sessions.role_of(environ)
        if role is None:
            # A request without a token is no guess.
            if header:
                sent = (header.partition(" ")[2] or header).strip()
                self._refuse_token(environ, sent.encode("latin-1", "replace"), trusted_proxies)
            raise RefusedError(
                401, "Expected the header Authorization: Bearer <token>.", [CHALLENGE]
            )
        if wanted is Role.ADMIN and role is not Role.ADMIN:
            raise RefusedError(403, READ_ONLY)
        return role


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


def set_cookie(value: str, *, is_secure: bool) -> tuple[str, str]:
    """Return the Set-Cookie header of a session, or of its end for an empty value.

    Parameters
    ----------
    value : str
        The value of the cookie.
    is_secure : bool
        Whether the browser uses https, so that the cookie is sent by https only.
    """
    age_s = LIFETIME_S if value else 0
    header = dump_cookie(
        COOKIE, value, max_age=age_s, secure=is_secure, httponly=True, samesite="Strict"
    )
    return ("Set-Cookie", header)
