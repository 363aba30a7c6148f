"""The printed worklist: sheets of A4 with 25 clients, of which nothing is cut."""

import re
import shutil
import subprocess
from pathlib import Path

from scripts.clients.response_types import WorklistEntry
from scripts.core.config_file import read_config
from scripts.dashboard import print_list
from tests.support.browsing import browsing, skip_or_fail
from tests.support.clientele import FIRST, put_clients, score, serve
from tests.support.service import edit_config, served

N_CLIENTS = 60
# Names and units as long as people write them, and a name that is one long word.
LABELS = {
    "lastmonth_activity": {"name": "Orders and visits of the last thirty days", "unit": "orders"},
    "lastyear_activity": {"name": "Orders and visits of the last twelve months", "unit": "orders"},
    "number_of_employees": {"name": "Employees at the place of delivery", "unit": "people"},
}
LONG_NAME = "Verwaltungsgenossenschaftszentrale-" * 3


def set_up(config_path: Path) -> None:
    """Score sixty clients, each with three long reasons and three columns to show."""
    edit_config(
        config_path,
        schema={"labels": LABELS},
        worklist={
            "columns": list(LABELS),
            "value": "number_of_employees",
            "costs": {"contact": 1, "offer": 2},
        },
    )
    config = read_config(config_path)
    serve(config, FIRST)
    rows = [f"client {number:02d},{number / 7},{number * 31},{number * 3}," for number in range(59)]
    put_clients(config, [*rows, f"{LONG_NAME},0,5,900,"])
    score(config)


def read_pdf(tool: str, *words: str) -> str:
    """Return the output of a tool of poppler."""
    if shutil.which(tool) is None:
        skip_or_fail(f"{tool} is not there: apt-get install --no-install-recommends poppler-utils")
    return subprocess.run([tool, *words], check=True, capture_output=True, text=True).stdout


def squeezed(text: str) -> str:
    """Return a text without white space, which a line break in a cell changes."""
    return re.sub(r"\s+", "", text)


def test_a_printed_sheet_of_a4_has_25_clients_whole_below_a_header(
    config_path: Path, tmp_path: Path
) -> None:
    set_up(config_path)
    path = tmp_path / "list.pdf"

    with served(config_path) as (url, _), browsing() as browser:
        page = browser.new_page(color_scheme="dark")
        page.goto(f"{url}/dashboard/worklist/print?top=500&order=client")
        shown = page.locator("tbody tr").all_inner_texts()
        page.pdf(path=path, prefer_css_page_size=True, print_background=True)
        colours = page.evaluate(
            "() => ['color', 'backgroundColor'].map(k => getComputedStyle(document.body)[k])"
        )

    facts = read_pdf("pdfinfo", str(path))
    assert re.search(r"Pages:\s+3\b", facts)
    assert re.search(r"Page size:\s+841\.\d+ x 59\d\.\d+ pts \(A4\)", facts)
    sheets = [
        read_pdf("pdftotext", "-f", str(n), "-l", str(n), "-layout", str(path), "-")
        for n in (1, 2, 3)
    ]
    for sheet, first, last in zip(sheets, (0, 25, 50), (25, 50, 60), strict=True):
        assert "Why, and what is known" in sheet
        numbers = re.findall(r"^ *(\d+) +(?:client|Verw)", sheet, re.MULTILINE)
        assert len(numbers) == last - first
    # Every word of the page is on paper: nothing is cut at an edge.
    raw = squeezed(read_pdf("pdftotext", "-raw", str(path), "-"))
    assert len(shown) == N_CLIENTS
    for row in shown:
        for cell in row.split("\t"):
            assert squeezed(cell) in raw
    assert colours == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]


def test_letters_shrink_until_25_clients_fit_and_no_further_than_can_be_read() -> None:
    def size(text: str) -> int:
        entry = WorklistEntry(
            position=1, client="x", probability=0.5, band="high", reasons=[], columns={},
            previous_probability=None, previous_at=None, change=None, work=None,
        )  # fmt: skip
        return print_list.choose_size([print_list.PrintedRow(1, "x", entry, text, "")] * 25)

    assert size("Logins fell from 71 to 4") == 9
    assert size("w" * 250) == 7
    assert size("w" * 5_000) == 6


def test_where_texts_are_too_long_a_sheet_has_fewer_clients_and_none_is_half_empty() -> None:
    entry = WorklistEntry(
        position=1, client="x", probability=0.5, band="high", reasons=[], columns={},
        previous_probability=None, previous_at=None, change=None, work=None,
    )  # fmt: skip
    texts = ["w" * (900 if place < 40 else 100) for place in range(80)]
    rows = [print_list.PrintedRow(n, "x", entry, text, "") for n, text in enumerate(texts)]

    sheets = list(print_list.split_rows(rows))

    assert [row.place for sheet in sheets for row in sheet] == list(range(80))
    assert [len(sheet) for sheet in sheets[-1:]] == [len(rows) - sum(map(len, sheets[:-1]))]
    for sheet in sheets:
        height_mm = sum(print_list.row_height_mm(row, 6) for row in sheet)
        assert height_mm <= print_list.FULL_MM
    assert all(len(sheet) == 25 or sheet[0].place < 40 for sheet in sheets[:-1])
