"""A candidate of a scanned dataset is that of the table in memory."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from scripts.core.config import Config, Schema, TrainingSettings
from scripts.core.errors import InsufficientDataError
from scripts.data import csv_writer, dataset, dataset_scan, deduplicate, sampling
from scripts.data.scanned_dataset import ScannedDataset
from scripts.model import candidate, logistic_model
from scripts.model.logistic_model import Model

SCHEMA = Schema(
    ids=("id",), numeric=("months", "balance"), categorical=("plan", "city"), target="left"
)


def make_table(n_rows: int, seed: int = 0) -> pd.DataFrame:
    """Return clients with blanks, fractions, rare categories and a risk that depends on them."""
    draw = np.random.default_rng(seed)
    months = draw.integers(0, 60, n_rows)
    balance = np.round(draw.lognormal(5, 1, n_rows), 2)
    balance[draw.random(n_rows) < 0.05] = np.nan
    plan = draw.choice(["", "basic", "gold", "plus"], n_rows, p=[0.1, 0.5, 0.1, 0.3])
    city = draw.choice([f"c{n}" for n in range(400)], n_rows)
    city = np.where(draw.random(n_rows) < 0.5, "big", city)
    log_odds = 1 - 0.06 * months + 0.8 * (plan == "gold") + 0.3 * np.isnan(balance)
    left = (draw.random(n_rows) < 1 / (1 + np.exp(-log_odds))).astype(np.int64)
    columns = {"id": [f"client{n}" for n in range(n_rows)], "months": months, "balance": balance}
    return dataset.make_table(columns | {"plan": plan, "city": city, "left": left}, SCHEMA)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Six thousand clients."""
    return make_table(6000)


def scan(
    folder: Path, table: pd.DataFrame, config: Config, *, by_place: bool = False
) -> ScannedDataset:
    """Scan a table from its file."""
    path = folder / "finaldata.csv"
    path.write_bytes(b"".join(csv_writer.encode_table(table)))
    return dataset_scan.scan(
        path, SCHEMA, max_rows=config.training.max_rows, seed=config.training.random_state,
        by_place=by_place,
    )  # fmt: skip


def settle(config: Config, max_rows: int | None) -> Config:
    """Return a config with the columns of these clients."""
    training = TrainingSettings(max_rows=max_rows)
    return msgspec.structs.replace(config, schema=SCHEMA, training=training)


def take_statistics(model: Model) -> tuple[dict[str, Any], list[float]]:
    """Return a model without the statistics that are sums, whose last digits differ, and these."""
    content, sums = msgspec.to_builtins(model), []
    facts = content["dataset"]
    for found in (*facts["summary"], *facts["reference"]["contributions"].values()):
        for name in ("mean", "standard_deviation"):
            sums.append(found.pop(name))
    return content, sums


@pytest.mark.parametrize("max_rows", [None, 6_000, 2_000])
def test_a_scan_gives_the_model_of_the_table_in_memory(
    tmp_path: Path, table: pd.DataFrame, config: Config, max_rows: int | None
) -> None:
    config = settle(config, max_rows)
    scanned = scan(tmp_path, table, config)

    by_scan = candidate.fit_scan(scanned, config)
    in_memory = candidate.fit_candidate(table, scanned.sha256, config)

    ours, our_sums = take_statistics(by_scan.model)
    theirs, their_sums = take_statistics(in_memory.model)
    assert ours == theirs
    # Of the moments of pairs the drawn rows stand for all.
    is_rough = bool(by_scan.model.pairs) and max_rows == 2_000
    assert our_sums == pytest.approx(their_sums, rel=1e-9, abs=0.05 if is_rough else 1e-12)
    assert by_scan.model.dataset.n_rows == 6_000
    assert by_scan.model.dataset.n_drawn_rows == (2_000 if max_rows == 2_000 else None)


def test_equal_rows_are_drawn_alike_by_a_scan_and_in_memory(tmp_path: Path, config: Config) -> None:
    # Without identifiers, equal rows may be different clients.
    table = make_table(3_000).assign(id="x", months=lambda rows: rows["months"] % 3)
    config = settle(config, 1_000)
    ingestion = msgspec.structs.replace(config.ingestion, drop_duplicates=False)
    config = msgspec.structs.replace(config, ingestion=ingestion)
    assert candidate.has_equal_rows(config)

    by_scan = candidate.fit_scan(scan(tmp_path, table, config, by_place=True), config)
    in_memory = candidate.fit_candidate(table, "", config)

    assert by_scan.model.numeric == in_memory.model.numeric
    assert by_scan.model.categorical == in_memory.model.categorical


def test_the_model_of_drawn_rows_is_nearly_that_of_all_rows(config: Config) -> None:
    table, later = make_table(40_000), make_table(20_000, seed=1)
    columns, y = dataset.feature_arrays(later, SCHEMA), dataset.target(later, SCHEMA)

    losses = []
    for max_rows in (None, 20_000):
        fitted = candidate.fit_candidate(table, "", settle(config, max_rows)).model
        probability = logistic_model.probabilities(fitted, columns)
        losses.append(-np.mean(np.log(np.where(y == 1, probability, 1 - probability))))

    assert losses[1] == pytest.approx(losses[0], abs=1e-3)


def test_a_class_that_was_not_drawn_is_said(config: Config) -> None:
    table = make_table(5_000).assign(left=0)
    hashes = deduplicate.hash_table_rows(table.assign(left=1), SCHEMA)
    keys = sampling.draw_keys(hashes, TrainingSettings().random_state)
    table.loc[np.argsort(keys)[-2:], "left"] = 1

    with pytest.raises(InsufficientDataError, match=r"2 rows are of clients who left\. Raise"):
        candidate.fit_candidate(table, "", settle(config, 1_000))


def test_a_dataset_of_one_class_is_not_enough(config: Config) -> None:
    table = make_table(2_000).assign(left=1)

    with pytest.raises(InsufficientDataError, match=r"All 900 training rows have the same label"):
        candidate.fit_candidate(table, "", settle(config, 1_000))
