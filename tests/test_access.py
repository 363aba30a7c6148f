"""No route is open by accident."""

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from scripts import access
from scripts.app import create_app
from scripts.errors import ConfigError
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
                assert response.status_code == 404
            elif path == "/health" and method in ("GET", "HEAD", "OPTIONS"):
                assert response.status_code == 200
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
