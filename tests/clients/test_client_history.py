"""The history of a client, the causes of a changed risk, and the outcomes."""

import math

import pytest

from scripts.clients import client_history
from scripts.clients.response_types import ClientDetails, ScoreEntry
from scripts.core.config import Config, WorklistSettings
from tests.support.clientele import (
    FIRST,
    SECOND,
    ask,
    put_clients,
    score,
    score_twice,
    serve,
    with_typical,
)
from tests.support.service import make_model


def test_few_outcomes_are_not_enough(config: Config) -> None:
    score_twice(config)

    page = ask(config, client_history.outcomes_page, WorklistSettings(capacity=2))

    assert not page.is_enough
    assert page.text == "Not enough outcomes yet: 2 of 30."
    assert {o.client: (o.exited, o.is_listed) for o in page.outcomes} == {
        "y": (False, True),
        "z": (True, False),
    }


def test_nothing_scored_has_no_outcomes(config: Config) -> None:
    page = ask(config, client_history.outcomes_page, WorklistSettings())

    assert (page.n_outcomes, page.release, page.outcomes) == (0, None, [])


def test_thirty_outcomes_say_what_was_caught_missed_and_called_in_vain(config: Config) -> None:
    serve(config, FIRST)
    # Twenty silent clients (0.75) and twenty at odds of a third (0.25).
    put_clients(config, [f"h{n},0,7,3," for n in range(20)] + [f"l{n},2,7,3," for n in range(20)])
    score(config)
    outcomes = [f"h{n},0,7,3,{int(n < 12)}" for n in range(16)]
    outcomes += [f"l{n},2,7,3,{int(n < 3)}" for n in range(14)]
    put_clients(config, outcomes, "z.csv")
    score(config)

    page = ask(config, client_history.outcomes_page, WorklistSettings(capacity=20))

    assert page.is_enough
    assert (page.n_outcomes, page.n_missed, page.n_false_alarms) == (30, 3, 4)
    assert (page.precision.n_part, page.precision.n_whole) == (12, 16)
    assert (page.recall.n_part, page.recall.n_whole) == (12, 15)
    assert page.precision.share == 0.75
    # Wilson's interval of 12 of 16, worked out with his formula.
    assert page.precision.low == pytest.approx(0.5050, abs=1e-4)
    assert page.precision.high == pytest.approx(0.8982, abs=1e-4)
    assert [(d.low, d.n_clients, d.exited.n_part) for d in page.deciles] == [
        (0.2, 14, 3),
        (0.7, 16, 12),
    ]
    assert page.n_warned == 12
    assert page.warning_days_median == pytest.approx(0, abs=0.01)
    assert page.text.startswith("Of those listed 75% (12 of 16; 95 % interval 51% to 90%) left;")


LN3 = math.log(3)


def page_of(config: Config, client: str) -> ClientDetails:
    """Return the details of a known client."""
    page = ask(config, client_history.client_page, WorklistSettings(), client)
    assert page is not None
    return page


def test_who_was_never_scored_has_no_page(config: Config) -> None:
    score_twice(config)

    assert ask(config, client_history.client_page, WorklistSettings(), "nobody") is None


def test_the_change_is_split_exactly_between_movement_and_retraining(config: Config) -> None:
    score_twice(config)

    change = page_of(config, "x").change

    assert change is not None
    (movement,) = change.movements
    # The activity went from 0 to 2, and the new model starts ln 3 lower.
    assert (movement.column, movement.before, movement.after) == ("lastmonth_activity", 0, 2)
    assert movement.effect == pytest.approx(-2 * LN3, abs=1e-12)
    assert movement.text == "lastmonth_activity from 0 to 2: lowered the risk"
    assert change.retraining == pytest.approx(-LN3, abs=1e-12)
    assert change.is_retrained
    assert change.before_log_odds == pytest.approx(LN3)
    total = change.before_log_odds + movement.effect + change.retraining
    assert total == pytest.approx(change.after_log_odds, abs=1e-9)
    assert change.text.endswith("the model was trained again: lowered the risk")


def test_a_client_who_did_not_move_changed_by_retraining_alone(config: Config) -> None:
    score_twice(config)

    change = page_of(config, "b").change

    assert change is not None
    assert change.movements == []
    assert change.retraining == pytest.approx(-LN3)


def test_the_history_comes_newest_first_with_what_was_known(config: Config) -> None:
    score_twice(config)

    page = page_of(config, "x")

    assert [(s.release, s.band, s.position, s.n_clients) for s in page.history] == [
        (SECOND, "low", 1, 2),
        (FIRST, "high", 1, 4),
    ]
    assert [s.probability for s in page.history] == pytest.approx([0.1, 0.75])
    assert page.history[1].values == {
        "lastmonth_activity": 0.0, "lastyear_activity": 7.0, "number_of_employees": 3.0,
    }  # fmt: skip
    assert page.last == page.history[0]
    assert page.is_current
    assert page.outcomes == []


def test_a_client_with_an_outcome_shows_it_and_is_not_current(config: Config) -> None:
    score_twice(config)

    page = page_of(config, "z")

    (ended,) = page.outcomes
    assert (ended.exited, ended.position, ended.is_listed) == (True, 3, True)
    assert ended.probability == pytest.approx(0.25)
    assert not page.is_current
    assert page.change is None


def make_score(stamp: str, values: dict[str, float | str | None]) -> ScoreEntry:
    """Make a score with a model and values, the rest filled in."""
    return ScoreEntry(
        scored_at="2025-01-01T00:00:00+00:00", probability=0.5, band="medium", position=1,
        n_clients=1, release="r", model_stamp=stamp, values=values, contributions={},
    )  # fmt: skip


def test_a_column_that_only_the_new_model_knows_has_not_moved() -> None:
    old, new = with_typical(make_model()), with_typical(make_model(categorical=True))
    numbers: dict[str, float | str | None] = {
        "lastmonth_activity": 1.0, "lastyear_activity": 7.0, "number_of_employees": None,
    }  # fmt: skip

    change = client_history.explain_change(
        old, new, make_score("a", numbers), make_score("b", numbers | {"plan": "gold"})
    )

    # The plan is new to the model: its ln 3 is the retraining's.
    assert change.movements == []
    assert change.retraining == pytest.approx(LN3)
    assert change.after_log_odds - change.before_log_odds == pytest.approx(LN3)
