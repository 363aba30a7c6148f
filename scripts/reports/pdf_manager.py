"""The first page of the PDF report, for the manager of the callers."""

from collections.abc import Sequence

from scripts.production.manager_types import ListedLine, ManagerFacts
from scripts.reports.pdf_pages import GAP, PdfLayout, TableColumn, first_words

WITHOUT_GAIN = (
    TableColumn("", 0.04, True),
    TableColumn("client", 0.22),
    TableColumn("risk", 0.08, True),
    TableColumn("change", 0.09, True),
    TableColumn("why", 0.57),
)
WITH_GAIN = (
    TableColumn("", 0.04, True),
    TableColumn("client", 0.16),
    TableColumn("risk", 0.08, True),
    TableColumn("change", 0.08, True),
    TableColumn("worth", 0.08, True),
    TableColumn("gain", 0.07, True),
    TableColumn("why", 0.49),
)
NO_LIST = (
    "No client has been scored yet. Put today's clients into the input folder with a blank label;"
    " the next run ranks them, and this page then shows whom to call."
)


def format_line(line: ListedLine, why_width: float, *, has_gain: bool) -> list[str]:
    """Return a client as a row of the table, with the beginning of a long reason."""
    money = [line.worth, line.gain] if has_gain else []
    why = first_words(line.why, why_width)
    return [line.place, line.client, line.risk, line.change, *money, why]


def write_list(layout: PdfLayout, clients: Sequence[ListedLine]) -> None:
    """Write the clients to call first."""
    has_gain = any(line.gain for line in clients)
    columns = WITH_GAIN if has_gain else WITHOUT_GAIN
    why_width = columns[-1].share * layout.width - 2 * GAP
    layout.heading("Call first")
    layout.table(columns, [format_line(line, why_width, has_gain=has_gain) for line in clients])


def write(layout: PdfLayout, facts: ManagerFacts | None) -> None:
    """Write the page: list, changes, calls and predictions.

    Parameters
    ----------
    layout : PdfLayout
        The document, below its title.
    facts : ManagerFacts or None
        None before the first list. Then a sentence stands here, and the page goes on.
    """
    if facts is None:
        layout.heading("Whom to call")
        layout.paragraph(NO_LIST)
        return
    layout.heading("Today's list")
    layout.facts(facts.summary)
    write_list(layout, facts.clients)
    if facts.since is not None:
        layout.heading(f"Since the list of {facts.since}")
        layout.facts(facts.changes)
    layout.heading("What came of the calls")
    layout.facts(facts.calls)
    layout.heading("The predictions")
    layout.facts(facts.predictions)
