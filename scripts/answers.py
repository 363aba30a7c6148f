"""How answers are spelled: JSON, and problem documents for whatever could not be answered."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec

JSON = "application/json"
PROBLEM = "application/problem+json"

Headers = Sequence[tuple[str, str]]
# Of a plain answer: one list, so that it can be recognised.
JSON_HEADERS: Headers = [("Content-Type", JSON)]


@dataclass
class Answer:
    """What is sent back for one request; the rest is for metrics and the two logs."""

    status: int
    body: bytes
    headers: Headers = ()
    release: str | None = None
    n_rows: int = 0
    n_positives: int = 0
    predicted: object = None


class RefusedError(Exception):
    """A request that cannot be answered as it was meant; it ends in a problem document.

    Parameters
    ----------
    status : int
        The HTTP status.
    detail : str
        What was found, what was expected and what to do.
    headers : sequence of tuple of str
        Further headers, such as Retry-After.
    **members : object
        Further members of the document.
    """

    def __init__(self, status: int, detail: str, headers: Headers = (), **members: object) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.members = members


def answer_json(content: object, **facts: Any) -> Answer:
    """Answer with JSON."""
    return Answer(200, msgspec.json.encode(content), JSON_HEADERS, **facts)


def answer_problem(status: int, detail: str, headers: Headers = (), **members: object) -> Answer:
    """Answer with a problem document, as RFC 9457 has it."""
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    body = msgspec.json.encode(content | {"detail": detail} | members)
    return Answer(status, body, [*headers, ("Content-Type", PROBLEM)])


def answer_refusal(refusal: RefusedError) -> Answer:
    """Answer with the problem document of a refused request."""
    return answer_problem(refusal.status, refusal.detail, refusal.headers, **refusal.members)


@dataclass
class Wsgi:
    """Collect what a WSGI application answers."""

    status: int = 500
    headers: list[tuple[str, str]] = field(default_factory=list)

    def __call__(
        self, status: str, headers: list[tuple[str, str]], _error: object = None
    ) -> object:
        """Take status and headers, as WSGI's start_response does."""
        self.status, self.headers = int(status[:3]), headers
        return None
