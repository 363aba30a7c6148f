"""The checks of a run: alarms in the records, on the pages, in /health, and held candidates."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pytest

from scripts import fullprocess
from scripts.api.records_reader import RecordsReader
from scripts.app import create_app
from scripts.core.config import Config
from scripts.core.config_file import read_config
from scripts.core.errors import DatasetError
from scripts.pipeline import run_checks
from scripts.records import alert_states, check_records, database, runs
from scripts.records.runs import Row
from scripts.records.tables import Verdict
from tests.support.service import answer_of, edit_config

N = 240


def make_rows(seed: int, n: int = N, prefix: str = "c") -> list[dict[str, Any]]:
    """Make clients who leave the likelier, the fewer their logins, and a column that knows it."""
    random = Random(seed)
    rows = []
    for number in range(n):
        logins = random.randrange(40)
        left = random.random() < (0.6 if logins < 12 else 0.15)
        rows.append(
            {
                "key": f"{prefix}{seed}-{number}", "logins": logins,
                "seats": random.randrange(1, 9), "fee": 50 * left + random.randrange(9),
                "left": "yes" if left else "no",
            }
        )  # fmt: skip
    return rows


def write_rows(path: Path, rows: list[dict[str, Any]], *without: str) -> None:
    """Write clients as CSV, without some columns."""
    names = [name for name in rows[0] if name not in without]
    lines = [",".join(names), *(",".join(str(row[name]) for name in names) for row in rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def install(config_path: Path, **checks: Any) -> Config:
    """Write the config of an installation whose clients have logins, seats and a fee."""
    edit_config(
        config_path, schema={"target": "left", "positive": "yes", "ids": ["key"]}, checks=checks
    )
    return read_config(config_path)


def fill(config: Config, *without: str) -> None:
    """Write clients to train on, to test with, and of today, in place of other files."""
    for path in config.input_folder_path.glob("*.csv"):
        path.unlink()
    write_rows(config.input_folder_path / "a.csv", make_rows(1), *without)
    write_rows(config.test_data_path / "t.csv", make_rows(2), *without)
    today = [row | {"left": ""} for row in make_rows(3, 60)]
    write_rows(config.input_folder_path / "today.csv", today, *without)


def states_of(config: Config) -> dict[str, Row]:
    """Return the states of the checks by name."""
    with (
        database.open_records(config.database_url) as engine,
        database.reading(engine) as connection,
    ):
        return {row["name"]: row for row in check_records.list_checks(connection)}


def alarms_of(config: Config) -> set[str]:
    """Return the names of the checks in alarm."""
    return {name for name, row in states_of(config).items() if row["state"] != "ok"}


def test_honest_data_raises_no_alarm(config_path: Path) -> None:
    config = install(config_path)
    fill(config, "fee")

    assert fullprocess.main(config) is Verdict.DEPLOYED

    assert alarms_of(config) == set()
    assert {"leak", "perfect_f1", "rejected_rows", "shared_clients", "one_band"} <= set(
        states_of(config)
    )


def test_a_leak_is_an_alert_a_reason_to_look_and_a_line_on_the_overview(
    config_path: Path,
) -> None:
    config = install(config_path)
    fill(config)

    assert fullprocess.main(config) is Verdict.DEPLOYED

    assert alarms_of(config) == {"leak", "perfect_f1"}
    with (
        database.open_records(config.database_url) as engine,
        database.reading(engine) as connection,
    ):
        sent = {row["name"]: row["detail"] for row in alert_states.unsent_alerts(
            connection, states_of(config)["leak"]["since"]
        )}  # fmt: skip
    assert "The column 'fee' alone tells who left, with an AUC of 1.000" in sent["check leak"]
    app = create_app(config_path)
    reader: RecordsReader = app.extensions["records"]
    reader.check()
    health = answer_of(app.test_client().get("/health"))
    assert health["degraded"]
    assert any("A column alone tells who left" in error for error in health["errors"])
    page = app.test_client().get("/").get_data(as_text=True)
    assert "The column &#39;fee&#39; alone tells who left" in page
    assert "checks.leak" in page


def test_a_first_model_that_finds_nobody_who_left_is_deployed_and_told_loudly(
    config_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    install(config_path)
    edit_config(config_path, training={"decision_threshold": 1.0})
    config = read_config(config_path)
    fill(config, "fee")

    assert fullprocess.main(config) is Verdict.DEPLOYED

    assert {"useless_model", "nobody_predicted"} <= alarms_of(config)
    assert "goes into production finds none of the" in caplog.text
    with (
        database.open_records(config.database_url) as engine,
        database.reading(engine) as connection,
    ):
        (decision,) = runs.list_decisions(connection, 1)
    assert "F1 0.0000, which finds none of the" in decision["reason"]
    app = create_app(config_path)
    app.extensions["records"].check()
    health = answer_of(app.test_client().get("/health"))
    assert any("The model finds nobody who left" in error for error in health["errors"])
    assert any("0 of the 60 clients of today" in error for error in health["errors"])


def test_a_first_model_that_finds_nobody_is_held_where_the_check_refuses(
    config_path: Path,
) -> None:
    install(config_path, useless_model="refuse")
    edit_config(config_path, training={"decision_threshold": 1.0})
    config = read_config(config_path)
    fill(config, "fee")

    assert fullprocess.main(config) is Verdict.HELD


def test_a_check_that_refuses_holds_the_candidate(config_path: Path) -> None:
    config = install(config_path, leak="refuse")
    fill(config)

    assert fullprocess.main(config) is Verdict.HELD

    with (
        database.open_records(config.database_url) as engine,
        database.reading(engine) as connection,
    ):
        (decision,) = runs.list_decisions(connection, 1)
    assert "refused by the check leak: The column 'fee'" in decision["reason"]


def test_a_check_can_be_switched_off_and_its_alarm_ends(config_path: Path) -> None:
    config = install(config_path)
    fill(config)
    fullprocess.main(config)

    config = install(config_path, leak="off", perfect_f1="off")
    write_rows(config.input_folder_path / "b.csv", make_rows(4))
    fullprocess.main(config)

    assert not {"leak", "perfect_f1"} & set(states_of(config))


def test_clients_of_the_test_in_training_and_rejected_rows_are_alarms(config_path: Path) -> None:
    config = install(config_path)
    fill(config, "fee")
    write_rows(config.input_folder_path / "b.csv", make_rows(2)[:60], "fee")
    broken = [row | {"seats": "many"} for row in make_rows(5, 10)] + make_rows(6, 40)
    write_rows(config.input_folder_path / "c.csv", broken, "fee")
    edit_config(
        config_path,
        schema={
            "target": "left", "positive": "yes", "ids": ["key"], "numeric": ["logins", "seats"],
            "categorical": [],
        },
    )  # fmt: skip
    config = read_config(config_path)

    fullprocess.main(config)

    assert alarms_of(config) == {"shared_clients", "rejected_rows"}
    details = {name: row["detail"] for name, row in states_of(config).items()}
    assert details["shared_clients"].startswith("60 of the 240 clients")
    assert details["rejected_rows"].startswith("10 of 50 rows of c.csv were rejected, 20.0%")


def test_a_list_of_half_the_length_is_an_alarm_until_it_is_long_again(config_path: Path) -> None:
    config = install(config_path)
    fill(config, "fee")
    fullprocess.main(config)
    today = config.input_folder_path / "today.csv"

    def run_with(n: int, seed: int) -> set[str]:
        rows = [row | {"left": ""} for row in make_rows(seed, n)]
        write_rows(today, rows, "fee")
        fullprocess.main(config)
        return alarms_of(config)

    assert run_with(30, 7) == {"shrunk_list"}
    assert run_with(60, 8) == set()


DATED = {"target": "left", "positive": "yes", "key": "key", "date": "file_name"}


def install_dated(config_path: Path) -> Config:
    """Write the config and the files of an installation with an extract for each month."""
    config = install(config_path)
    for path in config.input_folder_path.glob("*.csv"):
        path.unlink()
    for month in (1, 2, 3):
        path = config.input_folder_path / f"clients_2026-0{month}.csv"
        write_rows(path, make_rows(month), "fee")
    edit_config(config_path, schema=DATED, test_data_path=None)
    return read_config(config_path)


def test_a_column_taken_out_of_dated_rows_is_no_failure_of_the_monitoring(
    config_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fullprocess.main(install_dated(config_path))
    edit_config(config_path, schema=DATED | {"ignore": ["seats"]})

    assert fullprocess.main(read_config(config_path)) is Verdict.DEPLOYED

    assert "has other columns" in caplog.text
    assert "Monitoring failed" not in caplog.text


def test_a_correction_of_an_extract_and_keys_without_zeros_are_alarms(config_path: Path) -> None:
    config = install_dated(config_path)
    newest = config.input_folder_path / "clients_2026-04.csv"
    rows = [row | {"key": f"00{place}", "left": ""} for place, row in enumerate(make_rows(4, 40))]
    write_rows(newest, rows, "fee")
    fullprocess.main(config)
    assert alarms_of(config) == set()

    write_rows(newest, [row | {"key": row["key"].lstrip("0")} for row in rows[1:]], "fee")
    march = (config.input_folder_path / "clients_2026-03.csv").read_text()
    (config.input_folder_path / "a correction of March 2026.csv").write_text(march)
    fullprocess.main(config)

    assert alarms_of(config) == {"changed_list", "repeated_rows"}
    details = {name: row["detail"] for name, row in states_of(config).items()}
    assert details["changed_list"].startswith("39 of the 39 clients of today's list were not")
    assert details["repeated_rows"].startswith("240 rows are not used")
    assert "a correction of March 2026.csv and clients_2026-03.csv" in details["repeated_rows"]


@pytest.mark.parametrize("is_labelled", [True, False])
def test_an_extract_of_a_day_to_come_is_an_alarm_before_a_model_and_after(
    config_path: Path, *, is_labelled: bool
) -> None:
    config = install_dated(config_path)
    if not is_labelled:
        for path in config.input_folder_path.glob("*.csv"):
            path.unlink()
    rows = [row | {"left": ""} for row in make_rows(4, 40)]
    write_rows(config.input_folder_path / "clients_2150-04.csv", rows, "fee")

    fullprocess.main(config)

    assert "future_rows" in alarms_of(config)
    assert "2150-04-30" in states_of(config)["future_rows"]["detail"]


def test_a_short_extract_stays_an_alarm_until_it_is_whole(config_path: Path) -> None:
    config = install_dated(config_path)
    rows = [row | {"left": ""} for row in make_rows(4)]
    write_rows(config.input_folder_path / "clients_2026-04.csv", rows, "fee")
    fullprocess.main(config)
    may = config.input_folder_path / "clients_2026-05.csv"
    write_rows(may, rows[:60], "fee")
    fullprocess.main(config)
    assert "shrunk_list" in alarms_of(config)

    # Something else is new, and the list as short as the one before.
    january = config.input_folder_path / "clients_2026-01.csv"
    write_rows(january, make_rows(1)[1:], "fee")
    fullprocess.main(config)

    found = states_of(config)["shrunk_list"]
    assert found["state"] == check_records.ALARM
    assert found["detail"].startswith(f"Today's list has 60 clients, and had {N} before")
    write_rows(may, rows, "fee")
    fullprocess.main(config)
    assert "shrunk_list" not in alarms_of(config)


def test_an_extract_with_other_keys_stays_an_alarm_until_they_are_right(
    config_path: Path,
) -> None:
    config = install_dated(config_path)
    rows = [row | {"key": f"00{place}", "left": ""} for place, row in enumerate(make_rows(4, 60))]
    write_rows(config.input_folder_path / "clients_2026-04.csv", rows, "fee")
    fullprocess.main(config)
    may = config.input_folder_path / "clients_2026-05.csv"
    write_rows(may, [row | {"key": row["key"].lstrip("0")} for row in rows[1:]], "fee")
    fullprocess.main(config)
    assert "changed_list" in alarms_of(config)

    january = config.input_folder_path / "clients_2026-01.csv"
    write_rows(january, make_rows(1)[1:], "fee")
    fullprocess.main(config)

    found = states_of(config)["changed_list"]
    assert found["state"] == check_records.ALARM
    assert found["detail"].startswith("59 of the 59 clients of today's list were not among the 60")
    write_rows(may, rows[1:], "fee")
    fullprocess.main(config)
    assert "changed_list" not in alarms_of(config)


def test_dated_rows_that_all_have_a_label_give_no_list_and_an_alarm(config_path: Path) -> None:
    config = install_dated(config_path)

    assert fullprocess.main(config) is Verdict.DEPLOYED

    assert alarms_of(config) == {"shrunk_list"}
    assert "was never filled" in states_of(config)["shrunk_list"]["detail"]


def test_a_misspelt_label_fails_the_run_and_is_named(config_path: Path) -> None:
    config = install(config_path)
    fill(config, "fee")
    schema = json.loads(config_path.read_text())["schema"]
    edit_config(config_path, schema=schema | {"positive": "yess", "negative": "no"})

    with pytest.raises(DatasetError, match=r"found 'yes' in \d+ rows.*schema\.positive") as raised:
        fullprocess.main(read_config(config_path))

    assert raised.value.exit_code == 65


@pytest.mark.parametrize("n_rows", [3, 200_000])
@pytest.mark.parametrize("ending", ["csv", "parts"])
def test_the_texts_of_a_column_are_read_from_a_file_and_from_a_folder_of_parts(
    tmp_path: Path, n_rows: int, ending: str
) -> None:
    # Brackets in the name of a folder are no pattern.
    path = tmp_path / "data [1]" / f"finaldata.{ending}"
    path.parent.mkdir()
    table = pd.DataFrame({"client": [f"{k:06d}" for k in range(n_rows)], "n": 1})
    if ending == "csv":
        table.to_csv(path, index=False)
    else:
        path.mkdir()
        (path / "_SUCCESS").touch()
        table.to_parquet(path / "part-00000.snappy.parquet")

    assert sorted(run_checks.read_unique(path, "client", {"000001", "1", "x"})) == ["000001"]
    assert len(run_checks.read_unique(path, "client")) == n_rows


def test_without_both_labels_the_files_and_the_clients_of_the_test_are_checked(
    config_path: Path,
) -> None:
    config = install(config_path)
    fill(config, "fee")
    rows = make_rows(1)
    for row in rows:
        row["left"] = "no"
    write_rows(config.input_folder_path / "a.csv", rows, "fee")
    write_rows(config.test_data_path / "t.csv", make_rows(1)[:100], "fee")
    (config.input_folder_path / "other.csv").write_text("some,columns\n1,2\n")

    assert fullprocess.main(config) is Verdict.INSUFFICIENT

    assert alarms_of(config) == {"shared_clients", "refused_files", "one_label"}
    details = {name: row["detail"] for name, row in states_of(config).items()}
    assert details["shared_clients"].startswith("100 of the 100 clients")
    assert details["refused_files"].startswith("1 of 3 files were refused")


@pytest.mark.parametrize(("label", "word"), [("no", "stayed"), ("yes", "left")])
def test_labels_that_are_all_of_one_value_are_an_alarm_until_both_are_there(
    config_path: Path, label: str, word: str
) -> None:
    config = install(config_path)
    fill(config, "fee")
    rows = [row | {"left": label} for row in make_rows(1, 60)]
    write_rows(config.input_folder_path / "a.csv", rows, "fee")

    assert fullprocess.main(config) is Verdict.INSUFFICIENT

    found = states_of(config)["one_label"]
    assert found["state"] == check_records.ALARM
    assert found["detail"].startswith(f"All of 60 labels say that the client {word}.")
    fill(config, "fee")
    fullprocess.main(config)
    assert states_of(config)["one_label"]["state"] == alert_states.OK


def test_an_alarm_about_test_data_ends_when_the_latest_rows_become_the_test(
    config_path: Path,
) -> None:
    config = install_dated(config_path)
    test = config_path.parent / "test_2026-04.csv"
    write_rows(test, make_rows(1), "fee")
    edit_config(config_path, test_data_path=str(test))
    fullprocess.main(read_config(config_path))
    assert "shared_clients" in alarms_of(config)

    edit_config(config_path, test_data_path=None)
    fullprocess.main(read_config(config_path))

    assert "shared_clients" not in alarms_of(config)
    assert states_of(config)["shared_clients"]["detail"].startswith("The latest rows are the test")


def test_an_extract_without_the_file_of_a_region_is_a_problem_until_the_file_is_there(
    config_path: Path,
) -> None:
    months = ("2026-01", "2026-02", "2026-03", "2026-04")
    schema = {"key": "key", "date": "file_name", "numeric": ["logins"], "categorical": []}
    edit_config(
        config_path, schema=schema, test_data_path=None,
        outcomes={"input_folder_path": "left", "date": "left_on", "horizon_days": 20},
    )  # fmt: skip
    config = read_config(config_path)
    for path in config.input_folder_path.iterdir():
        path.unlink()
    for month in months:
        for region in ("north", "south", "west"):
            rows = "".join(f"{region}{i},{(i + len(month)) % 9}\n" for i in range(30))
            path = config.input_folder_path / f"{region} {month}.csv"
            path.write_text(f"key,logins\n{rows}")
    late = config.input_folder_path / "west 2026-04.csv"
    text = late.read_text()
    late.unlink()
    (config.input_folder_path / "some 2026-05.csv").write_text("key,logins\nnorth1,3\n")

    fullprocess.main(config)

    assert "missing_files" in alarms_of(config)
    detail = states_of(config)["missing_files"]["detail"]
    assert detail.startswith("The newest extract has 2 files with its day in their names")
    assert "None follows 'west 2026-03.csv'." in detail

    late.write_text(text)
    fullprocess.main(config)

    assert "missing_files" not in alarms_of(config)


@pytest.mark.parametrize(
    ("extract_days", "test_day", "period"),
    [
        # Weekly extracts have become monthly: just now, and for long.
        ([0, 7, 14, 21, 28, 35, 63], 35, 28),
        ([0, 7, 14, 21, 28, 35, 63, 91, 119], 63, 28),
        # Monthly extracts have become weekly: since the test, and before it.
        ([0, 30, 60, 67, 74, 81, 88], 30, 30),
        ([0, 30, 60, 67, 74, 81, 88], 60, 7),
        # Outcomes stopped long ago, or the test is a folder of older rows.
        ([0, 30, 60, 90, 120, 150, 180], 0, 30),
        ([0, 30, 60], -700, 30),
        ([0], 0, 0),
        ([], 0, 0),
    ],
)
def test_the_period_of_extracts_is_that_of_the_newest_ones(
    extract_days: list[int], test_day: int, period: float
) -> None:
    assert run_checks.find_period(extract_days, test_day) == period
