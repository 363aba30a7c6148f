"""The work with clients over HTTP: recorded by named users of the role work."""

import json
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from scripts.app import create_app
from scripts.core.config_file import read_config
from scripts.production import audit
from tests.support.clientele import CLIENTS, FIRST, put_clients, score, serve
from tests.support.service import answer_of, edit_config, problem_of

ADA, BOB, EVE = "ada-4711-of-the-tests", "bob-4711-of-the-tests", "eve-4711-of-the-tests"


@pytest.fixture
def service(config_path: Path) -> FlaskClient:
    """A service with four scored clients and three users: ada and bob work, and eve reads."""
    tokens = config_path.parent / "tokens"
    tokens.write_text(f"work ada {ADA}\nwork bob {BOB}\nread eve {EVE}\n")
    tokens.chmod(0o600)
    edit_config(config_path, api={"token_file": "tokens"})
    config = read_config(config_path)
    serve(config, FIRST)
    put_clients(config, CLIENTS)
    score(config)
    return create_app(config_path).test_client()


def bearer(token: str) -> dict[str, str]:
    """Return the header with a token."""
    return {"Authorization": f"Bearer {token}"}


def test_what_ada_records_bears_her_name(service: FlaskClient) -> None:
    body = {"entries": [{"client": "x", "result": "saved", "note": "a year"}]}

    recorded = answer_of(service.post("/work", json=body, headers=bearer(ADA)))

    assert recorded["n_recorded"] == 1
    assert recorded["clients"]["x"]["contacted_by"] == "ada"
    details = answer_of(service.get("/clients/x", headers=bearer(EVE)))
    assert details["work"]["result"] == "saved"
    assert {entry["actor"] for entry in details["work_history"]} == {"ada"}
    page = answer_of(service.get("/worklist", headers=bearer(EVE)))
    assert [entry["client"] for entry in page["clients"]] == ["y", "z", "b", "x"]
    assert page["n_away"] == 1
    assert answer_of(service.get("/work?limit=1", headers=bearer(EVE)))["next_offset"] == 1
    lines = service.get("/worklist.csv", headers=bearer(EVE)).text.splitlines()
    assert ",ada,saved,a year," in lines[-1]


def test_a_file_of_results_is_recorded_whole_or_not_at_all(service: FlaskClient) -> None:
    good, wrong = b"client,result\nx,saved\ny,lost\n", b"client,result\nx,saved\nq,lost\n"

    refused = problem_of(service.post("/work.csv", data=wrong, headers=bearer(ADA)), 422)
    recorded = answer_of(service.post("/work.csv", data=good, headers=bearer(ADA)))
    again = answer_of(service.post("/work.csv", data=good, headers=bearer(ADA)))

    assert "entry 2: No client 'q' was scored." in refused["detail"]
    assert (recorded["n_recorded"], again["n_recorded"], again["n_known"]) == (2, 0, 2)


def test_only_the_role_work_records(service: FlaskClient) -> None:
    body = {"entries": [{"client": "x", "result": "saved"}]}

    for path in ("/work", "/work.csv", "/dashboard/client", "/dashboard/results"):
        assert service.post(path, json=body).status_code == 401
        problem = problem_of(service.post(path, json=body, headers=bearer(EVE)), 403)
        assert "has the role read" in problem["detail"]


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("{}", "missing required field `entries`"),
        ('{"entries": []}', "length >= 1"),
        ('{"entries": [{"client": "x", "results": "saved"}]}', "unknown field"),
        ('{"entries": [{"client": "x", "result": 1}]}', "Expected `str"),
        ('{"entries": [{"client": "x", "result": "won"}]}', "expected reached, not reached"),
        ("[" * 10_000, "Expected"),
        ("\udc00", "Expected"),
    ],
)
def test_a_body_that_cannot_be_right_is_refused(
    service: FlaskClient, body: str, complaint: str
) -> None:
    sent = body.encode("utf-8", "surrogatepass")

    problem = problem_of(service.post("/work", data=sent, headers=bearer(ADA)), 422)

    assert complaint in problem["detail"]


def test_a_conflict_is_told_with_the_one_who_was_first(service: FlaskClient) -> None:
    first = {"entries": [{"client": "x", "assigned_to": "bob", "seen": 0}]}
    second = {"entries": [{"client": "x", "assigned_to": "ada", "seen": 0}]}
    answer_of(service.post("/work", json=first, headers=bearer(BOB)))

    problem = problem_of(service.post("/work", json=second, headers=bearer(ADA)), 409)

    assert "bob has assigned x to bob" in problem["detail"]


def test_the_form_of_the_page_records_and_keeps_what_was_typed(service: FlaskClient) -> None:
    service.post("/login", data={"token": ADA})
    same = {"Sec-Fetch-Site": "same-origin"}
    form = {"form": "contact", "name": "x", "seen": "0", "note": "call again"}

    refused = service.post("/dashboard/client", data=form, headers=same)
    sent = service.post("/dashboard/client", data=form | {"result": "reached"}, headers=same)

    assert refused.status_code == 422
    assert "Choose what came of the contact" in refused.text
    assert ">call again</textarea>" in refused.text
    assert sent.status_code == 303
    shown = service.get(sent.headers["Location"]).text
    assert "Recorded." in shown
    assert "<b>reached</b>" in shown
    known = service.post("/dashboard/client", data=form | {"result": "reached"}, headers=same)
    assert known.headers["Location"].endswith("&saved=known#work")
    odd = service.post("/dashboard/client", data={"form": "x", "name": "x"}, headers=same)
    assert odd.status_code == 422
    unknown = service.post("/dashboard/client", data=form | {"name": "q"}, headers=same)
    assert unknown.status_code == 404


def test_a_reader_sees_the_work_and_no_form(service: FlaskClient) -> None:
    body = {"entries": [{"client": "x", "result": "saved"}]}
    answer_of(service.post("/work", json=body, headers=bearer(ADA)))

    shown = service.get("/dashboard/client?name=x", headers=bearer(EVE)).text

    assert "<b>saved</b>" in shown
    assert "Record contact" not in shown
    assert "This session has the role read" in shown


def test_the_audit_has_the_work_without_the_clients_name(
    service: FlaskClient, config_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = {"entries": [{"client": "globex", "result": "saved", "note": "secret"}]}
    problem_of(service.post("/work", json=body, headers=bearer(ADA)), 422)
    body["entries"][0]["client"] = "x"
    answer_of(service.post("/work", json=body, headers=bearer(ADA)))
    capsys.readouterr()

    audit.write(read_config(config_path))

    printed = capsys.readouterr().out
    acts = [act for act in map(json.loads, printed.splitlines()) if act["act"] == "work"]
    assert [(act["actor"], act["kind"]) for act in acts] == [("ada", "contact"), ("ada", "snooze")]
    assert acts[0]["client"] == acts[1]["client"] != "x"
    assert "secret" not in printed
