"""Whether predictions came true."""

import pytest

from scripts import aftermath
from scripts.config import Config, WorklistSettings
from tests.clientele import FIRST, ask, put_clients, score, score_twice, serve


def test_few_outcomes_are_not_enough(config: Config) -> None:
    score_twice(config)

    page = ask(config, aftermath.outcomes_page, WorklistSettings(capacity=2))

    assert not page.is_enough
    assert page.text == "Not enough outcomes yet: 2 of 30."
    assert {o.client: (o.exited, o.is_listed) for o in page.outcomes} == {
        "y": (False, True),
        "z": (True, False),
    }


def test_nothing_scored_has_no_outcomes(config: Config) -> None:
    page = ask(config, aftermath.outcomes_page, WorklistSettings())

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

    page = ask(config, aftermath.outcomes_page, WorklistSettings(capacity=20))

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
