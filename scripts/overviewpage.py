"""The first page."""

from typing import Any

from flask import current_app, request

from scripts import clientviews, pages
from scripts.answers import Answer, RefusedError
from scripts.frontdoor import SERVING
from scripts.live import Serving
from scripts.nextrun import Schedule
from scripts.views import state_of_health

RECORDS = ("model", "decision", "deployment", "runs", "states", "worklist", "outcomes")


def overview() -> Answer:
    """Show at one look whether all is well, what serves, what happened, and whom to call."""
    now: Serving = request.environ[SERVING]
    schedule: Schedule = current_app.extensions["schedule"]
    release = now.release
    stamp = None if release is None else release.manifest.model_stamp

    def question(connection: Any, now: Serving) -> dict[str, Any]:
        # Imported by the first question, as in clientviews.
        from scripts import overview  # noqa: PLC0415

        return overview.find_overview(connection, now.config.worklist, now.release_name, stamp)

    facts: dict[str, Any] = dict.fromkeys(RECORDS)
    fault = ""
    try:
        facts = clientviews.ask(question)
    except RefusedError as refusal:
        fault = refusal.detail
    return pages.show(
        "overview.html",
        fault=fault,
        health=state_of_health(),
        schedule=schedule,
        tidy=now.without_folders,
        f1=None if release is None else release.manifest.f1,
        **facts,
    )
