"""A client leaves the lists of all scorings, which close the gap, and stay in their order."""

from collections.abc import Callable

import pytest

from scripts.clients import score_clients, worklist
from scripts.clients.response_types import Worklist
from scripts.core.config import Config, CostSettings
from scripts.records import clients, database, erasing, score_erasure, scoring_records
from scripts.records.tables import BlockKind
from tests.support.clientele import FIRST, SECOND, ask, asking, put_clients, score, serve
from tests.support.recorded import last_scores

N_CLIENTS = 40
NAMES = [f"name{number:02d}" for number in range(N_CLIENTS)]


def make_rows(names: list[str], *, shift: int = 0) -> list[str]:
    """Return clients whose risks are all different."""
    return [f"{name},{int(name[4:]) % 17 + shift},{int(name[4:])},3," for name in names]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit buckets and parts of an order to a few clients."""
    monkeypatch.setattr(score_clients, "BUCKET_CLIENTS", 4)
    monkeypatch.setattr(clients, "PART_CLIENTS", 8)


@pytest.fixture
def scored(config: Config, changed: Callable[..., Config], small_blocks: None) -> Config:
    """Return an installation with two scorings: some clients are absent in the second one."""
    config = changed(
        worklist={
            "value": 100.0,
            "costs": CostSettings(contact=1.0, offer=2.0),
            "holdout_fraction": 0.3,
        }
    )
    for path in config.input_folder_path.iterdir():
        path.unlink()
    serve(config, FIRST)
    put_clients(config, [*make_rows(NAMES), "l1,1,1,3,1", "l2,5,1,3,0"])
    score(config)
    serve(config, SECOND, intercept=0.0)
    put_clients(config, [*make_rows(NAMES[:30], shift=1), "l1,1,1,3,1", "l2,5,1,3,0"])
    score(config)
    return config


def erase(config: Config, name: str) -> int:
    """Erase a client from the scorings."""
    with database.open_records(config.database_url) as engine:
        return score_erasure.erase_scores(engine, name)


def list_all(config: Config, order: str) -> Worklist:
    """Return the whole list in an order."""
    return ask(config, worklist.worklist_page, config.worklist, config.api, top=100, order=order)


def check_list(before: Worklist, after: Worklist, gone: str) -> None:
    """Check that a list is that of the others, without a gap."""
    kept = [entry for entry in before.clients if entry.client != gone]
    assert [entry.client for entry in after.clients] == [entry.client for entry in kept]
    assert [entry.probability for entry in after.clients] == [e.probability for e in kept]
    assert sorted(entry.position for entry in after.clients) == list(range(1, len(kept) + 1))
    assert after.n_clients == before.n_clients - 1
    assert sum(after.bands.values()) == after.n_clients


def test_the_list_closes_the_gap_in_every_order(scored: Config) -> None:
    orders = ["risk", "client", "rise", "gain"]
    before = {order: list_all(scored, order) for order in orders}
    gone = before["risk"].clients[14].client

    assert erase(scored, gone) == 2

    for order in orders:
        check_list(before[order], list_all(scored, order), gone)


def test_who_is_held_out_stays_held_out(scored: Config) -> None:
    before = [e.client for e in list_all(scored, "risk").clients if e.held_out_until]
    others = [e.client for e in list_all(scored, "risk").clients if not e.held_out_until]
    assert len(before) > 2

    erase(scored, others[0])
    erase(scored, before[0])

    after = [e.client for e in list_all(scored, "risk").clients if e.held_out_until]
    assert after == before[1:]


def test_absent_clients_are_erased_too_and_all_others_keep_score_and_values(
    scored: Config,
) -> None:
    gone = NAMES[35]
    before = ask(scored, last_scores)
    assert erase(scored, "nobody") == 0

    assert erase(scored, gone) == 2

    after = ask(scored, last_scores)
    assert gone in before
    assert after.keys() == before.keys() - {gone}
    for name, row in after.items():
        assert row["values"] == before[name]["values"]
        assert row["probability"] == before[name]["probability"]


def test_a_run_after_an_erasure_scores_as_if_the_client_had_never_been(scored: Config) -> None:
    erase(scored, NAMES[3])
    put_clients(scored, make_rows([name for name in NAMES if name != NAMES[3]], shift=2))

    score(scored)

    names = {entry.client for entry in list_all(scored, "risk").clients}
    assert names == set(NAMES) - {NAMES[3]}


def test_the_last_client_of_a_list_leaves_an_empty_list(config: Config) -> None:
    serve(config, FIRST)
    put_clients(config, ["only,1,1,3,", "l1,1,1,3,1", "l2,5,1,3,0"], "a.csv")
    put_clients(config, ["l3,1,1,3,1"], "b.csv")
    score(config)

    assert erase(config, "only") == 1

    with asking(config) as connection:
        scoring = scoring_records.last_scoring(connection)
        assert scoring is not None
        assert scoring["n_clients"] == 0
        assert scoring_records.blocks_of(connection, list(BlockKind)) == []


@pytest.mark.parametrize(
    ("value", "cleaned"),
    [
        ({"moves": [{"client": "12", "by": 1}, {"client": "b"}]}, {"moves": [{"client": "b"}]}),
        ({"n": 4, "none": None, "12": "12"}, {"n": 4, "none": None, "12": "12"}),
        (["12", "b"], ["12", "b"]),
    ],
)
def test_entries_about_a_client_leave_json_and_columns_of_the_same_name_stay(
    value: object, cleaned: object
) -> None:
    assert erasing.clean_json(value, "12", of_clients=False) == cleaned


@pytest.mark.parametrize(
    ("value", "cleaned"),
    [
        (["12", "b"], ["b"]),
        ([["12", 0.5], ["b", 0.5]], [["b", 0.5]]),
        ({"12": 1, "b": 12}, {"b": 12}),
    ],
)
def test_a_client_leaves_the_lists_that_were_sent(value: object, cleaned: object) -> None:
    assert erasing.clean_json(value, "12", of_clients=True) == cleaned


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("acme", "[erased client], and acmes, 12"),
        ("12", "acme, and acmes, 12"),
        ("and", "acme, and acmes, 12"),
    ],
)
def test_a_name_is_replaced_in_a_note_unless_it_may_be_something_else(
    name: str, cleaned: str
) -> None:
    assert erasing.clean_text("acme, and acmes, 12", name) == cleaned
