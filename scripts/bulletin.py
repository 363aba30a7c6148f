"""Says on paper what serves, how good it is, what the data look like and what happened last."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from scripts.canvas import PT_PER_PX, Drawing
from scripts.charts import spell_f1, spell_number
from scripts.database import Row
from scripts.evaluation import Evaluation
from scripts.past import Story
from scripts.release import Release
from scripts.sheets import LINE, Column, Sheets

TITLE = "Attrition risk report"
NO_RECORDS = "The records tell nothing of this yet."
DATA = (
    Column("column", 0.24), Column("kind", 0.11), Column("blank", 0.08, True),
    Column("mean", 0.11, True), Column("median", 0.11, True), Column("SD", 0.11, True),
    Column("drift", 0.08, True), Column("limit", 0.08, True), Column("", 0.08),
)  # fmt: skip
FILES = (
    Column("file", 0.40), Column("read as", 0.09), Column("rows", 0.10, True),
    Column("rejected", 0.09, True), Column("bytes", 0.12, True), Column("SHA-256", 0.20),
)  # fmt: skip
RUNS = (
    Column("run", 0.06, True), Column("started (UTC)", 0.17), Column("took", 0.09, True),
    Column("ended", 0.14), Column("F1", 0.07, True), Column("production", 0.11, True),
    Column("why", 0.36, is_sentence=True),
)  # fmt: skip
PACKAGES = Column("package", 0.4), Column("installed", 0.2), Column("newest", 0.2)
TIMES = Column("step", 0.4), Column("seconds", 0.15, True)


@dataclass(frozen=True)
class Facts:
    """Everything that a report tells, apart from the pictures."""

    made_at: datetime
    current: Release
    measured: Evaluation
    story: Story
    durations_s: Row | None
    packages: str
    input_folder: str


def spell_at(moment: datetime) -> str:
    """Spell a moment to the minute."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def spell(value: Any, pattern: str = ".4g") -> str:
    """Spell a cell; nothing where it is not defined."""
    return "" if value is None else format(value, pattern)


def tell_release(facts: Facts) -> list[tuple[str, str]]:
    """Say what serves, since when, and of what it was made."""
    current, used, deployed = facts.current, facts.current.model, facts.story.deployment
    since = NO_RECORDS
    if deployed is not None:
        since = f"{spell_at(deployed['at'])}, {deployed['kind']} by {deployed['actor']}"
        since += f": {deployed['reason']}" if deployed["reason"] else ""
    n_rows, n_left = used.dataset.n_rows, used.dataset.n_positives
    return [
        ("Release", current.name),
        ("Serves since", since),
        ("Model", f"{current.manifest.model_stamp}, {len(used.schema.features)} columns"),
        ("Trained on", f"{n_rows:,} rows of {facts.input_folder}, {n_left:,} of them left"),
    ]


def tell_quality(facts: Facts) -> list[tuple[str, str]]:
    """Say how good the model is, and on what evidence."""
    measured, used = facts.measured, facts.current.model
    known = f"{measured.n_rows:,} test rows, {measured.n_positives:,} of them left"
    said = (
        f"precision {spell_number(measured.precision)}, recall {spell_number(measured.recall)},"
        f" accuracy {measured.accuracy:.3f}, AUC {spell_number(measured.roc_auc)}"
    )
    return [
        ("F1 today", f"{spell_f1(measured).removeprefix('F1 ')} on {known}"),
        ("At the threshold", f"{used.threshold:.3f}: {said}"),
    ]


def tell_decision(story: Story) -> list[tuple[str, str]]:
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
                f" {spell(decision['difference'], '+.4f')} (95 % interval"
                f" {spell(decision['difference_low'], '+.4f')} to"
                f" {spell(decision['difference_high'], '+.4f')}) on"
                f" {decision['n_test_rows']:,} test rows",
            )
        )
    return rows


def tell_states(story: Story) -> list[tuple[str, str]]:
    """Say what is watched, and how it is."""
    found = [
        (str(row["name"]), f"{row['state']} since {spell_at(row['since'])}") for row in story.states
    ]
    return found or [("Watched", NO_RECORDS)]


def spell_column(row: Row) -> list[str]:
    """Spell one column of the data as a line of the table."""
    limit = row["drift_limit"]
    is_over = row["drift"] is not None and limit is not None and row["drift"] > limit
    blanks, blanks_limit = row["missing_drift"], row["missing_drift_limit"]
    is_blank = blanks is not None and blanks_limit is not None and blanks > blanks_limit
    return [
        row["column"], row["kind"], spell(row["missing_fraction"], ".1%"), spell(row["mean"]),
        spell(row["median"]), spell(row["standard_deviation"]), spell(row["drift"], ".3f"),
        spell(limit, ".3f"), "DRIFT" if is_over else "BLANKS" if is_blank else "",
    ]  # fmt: skip


def spell_file(row: Row) -> list[str]:
    """Spell one file as a line of the table."""
    return [
        row["path"], row["role"] or "", "refused" if row["refused"] else spell(row["n_rows"], ","),
        spell(row["n_rejected"], ","), f"{row['n_bytes']:,}", row["sha256"][:16],
    ]  # fmt: skip


def spell_run(row: Row) -> list[str]:
    """Spell one run as a line of the table."""
    took: timedelta | None = row["ended_at"] and row["ended_at"] - row["started_at"]
    return [
        str(row["id"]), f"{row['started_at']:%Y-%m-%d %H:%M}",
        "" if took is None else f"{max(0.0, took.total_seconds()):.1f} s",
        row["verdict"] or row["status"], spell(row["candidate_f1"], ".4f"),
        spell(row["production_f1"], ".4f"),
        " ".join(filter(None, [row["reason"], row["error"]])),
    ]  # fmt: skip


def write_table(
    sheets: Sheets, heading: str, columns: Sequence[Column], rows: Sequence[Sequence[str]]
) -> None:
    """Write a section that is a table."""
    # A short table stays on one page.
    sheets.heading(heading, LINE * (2 + min(len(rows), 20)))
    if rows:
        sheets.table(columns, rows)
    else:
        sheets.paragraph(NO_RECORDS)


def write_first_page(sheets: Sheets, facts: Facts) -> None:
    """Write what somebody reads who reads one page."""
    sheets.y -= 16
    sheets.write(TITLE, 48, 20, bold=True)
    sheets.y -= 22
    sheets.write(f"{spell_at(facts.made_at)}, release {facts.current.name}", 48, 10)
    sheets.y -= 10
    sheets.heading("What serves")
    sheets.facts(tell_release(facts))
    sheets.heading("How good it is")
    sheets.facts([*tell_quality(facts), *tell_decision(facts.story)])
    sheets.heading("How it is watched")
    sheets.facts(tell_states(facts.story))


def write_packages(sheets: Sheets, packages: str) -> None:
    """Write which packages are outdated, or why that is not known."""
    rows = [line.split() for line in packages.splitlines()]
    if len(rows) > 1 and all(len(row) == len(PACKAGES) for row in rows):
        write_table(sheets, "Outdated packages", PACKAGES, rows[1:])
        return
    sheets.heading("Outdated packages")
    sheets.paragraph(packages)


def write_last_pages(sheets: Sheets, facts: Facts) -> None:
    """Write tables of the data, the files, the times, the packages and the runs."""
    story = facts.story
    write_table(sheets, "Data", DATA, [spell_column(row) for row in story.columns])
    write_table(sheets, "Ingested files", FILES, [spell_file(row) for row in story.files])
    times = facts.durations_s or story.durations_s or {}
    write_table(
        sheets, "Times of the run", TIMES, [[name, f"{s:.1f}"] for name, s in times.items()]
    )
    write_packages(sheets, facts.packages)
    write_table(sheets, "Last runs", RUNS, [spell_run(row) for row in story.runs])


def write(facts: Facts, drawings: Sequence[Drawing]) -> bytes:
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
    sheets = Sheets(TITLE, facts.made_at)
    write_first_page(sheets, facts)
    names = ("confusion_matrix", "calibration", "roc", "precision_recall")
    sheets.heading("The model on the test data", 240)
    sheets.pictures([drawn[name] for name in names if name in drawn], 2, 215)
    for name in ("gains", "effects", "f1_history", "drift"):
        if name in drawn:
            sheets.pictures([drawn[name]], 1, min(drawn[name].height * PT_PER_PX, 500))
    write_last_pages(sheets, facts)
    return sheets.render()
