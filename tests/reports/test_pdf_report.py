"""The PDF report: texts and tables, also without records."""

import io
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

from scripts import diagnostics, fullprocess, reporting
from scripts.clients import worklist
from scripts.core import artifacts, console
from scripts.core.artifacts import Kind
from scripts.core.config import ColumnLabel, Config
from scripts.core.errors import NotMadeYetError
from scripts.pipeline import retention
from scripts.pipeline.run import Request
from scripts.records import database
from scripts.records.run_details import NO_RELEASE_HISTORY, ReleaseHistory
from scripts.reports import pdf_report
from tests.support.clientele import asking, put_clients

START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


def text_of(path: Path) -> str:
    """Return the text of a report, read by another program in strict mode."""
    reader = PdfReader(io.BytesIO(path.read_bytes()), strict=True)
    return "\n".join(page.extract_text() for page in reader.pages)


def squeezed(text: str) -> str:
    """Join broken lines."""
    return " ".join(text.split())


pytestmark = pytest.mark.usefixtures("with_charts")


@pytest.fixture
def no_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the request to pip."""
    told = "package  installed  newest\npip      23.2       26.3"
    monkeypatch.setattr(diagnostics, "outdated_packages", lambda: told)


def test_without_records_it_says_so(deployed: Config) -> None:
    text = text_of(reporting.main(deployed, pdf=True))

    assert "Attrition risk report" in text
    assert text.count(pdf_report.NO_RECORDS) >= 5
    assert "No client has been scored yet." in text
    assert "F1 today" in text


def test_a_deployment_leaves_a_report_of_it(config: Config, no_pip: None) -> None:
    fullprocess.main(config)

    (path,) = artifacts.list_exact(config.output_model_path, Kind.REPORT)
    text = squeezed(text_of(path))
    target = artifacts.current_target(config.prod_deployment_path)
    assert target is not None
    assert f"Release {Path(target).name}" in text
    assert f"deploy by {console.actor()}: nothing was in production before" in text
    assert "26 rows of input" in text
    # The table of the data, of the files, of the steps, of the runs.
    assert "lastmonth_activity numeric 0.0%" in text
    assert "a.csv input 14 0" in text
    assert "b.csv input 14 0" in text
    assert "training" in text
    # Packages are for developers.
    assert "pip" not in text


def test_each_run_with_something_new_leaves_a_report(config: Config, no_pip: None) -> None:
    fullprocess.main(config)
    reports = artifacts.list_exact(config.output_model_path, Kind.REPORT)

    fullprocess.main(config, request=Request(force_reason="again"))
    fullprocess.main(config)

    # The last run had nothing new.
    assert len(artifacts.list_exact(config.output_model_path, Kind.REPORT)) == len(reports) + 1


def test_the_first_page_is_the_managers_and_the_model_follows(
    changed: Callable[..., Config], no_pip: None
) -> None:
    words = {"lastmonth_activity": ColumnLabel(name="Orders in 30 days", unit="orders")}
    config = changed(schema={"column_labels": words}, worklist={"capacity": 2})
    put_clients(config, [f"firm {n},{n},{n * 3},3," for n in range(4)])
    fullprocess.main(config)

    (path,) = artifacts.list_exact(config.output_model_path, Kind.REPORT)
    first, *others = (squeezed(page.extract_text()) for page in PdfReader(path, strict=True).pages)

    for part in ("Today's list", "Call first", "What came of the calls", "The predictions"):
        assert part in first
    with asking(config) as connection:
        page = worklist.worklist_page(connection, config.worklist, config.api, top=2)
    assert [client.client in first for client in page.clients] == [True, True]
    assert f"{page.clients[0].probability:.1%}" in first
    assert "Release in production" not in first
    assert "Release in production" in others[0]
    rest = " ".join(others)
    assert "Orders in 30 days numeric 0.0%" in rest
    assert "lastmonth_activity" not in rest.partition("Ingested files")[0]


def test_no_page_but_the_last_is_half_empty(config: Config, no_pip: None) -> None:
    put_clients(config, [f"firm {n},{n},{n * 3},3," for n in range(30)])
    fullprocess.main(config)

    (path,) = artifacts.list_exact(config.output_model_path, Kind.REPORT)
    lowest = []
    for page in PdfReader(path, strict=True).pages:
        heights: list[float] = []
        page.extract_text(
            visitor_text=lambda text, _cm, tm, *_rest, found=heights: (
                found.append(tm[5]) if text.strip() else None
            )
        )
        # The lowest line above the foot of the page.
        lowest.append(min(height for height in heights if height > 40))

    assert all(height < 421 for height in lowest[:-1]), lowest


def test_the_command_writes_one_dated_now(deployed: Config) -> None:
    before = datetime.now(UTC)

    path = reporting.main(deployed, pdf=True)

    assert path.parent == deployed.output_model_path
    assert before <= artifacts.moment_of(artifacts.stamp_of(path)) <= datetime.now(UTC)
    assert path.name == f"report_{artifacts.stamp_of(path)}.pdf"


def test_reports_are_kept_as_runs_are_and_cost_no_run_its_files(tmp_path: Path) -> None:
    stamps = [f"2026010{day}T000000000000Z" for day in range(1, 7)]
    for stamp in stamps:
        Kind.REPORT.path(tmp_path, stamp).touch()
    for stamp in stamps[:2]:
        Kind.MODEL.path(tmp_path, stamp).touch()

    retention.remove_all_but_latest(tmp_path, 2, frozenset())

    assert artifacts.list_exact(tmp_path, Kind.REPORT) == [
        Kind.REPORT.path(tmp_path, stamp) for stamp in stamps[-2:]
    ]
    assert len(artifacts.list_exact(tmp_path, Kind.MODEL)) == 2


def test_without_a_release_there_is_no_report(config: Config) -> None:
    with pytest.raises(NotMadeYetError, match="Nothing is in production yet"):
        reporting.main(config, pdf=True)


def test_locked_records_are_no_reason_to_lose_the_pictures(deployed: Config) -> None:
    with database.open_records(deployed.database_url) as engine:
        assert reporting.main(deployed, engine=engine).exists()


def run_row(number: int, **facts: Any) -> dict[str, Any]:
    """Make a run of the records."""
    at = START + timedelta(hours=number)
    known = {
        "id": number, "started_at": at, "ended_at": at + timedelta(seconds=12), "verdict": "held",
        "status": "finished", "candidate_f1": 0.5, "production_f1": None, "reason": "no better",
        "error": None,
    }  # fmt: skip
    return known | facts


@pytest.mark.parametrize(
    ("row", "cells"),
    [
        (run_row(3), ["3", "2026-03-01 11:00", "12.0 s", "held", "0.5000", "", "no better"]),
        (
            run_row(0, ended_at=None, verdict=None, status="running", reason=None),
            ["0", "2026-03-01 08:00", "", "running", "0.5000", "", ""],
        ),
        (
            run_row(1, verdict=None, status="failed", reason="failed in training", error="Boom"),
            ["1", "2026-03-01 09:00", "12.0 s", "failed", "0.5000", "", "failed in training Boom"],
        ),
    ],
)
def test_a_run_is_one_line(row: dict[str, Any], cells: list[str]) -> None:
    assert pdf_report.format_run(row) == cells


@pytest.mark.parametrize(
    ("facts", "mark"),
    [
        ({"drift": 0.09, "drift_limit": 0.08}, "DRIFT"),
        ({"drift": 0.08, "drift_limit": 0.08}, ""),
        ({"missing_drift": 0.2, "missing_drift_limit": 0.1}, "BLANKS"),
        ({}, ""),
    ],
)
def test_a_column_over_its_limit_is_marked(facts: dict[str, float], mark: str) -> None:
    measures = "mean median standard_deviation drift drift_limit missing_drift missing_drift_limit"
    empty = dict.fromkeys(measures.split())
    row: dict[str, Any] = {"column": "a", "kind": "numeric", "missing_fraction": 0.25} | empty

    cells = pdf_report.format_column(row | facts)

    assert cells[:3] == ["a", "numeric", "25.0%"]
    assert cells[-1] == mark


def test_a_refused_file_says_so() -> None:
    row = {
        "path": "/data/a.csv", "role": "input", "n_rows": 0, "n_rejected": 0, "n_bytes": 1234,
        "sha256": "ab" * 32, "refused": "no header",
    }  # fmt: skip

    assert pdf_report.format_file(row) == [
        "a.csv", "input", "refused", "0", "1,234", "ab" * 8,
    ]  # fmt: skip


def test_the_decision_is_told_with_its_evidence() -> None:
    decision = {
        "answer": "deploy", "reason": "the candidate is better", "probability_better": 0.987,
        "metric": None,
        "difference": 0.1619, "difference_low": 0.1245, "difference_high": 0.2023,
        "n_test_rows": 1000,
    }  # fmt: skip

    assert pdf_report.describe_decision(ReleaseHistory(decision=decision)) == [
        ("Decision", "deploy: the candidate is better"),
        (
            "Evidence",
            "P(better) 0.987, difference of F1 +0.1619 (95 % interval +0.1245 to +0.2023) on"
            " 1,000 test rows",
        ),
    ]
    assert pdf_report.describe_decision(NO_RELEASE_HISTORY) == [("Decision", pdf_report.NO_RECORDS)]


def test_a_report_is_cheap(deployed: Config) -> None:
    reporting.main(deployed, pdf=True)
    spent = []
    for _ in range(3):
        started = time.process_time()
        reporting.main(deployed, pdf=True)
        spent.append(time.process_time() - started)

    # Half of it is usual; the bound is for a machine at work.
    assert min(spent) < 4
    assert artifacts.list_exact(deployed.output_model_path, Kind.REPORT)[-1].stat().st_size < 1e5
