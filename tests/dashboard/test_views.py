"""Logging in and out: the cookie of a session, what ends it, and whose forms are taken."""

import hashlib
import re
import stat
import threading
import time
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from itsdangerous import TimestampSigner
from werkzeug.test import TestResponse

from scripts.api import auth, sessions
from scripts.api.sessions import COOKIE, LIFETIME_S, Sessions
from scripts.api.tokens import Role, Tokens, User
from scripts.app import create_app
from scripts.dashboard import views
from tests.support.service import ADMIN_TOKEN, TOKEN, edit_config, problem_of

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
OURS = {"Sec-Fetch-Site": "same-origin"}


def log_in(client: FlaskClient, token: str = TOKEN, **fields: str) -> TestResponse:
    """Send the form of the login."""
    return client.post("/login", data={"token": token, **fields}, headers=BROWSER | OURS)


def cookie_of(response: TestResponse) -> str:
    """Read the header that sets the cookie."""
    return response.headers["Set-Cookie"]


def test_a_browser_without_a_session_is_sent_to_the_login_and_back(guarded: FlaskClient) -> None:
    sent = guarded.get("/dashboard/client?name=%C3%BC%20%26", headers=BROWSER)

    assert sent.status_code == 303
    target = sent.headers["Location"]
    assert target == "/login?next=%2Fdashboard%2Fclient%3Fname%3D%25C3%25BC%2520%2526"
    page = guarded.get(target, headers=BROWSER).text
    (hidden,) = re.findall(r'name="next" value="([^"]*)"', page)
    assert log_in(guarded, next=hidden).headers["Location"] == (
        "/dashboard/client?name=%C3%BC%20%26"
    )


def test_a_program_without_a_token_gets_a_problem_document(guarded: FlaskClient) -> None:
    problem_of(guarded.get("/"), 401)


def test_the_token_begins_a_session_that_opens_pages_and_answers(guarded: FlaskClient) -> None:
    response = log_in(guarded)

    assert (response.status_code, response.headers["Location"]) == (303, "/")
    assert guarded.get("/", headers=BROWSER).status_code == 200
    assert guarded.get("/score").status_code == 200


def test_the_cookie_is_for_this_service_only_and_holds_no_token(guarded: FlaskClient) -> None:
    cookie = cookie_of(log_in(guarded))

    parts = cookie.split("; ")
    assert parts[0].startswith(f"{COOKIE}=read.")
    assert set(parts[1:]) == {"HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={LIFETIME_S}"} | {
        part for part in parts if part.startswith("Expires=")
    }
    assert TOKEN not in cookie


def test_behind_a_proxy_with_https_the_cookie_comes_by_https_only(
    guarded: FlaskClient, config_path: Path
) -> None:
    edit_config(config_path, api={"trusted_proxies": ["127.0.0.1"]})
    headers = BROWSER | OURS | {"X-Forwarded-Proto": "https"}

    trusted = guarded.post("/login", data={"token": TOKEN}, headers=headers)
    edit_config(config_path, api={})
    stranger = guarded.post("/login", data={"token": TOKEN}, headers=headers)

    assert "Secure" in cookie_of(trusted).split("; ")
    assert "Secure" not in cookie_of(stranger).split("; ")


def test_logging_out_ends_the_session(guarded: FlaskClient) -> None:
    log_in(guarded)

    response = guarded.post("/logout", headers=BROWSER | OURS)

    assert response.headers["Location"] == "/login"
    assert "Max-Age=0" in cookie_of(response)
    assert guarded.get("/score").status_code == 401


@pytest.mark.parametrize("token", ["", "wrong", f"{TOKEN}x", "é", "\x00", "a" * 5000])
def test_a_wrong_token_is_said_on_the_page_and_counts_as_failed(
    guarded: FlaskClient, token: str
) -> None:
    for _ in range(auth.MAX_FAILED_LOGINS):
        response = log_in(guarded, token)
        assert response.status_code == 401
        assert "This is not the token" in response.text
        assert "Set-Cookie" not in response.headers

    assert log_in(guarded, token).status_code == 429
    assert log_in(guarded).status_code == 303


def test_failed_logins_of_others_do_not_end_a_session(guarded: FlaskClient) -> None:
    log_in(guarded)
    for _ in range(auth.MAX_FAILED_LOGINS):
        log_in(guarded, "wrong")

    assert guarded.get("/score").status_code == 200


def test_a_session_survives_a_restart_and_ends_with_the_token(
    guarded: FlaskClient, config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = cookie_of(log_in(guarded)).partition(";")[0]
    again = create_app(config_path).test_client(use_cookies=False)
    monkeypatch.setenv("ADRAS_API_TOKEN", f"{TOKEN}-new")
    changed = create_app(config_path).test_client(use_cookies=False)

    assert again.get("/score", headers={"Cookie": value}).status_code == 200
    assert changed.get("/score", headers={"Cookie": value}).status_code == 401


def test_a_session_ends_after_twelve_hours(
    guarded: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(guarded)
    began_s = time.time()

    monkeypatch.setattr("itsdangerous.timed.time.time", lambda: began_s + LIFETIME_S - 60)
    before = guarded.get("/score").status_code
    monkeypatch.setattr("itsdangerous.timed.time.time", lambda: began_s + LIFETIME_S + 60)

    assert (before, guarded.get("/score").status_code) == (200, 401)


def make_cookies() -> list[str]:
    """Make cookies that must open nothing."""
    good = Sessions(Tokens({User(Role.READ): TOKEN.encode()})).begin(User(Role.READ))
    other = Sessions(Tokens({User(Role.READ): b"another"})).begin(User(Role.READ))
    role, name, at, signature = good.split(".")
    nameless = TimestampSigner(
        hashlib.pbkdf2_hmac("sha256", TOKEN.encode(), sessions.SALT, sessions.N_ITERATIONS),
        salt=sessions.SALT,
        digest_method=hashlib.sha256,
    )
    return [
        "", "read", "read.", "read..", "admin", other, f"{role}.{at}", f"{role}.{at}.", good[:-1],
        f"admin.{name}.{at}.{signature}", f"{role}.{name}.{at}x.{signature}",
        f"{role}.{name}.zzzz.{signature}", f"{role}.{at}.{signature}",
        f"{role}.{name[::-1]}.{at}.{signature}", signature, "é", "a" * 4000,
        f"{role}.{name}.{at}.{signature[::-1]}", good.upper(),
        # As earlier versions made them.
        nameless.sign("read").decode(),
    ]  # fmt: skip


def test_a_cookie_that_was_not_signed_here_opens_nothing(guarded: FlaskClient) -> None:
    for value in make_cookies():
        headers = {"Cookie": f"{COOKIE}={value}"}

        assert guarded.get("/score", headers=headers).status_code == 401, value
        assert guarded.get("/", headers=headers | BROWSER).status_code == 303, value


@pytest.mark.parametrize(
    "target",
    ["", "https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)",
     "evil", "/\n/evil", "http:/evil", "/é", "\\\\evil", "http://[", "//[", "[", "http://[::1"],
)  # fmt: skip
def test_after_the_login_nobody_is_sent_elsewhere(guarded: FlaskClient, target: str) -> None:
    page = guarded.get("/login", query_string={"next": target})

    assert page.status_code == 200
    assert 'name="next" value="/"' in page.text
    assert log_in(guarded, next=target).headers["Location"] == "/"


def cookie_header(response: TestResponse) -> dict[str, str]:
    """Copy the cookie of a login, as somebody who stole it would."""
    return {"Cookie": cookie_of(response).partition(";")[0]}


def make_client(config_path: Path) -> FlaskClient:
    """Start the service anew, or another process of the service, with a client without cookies."""
    return create_app(config_path).test_client(use_cookies=False)


def test_after_logging_out_a_copy_of_the_cookie_opens_nothing_in_any_process(
    guarded: FlaskClient, config_path: Path
) -> None:
    copied, other = cookie_header(log_in(guarded)), make_client(config_path)
    assert other.get("/score", headers=copied).status_code == 200

    guarded.post("/logout", headers=BROWSER | OURS)

    for client in (guarded, other, make_client(config_path)):
        assert client.get("/score", headers=copied).status_code == 401
        assert client.get("/", headers=copied | BROWSER).status_code == 303
    assert other.post("/logout", headers=copied | OURS).status_code == 401


def test_logging_out_ends_no_other_session(guarded: FlaskClient, config_path: Path) -> None:
    client = make_client(config_path)
    first, second = (cookie_header(log_in(client)) for _ in range(2))

    client.post("/logout", headers=first | OURS)

    assert client.get("/score", headers=first).status_code == 401
    assert client.get("/score", headers=second).status_code == 200


def test_the_list_of_ended_sessions_is_for_its_owner_only_and_forgets(
    guarded: FlaskClient, prod: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def log_out_once() -> set[str]:
        log_in(guarded)
        guarded.post("/logout", headers=BROWSER | OURS)
        return {path.name for path in folder.iterdir()}

    folder = prod / sessions.FOLDER
    first = log_out_once()
    later_s = time.time() + LIFETIME_S - 60
    monkeypatch.setattr("time.time", lambda: later_s)
    second = log_out_once()
    monkeypatch.setattr("time.time", lambda: later_s + 120)
    third = log_out_once()

    assert [len(first), len(second), len(third)] == [1, 2, 2]
    assert first < second
    assert not first & third
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.lstat().st_mode) for path in folder.iterdir()} == {0o600}
    assert not [path for path in folder.iterdir() if path.read_bytes()]


def test_an_end_that_cannot_be_noted_is_said_and_holds_in_this_process(
    guarded: FlaskClient, prod: Path
) -> None:
    copied = cookie_header(log_in(guarded))
    (prod / sessions.FOLDER).write_text("no folder")

    response = guarded.post("/logout", headers=BROWSER | OURS)

    assert response.status_code == 503
    assert "could not be noted" in response.text
    assert "Max-Age=0" in cookie_of(response)
    assert guarded.get("/score", headers=copied).status_code == 401


def test_a_disk_that_hangs_refuses_sessions_and_holds_nobody_else_up(
    guarded: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = cookie_header(log_in(guarded))
    hanging = threading.Event()
    monkeypatch.setattr(Path, "lstat", lambda _: hanging.wait(10))
    started_s = time.monotonic()

    refused = [guarded.get("/score", headers=copied) for _ in range(20)]
    answered = guarded.get("/score", headers={"Authorization": f"Bearer {TOKEN}"})
    duration_s = time.monotonic() - started_s
    hanging.set()

    assert "the disk hangs" in problem_of(refused[-1], 503)["detail"]
    assert {response.status_code for response in refused} == {503}
    assert answered.status_code == 200
    assert duration_s < 2


FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": ""},
    {"Origin": "http://localhost.evil.example"}, {"Origin": "http://localhost:81"},
]  # fmt: skip


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize("path", ["/login", "/logout", "/dashboard/upload", "/dashboard/rank"])
def test_a_form_of_another_site_is_refused(
    client: FlaskClient, guarded: FlaskClient, path: str, headers: dict[str, str]
) -> None:
    log_in(guarded)

    for asked in (client, guarded):
        refused = asked.post(path, data={"token": TOKEN}, headers=headers)
        assert "page of another site" in problem_of(refused, 403)["detail"]


@pytest.mark.parametrize(
    "headers", [OURS, {"Sec-Fetch-Site": "none"}, {"Origin": "http://localhost"}]
)
def test_a_form_of_this_site_is_taken(guarded: FlaskClient, headers: dict[str, str]) -> None:
    assert guarded.post("/login", data={"token": TOKEN}, headers=headers).status_code == 303


def test_a_session_without_a_sign_of_its_page_changes_nothing(guarded: FlaskClient) -> None:
    log_in(guarded)

    problem_of(guarded.post("/logout"), 403)


def test_reading_does_not_allow_adding(
    prod: Path, config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADRAS_API_TOKEN", TOKEN)
    monkeypatch.setenv("ADRAS_API_ADMIN_TOKEN", ADMIN_TOKEN)
    client = create_app(config_path).test_client()

    log_in(client)
    reader = client.get("/dashboard/upload", headers=BROWSER)
    refused = client.post("/dashboard/upload", headers=BROWSER | OURS)
    log_in(client, ADMIN_TOKEN)
    allowed = client.post("/dashboard/upload", headers=BROWSER | OURS)

    assert "This session has the role read" in reader.text
    assert (refused.status_code, allowed.status_code) == (403, 422)
    assert "Role: admin" in allowed.text


def test_without_a_token_there_is_nothing_to_log_in_to(client: FlaskClient) -> None:
    assert "no token set" in client.get("/login").text
    assert log_in(client).status_code == 401


def test_the_key_is_derived_once() -> None:
    made = Sessions(Tokens({User(Role.READ): b"a"}))

    assert made._signer(User(Role.READ)) is made._signer(User(Role.READ))


@pytest.mark.parametrize(("value", "age_s"), [("x", LIFETIME_S), ("", 0)])
def test_the_header_of_a_cookie_says_how_long(value: str, age_s: int) -> None:
    name, spelled = sessions.set_cookie(value, is_secure=True)

    assert name == "Set-Cookie"
    assert f"Max-Age={age_s}" in spelled
    assert "Secure" in spelled


def test_a_target_of_this_service_is_kept() -> None:
    assert views.read_target("/dashboard/runs?offset=25") == "/dashboard/runs?offset=25"
