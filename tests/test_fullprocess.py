"""The whole process, its two decisions and its records."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from scripts import diagnostics, fullprocess
from scripts.clients import list_delivery
from scripts.core import artifacts, config_file, console, files, time_slices
from scripts.core.artifacts import Kind
from scripts.core.config import Config
from scripts.core.errors import BusyError, DatasetError, RecordsError
from scripts.data import dataset
from scripts.engine import input_folders
from scripts.pipeline import snapshot, steps
from scripts.pipeline.run import Request
from scripts.production import release
from scripts.records import database, predictions, runs
from scripts.records.tables import FileRole, Status, Verdict
from tests.conftest import HEADER, make_rows, write_csv
from tests.support import programs
from tests.support.clientele import CLIENTS, FIRST, put_clients, score, serve
from tests.support.service import edit_config

ROOT = Path(__file__).parent.parent
NUMBERS = ["lastmonth_activity", "lastyear_activity", "number_of_employees"]


@pytest.fixture(autouse=True)
def no_service(config_path: Path) -> None:
    """Let the service be one that does not run: port 1 is nobody's."""
    settings = json.loads(config_path.read_text())
    config_path.write_text(json.dumps(settings | {"api": {"port": 1}}))


def history(config: Config) -> list[Any]:
    """List the recorded runs, oldest first."""
    with database.open_records(config.database_url) as engine, database.writing(engine) as rows:
        return list(reversed(runs.latest_runs(rows, 100)))


@pytest.mark.usefixtures("with_charts")
def test_the_charts_do_not_wait_for_the_package_index_and_report_and_diagnostics_have_its_answer(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    charts = config.output_model_path / "charts"

    def answer() -> str:
        # Where the charts waited for the package index, there would never be any.
        until = time.monotonic() + 60
        while not charts.exists():
            assert time.monotonic() < until
            time.sleep(0.01)
        return "a table"

    monkeypatch.setattr(diagnostics, "outdated_packages", answer)
    assert fullprocess.main(config) is Verdict.DEPLOYED

    found = json.loads((config.prod_deployment_path / "diagnostics.json").read_text())
    assert found["outdated_dependencies"] == "a table"


@pytest.mark.usefixtures("with_charts")
def test_the_first_run_deploys_and_is_recorded(config: Config) -> None:
    assert fullprocess.main(config) is Verdict.DEPLOYED

    current = release.load_current(config.prod_deployment_path)
    (run,) = history(config)
    assert current is not None
    assert run["release"] == current.name
    assert run["candidate_f1"] == current.manifest.f1
    assert set(run["durations_s"]) >= {"ingestion", "training", "scoring", "deployment"}
    assert (config.output_model_path / "confusion_matrix.png").stat().st_size > 1000


def test_the_first_run_warns_of_no_service_since_none_was_to_run_yet(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    fullprocess.main(config)
    first = [record for record in caplog.records if "does not answer" in record.getMessage()]
    caplog.clear()
    write_csv(config.input_folder_path / "c.csv", make_rows(60, seed=2))
    fullprocess.main(config)
    second = [record for record in caplog.records if "does not answer" in record.getMessage()]

    assert [record.levelname for record in first] == ["INFO"]
    assert [record.levelname for record in second] == ["WARNING"]


def test_a_bad_row_of_the_test_data_is_warned_of_once_per_run(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    (path,) = config.test_data_path.iterdir()
    path.write_text(path.read_text() + "bad,many,1,1,1\n")

    for number in (1, 2):
        write_csv(config.input_folder_path / f"new{number}.csv", make_rows(60, seed=number))
        fullprocess.main(config)

    assert caplog.text.count(f"Rejected 1 of 6 rows of {path}; the first: line 7") == 2


def test_an_input_folder_without_a_table_is_named(config: Config) -> None:
    for path in config.input_folder_path.iterdir():
        path.unlink()

    with pytest.raises(DatasetError, match="There is no CSV file in ") as refused:
        fullprocess.main(config)

    assert str(config.input_folder_path) in str(refused.value)


def test_a_run_without_anything_new_trains_nothing(config: Config) -> None:
    fullprocess.main(config)
    before = sorted(config.output_model_path.iterdir())

    assert fullprocess.main(config) is Verdict.NOTHING_NEW

    assert sorted(config.output_model_path.iterdir()) == before
    assert "which ended: deployed" in history(config)[-1]["reason"]


def test_a_moved_installation_is_not_new(config: Config, config_path: Path) -> None:
    fullprocess.main(config)
    moved = config_path.parent.with_name("elsewhere")
    config_path.parent.rename(moved)

    verdict = fullprocess.main(config_file.read_config(moved / config_path.name))
    moved.rename(config_path.parent)

    assert verdict is Verdict.NOTHING_NEW


@pytest.mark.parametrize("start", [b"", HEADER.encode() + b"\nx,1,2,3,0\n"])
def test_a_file_of_a_terabyte_without_a_line_end_holds_nothing_up(
    config: Config, start: bytes
) -> None:
    path = config.input_folder_path / "sparse.csv"
    path.write_bytes(start)
    os.truncate(path, 2**40)
    started = time.monotonic()

    assert fullprocess.main(config) is Verdict.DEPLOYED
    assert fullprocess.main(config) is Verdict.NOTHING_NEW

    # Reading a terabyte would take many minutes.
    assert time.monotonic() - started < 120
    with database.open_records(config.database_url) as engine, database.reading(engine) as rows:
        refused = {Path(row["path"]).name: row["refused"] for row in runs.files_of_run(rows, 1)}
    assert "is longer than 1048576 bytes" in refused["sparse.csv"]


def test_the_digests_of_a_run_that_fails_are_kept(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = list[str]()
    digest = files.digest_lines

    def note(path: Path) -> str:
        hashed.append(path.name)
        return digest(path)

    monkeypatch.setattr(files, "digest_lines", note)
    for path in config.input_folder_path.iterdir():
        path.write_text("name;age\nx;1\n")

    for _ in range(2):
        with pytest.raises(DatasetError):
            fullprocess.main(config)

    assert sorted(hashed) == ["a.csv", "b.csv", "test.csv"]


def test_the_digest_of_a_large_file_is_kept_before_the_others_are_hashed(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_folders, "LARGE_BYTES", 0)
    digest = files.digest_lines

    def fail_at_test_data(path: Path) -> str:
        if path.name == "test.csv":
            raise KeyboardInterrupt
        return digest(path)

    monkeypatch.setattr(files, "digest_lines", fail_at_test_data)

    with pytest.raises(KeyboardInterrupt):
        fullprocess.main(config)

    with database.open_records(config.database_url) as engine, database.reading(engine) as rows:
        assert sorted(Path(path).name for path in runs.known_files(rows)) == ["a.csv", "b.csv"]


def write_labels(config: Config, labels: list[str], clients: int = 0) -> None:
    """Write an input in which the labels of clients are these, some of them without one."""
    for path in config.input_folder_path.iterdir():
        path.unlink()
    rows = [f"x{n},{n},2,3,{label}" for n, label in enumerate(labels)]
    today = [f"t{n},1,2,3," for n in range(clients)]
    write_csv(config.input_folder_path / "a.csv", rows + today)


@pytest.mark.parametrize("clients", [0, 3])
def test_labels_that_are_not_those_declared_end_a_run_with_65_and_are_shown(
    config: Config, clients: int
) -> None:
    write_labels(config, ["yes"] * 4 + ["no"] * 6, clients)

    with pytest.raises(DatasetError, match="'no' in 6 rows, 'yes' in 4 rows") as caught:
        fullprocess.main(config)

    assert type(caught.value) is DatasetError
    assert caught.value.exit_code == 65
    assert history(config)[-1]["status"] == Status.FAILED
    assert not (config.prod_deployment_path / "current").exists()


def test_nine_tenths_of_a_file_rejected_is_the_first_thing_said(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    write_labels(config, ["yes"] * 90 + ["1", "0"] * 5)

    fullprocess.main(config)

    sentence = (
        "90 of 100 rows of a.csv were rejected; the first: line 2 exited expected one of"
        " ['1', '0']; found 'yes' in 90 rows."
    )
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings[0] == sentence
    assert history(config)[-1]["reason"].startswith(sentence)


def test_a_better_candidate_replaces_production(config: Config) -> None:
    write_csv(config.test_data_path / "test.csv", make_rows(300, 9))
    fullprocess.main(config)
    write_csv(config.input_folder_path / "c.csv", make_rows(500, 7))

    assert fullprocess.main(config) is Verdict.DEPLOYED

    run = history(config)[-1]
    assert run["candidate_f1"] > run["production_f1"]
    assert run["release"].startswith("0002_")


def test_a_candidate_that_is_not_better_is_held_and_not_trained_again(config: Config) -> None:
    write_csv(config.test_data_path / "test.csv", make_rows(300, 9))
    write_csv(config.input_folder_path / "c.csv", make_rows(500, 7))
    fullprocess.main(config)
    write_csv(config.input_folder_path / "d.csv", make_rows(2000, 8, noise=1.0))

    assert fullprocess.main(config) is Verdict.HELD
    assert fullprocess.main(config) is Verdict.NOTHING_NEW

    assert history(config)[-1]["release"].startswith("0001_")
    assert "the candidate is not better" in history(config)[1]["reason"]


def count_calls(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str
) -> list[tuple[Any, ...]]:
    """Note the arguments of each call of a function, which does its work as before."""
    calls: list[tuple[Any, ...]] = []
    called = getattr(module, name)

    def note(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        return called(*arguments, **options)

    monkeypatch.setattr(module, name, note)
    return calls


def log_a_prediction(config: Config) -> None:
    """Log a row that production was asked about."""
    serving = artifacts.current_name(config.prod_deployment_path)
    row = {
        "at": datetime.now(UTC), "release": serving, "client": "s1", "values": "[1.0, 2.0, 3.0]",
        "probability": 0.5, "predicted": True,
    }  # fmt: skip
    with database.open_records(config.database_url) as engine, database.writing(engine) as rows:
        predictions.record_predictions(rows, [row])


@pytest.mark.parametrize("section", [{}, {"target": "exited", "positive": "1", "numeric": NUMBERS}])
def test_a_run_that_deploys_reads_the_test_table_once_and_each_release_once(
    config_path: Path, monkeypatch: pytest.MonkeyPatch, section: dict[str, Any]
) -> None:
    settings = json.loads(config_path.read_text())
    settings["api"] |= {"log_predictions": 1.0}
    schema = {"schema": section | {"ids": ["corporation"]}} if section else {}
    config_path.write_text(json.dumps(settings | schema))
    config = config_file.read_config(config_path)
    write_csv(config.test_data_path / "test.csv", make_rows(300, 9))
    fullprocess.main(config)
    log_a_prediction(config)
    # Today's clients, too, and what drifts.
    write_csv(config.input_folder_path / "c.csv", [*make_rows(500, 7), "today,1,2,3,"])
    tables = count_calls(monkeypatch, dataset, "read_test_table")
    releases = count_calls(monkeypatch, release, "load_release")

    assert fullprocess.main(config) is Verdict.DEPLOYED

    assert len(tables) == 1
    # The one before; and the new one, to check what was written.
    assert [folder.name[:4] for (folder,) in releases] == ["0001", "0002"]
    assert "clients" in history(config)[-1]["durations_s"]


def touch(folder: Path) -> None:
    """Change the time of a file."""
    os.utime(folder / "a.csv", (1, 1))


def rename(folder: Path) -> None:
    """Rename a file."""
    (folder / "a.csv").rename(folder / "z.csv")


def half_written(folder: Path) -> None:
    """Add half-written files."""
    (folder / ".hidden.csv").write_text("x")
    (folder / "c.csv.part").write_text("x")
    (folder / "c.tmp").write_text("x")


@pytest.mark.parametrize("change", [touch, rename, half_written])
def test_what_changes_no_content_is_not_new(config: Config, change: Callable[[Path], None]) -> None:
    fullprocess.main(config)

    change(config.input_folder_path)

    assert fullprocess.main(config) is Verdict.NOTHING_NEW


def change_content(config: Config) -> None:
    """Change a file under its name, to the same size."""
    path = config.input_folder_path / "a.csv"
    path.write_text(path.read_text().replace("c00,2,", "c00,3,"))


def remove_file(config: Config) -> None:
    """Remove a file."""
    (config.input_folder_path / "b.csv").unlink()


def change_test_data(config: Config) -> None:
    """Add rows to the test data."""
    write_csv(config.test_data_path / "more.csv", make_rows(20, 4))


def lose_production(config: Config) -> None:
    """Remove what serves."""
    (config.prod_deployment_path / "current").unlink()


@pytest.mark.parametrize("change", [change_content, remove_file, change_test_data, lose_production])
def test_what_changes_the_decision_is_new(config: Config, change: Callable[[Config], None]) -> None:
    fullprocess.main(config)

    change(config)

    assert fullprocess.main(config) is not Verdict.NOTHING_NEW


def test_a_file_that_goes_on_changing_is_left_for_the_next_run(
    config: Config, changed: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    settling = changed(ingestion={"settle_s": 600})
    dripping = write_csv(settling.input_folder_path / "c.csv", make_rows(10, 1)[:5])

    def drip(_seconds: float) -> None:
        with dripping.open("a") as handle:
            handle.write("half,1,")

    with monkeypatch.context() as dripped:
        dripped.setattr(time, "sleep", drip)
        fullprocess.main(settling)

    first = artifacts.find_latest(settling.output_folder_path, Kind.DATASET, "ingestion")
    assert len(first.read_text().splitlines()) == 27
    write_csv(dripping, make_rows(10, 1))
    fullprocess.main(config)
    second = artifacts.find_latest(settling.output_folder_path, Kind.DATASET, "ingestion")
    assert len(second.read_text().splitlines()) == 37


@pytest.mark.parametrize(
    ("rows", "test_rows"),
    [
        (["a,1,1,1,1", "b,2,2,2,1", "c,3,3,3,1"], None),
        (["a,1,1,1,0", "b,2,2,2,0", "c,3,3,3,0"], None),
        (["a,1,1,1,0"], None),
        (None, ["a,190,1,1,0"]),
        (None, ["a,190,1,1,0", "b,195,1,1,0"]),
        (["a,1,1,1,0", "b,2,2,2,1"], None),
    ],
)
def test_too_little_data_is_a_verdict_and_no_crash(
    config: Config, rows: list[str] | None, test_rows: list[str] | None
) -> None:
    if rows is not None:
        shutil.rmtree(config.input_folder_path)
        write_csv(config.input_folder_path / "a.csv", rows)
    if test_rows is not None:
        write_csv(config.test_data_path / "test.csv", test_rows)

    assert fullprocess.main(config) is Verdict.INSUFFICIENT
    assert fullprocess.main(config) is Verdict.NOTHING_NEW

    assert artifacts.current_target(config.prod_deployment_path) is None


def test_a_failed_run_is_recorded_and_repeated(config: Config) -> None:
    for path in config.input_folder_path.iterdir():
        path.write_text("nothing,of,use\n1,2,3\n")

    for _ in range(2):
        with pytest.raises(DatasetError, match="No usable row"):
            fullprocess.main(config)

    assert [run["status"] for run in history(config)] == [Status.FAILED] * 2
    assert "lacks the columns" in history(config)[0]["error"]


def test_a_bug_is_recorded_too(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "take_snapshot", lambda *_args: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        fullprocess.main(config)

    assert history(config)[0]["status"] == Status.FAILED


def test_a_second_program_is_turned_away_and_recorded(config: Config) -> None:
    with (
        files.exclusive_lock(config.prod_deployment_path),
        pytest.raises(BusyError, match="Another program is writing"),
    ):
        fullprocess.main(config)

    assert [run["status"] for run in history(config)] == [Status.SKIPPED]


def test_production_serves_on_without_its_records(deployed: Config) -> None:
    database_path = Path(deployed.database_url.removeprefix("sqlite:///"))
    database_path.write_bytes(b"garbage" * 1000)

    with pytest.raises(RecordsError):
        fullprocess.main(deployed)

    assert release.load_current(deployed.prod_deployment_path) is not None


def test_old_files_go_and_those_of_production_stay(
    config: Config, changed: Callable[..., Config]
) -> None:
    frugal = changed(retention={"runs": 2, "releases": 2})
    write_csv(frugal.test_data_path / "test.csv", make_rows(300, 9))
    write_csv(frugal.input_folder_path / "c.csv", make_rows(500, 7))
    for seed in range(5):
        fullprocess.main(frugal)
        write_csv(frugal.input_folder_path / "d.csv", make_rows(900, seed, noise=1.0))

    current = release.load_current(frugal.prod_deployment_path)
    assert current is not None
    stamps = {artifacts.stamp_of(path) for path in frugal.output_model_path.glob("model_*")}
    assert len(stamps) <= 3
    assert current.manifest.model_stamp in stamps


def start(config_path: Path) -> subprocess.Popen[str]:
    """Start a full process as cron would."""
    command = [sys.executable, "-m", "scripts.fullprocess", "--config", str(config_path)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def test_of_runs_started_together_exactly_one_is_inside_at_a_time(config_path: Path) -> None:
    config = config_file.read_config(config_path)
    write_csv(config.input_folder_path / "c.csv", make_rows(3000, 7, noise=0.1))

    call = programs.Call("scripts.fullprocess", arguments=("--config", str(config_path)))
    codes = programs.run_together([call] * 8)

    assert set(codes) <= {0, 75}
    runs = history(config)
    assert len(runs) == 8
    assert [run["verdict"] for run in runs].count(Verdict.DEPLOYED) == 1
    assert len(artifacts.list_releases(config.prod_deployment_path)) == 1


def test_a_run_killed_at_any_time_leaves_production_whole_and_the_next_one_completes(
    config_path: Path,
) -> None:
    kill_at_times(config_path, [0.4, 1.0, 1.5])


@pytest.mark.campaign
def test_200_kills_spread_over_a_run_leave_production_whole(config_path: Path) -> None:
    kill_at_times(config_path, [0.05 + 3.0 * number / 200 for number in range(200)])


def kill_at_times(config_path: Path, delays_s: list[float]) -> None:
    """Kill runs after the delays, and check production and the next run each time."""
    config = config_file.read_config(config_path)
    fullprocess.main(config)
    for number, delay_s in enumerate(delays_s):
        write_csv(config.input_folder_path / "c.csv", make_rows(100, number))
        with start(config_path) as victim:
            time.sleep(delay_s)
            victim.send_signal(signal.SIGKILL)
        assert release.load_current(config.prod_deployment_path) is not None
        fullprocess.main(config)
        assert release.load_current(config.prod_deployment_path) is not None
        assert not list(config_path.parent.rglob(".*.tmp"))
        assert Status.RUNNING not in {run["status"] for run in history(config)}


def test_a_run_sends_the_list_and_goes_on_if_that_fails(
    config_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    smtp = {"host": "127.0.0.1", "port": 1, "security": "none", "from": "a@b.c", "to": ["d@e.f"]}
    edit_config(config_path, alerts={"smtp": smtp})
    config = config_file.read_config(config_path)
    serve(config, FIRST)
    put_clients(config, CLIENTS)
    score(config)
    # Growing test data postpones the run: it has no step, and ends well.
    growing = SimpleNamespace(growing={FileRole.TEST: ["t.csv"]}, fingerprint="", known={})
    monkeypatch.setattr(snapshot, "take_snapshot", lambda *_given: growing)
    monkeypatch.setattr(snapshot, "is_anything_new", lambda *_given: False)
    monkeypatch.setattr(snapshot, "explain_news", lambda *_given: "")

    first = fullprocess.main(config)
    monkeypatch.setattr(list_delivery, "deliver", fail_by_a_bug)
    second = fullprocess.main(config)

    assert first == second == Verdict.POSTPONED
    assert [run["status"] for run in history(config)][1:] == [Status.FINISHED, Status.FINISHED]
    assert "The weekly mail failed: ConnectionRefusedError" in caplog.text
    assert "The list was not delivered, and the next run tries again: ZeroDivisionError at" in (
        caplog.text
    )


def fail_by_a_bug(*_given: object) -> None:
    """Fail as no program should."""
    raise ZeroDivisionError


def test_a_run_gives_way_to_the_service(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    monkeypatch.setattr(os, "nice", given.append)
    monkeypatch.setattr(fullprocess, "main", lambda *_, **__: given.append(0))

    fullprocess.start_run(config, Request())

    assert given == [console.NICENESS, 0]


def test_the_steps_of_a_run_have_long_slices_so_that_the_service_interrupts_them(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = []
    monkeypatch.setattr(time_slices, "lengthen", lambda: called.append("slices"))

    def fail(*_given: object) -> None:
        called.append("ingestion")
        raise DatasetError("no data")

    monkeypatch.setattr(steps, "ingest", fail)
    with pytest.raises(DatasetError):
        fullprocess.main(config)

    assert called == ["slices", "ingestion"]


def test_a_run_without_test_data_says_how_to_make_some(config: Config) -> None:
    shutil.rmtree(config.test_data_path)

    with pytest.raises(DatasetError, match=r"There is no test data: .* --split 0\.2"):
        fullprocess.main(config)
