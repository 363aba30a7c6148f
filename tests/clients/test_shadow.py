"""A candidate beside production on today's clients and on logged requests."""

import json
import math
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient
from pypdf import PdfReader
from sqlalchemy.engine import Engine

from scripts import diagnostics, fullprocess, ingestion, promotion
from scripts.app import create_app
from scripts.clients import holdout, shadow, todays_clients
from scripts.core.config import Config, CostSettings, Schema
from scripts.core.errors import DatasetError
from scripts.model.logistic_model import Model
from scripts.pipeline import steps
from scripts.production import approval, audit, shadow_types
from scripts.production.run_context import RunContext
from scripts.production.shadow_types import ShadowClient, ShadowComparison
from scripts.records import (
    approvals,
    database,
    erasing,
    predictions,
    run_details,
    runs,
    shadows,
    tables,
)
from scripts.records.run_details import ReleaseHistory
from scripts.records.tables import ApprovalState, ShadowKind, Verdict
from scripts.reports import pdf_report
from scripts.reports.pdf_pages import PdfLayout
from tests.conftest import make_rows, write_csv, write_installation
from tests.production.test_approval import let_a_person_approve
from tests.support.clientele import CLIENTS, FIRST, ask, put_clients, serve, with_typical
from tests.support.service import answer_of, edit_config, make_model, problem_of

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ROW = {
    "candidate_probability": 0.5, "production_probability": 0.25, "candidate_position": 1,
    "production_position": 2, "reasons": [],
}  # fmt: skip


def make_reversed() -> Model:
    """Return a candidate for which activity is bad: odds of a third, one and three."""
    made = with_typical(make_model(-math.log(3)))
    term = msgspec.structs.replace(made.numeric[0], coefficient=math.log(3))
    return msgspec.structs.replace(made, numeric=(term, *made.numeric[1:]))


@pytest.fixture
def served(config: Config, changed: Callable[..., Config]) -> Config:
    """An installation with a hand-made release, four clients, and a team that calls one."""
    serve(config, FIRST)
    put_clients(config, CLIENTS)
    return changed(worklist={"capacity": 1})


@pytest.fixture
def engine(config: Config) -> Iterator[Engine]:
    """The records of the installation."""
    with database.open_records(config.database_url) as opened:
        yield opened


def compare(config: Config, engine: Engine, candidate: Model | None = None) -> ShadowComparison:
    """Compare a candidate with production on today's clients."""
    made, context = ingestion.main(config), RunContext(config)
    return shadow.main(
        context, engine, candidate=candidate or make_reversed(),
        production=context.require_release(), table=made.clients, dataset_path=made.dataset_path,
    )  # fmt: skip


def names(clients: list[ShadowClient]) -> list[str]:
    """Return the names of clients."""
    return [client.client for client in clients]


def test_it_names_who_enters_and_who_leaves_the_list(served: Config, engine: Engine) -> None:
    found = compare(served, engine)

    assert (names(found.enter), names(found.leave)) == (["z"], ["x"])
    assert (found.n_listed, found.n_enter, found.n_leave) == (1, 1, 1)
    (entered,) = found.enter
    assert (entered.candidate_position, entered.production_position) == (1, 3)
    assert entered.candidate_probability == pytest.approx(0.75)
    assert entered.production_probability == pytest.approx(0.25)


def test_it_measures_order_shares_and_bands(served: Config, engine: Engine) -> None:
    scores = compare(served, engine).clients

    assert scores is not None
    # The order is reversed. Of y and b, in the middle, the probability is a half for both.
    assert scores.rank_correlation == pytest.approx(-1)
    assert scores.candidate.predicted_fraction == scores.production.predicted_fraction == 0.75
    assert scores.candidate.mean_probability == pytest.approx(0.5)
    # x was high and z was low. Without enough data, b has no band.
    assert scores.n_band_changes == 2
    assert scores.candidate.bands["no data"] == 1


def test_the_largest_moves_have_their_reasons(served: Config, engine: Engine) -> None:
    moves = compare(served, engine).moves

    # Neither y, whose probability is the same, nor b, which has no band.
    assert sorted(names(moves)) == ["x", "z"]
    (z,) = [move for move in moves if move.client == "z"]
    # Beside a typical client, who has 3: 2 lowers the log-odds by ln 3, and raised them by ln 3.
    assert z.reasons == ["every client: +2.20, in production -2.20"]


def test_at_most_ten_moves_are_told_the_largest_first(config: Config, engine: Engine) -> None:
    serve(config, FIRST)
    put_clients(config, [f"c{n:02},{n / 10},7,3," for n in range(30)])

    moves = compare(config, engine).moves

    changes = [abs(m.candidate_probability - m.production_probability) for m in moves]
    assert len(moves) == 10
    assert changes == sorted(changes, reverse=True)


def test_a_client_at_rest_is_on_neither_list(served: Config, engine: Engine) -> None:
    snooze = {
        "at": NOW, "actor": "ada", "client": "z", "kind": "snooze",
        "snoozed_until": (datetime.now(UTC) + timedelta(days=9)).date().isoformat(),
    }  # fmt: skip
    with database.writing(engine) as connection:
        connection.execute(tables.client_work.insert(), [snooze])

    assert names(compare(served, engine).enter) in (["y"], ["b"])


def test_a_client_held_out_is_on_neither_list(
    served: Config,
    engine: Engine,
    changed: Callable[..., Config],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(holdout, "is_held_out", lambda _key, client, _period: client == "x")
    config = changed(worklist={"capacity": 1, "holdout_fraction": 0.1})

    assert "x" not in names(compare(config, engine).leave)


def test_where_clients_have_a_worth_the_list_is_by_gain(
    served: Config, engine: Engine, changed: Callable[..., Config]
) -> None:
    # z has most employees, and is worth most at both risks.
    put_clients(served, ["z,2,7,900,", "x,0,7,3,", "y,1,7,3,"])
    config = changed(
        worklist={
            "capacity": 1,
            "value": "number_of_employees",
            "costs": CostSettings(contact=1, offer=0),
        }
    )

    found = compare(config, engine)

    assert (found.n_enter, found.n_leave) == (0, 0)


def test_clients_are_read_in_parts_with_the_same_result(
    served: Config, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_clients(served, [f"c{n:02},{n % 5},7,3," for n in range(23)])
    whole, lengths = compare(served, engine), []
    values_of = todays_clients.TodaysClients.values

    def count(today: Any, rows: Any) -> Any:
        read = values_of(today, rows)
        lengths.append(len(read["lastmonth_activity"]))
        return read

    monkeypatch.setattr(todays_clients, "PART_ROWS", 4)
    monkeypatch.setattr(shadow, "PART_ROWS", 4)
    monkeypatch.setattr(todays_clients.TodaysClients, "values", count)

    assert compare(served, engine) == whole
    assert max(lengths[:-1]) == 4


def log_requests(engine: Engine, rows: list[list[Any]], clients: list[str | None]) -> None:
    """Log rows as the service does."""
    logged = [
        {
            "at": NOW + timedelta(seconds=number), "release": FIRST, "client": client,
            "values": json.dumps(row), "probability": 0.5, "predicted": True,
        }
        for number, (row, client) in enumerate(zip(rows, clients, strict=True))
    ]  # fmt: skip
    with database.writing(engine) as connection:
        predictions.record_predictions(connection, logged)


def test_logged_requests_are_compared_by_their_values(
    served: Config, engine: Engine, changed: Callable[..., Config]
) -> None:
    log_requests(engine, [[0, 7, 3], [2, 7, 3], [None, 7, 3], [2, 7, 3]], ["a", "a", None, None])

    requests = compare(changed(api={"log_predictions": 1.0}), engine).requests

    assert requests is not None
    # Of the known client a the newest request counts.
    assert (requests.n_logged, requests.n_rows) == (4, 3)
    assert requests.rank_correlation == pytest.approx(-1)
    assert requests.candidate.predicted_fraction == 1
    assert requests.production.predicted_fraction == pytest.approx(1 / 3)
    assert requests.n_band_changes == 2
    assert requests.first_at < requests.last_at


@pytest.mark.parametrize(
    ("log_predictions", "expected"),
    [
        (None, "requests are not logged: api.log_predictions is not set"),
        (1.0, f"no request to release {FIRST} is logged yet"),
    ],
)
def test_it_says_why_requests_are_not_compared(
    served: Config,
    engine: Engine,
    changed: Callable[..., Config],
    log_predictions: float | None,
    expected: str,
) -> None:
    found = compare(changed(api={"log_predictions": log_predictions}), engine)

    assert (found.requests, found.why_no_requests) == (None, expected)


def test_a_candidate_with_further_columns_is_not_compared_on_requests(
    served: Config, engine: Engine, changed: Callable[..., Config]
) -> None:
    config = changed(api={"log_predictions": 1.0})
    models = (make_model(categorical=True), make_model())

    found = shadow.compare_requests(models, FIRST, config, engine)

    assert found["why_no_requests"].endswith("and the candidate reads plan as well")


def test_a_production_model_of_other_columns_is_not_compared(
    served: Config, engine: Engine
) -> None:
    fewer = msgspec.structs.replace(make_model(), schema=Schema(numeric=("lastmonth_activity",)))

    found = compare(served, engine, fewer)

    assert found.clients is None
    assert "which the schema no longer has" in found.why_no_clients
    assert "which the schema no longer has" in found.why_no_requests


def test_without_clients_it_says_so(config: Config, engine: Engine) -> None:
    serve(config, FIRST)

    assert compare(config, engine).why_no_clients == "no client is without a label today"


def record_shadow(engine: Engine, client: str) -> int:
    """Record a run whose candidate moves a client."""
    with database.writing(engine) as connection:
        run_id = runs.start_run(connection, NOW)
        shadows.record_clients(
            connection, run_id, [{"kind": ShadowKind.ENTER, "client": client, **ROW}]
        )
    return run_id


def test_clients_of_old_shadows_are_forgotten_but_not_those_of_the_candidate_that_waits(
    engine: Engine,
) -> None:
    ids = [record_shadow(engine, name) for name in "abcd"]
    with database.writing(engine) as connection:
        approvals.record_approval(
            connection, NOW, ApprovalState.WAITING, "0001", run_id=ids[0], actor="ada"
        )

        n_removed = shadows.forget_old_clients(connection, 2)

        kept = {row["run_id"] for row in runs.newest_rows(connection, tables.shadow_clients, 9)}
    assert (n_removed, kept) == (1, {ids[0], ids[2], ids[3]})


def test_an_erased_client_leaves_the_shadows_as_well() -> None:
    assert tables.shadow_clients in erasing.BY_CLIENT


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """An installation with a second candidate that waits, beside a release and clients."""
    config_path = write_installation(tmp_path_factory.mktemp("twice"))
    edit_config(config_path, worklist={"capacity": 5})
    config = let_a_person_approve(config_path)
    write_csv(config_path.parent / "test" / "test.csv", make_rows(80, 99, noise=0.2))
    put_clients(config, [row.rpartition(",")[0] + "," for row in make_rows(40, 7)])
    with pytest.MonkeyPatch.context() as patch:
        left_out = SimpleNamespace(main=lambda config, **_options: config.output_model_path)
        patch.setattr(steps, "reporting", left_out)
        patch.setattr(diagnostics, "outdated_packages", lambda *_arguments: "not asked")
        assert fullprocess.main(config) is Verdict.WAITING
        approval.approve(config, release_name=None, reason="the first", actor="ada")
        write_csv(config.input_folder_path / "more.csv", make_rows(200, 3))
        assert fullprocess.main(config) is Verdict.WAITING
    return config


@pytest.fixture(scope="module")
def service(twice: Config) -> FlaskClient:
    """The service of the installation."""
    return create_app(twice.prod_deployment_path.parent / "config.json").test_client()


def test_every_candidate_beside_a_release_has_a_shadow_everywhere(
    twice: Config, service: FlaskClient
) -> None:
    first = ask(twice, run_details.find_run_details, 1)
    recorded = ask(twice, shadows.find_shadow, 2)

    details = answer_of(service.get("/runs/2"))
    waiting = answer_of(service.get("/candidate"))["candidate"]
    pages = [
        service.get(path, headers={"Accept": "text/html"}).text
        for path in ("/dashboard/run?id=2", "/dashboard/candidate")
    ]

    assert first is not None
    assert first["shadow"] is None
    assert details["shadow"] == waiting["shadow"] == recorded
    assert len(details["shadow"]["moves"]) == 10
    assert all(client["reasons"] for client in details["shadow"]["moves"])
    for page in pages:
        assert "<h2>Shadow</h2>" in page
        assert details["shadow"]["moves"][0]["client"] in page
        assert details["shadow"]["moves"][0]["reasons"][0] in page
    assert details["decision"]["answer"] == "wait for approval"
    assert [entry["state"] for entry in details["approvals"]] == ["waiting"]


def test_no_client_of_a_shadow_is_in_the_audit(
    twice: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    audit.write(twice)

    acts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert any(act.get("shadow") for act in acts)
    assert not re.search(r"s7n\d", json.dumps(acts))


def test_the_last_decision_is_shown_with_its_shadow(
    twice: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    promotion.show_last(twice)

    shown = capsys.readouterr().out
    assert "shadow: Today's clients  rank correlation" in shown
    assert "shadow: Logged requests" in shown


def test_an_unknown_run_has_no_details(service: FlaskClient) -> None:
    for number in ("9", "x", "1e3", "999999999999"):
        assert "no run of this number" in problem_of(service.get(f"/runs/{number}"), 404)["detail"]


def test_a_failing_shadow_is_recorded_and_the_run_goes_on(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    fullprocess.main(config)

    def fail(*_arguments: Any, **_options: Any) -> ShadowComparison:
        raise DatasetError("The column a is missing.")

    monkeypatch.setattr(shadow, "main", fail)
    write_csv(config.input_folder_path / "more.csv", make_rows(60, 1))
    fullprocess.main(config)

    recorded = shadow_types.read_shadow(ask(config, shadows.find_shadow, 2))
    assert recorded is not None
    assert recorded.why_no_clients == "the comparison failed: The column a is missing."
    ended = ask(config, runs.find_run, 2)
    assert ended is not None
    assert ended["status"] == "finished"


def test_the_report_has_the_shadow_of_the_release(twice: Config) -> None:
    recorded = ask(twice, shadows.find_shadow, 2)
    layout = PdfLayout("Report", NOW)

    pdf_report.write_shadow(layout, ReleaseHistory(shadow=recorded))

    pages = PdfReader(BytesIO(layout.render())).pages
    text = " ".join(" ".join(page.extract_text() for page in pages).split())
    shown = shadow_types.read_shadow(recorded)
    assert shown is not None
    assert shown.clients is not None
    assert f"{shown.n_enter} enter the list of {shown.n_listed}" in text
    assert f"rank correlation {shown.clients.rank_correlation:.3f}" in text
    assert len(shown.moves[0].reasons) > 1
    assert all(reason in text for reason in shown.moves[0].reasons)
    assert shown.enter[0].client in text


def test_a_report_without_a_shadow_is_silent() -> None:
    layout = PdfLayout("Report", NOW)
    before = layout.y

    pdf_report.write_shadow(layout, ReleaseHistory())

    assert layout.y == before
