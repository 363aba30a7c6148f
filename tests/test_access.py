"""No route is open by accident."""

import time
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from scripts import access
from scripts.answers import RefusedError
from scripts.app import create_app
from scripts.errors import ConfigError
from scripts.tokens import Role, Tokens
from tests.service import (
    METHODS,
    PATHS,
    TOKEN,
    answer_of,
    edit_config,
    open_path,
    problem_of,
)

WRONG_HEADERS = [
    None, "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer é",
    f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer \x00", f"Token {TOKEN}",
]  # fmt: skip

OPEN = ("/health", "/docs", "/login", "/ping", "/v2/health/live", "/v2/health/ready")


@pytest.fixture
def tireless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take any number of failed logins."""
    monkeypatch.setattr(access, "MAX_FAILED_LOGINS", 10**9)


@pytest.mark.usefixtures("tireless")
@pytest.mark.parametrize("header", WRONG_HEADERS)
def test_no_route_is_open_without_the_token(guarded: FlaskClient, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    for path in PATHS:
        for method in METHODS:
            response = open_path(guarded, path, method, headers=headers)

            assert "Location" not in response.headers
            if path.startswith("/static/") and method in ("GET", "HEAD", "OPTIONS"):
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


def test_failed_logins_of_an_address_are_limited_and_those_of_others_not(
    guarded: FlaskClient,
) -> None:
    here, there = {"REMOTE_ADDR": "192.0.2.1"}, {"REMOTE_ADDR": "192.0.2.2"}

    for _ in range(access.MAX_FAILED_LOGINS):
        wrong = guarded.get("/score", headers=bearer("wrong"), environ_overrides=here)
        assert wrong.status_code == 401
    blocked = guarded.get("/score", headers=bearer(TOKEN), environ_overrides=here)

    problem_of(blocked, 429)
    assert 1 <= int(blocked.headers["Retry-After"]) <= access.WINDOW_S
    assert guarded.get("/health", environ_overrides=here).status_code == 200
    assert answer_of(guarded.get("/score", headers=bearer(TOKEN), environ_overrides=there))


def test_an_address_begins_anew_after_a_minute(
    guarded: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(access.MAX_FAILED_LOGINS):
        guarded.get("/score", headers=bearer("wrong"))
    problem_of(guarded.get("/score", headers=bearer(TOKEN)), 429)

    later = time.monotonic() + access.WINDOW_S + 1
    monkeypatch.setattr("scripts.access.time.monotonic", lambda: later)

    assert answer_of(guarded.get("/score", headers=bearer(TOKEN)))


def test_who_sends_no_token_is_not_counted(guarded: FlaskClient) -> None:
    for _ in range(3 * access.MAX_FAILED_LOGINS):
        assert guarded.get("/score").status_code == 401

    assert answer_of(guarded.get("/score", headers=bearer(TOKEN)))


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
    ],
)
def test_behind_a_proxy_the_last_address_that_is_none_of_ours_counts(
    remote: str, forwarded: str, address: str
) -> None:
    environ = {"REMOTE_ADDR": remote, "HTTP_X_FORWARDED_FOR": forwarded}

    assert access.client_address(environ, ("127.0.0.1", "10.0.0.1")) == address


@pytest.mark.parametrize(
    ("address", "site"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
    ],
)
def test_a_site_of_ipv6_counts_as_one_address(address: str, site: str) -> None:
    assert access.site_of(address) == site


def test_a_flood_of_addresses_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "MAX_ADDRESSES", 100)
    failed = access.FailedLogins()

    for number in range(1000):
        failed.count(f"192.0.2.{number}")

    assert len(failed._windows) == 100


def test_reading_is_not_changing() -> None:
    door = access.Access(Tokens({Role.READ: b"aaa", Role.ADMIN: b"bbb"}))

    with pytest.raises(RefusedError, match="may read only") as refused:
        door.check({"HTTP_AUTHORIZATION": "Bearer aaa"}, Role.ADMIN)
    door.check({"HTTP_AUTHORIZATION": "Bearer bbb"}, Role.ADMIN)
    door.check({"HTTP_AUTHORIZATION": "Bearer bbb"}, Role.READ)

    assert refused.value.status == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "[::2]:80", "localhost.x"])
def test_without_a_token_a_name_of_no_loopback_is_refused(client: FlaskClient, host: str) -> None:
    response = client.get("/score", headers={"Host": host})

    assert "set ADRAS_API_TOKEN" in problem_of(response, 421)["detail"]


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:8000", "LOCALHOST:1"])
def test_names_of_this_machine_are_taken(client: FlaskClient, host: str) -> None:
    assert answer_of(client.get("/score", headers={"Host": host}))


def test_a_token_file_opens_the_service(config_path: Path) -> None:
    (config_path.parent / "tokens").write_text("read aaa\n")
    (config_path.parent / "tokens").chmod(0o600)
    edit_config(config_path, api={"host": "0.0.0.0", "token_file": "tokens"})
    client = create_app(config_path).test_client()

    assert client.get("/score").status_code == 401
    assert client.get("/score", headers=bearer("aaa")).status_code == 503
