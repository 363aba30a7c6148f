"""Browser sessions: signed cookies, and the list of ended sessions."""

import hashlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from itsdangerous import BadSignature, TimestampSigner
from msgspec import Struct
from werkzeug.http import dump_cookie, parse_cookie

from scripts.api.responses import RefusedError
from scripts.api.tokens import Tokens, User
from scripts.core import files

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


class Session(Struct, frozen=True):
    """The content of a session cookie."""

    user: User
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
            """Look the file up, and append the result."""
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


class Sessions:
    """Signed session cookies, each valid until expiry or a change of the token.

    The key is derived from the token, and so is the same in every process and after a restart.

    Parameters
    ----------
    tokens : Tokens
        The tokens by user.
    ended : EndedSessions, optional
        The list of ended sessions, in memory only by default.
    """

    def __init__(self, tokens: Tokens, ended: EndedSessions | None = None) -> None:
        self._tokens = tokens
        self._ended = EndedSessions() if ended is None else ended
        self._signers: dict[User, TimestampSigner] = {}
        self._users = {user.key: user for user in tokens.by_user}

    def _signer(self, user: User) -> TimestampSigner:
        """Return the signer of a user, made at the first call since key derivation is slow."""
        if user not in self._signers:
            key = hashlib.pbkdf2_hmac("sha256", self._tokens.by_user[user], SALT, N_ITERATIONS)
            self._signers[user] = TimestampSigner(key, salt=SALT, digest_method=hashlib.sha256)
        return self._signers[user]

    def begin(self, user: User) -> str:
        """Return the cookie value of a session beginning now."""
        identifier = secrets.token_hex(N_ID_BYTES)
        return self._signer(user).sign(f"{user.key}.{identifier}").decode()

    def read(self, environ: Mapping[str, Any]) -> Session | None:
        """Read the session off the cookie of a request.

        Returns
        -------
        Session or None
            None without a valid cookie, or after 12 hours.
        """
        value = parse_cookie(environ.get("HTTP_COOKIE")).get(COOKIE)
        user = self._users.get(value.partition(".")[0]) if value else None
        if value is None or user is None:
            return None
        try:
            signed, began_at = self._signer(user).unsign(
                value, max_age=LIFETIME_S, return_timestamp=True
            )
        except BadSignature:
            return None
        identifier = signed.decode().partition(".")[2]
        # Sessions of earlier versions have no identifier, and could not be ended.
        return Session(user, identifier, int(began_at.timestamp())) if identifier else None

    def user_of(self, environ: Mapping[str, Any]) -> User | None:
        """Return the user of a request's session, or None without a valid session.

        Raises
        ------
        RefusedError
            With status 503 if the list of ended sessions cannot be read.
        """
        session = self.read(environ)
        return None if session is None or self._ended.has(session) else session.user

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
