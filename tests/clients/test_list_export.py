"""The worklist as files: Excel and CSV with the rows of the page, and rows for a CRM."""

import csv
import io
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient

from scripts import worklist as command
from scripts.app import create_app
from scripts.clients import client_work, list_pages
from scripts.clients.work_input import WorkInput
from scripts.core.config import Config
from scripts.core.config_file import read_config
from scripts.core.errors import NotMadeYetError
from scripts.records import database
from tests.support.clientele import CLIENTS, FIRST, put_clients, score, serve
from tests.support.service import ROOT, answer_of, edit_config, problem_of

LABELS = {
    "lastmonth_activity": {"name": "Activity, 30 days", "unit": "orders"},
    "lastyear_activity": {"name": "Note"},
}


@pytest.fixture
def installed(config_path: Path) -> Path:
    """The config of an installation with four clients, two columns to show, and gains."""
    edit_config(
        config_path,
        schema={"labels": LABELS},
        worklist={
            "columns": ["lastmonth_activity", "lastyear_activity"],
            "value": "number_of_employees",
            "costs": {"contact": 0.1, "offer": 0.1},
        },
    )
    config = read_config(config_path)
    serve(config, FIRST)
    put_clients(config, CLIENTS)
    score(config)
    return config_path


@pytest.fixture
def service(installed: Path) -> FlaskClient:
    """The service of the installation."""
    return create_app(installed).test_client()


def record(config: Config, **facts: Any) -> None:
    """Record work with a client."""
    with database.open_records(config.database_url) as engine, database.writing(engine) as opened:
        given = [WorkInput(**facts)]
        now = datetime.now(UTC)
        client_work.record(opened, config.worklist, given, actor="ada", now=now)


def run(config_path: Path, *arguments: str) -> Result:
    """Run the command line."""
    words = ["--config", str(config_path), "export", *arguments]
    return CliRunner().invoke(command.make_program(words), words)


def rows_of(content: bytes) -> list[list[object]]:
    """Return the rows of a workbook."""
    sheet = openpyxl.load_workbook(io.BytesIO(content))["Worklist"]
    return [list(row) for row in sheet.iter_rows(values_only=True)]


def table_of(text: str) -> list[list[str]]:
    """Return the rows of a CSV file."""
    return list(csv.reader(io.StringIO(text, newline="")))


def as_text(value: object) -> object:
    """Return a value of a workbook as the CSV has it, numbers as numbers."""
    if isinstance(value, datetime):
        return value.date().isoformat() if not value.hour else f"{value.isoformat()}+00:00"
    return "" if value is None else value


def as_value(text: str) -> object:
    """Return a cell of the CSV, a number as a number."""
    try:
        return float(text)
    except ValueError:
        return text


def test_excel_has_the_rows_and_the_columns_of_the_csv_in_its_order(service: FlaskClient) -> None:
    for query in (
        "", "?order=client", "?order=-column.lastmonth_activity", "?where=lastmonth_activity<=1",
        "?search=x", "?band=high&top=1", "?offset=1&top=2", "?contacted=no&assigned=-",
    ):  # fmt: skip
        header, *rows = rows_of(service.get(f"/worklist.xlsx{query}").data)
        names, *lines = table_of(service.get(f"/worklist.csv{query}").text)

        page = answer_of(service.get(f"/worklist{query}"))["clients"]
        assert [row[1] for row in rows] == [entry["client"] for entry in page]
        # Columns of the data bear the names for people, unless the name is that of another column.
        assert header == [*names[:-2], "Activity, 30 days (orders)", "lastyear_activity"]
        assert [[as_text(v) for v in row] for row in rows] == [
            [as_value(cell) for cell in line] for line in lines
        ]


def test_work_and_gains_are_in_the_workbook(service: FlaskClient, installed: Path) -> None:
    record(read_config(installed), client="x", result="reached", note="=1+1", assigned_to="ben")

    header, *rows = rows_of(service.get("/worklist.xlsx").data)
    x = next(dict(zip(header, row, strict=True)) for row in rows if row[1] == "x")

    assert (x["result"], x["note"], x["assigned_to"]) == ("reached", "=1+1", "ben")
    assert isinstance(x["contacted_on"], datetime)
    assert isinstance(x["gain"], float)
    assert x["value"] == 3


def test_the_workbook_is_a_download_of_its_kind(service: FlaskClient) -> None:
    response = service.get("/worklist.xlsx")

    assert response.content_type == (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    )
    assert response.headers["Content-Disposition"] == 'attachment; filename="worklist.xlsx"'
    assert int(response.headers["Content-Length"]) == len(response.data)
    assert service.head("/worklist.xlsx").status_code == 200
    problem_of(service.get("/worklist.xlsx?top=100001"), 422)


def test_a_large_workbook_is_sent_in_parts_and_whole(
    service: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_pages, "PART_CLIENTS", 3)
    monkeypatch.setattr("scripts.api.client_routes.FILE_PART", 1000)

    response = service.get("/worklist.xlsx?top=100000")

    assert "Content-Length" not in response.headers
    assert len(rows_of(response.data)) == 5


def test_the_file_for_a_crm_has_the_clients_to_call(service: FlaskClient, installed: Path) -> None:
    config = read_config(installed)
    record(config, client="x", result="reached")
    record(config, client="y", assigned_to="ben")

    response = service.get("/worklist-crm.csv")

    header, *rows = table_of(response.text)
    assert header == [
        "key", "name", "probability", "band", "value", "expected_gain", "reasons", "owner",
        "due_date",
    ]  # fmt: skip
    # x was contacted, and b has too many blanks.
    assert [row[0] for row in rows] == ["y", "z"]
    page = {e["client"]: e for e in answer_of(service.get("/worklist"))["clients"]}
    y = dict(zip(header, rows[0], strict=True))
    assert (y["name"], float(y["probability"])) == ("y", page["y"]["probability"])
    assert (y["band"], float(y["expected_gain"])) == ("high", page["y"]["gain"])
    assert y["reasons"] == "; ".join(reason["text"] for reason in page["y"]["reasons"])
    assert (y["owner"], float(y["value"])) == ("ben", 3.0)
    due = datetime.now(UTC).date() + timedelta(days=7)
    assert y["due_date"] == due.isoformat()


def test_the_file_for_a_crm_is_as_long_as_the_team_can_call(config_path: Path) -> None:
    edit_config(config_path, worklist={"capacity": 1})
    config = read_config(config_path)
    serve(config, FIRST)
    put_clients(config, CLIENTS)
    score(config)
    service = create_app(config_path).test_client()

    assert [row[0] for row in table_of(service.get("/worklist-crm.csv").text)] == ["key", "x"]
    assert len(table_of(service.get("/worklist-crm.csv?top=2").text)) == 3


def test_the_terminal_writes_the_files_of_the_service(
    service: FlaskClient, installed: Path, tmp_path: Path
) -> None:
    few = "lastmonth_activity<=1"
    for name, options, path in (
        ("a.xlsx", ["--order", "client"], "/worklist.xlsx?order=client"),
        ("b.csv", ["--where", few], f"/worklist.csv?where={few}"),
        ("c.csv", ["--crm", "--due", "2030-01-02"], "/worklist-crm.csv"),
    ):  # fmt: skip
        result = run(installed, *options, str(tmp_path / name))
        assert result.exit_code == 0, result.output
        content, sent = (tmp_path / name).read_bytes(), service.get(path).data
        if name == "a.xlsx":
            assert rows_of(content) == rows_of(sent)
        elif name == "b.csv":
            assert content == sent
        else:
            due = (datetime.now(UTC).date() + timedelta(days=7)).isoformat()
            assert content == sent.replace(due.encode(), b"2030-01-02")
        assert (tmp_path / name).stat().st_mode & 0o077 == 0


def test_a_wrong_export_says_what_was_expected(
    installed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for words, fault in (
        (["list.ods"], "expected the end .xlsx or .csv"),
        (["list.xlsx", "--crm"], "expected the end .csv"),
        (["list.csv", "--due", "2030-01-02"], "--due belongs to --crm"),
        (["list.csv", "--where", "plan=gold"], "names no column of the list"),
        (["list.csv", "--order", "best"], "Expected order to be risk, client, rise, gain, or"),
    ):
        result = run(installed, *words)

        assert result.exit_code != 0
        assert fault in result.output + caplog.text
        assert not Path("list.csv").exists()


def test_an_export_before_the_first_scoring_says_so(
    config_path: Path, config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with database.open_records(config.database_url):
        pass

    result = run(config_path, str(tmp_path / "list.xlsx"))

    assert result.exit_code == NotMadeYetError.exit_code
    assert "No client has been scored yet" in result.output + caplog.text


def test_no_program_imports_the_writer_of_excel_files_or_of_mails_before_it_writes_one() -> None:
    code = (
        "import sys, scripts.app, scripts.api.record_queries, scripts.fullprocess;"
        " print(*[m for m in ('openpyxl', 'smtplib', 'pandas', 'polars', 'sklearn')"
        " if m in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )

    assert found.stdout.split() == []
