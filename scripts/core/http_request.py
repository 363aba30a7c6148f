"""A single HTTP request to a receiver named by the user."""

import base64
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit, urlunsplit

MOST_BYTES = 1024


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """A handler that fails at a redirect: the target is not the user's receiver."""

    def redirect_request(self, *_args: object, **_options: object) -> None:
        """Return None: no redirect is followed."""


def make_request(
    url: str, body: bytes, content_type: str, headers: Mapping[str, str]
) -> urllib.request.Request:
    """Return a request, with the name and password of the URL in a header."""
    parts = urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    url = urlunsplit(parts._replace(netloc=host))
    request = urllib.request.Request(url, data=body, method="POST")  # noqa: S310 - config checks the scheme
    request.add_header("Content-Type", content_type)
    for name, value in headers.items():
        request.add_header(name, value)
    if login:
        basic = base64.b64encode(unquote(login).encode()).decode()
        request.add_header("Authorization", f"Basic {basic}")
    return request


def describe(error: OSError) -> str:
    """Return a failure in words, without the URL since a URL may be a secret."""
    if isinstance(error, HTTPError):
        error.close()
        return f"it answered {error.code}"
    reason = error.reason if isinstance(error, URLError) else error
    return f"{type(reason).__name__}: {reason}" if isinstance(reason, OSError) else str(reason)


def post(
    url: str, body: bytes, content_type: str, timeout_s: float, headers: Mapping[str, str]
) -> str:
    """Send a body and return "" or the failure, without the URL."""
    try:
        request = make_request(url, body, content_type, headers)
        with urllib.request.build_opener(NoRedirects).open(request, timeout=timeout_s) as answer:
            answer.read(MOST_BYTES)
    except OSError as error:
        return describe(error)
    except (HTTPException, OverflowError, ValueError) as error:
        return type(error).__name__
    return ""
