"""The pages about clients: the worklist, one client, and whether predictions came true."""

from typing import Any
from urllib.parse import urlencode

from flask import request

from scripts import clientviews, pages, sparkline
from scripts.answers import Answer, RefusedError
from scripts.frontdoor import SERVING
from scripts.live import Serving

RECORDS_FAIL = 503


def link_to(path: str, **changed: str | int) -> str:
    """Spell the address of a list with the same search, but for what is changed; "" leaves out."""
    kept = {name: request.args.get(name, "") for name in ("search", "band", "order")}
    wanted = {name: value for name, value in (kept | changed).items() if value not in ("", 0)}
    return f"{path}?{urlencode(wanted)}" if wanted else path


def worklist() -> Answer:
    """Show today's clients, those likeliest to leave first, to search, sort and download."""
    wanted, fault, page = clientviews.read_query(clientviews.MAX_TOP), "", None
    try:
        page = clientviews.find_worklist(clientviews.MAX_TOP)
    except RefusedError as refusal:
        if refusal.status != RECORDS_FAIL:
            raise
        fault = refusal.detail
    now: Serving = request.environ[SERVING]
    return pages.show(
        "worklist.html",
        fault=fault,
        worklist=page,
        wanted=wanted,
        bands=clientviews.BANDS,
        link_to=link_to,
        input_folder=now.config.input_folder_path.name,
    )


def client() -> Answer:
    """Show one client: the risk, why, why it changed, the history and the outcome."""
    name = request.args.get("name", "")
    page = clientviews.find_client(name)

    def question(connection: Any, _now: Serving) -> Any:
        # Imported by the first question, as in clientviews.
        from scripts import dossier  # noqa: PLC0415

        return dossier.split_risk(connection, page.last)

    api = request.environ[SERVING].config.api
    scores = [(s.scored_at, s.probability, s.band) for s in reversed(page.history)]
    reasons = {reason.text: reason.effect for reason in page.reasons}
    return pages.show(
        "client.html",
        client=page,
        split=clientviews.ask(question),
        reason_bars=sparkline.draw_bars(reasons),
        line=sparkline.draw_line(scores, (api.medium_risk_from, api.high_risk_from)),
        limits={"medium": api.medium_risk_from, "high": api.high_risk_from},
    )


def outcomes() -> Answer:
    """Show whether predictions came true."""
    facts: dict[str, Any] = {"fault": "", "outcomes": None}
    try:
        facts["outcomes"] = clientviews.find_outcomes()
    except RefusedError as refusal:
        facts["fault"] = refusal.detail
    return pages.show("outcomes.html", **facts)
