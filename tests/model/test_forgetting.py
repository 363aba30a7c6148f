"""What is one client's alone leaves a model, and all others get the same probabilities."""

import pickle
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from scripts.core.config import Config, Schema
from scripts.data import dataset, deduplicate
from scripts.data.profile import Bins
from scripts.model import candidate, forgetting, logistic_model
from scripts.model.forgetting import Neighbours, OwnTraces
from scripts.model.logistic_model import PairAxis, PairTerm

SCHEMA = Schema(ids=("id",), numeric=("a", "b"), categorical=("c",), negative=0)


def make_table(n_rows: int, seed: int = 1) -> pd.DataFrame:
    """Return clients whose risk is a curve of two numbers and depends on a category."""
    random = np.random.default_rng(seed)
    a, b = random.normal(0, 1, n_rows).round(3), random.exponential(5, n_rows).round(3)
    c = random.choice(["p", "q", "r"], n_rows)
    risk = 1 / (1 + np.exp(-(a**2 - 1 + (c == "p"))))
    exited = (random.random(n_rows) < risk).astype(np.int64)
    names = [f"n{number}" for number in range(n_rows)]
    table = pd.DataFrame({"id": names, "a": a, "b": b, "c": c, "exited": exited})
    return table.astype({"id": "str", "c": "str"})


def fit(config: Config, table: pd.DataFrame) -> Any:
    """Fit a model to a table."""
    settings = msgspec.structs.replace(config, schema=SCHEMA)
    return candidate.fit_candidate(table, "0" * 64, settings)


def put_canary(table: pd.DataFrame, numbers: tuple[float, float]) -> pd.DataFrame:
    """Return a table with a last client of a category and of numbers of its own."""
    row = {"id": "canary", "a": numbers[0], "b": numbers[1], "c": "canary-c", "exited": 1}
    whole = pd.concat([table, pd.DataFrame([row])], ignore_index=True)
    return whole.astype({"id": "str", "c": "str"})


@pytest.mark.parametrize("n_rows", [60, 700])
@pytest.mark.parametrize("numbers", [(-9.125, 987.625), (0.03125, 4.03125), (9.125, -3.25)])
def test_a_client_leaves_no_trace_and_no_other_probability_changes(
    config: Config, n_rows: int, numbers: tuple[float, float]
) -> None:
    table = put_canary(make_table(n_rows), numbers)
    fitted = fit(config, table)
    own, others = table.iloc[-1:], table.iloc[:-1]

    traces = forgetting.find_traces(own, [others.iloc[:20], others.iloc[20:]], SCHEMA)
    forgotten = forgetting.forget(fitted.model, traces)

    encoded = logistic_model.encode_model(forgotten).decode()
    assert [text for text in ("canary", *map(str, numbers)) if text in encoded] == []
    logistic_model.check_model(forgotten)
    arrays = dataset.feature_arrays(others, SCHEMA)
    before, after = (
        logistic_model.probabilities(model, arrays) for model in (fitted.model, forgotten)
    )
    np.testing.assert_allclose(before, after, rtol=0, atol=1e-12)
    assert forgetting.forget(forgotten, traces) == forgotten


def test_the_texts_of_a_pickle_are_overwritten_and_it_still_predicts(config: Config) -> None:
    table = put_canary(make_table(60), (0.5, 1.5))
    fitted = fit(config, table)
    own, others = table.iloc[-1:], table.iloc[:-1]
    traces = forgetting.find_traces(own, [others], SCHEMA)

    content = forgetting.forget_texts(pickle.dumps(fitted.estimator), traces)

    assert b"canary" not in content
    estimator = pickle.loads(content)
    X = dataset.features(others, SCHEMA)
    np.testing.assert_array_equal(estimator.predict_proba(X), fitted.estimator.predict_proba(X))


def test_a_shared_category_or_number_stays(config: Config) -> None:
    table = make_table(60)
    fitted = fit(config, table)
    own = table.iloc[:1].assign(a=table["a"].iloc[1], b=table["b"].iloc[1], c="p")

    traces = forgetting.find_traces(own, [table.iloc[1:]], SCHEMA)

    assert traces.numbers == {"a": {}, "b": {}}
    assert traces.categories == {"c": frozenset()}
    forgotten = forgetting.forget(fitted.model, traces)
    assert forgotten.numeric == fitted.model.numeric


@pytest.mark.parametrize(
    ("number", "near", "edges", "counts"),
    [
        # The largest number: the edge moves to the next one of the others.
        (9.0, Neighbours(7.0, None), (1.0, 5.0, 7.0), (2, 3, 4, 0)),
        # Nobody else is in the bin.
        (5.0, Neighbours(1.0, 6.0), (1.0, 9.0), (5, 4, 0)),
        (1.0, Neighbours(None, 2.0), (5.0, 9.0), (5, 4, 0)),
        # No edge.
        (6.0, Neighbours(5.0, 9.0), (1.0, 5.0, 9.0), (2, 3, 4, 0)),
    ],
)
def test_an_edge_of_one_client_moves_or_goes(
    number: float, near: Neighbours, edges: tuple[float, ...], counts: tuple[int, ...]
) -> None:
    bins = Bins(edges=(1.0, 5.0, 9.0), counts=(2, 3, 4, 0))

    assert forgetting.drop_edges(bins, {number: near}) == Bins(edges=edges, counts=counts)


def test_a_sample_of_row_hashes_keeps_its_length_so_that_it_does_not_count_as_complete() -> None:
    kept = np.arange(deduplicate.N_HASHES, dtype=deduplicate.HASH_TYPE)
    own = np.array([5, deduplicate.N_HASHES - 1], np.uint32)

    left = forgetting.drop_hashes(kept.tobytes(), own)

    found = np.frombuffer(left, deduplicate.HASH_TYPE)
    assert len(found) == len(kept)
    assert not np.isin(own, found).any()
    assert (np.diff(found.astype(np.int64)) >= 0).all()


def test_a_pair_keeps_its_values_for_all_others() -> None:
    pair = PairTerm(
        first=PairAxis(column="a", knots=(0.0, 2.0, 9.0)),
        second=PairAxis(column="c", categories=("canary", "p")),
        values=((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), (7.0, 8.0, 9.0), (0.5, 0.25, 0.125)),
    )
    traces = OwnTraces(
        np.zeros(0, np.uint32),
        {"a": {2.0: Neighbours(1.5, 3.0), 9.0: Neighbours(7.0, None)}},
        {"c": frozenset({"canary"})},
    )
    others = {
        "a": np.array([-1.0, 0.0, 0.7, 1.5, 3.0, 5.0, 7.0, np.nan]),
        "c": np.array(["p", "q", "p", "q", "p", "q", "p", "q"], object),
    }
    known = {"c": ("canary", "p", "q")}

    forgotten = forgetting.drop_from_pair(pair, traces)

    assert forgotten.first.knots == (0.0, 1.5, 3.0, 7.0)
    assert forgotten.second.categories == ("p",)
    np.testing.assert_allclose(
        logistic_model.pair_effects(forgotten, {"c": ("p", "q")}, others),
        logistic_model.pair_effects(pair, known, others),
    )
