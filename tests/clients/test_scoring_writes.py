"""The writing of a scoring: whole or not at all, in short transactions, values once."""

import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from typing import Any

import msgspec
import pytest
from sqlalchemy.engine import Connection, Engine

from scripts.clients import client_history, score_clients, worklist
from scripts.core.config import Config, WorklistSettings
from scripts.records import client_blocks, clients, database, scoring_records
from scripts.records.runs import Row
from scripts.records.tables import BlockKind
from tests.support import programs
from tests.support.clientele import FIRST, ask, put_clients, score, serve
from tests.support.recorded import ListedRows, last_scores, list_outcomes, read_list

# A process that scores, and kills itself at the beginning or end of a transaction.
DYING = """
import os, signal, sys
from contextlib import contextmanager
from pathlib import Path
from scripts.core.config_file import read_config
from scripts.clients import score_clients
from scripts.records import client_blocks, database
from tests.support import programs
from tests.support.clientele import score

client_blocks.BATCH_BYTES, score_clients.BUCKET_CLIENTS = 2000, 64
number, at_end = int(sys.argv[2]), sys.argv[3] == "end"
began = 0
writing = database.writing

@contextmanager
def counted(engine, **options):
    global began
    began += 1
    if began == number and not at_end:
        os.kill(os.getpid(), signal.SIGKILL)
    with writing(engine, **options) as connection:
        yield connection
        if began == number and at_end:
            os.kill(os.getpid(), signal.SIGKILL)

config = read_config(Path(sys.argv[1]))
database.writing = counted
score(config)
print(began)
"""


def score_in_child(config_path: Path, number: int, place: str) -> subprocess.CompletedProcess[str]:
    """Score in a process that is killed at a transaction, 0 for none."""
    return programs.run_code(DYING, str(config_path), str(number), place)


def rows_of(month: int) -> list[str]:
    """Return the clients of a month: every third one moves."""
    return [f"c{n},{n % 7 + (month if n % 3 == 0 else 0)},7,3," for n in range(1000)]


@dataclass(frozen=True)
class State:
    """Everything that a reader sees of the last scoring."""

    scoring: Row
    part: ListedRows
    bands: dict[str, int]
    last: dict[str, Row]
    outcomes: list[Row]


def read_state(connection: Connection) -> State:
    """Return everything that a reader sees of the last scoring."""
    scoring = scoring_records.last_scoring(connection)
    assert scoring is not None
    return State(
        scoring, read_list(connection, scoring["id"], 2000),
        clients.count_bands(connection, scoring), last_scores(connection),
        list_outcomes(connection),
    )  # fmt: skip


@pytest.fixture
def scored(config: Config) -> Config:
    """An installation with a thousand clients, scored once, and outcomes of some of them."""
    serve(config, FIRST)
    put_clients(config, rows_of(0))
    score(config)
    put_clients(config, rows_of(1))
    put_clients(config, [f"c{n},{n % 7},7,3,1" for n in range(50)], "outcomes.csv")
    return config


def check_kills(config: Config, config_path: Path, n_kills: int) -> None:
    """Kill scorings at random transactions, and check that the one before stays whole."""
    before = ask(config, read_state)
    whole = score_in_child(config_path, 0, "end")
    assert whole.returncode == 0, whole.stderr
    n_transactions = int(whole.stdout)
    after = ask(config, read_state)
    assert n_transactions > 8
    assert after != before
    draw = random.Random(17)
    n_killed = 0
    for attempt in range(2 * n_kills):
        number, place = draw.randrange(2, n_transactions), draw.choice(["begin", "end"])
        put_clients(config, rows_of(attempt + 2))

        killed = score_in_child(config_path, number, place)

        if killed.returncode == 0:
            # This scoring had fewer transactions than the first, and is whole itself.
            after = ask(config, read_state)
            continue
        assert killed.returncode == -SIGKILL, killed.stderr
        assert ask(config, read_state) == after
        n_killed += 1
        if n_killed == n_kills:
            break
    assert n_killed == n_kills
    score(config)
    state = ask(config, read_state)
    # Those with an outcome are scored again once they move.
    assert len(state.part.rows) == state.part.n_found == state.scoring["n_clients"] > 900
    with database.open_records(config.database_url) as engine, database.reading(engine) as rows:
        kept = {row["id"] for row in scoring_records.list_scorings(rows)}
        assert set(scoring_records.blocks_of(rows, BlockKind)) <= kept


def test_a_killed_scoring_leaves_the_one_before_whole(scored: Config, config_path: Path) -> None:
    check_kills(scored, config_path, 3)


@pytest.mark.campaign
def test_thirty_killed_scorings_leave_the_one_before_whole(
    scored: Config, config_path: Path
) -> None:
    check_kills(scored, config_path, 30)


def test_no_transaction_is_long(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_blocks, "BATCH_BYTES", 4000)
    monkeypatch.setattr(score_clients, "BUCKET_CLIENTS", 64)
    writing, sizes = database.writing, []

    @contextmanager
    def measured(engine: Engine, *, is_one_of_many: bool = False) -> Iterator[Connection]:
        with writing(engine, is_one_of_many=is_one_of_many) as connection:
            before = connection.connection.driver_connection.total_changes  # type: ignore[union-attr]
            yield connection
            sizes.append(
                connection.connection.driver_connection.total_changes - before  # type: ignore[union-attr]
            )

    serve(config, FIRST)
    put_clients(config, rows_of(0))
    monkeypatch.setattr(database, "writing", measured)
    score(config)

    # A thousand clients are some thirty blocks with scores, places and values each.
    assert len(sizes) > 8
    assert max(sizes) < 40


def stored_values(connection: Connection, scoring_id: int) -> int:
    """Count the clients whose values a scoring stored."""
    sizes = client_blocks.bucket_sizes(connection, scoring_id, BlockKind.VALUES)
    return sum(sizes.values())


def test_values_that_did_not_change_are_not_stored_again(config: Config) -> None:
    serve(config, FIRST)
    put_clients(config, rows_of(0))
    score(config)
    score(config)
    put_clients(config, rows_of(1))
    score(config)

    assert [ask(config, stored_values, number) for number in (1, 2, 3)] == [1000, 0, 334]
    page = ask(config, client_history.client_page, WorklistSettings(), "c3")
    assert page is not None
    assert [score.values["lastmonth_activity"] for score in page.history] == [4, 3, 3]


def test_old_values_are_stored_again_before_they_are_forgotten(config: Config) -> None:
    kept = msgspec.structs.replace(
        config, retention=msgspec.structs.replace(config.retention, scorings=2)
    )
    serve(config, FIRST)
    put_clients(config, rows_of(0))
    for _ in range(7):
        score(kept)
        with database.open_records(config.database_url) as engine:
            scoring_records.forget_old_scores(engine, 2)

    with database.open_records(config.database_url) as engine, database.reading(engine) as rows:
        with_values = scoring_records.blocks_of(rows, [BlockKind.VALUES])
    assert len(with_values) <= 2
    page = ask(config, client_history.client_page, WorklistSettings(), "c3")
    assert page is not None
    assert [score.values["lastmonth_activity"] for score in page.history] == [3, 3]


def test_the_list_is_the_same_in_many_buckets(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "PART_CLIENTS", 128)
    serve(config, FIRST)
    for bucket_clients in (2048, 16, 500, 32):
        monkeypatch.setattr(score_clients, "BUCKET_CLIENTS", bucket_clients)
        put_clients(config, rows_of(bucket_clients % 5))
        score(config)
        for order in ("risk", "client", "rise"):
            filters = {"order": order, "search": "C7", "offset": 20}
            page = ask(config, worklist.worklist_page, WorklistSettings(), top=1000, order=order)
            part = ask(config, worklist.worklist_page, WorklistSettings(), top=30, **filters)

            names = [entry.client for entry in page.clients]
            assert sorted(names) == sorted(f"c{n}" for n in range(1000))
            assert [e.client for e in part.clients] == [n for n in names if "c7" in n][20:50]
            assert (part.n_found, part.next_offset) == (111, 50)
            keys: dict[str, list[Any]] = {
                "risk": [-entry.probability for entry in page.clients],
                "client": names,
                "rise": [-(entry.change or 0) for entry in page.clients],
            }
            assert keys[order] == sorted(keys[order])
