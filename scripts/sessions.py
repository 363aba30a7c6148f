"""Sessions of browsers: a signed cookie that stands for a token and ends when the token changes."""

import hashlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itsdangerous import BadSignature, TimestampSigner
from werkzeug.http import dump_cookie, parse_cookie

from scripts import durable
from scripts.answers import RefusedError
from scripts.tokens import Role, Tokens

COOKIE = "adras_session"
LIFETIME_S = 12 * 3600
SALT = b"adras session"
# So that who steals a cookie cannot try out short tokens quickly.
N_ITERATIONS = 100_000
N_ID_BYTES = 16
FOLDER = "ended_sessions"
# A disk that hangs holds the other requests up for so long, once.
LOOKUP_S = 0.25

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Session:
    """A session of a browser, as its cookie has it."""

    role: Role
    identifier: str
    began_s: int

    @property
    def name(self) -> str:
        """The name of its file once it has ended; the moment says when the file may go."""
        return f"{self.began_s}-{self.identifier}"


class EndedSessions:
    """The list of sessions that were ended: a folder with an empty file for each.

    The other processes of the service see a file at once, and a restart forgets none. A file is
    removed when its session would be over by itself.

    Parameters
    ----------
    find_parent : callable, optional
        Returns the folder in which the list lies. Without it the list is kept in memory only.
    """

    def __init__(self, find_parent: Callable[[], Path] | None = None) -> None:
        self._find_parent = find_parent
        self._known: dict[str, int] = {}
        self._looking: threading.Thread | None = None

    def add(self, session: Session) -> None:
        """Add a session durably, and forget those that would be over by themselves.

        Raises
        ------
        OSError
            If the file cannot be written; this process knows of the end nevertheless.
        """
        oldest_s = int(time.time()) - LIFETIME_S
        kept = {name: began_s for name, began_s in self._known.items() if began_s >= oldest_s}
        self._known = kept | {session.name: session.began_s}
        if self._find_parent is None:
            return
        folder = self._find_parent() / FOLDER
        durable.make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
        os.close(os.open(folder / session.name, flags, 0o600))
        durable.sync_folder(folder)
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
        """Look whether a file is there, in a thread, since a network disk may hang."""
        found: list[bool | OSError] = []

        def look() -> None:
            try:
                path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                found.append(False)
            except OSError as error:
                found.append(error)
            else:
                found.append(True)

        if self._looking is None or not self._looking.is_alive():
            looking = threading.Thread(target=look, name="ended-sessions", daemon=True)
            looking.start()
            looking.join(LOOKUP_S)
            self._looking = looking if looking.is_alive() else None
        return found[0] if found else TimeoutError(0, "the disk hangs")


class Sessions:
    """Spell and read the cookies of sessions.

    The key is made of the token: it is the same in every process and after a restart, and another
    one once the token is.

    Parameters
    ----------
    tokens : Tokens
        Of each role.
    ended : EndedSessions, optional
        The sessions that were logged out; in memory only by default.
    """

    def __init__(self, tokens: Tokens, ended: EndedSessions | None = None) -> None:
        self._tokens = tokens
        self._ended = EndedSessions() if ended is None else ended
        self._signers: dict[Role, TimestampSigner] = {}

    def _signer(self, role: Role) -> TimestampSigner:
        """Give what signs for a role; made when first wanted, since that takes a while."""
        if role not in self._signers:
            key = hashlib.pbkdf2_hmac("sha256", self._tokens.by_role[role], SALT, N_ITERATIONS)
            self._signers[role] = TimestampSigner(key, salt=SALT, digest_method=hashlib.sha256)
        return self._signers[role]

    def spell(self, role: Role) -> str:
        """Spell the value of the cookie of a session that begins now."""
        identifier = secrets.token_hex(N_ID_BYTES)
        return self._signer(role).sign(f"{role}.{identifier}").decode()

    def read(self, environ: Mapping[str, Any]) -> Session | None:
        """Read the session off the cookie of a request.

        Returns
        -------
        Session or None
            None without a cookie that was signed here, or when its 12 hours are over.
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
        # Sessions of earlier versions had no identifier, so nothing could end them.
        return Session(Role(role), identifier, int(began_at.timestamp())) if identifier else None

    def role_of(self, environ: Mapping[str, Any]) -> Role | None:
        """Return the role of the session of a request; None without one, or when it has ended.

        Raises
        ------
        RefusedError
            With status 503 if the list of ended sessions cannot be read.
        """
        session = self.read(environ)
        return None if session is None or self._ended.has(session) else session.role

    def end(self, environ: Mapping[str, Any]) -> None:
        """End the session of a request, for good and in every process; nothing without one.

        Raises
        ------
        RefusedError
            With status 503 if that cannot be noted.
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


def set_cookie(value: str, *, is_secure: bool) -> tuple[str, str]:
    """Spell the header that hands a session to a browser; "" ends one.

    Parameters
    ----------
    value : str
        Of the cookie.
    is_secure : bool
        Whether the browser came by https, and may send it by https only.
    """
    age_s = LIFETIME_S if value else 0
    spelled = dump_cookie(
        COOKIE, value, max_age=age_s, secure=is_secure, httponly=True, samesite="Strict"
    )
    return ("Set-Cookie", spelled)
