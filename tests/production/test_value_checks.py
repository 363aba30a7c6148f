"""The check of today's values: what is unlike the training rows, and what is no problem."""

import numpy as np
import pytest

from scripts.core.config import CheckSettings
from scripts.data import profile
from scripts.data.arrays import Floats
from scripts.data.profile import DatasetFacts, Reference
from scripts.production import value_checks

N_ROWS, N_CLIENTS = 2000, 300
RNG = np.random.default_rng(4)
FEES = RNG.lognormal(4, 0.5, N_ROWS)
ORDERS = np.where(RNG.random(N_ROWS) < 0.6, 0.0, RNG.poisson(9, N_ROWS))
LIMIT = 0.2
TODAY = slice(N_CLIENTS)


def make_facts() -> DatasetFacts:
    """Return the facts of training rows with fees, orders, of which most are 0, and regions."""
    kept = Reference(
        numeric={"fee": profile.make_bins(FEES), "orders": profile.make_bins(ORDERS)},
        categorical={"region": {"north": 900, "south": 1000, "": 100}},
        contributions={}, row_hashes=b"",
    )  # fmt: skip
    return DatasetFacts(
        sha256="", n_rows=N_ROWS, n_positives=200, missing_fractions={}, summary=(), reference=kept
    )


def largest(
    fee: Floats = FEES[TODAY], orders: Floats = ORDERS[TODAY], regions: str = "north south"
) -> value_checks.StrangeValues:
    """Return the strangest values of today's clients."""
    names = np.resize(np.array(regions.split(" "), dtype=object), len(fee))
    columns = {"fee": fee, "orders": orders, "region": names}
    return value_checks.find_strange(columns, make_facts(), {})[0]


@pytest.mark.parametrize(
    ("fee", "orders", "regions", "words"),
    [
        (FEES[TODAY] * 100, ORDERS[TODAY], "north", "'fee' is above"),
        (FEES[TODAY] / 24, ORDERS[TODAY], "north", "'fee' is below"),
        # Most of the orders are none, whatever the unit is.
        (FEES[TODAY], ORDERS[TODAY] * 100, "north", "'orders' is above"),
        (np.where(np.arange(N_CLIENTS) % 2, np.nan, FEES[TODAY]), ORDERS[TODAY], "north",
         "'fee' is blank for 50% of them, and was for 0%"),
        (FEES[TODAY], ORDERS[TODAY], "north North", "'region' of 50% of them is a category that"),
        (FEES[TODAY], ORDERS[TODAY], " north", "'region' is blank for 50% of them, and was for 5%"),
    ],
)  # fmt: skip
def test_values_that_hardly_a_training_row_had_are_a_problem(
    fee: Floats, orders: Floats, regions: str, words: str
) -> None:
    strange = largest(fee, orders, regions)

    assert strange.share >= LIMIT
    assert strange.words.startswith(words)


@pytest.mark.parametrize("growth", [1.0, 1.2, 0.8])
def test_values_that_grow_or_shrink_as_usual_are_no_problem(growth: float) -> None:
    assert largest(FEES[TODAY] * growth).share < LIMIT


def test_the_limit_is_that_of_the_settings() -> None:
    assert CheckSettings().changed_values == LIMIT


def test_of_few_clients_nothing_is_said() -> None:
    few = slice(value_checks.MIN_CLIENTS - 1)
    columns = {"fee": FEES[few] * 100, "orders": ORDERS[few], "region": np.full(49, "new", object)}

    assert value_checks.find_strange(columns, make_facts(), {}) == []


@pytest.mark.parametrize(("n_days", "is_strange"), [(100, False), (300, True)])
def test_clients_grow_older_without_a_problem(n_days: int, *, is_strange: bool) -> None:
    columns = {
        "fee": 100 + n_days + FEES[TODAY], "orders": ORDERS[TODAY],
        "region": np.full(N_CLIENTS, "north", object),
    }  # fmt: skip

    found = value_checks.find_strange(columns, make_facts(), {"fee": 120.0 + 100.0})

    assert (found[0].share >= LIMIT) == is_strange
