"""Sessions of browsers: a signed cookie that stands for a token and ends when the token changes."""

import hashlib
from collections.abc import Mapping
from typing import Any

from itsdangerous import BadSignature, TimestampSigner
from werkzeug.http import dump_cookie, parse_cookie

from scripts.tokens import Role, Tokens

COOKIE = "adras_session"
LIFETIME_S = 12 * 3600
SALT = b"adras session"
# So that who steals a cookie cannot try out short tokens quickly.
N_ITERATIONS = 100_000


class Sessions:
    """Spell and read the cookies of sessions.

    The key is made of the token: it is the same in every process and after a restart, and another
    one once the token is.

    Parameters
    ----------
    tokens : Tokens
        Of each role.
    """

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._signers: dict[Role, TimestampSigner] = {}

    def _signer(self, role: Role) -> TimestampSigner:
        """Give what signs for a role; made when first wanted, since that takes a while."""
        if role not in self._signers:
            key = hashlib.pbkdf2_hmac("sha256", self._tokens.by_role[role], SALT, N_ITERATIONS)
            self._signers[role] = TimestampSigner(key, salt=SALT, digest_method=hashlib.sha256)
        return self._signers[role]

    def spell(self, role: Role) -> str:
        """Spell the value of the cookie of a session that begins now."""
        return self._signer(role).sign(str(role)).decode()

    def role_of(self, environ: Mapping[str, Any]) -> Role | None:
        """Say which role the session of a request has; None without one, or when it is over."""
        value = parse_cookie(environ.get("HTTP_COOKIE")).get(COOKIE)
        role = value.partition(".")[0] if value else ""
        if value is None or role not in self._tokens.by_role:
            return None
        try:
            self._signer(Role(role)).unsign(value, max_age=LIFETIME_S)
        except BadSignature:
            return None
        return Role(role)


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
