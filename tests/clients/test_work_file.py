"""A CSV file of results is read as strictly as any other."""

import csv
import io

import pytest

from scripts.clients import formatting, work_file
from scripts.clients.response_types import ReasonEntry, WorklistEntry, WorkState
from scripts.clients.work_input import WorkInput
from scripts.core.errors import WorkError


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_the_lines_become_entries(separator: str, end: str, mark: str) -> None:
    rows = [
        ["Client", "result", "note", "plan"],
        ["acme", "saved", "stays", "gold"],
        ["globex", "", "", "basic"],
        ["initech", "lost", "", ""],
    ]
    text = mark + end.join(separator.join(row) for row in rows) + end

    assert work_file.parse(text.encode()) == [
        WorkInput(client="acme", result="saved", note="stays"),
        WorkInput(client="initech", result="lost"),
    ]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", r"first line has the columns \[\]; expected client and at least one of result"),
        (b"client,plan\na,b\n", "expected client and at least one"),
        (b"client,result,result\na,b,c\n", "each once"),
        (b"name,result\na,saved\n", "expected client"),
        (b"client,result\n", "0 results; expected 1 to"),
        (b"client,result\na,saved,x\nb\n", "line 2: 3 fields; expected 2 .*2 lines are wrong"),
        (b"client,result\n,saved\n", "line 2: no client"),
        (b"client,result\n\xff,saved\n", "not in UTF-8"),
        (b"client,result\na,sa\0ved\n", "NUL"),
        (b'client,result\n"a,saved\n', "cannot be read"),
        (b"client,result,note\na,saved," + b"x" * 2001 + b"\n", "line 2: .*2000"),
        (b"client,result\n" + b"a,saved\n" * 10_001, "10001 results; expected 1 to 10000"),
    ],
)
def test_a_file_that_cannot_be_right_is_refused(content: bytes, complaint: str) -> None:
    with pytest.raises(WorkError, match=complaint):
        work_file.parse(content)


@pytest.mark.parametrize(
    "effects", [[], [3.0], [-1.0], [3.0, 2.0, 1.0, -1.0, -0.5], [3.0, -1.0, -0.5]]
)
def test_a_downloaded_list_comes_back_as_it_went_out(effects: list[float]) -> None:
    work = WorkState(
        result="saved", contacted_on="2026-11-27", contacted_by="ada", note="=1+1; \'quoted\'",
        assigned_to="bob", snoozed_until="2026-12-11", is_away=True, version=2,
    )  # fmt: skip
    reasons = [
        ReasonEntry(column="a", value=1.0, typical=2.0, effect=effect, text=f"a {effect}")
        for effect in effects
    ]
    entry = WorklistEntry(
        position=1, client="-acme", probability=0.5, band="high", reasons=reasons,
        previous_probability=None, previous_at=None, change=None, work=work,
        columns={},
    )  # fmt: skip

    text = formatting.format_entries_as_csv([entry])
    (given,) = work_file.parse(text.encode())

    assert given == WorkInput(
        client="-acme", result="saved", note="=1+1; \'quoted\'", contacted_on="2026-11-27",
        contacted_by="ada", assigned_to="bob", snoozed_until="2026-12-11",
    )  # fmt: skip
    header, row = (line for line in csv.reader(io.StringIO(text, newline="")))
    cells = dict(zip(header, row, strict=True))
    raising = [f"a {effect}" for effect in effects if effect > 0]
    assert [cells[f"reason_{n}"] for n in (1, 2, 3) if cells[f"reason_{n}"]] == raising
    assert cells["favour_1"] == next((f"a {e}" for e in effects if e < 0), "")


def test_reading_results_changes_no_limit_of_other_tables() -> None:
    before = csv.field_size_limit()

    work_file.parse(b"client,result\nx,reached\n")

    assert csv.field_size_limit() == before
