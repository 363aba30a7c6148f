"""The HTTP request to a monitor of cron jobs, imported by `watchdog` only if needed."""

import urllib.request
from http.client import HTTPException

MOST_BYTES = 1024


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """A handler that fails at a redirect: the target is not the user's monitor."""

    def redirect_request(self, *_args: object, **_options: object) -> None:
        """Return None: no redirect is followed."""


def post(url: str, text: str, timeout_s: float) -> str:
    """Send a text and return "" or the failure, without the URL since a URL may be a secret."""
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
