"""The request to a monitor of cron jobs, apart from `heartbeat` since it brings Python's HTTP."""

import urllib.request
from http.client import HTTPException

MOST_BYTES = 1024


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """A handler that fails at a redirect, whose target is no monitor of the user's."""

    def redirect_request(self, *_args: object, **_options: object) -> None:
        """Follow nothing."""


def post(url: str, text: str, timeout_s: float) -> str:
    """Send a text; return "" or why it failed, without the URL, which is a secret of its own."""
    try:
        request = urllib.request.Request(url, data=text.encode(), method="POST")  # noqa: S310 - config checks the scheme
        request.add_header("Content-Type", "text/plain; charset=utf-8")
        with urllib.request.build_opener(NoRedirects).open(request, timeout=timeout_s) as answer:
            answer.read(MOST_BYTES)
    except OSError as error:
        return f"{type(error).__name__}: {error}"
    except (HTTPException, ValueError) as error:
        return type(error).__name__
    return ""
