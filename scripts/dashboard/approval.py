"""The page of the pending candidate, with the evidence and the decision."""

from typing import Any

from flask import request

from scripts.api import approval_routes, client_routes, routes, sender
from scripts.api.responses import Answer, RefusedError
from scripts.api.tokens import Role
from scripts.dashboard import rendering

ANSWERS = ("approve", "reject")
FORM_FIELDS = ("release", "reason")


def show_page(status: int = 200, **facts: Any) -> Answer:
    """Render the page with the pending candidate."""
    now = routes.serving()
    candidate, records_fault = None, ""
    try:
        candidate = client_routes.run_query(lambda queries: queries.waiting_candidate())
    except RefusedError as refusal:
        records_fault = refusal.detail
    shown: dict[str, Any] = {"fault": "", "done": ""} | facts
    return rendering.show(
        "candidate.html",
        status,
        candidate=candidate,
        records_fault=records_fault,
        mode=now.config.promotion.mode,
        may_decide=sender.may(Role.ADMIN),
        max_reason=approval_routes.MAX_REASON,
        tidy=now.without_folders,
        **shown,
    )


def show() -> Answer:
    """Show the candidate pending for approval."""
    return show_page()


def decide() -> Answer:
    """Approve or reject the candidate of the form."""
    answer = request.form.get("answer", "")
    release, reason = (request.form.get(name, "") for name in FORM_FIELDS)
    try:
        if answer not in ANSWERS:
            raise RefusedError(422, "Choose to approve or to reject.")
        approval_routes.decide(
            routes.serving(), is_approved=answer == "approve", release=release, reason=reason
        )
    except RefusedError as refusal:
        return show_page(refusal.status, fault=refusal.detail)
    return show_page(
        done=f"Release {release} serves now." if answer == "approve" else f"{release} is rejected."
    )
