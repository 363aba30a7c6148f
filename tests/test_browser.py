"""Every page in a real browser, on a real server with real records: seen, driven, attacked."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from playwright.sync_api import Browser, expect

from tests.conftest import HEADER, make_rows, write_csv, write_installation
from tests.support.browsing import (
    COLOUR_RULES,
    NARROW,
    WIDE,
    Visitor,
    browsing,
    read_axe,
    visiting,
)
from tests.support.recorded import rename_clients
from tests.support.service import ADMIN_TOKEN, ROOT, TOKEN, edit_config, served

LIMITS: dict[str, Any] = {"max_rows": 500, "max_body_bytes": 200_000}
N_CLIENTS = 120
# What has run in pages of others: elements, attributes, addresses, templates, ends of quotes and of
# comments, other encodings, text that turns its direction, and very long words.
HOSTILE = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "\"><script>alert(1)</script>",
    "'><img src=x onerror=alert(1)>", "<svg onload=alert(1)>", "<svg/onload=alert(1)>",
    "<iframe src=javascript:alert(1)>", "<body onload=alert(1)>", "javascript:alert(1)",
    "<a href=javascript:alert(1)>x</a>", "</title><script>alert(1)</script>",
    "</textarea><script>alert(1)</script>", "--><script>alert(1)</script>",
    "<![CDATA[<script>alert(1)</script>]]>", "<math><mi xlink:href=javascript:alert(1)>",
    "<details open ontoggle=alert(1)>", "<input autofocus onfocus=alert(1)>",
    "<video><source onerror=alert(1)>", "<marquee onstart=alert(1)>",
    "<object data=javascript:alert(1)>",
    "<embed src=javascript:alert(1)>", "<style>@import 'http://192.0.2.1/x'</style>",
    "<link rel=stylesheet href=http://192.0.2.1/x>", "<base href=http://192.0.2.1/>",
    "<meta http-equiv=refresh content='0;url=http://192.0.2.1'>", "<form action=http://192.0.2.1><input>",
    "{{ 7 * 7 }}", "{% raw %}", "${alert(1)}", "#{alert(1)}", "{{ config.__class__ }}",
    "\" onmouseover=\"alert(1)", "' onfocus='alert(1)' autofocus='", "` onload=`alert(1)`",
    "&lt;script&gt;alert(1)&lt;/script&gt;", "&#60;script&#62;alert(1)", "%3Cscript%3Ealert(1)",
    "\\u003cscript\\u003ealert(1)", "\u202egpj.exe", "W" * 300,
)  # fmt: skip
PAGES = (
    "/", "/dashboard/worklist", "/dashboard/client?name=s7n0", "/dashboard/runs",
    "/dashboard/run?id=2", "/dashboard/compare", "/dashboard/models", "/dashboard/data",
    "/dashboard/data?column=lastmonth_activity", "/dashboard/outcomes", "/dashboard/calling",
    "/dashboard/upload", "/dashboard/results", "/dashboard/worklist/print", "/login",
)  # fmt: skip

UNFOLD = "document.querySelectorAll('details').forEach(d => d.open = true)"
FIND_WIDE_TABLES = """() => [...document.querySelectorAll('.scroll')]
    .filter(part => part.scrollWidth > part.clientWidth + 1)
    .map(part => part.getAttribute('aria-label'))"""


def run_process(config_path: Path) -> None:
    """Run the full process as cron would."""
    command = [sys.executable, "-m", "scripts.fullprocess", "--config", str(config_path)]
    env = os.environ | {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:1/simple"}
    subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, timeout=120)


def unlabelled(rows: list[str]) -> list[str]:
    """Remove the labels."""
    return [row.rpartition(",")[0] + "," for row in rows]


def add_hostile_records(config_path: Path) -> None:
    """Let the records hold hostile clients, reasons, errors, files and columns."""
    rename_clients(config_path.parent / "adras.db", HOSTILE)
    with sqlite3.connect(config_path.parent / "adras.db") as connection:
        ask = connection.execute
        ask("DELETE FROM shadow_clients WHERE run_id = 2")
        for number, text in enumerate(HOSTILE):
            ask("INSERT INTO shadow_clients (run_id, kind, client, candidate_probability,"
                " production_probability, candidate_position, production_position, reasons)"
                " VALUES (2, ?, ?, 0.5, 0.25, 1, 2, ?)",
                [("enter", "leave", "move")[number % 3], text, json.dumps([text])])  # fmt: skip
            ask("INSERT INTO runs (id, started_at, ended_at, status, reason, error, trigger) VALUES"
                " (?, '2026-01-01 00:00:00', '2026-01-01 00:00:01', 'failed', ?, ?, ?)",
                [100 + number, text, text, text[:16]])  # fmt: skip
            ask("INSERT INTO files (run_id, role, path, sha256, n_bytes, refused) VALUES"
                " (2, 'input', ?, ?, 1, ?)", [f"/in/{text}", "0" * 64, text])  # fmt: skip
            ask("INSERT INTO column_statistics (run_id, dataset_stamp, \"column\", kind, n_rows,"
                " mean) VALUES (2, 's', ?, 'numeric', 1, 1.5)", [text])  # fmt: skip


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs on a thousand clients, a hundred of today's, and hostile records."""
    folder = tmp_path_factory.mktemp("browser")
    config_path = write_installation(folder)
    for path in (folder / "input").iterdir():
        path.unlink()
    # Port 1 is nobody's: there is no service for the run to ask.
    edit_config(config_path, api={"port": 1}, worklist={"capacity": 20})
    write_csv(folder / "test" / "test.csv", make_rows(200, 1, noise=0.2))
    write_csv(folder / "input" / "a.csv", make_rows(400, 2, noise=0.2))
    today = make_rows(N_CLIENTS, 7)
    write_csv(folder / "input" / "today.csv", unlabelled(today))
    run_process(config_path)
    write_csv(folder / "input" / "b.csv", make_rows(400, 3, noise=0.2))
    moved = [f"{row.split(',')[0]},{number},900,20," for number, row in enumerate(today)]
    write_csv(folder / "input" / "today2.csv", moved)
    run_process(config_path)
    add_hostile_records(config_path)
    return config_path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser."""
    with browsing() as started:
        yield started


@pytest.fixture(scope="module")
def url(installation: Path) -> Iterator[str]:
    """The address of a server without a token."""
    with served(installation, **LIMITS) as (address, _):
        yield address


@pytest.fixture
def visitor(browser: Browser, url: str) -> Iterator[Visitor]:
    """Somebody at a browser."""
    with visiting(browser, url, accept_downloads=True) as sitting:
        yield sitting


def test_the_comparison_of_two_runs_has_no_barrier_and_runs_no_script(visitor: Visitor) -> None:
    axe = read_axe()
    # The service starts a program that reads the test rows.
    visitor.page.set_default_timeout(60_000)

    visitor.go("/dashboard/compare?a=1&b=2")

    assert visitor.page.locator("polyline.before").count() >= 1
    assert visitor.find_barriers(axe) == []
    visitor.page.set_viewport_size(NARROW)
    assert visitor.overflow() <= 0


# Between the two schemes a page differs by its colours alone.
@pytest.mark.parametrize(("scheme", "rules"), [("light", ()), ("dark", COLOUR_RULES)])
def test_no_page_has_a_barrier_a_complaint_or_a_request_to_elsewhere(
    browser: Browser, url: str, scheme: Any, rules: tuple[str, ...]
) -> None:
    axe = read_axe()
    found: dict[str, list[str]] = {}
    with visiting(browser, url, color_scheme=scheme) as sitting:
        for path in PAGES:
            sitting.go(path)
            sitting.check()
            found[path] = sitting.find_barriers(axe, *rules)
    assert {path: barriers for path, barriers in found.items() if barriers} == {}


@dataclass(frozen=True)
class Measured:
    """The excess of a page over the width of a phone, and its tables that scroll sideways."""

    overflow: int
    wide_tables: list[str]


@pytest.fixture(scope="module")
def on_a_phone(browser: Browser, url: str) -> dict[str, Measured]:
    """Measure every page on a phone, the tables with everything unfolded."""
    found = {}
    with visiting(browser, url, viewport=NARROW, is_mobile=True, has_touch=True) as sitting:
        for path in PAGES:
            sitting.go(path)
            overflow = sitting.overflow()
            sitting.page.evaluate(UNFOLD)
            found[path] = Measured(overflow, sitting.page.evaluate(FIND_WIDE_TABLES))
    return found


def test_on_a_phone_no_page_is_wider_than_the_window(
    browser: Browser, url: str, on_a_phone: dict[str, Measured]
) -> None:
    wider = {path: measured.overflow for path, measured in on_a_phone.items()}
    with visiting(browser, url, viewport=NARROW, is_mobile=True, has_touch=True) as sitting:
        # The heads of columns are then the heads of lines.
        sitting.go("/dashboard/worklist")
        cell = sitting.page.locator("tbody td[data-label=Change]").first
        before = cell.evaluate("cell => getComputedStyle(cell, '::before').content")
    assert {path: pixels for path, pixels in wider.items() if pixels} == {}
    assert before == '"Change"'


def test_on_a_phone_ten_clients_fit_three_screens_and_the_filters_unfold(
    browser: Browser, url: str
) -> None:
    bottom = "row => row.getBoundingClientRect().bottom + scrollY"
    top = "row => row.getBoundingClientRect().top + scrollY"
    with visiting(browser, url, viewport=NARROW, is_mobile=True, has_touch=True) as sitting:
        rows = sitting.page.locator("tbody tr")
        sitting.go("/dashboard/worklist")
        above = rows.first.evaluate(top)
        form = sitting.page.get_by_role("search")
        expect(form).to_be_hidden()
        sitting.page.get_by_label("Search and filter").check()
        expect(form).to_be_visible()
        # Ordinary names: those of the attack are up to 300 letters long.
        sitting.go("/dashboard/worklist?search=s7n")
        expect(form).to_be_visible()
        shown = rows.nth(9).evaluate(bottom) - rows.first.evaluate(top)
        title = rows.first.locator("th")
        sizes = [box.bounding_box() for box in (title, rows.first.locator("td.reasons"))]
    assert above + shown <= 3 * NARROW["height"]
    # The name stands above everything else of a client, without a label.
    assert sizes[0] is not None
    assert sizes[1] is not None
    assert sizes[0]["y"] < sizes[1]["y"]
    assert sizes[0]["x"] < 80


def test_on_a_phone_no_table_scrolls_sideways_and_columns_show_their_state(
    browser: Browser, url: str, on_a_phone: dict[str, Measured]
) -> None:
    found = {path: measured.wide_tables for path, measured in on_a_phone.items()}
    with visiting(browser, url, viewport=NARROW, is_mobile=True, has_touch=True) as sitting:
        sitting.go("/dashboard/data")
        states = sitting.page.locator("table.wide td[data-label=State]")
        ends = [
            (box["x"], box["x"] + box["width"])
            for box in (states.nth(n).bounding_box() for n in range(4))
            if box
        ]
    assert {path: parts for path, parts in found.items() if parts} == {}
    assert all(start > 0 and end <= NARROW["width"] for start, end in ends)


def test_the_dark_is_dark_and_the_light_is_light(browser: Browser, url: str) -> None:
    colours = {}
    for scheme in ("light", "dark"):
        with visiting(browser, url, color_scheme=scheme) as sitting:
            sitting.go("/")
            colours[scheme] = [
                sum(map(int, colour.strip("rgb()").split(",")))
                for colour in sitting.page.evaluate(
                    "(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))"
                )
            ]
    assert colours["light"][0] > 600 > 200 > colours["light"][1]
    assert colours["dark"][0] < 200 < 600 < colours["dark"][1]


def test_charts_are_shown(visitor: Visitor) -> None:
    for path in ("/dashboard/models", "/dashboard/data"):
        visitor.go(path)
        pictures = visitor.page.locator(".chart img")
        widths = pictures.evaluate_all("all => all.map(i => [i.naturalWidth, i.alt.length])")
        assert widths
        assert all(width > 100 and alt > 20 for width, alt in widths)


def test_search_sort_open_and_download(visitor: Visitor, url: str) -> None:
    page = visitor.page
    visitor.go("/dashboard/worklist")
    page.get_by_label("Client", exact=True).fill("s7n1")
    page.get_by_label("Order").select_option("by name")
    visitor.follow(page.get_by_role("button", name="Show"))
    told = requests.get(f"{url}/worklist?search=s7n1&order=client", timeout=5).json()["clients"]
    assert page.locator("tbody th").all_inner_texts() == [entry["client"] for entry in told]
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("Client")
    visitor.follow(page.get_by_role("columnheader").get_by_role("link", name="Risk"))
    told = requests.get(f"{url}/worklist?search=s7n1", timeout=5).json()["clients"]
    assert page.locator("tbody th").all_inner_texts() == [entry["client"] for entry in told]
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download CSV").click()
    lines = waiting.value.path().read_text().splitlines()
    assert [line.split(",")[1] for line in lines[1:]] == [entry["client"] for entry in told]
    visitor.follow(page.locator("tbody th a").first)
    expect(page.get_by_role("heading", level=1)).to_have_text(told[0]["client"])
    expect(page.locator(".stat .big").first).to_have_text(f"{told[0]['probability']:.1%}")
    assert page.locator("svg.history").get_attribute("aria-label") is not None


def test_pages_of_the_list_follow_one_another(visitor: Visitor) -> None:
    visitor.go("/dashboard/worklist")
    names = visitor.page.locator("tbody th").all_inner_texts()
    for _ in range(2):
        visitor.follow(visitor.page.get_by_role("link", name="Next"))
        names += visitor.page.locator("tbody th").all_inner_texts()
    assert len(names) == len(set(names)) == N_CLIENTS
    visitor.page.get_by_role("link", name="Previous").click()
    expect(visitor.page.locator("#found")).to_have_text(f"51 to 100 of {N_CLIENTS}")


def test_with_the_keyboard_alone(visitor: Visitor) -> None:
    page = visitor.page
    visitor.go("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    visitor.go("/dashboard/worklist")
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.name || ''"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none"
        if reached[-1] == "search":
            break
    page.keyboard.type("s7n11")
    page.keyboard.press("Enter")
    page.wait_for_url("**search=s7n11**")
    found = page.locator("tbody th a").first
    for _ in range(60):
        page.keyboard.press("Tab")
        if found.evaluate("link => link === document.activeElement"):
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/dashboard/client?name=**")


def test_without_javascript_the_list_is_searched_all_the_same(browser: Browser, url: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{url}/dashboard/worklist")
    page.get_by_label("Client", exact=True).fill("s7n11")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("tbody th").first).to_contain_text("s7n11")
    context.close()


def send(visitor: Visitor, label: str, button: str, content: str, name: str = "mine.csv") -> None:
    """Send a file by one of the two forms."""
    form = visitor.page.locator(label)
    file: Any = {"name": name, "mimeType": "text/csv", "buffer": content.encode()}
    form.locator("input[type=file]").set_input_files(file)
    pressed = form.get_by_role("button", name=button, exact=True)
    if "download" in button:
        pressed.click()
    else:
        visitor.follow(pressed)


def test_a_table_is_uploaded_ranked_and_added(visitor: Visitor, installation: Path) -> None:
    page, folder = visitor.page, installation.parent / "input"
    before = set(folder.iterdir())
    visitor.go("/dashboard/upload")
    send(visitor, "#rank", "Rank", f"{HEADER}\nquiet,0,10,3,\nbusy,190,10,3,\n")
    expect(page.get_by_role("status")).to_contain_text("2 clients ranked")
    assert page.locator("tbody th").all_inner_texts() == ["quiet", "busy"]
    assert set(folder.iterdir()) == before
    with page.expect_download() as waiting:
        send(visitor, "#rank", "Rank and download CSV", f"{HEADER}\n=1+1,0,10,3,\n")
    assert waiting.value.path().read_text().splitlines()[1].startswith("1,'=1+1,")
    send(visitor, "#add", "Check and add", f"{HEADER}\nnew,7,10,3,1\n", "evil/../name.csv")
    expect(page.get_by_role("status")).to_contain_text("Added 1 row")
    (added,) = set(folder.iterdir()) - before
    assert added.name in page.get_by_role("status").inner_text()
    added.unlink()


def test_a_faulty_table_is_answered_with_its_faults(browser: Browser, url: str) -> None:
    context = browser.new_context()
    sitting = Visitor(context, url)
    sitting.go("/dashboard/upload")
    send(sitting, "#add", "Check and add", f"{HEADER}\nnew,x,10,3,1\n")
    expect(sitting.page.get_by_role("alert")).to_contain_text("1 of 1 rows cannot be right")
    expect(sitting.page.locator("#faults tbody tr")).to_contain_text(["lastmonth_activity"])
    # The browser itself notes the status 422 on its console, and nothing else.
    assert all("422" in fault for fault in sitting.faults)
    context.close()


def test_with_a_token_one_logs_in_and_out(
    browser: Browser, installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADRAS_API_ADMIN_TOKEN", ADMIN_TOKEN)
    held = json.loads(installation.read_text())
    with served(installation, TOKEN, **LIMITS) as (address, _):
        installation.write_text(json.dumps(held))
        context = browser.new_context()
        sitting = Visitor(context, address)
        page = sitting.page
        sitting.go("/dashboard/runs?offset=25")
        expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
        assert sitting.find_barriers(read_axe()) == []
        sitting.check()
        page.get_by_label("Token").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("not the token")
        page.get_by_label("Token").fill(TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_url("**/dashboard/runs?offset=25")
        (cookie,) = context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert page.evaluate("document.cookie") == ""
        sitting.go("/dashboard/upload")
        expect(page.locator("#add")).to_contain_text("has the role read")
        page.get_by_role("link", name="Log in with the token").click()
        page.get_by_label("Token").fill(ADMIN_TOKEN)
        page.get_by_role("button", name="Log in").click()
        expect(page.locator("#add input[type=file]")).to_be_visible()
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
        assert context.cookies() == []
        assert all("401" in fault for fault in sitting.faults)
        context.close()


def test_no_hostile_string_becomes_a_script(browser: Browser, url: str) -> None:
    with visiting(browser, url) as sitting:
        page = sitting.page
        for path in ("/dashboard/runs", "/dashboard/runs?offset=25", "/dashboard/data",
                     "/dashboard/run?id=2", "/dashboard/worklist?top=500"):  # fmt: skip
            sitting.go(path)
            shown = page.locator("main").inner_text()
            if "/runs" not in path:
                assert [text for text in HOSTILE if text not in shown] == [], path
        for text in HOSTILE:
            page.goto(f"{url}/dashboard/client?name={quote(text, safe='')}")
            assert page.locator("h1").inner_text() == text
        for text in HOSTILE[::5]:
            page.goto(f"{url}/dashboard/worklist?search={quote(text[:200], safe='')}")
            assert page.get_by_label("Client", exact=True).input_value() == text[:200]
            page.goto(f"{url}/dashboard/data?column={quote(text, safe='')}")


def test_no_hostile_file_becomes_a_script(browser: Browser, url: str) -> None:
    context = browser.new_context()
    sitting = Visitor(context, url)
    sitting.go("/dashboard/upload")
    cells = [text.replace('"', '""') for text in HOSTILE]
    for text, cell in zip(HOSTILE, cells, strict=True):
        send(sitting, "#rank", "Rank", f'{HEADER}\n"{cell}",1,1,1,\nx,"{cell}",1,1,\n', text)
        assert sitting.page.locator("tbody th").first.inner_text() == text
    for first in range(0, len(HOSTILE), 10):
        header = ",".join(f'"{cell}"' for cell in cells[first : first + 10])
        send(sitting, "#add", "Check and add", f"corporation,{header}\n1,2\n", HOSTILE[first])
        expect(sitting.page.get_by_role("alert")).to_contain_text("it lacks the columns")
    assert all("422" in fault for fault in sitting.faults)
    assert all(asked.startswith(f"{url}/") for asked in sitting.requested)
    context.close()


def test_the_checker_finds_a_barrier_where_there_is_one(browser: Browser, url: str) -> None:
    with visiting(browser, url) as sitting:
        sitting.go("/login")
        sitting.page.evaluate(
            "document.querySelector('main').innerHTML = '<input><img src=/x.svg>'"
        )
        found = sitting.find_barriers(read_axe())
        sitting.faults.clear()
    assert {barrier.partition(":")[0] for barrier in found} >= {"label", "image-alt"}


def test_a_form_on_a_page_of_somebody_else_changes_nothing(
    browser: Browser, url: str, installation: Path, tmp_path: Path
) -> None:
    folder = installation.parent / "input"
    before = set(folder.iterdir())
    context = browser.new_context(viewport=WIDE)
    page = context.new_page()
    form = f"<form method=post action='{url}/dashboard/upload' enctype=multipart/form-data>"
    (tmp_path / "evil.html").write_text(f"{form}<input name=table value=x><button>Go</button>")
    page.goto(f"file://{tmp_path}/evil.html")
    with page.expect_navigation() as waiting:
        page.get_by_role("button").click()
    answer = waiting.value
    assert answer is not None
    assert answer.status == 403
    expect(page.locator("main")).to_contain_text("page of another site")
    assert set(folder.iterdir()) == before
    context.close()
