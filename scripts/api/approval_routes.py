"""Routes of the candidate pending for a person's approval, and their views."""

from collections.abc import Callable
from typing import Annotated

import msgspec
from flask import request
from msgspec import Meta, Struct

from scripts.api import client_routes, sender
from scripts.api.openapi import BodyKind, Tag
from scripts.api.records_reader import import_queries, read_entry
from scripts.api.responses import Answer, Candidate, CandidateState, RefusedError, answer_json
from scripts.api.routing import Route
from scripts.api.serving_state import Serving
from scripts.api.tokens import Role
from scripts.core import files
from scripts.core.errors import BusyError, NotMadeYetError, PipelineError, ReleaseError

MAX_REASON = 500
AGAIN = [("Retry-After", "10")]
BUSY = "A run is at work; nothing was decided. Try again in a moment."
FAILED = "The deployment folder cannot be written; see whether the release serves, and the log."


class ApprovalBody(Struct, frozen=True, kw_only=True):
    """The body of an approval or rejection: the candidate as seen by the sender, and the reason."""

    release: Annotated[str, Meta(min_length=1, max_length=64)]
    reason: Annotated[str, Meta(min_length=1, max_length=MAX_REASON)]


def find_candidate() -> CandidateState | None:
    """Return the pending candidate, or None."""
    row = client_routes.run_query(lambda queries: queries.waiting_candidate())
    return None if row is None else read_entry(CandidateState, row)


def candidate() -> Answer:
    """Return the candidate pending for approval, or null."""
    waiting = find_candidate()
    release = client_routes.present_serving().release_name
    return answer_json(Candidate(candidate=waiting, release=release))


def decide(serving: Serving, *, is_approved: bool, release: str, reason: str) -> None:
    """Approve or reject the pending candidate, under the lock of the installation.

    Raises
    ------
    RefusedError
        With status 409 if no candidate or another one waits, 422 without a reason, 503 if a run is
        at work or the records or folders cannot be written.
    """
    reason = " ".join(reason.split())
    if not reason or len(reason) > MAX_REASON or not reason.isprintable():
        raise RefusedError(422, f"Expected a reason of 1 to {MAX_REASON} printable characters.")
    queries = import_queries()
    answer: Callable[..., object] = queries.approve if is_approved else queries.reject
    try:
        with files.waiting_lock(serving.config.prod_deployment_path):
            answer(serving.config, release_name=release, reason=reason, actor=sender.name_actor())
    except BusyError as error:
        raise RefusedError(503, BUSY, AGAIN) from error
    except (NotMadeYetError, ReleaseError) as error:
        raise RefusedError(409, serving.without_folders(str(error))) from error
    except PipelineError as error:
        raise RefusedError(503, serving.without_folders(str(error))) from error
    except OSError as error:
        raise RefusedError(503, FAILED) from error


def answer_decision(*, is_approved: bool) -> Answer:
    """Decide by the body of the request, and answer with the state afterwards."""
    try:
        body = msgspec.json.decode(request.get_data(), type=ApprovalBody)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError(
            422, f'Expected {{"release": "...", "reason": "..."}}; {error}.'
        ) from error
    serving = client_routes.present_serving()
    decide(serving, is_approved=is_approved, release=body.release, reason=body.reason)
    now = body.release if is_approved else serving.release_name
    return answer_json(Candidate(candidate=None, release=now))


def approve() -> Answer:
    """Approve the pending candidate as the release in production."""
    return answer_decision(is_approved=True)


def reject() -> Answer:
    """Reject the pending candidate without a change of production."""
    return answer_decision(is_approved=False)


ROUTES = (
    Route("GET", "/candidate", candidate, Candidate, Role.READ, (503,), tag=Tag.MODEL),
    Route(
        "POST", "/candidate/approve", approve, Candidate, Role.ADMIN, (409, 422, 503),
        body_kind=BodyKind.APPROVAL, tag=Tag.MODEL,
    ),
    Route(
        "POST", "/candidate/reject", reject, Candidate, Role.ADMIN, (409, 422, 503),
        body_kind=BodyKind.APPROVAL, tag=Tag.MODEL,
    ),
)  # fmt: skip
