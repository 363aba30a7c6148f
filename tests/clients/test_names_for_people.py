"""Names and other columns that are no features are kept with a scoring, shown, and forgotten."""

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import openpyxl
import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from scripts import fullprocess
from scripts.app import create_app
from scripts.clients import (
    client_history,
    client_names,
    formatting,
    list_delivery,
    list_events,
    list_export,
    weekly_mail,
    worklist,
)
from scripts.core.config import Config, SmtpSettings, WorklistSettings
from scripts.core.errors import SelectionError
from scripts.pipeline import snapshot
from scripts.production.shadow_types import ShadowClient
from scripts.records import column_blocks, database, people_names, scoring_records
from scripts.records.tables import BlockKind, client_blocks
from scripts.records.tables import list_events as list_events_table
from scripts.reports import pdf_report
from tests.conftest import HEADER
from tests.support.clientele import FIRST, ask, score, serve
from tests.support.monthly import SCHEMA, Company, configure

SHOWN = ("country", "spent", "lastmonth_activity", "Company")
TODAY = [
    "z,2,7,3,,Zeta AG,z@x.de,AT,12.5,007", "x,0,7,3,,Xi & Söhne,,DE,3,012",
    "b,,,3,,,b@x.de,,,1", "y,1,7,3,,Ypsilon,y@x.de,DE,100,2",
]  # fmt: skip


def put(config: Config, rows: list[str], name: str = "today.csv") -> None:
    """Write a file of clients with columns that are no features."""
    lines = [f"{HEADER},Company,Mail,country,spent,code", *rows]
    (config.input_folder_path / name).write_text("\n".join(lines) + "\n")


@pytest.fixture
def declared(config: Config) -> Config:
    """An installation that keeps names and other columns, with clients who are not scored yet."""
    schema = replace(config.schema, names=("Company", "Mail"))
    settings = WorklistSettings(columns=(*SHOWN, "code"))
    serve(config, FIRST)
    put(config, TODAY)
    return replace(config, schema=schema, worklist=settings)


@pytest.fixture
def scored(declared: Config) -> Config:
    """An installation with the names and other columns of its four clients."""
    score(declared)
    return declared


def page_of(config: Config, **wanted: Any) -> Any:
    """Return a page of the worklist."""
    return ask(config, worklist.worklist_page, config.worklist, **wanted)


def listed(config: Config, **wanted: Any) -> list[str]:
    """Return the clients on a page of the worklist."""
    return [entry.client for entry in page_of(config, **wanted).clients]


def blocks_of(config: Config, kind: BlockKind) -> list[Any]:
    """Return the blocks of a kind, the oldest scoring first."""
    query = sa.select(client_blocks).where(client_blocks.c.kind == kind)
    with (
        database.open_records(config.database_url) as engine,
        database.reading(engine) as connection,
    ):
        return list(connection.execute(query.order_by(client_blocks.c.scoring_id)))


def test_an_entry_has_the_names_for_people_and_columns_that_are_no_features(
    scored: Config,
) -> None:
    entries = {entry.client: entry for entry in page_of(scored).clients}

    assert entries["z"].names == {"Company": "Zeta AG", "Mail": "z@x.de"}
    # A blank name loses nobody.
    assert entries["x"].names == {"Company": "Xi & Söhne", "Mail": ""}
    assert entries["z"].columns == {
        "country": "AT", "spent": 12.5, "lastmonth_activity": 2.0, "Company": "Zeta AG",
        "code": "007",
    }  # fmt: skip
    assert entries["b"].columns["spent"] is None


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"search": "söhne"}, ["x"]),
        ({"search": "X.DE"}, ["y", "z", "b"]),
        ({"search": "y"}, ["y"]),
        ({"search": "nobody"}, []),
        ({"where": ["country=de"]}, ["x", "y"]),
        ({"where": ["spent>=12.5"]}, ["y", "z"]),
        ({"where": ["spent="]}, ["b"]),
        ({"where": ["Company=zeta ag"]}, ["z"]),
        ({"order": "column.spent"}, ["x", "z", "y", "b"]),
        ({"order": "-column.country"}, ["x", "y", "z", "b"]),
        ({"order": "column.Company"}, ["x", "y", "z", "b"]),
        ({"order": "column.code"}, ["z", "x", "b", "y"]),
    ],
)
def test_the_list_is_searched_filtered_and_ordered_by_them(
    scored: Config, wanted: dict[str, Any], expected: list[str]
) -> None:
    assert listed(scored, **wanted) == expected


def test_texts_have_no_limits_and_unknown_columns_are_refused(scored: Config) -> None:
    with pytest.raises(SelectionError, match="expected a number"):
        listed(scored, where=["code>=1"])
    with pytest.raises(SelectionError, match="no column 'plan'; expected one of Company, Mail"):
        listed(scored, order="column.plan")


def test_the_csv_file_has_the_names_beside_the_client(scored: Config) -> None:
    first, row, *_ = formatting.format_entries_as_csv(page_of(scored).clients).splitlines()

    assert first.startswith("position,client,Company,Mail,probability,")
    assert first.endswith(",country,spent,lastmonth_activity,code")
    assert row.startswith("1,x,Xi & Söhne,,")
    assert "z (Zeta AG, z@x.de)" in formatting.format_entries(page_of(scored).clients)


def test_files_to_take_along_have_the_names(scored: Config, tmp_path: Path) -> None:
    list_export.write_crm(scored, tmp_path / "calls.csv")
    list_export.write_excel(scored, tmp_path / "list.xlsx")

    crm = (tmp_path / "calls.csv").read_text().splitlines()
    sheet = openpyxl.load_workbook(tmp_path / "list.xlsx")["Worklist"]
    header, first, *_ = sheet.iter_rows(values_only=True)

    assert crm[1].startswith("x,Xi & Söhne,0.75")
    assert header[:4] == ("position", "client", "Company", "Mail")
    assert header[-4:] == ("country", "spent", "lastmonth_activity", "code")
    assert (first[2], first[-3], len(first)) == ("Xi & Söhne", 3, len(header))


def test_a_client_has_the_names_of_the_last_score(scored: Config) -> None:
    put(scored, ["z,2,7,3,,Zeta SE,z@x.de,AT,13,007", *TODAY[1:]])
    score(scored)

    found = ask(scored, client_history.client_page, scored.worklist, "z")
    similar = ask(scored, client_history.find_similar_names, "Ypsi")

    assert found is not None
    assert (found.names, found.columns["spent"]) == (
        {"Company": "Zeta SE", "Mail": "z@x.de"}, 13.0,
    )  # fmt: skip
    assert similar == ["y"]


def test_unchanged_texts_are_stored_once_and_values_apart_from_them(scored: Config) -> None:
    put(scored, ["z,5,7,3,,Zeta AG,z@x.de,AT,12.5,007", *TODAY[1:3], TODAY[3].replace("DE", "FR")])
    score(scored)

    texts, values = blocks_of(scored, BlockKind.TEXTS), blocks_of(scored, BlockKind.VALUES)

    assert [block.n_clients for block in texts] == [4, 1]
    assert [block.n_clients for block in values] == [4, 1]
    assert column_blocks.unpack(texts[1].content)["name:Company"].tolist() == ["Ypsilon"]
    assert listed(scored, where=["country=FR"]) == ["y"]
    assert listed(scored, where=["lastmonth_activity=5"]) == ["z"]


def test_a_changed_text_does_not_bring_a_client_with_a_known_outcome_back(scored: Config) -> None:
    put(scored, [TODAY[0].replace(",3,,", ",3,1,"), *TODAY[1:]])
    score(scored)
    put(scored, TODAY[1:])
    put(scored, [TODAY[0].replace("Zeta AG", "Zeta SE")], "today2.csv")

    score(scored)

    assert sorted(listed(scored)) == ["b", "x", "y"]


def test_a_client_who_is_absent_keeps_the_names_of_the_last_score(scored: Config) -> None:
    put(scored, TODAY[1:])
    for _ in range(2):
        score(scored)

    found = ask(scored, client_history.client_page, scored.worklist, "z")

    assert found is not None
    assert found.names == {"Company": "Zeta AG", "Mail": "z@x.de"}
    put(scored, TODAY)
    score(scored)
    assert listed(scored, search="zeta") == ["z"]


def test_who_is_on_the_list_and_who_is_not_any_more_is_found_by_name(scored: Config) -> None:
    put(
        scored, ["y,1,7,3,0,Ypsilon,y@x.de,DE,100,2", "z,2,7,3,,Zeta SE,,AT,12.5,007"], "today2.csv"
    )
    score(scored)

    found = ask(scored, people_names.find_names, ["z", "y", "nobody"])

    assert found == {
        "z": {"Company": "Zeta SE", "Mail": ""}, "y": {"Company": "Ypsilon", "Mail": "y@x.de"},
    }  # fmt: skip
    assert client_names.format_title("z", found["z"], "high") == "Zeta SE (z, high)"
    assert client_names.format_title("z", {}, "high") == "z (high)"
    assert client_names.format_title("z", {"Company": ""}) == "z"


def test_outcomes_have_the_names_of_the_last_score(scored: Config) -> None:
    put(scored, ["y,1,7,3,1,Other,,DE,100,2", "x,0,7,3,,Xi & Söhne,,DE,3,012"], "today2.csv")
    score(scored)

    (outcome,) = ask(scored, client_history.outcomes_page, scored.worklist).outcomes

    assert (outcome.client, outcome.names) == ("y", {"Company": "Ypsilon", "Mail": "y@x.de"})


def test_mail_and_events_name_who_comes_and_who_goes(scored: Config) -> None:
    config = replace(scored, worklist=replace(scored.worklist, capacity=2))
    now, smtp = (
        datetime(2026, 11, 23, 7, tzinfo=UTC),
        SmtpSettings(host="mail", sender="a@b.de", receivers=("c@d.de",)),
    )
    with database.open_records(config.database_url) as engine:
        list_events.record_events(engine, config, now, None)
        first = list_delivery.read_facts(engine, config, "2026-11-23", now)
        put(config, ["w,0,7,3,,Weh KG,,AT,1,1", "x,9,7,3,,Xi & Söhne,,DE,3,012"], "today2.csv")
        score(config)
        list_events.record_events(engine, config, now, None)
        second = list_delivery.read_facts(engine, config, "2026-11-30", now)
        with database.reading(engine) as connection:
            bodies = [row.body for row in connection.execute(sa.select(list_events_table))]
            before = first.listed.members if first is not None else {}
            gone = people_names.find_names(connection, before)
    assert second is not None
    told = msgspec.structs.replace(second, before=before, before_week="2026-11-23", gone=gone)
    mail = weekly_mail.compose(told, smtp, "<id>", now)

    plain, html = (part.get_content() for part in mail.iter_parts())
    assert "1 new on the list: Weh KG (w, high)." in plain
    assert "1 no longer on it: Xi & Söhne (x, was high)." in plain
    assert "1. Weh KG (w): " in plain
    assert "no longer on it: Xi &amp; Söhne (x, was high)." in html
    messages = [json.loads(body)["data"] for body in bodies]
    named = {data["client"]: data["names"]["Company"] for data in messages}
    assert named == {"x": "Xi & Söhne", "y": "Ypsilon", "w": "Weh KG"}


def test_a_column_that_becomes_text_is_stored_again(scored: Config) -> None:
    put(scored, [TODAY[0].replace("12.5", "n/a"), *TODAY[1:]])
    score(scored)

    assert [block.n_clients for block in blocks_of(scored, BlockKind.TEXTS)] == [4, 4]
    assert page_of(scored, search="xi").clients[0].columns["spent"] == "3"


def test_columns_that_are_no_longer_declared_are_no_longer_kept(
    scored: Config, config: Config
) -> None:
    score(config)

    page = page_of(config)

    assert page.clients[0].columns == {}
    assert client_names.names_of(page.clients[0]) == {}
    assert page.columns == ["lastmonth_activity", "lastyear_activity", "number_of_employees"]


def test_texts_are_forgotten_with_the_scores(scored: Config) -> None:
    for _ in range(4):
        put(scored, [*TODAY[1:], "n,2,7,3,,New,n@x.de,AT,1,1"])
        score(scored)

    with database.open_records(scored.database_url) as engine:
        scoring_records.forget_old_scores(engine, 2)

    scorings = {block.scoring_id for block in blocks_of(scored, BlockKind.SCORES)}
    assert len(scorings) == 2
    oldest = min(block.scoring_id for block in blocks_of(scored, BlockKind.TEXTS))
    assert oldest == min(block.scoring_id for block in blocks_of(scored, BlockKind.VALUES))
    assert listed(scored, search="new") == ["n"]


def test_a_column_that_no_file_has_is_named_in_the_log(
    declared: Config, caplog: pytest.LogCaptureFixture
) -> None:
    settings = WorklistSettings(columns=("nothing",))
    with caplog.at_level(logging.WARNING):
        score(replace(declared, worklist=settings))

    assert "name ['nothing'], which no row of today's clients has" in caplog.text


def test_a_run_is_new_once_columns_are_declared(declared: Config, config: Config) -> None:
    before, after = (snapshot.fingerprint([], [], each) for each in (config, declared))

    assert before != after


def test_months_keep_names_that_stand_in_no_model_and_no_description(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    company = Company(n_clients=120)
    company.write(tmp_path, 4)
    config = configure(
        tmp_path, api={"port": 1}, database_url="sqlite:///records.db",
        schema=SCHEMA | {"ids": ["id", "company", "email"]},
        worklist={"columns": ["note", "signup", "plan"]},
    )  # fmt: skip
    with caplog.at_level(logging.DEBUG):
        fullprocess.main(config)
    today = {row.split(",")[1]: row.split(",") for row in company.rows[3]}

    page = page_of(config, top=500)
    client = create_app(tmp_path / "config.json").test_client()
    shown = client.get("/dashboard/worklist?search=company+0000").get_data(as_text=True)
    one = page.clients[0]
    about = client.get(f"/dashboard/client?name={one.client}").get_data(as_text=True)

    assert {e.client: e.names for e in page.clients} == {
        name: {"company": cells[2], "email": cells[3]} for name, cells in today.items()
    }
    assert one.columns["signup"] == today[one.client][5]
    assert one.columns["note"] == f"spoke to {one.client} today"
    assert f">{one.names['company']}</h1>" in about
    assert ">Company 0000" in shown
    described = client.get("/openapi.json").get_data(as_text=True)
    texts = [caplog.text, described, *(p.read_text() for p in tmp_path.glob("models/**/*.json"))]
    texts += [p.read_text() for p in tmp_path.glob("prod/**/*.json")]
    texts += [p.read_text() for p in tmp_path.glob("out/**/*.csv")]
    for word in ("Company 0", "@example.com", "spoke to"):
        assert not any(word in text for text in texts)


def test_whom_a_candidate_moves_has_a_name_on_the_page_and_in_the_report(tmp_path: Path) -> None:
    Company(n_clients=80).write(tmp_path, 4)
    settings: dict[str, Any] = {
        "api": {"port": 1}, "database_url": "sqlite:///records.db",
        "schema": SCHEMA | {"ids": ["id", "company", "email"]},
    }  # fmt: skip
    fullprocess.main(configure(tmp_path, **settings))
    fullprocess.main(configure(tmp_path, training={"model": "additive"}, **settings))
    client = create_app(tmp_path / "config.json").test_client()

    shown = client.get("/dashboard/run?id=2").get_data(as_text=True)
    moves = client.get("/runs/2").get_json()["shadow"]["moves"]

    named = moves[0]["names"]["company"]
    assert named == f"Company {moves[0]['client'][1:]}"
    assert f">{named}</a>" in shown
    moved = msgspec.convert(moves[0], ShadowClient)
    rows = pdf_report.format_moves([moved])
    # The key stands below the name: both are too long for one line of the column.
    assert [row[0] for row in rows[:2]] == [named, moved.client]
    assert rows[1][1:4] == ["", "", ""]
    assert pdf_report.name_some([moved], 3) == f"{named} ({moved.client}) and 2 more"
