"""Routes of the work with clients: contacts, assignments and snoozes, and their history."""

from collections.abc import Callable

from flask import request

from scripts.api import client_routes, sender
from scripts.api.openapi import PAGING, BodyKind, Tag
from scripts.api.records_reader import change_records
from scripts.api.responses import Answer, RefusedError, answer_json
from scripts.api.routing import Route
from scripts.api.tokens import Role
from scripts.clients import work_file, work_input
from scripts.clients.response_types import RecordedWork, WorkHistory
from scripts.clients.work_input import WorkInput
from scripts.core.errors import PipelineError, WorkConflictError, WorkError

AGAIN = [("Retry-After", "2")]


def record(read: Callable[[], list[WorkInput]]) -> RecordedWork:
    """Record all entries in the name of the sender, or none.

    Parameters
    ----------
    read : callable
        Returns the entries, or raises WorkError.

    Raises
    ------
    RefusedError
        With status 422 for a wrong entry, 409 if somebody else has assigned a client meanwhile, 503
        if the records cannot be written.
    """
    serving = client_routes.present_serving()
    actor = sender.name_actor()
    try:
        given = read()
        return change_records(
            serving.config, lambda queries: queries.record_work(serving.config, given, actor)
        )
    except WorkConflictError as error:
        raise RefusedError(409, str(error)) from error
    except WorkError as error:
        raise RefusedError(422, str(error)) from error
    except (PipelineError, OSError) as error:
        detail = f"{serving.without_folders(str(error))} Nothing was recorded."
        raise RefusedError(503, detail, AGAIN) from error


def record_json() -> Answer:
    """Record results of contacts with clients, assignments and snoozes."""
    body = request.get_data()
    recorded = record(lambda: work_input.decode_inputs(body))
    return answer_json(recorded, release=client_routes.present_serving().release_name)


def record_csv() -> Answer:
    """Record all lines of a CSV file of results, or none."""
    body = request.get_data()
    recorded = record(lambda: work_file.parse(body))
    return answer_json(recorded, release=client_routes.present_serving().release_name)


def history() -> Answer:
    """List the changes of the work with clients, newest first: who, when, before and after."""
    limit, offset = client_routes.read_page()
    page = client_routes.run_query(lambda queries: queries.work_history(limit, offset))
    return answer_json(page, release=client_routes.present_serving().release_name)


ROUTES = (
    Route("GET", "/work", history, WorkHistory, Role.READ, (422, 503), PAGING, tag=Tag.CLIENTS),
    Route(
        "POST", "/work", record_json, RecordedWork, Role.WORK, (409, 422, 503),
        body_kind=BodyKind.WORK, tag=Tag.CLIENTS,
    ),
    Route(
        "POST", "/work.csv", record_csv, RecordedWork, Role.WORK, (409, 422, 503),
        body_kind=BodyKind.WORK_FILE, tag=Tag.CLIENTS,
    ),
)  # fmt: skip
