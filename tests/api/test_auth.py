"""No route is open by accident."""

import http.client
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from scripts.api import auth, routing
from scripts.api.responses import RefusedError
from scripts.api.routes import STATIC
from scripts.api.tokens import Role, Tokens, User
from scripts.app import create_app
from scripts.core.errors import ConfigError
from tests.conftest import HEADER, make_rows
from tests.support.service import (
    ADMIN_TOKEN,
    ALL_ROUTES,
    METHODS,
    PATHS,
    TOKEN,
    WORK_TOKEN,
    answer_of,
    edit_config,
    open_path,
    problem_of,
    served,
    tree_hash,
)

WRONG_HEADERS = [
    None, "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer é",
    f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer \x00", f"Token {TOKEN}",
]  # fmt: skip

OPEN = (
    "/health", "/docs", "/docs/guide", "/docs/guide/{page}", "/docs/pictures/{file}", "/login",
    "/ping", "/v2/health/live", "/v2/health/ready",
)  # fmt: skip
# Open, too, and without such a page.
UNKNOWN = ("/static/", "/docs/guide/", "/docs/pictures/")


@pytest.fixture
def tireless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow any number of failed logins."""
    monkeypatch.setattr(auth, "MAX_FAILED_LOGINS", 10**9)


@pytest.mark.usefixtures("tireless")
@pytest.mark.parametrize("header", WRONG_HEADERS)
def test_no_route_is_open_without_the_token(guarded: FlaskClient, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    for path in PATHS:
        for method in METHODS:
            response = open_path(guarded, path, method, headers=headers)

            assert "Location" not in response.headers
            if method == "FOO":
                problem_of(response, 405)
            elif "//" in path:
                assert response.status_code == 400
                assert method == "HEAD" or "empty part" in problem_of(response, 400)["detail"]
            elif path.startswith(UNKNOWN) and method in ("GET", "HEAD", "OPTIONS"):
                assert response.status_code == (200 if method == "OPTIONS" else 404)
            elif path in OPEN and method in ("GET", "HEAD", "OPTIONS"):
                assert response.status_code == 200
            elif (method, path) == ("POST", "/login"):
                # Open, to be given the token.
                assert response.status_code == 401
            else:
                assert response.status_code == 401, (method, path)
                assert response.headers["WWW-Authenticate"].startswith("Bearer")
                assert method == "HEAD" or problem_of(response, 401)


# What each token may do, as a number; a session may what its token may.
RANKS = {None: 0, Role.READ: 1, Role.WORK: 2, Role.ADMIN: 3}
SENDERS = {
    "none": 0, "wrong": 0, "read": 1, "read session": 1, "work": 2, "work session": 2,
    "admin": 3, "admin session": 3,
}  # fmt: skip
SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda path: path,
    "absolute": lambda path: f"http://x{path}",
    "//": lambda path: f"/{path}",
    "///": lambda path: f"//{path}",
    "/%2f": lambda path: f"/%2f{path[1:]}",
    "absolute //": lambda path: f"http://x/{path}",
}
MORE_SPELLINGS: dict[str, Callable[[str], str]] = {
    "escaped": lambda path: path if path == "/" else f"/%{ord(path[1]):02x}{path[2:]}",
    "/%2F%2f": lambda path: f"/%2F%2f{path[1:]}",
    "at the end": lambda path: f"{path}/",
    "doubled within": lambda path: path.replace("/", "//"),
    "/.": lambda path: f"/.{path}",
    "/x/..": lambda path: f"/x/..{path}",
    ";": lambda path: f"{path};x",
    "%00": lambda path: f"{path}%00",
    "capitals": str.upper,
    "backslash": lambda path: path.replace("/", "/%5c"),
    "query": lambda path: f"{path}?/../dashboard/upload",
}
ASKED = ("GET", "HEAD", "OPTIONS", "POST", "DELETE", "post", "Post", "get", "FOO")
MORE_ASKED = ("PUT", "PATCH", "TRACE", "put", "oPTIONS", "head", "POST2", "Get", "M-SEARCH")
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="table"; filename="t.csv"\r\n\r\n%s\r\n--b--\r\n'
)
REFUSALS = (400, 401, 403, 405, 429)


@cache
def is_listed(method: str, path: str, rank: int) -> bool:
    """Return whether a route is listed for a method and a path, and open to the sender."""
    for route in (*ALL_ROUTES, STATIC):
        prefix, brace, rest = route.path.partition("{")
        suffix = rest.partition("}")[2]
        name = path[len(prefix) : len(path) - len(suffix)]
        # The name of a model has no slash: /v2/models/model/infer is no model.
        is_name = name != "" and not (rest.startswith("model}") and "/" in name)
        is_path = path.startswith(prefix) and path.endswith(suffix) and is_name
        is_path = is_path if brace else path == route.path
        is_method = method in {route.method, "OPTIONS", "HEAD" if route.method == "GET" else ""}
        if is_path and is_method and RANKS[route.role] <= rank:
            return True
    return False


class Asker:
    """Send requests as they are, with the tokens of every role, over a connection kept alive."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self.connection = connection
        self.cookie = ""
        self.n_asked = 0

    def ask(self, method: str, target: str, headers: dict[str, str], body: bytes = b"") -> int:
        """Send a request, again if the connection has ended, and return the status."""
        self.n_asked += 1
        for _ in range(2):
            try:
                self.connection.request(method, target, body, headers)
                with self.connection.getresponse() as response:
                    response.read()
                    self.cookie = (response.headers["Set-Cookie"] or "").partition(";")[0]
                    return response.status
            except (http.client.HTTPException, ConnectionError):
                self.connection.close()
        raise AssertionError((method, target))

    def headers_of(self, sender: str) -> dict[str, str]:
        """Make the headers of a sender, with a new session, since another may have ended."""
        token = {"read": TOKEN, "work": WORK_TOKEN, "admin": ADMIN_TOKEN}.get(
            sender.partition(" ")[0], "wrong"
        )
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        if sender == "none":
            return headers
        if not sender.endswith("session"):
            return headers | bearer(token)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert self.ask("POST", "/login", form, f"token={token}".encode()) == 303
        return headers | {"Cookie": self.cookie, "Sec-Fetch-Site": "same-origin"}


def check_table(
    asker: Asker, spellings: dict[str, Callable[[str], str]], methods: Iterable[str]
) -> Iterator[tuple[str, str, str, str, int]]:
    """Ask for every route in every spelling by every sender and method, and list the faults."""
    content = f"{HEADER}\n" + "\n".join(make_rows(3, seed=1)) + "\n"
    body = FORM % content.encode()
    for sender, rank in SENDERS.items():
        for path in dict.fromkeys(route.path for route in ALL_ROUTES):
            headers = asker.headers_of(sender)
            for name, spell in spellings.items():
                target = spell(path.replace("{", "").replace("}", ""))
                found = unquote(target.removeprefix("http://x").partition("?")[0])
                for method in methods:
                    if (method, found) == ("POST", "/dashboard/upload") and rank == 3:
                        continue
                    status = asker.ask(method, target, headers, body)
                    may = is_listed(method, found, rank)
                    is_odd = found.startswith("//")
                    if is_odd and method in routing.METHODS:
                        good = status == 400
                    elif may:
                        # The form of the login is open, and there is no token in it.
                        good = status not in REFUSALS or found in ("/login", "/logout")
                    else:
                        good = status in REFUSALS or (rank == 3 and status == 404)
                    if not good:
                        yield sender, name, method, target, status


@contextmanager
def served_with_roles(
    config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Asker, Path]]:
    """Serve with a token of each role, and return the sender and the folder of uploads."""
    monkeypatch.setenv("ADRAS_API_ADMIN_TOKEN", ADMIN_TOKEN)
    monkeypatch.setenv("ADRAS_API_WORK_TOKEN", WORK_TOKEN)
    with (
        served(config_path, token=TOKEN, access_log=False) as (url, _),
        closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)) as connection,
    ):
        yield Asker(connection), config_path.parent / "input"


def test_no_spelling_of_a_route_does_more_than_the_role_of_its_token(
    prod: Path, config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served_with_roles(config_path, monkeypatch) as (asker, folder):
        before = tree_hash(folder)
        wrong = list(check_table(asker, SPELLINGS, ASKED))

        assert wrong == []
        assert tree_hash(folder) == before
        assert asker.n_asked > 5_000


def test_the_role_admin_adds_what_the_others_may_not(
    prod: Path, config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = FORM % f"{HEADER}\nx,1,2,3,1\n".encode()
    with served_with_roles(config_path, monkeypatch) as (asker, folder):
        n_before = len(list(folder.iterdir()))
        statuses = {
            sender: asker.ask("POST", "/dashboard/upload", asker.headers_of(sender), body)
            for sender in SENDERS
        }

        assert statuses == {
            "none": 401, "wrong": 401, "read": 403, "read session": 403, "work": 403,
            "work session": 403, "admin": 201, "admin session": 201,
        }  # fmt: skip
        assert len(list(folder.iterdir())) == n_before + 2


@pytest.mark.campaign
def test_no_spelling_of_a_route_does_more_than_the_role_of_its_token_in_all_of_them(
    prod: Path,
    config_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with served_with_roles(config_path, monkeypatch) as (asker, folder):
        before = tree_hash(folder)
        wrong = list(check_table(asker, SPELLINGS | MORE_SPELLINGS, ASKED + MORE_ASKED))
        with capsys.disabled():
            print(f"\n{asker.n_asked} requests in every spelling, {len(wrong)} of them wrong")

        assert wrong == []
        assert tree_hash(folder) == before


def test_a_route_that_the_router_finds_and_the_table_does_not_is_refused(
    prod: Path, config_path: Path
) -> None:
    app = create_app(config_path)
    app.add_url_rule("/more", view_func=lambda: "more")

    problem_of(app.test_client().get("/more"), 404)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER "])
def test_the_token_opens_the_service(guarded: FlaskClient, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {TOKEN}"}

    assert answer_of(guarded.get("/score", headers=headers))["score"] == 0.75


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])
def test_other_machines_are_not_let_in_without_a_token(config_path: Path, host: str) -> None:
    edit_config(config_path, api={"host": host})

    with pytest.raises(ConfigError, match="Set ADRAS_API_TOKEN"):
        create_app(config_path)


def test_other_machines_are_let_in_with_a_token(
    config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADRAS_API_TOKEN", TOKEN)
    edit_config(config_path, api={"host": "0.0.0.0"})

    assert create_app(config_path)


def test_a_broken_config_stops_the_start(config_path: Path) -> None:
    config_path.write_text("{")

    with pytest.raises(ConfigError, match="is not JSON"):
        create_app(config_path)


def bearer(token: str, **more: str) -> dict[str, str]:
    """Make the headers of a login."""
    return {"Authorization": f"Bearer {token}"} | more


HERE, THERE = {"REMOTE_ADDR": "192.0.2.1"}, {"REMOTE_ADDR": "192.0.2.2"}


def ask(client: FlaskClient, token: str, place: dict[str, str] | None = None) -> TestResponse:
    """Ask with a token, from an address."""
    return client.get("/score", headers=bearer(token), environ_overrides=place or HERE)


def test_a_wrong_token_is_limited_per_address_and_the_right_one_always_passes(
    guarded: FlaskClient,
) -> None:
    for _ in range(auth.MAX_FAILED_LOGINS):
        assert ask(guarded, "wrong").status_code == 401
    blocked = ask(guarded, "wrong")

    problem_of(blocked, 429)
    assert 1 <= int(blocked.headers["Retry-After"]) <= auth.WINDOW_S
    assert guarded.get("/health", environ_overrides=HERE).status_code == 200
    assert answer_of(ask(guarded, TOKEN))
    assert ask(guarded, "wrong", THERE).status_code == 401


def test_somebody_else_behind_the_address_of_a_wrong_token_is_told_that_his_is_wrong(
    guarded: FlaskClient,
) -> None:
    for _ in range(3 * auth.MAX_FAILED_LOGINS):
        ask(guarded, "outdated")

    assert ask(guarded, "outdated").status_code == 429
    assert ask(guarded, "mistyped").status_code == 401


def test_guesses_are_limited_per_address_and_the_right_token_passes_among_them(
    guarded: FlaskClient,
) -> None:
    statuses = [ask(guarded, f"guess{number}").status_code for number in range(30)]

    assert statuses == [401] * auth.MAX_FAILED_LOGINS + [429] * (30 - auth.MAX_FAILED_LOGINS)
    assert ask(guarded, TOKEN).status_code == 200
    # That it is right is not to be seen in what wrong ones are answered.
    assert ask(guarded, f"{TOKEN}x").status_code == 429


def test_an_address_begins_anew_after_a_minute(
    guarded: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(auth.MAX_FAILED_LOGINS + 1):
        last = ask(guarded, "wrong")
    problem_of(last, 429)

    later = time.monotonic() + auth.WINDOW_S + 1
    monkeypatch.setattr("scripts.api.auth.time.monotonic", lambda: later)

    assert ask(guarded, "wrong").status_code == 401


def ask_from(url: str, source: str, token: str, forwarded: str = "") -> int:
    """Ask a server from an address of this machine, and return the status."""
    address = url.removeprefix("http://")
    with closing(
        http.client.HTTPConnection(address, timeout=10, source_address=(source, 0))
    ) as connection:
        headers = bearer(token) | ({"X-Forwarded-For": forwarded} if forwarded else {})
        connection.request("GET", "/score", headers=headers)
        return connection.getresponse().status


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_on_a_socket_of_ipv6_the_clients_of_ipv4_are_counted_and_believed_one_by_one(
    prod: Path, config_path: Path
) -> None:
    most = auth.MAX_FAILED_LOGINS
    with served(config_path, token=TOKEN, host="::", trusted_proxies=["127.0.0.9"]) as (url, _):
        first = [ask_from(url, "127.0.0.1", "wrong") for _ in range(most + 1)]
        others = [ask_from(url, f"127.0.0.{number}", "wrong") for number in range(2, 5)]
        right = ask_from(url, "127.0.0.1", TOKEN)
        # Each time from another port, as some proxies write it.
        proxied = [
            ask_from(url, "127.0.0.9", "wrong", f"198.51.100.7:{4000 + number}")
            for number in range(most + 1)
        ]
        neighbour = ask_from(url, "127.0.0.9", "wrong", "198.51.100.8:4000")

    assert first == proxied == [401] * most + [429]
    assert [*others, neighbour] == [401] * 4
    assert right == 200


def test_who_sends_no_token_is_not_counted(guarded: FlaskClient) -> None:
    for _ in range(3 * auth.MAX_FAILED_LOGINS):
        assert guarded.get("/score").status_code == 401

    assert guarded.get("/score", headers=bearer("wrong")).status_code == 401


@pytest.mark.parametrize(
    ("remote", "forwarded", "address"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        # Only a proxy of ours is believed, and only what it added itself.
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "6.6.6.6, 198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "6.6.6.6, 198.51.100.7, 10.0.0.1", "198.51.100.7"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", " , ", "127.0.0.1"),
        # A socket of IPv6 names IPv4 clients so.
        ("::ffff:192.0.2.1", "", "192.0.2.1"),
        ("::ffff:127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("::FFFF:7f00:1", "198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "6.6.6.6, ::ffff:198.51.100.7", "198.51.100.7"),
        # Some proxies write ports and brackets.
        ("127.0.0.1", "198.51.100.7:4711", "198.51.100.7"),
        ("127.0.0.1", "198.51.100.7:1, 10.0.0.1:2", "198.51.100.7"),
        ("127.0.0.1", "[2001:db8::7]", "2001:db8::7"),
        ("127.0.0.1", "[2001:DB8:0::7]:4711", "2001:db8::7"),
        ("127.0.0.1", "2001:db8::7, [2001:db8::1]:443", "2001:db8::7"),
        ("2001:db8:0::1", "198.51.100.7", "198.51.100.7"),
        ("fe80::1%eth0", "", "fe80::1"),
        # Whatever is no address counts as one client.
        ("127.0.0.1", "_hidden7", "unknown"),
        ("127.0.0.1", "1" * 10_000, "unknown"),
        ("", "", "unknown"),
    ],
)
def test_behind_a_proxy_the_last_address_that_is_none_of_ours_counts(
    remote: str, forwarded: str, address: str
) -> None:
    environ = {"REMOTE_ADDR": remote, "HTTP_X_FORWARDED_FOR": forwarded}

    proxies = ("127.0.0.1", "::ffff:10.0.0.1", "2001:DB8::1")
    assert auth.client_address(environ, proxies) == address


@pytest.mark.parametrize(
    ("address", "site"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_a_site_of_ipv6_counts_as_one_address(address: str, site: str) -> None:
    assert auth.site_of(address) == site


def test_a_flood_of_addresses_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "MAX_ADDRESSES", 100)
    failed = auth.FailedLogins()

    for number in range(1000):
        failed.count(f"192.0.{number // 250}.{number % 250}", b"wrong")
    for number in range(1000):
        failed.count("192.0.3.1", b"%d" % number)

    assert len(failed._windows) == 100
    assert len(failed._windows["192.0.3.1"].n_by_token) == auth.MAX_FAILED_LOGINS


def test_reading_is_not_changing() -> None:
    door = auth.Access(Tokens({User(Role.READ): b"aaa", User(Role.ADMIN): b"bbb"}))

    with pytest.raises(
        RefusedError, match="has the role read; .* wants the token of the role admin"
    ) as refused:
        door.check({"HTTP_AUTHORIZATION": "Bearer aaa"}, Role.ADMIN)
    door.check({"HTTP_AUTHORIZATION": "Bearer bbb"}, Role.ADMIN)
    door.check({"HTTP_AUTHORIZATION": "Bearer bbb"}, Role.READ)

    assert refused.value.status == 403


def test_the_role_work_is_between_reading_and_administration() -> None:
    door = auth.Access(Tokens({User(Role.WORK, "ada"): b"aaa"}))
    sent = {"HTTP_AUTHORIZATION": "Bearer aaa"}

    assert door.check(sent, Role.READ) == door.check(sent, Role.WORK) == User(Role.WORK, "ada")
    with pytest.raises(RefusedError, match="has the role work; .* of the role admin"):
        door.check(sent, Role.ADMIN)


def test_a_session_belongs_to_the_user_of_the_token() -> None:
    ada, bob = User(Role.WORK, "ada"), User(Role.WORK, "bob")
    door = auth.Access(Tokens({ada: b"a" * 20, bob: b"b" * 20, User(Role.WORK): b"c" * 20}))
    cookie = door.begin_session({}, "b" * 20)

    assert door.check({"HTTP_COOKIE": f"adras_session={cookie}"}, Role.WORK) == bob
    forged = cookie.replace("work:bob", "work:ada")
    with pytest.raises(RefusedError, match="Expected the header"):
        door.check({"HTTP_COOKIE": f"adras_session={forged}"}, Role.WORK)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "[::2]:80", "localhost.x"])
def test_without_a_token_a_name_of_no_loopback_is_refused(client: FlaskClient, host: str) -> None:
    response = client.get("/score", headers={"Host": host})

    assert "set ADRAS_API_TOKEN" in problem_of(response, 421)["detail"]


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:8000", "LOCALHOST:1"])
def test_names_of_this_machine_are_taken(client: FlaskClient, host: str) -> None:
    assert answer_of(client.get("/score", headers={"Host": host}))


def test_a_token_file_opens_the_service(config_path: Path) -> None:
    (config_path.parent / "tokens").write_text("read aaa-aaa-aaa-aaa-aaa\n")
    (config_path.parent / "tokens").chmod(0o600)
    edit_config(config_path, api={"host": "0.0.0.0", "token_file": "tokens"})
    client = create_app(config_path).test_client()

    assert client.get("/score").status_code == 401
    assert client.get("/score", headers=bearer("aaa-aaa-aaa-aaa-aaa")).status_code == 503
