"""The users of the service: makes a token for a user, lists the users, removes one."""

import secrets
from pathlib import Path

import click

from scripts.api import tokens
from scripts.api.tokens import Role, User
from scripts.core import files, terminal
from scripts.core.config import Config
from scripts.core.console import run_as_script
from scripts.core.errors import ConfigError, NotMadeYetError

RESTART = "A service that runs knows it after a restart."


def find_file(config: Config) -> Path:
    """Return the file of tokens.

    Raises
    ------
    ConfigError
        If config.json names none.
    """
    if config.api.token_file is None:
        raise ConfigError(
            "config.json names no file for the tokens; set api.token_file, such as"
            ' "api": {"token_file": "tokens"}, and run this again.'
        )
    return config.api.token_file


def read_users(path: Path) -> dict[User, bytes]:
    """Return the users of the file with their tokens, {} without a file."""
    return tokens.read_token_file(path) if path.exists() else {}


def add_user(path: Path, user: User) -> str:
    """Add a user to the file, and return the new token.

    Raises
    ------
    ConfigError
        If a user of this name exists.
    """
    known = next((other for other in read_users(path) if other.name == user.name), None)
    if known is not None:
        raise ConfigError(
            f"{path} has a user {user.name} of the role {known.role} already; remove it first:"
            f" python -m scripts.users --remove {user.name}"
        )
    token = secrets.token_urlsafe()
    before = path.read_bytes() if path.exists() else b""
    separator = "" if not before or before.endswith(b"\n") else "\n"
    files.write_whole(path, before + f"{separator}{user.role} {user.name} {token}\n".encode())
    return token


def remove_user(path: Path, name: str) -> None:
    """Remove a user from the file without a change of any other line.

    Raises
    ------
    NotMadeYetError
        If there is no user of this name.
    """
    user = next((user for user in read_users(path) if user.name == name), None)
    if user is None:
        raise NotMadeYetError(f"{path} has no user {name}; nothing was removed.")
    lines = path.read_bytes().splitlines(keepends=True)
    # A line that reads as a user is `ROLE NAME TOKEN`.
    kept = [line for line in lines if line.split()[:2] != [user.role.encode(), name.encode()]]
    files.write_whole(path, b"".join(kept))


def format_users(users: dict[User, bytes]) -> str:
    """Format the users as a table, without their tokens."""
    rows = [["user", "role"]]
    rows += sorted([user.name or "(without a name)", str(user.role)] for user in users)
    return terminal.format_columns(rows)


def check_name(_context: click.Context, _option: click.Parameter, name: str | None) -> str | None:
    """Return the name of a user, or refuse another text."""
    if name is not None and not tokens.NAME.fullmatch(name):
        raise click.BadParameter(
            f"{name!r} is no name; expected up to 32 letters, digits, - and _, such as ada."
        )
    return name


def main(
    config: Config, role: str | None = None, name: str | None = None, remove: str | None = None
) -> None:
    """Make a token of ROLE for the user NAME, printed once, or list the users without arguments."""
    path = find_file(config)
    if remove is not None:
        remove_user(path, remove)
        terminal.echo(f"Removed {remove}. {RESTART}")
    elif role is None:
        click.echo(format_users(read_users(path)))
    elif name is None:
        raise click.UsageError(f"Expected a name behind the role, such as {role} ada.")
    else:
        token = add_user(path, User(Role(role), name))
        terminal.echo(f"{token}\nThe token of {name}, shown only now. {RESTART}")


OPTIONS = (
    click.Argument(["role"], required=False, type=click.Choice([str(role) for role in Role])),
    click.Argument(["name"], required=False, callback=check_name),
    click.Option(["--remove"], metavar="NAME", help="Remove a user with the token."),
)

if __name__ == "__main__":
    run_as_script(main, options=OPTIONS)
