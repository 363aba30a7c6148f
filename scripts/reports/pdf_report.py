"""The PDF report: a manager's page, then release, quality, decision, alerts, data and runs."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Any

from msgspec import UNSET, Struct

from scripts.core import drift_limits
from scripts.core.column_words import PLAIN, ColumnWords
from scripts.model import paired_metrics
from scripts.model.metrics import Evaluation
from scripts.production import shadow_types
from scripts.production.manager_types import ManagerFacts
from scripts.production.model_card import CardSection
from scripts.production.release import Release
from scripts.production.shadow_types import ShadowClient
from scripts.records.alert_states import OK
from scripts.records.run_details import ReleaseHistory
from scripts.records.runs import Row
from scripts.reports import pdf_manager
from scripts.reports.chart_style import PT_PER_PX, Drawing
from scripts.reports.model_charts import format_f1, format_number
from scripts.reports.pdf_pages import LINE, PdfLayout, TableColumn, fit_size

TITLE, CARD_TITLE = "Attrition risk report", "Model card"
NO_RECORDS = "Not in the records yet."
# Clients by name in a line.
N_NAMED = 30
# Lines of a table that are not torn from its heading.
N_TOGETHER = 6
# Charts in pairs, of equal height; a wide one stands alone.
PAIRS = (
    ("confusion_matrix", "calibration"), ("roc", "precision_recall"), ("gains", "f1_history"),
)  # fmt: skip
WIDE = ("effects", "profit", "backtest", "drift")
PAIR_HEIGHT, WIDE_HEIGHT = 195.0, 290.0
# Title and first section of the card.
ROOM_FOR_CARD = 160.0
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
MOVES = (
    TableColumn("client", 0.18),
    TableColumn("candidate", 0.10, True),
    TableColumn("before", 0.10, True),
    TableColumn("place", 0.12, True),
    TableColumn("what moves the client", 0.50, is_sentence=True),
)
TIMES = TableColumn("step", 0.4), TableColumn("seconds", 0.15, True)


class ReportFacts(Struct, frozen=True):
    """The content of a report besides the charts."""

    made_at: datetime
    current: Release
    measured: Evaluation
    history: ReleaseHistory
    durations_s: Row | None
    input_folder: str
    manager: ManagerFacts | None = None
    words: ColumnWords = PLAIN
    card: Sequence[CardSection] = ()


def format_minute(at: datetime) -> str:
    """Format a time to the minute, in UTC."""
    return f"{at:%Y-%m-%d %H:%M} UTC"


def format_optional(value: Any, pattern: str = ".4g") -> str:
    """Format a number, "" for None."""
    return "" if value is None else format(value, pattern)


def describe_release(facts: ReportFacts) -> list[tuple[str, str]]:
    """Describe the release in production: deployment, model and training data."""
    current, model, deployed = facts.current, facts.current.model, facts.history.deployment
    since = NO_RECORDS
    if deployed is not None:
        since = f"{format_minute(deployed['at'])}, {deployed['kind']} by {deployed['actor']}"
        since += f": {deployed['reason']}" if deployed["reason"] else ""
    n_rows, n_left = model.dataset.n_rows, model.dataset.n_positives
    return [
        ("Release", current.name),
        ("Serves since", since),
        ("Model", f"{current.manifest.model_stamp}, {len(model.schema.features)} columns"),
        ("Trained on", f"{n_rows:,} rows of {facts.input_folder}, {n_left:,} of them left"),
    ]


def describe_quality(facts: ReportFacts) -> list[tuple[str, str]]:
    """Describe the quality of the model on the test rows."""
    measured, model = facts.measured, facts.current.model
    evidence = f"{measured.n_rows:,} test rows, {measured.n_positives:,} of them left"
    scores = (
        f"precision {format_number(measured.precision)}, recall {format_number(measured.recall)},"
        f" accuracy {measured.accuracy:.3f}, AUC {format_number(measured.roc_auc)}"
    )
    return [
        ("F1 today", f"{format_f1(measured).removeprefix('F1 ')} on {evidence}"),
        ("At the threshold", f"{model.threshold:.3f}: {scores}"),
    ]


def describe_decision(history: ReleaseHistory) -> list[tuple[str, str]]:
    """Describe the decision of the promotion gate and the evidence."""
    decision = history.decision
    if decision is None:
        return [("Decision", NO_RECORDS)]
    rows = [("Decision", f"{decision['answer']}: {decision['reason']}")]
    if decision["probability_better"] is not None:
        rows.append(
            (
                "Evidence",
                f"P(better) {decision['probability_better']:.3f}, difference of"
                f" {paired_metrics.NAMES[decision['metric'] or 'f1']}"
                f" {format_optional(decision['difference'], '+.4f')} (95 % interval"
                f" {format_optional(decision['difference_low'], '+.4f')} to"
                f" {format_optional(decision['difference_high'], '+.4f')}) on"
                f" {decision['n_test_rows']:,} test rows",
            )
        )
    return rows


def title_of(client: ShadowClient) -> str:
    """Return the first filled name for people, "" without one."""
    return "" if client.names is UNSET else next(filter(None, client.names.values()), "")


def name_client(client: ShadowClient) -> str:
    """Return the first filled name for people with the client in brackets, else the client."""
    title = title_of(client)
    return f"{title} ({client.client})" if title else client.client


def format_moves(clients: Sequence[ShadowClient]) -> list[list[str]]:
    """Return clients whom a candidate moves as rows of the table, a row for each reason.

    The key of a client with a name for people stands below the name.
    """
    rows = []
    for client in clients:
        names = [*filter(None, [title_of(client)]), client.client]
        places = f"{client.candidate_position:,}, was {client.production_position:,}"
        risks = [client.candidate_probability, client.production_probability]
        facts = [*(f"{risk:.1%}" for risk in risks), places]
        for number, (name, reason) in enumerate(zip_longest(names, client.reasons, fillvalue="")):
            rows.append([name, *(facts if number == 0 else [""] * len(facts)), reason])
    return rows


def name_some(clients: Sequence[ShadowClient], n_all: int) -> str:
    """Return the names of the first clients and the number of the others."""
    if not n_all:
        return "nobody"
    named = ", ".join(map(name_client, clients[:N_NAMED]))
    n_more = n_all - min(len(clients), N_NAMED)
    return f"{named}{f' and {n_more:,} more' if n_more else ''}" if named else f"{n_more:,} clients"


def write_table(
    layout: PdfLayout, heading: str, columns: Sequence[TableColumn], rows: Sequence[Sequence[str]]
) -> None:
    """Write a section with a table."""
    # A few lines stay together; a longer table goes on to the next page.
    layout.heading(heading, LINE * (2 + min(len(rows), N_TOGETHER)))
    if rows:
        layout.table(columns, rows)
    else:
        layout.paragraph(NO_RECORDS)


def write_shadow(layout: PdfLayout, history: ReleaseHistory) -> None:
    """Write the comparison with the release before on today's clients, if there was one."""
    shadow = shadow_types.read_shadow(history.shadow)
    if shadow is None:
        return
    layout.heading(f"Beside release {shadow.production_release}, before the decision")
    rows = shadow_types.describe(shadow)
    if shadow.clients is not None:
        rows += [
            ("Enter the list", name_some(shadow.enter, shadow.n_enter)),
            ("Leave the list", name_some(shadow.leave, shadow.n_leave)),
        ]
    layout.facts(rows)
    if shadow.moves:
        write_table(layout, "The largest moves", MOVES, format_moves(shadow.moves))


def describe_states(history: ReleaseHistory) -> list[tuple[str, str]]:
    """Describe the watched states that are not "ok", and count the others."""
    if not history.states:
        return [("Watched", NO_RECORDS)]
    found = [row for row in history.states if row["state"] != OK]
    rows = [
        (str(row["name"]), f"{row['state']} since {format_minute(row['since'])}") for row in found
    ]
    n_ok = len(history.states) - len(found)
    return [*rows, ("Without a problem", f"{n_ok} of {len(history.states)}")]


def format_column(row: Row, words: ColumnWords = PLAIN) -> list[str]:
    """Return a column of the data as a row of the table."""
    limit = row["drift_limit"]
    is_over = drift_limits.is_above(row["drift"], limit)
    is_missing_over = drift_limits.is_above(row["missing_drift"], row["missing_drift_limit"])
    return [
        words.name(row["column"]),
        row["kind"],
        format_optional(row["missing_fraction"], ".1%"),
        format_optional(row["mean"]),
        format_optional(row["median"]),
        format_optional(row["standard_deviation"]),
        format_optional(row["drift"], ".3f"),
        format_optional(limit, ".3f"),
        "DRIFT" if is_over else "BLANKS" if is_missing_over else "",
    ]


def format_file(row: Row) -> list[str]:
    """Return a file as a row of the table."""
    return [
        Path(row["path"]).name,
        row["role"] or "",
        "refused" if row["refused"] else format_optional(row["n_rows"], ","),
        format_optional(row["n_rejected"], ","),
        f"{row['n_bytes']:,}",
        row["sha256"][:16],
    ]


def format_run(row: Row) -> list[str]:
    """Return a run as a row of the table."""
    duration: timedelta | None = row["ended_at"] and row["ended_at"] - row["started_at"]
    return [
        str(row["id"]), f"{row['started_at']:%Y-%m-%d %H:%M}",
        "" if duration is None else f"{max(0.0, duration.total_seconds()):.1f} s",
        row["verdict"] or row["status"], format_optional(row["candidate_f1"], ".4f"),
        format_optional(row["production_f1"], ".4f"),
        " ".join(filter(None, [row["reason"], row["error"]])),
    ]  # fmt: skip


def write_title(layout: PdfLayout, facts: ReportFacts) -> None:
    """Write the title of the report with its moment."""
    layout.y -= 16
    layout.write(TITLE, 48, 20, bold=True)
    layout.y -= 22
    layout.write(f"{format_minute(facts.made_at)}, release {facts.current.name}", 48, 10)
    layout.y -= 4


def write_model(layout: PdfLayout, facts: ReportFacts) -> None:
    """Write the facts of the model in production: release, quality, decision and states."""
    layout.heading("Release in production")
    layout.facts(describe_release(facts))
    layout.heading("Quality")
    layout.facts([*describe_quality(facts), *describe_decision(facts.history)])
    layout.heading("Alert states")
    layout.facts(describe_states(facts.history))


def write_charts(layout: PdfLayout, drawings: Sequence[Drawing]) -> None:
    """Write the charts, two beside each other where they are small enough."""
    drawn = {drawing.name: drawing for drawing in drawings}
    layout.heading("The model on the test data", PAIR_HEIGHT + LINE)
    for names in PAIRS:
        pair = [drawn[name] for name in names if name in drawn]
        if pair:
            layout.charts(pair, 2, PAIR_HEIGHT)
    for name in WIDE:
        if name in drawn:
            layout.charts([drawn[name]], 1, min(drawn[name].height * PT_PER_PX, WIDE_HEIGHT))


def write_last_pages(layout: PdfLayout, facts: ReportFacts) -> None:
    """Write the tables of data, files, durations and runs."""
    history = facts.history
    write_shadow(layout, history)
    write_table(layout, "Data", DATA, [format_column(row, facts.words) for row in history.columns])
    write_table(layout, "Ingested files", FILES, [format_file(row) for row in history.files])
    times = facts.durations_s or history.durations_s or {}
    write_table(
        layout, "Times of the run", TIMES, [[name, f"{s:.1f}"] for name, s in times.items()]
    )
    write_table(layout, "Last runs", RUNS, [format_run(row) for row in history.runs])


def write_card(layout: PdfLayout, card: Sequence[CardSection]) -> None:
    """Write the model card."""
    layout.make_room(ROOM_FOR_CARD)
    layout.y -= 30
    layout.write(CARD_TITLE, 48, 16, bold=True)
    for section in card:
        layout.heading(section.title)
        layout.facts(list(section.facts))
        if section.table is not None:
            headings, rows = section.table.headings, section.table.rows
            widths = [1 + max(map(len, cells)) for cells in zip(headings, *rows, strict=True)]
            shares = [width / sum(widths) for width in widths]
            columns = [TableColumn(*one) for one in zip(headings, shares, strict=True)]
            layout.table(columns, rows, fit_size(sum(widths), layout.width, len(columns)))


def write(facts: ReportFacts, drawings: Sequence[Drawing]) -> bytes:
    """Return the report as PDF.

    Parameters
    ----------
    facts : ReportFacts
        The content of the texts and tables.
    drawings : sequence of Drawing
        The charts by name. Charts of single columns are left out.

    Returns
    -------
    bytes
        A PDF, with equal bytes for equal facts and time.
    """
    layout = PdfLayout(TITLE, facts.made_at)
    write_title(layout, facts)
    pdf_manager.write(layout, facts.manager)
    # A page that ran over goes on with the model, so that none stays half empty.
    if facts.manager is not None and len(layout.figures) == 1:
        layout.start_page()
    write_model(layout, facts)
    write_charts(layout, drawings)
    write_last_pages(layout, facts)
    if facts.card:
        write_card(layout, facts.card)
    return layout.render()
