"""The scoring of today's clients with the production model, and the join of new outcomes."""

import logging
import math
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scripts import fullprocess
from scripts.clients import client_history, worklist
from scripts.core import artifacts
from scripts.core.config import Config, Schema, WorklistSettings
from scripts.core.errors import DatasetError
from scripts.data import dataset, polars_reader, table_reader
from scripts.model import logistic_model
from scripts.pipeline import retention
from scripts.records import clients, database, runs, scoring_records
from scripts.records.tables import Verdict, outcome_groups
from tests.conftest import write_csv
from tests.support import recorded
from tests.support.clientele import (
    CLIENTS,
    FIRST,
    SECOND,
    ask,
    put_clients,
    score,
    score_twice,
    serve,
)


def last_scores(config: Config) -> dict[str, runs.Row]:
    """Read the last score of each client."""
    return ask(config, recorded.last_scores)


def test_clients_are_kept_with_probability_band_values_and_contributions(config: Config) -> None:
    serve(config, FIRST)
    put_clients(config, CLIENTS)

    run_id = score(config)

    found = last_scores(config)
    assert {n: (r["position"], r["band"]) for n, r in found.items()} == {
        "x": (1, "high"),
        "y": (2, "high"),
        "z": (3, "low"),
        "b": (4, "no data"),
    }
    assert [found[n]["probability"] for n in "xyzb"] == pytest.approx([0.75, 0.5, 0.25, 0.5])
    assert list(found["b"]["values"].values()) == [None, None, 3.0]
    page = ask(config, client_history.client_page, WorklistSettings(), "z")
    assert page is not None
    assert list(page.last.contributions.values()) == pytest.approx([-2 * math.log(3), 0, 0])
    scoring = ask(config, scoring_records.last_scoring)
    assert scoring is not None
    assert (scoring["run_id"], scoring["release"]) == (run_id, FIRST)
    assert (scoring["n_clients"], scoring["n_without_data"], scoring["n_test_rows"]) == (4, 1, 5)
    # The three who left are the quietest of the five test rows.
    assert scoring["gains"] == bytes([0b11100000])


def test_the_model_of_a_scoring_is_kept_when_its_release_is_gone(config: Config) -> None:
    score_twice(config)
    path = config.prod_deployment_path / artifacts.RELEASES / FIRST
    for file in path.iterdir():
        file.unlink()

    content = ask(config, scoring_records.find_model_content, FIRST[5:])

    assert content is not None
    kept = logistic_model.decode_model(content.encode(), Path("kept"))
    assert kept.intercept == math.log(3)
    assert kept.dataset.reference is None


def test_outcomes_join_the_last_score_before_them_and_only_once(config: Config) -> None:
    score_twice(config)
    score(config)

    found = {row["client"]: row for row in ask(config, recorded.list_outcomes)}
    assert {n: (r["exited"], r["release"], r["position"]) for n, r in found.items()} == {
        "y": (False, FIRST, 2),
        "z": (True, FIRST, 3),
    }
    assert found["z"]["probability"] == pytest.approx(0.25)
    assert found["z"]["known_at"] > found["z"]["scored_at"]


def test_outcomes_are_joined_from_a_dataset_that_is_never_in_memory_as_a_whole(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_reader, "MANY_BYTES", 0)
    monkeypatch.setattr(polars_reader, "BLOCK_BYTES", 8)
    monkeypatch.delattr(dataset, "read_dataset")

    score_twice(config)

    found = {row["client"]: row["exited"] for row in ask(config, recorded.list_outcomes)}
    assert found == {"y": False, "z": True}


def test_a_client_whose_outcome_is_known_is_not_scored_until_he_changes(config: Config) -> None:
    serve(config, FIRST)
    put_clients(config, ["y,1,7,3,"], "z_today.csv")
    score(config)
    # The file with the outcomes stands before the one with the open rows.
    put_clients(config, ["y,1,7,3,0"], "y_outcomes.csv")
    score(config)

    scoring = ask(config, scoring_records.last_scoring)
    assert scoring is not None
    assert scoring["n_clients"] == 0

    put_clients(config, ["y,2,7,3,"], "z_today.csv")
    score(config)

    last = last_scores(config)["y"]
    assert last["probability"] == pytest.approx(0.25)
    assert not last["is_settled"]
    assert len(ask(config, recorded.list_outcomes)) == 1


def test_labels_known_before_a_score_are_no_outcome_of_it(config: Config) -> None:
    serve(config, FIRST)
    put_clients(config, ["x,5,7,3,0", "x,0,7,3,"])

    score(config)
    score(config)

    assert ask(config, recorded.list_outcomes) == []
    put_clients(config, ["x,0,7,3,1"], "zz.csv")
    score(config)
    assert [row["exited"] for row in ask(config, recorded.list_outcomes)] == [True]


def test_under_another_schema_old_labels_are_not_taken_for_new_ones(config: Config) -> None:
    serve(config, FIRST)
    put_clients(config, ["x,5,7,3,0", "x,0,7,3,"])
    score(config)
    wider = Schema(categorical=("note",))
    for path in config.input_folder_path.iterdir():
        path.write_text(
            "\n".join(
                line + (",note" if number == 0 else ",n")
                for number, line in enumerate(path.read_text().splitlines())
            )
        )

    score(msgspec.structs.replace(config, schema=wider))

    assert ask(config, recorded.list_outcomes) == []


def test_the_first_high_is_remembered_until_the_outcome(config: Config) -> None:
    serve(config, FIRST)
    put_clients(config, ["x,0,7,3,", "z,2,7,3,"])
    score(config)
    first = last_scores(config)["x"]["first_high_at"]
    put_clients(config, ["x,2,7,3,", "z,2,7,3,"])
    score(config)

    found = last_scores(config)

    assert found["x"]["first_high_at"] == first
    assert found["z"]["first_high_at"] is None
    put_clients(config, ["x,2,7,3,0"], "zz.csv")
    score(config)
    assert ask(config, recorded.list_outcomes)[0]["first_high_at"] == first


def test_without_clients_now_or_before_nothing_is_recorded(config: Config) -> None:
    serve(config, FIRST)

    score(config)

    assert ask(config, scoring_records.last_scoring) is None


def test_clients_that_are_gone_leave_the_list(config: Config) -> None:
    serve(config, FIRST)
    put_clients(config, ["x,0,7,3,"])
    score(config)
    (config.input_folder_path / "today.csv").unlink()

    score(config)

    scoring = ask(config, scoring_records.last_scoring)
    assert scoring is not None
    assert scoring["n_clients"] == 0


def test_a_model_of_other_columns_is_refused_by_name(config: Config) -> None:
    serve(config, FIRST, categorical=True)
    put_clients(config, ["x,0,7,3,"])

    with pytest.raises(DatasetError, match="plan.* not scored until"):
        score(config)


def test_clients_without_an_identifier_are_said_and_not_scored(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    serve(config, FIRST)
    put_clients(config, ["x,0,7,3,"])

    score(msgspec.structs.replace(config, schema=Schema(ids=())))

    assert "name a column in schema.ids" in caplog.text
    assert ask(config, scoring_records.last_scoring) is None


def test_old_scorings_are_forgotten_but_the_last_score_of_each_client(config: Config) -> None:
    kept = msgspec.structs.replace(
        config, retention=msgspec.structs.replace(config.retention, scorings=2)
    )
    serve(config, FIRST)
    put_clients(config, ["gone,0,7,3,"])
    for month in range(5):
        put_clients(config, [f"x,{month},7,3,"], "x.csv")
        score(kept)
        if month == 0:
            (config.input_folder_path / "today.csv").unlink()

    with database.open_records(config.database_url) as engine:
        retention.remove_old_files(engine, kept, None)

    history = ask(config, clients.history_of_client, "x", 10)
    assert [row["values"]["lastmonth_activity"] for row in history] == [4, 3]
    assert "gone" in last_scores(config)
    put_clients(config, ["gone,0,7,3,1"], "outcome.csv")
    score(kept)
    assert [row["client"] for row in ask(config, recorded.list_outcomes)] == ["gone"]


def test_outcomes_are_kept_for_ever_unless_days_are_set(config: Config) -> None:
    def with_retention(**changes: Any) -> Config:
        """Return the installation with other settings of retention."""
        kept = msgspec.structs.replace(config.retention, scorings=2, **changes)
        return msgspec.structs.replace(config, retention=kept)

    serve(config, FIRST)
    for month in range(5):
        put_clients(config, [f"x,{month},7,3,", *["y,0,7,3,"] * (month == 0)], "x.csv")
        if month == 1:
            put_clients(config, ["y,0,7,3,1"], "y.csv")
        score(with_retention())
    with (
        database.open_records(config.database_url) as engine,
        database.writing(engine) as connection,
    ):
        old = datetime.now(UTC) - timedelta(days=91)
        connection.execute(outcome_groups.update().values(known_at=old))
    told = []
    for days in (None, 92, 90):
        kept = with_retention(outcome_days=days)
        with database.open_records(config.database_url) as engine:
            retention.remove_old_files(engine, kept, None)
        settings = kept.worklist, kept.api, days
        told.append(ask(config, client_history.outcomes_page, *settings))

    assert [page.n_outcomes for page in told] == [1, 1, 0]
    assert "forgotten" not in told[0].text
    assert told[1].text.endswith("Outcomes older than 92 days are forgotten.")
    # A client whose outcome is forgotten is not scored anew.
    score(with_retention())
    assert ask(config, recorded.list_outcomes) == []


def test_the_log_counts_clients_and_names_none(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    serve(config, FIRST)
    put_clients(config, ["CANARY4711,98765.5,7,3,", "y,1,2,3,"])
    score(config)
    put_clients(config, ["CANARY4711,98765.5,7,3,1"], "zz.csv")

    score(config)

    assert "Scored 2 clients" in caplog.text
    assert "joined 1 outcome" in caplog.text
    assert "CANARY" not in caplog.text
    assert "98765" not in caplog.text


def test_ten_thousand_clients_are_scored_quickly(config: Config) -> None:
    serve(config, SECOND)
    put_clients(config, [f"c{number},{number % 9},7,3," for number in range(10_000)])
    score(config)
    started = time.process_time()

    score(config)

    assert time.process_time() - started < 10
    assert len(last_scores(config)) == 10_000


def test_two_identifiers_make_one_name(config: Config) -> None:
    schema = Schema(
        ids=("corporation", "site"),
        numeric=("lastmonth_activity", "lastyear_activity", "number_of_employees"),
    )
    serve(config, FIRST)
    for path in config.input_folder_path.iterdir():
        path.unlink()
    (config.input_folder_path / "a.csv").write_text(
        "corporation,site,lastmonth_activity,lastyear_activity,number_of_employees,exited\n"
        "x,north,0,7,3,\nx,south,1,7,3,\nq,south,1,7,3,0\n"
    )

    score(msgspec.structs.replace(config, schema=schema))

    assert set(last_scores(config)) == {"x | north", "x | south"}


def test_the_dataset_is_not_touched(config: Config) -> None:
    serve(config, FIRST)
    write_csv(config.input_folder_path / "c.csv", CLIENTS)

    score(config)

    latest = artifacts.find_latest(config.output_folder_path, artifacts.Kind.DATASET, "ingestion")
    table, _ = dataset.read_dataset(latest, Schema())
    assert len(table) == 26


def test_full_processes_score_follow_and_go_on_without_labels(config: Config) -> None:
    put_clients(config, ["leaver,5,300,10,", "mover,150,600,60,"])
    assert fullprocess.main(config) is Verdict.DEPLOYED
    first = ask(config, worklist.worklist_page, config.worklist)
    put_clients(config, ["leaver,5,300,10,1", "mover,20,610,60,"], "today2.csv")
    fullprocess.main(config)

    (mover,) = ask(config, worklist.worklist_page, config.worklist).clients
    page = ask(config, client_history.client_page, config.worklist, "mover")

    assert [entry.client for entry in first.clients] == ["leaver", "mover"]
    assert mover.change is not None
    assert mover.change > 0
    assert page is not None
    assert page.change is not None
    terms = sum(m.effect for m in page.change.movements) + page.change.retraining
    moved = page.change.after_log_odds - page.change.before_log_odds
    assert terms == pytest.approx(moved, abs=1e-9)
    odds = [math.log(s.probability / (1 - s.probability)) for s in page.history]
    assert odds == pytest.approx([page.change.after_log_odds, page.change.before_log_odds])
    known = ask(config, client_history.outcomes_page, config.worklist).outcomes
    assert [(outcome.client, outcome.exited) for outcome in known] == [("leaver", True)]
    for path in config.input_folder_path.iterdir():
        path.unlink()
    put_clients(config, ["new,20,610,60,"])
    assert fullprocess.main(config) is Verdict.INSUFFICIENT
    last = ask(config, worklist.worklist_page, config.worklist)
    assert [entry.client for entry in last.clients] == ["new"]


def test_a_fault_in_scoring_clients_fails_no_run(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    serve(config, FIRST, categorical=True)
    put_clients(config, ["x,0,7,3,"])
    # With one class among the test rows nothing is deployed, and the model that serves wants a
    # column that the input does not have.
    write_csv(config.test_data_path / "test.csv", ["t1,3,200,10,1"])

    verdict = fullprocess.main(config)

    assert verdict is Verdict.INSUFFICIENT
    assert "Today's clients were not scored, and the run goes on" in caplog.text
