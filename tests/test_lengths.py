"""The lengths that answers state are true: every route and status over a real, kept connection."""

import json
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.service import (
    ADMIN_TOKEN,
    ALL_ROUTES,
    DIAGNOSIS,
    GOOD,
    JSON,
    TOKEN,
    rows_body,
    served,
)

METHODS = ("GET", "HEAD", "POST", "DELETE", "OPTIONS")
ACCEPTS = ("text/html", JSON)
QUERIES = ("", "?band=foo", "?limit=x", "?client=nobody", "?run=1", "?next=/dashboard/runs")
PLACES = ("/dashboard/nothing", "/clients/nobody", "/charts/none.svg", "/charts/a-00000000.svg",
          "/static/pages.css", "/static/none", "//dashboard/upload")  # fmt: skip
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"
FILE = (
    b'--b\r\nContent-Disposition: form-data; name="table"; filename="a.csv"\r\n\r\n%s\r\n--b--\r\n'
)
ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
BODIES = (
    (JSON, rows_body(GOOD)),
    (JSON, b"{"),
    (JSON, b"x" * 3000),
    ("text/csv", b"a,a\n1,2\n"),
    ("text/plain", b"x"),
    (FORM, f"token={TOKEN}".encode()),
    (MULTIPART, FILE % b"a,b\n1,2\n"),
    (MULTIPART, FILE % b""),
)


class Kept:
    """A connection that is kept, and says so when it cannot be."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        self.connection = socket.create_connection((host, int(port)), timeout=10)
        self.stream = self.connection.makefile("rb")
        self.is_open = True

    def close(self) -> None:
        """Close it."""
        self.stream.close()
        self.connection.close()

    def ask(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> int:
        """Ask, read as many bytes as the answer says, and look whether they were all."""
        sent = headers | {"Host": "localhost", "Content-Length": str(len(body))}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {v}" for name, v in sent.items())]
        self.connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        status, told = self.read_head()
        place = (method, path, headers, status, told)
        length = int(told.get("content-length", "0"))
        is_empty = method == "HEAD" or status in (204, 304)
        content = b"" if is_empty else self.stream.read(length)
        assert is_empty or len(content) == length, place
        if told.get("content-type", "").startswith("text/html") and content:
            assert content.rstrip().endswith(b"</html>"), place
        if JSON in told.get("content-type", "") and content:
            json.loads(content)
        if told.get("connection") == "close":
            assert self.stream.read() == b"", place
            self.is_open = False
        return status

    def read_head(self) -> tuple[int, dict[str, str]]:
        """Read status and headers, without the rest of a body of a wrong length."""
        first = self.stream.readline()
        assert first.startswith(b"HTTP/1.1 "), first
        told = dict[str, str]()
        while line := self.stream.readline().decode().strip():
            name, _, value = line.partition(": ")
            told[name.lower()] = value
        return int(first.split()[1]), told


def questions() -> Iterator[tuple[str, str, dict[str, str], bytes]]:
    """Yield a request of every kind: each route, method and body, with and without a token."""
    paths = dict.fromkeys(r.path.replace("{", "").replace("}", "") for r in ALL_ROUTES)
    for path in (*paths, *PLACES):
        for accept in ACCEPTS:
            known = {"Accept": accept, "Authorization": f"Bearer {TOKEN}"}
            for method in METHODS:
                if (method, path) == ("POST", "/login"):
                    # Without a token it counts as a wrong one; those come last.
                    continue
                yield method, path, known, b""
                yield method, path, known | ADMIN, b""
                yield method, path, {"Accept": accept}, b""
            for query in QUERIES:
                yield "GET", path + query, known, b""
            for kind, body in BODIES if path != "/login" else ():
                yield "POST", path, known | {"Content-Type": kind}, body
    yield "POST", "/login", {"Content-Type": FORM, "Origin": "http://elsewhere"}, b"token=x"
    # More wrong tokens than an address may send.
    for kind, body in (*BODIES, *[(FORM, b"token=wrong")] * 10):
        for accept in ACCEPTS:
            yield "POST", "/login", {"Accept": accept, "Content-Type": kind}, body


def test_every_answer_is_as_long_as_it_says_on_a_kept_connection(
    prod: Path,
    config_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ADRAS_API_ADMIN_TOKEN", ADMIN_TOKEN)
    (prod / "diagnostics.json").write_text(json.dumps(DIAGNOSIS))
    statuses: Counter[int] = Counter()
    n_opened = 0
    with served(config_path, TOKEN, max_body_bytes=2000) as (url, _):
        kept = None
        for method, path, headers, body in questions():
            if kept is None or not kept.is_open:
                n_opened += 1
                kept = Kept(url)
            statuses[kept.ask(method, path, headers, body)] += 1
        assert kept is not None
        with closing(kept):
            assert kept.ask("GET", "/health", {}) == 200

    print(f"{statuses.total()} answers over {n_opened} connections: {dict(statuses)}")
    assert {200, 303, 400, 401, 403, 404, 405, 413, 415, 422, 429, 503} <= set(statuses)
    assert n_opened < 50
