"""Two runs beside each other, by the command line, the API and the page."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import click
import msgspec
import numpy as np
import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from flask.testing import FlaskClient

from scripts import diagnostics, fullprocess
from scripts.api.run_comparer import RunComparer
from scripts.app import create_app
from scripts.clients import list_comparison, worklist
from scripts.core import config_file
from scripts.core.config import Config
from scripts.core.console import make_command
from scripts.core.errors import NotMadeYetError
from scripts.data import dataset
from scripts.model import logistic_model, metrics
from scripts.model.logistic_model import PairAxis, PairTerm
from scripts.pipeline import comparison_text, run_comparison, steps
from scripts.production import kept_models, model_comparison, shadow_types
from scripts.production.comparison_types import RunComparison
from scripts.production.run_context import RunContext
from scripts.records import database, erasure_records, runs, shadows, tables
from scripts.records.tables import ErasureState, Verdict
from tests.conftest import make_rows, write_csv, write_installation
from tests.support.clientele import ask
from tests.support.service import FEATURES, answer_of, edit_config, make_model, problem_of

PAGE = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation with two runs that trained, and one with nothing new between them."""
    folder = tmp_path_factory.mktemp("template") / "installation"
    config_path = write_installation(folder)
    edit_config(config_path, worklist={"capacity": 5}, api={"port": 1})
    write_csv(folder / "test" / "test.csv", make_rows(80, 99, noise=0.2))
    clients = [row.rpartition(",")[0] + "," for row in make_rows(40, 7)]
    write_csv(folder / "input" / "today.csv", clients)
    with pytest.MonkeyPatch.context() as patch:
        left_out = SimpleNamespace(main=lambda config, **_options: config.output_model_path)
        patch.setattr(steps, "reporting", left_out)
        patch.setattr(diagnostics, "outdated_packages", lambda *_arguments: "not asked")
        assert fullprocess.main(config_file.read_config(config_path)) is Verdict.DEPLOYED
        assert fullprocess.main(config_file.read_config(config_path)) is Verdict.NOTHING_NEW
        write_csv(folder / "input" / "more.csv", make_rows(200, 3))
        edit_config(config_path, training={"random_state": 7})
        assert fullprocess.main(config_file.read_config(config_path)) is Verdict.DEPLOYED
    return folder


@pytest.fixture
def compared(template: Path, config_path: Path) -> Config:
    """A copy of the installation."""
    shutil.rmtree(config_path.parent)
    shutil.copytree(template, config_path.parent, symlinks=True)
    return config_file.read_config(config_path)


@pytest.fixture
def service(compared: Config, config_path: Path, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """A service that compares in its own process, which takes a hundredth of the time."""
    monkeypatch.setattr(
        RunComparer, "_ask", lambda _self, a, b: run_comparison.compare(compared, a, b)
    )
    return create_app(config_path).test_client()


def forget_models(config: Config) -> None:
    """Remove every file of models and releases but the serving one, as retention does."""
    serving = config.prod_deployment_path / "releases"
    for path in sorted(serving.iterdir())[:-1]:
        shutil.rmtree(path)
    for path in config.output_model_path.glob("model_*.json"):
        path.unlink()


def test_two_runs_differ_in_settings_files_and_terms(compared: Config) -> None:
    found = run_comparison.compare(compared, 1, 3)

    assert [(c.name, c.a, c.b) for c in found.settings] == [("training.random_state", "42", "7")]
    assert [(c.change, Path(c.path).name, c.n_rows_b) for c in found.files] == [
        ("added", "more.csv", 200)
    ]
    assert (found.schema, found.versions, found.unknown) == ([], [], {})
    assert found.terms
    assert (found.a.run_id, found.b.run_id, found.b.verdict) == (1, 3, "deployed")


def test_the_metrics_are_those_of_both_models_on_the_same_rows_with_the_gates_interval(
    compared: Config,
) -> None:
    found = run_comparison.compare(compared, 1, 3)

    context = RunContext(compared)
    paths = sorted(compared.output_model_path.glob("model_*.json"))
    a, b = (logistic_model.load_model(path) for path in paths)
    table, _ = context.test_data.read(b.schema)
    y, (first, _), (second, _) = (
        dataset.target(table, b.schema),
        metrics.predict_table(a, table),
        metrics.predict_table(b, table),
    )
    expected = metrics.compare(y, second, first)
    f1 = found.metrics[0]
    assert found.n_test_rows == 80
    assert (f1.name, f1.a, f1.b) == ("F1", metrics.f1_of(y, first), metrics.f1_of(y, second))
    assert (f1.difference, f1.low, f1.high) == (
        expected.difference, expected.difference_low, expected.difference_high,
    )  # fmt: skip
    assert f1.probability_b_better == expected.probability_better
    names = [metric.name for metric in found.metrics]
    assert names[:3] == ["F1", "log loss", "recall at capacity"]


def test_the_lists_are_those_that_both_runs_left(compared: Config) -> None:
    lists = run_comparison.compare(compared, 1, 3).lists

    assert lists is not None
    page = ask(compared, worklist.worklist_page, compared.worklist, compared.api, top=5)
    on_b = {client.client for client in page.clients}
    assert (lists.n_listed_a, lists.n_listed_b) == (5, 5)
    assert {client.client for client in lists.only_b} <= on_b
    assert not {client.client for client in lists.only_a} & on_b
    assert len(lists.only_a) == lists.n_only_a == 5 - lists.n_both


def test_the_shadow_of_the_candidate_foretold_who_is_on_the_list(compared: Config) -> None:
    lists = run_comparison.compare(compared, 1, 3).lists
    foretold = shadow_types.read_shadow(ask(compared, shadows.find_shadow, 3))

    assert lists is not None
    assert foretold is not None
    assert {c.client for c in foretold.enter} == {c.client for c in lists.only_b} != set()
    assert {c.client for c in foretold.leave} == {c.client for c in lists.only_a}
    by_name = {client.client: client.probability for client in lists.only_b}
    assert {c.client: c.candidate_probability for c in foretold.enter} == by_name


def test_a_list_leaves_out_who_is_held_out_and_follows_the_gain() -> None:
    places = {
        "position": np.array([1, 2, 3]),
        "gain": np.array([1.0, 9.0, 5.0]),
        "band": np.array(["high", "low", "low"], object),
        "held_out": np.array([0, 1, 0]),
    }

    assert list_comparison.order_places(places).tolist() == [2, 0]


def test_a_run_beside_itself_has_no_difference(compared: Config) -> None:
    found = run_comparison.compare(compared, 3, 3)

    assert [found.settings, found.files, found.schema, found.terms] == [[], [], [], []]
    assert found.n_equal_terms == 3
    assert found.lists is not None
    assert (found.lists.n_only_a, found.lists.n_only_b) == (0, 0)


def test_a_run_without_a_model_is_compared_as_far_as_it_goes(compared: Config) -> None:
    found = run_comparison.compare(compared, 2, 3)

    assert found.unknown == {
        "terms": "run 2 trained no model",
        "metrics": "run 2 trained no model",
        "schema": "run 2 trained no model",
        "lists": "run 2 left no list, or it is no longer kept",
        "files": "run 2 read no file, or its files are forgotten (retention.history)",
    }
    assert [change.name for change in found.settings] == ["training.random_state"]


def test_a_model_that_only_the_scorings_keep_is_found_there(compared: Config) -> None:
    forget_models(compared)

    found = run_comparison.compare(compared, 1, 3)

    assert found.a.model_from == "the records of the scorings"
    assert found.b.model_from.startswith("release 0002_")
    assert found.terms
    assert found.metrics[0].name == "F1"


def test_a_model_that_is_kept_nowhere_is_unknown_and_nothing_fails(compared: Config) -> None:
    forget_models(compared)
    with (
        database.open_records(compared.database_url) as engine,
        database.writing(engine) as connection,
    ):
        connection.execute(tables.scoring_models.delete())
        connection.execute(tables.client_blocks.delete())
        connection.execute(tables.config_changes.delete())
        connection.execute(tables.files.delete())

    found = run_comparison.compare(compared, 1, 3)

    expected = "the model of run 1 is no longer kept (retention.runs is 30)"
    assert found.unknown["terms"].startswith(expected)
    assert found.unknown["metrics"].startswith(expected)
    assert found.unknown["settings"] == "run 1 was recorded before settings were"
    assert found.unknown["lists"].startswith("the list of run 1 is no longer kept")
    assert "unknown: the model of run 1" in comparison_text.format_comparison(found)


def test_a_model_made_again_is_used(compared: Config) -> None:
    stamp = ask(compared, runs.newest_row, tables.models, run_id=1)["stamp"]  # type: ignore[index]
    content = (compared.output_model_path / f"model_{stamp}.json").read_bytes()
    forget_models(compared)
    folder = kept_models.reproduced_path(compared, 1)
    folder.mkdir(parents=True)
    (folder / "model.json").write_bytes(content)

    assert run_comparison.compare(compared, 1, 3).a.model_from == "a model made again"


def test_a_file_with_other_bytes_is_not_the_model_of_the_run(compared: Config) -> None:
    stamp = ask(compared, runs.newest_row, tables.models, run_id=1)["stamp"]  # type: ignore[index]
    path = compared.output_model_path / f"model_{stamp}.json"
    path.write_bytes(path.read_bytes() + b"\n")

    assert run_comparison.compare(compared, 1, 3).a.model_from.startswith("release 0001_")

    with (
        database.open_records(compared.database_url) as engine,
        database.writing(engine) as connection,
    ):
        erasure_records.record(
            connection, ErasureState.BEGUN, "0" * 16, at=datetime.now(UTC), actor="ada", reason="x"
        )
    # An erased client has changed every kept model.
    assert run_comparison.compare(compared, 1, 3).a.model_from == "the folder of models"


def test_test_rows_that_cannot_be_read_are_told(compared: Config) -> None:
    shutil.rmtree(compared.test_data_path)

    found = run_comparison.compare(compared, 1, 3)

    assert list(found.unknown) == ["metrics"]
    assert str(compared.test_data_path) in found.unknown["metrics"]


def test_an_unknown_run_is_refused(compared: Config) -> None:
    with pytest.raises(NotMadeYetError, match="There is no run 9; .*--history 20"):
        run_comparison.compare(compared, 1, 9)


@pytest.fixture
def command() -> Callable[..., str]:
    """Runs the command line of the full process, and returns the output."""

    def call(*words: str) -> str:
        program = make_command(fullprocess.show_or_start, fullprocess.OPTIONS)
        result = CliRunner().invoke(program, words, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    return call


def test_the_command_prints_at_most_80_columns(
    compared: Config, config_path: Path, command: Callable[..., str]
) -> None:
    shown = command("--config", str(config_path), "--compare", "1", "3")

    assert "a: run 1" in shown
    assert "training.random_state: 42 -> 7" in shown
    assert "added input more.csv (200 rows)" in shown
    assert "Metrics on the 80 test rows of now" in shown
    assert "only on a:" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_the_json_is_the_comparison(
    compared: Config,
    config_path: Path,
    command: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "nice", lambda _by: 0)

    shown = command("--config", str(config_path), "--compare", "1", "3", "--json")

    found = msgspec.json.decode(shown, type=RunComparison)
    assert found == run_comparison.compare(compared, 1, 3)


def test_a_service_gets_the_comparison_of_the_command(
    compared: Config, config_path: Path, command: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    found = RunComparer(config_path).compare(1, 3)

    monkeypatch.setattr(os, "nice", lambda _by: 0)
    shown = command("--config", str(config_path), "--compare", "1", "3", "--json")
    assert found == msgspec.json.decode(shown, type=RunComparison)


def test_the_comparison_imports_no_training_and_no_charts() -> None:
    code = "import scripts.pipeline.run_comparison, sys; print(*sys.modules)"

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(shown.stdout.split())

    assert "pandas" in loaded
    assert not {"sklearn", "scipy", "matplotlib", "scripts.training"} & loaded


def test_json_is_for_comparisons_only(config_path: Path) -> None:
    with pytest.raises(click.UsageError, match="--compare 12 15 --json"):
        fullprocess.show_or_start(
            config_path, trigger="hand", force=None, is_dry=True, n_runs=None, reproduced=None,
            compared=None, as_json=True,
        )  # fmt: skip


def test_the_api_compares(service: FlaskClient, compared: Config) -> None:
    found = answer_of(service.get("/runs/compare?a=1&b=3"))

    assert msgspec.convert(found, RunComparison) == run_comparison.compare(compared, 1, 3)


@pytest.mark.parametrize("query", ["", "?a=1", "?a=1&b=x", "?a=1&b=3&c=4", "?a=1&b=3&b=3"])
def test_the_api_wants_two_numbers(service: FlaskClient, query: str) -> None:
    assert "?a=12&b=15" in problem_of(service.get(f"/runs/compare{query}"), 422)["detail"]


def test_the_api_knows_no_other_runs(service: FlaskClient) -> None:
    assert "no run 9" in problem_of(service.get("/runs/compare?a=9&b=3"), 404)["detail"]


def test_one_comparison_is_made_at_a_time(service: FlaskClient) -> None:
    comparer: RunComparer = service.application.extensions["comparer"]
    with comparer._lock:
        response = service.get("/runs/compare?a=1&b=3")

    assert "at work" in problem_of(response, 503)["detail"]
    assert response.headers["Retry-After"] == "3"


@pytest.mark.parametrize(
    "failure",
    [
        subprocess.TimeoutExpired("python", 60),
        subprocess.CalledProcessError(1, "python", b"", b"ERROR of /home/ada"),
        OSError("no memory"),
    ],
)
def test_a_program_that_fails_is_told_without_its_folders(
    compared: Config, config_path: Path, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise failure

    monkeypatch.setattr(subprocess, "run", fail)
    client = create_app(config_path).test_client()

    problem = problem_of(client.get("/runs/compare?a=1&b=3"), 503)

    assert "python -m scripts.fullprocess --compare 1 3" in problem["detail"]
    assert "/home/ada" not in problem["detail"]


def test_the_page_draws_both_curves_over_each_other(service: FlaskClient) -> None:
    page = service.get("/dashboard/compare?a=1&b=3", headers=PAGE).text

    assert page.count('class="track before"') == page.count('class="track"') >= 1
    assert "training.random_state" in page
    assert "Only on the list of run 1" in page
    assert "more.csv" in page


def test_the_page_says_what_is_unknown(service: FlaskClient) -> None:
    page = service.get("/dashboard/compare?a=2&b=3", headers=PAGE).text

    assert page.count("Unknown: run 2 trained no model.") == 3


def test_the_page_asks_for_two_runs(service: FlaskClient) -> None:
    assert '<option value="3">' in service.get("/dashboard/compare", headers=PAGE).text
    refused = service.get("/dashboard/compare?a=1&b=", headers=PAGE)
    assert refused.status_code == 422
    assert "?a=12&amp;b=15" in refused.text


def test_a_scoring_that_is_not_whole_is_no_list(compared: Config) -> None:
    with (
        database.open_records(compared.database_url) as engine,
        database.writing(engine) as connection,
    ):
        connection.execute(sa.update(tables.scorings).values(is_whole=False))

    assert "left no list" in run_comparison.compare(compared, 1, 3).unknown["lists"]


def test_the_page_of_a_run_leads_to_the_comparison_with_the_model_before(
    service: FlaskClient,
) -> None:
    later, first = (
        service.get(f"/dashboard/run?id={number}", headers=PAGE).text for number in (3, 1)
    )

    assert 'href="/dashboard/compare?a=1&amp;b=3"' in later
    assert "/dashboard/compare?a=" not in first


def test_the_page_has_texts_and_pairs_of_columns_as_well(
    service: FlaskClient, compared: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = make_model()
    pair = PairTerm(
        first=PairAxis(column=FEATURES[0], knots=(0.0, 2.0)),
        second=PairAxis(column=FEATURES[1], knots=(0.0, 1.0)),
        values=((0.0, 0.0, 0.0), (0.0, -0.75, 0.0), (0.0, 0.0, 0.0)),
    )
    rich = msgspec.structs.replace(make_model(categorical=True), pairs=(pair,))
    terms, _ = model_comparison.compare_terms(plain, rich)
    found = msgspec.structs.replace(run_comparison.compare(compared, 1, 3), terms=terms)
    monkeypatch.setattr(RunComparer, "_ask", lambda _self, _a, _b: found)

    page = service.get("/dashboard/compare?a=1&b=3", headers=PAGE).text

    assert '<th scope="row">gold</th>' in page
    assert '<th scope="row">no entry</th>' in page
    assert f"apart, at {FEATURES[0]} 2 with {FEATURES[1]} 1" in page
