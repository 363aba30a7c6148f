"""The list is filtered by columns and by the work with clients, and ordered by any column."""

from typing import Any

import msgspec
import numpy as np
import pytest

from scripts.clients import formatting, list_filters, worklist
from scripts.clients.list_filters import ColumnFilter
from scripts.clients.work_input import WorkInput
from scripts.core.config import Config, WorklistSettings
from scripts.core.errors import SelectionError
from tests.clients.test_client_work import TODAY, record
from tests.support.clientele import CLIENTS, FIRST, ask, put_clients, score, serve

ANY = WorklistSettings()


@pytest.fixture
def scored(config: Config) -> Config:
    """Four scored clients with activities 0 (x), 1 (y) and 2 (z), and b without data."""
    serve(config, FIRST)
    put_clients(config, CLIENTS)
    score(config)
    return config


def names_of(config: Config, **wanted: Any) -> list[str]:
    """Return the names of the clients on a page of the worklist."""
    page = ask(config, worklist.worklist_page, ANY, today=TODAY, **wanted)
    assert page.n_found == len(page.clients) or "top" in wanted
    return [entry.client for entry in page.clients]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"where": ["lastmonth_activity=1"]}, ["y"]),
        ({"where": ["lastmonth_activity>=1"]}, ["y", "z"]),
        ({"where": ["lastmonth_activity <= 1".replace(" ", "")]}, ["x", "y"]),
        ({"where": ["lastmonth_activity>=1", "lastmonth_activity<=1"]}, ["y"]),
        ({"where": ["lastmonth_activity="]}, ["b"]),
        ({"where": ["number_of_employees=3"]}, ["x", "y", "z", "b"]),
        ({"where": ["lastmonth_activity>=1"], "band": "low"}, ["z"]),
        ({"where": ["lastmonth_activity>=1"], "search": "Y"}, ["y"]),
        ({"where": ["lastmonth_activity>=1"], "order": "client"}, ["y", "z"]),
        ({"order": "column.lastmonth_activity"}, ["x", "y", "z", "b"]),
        ({"order": "-column.lastmonth_activity"}, ["z", "y", "x", "b"]),
        ({"order": "-column.lastmonth_activity", "band": "high"}, ["y", "x"]),
    ],
)
def test_the_list_is_filtered_and_ordered_by_columns(
    scored: Config, wanted: dict[str, Any], expected: list[str]
) -> None:
    assert names_of(scored, **wanted) == expected


def test_pages_of_a_filtered_list_follow_one_another(scored: Config) -> None:
    wanted = {"where": ["number_of_employees=3"], "order": "-column.lastmonth_activity", "top": 3}
    first = ask(scored, worklist.worklist_page, ANY, today=TODAY, **wanted)
    second = ask(scored, worklist.worklist_page, ANY, cursor=first.next_cursor, **wanted)

    assert [e.client for e in (*first.clients, *second.clients)] == ["z", "y", "x", "b"]
    assert (first.next_offset, second.next_cursor) == (3, None)


def test_the_list_is_filtered_by_the_work(scored: Config) -> None:
    record(scored, WorkInput(client="x", result="saved", assigned_to="ada"))
    record(scored, WorkInput(client="y", result="lost", snoozed_until=""))
    record(scored, WorkInput(client="z", assigned_to="bob"))
    record(scored, WorkInput(client="z", assigned_to=""))

    assert names_of(scored, contacted="yes") == ["y", "x"]
    assert names_of(scored, contacted="no") == ["z", "b"]
    assert names_of(scored, contacted="lost") == ["y"]
    assert names_of(scored, assigned="ada") == ["x"]
    assert names_of(scored, assigned="bob") == []
    assert names_of(scored, assigned="-") == ["y", "z", "b"]
    # A client who is away stands at the end of the orders to call by only.
    assert names_of(scored, order="column.lastmonth_activity", contacted="yes") == ["x", "y"]


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        ({"where": ["plan=gold"]}, "names no column of the list; expected one of lastmonth"),
        ({"where": ["lastmonth_activity"]}, "names no column"),
        ({"where": ["lastmonth_activity>5"]}, "names no column"),
        ({"where": ["lastmonth_activity=many"]}, "expected a number"),
        ({"where": ["lastmonth_activity>="]}, "expected a number"),
        ({"where": ["lastmonth_activity=nan"]}, "expected a number"),
        ({"order": "column.plan"}, "no column 'plan'"),
        ({"order": "-column."}, "no column ''"),
    ],
)
def test_a_filter_that_cannot_be_is_refused(
    scored: Config, wanted: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(SelectionError, match=complaint):
        names_of(scored, **wanted)


def test_a_column_may_be_named_like_the_beginning_of_another_or_hold_an_operator() -> None:
    known = {"a": "number:a", "a=b": "kept number:a=b", "c>=d": "text:c>=d"}

    assert list_filters.parse_filter("a=b=1", known) == ColumnFilter("a=b", "=", "1")
    assert list_filters.parse_filter("a=1", known) == ColumnFilter("a", "=", "1")
    assert list_filters.parse_filter("c>=d=x=y", known) == ColumnFilter("c>=d", "=", "x=y")
    with pytest.raises(SelectionError, match="= for one of texts"):
        list_filters.parse_filter("c>=d>=x", known)


def test_texts_are_matched_and_ordered_without_regard_to_case() -> None:
    values = np.array(["beta", "", "Alpha", "BETA"], object)

    assert list_filters.match(ColumnFilter("c", "=", "Beta"), values).tolist() == [
        True, False, False, True,
    ]  # fmt: skip
    assert list_filters.match(ColumnFilter("c", "=", ""), values).tolist() == [
        False, True, False, False,
    ]  # fmt: skip
    assert list_filters.order_values(values, is_falling=False).tolist() == [2, 3, 0, 1]
    assert list_filters.order_values(values, is_falling=True).tolist() == [0, 3, 2, 1]


def test_the_columns_to_show_are_on_the_list_and_in_the_file(scored: Config) -> None:
    settings = msgspec.structs.replace(ANY, columns=("lastmonth_activity", "plan"))

    page = ask(scored, worklist.worklist_page, settings, today=TODAY)

    assert page.clients[1].columns == {"lastmonth_activity": 1.0, "plan": None}
    header, _, second, *_ = formatting.format_entries_as_csv(page.clients).splitlines()
    assert header.endswith(",lastmonth_activity,plan")
    assert second.endswith(",1.0,")
