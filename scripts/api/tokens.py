"""Tokens of the API with their users, read from the environment or a private file."""

import os
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from msgspec import Struct

from scripts.core import secret_files
from scripts.core.config import ApiSettings
from scripts.core.errors import ConfigError

TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
# The name of a user: a word that a cookie, a log and a page can carry.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", re.ASCII)
# The length protects against guessing, since attempts are limited per token and address only.
MIN_LENGTH = 16


class Role(StrEnum):
    """The permission of a token, from the least to the most."""

    READ = "read"
    WORK = "work"
    ADMIN = "admin"

    def includes(self, other: "Role") -> bool:
        """Return whether this role includes the rights of a second role."""
        roles = list(Role)
        return roles.index(self) >= roles.index(other)


# The environment variable of each role's token without a name.
VARIABLES = {
    Role.READ: "ADRAS_API_TOKEN",
    Role.WORK: "ADRAS_API_WORK_TOKEN",
    Role.ADMIN: "ADRAS_API_ADMIN_TOKEN",
}


class User(Struct, frozen=True):
    """The owner of a token: a role, and perhaps a name."""

    role: Role
    name: str = ""

    @property
    def key(self) -> str:
        """Return the text for the user in a session cookie."""
        return f"{self.role}:{self.name}" if self.name else str(self.role)

    @property
    def actor(self) -> str:
        """Return the name for the records."""
        return self.name or f"the API, role {self.role}"


@dataclass(frozen=True, repr=False)
class Tokens:
    """The token of each user, hidden from logs and tracebacks."""

    by_user: dict[User, bytes]

    @property
    def any_for_reading(self) -> bytes | None:
        """Return the weakest token, for the programs of the installation."""
        roles = list(Role)
        # A token without a name is nobody's own.
        users = sorted(self.by_user, key=lambda user: (roles.index(user.role), user.name))
        return self.by_user[users[0]] if users else None


def check_token(token: bytes, origin: str) -> bytes:
    """Refuse a token invalid in HTTP (RFC 6750) or too short to be safe."""
    if not TOKEN.fullmatch(token):
        raise ConfigError(
            f"The token in {origin} has a character that a header cannot carry; expected letters,"
            " digits and -._~+/= only, as python -c 'import secrets;"
            " print(secrets.token_urlsafe())' makes them."
        )
    if len(token) < MIN_LENGTH:
        raise ConfigError(
            f"The token in {origin} has {len(token)} characters; expected {MIN_LENGTH} or more, so"
            " that nobody can guess it, as python -c 'import secrets;"
            " print(secrets.token_urlsafe())' makes them."
        )
    return token


def read_user(words: list[bytes]) -> User | None:
    """Return the user of a line without its token, or None for a line of another format."""
    role, *names = (word.decode("ascii", "replace") for word in words)
    if role not in list(Role) or len(names) > 1 or not all(map(NAME.fullmatch, names)):
        return None
    return User(Role(role), *names)


def read_token_file(path: Path) -> dict[User, bytes]:
    """Read the lines `ROLE TOKEN` and `ROLE NAME TOKEN` of a file.

    Parameters
    ----------
    path : Path
        Readable by the owner only. Empty lines and lines beginning with # are ignored.

    Returns
    -------
    dict of User to bytes
        The tokens by user.

    Raises
    ------
    ConfigError
        If other accounts can read the file, or a line has another format.
    """
    secret_files.check_owner_only(path, "api.token_file")
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(f"api.token_file {path} cannot be read: {error.strerror}.") from error
    tokens: dict[User, bytes] = {}
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0].startswith(b"#"):
            continue
        user = read_user(words[:-1]) if len(words) > 1 else None
        names = {known.name for known in tokens if known.name}
        if user is None or user in tokens or user.name in names:
            # The line is not shown: it may be a token without its role.
            raise ConfigError(
                f"api.token_file {path}, line {number}: expected `read TOKEN`, `work TOKEN` or"
                " `admin TOKEN`, each once, or with a name, such as `work ada TOKEN`, each name"
                " once."
            )
        tokens[user] = check_token(words[-1], f"{path}, line {number},")
    if not tokens:
        raise ConfigError(f"api.token_file {path} holds no token; expected `read TOKEN`.")
    return tokens


def read_tokens(api: ApiSettings) -> Tokens:
    """Read the API tokens from the environment, else from the file.

    Raises
    ------
    ConfigError
        If the file cannot be used, or two users have the same token.
    """
    tokens = {} if api.token_file is None else read_token_file(api.token_file)
    for role, variable in VARIABLES.items():
        token = os.environ.get(variable)
        if token:
            tokens[User(role)] = check_token(token.encode("utf-8", "surrogateescape"), variable)
    if len(set(tokens.values())) < len(tokens):
        raise ConfigError(
            "The tokens of two users or roles are the same; choose another one for one of"
            f" them ({', '.join(VARIABLES.values())}, or the lines of api.token_file)."
        )
    return Tokens(tokens)
