"""The pages about runs: the last ones, and one with its steps, files, model and decision."""

import re
from pathlib import Path
from typing import Any

from flask import current_app, request

from scripts import clientviews, pages
from scripts.answers import Answer, RefusedError
from scripts.contract import RunEntry
from scripts.frontdoor import SERVING
from scripts.live import Serving
from scripts.recall import History

N_SHOWN = 25
NUMBER = re.compile(r"-?[0-9]{1,9}", re.ASCII)


def read_offset() -> int:
    """Read after how many entries a list begins; what is no number is 0."""
    text = request.args.get("offset", "0")
    return max(0, int(text)) if NUMBER.fullmatch(text) else 0


def runs() -> Answer:
    """Show the last runs of the full process, newest first."""
    now: Serving = request.environ[SERVING]
    history: History = current_app.extensions["history"]
    offset, fault = read_offset(), ""
    entries: list[RunEntry] = []
    next_offset = None
    try:
        entries, next_offset = history.page(RunEntry, N_SHOWN, offset)
    except RefusedError as refusal:
        fault = refusal.detail
    return pages.show(
        "runs.html",
        fault=fault,
        runs=entries,
        offset=offset,
        n_shown=N_SHOWN,
        next_offset=next_offset,
        tidy=now.without_folders,
        schedule=current_app.extensions["schedule"],
    )


def run() -> Answer:
    """Show one run: its steps with their durations, its files, verdict, evidence and decision."""
    number = request.args.get("id", "")

    def question(connection: Any, _now: Serving) -> dict[str, Any] | None:
        # Imported by the first question, as in clientviews.
        from scripts import runstory  # noqa: PLC0415

        return runstory.find_story(connection, int(number))

    story = clientviews.ask(question) if NUMBER.fullmatch(number) else None
    if story is None:
        raise RefusedError(404, "The records have no run of this number.")
    now: Serving = request.environ[SERVING]
    for file in story["files"]:
        file["name"] = Path(file["path"]).name
    return pages.show("run.html", tidy=now.without_folders, **story)
