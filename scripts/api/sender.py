"""The sender of the present request: the name for the records, and the permission."""

from flask import request

from scripts.api.middleware import USER
from scripts.api.tokens import Role, User

NOBODY = "the API, without a name"


def find_user() -> User | None:
    """Return the user of the request, or None without any token set."""
    user: User | None = request.environ.get(USER)
    return user


def name_actor() -> str:
    """Return the name of the sender for the records."""
    user = find_user()
    return NOBODY if user is None else user.actor


def may(wanted: Role) -> bool:
    """Return whether the sender has a role, always True without any token set."""
    user = find_user()
    return user is None or user.role.includes(wanted)
