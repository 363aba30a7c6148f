"""A client is erased from every byte of an installation, and refused when coming back."""

import json
import pickle
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from types import SimpleNamespace

import click
import msgspec
import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from scripts import fullprocess
from scripts.api import prediction_log
from scripts.clients import __main__ as clients_program
from scripts.clients import client_work
from scripts.clients.work_input import WorkInput
from scripts.core import artifacts, config_file, console, erased_clients, files, keys
from scripts.core.artifacts import Kind
from scripts.core.config import Config
from scripts.core.errors import NotMadeYetError, ReproductionError
from scripts.data import dataset, deduplicate
from scripts.model import logistic_model
from scripts.pipeline import erasure, kept_inputs, reproduction, steps
from scripts.pipeline.run import Request
from scripts.production import audit, release, rollback, withdrawals
from scripts.production.run_context import RunContext
from scripts.production.withdrawals import Withdrawal
from scripts.records import clients, database, maintenance, predictions, runs, scoring_records
from scripts.records.clients import Selection
from scripts.records.tables import RowsOf, Verdict, column_statistics
from tests.conftest import write_installation
from tests.support import canaries, monthly, programs
from tests.support.canaries import NAME

REASON = "request 17"
# The largest number of each column of the others.
MOST = (200, 5000, 150)
NOW = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def without_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out charts, report and the questions to a service."""
    monkeypatch.setattr(steps, "report", lambda *_: None)
    monkeypatch.setattr(erasure, "reporting", SimpleNamespace(main=lambda *_, **__: None))


def log_predictions(config: Config) -> None:
    """Log the client's row twice: with the identifier, and without."""
    key = keys.make_key(config.prod_deployment_path)
    values = [*canaries.NUMBERS, canaries.CITY, canaries.TIER]
    row = {
        "at": NOW, "release": "r", "values": msgspec.json.encode(values).decode(),
        "probability": 0.5, "predicted": True,
    }  # fmt: skip
    rows = [{**row, "client": prediction_log.hash_client([name], key)} for name in (NAME, "")]
    others = [{**row, "client": None, "values": '[1.0,2.0,3.0,"Bern","A1"]'}]
    with database.open_records(config.database_url) as engine, database.writing(engine) as c:
        predictions.record_predictions(c, [*rows, *others])


def work(config: Config) -> None:
    """Record a contact with the client."""
    given = WorkInput(client=NAME, result="saved", note=canaries.NOTE)
    with database.open_records(config.database_url) as engine, database.writing(engine) as c:
        client_work.record(c, config.worklist, [given], actor="ada", now=NOW)


def use(config: Config) -> Config:
    """Return an installation with the client, after a run, a contact, predictions and reports."""
    config = canaries.install(config)
    fullprocess.main(config)
    work(config)
    log_predictions(config)
    (config.output_model_path / "report_20260101T000000000000Z.pdf").write_text(NAME)
    (config.output_model_path / artifacts.API_RETURNS).write_text(canaries.CITY)
    return config


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the folder of an installation in use, and a copy of the folder, once for all tests."""
    folder = tmp_path_factory.mktemp("erasing") / "installation"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "report", lambda *_: None)
        use(config_file.read_config(write_installation(folder)))
    return folder, shutil.copytree(folder, folder.with_name("copy"), symlinks=True)


@pytest.fixture
def used(original: tuple[Path, Path]) -> Config:
    """Return an installation in use, as it was made."""
    folder, copy = original
    shutil.rmtree(folder)
    shutil.copytree(copy, folder, symlinks=True)
    return canaries.configure(config_file.read_config(folder / "config.json"))


def erase(config: Config, name: str = NAME) -> None:
    """Erase a client, as the command does under the lock."""
    with erased_clients.refused(erased_clients.find(config.prod_deployment_path)):
        erasure.erase(config, client=name, reason=REASON)


def folder_of(config: Config) -> Path:
    """Return the folder of an installation."""
    return config.input_folder_path.parent


def company_files(config: Config) -> list[Path]:
    """Return the files of the company, into which no program writes."""
    return [config.input_folder_path / "jan.csv", config.test_data_path / "test.csv"]


def check_gone(config: Config) -> None:
    """Check that no byte of the installation has a cell of the client."""
    assert canaries.find_files(folder_of(config), company_files(config)) == []
    with database.open_records(config.database_url) as engine:
        assert canaries.find_in_blocks(engine) == []
        assert canaries.find_in_tables(engine) == []


def list_names(config: Config, order: str = "risk") -> list[str]:
    """Return the names on the list, in an order."""
    with database.open_records(config.database_url) as engine, database.reading(engine) as c:
        scoring = scoring_records.last_scoring(c)
        assert scoring is not None
        listed = clients.list_part(c, scoring, Selection(order=order), 1000).clients
        positions = sorted(listed.columns["position"].tolist())
        assert positions == list(range(1, scoring["n_clients"] + 1))
        assert sum(count for _, count in scoring["bands"]) == scoring["n_clients"]
    return listed.names


def test_no_byte_of_the_installation_has_the_client(
    used: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    places = canaries.find_files(folder_of(used), company_files(used))
    assert {Path(place).parts[0] for place in places} == {
        "adras.db", "input", "models", "output", "prod"
    }  # fmt: skip

    erase(used)

    check_gone(used)
    told = capsys.readouterr().out
    assert NAME not in told
    for path in company_files(used):
        assert f"{path}: line" in told


def test_a_client_on_postgresql_is_erased(config: Config, postgresql_url: str) -> None:
    used = use(msgspec.structs.replace(config, database_url=postgresql_url))

    erase(used)

    check_gone(used)


def test_what_killed_programs_left_half_written_is_removed(used: Config) -> None:
    half = (used.input_folder_path / ".upload_20260102T000000000000Z.csv.tmp",
            used.output_folder_path / ".dataset_20260102T000000000000Z.csv.tmp",
            kept_inputs.folder_of(used) / ".0123.tmp",
            folder_of(used) / ".adras.db.tmp")  # fmt: skip
    for path in half:
        canaries.write(path, [canaries.row()])

    erase(used)

    check_gone(used)


def test_copies_of_outcomes_of_an_object_store_are_cleaned(used: Config) -> None:
    path = canaries.write(
        used.output_folder_path / artifacts.FETCHED_OUTCOMES / "left.csv",
        [*canaries.make_rows(2, 9), canaries.row()],
    )

    erase(used)

    check_gone(used)
    assert "s9n1" in path.read_text()


def test_the_name_is_overwritten_in_the_logs_of_scheduled_runs_while_they_are_written(
    used: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = folder_of(used) / "logs"
    logs.mkdir()
    monkeypatch.setattr(console, "PROJECT_PATH", folder_of(used) / "scripts")
    before = f"2026-01-01 {NAME} left, {NAME}-2 and X{NAME} did not.\n".encode()
    for name in ("2026-01-01.log", "2026-01-01.001.log"):
        (logs / name).write_bytes(before)

    # As automate.sh holds the log of the run that is at work.
    with (logs / "2026-01-01.log").open("ab", buffering=0) as running:
        erase(used)
        running.write(b"the run ends\n")

    gone = before.replace(b" CANARY-NAME-77", b" " + b"x" * len(NAME))
    assert (logs / "2026-01-01.log").read_bytes() == gone + b"the run ends\n"
    assert (logs / "2026-01-01.001.log").read_bytes() == gone
    assert "names in logs 4" in capsys.readouterr().out


def test_statistics_of_few_rows_have_no_number_of_the_client(used: Config) -> None:
    month, year, _ = canaries.NUMBERS
    found = [("month", 3, month), ("year", 999, year), ("net", 1_000, 7.0), ("month", 1, 5.0),
             ("year", 900, 8.0), ("net", 900, month)]  # fmt: skip
    rows = [
        {
            "role": RowsOf.LIVE if number < 4 else RowsOf.DATASET, "dataset_stamp": "s",
            "column": column, "kind": "numeric", "n_rows": n_rows, "mean": median,
            "median": median, "standard_deviation": 1.0, "drift": 0.5,
        }
        for number, (column, n_rows, median) in enumerate(found)
    ]  # fmt: skip
    table = column_statistics
    with database.open_records(used.database_url) as engine, database.writing(engine) as c:
        for row in rows:
            run_id = runs.start_run(c, NOW)
            runs.record_column_statistics(c, run_id, [row])
        first = c.execute(sa.select(sa.func.max(table.c.id))).scalar_one() - len(rows)
    live = {"n_rows": 3, "columns": [rows[0] | {"has_drifted": False}]}
    diagnostics = used.prod_deployment_path / artifacts.DIAGNOSTICS
    diagnostics.write_bytes(msgspec.json.encode({"live": live, "drift": None}))

    erase(used)

    with database.open_records(used.database_url) as engine, database.reading(engine) as c:
        left = c.execute(sa.select(table).where(table.c.id > first).order_by(table.c.id)).all()
    # Neither numbers of another column nor medians of many rows are the client's.
    assert [row.median for row in left] == [None, None, 7.0, None, 8.0, month]
    assert [row.mean for row in left] == [row.median for row in left]
    assert {row.drift for row in left} == {0.5}
    kept = json.loads(diagnostics.read_bytes())["live"]["columns"][0]
    assert (kept["mean"], kept["median"], kept["drift"]) == (None, None, 0.5)


@pytest.mark.parametrize("order", ["risk", "client", "rise"])
def test_the_list_is_that_of_the_others_in_the_same_order(used: Config, order: str) -> None:
    before = list_names(used, order)

    erase(used)

    assert NAME in before
    assert list_names(used, order) == [name for name in before if name != NAME]


def test_the_releases_are_whole_and_serve_as_before(used: Config) -> None:
    before = release.load_current(used.prod_deployment_path)
    assert before is not None

    erase(used)

    rollback.verify(used)
    after = release.load_current(used.prod_deployment_path)
    assert after is not None
    table, _ = RunContext(used).test_data.read(used.schema)
    arrays = dataset.feature_arrays(table.iloc[:-1], used.schema)
    old, new = (logistic_model.probabilities(each.model, arrays) for each in (before, after))
    np.testing.assert_allclose(old, new, atol=1e-12)
    estimator = pickle.loads((after.path / release.PICKLE).read_bytes())
    predicted = estimator.predict_proba(dataset.features(table.iloc[:-1], used.schema))[:, 1]
    np.testing.assert_allclose(predicted, new, atol=1e-12)
    kept = [each.model.dataset.reference for each in (before, after)]
    assert kept[0] is not None
    assert kept[1] is not None
    assert len(kept[1].row_hashes) == len(kept[0].row_hashes) - deduplicate.HASH_TYPE.itemsize


def test_a_model_that_was_rolled_back_is_known_after_an_erasure(used: Config) -> None:
    folder = used.prod_deployment_path
    before = release.load_current(folder)
    assert before is not None
    withdrawn = Withdrawal(
        release="r", at=NOW, actor="ada", reason="bad", origin=withdrawals.origin_of(before.model)
    )
    withdrawals.write_withdrawals(folder, [withdrawn])

    erase(used)

    after = release.load_current(folder)
    assert after is not None
    known = withdrawals.read_withdrawals(folder)
    assert withdrawals.find_withdrawal(known, after.model) is not None
    assert withdrawals.origin_of(after.model) != withdrawn.origin


def test_a_run_after_an_erasure_finds_nothing_new(used: Config) -> None:
    erase(used)

    assert fullprocess.main(used) is Verdict.NOTHING_NEW


def test_a_run_trains_without_the_client_who_is_still_in_an_extract(
    used: Config, caplog: pytest.LogCaptureFixture
) -> None:
    erase(used)
    canaries.write(used.input_folder_path / "feb.csv", canaries.make_rows(40, 7))

    fullprocess.main(used)

    assert "its client was erased" in caplog.text
    check_gone(used)


def test_an_erased_client_is_read_again_once_readmitted(used: Config) -> None:
    erase(used)

    erasure.readmit(used, client=NAME, reason="a mistake")
    fullprocess.main(used, request=Request(force_reason="readmitted"))

    latest = artifacts.list_dated(used.output_folder_path, Kind.DATASET)[-1]
    assert NAME in latest.read_text()


def test_a_model_is_not_made_again_for_the_reason_that_a_client_was_erased(used: Config) -> None:
    erase(used)

    with pytest.raises(ReproductionError, match="A client was erased since"):
        reproduction.main(used, run_id=1)

    check_gone(used)


def test_the_audit_has_the_erasure_with_who_and_why_and_no_name(
    used: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    erase(used)
    capsys.readouterr()

    audit.write(used)

    lines = [line for line in capsys.readouterr().out.splitlines() if '"act":"erasure"' in line]
    key = keys.make_key(used.prod_deployment_path)
    assert [erased_clients.hash_client(key, NAME) in line for line in lines] == [True, True]
    assert all(f'"actor":"{console.actor()}"' in line and REASON in line for line in lines)
    assert NAME not in "".join(lines)


class KilledError(BaseException):
    """The end of a program in the middle."""


def kill_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let a program die before its `number`-th durable act: a file or a transaction."""
    left = iter(range(number - 1, -1, -1))

    def mortal(module: object, name: str) -> None:
        real = getattr(module, name)

        def act(*args: object, **kwargs: object) -> object:
            if next(left, 1) == 0:
                raise KilledError
            return real(*args, **kwargs)

        monkeypatch.setattr(module, name, act)

    mortal(files, "write_whole")
    mortal(database, "writing")


def erase_and_die(config: Config, number: int) -> bool:
    """Erase the client up to the `number`-th durable act, and return whether it came to that."""
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, number)
        try:
            erase(config)
        except KilledError:
            return True
    return False


def check_killed(config: Config, number: int) -> bool:
    """Check that a killed erasure leaves whole releases, and is completed by another one."""
    was_killed = erase_and_die(config, number)
    rollback.verify(config)
    # The killed erasure may have removed the last trace, so that nothing is left to erase.
    with suppress(NotMadeYetError):
        erase(config)
    check_gone(config)
    rollback.verify(config)
    assert fullprocess.main(config) is Verdict.NOTHING_NEW
    return was_killed


def test_a_run_between_a_killed_erasure_and_the_next_one_trains_without_the_client(
    used: Config,
) -> None:
    assert erase_and_die(used, 16)

    fullprocess.main(used)
    canaries.write(used.input_folder_path / "feb.csv", canaries.make_rows(40, 7))
    erase(used)

    check_gone(used)
    rollback.verify(used)
    assert fullprocess.main(used) is not Verdict.NOTHING_NEW


@pytest.mark.parametrize("number", [3, 12])
def test_a_killed_erasure_is_completed_by_the_same_command(used: Config, number: int) -> None:
    assert check_killed(used, number)


@pytest.mark.campaign
def test_an_erasure_killed_at_every_act_is_completed(
    original: tuple[Path, Path], used: Config
) -> None:
    number = 1
    while check_killed(used, number):
        number += 1
        folder, copy = original
        shutil.rmtree(folder)
        shutil.copytree(copy, folder, symlinks=True)
    assert number > 20


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(12))
def test_clients_anywhere_among_the_others_leave_no_byte(
    config: Config, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    random = Random(seed)
    numbers = tuple(random.randrange(most) + 0.0625 * random.choice([1, 3, 5, 7]) for most in MOST)
    monkeypatch.setattr(canaries, "NUMBERS", numbers)
    used = canaries.install(config, n_rows=(60, 300, 2000)[seed % 3])
    fullprocess.main(used)
    work(used)

    erase(used)

    check_gone(used)
    rollback.verify(used)
    assert fullprocess.main(used) is Verdict.NOTHING_NEW


def test_a_client_in_restored_records_is_erased_again(
    used: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    maintenance.backup(used, path=tmp_path / "copy.db")
    erase(used)
    maintenance.restore(used, path=tmp_path / "copy.db")
    for path in maintenance.list_replaced(used):
        path.unlink()
    fullprocess.main(used)
    assert "1 clients were erased after the backup" in caplog.text

    erasure.repeat(used, reason="restored")

    check_gone(used)
    caplog.clear()
    fullprocess.main(used)
    assert "after the backup" not in caplog.text


def test_while_a_run_is_at_work_nothing_is_erased(used: Config) -> None:
    path = folder_of(used) / "config.json"

    with files.exclusive_lock(used.prod_deployment_path):
        ended = programs.run("clients", "erase", NAME, "--reason", REASON, "--config", str(path))

    assert ended.returncode == 75
    assert "Another program is writing" in ended.stderr
    assert erased_clients.read_list(used.prod_deployment_path) == ()


@pytest.mark.parametrize("order", ["erase", "readmit"])
def test_a_name_is_read_from_the_standard_input(order: str) -> None:
    result = CliRunner().invoke(clients_program.make_program(), [order, "-", "--help"])
    missing = CliRunner().invoke(
        clients_program.make_program(), [order, "-", "--reason", REASON], input="\n"
    )

    assert result.exit_code == 0
    assert "it is empty" in missing.output


def test_a_client_who_is_nowhere_is_not_refused(used: Config) -> None:
    with pytest.raises(NotMadeYetError, match="Nothing of this client was found"):
        erase(used, "CANARY-NAME-7")

    assert erased_clients.read_list(used.prod_deployment_path) == ()


def test_a_reason_with_the_name_is_refused(used: Config) -> None:
    with pytest.raises(click.UsageError, match="names the client"):
        erasure.erase(used, client=NAME, reason=f"request of {NAME}")


def test_a_dry_run_changes_nothing(used: Config, capsys: pytest.CaptureFixture[str]) -> None:
    def hash_all() -> dict[Path, str]:
        paths = [path for path in folder_of(used).rglob("*") if path.is_file()]
        return {path: files.digest_file(path) for path in paths}

    before = hash_all()

    erasure.erase(used, client=NAME, reason=REASON, is_dry=True)

    assert hash_all() == before
    told = capsys.readouterr().out
    assert "predictions 1" in told
    assert "Would be removed from" in told
    assert "Would stay in, as files of the company" in told


def use_months(folder: Path) -> Config:
    """Return an installation of monthly extracts that have scored a client of their own numbers."""
    company = monthly.Company(n_clients=60)
    row = "{},CANARY-KEY-3,Canary Company,can@ary.example,seen,2024-01-02,{},canaryplan,7654321,3,9"
    for day, rows in zip(monthly.MONTHS, company.rows, strict=True):
        rows.append(row.format(day, day))
    company.leaves["CANARY-KEY-3"] = monthly.MONTHS[4]
    company.write(folder, 6)
    schema = {**monthly.SCHEMA, "names": ["company", "email"]}
    config = monthly.configure(folder, schema=schema, retention={"inputs": True})
    fullprocess.main(config)
    return config


def test_every_date_of_a_client_is_erased(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = use_months(tmp_path)
    texts = [b"CANARY-KEY-3", b"Canary Company", b"can@ary.example", b"canaryplan", b"7654321"]
    before = canaries.find_files(tmp_path, needles=texts)
    assert {Path(place).parts[0] for place in before} >= {"in", "out", "models", "prod"}

    erase(config, "CANARY-KEY-3")

    after = canaries.find_files(tmp_path, needles=texts)
    assert sorted(after) == sorted(
        [f"in/clients_{day}.csv" for day in monthly.MONTHS[:6]] + ["outcomes/left.csv"]
    )
    told = capsys.readouterr().out
    assert all(f"{tmp_path / place}: line" in told for place in after)
    rollback.verify(config)
    assert fullprocess.main(config) is Verdict.NOTHING_NEW


def use_parts(config: Config) -> Path:
    """Turn the dataset of an installation into one of a cluster, with two parts."""
    (path,) = artifacts.list_exact(config.output_folder_path, Kind.DATASET)
    parts = Kind.PARTS.path(path.parent, artifacts.stamp_of(path))
    parts.mkdir()
    table = pd.read_csv(path, dtype={"corporation": "str", "tier": "str", "city": "str"})
    for number, rows in enumerate((table.iloc[:50], table.iloc[50:])):
        rows.to_parquet(parts / f"part-{number}.parquet")
    identity = json.dumps({"sha256": files.digest_file(path), "n_rows": len(table)})
    (parts / artifacts.IDENTITY).write_text(identity)
    path.unlink()
    return parts


def test_a_dataset_of_a_cluster_is_removed_and_its_model_kept(used: Config) -> None:
    parts = use_parts(used)
    before = release.load_current(used.prod_deployment_path)
    assert before is not None

    erase(used)

    assert not parts.exists()
    check_gone(used)
    after = release.load_current(used.prod_deployment_path)
    assert after is not None
    assert after.model.dataset.sha256 == before.model.dataset.sha256
    kept = [each.model.dataset.reference for each in (before, after)]
    assert kept[0] is not None
    assert kept[1] is not None
    assert len(kept[1].row_hashes) == len(kept[0].row_hashes) - deduplicate.HASH_TYPE.itemsize


def test_a_client_of_several_identifiers_is_erased(used: Config, tmp_path: Path) -> None:
    shutil.rmtree(used.output_folder_path)
    schema = msgspec.structs.replace(
        used.schema, ids=("corporation", "tier"), categorical=("city",)
    )
    config = msgspec.structs.replace(
        used, schema=schema, database_url=f"sqlite:///{tmp_path / 'other.db'}",
        output_model_path=tmp_path / "models", prod_deployment_path=tmp_path / "prod",
    )  # fmt: skip
    fullprocess.main(config)
    name = f"{NAME} | {canaries.TIER}"
    assert name in list_names(config)

    erase(config, name)

    assert name not in list_names(config)
    places = [config.output_folder_path, tmp_path]
    assert [canaries.find_files(place) for place in places] == [[], []]
    assert fullprocess.main(config) is Verdict.NOTHING_NEW
