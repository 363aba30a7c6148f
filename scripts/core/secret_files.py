"""Secrets of the installation, from the environment or from a file of the owner alone."""

import os
import stat
from pathlib import Path

from scripts.core.errors import ConfigError

MAX_BYTES = 4096


def check_owner_only(path: Path, key: str) -> None:
    """Refuse a file of secrets readable by another account than the owner's.

    Parameters
    ----------
    path : Path
        The file.
    key : str
        The key of config.json that names it, for the message.

    Raises
    ------
    ConfigError
        If the file cannot be read, is no plain file, or others can read it.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise ConfigError(f"{key} {path} cannot be read: {error.strerror}.") from error
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{key} {path} is no file.")
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077 or status.st_uid not in (0, os.geteuid()):
        raise ConfigError(
            f"{key} {path} has the mode {mode:03o} and the owner {status.st_uid}; a file"
            f" of secrets is readable by its owner only: chmod 600 {path}"
        )


def read_secret(variable: str, path: Path | None, key: str) -> str:
    """Return a secret from the environment, else from the first line of a file.

    Parameters
    ----------
    variable : str
        The variable of the environment, which comes first.
    path : Path or None
        The file.
    key : str
        The key of config.json that names the file, for messages.

    Returns
    -------
    str
        Never empty, and never part of a message.

    Raises
    ------
    ConfigError
        If there is neither, or the file is empty, too long, not in UTF-8, or others can read it.
    """
    given = os.environ.get(variable)
    if given:
        return given
    if path is None:
        raise ConfigError(
            f"There is no secret: set {variable} in the environment of the runs, or {key} in"
            " config.json to a file with the secret that only its owner can read."
        )
    check_owner_only(path, key)
    try:
        with path.open("rb") as handle:
            content = handle.read(MAX_BYTES + 1)
        secret = content.decode().strip()
    except OSError as error:
        raise ConfigError(f"{key} {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{key} {path} is not in UTF-8.") from error
    if not secret or len(content) > MAX_BYTES or "\n" in secret:
        raise ConfigError(f"{key} {path}: expected one line with the secret.")
    return secret
