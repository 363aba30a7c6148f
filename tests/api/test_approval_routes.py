"""The candidate that waits, decided on by the API and the page."""

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from scripts.app import create_app
from scripts.core import files
from scripts.core.config import Config
from tests.production.test_approval import WHY, candidates, history, serving, template, waiting
from tests.support.service import ADMIN_TOKEN, TOKEN, answer_of, problem_of

__all__ = ["template", "waiting"]
PAGE = {"Accept": "text/html", "Origin": "http://localhost"}


@pytest.fixture
def service(waiting: Config) -> FlaskClient:
    """A service without a token, beside a candidate that waits."""
    return create_app(waiting.prod_deployment_path.parent / "config.json").test_client()


def test_the_api_shows_the_candidate_with_its_evidence(
    service: FlaskClient,
    waiting: Config,
) -> None:
    found = answer_of(service.get("/candidate"))

    assert found["release"] is None
    assert found["candidate"]["release"] == candidates(waiting)[0]
    assert (found["candidate"]["run_id"], found["candidate"]["n_test_rows"]) == (1, 80)
    assert found["candidate"]["reason"].startswith("nothing was in production before")


def test_the_api_approves_the_named_candidate_which_serves_at_once(
    service: FlaskClient,
    waiting: Config,
) -> None:
    (name,) = candidates(waiting)

    found = answer_of(service.post("/candidate/approve", json={"release": name, "reason": WHY}))

    assert found == {"candidate": None, "release": name}
    assert serving(waiting) == name
    assert answer_of(service.get("/score"))["release"] == name
    assert history(waiting)[-1] == ("approved", "the API, without a name")


def test_the_api_refuses_to_decide_on_another_candidate_than_the_one_that_waits(
    service: FlaskClient,
    waiting: Config,
) -> None:
    body = {"release": "0009_20260131T060000000000Z", "reason": WHY}

    problem = problem_of(service.post("/candidate/approve", json=body), 409)

    assert "does not wait for approval" in problem["detail"]
    assert serving(waiting) is None


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"release": "1", "reason": " "}', b'{"release": 1}', b"\xff"]
)
def test_the_api_refuses_a_decision_without_a_reason(service: FlaskClient, body: bytes) -> None:
    assert problem_of(service.post("/candidate/reject", data=body), 422)


def test_the_api_refuses_to_decide_while_a_run_is_at_work(
    service: FlaskClient,
    waiting: Config,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(files, "LOCK_WAIT_S", 0.1)
    body = {"release": candidates(waiting)[0], "reason": WHY}

    with files.exclusive_lock(waiting.prod_deployment_path):
        problem = problem_of(service.post("/candidate/approve", json=body), 503)

    assert "A run is at work" in problem["detail"]


def test_only_the_role_admin_decides(
    waiting: Config,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ADRAS_API_TOKEN", TOKEN)
    monkeypatch.setenv("ADRAS_API_ADMIN_TOKEN", ADMIN_TOKEN)
    path: Path = waiting.prod_deployment_path.parent / "config.json"
    service, body = create_app(path).test_client(), {"release": "1", "reason": WHY}

    def decide(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return service.post("/candidate/reject", json=body, headers=headers).status_code

    assert (decide(TOKEN), decide(ADMIN_TOKEN)) == (403, 200)
    assert history(waiting)[-1] == ("rejected", "the API, role admin")


def test_the_page_shows_the_candidate_and_the_form_approves_it(
    service: FlaskClient,
    waiting: Config,
) -> None:
    (name,) = candidates(waiting)
    shown = service.get("/dashboard/candidate", headers=PAGE).get_data(as_text=True)
    form = {"release": name, "reason": WHY, "answer": "approve"}

    response = service.post("/dashboard/candidate", data=form, headers=PAGE)

    assert f'value="{name}"' in shown
    assert response.status_code == 200
    assert f"Release {name} serves now." in response.get_data(as_text=True)
    assert serving(waiting) == name


def test_the_page_rejects_and_says_what_is_missing(
    service: FlaskClient,
    waiting: Config,
) -> None:
    (name,) = candidates(waiting)
    form = {"release": name, "reason": "", "answer": "reject"}

    refused = service.post("/dashboard/candidate", data=form, headers=PAGE)
    rejected = service.post("/dashboard/candidate", data=form | {"reason": WHY}, headers=PAGE)

    assert refused.status_code == 422
    assert "Expected a reason" in refused.get_data(as_text=True)
    assert "is rejected" in rejected.get_data(as_text=True)
    assert history(waiting)[-1][0] == "rejected"


@pytest.mark.parametrize("path", ["/", "/dashboard/models"])
def test_the_pages_say_that_a_candidate_waits(service: FlaskClient, path: str) -> None:
    assert "waits for approval" in service.get(path, headers=PAGE).get_data(as_text=True)
