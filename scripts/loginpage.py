"""The page on which a browser logs in and out."""

from flask import current_app, request

from scripts import pages, sessions
from scripts.access import Access, is_from_proxy
from scripts.answers import Answer, RefusedError, answer_problem
from scripts.frontdoor import SERVING
from scripts.live import Serving

HOME = "/"


def is_secure() -> bool:
    """Say whether the browser came by https, as far as this service or a proxy of ours can tell."""
    now: Serving = request.environ[SERVING]
    is_proxied = is_from_proxy(request.environ, now.config.api.trusted_proxies)
    said = request.headers.get("X-Forwarded-Proto", "") if is_proxied else ""
    # Of a chain of proxies the first is the one that the browser came to.
    return (said.partition(",")[0].strip().lower() or request.scheme) == "https"


def read_target(target: str | None) -> str:
    """Read where to go after the login: a page of this service, or else the first one."""
    if not target or not target.isascii() or not target.isprintable():
        return HOME
    # With one slash at its beginning an address has neither a scheme nor a host.
    is_ours = target.startswith("/") and not target.startswith("//") and "\\" not in target
    return target if is_ours else HOME


def see_other(target: str, *headers: tuple[str, str]) -> Answer:
    """Send a browser to another page."""
    return Answer(303, b"", [("Location", target), *headers])


def login() -> Answer:
    """Ask for the token."""
    access: Access = current_app.extensions["access"]
    target = read_target(request.args.get("next"))
    return pages.show("login.html", target=target, fault="", needs_token=access.needs_token)


def log_in() -> Answer:
    """Begin a session with the token that was typed in."""
    access: Access = current_app.extensions["access"]
    now: Serving = request.environ[SERVING]
    target = read_target(request.form.get("next"))
    try:
        value = access.begin_session(
            request.environ, request.form.get("token", ""), now.config.api.trusted_proxies
        )
    except RefusedError as refusal:
        return pages.show(
            "login.html",
            refusal.status,
            refusal.headers,
            target=target,
            fault=refusal.detail,
            needs_token=access.needs_token,
        )
    return see_other(target, sessions.set_cookie(value, is_secure=is_secure()))


def log_out() -> Answer:
    """End the session, in this browser and for every copy of its cookie."""
    access: Access = current_app.extensions["access"]
    ended = sessions.set_cookie("", is_secure=is_secure())
    try:
        access.end_session(request.environ)
    except RefusedError as refusal:
        return answer_problem(refusal.status, refusal.detail, [ended])
    return see_other(pages.LOGIN, ended)
