"""Months played in order: extract, run, outcomes, run; scores, outcomes, lists and verdicts."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from scripts import fullprocess, promotion, worklist
from scripts.app import create_app
from scripts.core.config import Config
from scripts.core.errors import InsufficientDataError
from scripts.records import (
    check_records,
    client_blocks,
    clients,
    database,
    scored_clients,
    scoring_records,
)
from scripts.records.tables import Verdict
from tests.support.monthly import HEADER, MONTHS, NAMES, Company, configure
from tests.support.outcomes import read_outcomes


def start(folder: Path) -> Config:
    return configure(folder, api={"port": 1}, database_url="sqlite:///records.db")


def listed(config: Config) -> list[str]:
    """Return the clients of the newest list."""
    with (
        database.open_records(config.database_url) as engine,
        database.reading(engine) as connection,
    ):
        scoring = scoring_records.last_scoring(connection)
        assert scoring is not None
        return clients.names_of_scoring(connection, scoring["id"], 10_000)


def current(config: Config) -> list[Any]:
    """Return the scores of the newest list."""
    with (
        database.open_records(config.database_url) as engine,
        database.reading(engine) as connection,
    ):
        scoring = scoring_records.last_scoring(connection)
        assert scoring is not None
        buckets = list(client_blocks.bucket_sizes(connection, scoring["id"]))
        scored = scored_clients.read_clients(connection, scoring["id"], buckets)
        return scored.rows(range(len(scored.names)))


def outcomes(config: Config) -> list[Any]:
    """Return the recorded outcomes."""
    with (
        database.open_records(config.database_url) as engine,
        database.reading(engine) as connection,
    ):
        return read_outcomes(connection)


def play(folder: Path, company: Company, names: str, months: range) -> Iterator[Config]:
    """Yield the installation after the run of each month."""
    for n_months in months:
        company.write(folder, n_months, NAMES[names])
        config = start(folder)
        fullprocess.main(config)
        yield config


@pytest.mark.parametrize("names", ["in order", "backwards"])
def test_each_month_every_client_is_listed_and_every_outcome_joins_its_own_period(
    tmp_path: Path, names: str
) -> None:
    company = Company(n_clients=200)

    for n_months, config in zip(
        range(3, 7), play(tmp_path, company, names, range(3, 7)), strict=True
    ):
        expected = [row.split(",")[1] for row in company.rows[n_months - 1]]
        assert sorted(listed(config)) == sorted(expected)

    found = outcomes(config)
    pairs = [(row["client"], row["as_of"]) for row in found]
    assert len(set(pairs)) == len(pairs)
    by_period: dict[str, dict[str, bool]] = {}
    for row in found:
        by_period.setdefault(row["as_of"], {})[row["client"]] = row["exited"]
    # The first list is of March; the outcomes of June are not known yet.
    assert set(by_period) == {str(month) for month in MONTHS[2:5]}
    march = {row.split(",")[1] for row in company.rows[2]}
    assert set(by_period[str(MONTHS[2])]) == march
    for period, known in by_period.items():
        for client, has_left in known.items():
            leaving = company.leaves.get(client)
            within = leaving is not None and str(leaving) > period and (
                str(leaving) <= str(MONTHS[[str(m) for m in MONTHS].index(period)]
                                    + timedelta(days=30))
            )  # fmt: skip
            assert has_left == within


def test_who_leaves_before_the_next_extract_is_joined_to_the_score_before(tmp_path: Path) -> None:
    company = Company(n_clients=200)
    (config,) = play(tmp_path, company, "in order", range(4, 5))
    period, until = MONTHS[3], MONTHS[3] + timedelta(days=30)
    scored = {row["client"]: row for row in current(config)}
    leavers = {name for name, day in company.leaves.items() if period < day <= until}
    known = [f"{name},{day}" for name, day in company.leaves.items() if day <= until]

    # The outcomes come first, and the extract after them. The list of between has no leavers.
    (tmp_path / "outcomes" / "left.csv").write_text("\n".join(["id,left_on", *known]) + "\n")
    fullprocess.main(config)
    assert set(listed(config)).isdisjoint(leavers)
    company.write(tmp_path, 6)
    fullprocess.main(config)

    joined = {row["client"]: row for row in outcomes(config) if row["as_of"] == str(period)}
    assert set(joined) == set(scored)
    assert {name for name, row in joined.items() if row["exited"]} == leavers & set(scored)
    for name in leavers:
        assert joined[name]["probability"] == scored[name]["probability"]


def test_a_known_outcome_of_an_earlier_period_is_history_on_the_page(tmp_path: Path) -> None:
    company = Company(n_clients=200)
    *_, config = play(tmp_path, company, "in order", range(3, 6))
    stayed = next(
        row["client"] for row in outcomes(config)
        if not row["exited"] and row["client"] in set(listed(config))
    )  # fmt: skip
    client = create_app(tmp_path / "config.json").test_client()

    page = client.get(f"/dashboard/client?name={stayed}").text

    assert "<b>Stayed</b>" not in page
    assert "As of 31 Mar 2025 the risk was" in page
    assert "the client then stayed" in page


def test_a_later_correction_replaces_an_outcome_and_is_recorded(tmp_path: Path) -> None:
    company = Company(n_clients=200)
    *_, config = play(tmp_path, company, "in order", range(4, 6))
    before = outcomes(config)
    wrong = next(row for row in before if row["exited"] and row["as_of"] == str(MONTHS[3]))
    del company.leaves[wrong["client"]]
    company.write(tmp_path, 6)

    fullprocess.main(config)

    of_row = wrong["client"], wrong["as_of"]
    (corrected,) = [row for row in outcomes(config) if (row["client"], row["as_of"]) == of_row]
    assert (corrected["exited"], corrected["previously"]) == (False, True)
    client = create_app(tmp_path / "config.json").test_client()
    answer = client.get(f"/clients/{wrong['client']}").get_json()
    told = {outcome["as_of"]: outcome["previously"] for outcome in answer["outcomes"]}
    assert told[wrong["as_of"]] is True
    page = client.get(f"/dashboard/client?name={wrong['client']}").text
    assert "a correction, recorded before as left" in page


def test_a_file_of_outcomes_of_nobody_is_refused_and_undoes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    company = Company(n_clients=200)
    (config,) = play(tmp_path, company, "in order", range(4, 5))
    expected = sorted(listed(config))
    (tmp_path / "outcomes" / "others.csv").write_text("id,left_on\nx1,2025-03-03\n")

    verdict = fullprocess.main(config)

    assert verdict in (Verdict.HELD, Verdict.DEPLOYED)
    assert "none of its 1 clients is in the client tables" in caplog.text
    assert sorted(listed(config)) == expected


def test_nothing_new_is_nothing_new_with_outcomes_too(tmp_path: Path) -> None:
    (config,) = play(tmp_path, Company(n_clients=200), "in order", range(4, 5))

    assert fullprocess.main(config) is Verdict.NOTHING_NEW


def test_before_any_outcome_the_verdict_is_insufficient_data(tmp_path: Path) -> None:
    (config,) = play(tmp_path, Company(n_clients=200), "in order", range(1, 2))

    with database.open_records(config.database_url) as engine, database.reading(engine) as rows:
        last = rows.execute(sa.text("SELECT verdict, reason FROM runs ORDER BY id DESC")).first()

    assert last is not None
    assert last.verdict == Verdict.INSUFFICIENT
    assert last.reason.startswith("None of 200 rows has an outcome that is known for good.")


def checks_of(config: Config) -> dict[str, tuple[str, str]]:
    """Return the state and the finding of each check."""
    with (
        database.open_records(config.database_url) as engine,
        database.reading(engine) as connection,
    ):
        rows = check_records.list_checks(connection)
    return {row["name"]: (row["state"], row["detail"]) for row in rows}


def test_before_any_outcome_the_checks_that_need_no_model_are_recorded_and_in_health(
    tmp_path: Path,
) -> None:
    company = Company(n_clients=200)
    company.rows[1] = company.rows[1][:60]
    # A date in another format than declared.
    company.rows[1][:20] = [row.replace(" today,", " today,1/") for row in company.rows[1][:20]]
    (config,) = play(tmp_path, company, "in order", range(2, 3))
    (tmp_path / "in" / "notes.csv").write_text("other,columns\n1,2\n")
    (tmp_path / "outcomes" / "left.csv").unlink()

    verdict = fullprocess.main(config)

    assert verdict is Verdict.INSUFFICIENT
    found = checks_of(config)
    assert {name: state for name, (state, _) in found.items()} == {
        "shrunk_list": "alarm", "rejected_rows": "alarm", "refused_files": "alarm",
        "future_rows": "ok",
    }  # fmt: skip
    shrunk = "The newest extract has 40 clients, and had 200 before"
    assert found["shrunk_list"][1].startswith(shrunk)
    assert found["rejected_rows"][1].startswith("20 of 60 rows of clients_2025-02-28")
    assert found["refused_files"][1].startswith("1 of 3 files were refused")
    *_, rejected = sorted((tmp_path / "out").glob("rejected_*.csv"))
    assert rejected.read_text().count(',signup,"expected a date') == 20
    app = create_app(tmp_path / "config.json")
    app.extensions["records"].check()
    health = app.test_client().get("/health").get_json()
    assert health["degraded"]
    assert any(shrunk in error and "Is the newest extract whole" in error
               for error in health["errors"])  # fmt: skip


def test_before_any_outcome_fine_extracts_have_no_problem(tmp_path: Path) -> None:
    (config,) = play(tmp_path, Company(n_clients=200), "in order", range(2, 3))

    assert {state for state, _ in checks_of(config).values()} == {"ok"}


def test_a_model_that_serves_scores_todays_clients_though_no_row_is_mature(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    company = Company(n_clients=200)
    (config,) = play(tmp_path, company, "in order", range(4, 5))
    company.write(tmp_path, 5)
    settings = {"input_folder_path": "outcomes", "date": "left_on", "horizon_days": 900}
    later = configure(tmp_path, api={"port": 1}, database_url="sqlite:///records.db",
                      outcomes=settings)  # fmt: skip

    verdict = fullprocess.main(later)

    assert verdict is Verdict.INSUFFICIENT
    assert sorted(listed(config)) == sorted(row.split(",")[1] for row in company.rows[4])
    assert "could be timed" not in caplog.text


def test_list_and_history_say_of_which_day_the_rows_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    company = Company(n_clients=200)
    *_, config = play(tmp_path, company, "in order", range(4, 6))
    name = listed(config)[0]
    client = create_app(tmp_path / "config.json").test_client()

    answer = client.get("/worklist").json
    details = client.get(f"/clients/{name}").json
    page = client.get("/dashboard/worklist").text
    history = client.get(f"/dashboard/client?name={name}").text
    printed = client.get("/dashboard/worklist/print").text

    assert answer is not None
    assert details is not None
    assert answer["as_of"] == details["last"]["as_of"] == str(MONTHS[4])
    assert {score["as_of"] for score in details["history"]} <= set(map(str, MONTHS[:5]))
    for text in (page, client.get("/").text, printed, history):
        assert "s of 31 May 2025" in text
    assert "List as of" in history
    worklist.main(config)
    assert f"clients as of {MONTHS[4]} (" in capsys.readouterr().out


def test_an_upload_between_outcomes_and_extract_leaves_the_shares_as_they_are(
    tmp_path: Path,
) -> None:
    company = Company(n_clients=200)
    (config,) = play(tmp_path, company, "in order", range(4, 5))
    upload, until = MONTHS[3] + timedelta(days=3), MONTHS[3] + timedelta(days=30)
    known = [f"{name},{day}" for name, day in company.leaves.items() if day <= until]
    added = [row.replace(str(MONTHS[3]), str(upload), 1) for row in company.rows[3][-3:]]
    (tmp_path / "in" / "upload_1.csv").write_text("\n".join([HEADER, *added]) + "\n")
    (tmp_path / "outcomes" / "left.csv").write_text("\n".join(["id,left_on", *known]) + "\n")

    fullprocess.main(config)
    company.write(tmp_path, 6)
    fullprocess.main(config)

    joined = [row for row in outcomes(config) if row["as_of"] == str(MONTHS[3])]
    assert len(joined) == len(company.rows[3])
    state, detail = checks_of(config)["outcome_shares"]
    n_left = sum(row["exited"] for row in joined)
    assert state == "ok"
    assert detail.startswith(f"{n_left / len(joined):.1%} of {len(joined)} clients")


def test_who_had_left_before_the_first_list_counts_among_the_leavers_of_the_period(
    tmp_path: Path,
) -> None:
    company = Company(n_clients=200)
    config = start(tmp_path)
    period = MONTHS[3]
    company.write(tmp_path, 4)
    until = period + timedelta(days=12)
    known = [f"{name},{day}" for name, day in company.leaves.items() if day <= until]
    (tmp_path / "outcomes" / "left.csv").write_text("\n".join(["id,left_on", *known]) + "\n")
    fullprocess.main(config)
    n_listed = len(listed(config))
    company.write(tmp_path, 6)

    fullprocess.main(config)

    n_rows = len(company.rows[3])
    ends = [day for day in company.leaves.values() if period < day <= period + timedelta(days=30)]
    state, detail = checks_of(config)["outcome_shares"]
    assert n_listed == n_rows - sum(day <= until for day in ends) < n_rows
    assert state == "ok"
    assert detail.startswith(f"{len(ends) / n_rows:.1%} of {n_rows} clients")


def test_a_list_made_long_after_its_period_is_not_judged(tmp_path: Path) -> None:
    company = Company(n_clients=200)
    config = start(tmp_path)
    company.write(tmp_path, 4)
    until = MONTHS[3] + timedelta(days=75)
    known = [f"{name},{day}" for name, day in company.leaves.items() if day <= until]
    (tmp_path / "outcomes" / "left.csv").write_text("\n".join(["id,left_on", *known]) + "\n")

    fullprocess.main(config)

    assert len(outcomes(config)) == len(listed(config))
    assert "outcome_shares" not in checks_of(config)


def test_a_unit_that_changes_in_the_newest_extract_is_found_in_its_first_run(
    tmp_path: Path,
) -> None:
    company = Company(n_clients=200)
    (config,) = play(tmp_path, company, "in order", range(4, 5))
    before = checks_of(config)["changed_values"][0]
    cells = [row.split(",") for row in company.rows[4]]
    company.rows[4] = [",".join([*row[:8], row[8] + "00", *row[9:]]) for row in cells]
    company.write(tmp_path, 5)

    fullprocess.main(config)

    state, detail = checks_of(config)["changed_values"]
    assert (before, state) == ("ok", "alarm")
    assert "'logins' is above" in detail


def test_a_replay_without_a_known_outcome_says_so(tmp_path: Path) -> None:
    Company(n_clients=200).write(tmp_path, 2)
    (tmp_path / "outcomes" / "left.csv").unlink()

    with pytest.raises(InsufficientDataError, match=r"None of 400 rows has an outcome .* replay"):
        promotion.read_table(tmp_path / "in", start(tmp_path))
