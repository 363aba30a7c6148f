"""Made-up client tables whose risk is no straight line: bends, jumps, pairs, noise, few rows.

Each table has the true log-odds of its rows, so that the best possible model is known. No table
has three columns that act together.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

Floats = NDArray[np.float64]
Columns = dict[str, NDArray[np.object_] | Floats]
N_TEST_ROWS = 20_000


@dataclass(frozen=True)
class ShapedTable:
    """The kind of a table: columns and log-odds for a generator, rows, and share of leavers."""

    make: Callable[[np.random.Generator, int], tuple[Columns, Floats]]
    n_rows: int
    share: float


def sigmoid(log_odds: Floats) -> Floats:
    """Compute probabilities from log-odds."""
    return np.asarray(1 / (1 + np.exp(-log_odds)))


def noise(random: np.random.Generator, n_rows: int, n_columns: int) -> Columns:
    """Return columns without meaning."""
    return {f"noise{i}": random.normal(size=n_rows) for i in range(n_columns)}


def usage(random: np.random.Generator, n_rows: int) -> Floats:
    """Return a skewed amount with a heap of zeros."""
    amounts = np.round(random.gamma(1.5, 40, n_rows), 1)
    return np.where(random.random(n_rows) < 0.2, 0.0, amounts)


def make_valley(random: np.random.Generator, n_rows: int) -> tuple[Columns, Floats]:
    """Return a table where both ends of two columns harm."""
    age, hours = random.normal(45, 12, n_rows), random.uniform(0, 60, n_rows)
    tenure = random.gamma(1.5, 20, n_rows)
    log_odds = 0.9 * ((age - 45) / 12) ** 2 + np.abs(hours - 30) / 10 - 0.02 * tenure
    columns: Columns = {"age": np.round(age), "hours": hours, "tenure": np.round(tenure)}
    return columns | noise(random, n_rows, 3), log_odds


def make_plateau(random: np.random.Generator, n_rows: int) -> tuple[Columns, Floats]:
    """Return a table with plateaus, and a jump at a heap of zeros."""
    used, bill = usage(random, n_rows), random.lognormal(3.5, 0.5, n_rows)
    calls = random.poisson(2.5, n_rows).astype(np.float64)
    log_odds = (
        1.2 * (used == 0) - np.minimum(used, 60) / 40 + np.clip(bill - 30, 0, 30) / 15
        + 0.7 * np.minimum(calls, 4)
    )  # fmt: skip
    plan = random.choice(["basic", "plus", "pro"], n_rows, p=[0.5, 0.3, 0.2])
    columns: Columns = {"used": used, "bill": np.round(bill, 2), "calls": calls}
    columns["plan"] = plan.astype(object)
    return columns | noise(random, n_rows, 2), log_odds + 0.6 * (plan == "basic")


def make_threshold(random: np.random.Generator, n_rows: int) -> tuple[Columns, Floats]:
    """Return a table where the risk jumps at thresholds."""
    tenure, speed = np.floor(random.gamma(1.3, 20, n_rows)), random.normal(50, 15, n_rows)
    bill = random.lognormal(3.5, 0.5, n_rows)
    calls = random.poisson(1.6, n_rows).astype(np.float64)
    log_odds = 1.5 * (tenure < 12) + 1.2 * (speed < 37.3) + 1.0 * (bill > 48.7) + 1.3 * (calls > 3)
    columns: Columns = {"tenure": tenure, "speed": speed, "bill": np.round(bill, 2)}
    return columns | {"calls": calls} | noise(random, n_rows, 4), log_odds


def make_pair(random: np.random.Generator, n_rows: int) -> tuple[Columns, Floats]:
    """Return a table with one strong pair of numbers."""
    age, use = random.normal(45, 12, n_rows), usage(random, n_rows)
    bill = random.lognormal(3.5, 0.5, n_rows)
    log_odds = 1.6 * (age - 45) / 12 * np.clip((use - 50) / 40, -1.5, 2) + 0.02 * bill
    columns: Columns = {"age": np.round(age), "use": use, "bill": np.round(bill, 2)}
    return columns | noise(random, n_rows, 5), log_odds


def make_pairs(random: np.random.Generator, n_rows: int) -> tuple[Columns, Floats]:
    """Return a table with three strong pairs: of numbers, of a number and a category, of flags."""
    columns: Columns = {f"x{i}": random.normal(size=n_rows) for i in range(6)}
    x = [np.asarray(columns[f"x{i}"], dtype=np.float64) for i in range(6)]
    plan = random.choice(["a", "b", "c", "d"], n_rows)
    first, second = random.random(n_rows) < 0.4, random.random(n_rows) < 0.5
    slope = np.select([plan == "a", plan == "b", plan == "c"], [1.5, -1.5, 0.5], 0.0)
    log_odds = (
        1.2 * x[0] * x[1] + slope * x[2] + 2.0 * (first & second) - 0.8 * first + 0.5 * x[3]
        + 0.5 * np.abs(x[4])
    )  # fmt: skip
    columns["plan"] = plan.astype(object)
    columns["first"] = np.where(first, "yes", "no").astype(object)
    columns["second"] = np.where(second, "yes", "no").astype(object)
    return columns, log_odds


def make_correlated(random: np.random.Generator, n_rows: int) -> tuple[Columns, Floats]:
    """Return a table of twelve columns with three common causes, and bends."""
    causes = random.normal(size=(3, n_rows))
    x = [causes[i % 3] * 0.85 + random.normal(size=n_rows) * 0.53 for i in range(12)]
    log_odds = 0.9 * np.maximum(x[0], 0) + 0.6 * x[1] - 0.7 * np.abs(x[2]) + 0.5 * np.tanh(2 * x[3])
    log_odds = log_odds + 0.4 * x[4] - 0.3 * x[5]
    return {f"x{i}": values for i, values in enumerate(x)}, log_odds


def make_noise(random: np.random.Generator, n_rows: int) -> tuple[Columns, Floats]:
    """Return a table of three columns with meaning and thirty without."""
    age, use = random.normal(45, 12, n_rows), usage(random, n_rows)
    flag = random.random(n_rows) < 0.3
    log_odds = 0.8 * ((age - 45) / 12) ** 2 - np.minimum(use, 80) / 40 + 1.0 * flag
    columns: Columns = {"age": np.round(age), "use": use}
    columns["flag"] = np.where(flag, "yes", "no").astype(object)
    columns["town"] = random.choice([f"town{i}" for i in range(150)], n_rows).astype(object)
    return columns | noise(random, n_rows, 29), log_odds


def make_missing(random: np.random.Generator, n_rows: int) -> tuple[Columns, Floats]:
    """Return a table whose missing values tell something in two columns of four."""
    x = [random.normal(size=n_rows) for _ in range(4)]
    gone = [random.random(n_rows) < share for share in (0.15, 0.1, 0.3, 0.02)]
    log_odds = np.where(gone[0], 1.5, 0.8 * x[0]) + np.where(gone[1], -1.2, x[1] ** 2 * 0.6)
    log_odds = log_odds + np.where(gone[2], 0, 0.6 * x[2]) + 0.4 * x[3]
    columns: Columns = {
        f"x{i}": np.where(lost, np.nan, values)
        for i, (values, lost) in enumerate(zip(x, gone, strict=True))
    }
    return columns, log_odds


def make_straight(random: np.random.Generator, n_rows: int) -> tuple[Columns, Floats]:
    """Return a table that is straight in every column."""
    x = [random.normal(size=n_rows) for _ in range(8)]
    calls = random.poisson(2.0, n_rows).astype(np.float64)
    plan = random.choice(["a", "b", "c"], n_rows)
    log_odds = 0.8 * x[0] - 0.5 * x[1] + 0.3 * x[2] + 0.2 * x[3] + 0.25 * calls
    columns: Columns = {f"x{i}": values for i, values in enumerate(x)}
    columns |= {"calls": calls, "plan": plan.astype(object)}
    return columns, log_odds + 0.7 * (plan == "a")


def make_mixed(random: np.random.Generator, n_rows: int) -> tuple[Columns, Floats]:
    """Return a table of twenty columns with bends, jumps, a pair, missing values and noise."""
    columns, log_odds = make_plateau(random, n_rows)
    others, more = make_pair(random, n_rows)
    steps, jumps = make_threshold(random, n_rows)
    for prefix, part in (("a", others), ("b", steps)):
        columns |= {f"{prefix}_{name}": values for name, values in part.items()}
    return columns, 0.6 * log_odds + 0.6 * more + 0.7 * jumps


TABLES = {
    "valley300": ShapedTable(make_valley, 300, 0.4),
    "valley": ShapedTable(make_valley, 3_000, 0.2),
    "plateau": ShapedTable(make_plateau, 5_000, 0.1),
    "threshold": ShapedTable(make_threshold, 10_000, 0.2),
    "pair": ShapedTable(make_pair, 5_000, 0.25),
    "pairs": ShapedTable(make_pairs, 20_000, 0.15),
    "correlated": ShapedTable(make_correlated, 4_000, 0.3),
    "noise": ShapedTable(make_noise, 2_000, 0.2),
    "missing": ShapedTable(make_missing, 6_000, 0.2),
    "rare": ShapedTable(make_mixed, 50_000, 0.01),
    "mixed": ShapedTable(make_mixed, 50_000, 0.2),
    "straight": ShapedTable(make_straight, 5_000, 0.2),
    "straight800": ShapedTable(make_straight, 800, 0.3),
}


@dataclass(frozen=True)
class ShapedRows:
    """The rows of a table: features by name, target, and true log-odds."""

    columns: Columns
    y: NDArray[np.int64]
    log_odds: Floats


def draw(name: str, seed: int) -> tuple[ShapedRows, ShapedRows]:
    """Draw the training rows and 20,000 test rows of a table.

    Parameters
    ----------
    name : str
        A key of TABLES.
    seed : int
        Of the random numbers.

    Returns
    -------
    tuple of ShapedRows
        With the table's share of leavers in expectation.
    """
    table = TABLES[name]
    random = np.random.default_rng([seed, list(TABLES).index(name)])
    columns, log_odds = table.make(random, table.n_rows + N_TEST_ROWS)
    offset = brentq(lambda shift: sigmoid(log_odds + shift).mean() - table.share, -40, 40)
    log_odds = np.asarray(log_odds + offset)
    y = (random.random(len(log_odds)) < sigmoid(log_odds)).astype(np.int64)
    parts = []
    for place in (slice(table.n_rows), slice(table.n_rows, None)):
        own = {name: values[place] for name, values in columns.items()}
        parts.append(ShapedRows(own, y[place], log_odds[place]))
    return parts[0], parts[1]
