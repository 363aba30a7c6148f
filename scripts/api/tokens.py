"""Tokens of the API, read from the environment or a private file."""

import os
import re
import stat
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from scripts.core.config import ApiSettings
from scripts.core.errors import ConfigError

TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
# The length protects against guessing, since attempts are limited per token and address only.
MIN_LENGTH = 16


class Role(StrEnum):
    """The permission of a token."""

    READ = "read"
    ADMIN = "admin"


# The environment variable of each role's token. The role admin includes the role read.
VARIABLES = {Role.READ: "ADRAS_API_TOKEN", Role.ADMIN: "ADRAS_API_ADMIN_TOKEN"}


@dataclass(frozen=True, repr=False)
class Tokens:
    """The token of each role, hidden from logs and tracebacks."""

    by_role: dict[Role, bytes]

    @property
    def any_for_reading(self) -> bytes | None:
        """Return the weakest token, for the programs of the installation."""
        return self.by_role.get(Role.READ, self.by_role.get(Role.ADMIN))


def check_owner_only(path: Path) -> None:
    """Refuse a file of secrets readable by another account than the owner's."""
    try:
        status = path.stat()
    except OSError as error:
        raise ConfigError(f"api.token_file {path} cannot be read: {error.strerror}.") from error
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"api.token_file {path} is no file.")
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077 or status.st_uid not in (0, os.geteuid()):
        raise ConfigError(
            f"api.token_file {path} has the mode {mode:03o} and the owner {status.st_uid}; a file"
            f" of secrets is readable by its owner only: chmod 600 {path}"
        )


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


def read_token_file(path: Path) -> dict[Role, bytes]:
    """Read the lines `read TOKEN` and `admin TOKEN` of a file.

    Parameters
    ----------
    path : Path
        Readable by the owner only. Empty lines and lines beginning with # are ignored.

    Returns
    -------
    dict of Role to bytes
        The tokens by role.

    Raises
    ------
    ConfigError
        If other accounts can read the file, or a line has another format.
    """
    check_owner_only(path)
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(f"api.token_file {path} cannot be read: {error.strerror}.") from error
    tokens: dict[Role, bytes] = {}
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0].startswith(b"#"):
            continue
        role = words[0].decode("ascii", "replace")
        if len(words) != len(("role", "token")) or role not in list(Role) or Role(role) in tokens:
            # The line is not shown: it may be a token without its role.
            raise ConfigError(
                f"api.token_file {path}, line {number}: expected `read TOKEN` or `admin TOKEN`,"
                " each once."
            )
        tokens[Role(role)] = check_token(words[1], f"{path}, line {number},")
    if not tokens:
        raise ConfigError(f"api.token_file {path} holds no token; expected `read TOKEN`.")
    return tokens


def read_tokens(api: ApiSettings) -> Tokens:
    """Read the API tokens from the environment, else from the file.

    Raises
    ------
    ConfigError
        If the file cannot be used, or both roles have the same token.
    """
    tokens = {} if api.token_file is None else read_token_file(api.token_file)
    for role, variable in VARIABLES.items():
        token = os.environ.get(variable)
        if token:
            tokens[role] = check_token(token.encode("utf-8", "surrogateescape"), variable)
    if len(set(tokens.values())) < len(tokens):
        raise ConfigError(
            "The tokens of the roles read and admin are the same; choose another one for one of"
            f" them ({', '.join(VARIABLES.values())}, or the lines of api.token_file)."
        )
    return Tokens(tokens)
