"""Says on paper what serves, how good it is, what the data look like and what happened last."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from scripts.core import drift_limits
from scripts.model.metrics import Evaluation
from scripts.production.release import Release
from scripts.records.run_details import ReleaseHistory
from scripts.records.runs import Row
from scripts.reports.chart_style import PT_PER_PX, Drawing
from scripts.reports.model_charts import format_f1, format_number
from scripts.reports.pdf_pages import LINE, PdfLayout, TableColumn

TITLE = "Attrition risk report"
NO_RECORDS = "The records tell nothing of this yet."
DATA = (
    TableColumn("column", 0.24),
    TableColumn("kind", 0.11),
    TableColumn("blank", 0.08, True),
    TableColumn("mean", 0.11, True),
    TableColumn("median", 0.11, True),
    TableColumn("SD", 0.11, True),
    TableColumn("drift", 0.08, True),
    TableColumn("limit", 0.08, True),
    TableColumn("", 0.08),
)
FILES = (
    TableColumn("file", 0.40),
    TableColumn("read as", 0.09),
    TableColumn("rows", 0.10, True),
    TableColumn("rejected", 0.09, True),
    TableColumn("bytes", 0.12, True),
    TableColumn("SHA-256", 0.20),
)
RUNS = (
    TableColumn("run", 0.06, True),
    TableColumn("started (UTC)", 0.17),
    TableColumn("took", 0.09, True),
    TableColumn("ended", 0.14),
    TableColumn("F1", 0.07, True),
    TableColumn("production", 0.11, True),
    TableColumn("why", 0.36, is_sentence=True),
)
PACKAGES = TableColumn("package", 0.4), TableColumn("installed", 0.2), TableColumn("newest", 0.2)
TIMES = TableColumn("step", 0.4), TableColumn("seconds", 0.15, True)


@dataclass(frozen=True)
class ReportFacts:
    """Everything that a report tells, apart from the pictures."""

    made_at: datetime
    current: Release
    measured: Evaluation
    story: ReleaseHistory
    durations_s: Row | None
    packages: str
    input_folder: str


def format_at(moment: datetime) -> str:
    """Spell a moment to the minute."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def format_value(value: Any, pattern: str = ".4g") -> str:
    """Spell a cell; nothing where it is not defined."""
    return "" if value is None else format(value, pattern)


def describe_release(facts: ReportFacts) -> list[tuple[str, str]]:
    """Say what serves, since when, and of what it was made."""
    current, used, deployed = facts.current, facts.current.model, facts.story.deployment
    since = NO_RECORDS
    if deployed is not None:
        since = f"{format_at(deployed['at'])}, {deployed['kind']} by {deployed['actor']}"
        since += f": {deployed['reason']}" if deployed["reason"] else ""
    n_rows, n_left = used.dataset.n_rows, used.dataset.n_positives
    return [
        ("Release", current.name),
        ("Serves since", since),
        ("Model", f"{current.manifest.model_stamp}, {len(used.schema.features)} columns"),
        ("Trained on", f"{n_rows:,} rows of {facts.input_folder}, {n_left:,} of them left"),
    ]


def describe_quality(facts: ReportFacts) -> list[tuple[str, str]]:
    """Say how good the model is, and on what evidence."""
    measured, used = facts.measured, facts.current.model
    known = f"{measured.n_rows:,} test rows, {measured.n_positives:,} of them left"
    said = (
        f"precision {format_number(measured.precision)}, recall {format_number(measured.recall)},"
        f" accuracy {measured.accuracy:.3f}, AUC {format_number(measured.roc_auc)}"
    )
    return [
        ("F1 today", f"{format_f1(measured).removeprefix('F1 ')} on {known}"),
        ("At the threshold", f"{used.threshold:.3f}: {said}"),
    ]


def describe_decision(story: ReleaseHistory) -> list[tuple[str, str]]:
    """Say why this model was let serve."""
    decision = story.decision
    if decision is None:
        return [("Decision", NO_RECORDS)]
    rows = [("Decision", f"{decision['answer']}: {decision['reason']}")]
    if decision["probability_better"] is not None:
        rows.append(
            (
                "Evidence",
                f"P(better) {decision['probability_better']:.3f}, difference of F1"
                f" {format_value(decision['difference'], '+.4f')} (95 % interval"
                f" {format_value(decision['difference_low'], '+.4f')} to"
                f" {format_value(decision['difference_high'], '+.4f')}) on"
                f" {decision['n_test_rows']:,} test rows",
            )
        )
    return rows


def describe_states(story: ReleaseHistory) -> list[tuple[str, str]]:
    """Say what is watched, and how it is."""
    found = [
        (str(row["name"]), f"{row['state']} since {format_at(row['since'])}")
        for row in story.states
    ]
    return found or [("Watched", NO_RECORDS)]


def format_column(row: Row) -> list[str]:
    """Spell one column of the data as a line of the table."""
    limit = row["drift_limit"]
    is_over = drift_limits.is_above(row["drift"], limit)
    is_missing_over = drift_limits.is_above(row["missing_drift"], row["missing_drift_limit"])
    return [
        row["column"],
        row["kind"],
        format_value(row["missing_fraction"], ".1%"),
        format_value(row["mean"]),
        format_value(row["median"]),
        format_value(row["standard_deviation"]),
        format_value(row["drift"], ".3f"),
        format_value(limit, ".3f"),
        "DRIFT" if is_over else "BLANKS" if is_missing_over else "",
    ]


def format_file(row: Row) -> list[str]:
    """Spell one file as a line of the table."""
    return [
        row["path"],
        row["role"] or "",
        "refused" if row["refused"] else format_value(row["n_rows"], ","),
        format_value(row["n_rejected"], ","),
        f"{row['n_bytes']:,}",
        row["sha256"][:16],
    ]


def format_run(row: Row) -> list[str]:
    """Spell one run as a line of the table."""
    took: timedelta | None = row["ended_at"] and row["ended_at"] - row["started_at"]
    return [
        str(row["id"]), f"{row['started_at']:%Y-%m-%d %H:%M}",
        "" if took is None else f"{max(0.0, took.total_seconds()):.1f} s",
        row["verdict"] or row["status"], format_value(row["candidate_f1"], ".4f"),
        format_value(row["production_f1"], ".4f"),
        " ".join(filter(None, [row["reason"], row["error"]])),
    ]  # fmt: skip


def write_table(
    sheets: PdfLayout, heading: str, columns: Sequence[TableColumn], rows: Sequence[Sequence[str]]
) -> None:
    """Write a section that is a table."""
    # A short table stays on one page.
    sheets.heading(heading, LINE * (2 + min(len(rows), 20)))
    if rows:
        sheets.table(columns, rows)
    else:
        sheets.paragraph(NO_RECORDS)


def write_first_page(sheets: PdfLayout, facts: ReportFacts) -> None:
    """Write what somebody reads who reads one page."""
    sheets.y -= 16
    sheets.write(TITLE, 48, 20, bold=True)
    sheets.y -= 22
    sheets.write(f"{format_at(facts.made_at)}, release {facts.current.name}", 48, 10)
    sheets.y -= 10
    sheets.heading("What serves")
    sheets.facts(describe_release(facts))
    sheets.heading("How good it is")
    sheets.facts([*describe_quality(facts), *describe_decision(facts.story)])
    sheets.heading("How it is watched")
    sheets.facts(describe_states(facts.story))


def write_packages(sheets: PdfLayout, packages: str) -> None:
    """Write which packages are outdated, or why that is not known."""
    rows = [line.split() for line in packages.splitlines()]
    if len(rows) > 1 and all(len(row) == len(PACKAGES) for row in rows):
        write_table(sheets, "Outdated packages", PACKAGES, rows[1:])
        return
    sheets.heading("Outdated packages")
    sheets.paragraph(packages)


def write_last_pages(sheets: PdfLayout, facts: ReportFacts) -> None:
    """Write tables of the data, the files, the times, the packages and the runs."""
    story = facts.story
    write_table(sheets, "Data", DATA, [format_column(row) for row in story.columns])
    write_table(sheets, "Ingested files", FILES, [format_file(row) for row in story.files])
    times = facts.durations_s or story.durations_s or {}
    write_table(
        sheets, "Times of the run", TIMES, [[name, f"{s:.1f}"] for name, s in times.items()]
    )
    write_packages(sheets, facts.packages)
    write_table(sheets, "Last runs", RUNS, [format_run(row) for row in story.runs])


def write(facts: ReportFacts, drawings: Sequence[Drawing]) -> bytes:
    """Write the report.

    Parameters
    ----------
    facts : Facts
        What it tells in words and tables.
    drawings : sequence of Drawing
        The charts, found by their names; those of single columns stay with the service.

    Returns
    -------
    bytes
        A PDF; the same facts at the same time give the same bytes.
    """
    drawn = {drawing.name: drawing for drawing in drawings}
    sheets = PdfLayout(TITLE, facts.made_at)
    write_first_page(sheets, facts)
    names = ("confusion_matrix", "calibration", "roc", "precision_recall")
    sheets.heading("The model on the test data", 240)
    sheets.pictures([drawn[name] for name in names if name in drawn], 2, 215)
    for name in ("gains", "effects", "f1_history", "drift"):
        if name in drawn:
            sheets.pictures([drawn[name]], 1, min(drawn[name].height * PT_PER_PX, 500))
    write_last_pages(sheets, facts)
    return sheets.render()
