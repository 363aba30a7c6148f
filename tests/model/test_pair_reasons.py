"""Pairs in reasons, in changes of the risk, in answers and in drift: exact to the last term."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from scripts.app import create_app
from scripts.core.column_words import ColumnWords
from scripts.core.config import Config, Schema
from scripts.data.profile import DatasetFacts
from scripts.model import candidate, drift, explanation, logistic_model, reference
from scripts.model.logistic_model import CategoricalTerm, Model, NumericTerm, PairAxis, PairTerm
from tests.support.service import FIRST, answer_of, switch, write_release

SCHEMA = Schema(target="left", ids=(), numeric=("age", "use"), categorical=("plan",), minimum={})
AGE = PairAxis(column="age", knots=(20.0, 40.0, 60.0))
USE = PairAxis(column="use", knots=(0.0, 10.0))
PLAN = PairAxis(column="plan", categories=("gold",))


def make_model(*pairs: PairTerm, intercept: float = 0.0, slope: float = 0.0) -> Model:
    """Make a model of a curve, a line, two plans and pairs."""
    return Model(
        format=logistic_model.FORMAT,
        schema=SCHEMA,
        numeric=(
            NumericTerm(
                column="age", median=40.0, missing_coefficient=0.3, knots=(20.0, 60.0),
                values=(-slope, slope),
            ),
            NumericTerm(column="use", median=5.0, coefficient=slope, missing_coefficient=-0.2),
        ),
        categorical=(
            CategoricalTerm(column="plan", categories=("gold", "tin"), coefficients=(0.1, -0.4)),
        ),
        intercept=intercept,
        threshold=0.5,
        dataset=DatasetFacts(
            sha256="0" * 64, n_rows=0, n_positives=0, missing_fractions={}, summary=()
        ),
        n_training_rows=0,
        settings={},
        validation={},
        versions={},
        pairs=pairs,
    )  # fmt: skip


def draw_grid(axes: tuple[PairAxis, PairAxis], random: np.random.Generator) -> PairTerm:
    """Return a pair of random values."""
    first, second = axes
    values = random.normal(size=(first.n_levels, second.n_levels))
    return PairTerm(first=first, second=second, values=tuple(map(tuple, values.tolist())))


def draw_columns(random: np.random.Generator, n_rows: int) -> dict[str, Any]:
    """Return odd values: outside of the knots, missing, and categories nobody knows."""
    columns: dict[str, Any] = {
        "age": random.uniform(-10, 90, n_rows),
        "use": random.choice([0.0, 10.0, 3.7, np.nan], n_rows),
        "plan": random.choice(np.array(["gold", "tin", "new", ""], dtype=object), n_rows),
    }
    columns["age"][random.random(n_rows) < 0.1] = np.nan
    return columns


def column(value: float | str) -> Any:
    """Return a column of one row."""
    return np.array([value], dtype=object if isinstance(value, str) else np.float64)


def test_both_columns_of_a_pair_share_what_only_both_together_change() -> None:
    # 8 where a client is 60 and uses 10, else 0.
    pair = PairTerm(
        first=PairAxis(column="age", knots=(20.0, 60.0)),
        second=USE,
        values=((0.0, 0.0, 0.0), (0.0, 8.0, 0.0), (0.0, 0.0, 0.0)),
    )
    used = make_model(pair)
    then = {"age": column(20.0), "use": column(0.0), "plan": column("gold")}
    now = {"age": column(60.0), "use": column(10.0), "plan": column("gold")}

    parts = explanation.split_pair(used, used, then, now, pair.columns)

    assert [float(part[0]) for part in parts] == pytest.approx([4.0, 4.0, 0.0])


def test_a_new_pair_shares_its_value_between_both_columns_and_the_retraining() -> None:
    # The mean over the six orders: the pair counts only when all three have moved, so that each
    # is the last one in two orders.
    pair = PairTerm(
        first=PairAxis(column="age", knots=(20.0, 60.0)),
        second=USE,
        values=((0.0, 0.0, 0.0), (0.0, 6.0, 0.0), (0.0, 0.0, 0.0)),
    )
    then = {"age": column(20.0), "use": column(0.0), "plan": column("gold")}
    now = {"age": column(60.0), "use": column(10.0), "plan": column("gold")}

    parts = explanation.split_pair(make_model(), make_model(pair), then, now, pair.columns)

    assert [float(part[0]) for part in parts] == pytest.approx([2.0, 2.0, 2.0])


@pytest.mark.parametrize("seed", range(20))
def test_movements_and_retraining_add_up_with_pairs_of_two_models(seed: int) -> None:
    random = np.random.default_rng(seed)
    old = make_model(
        draw_grid((AGE, PLAN), random), draw_grid((USE, AGE), random), intercept=0.7, slope=0.2
    )
    # The same columns in another order, and a pair that only one model has.
    new = make_model(
        draw_grid((PLAN, AGE), random), draw_grid((USE, PLAN), random), intercept=-0.4, slope=-0.1
    )
    then, now = draw_columns(random, 50), draw_columns(random, 50)

    change = explanation.split_change(old, new, then, now)

    total = change.before + sum(change.movements.values()) + change.retraining
    assert np.abs(total - change.after).max() < 1e-9
    for model, columns, log_odds in ((old, then, change.before), (new, now, change.after)):
        probability = logistic_model.probabilities(model, columns)
        assert np.abs(logistic_model.sigmoid(log_odds) - probability).max() < 1e-12


def test_a_client_who_stayed_the_same_has_no_movement_in_a_pair() -> None:
    random = np.random.default_rng(1)
    old, new = make_model(draw_grid((AGE, USE), random)), make_model(draw_grid((AGE, USE), random))
    columns = draw_columns(random, 50)

    change = explanation.split_change(old, new, columns, columns)

    assert all(np.abs(part).max() < 1e-12 for part in change.movements.values())
    assert np.abs(change.retraining - (change.after - change.before)).max() < 1e-12


def test_a_pair_is_one_reason_of_two_columns() -> None:
    pair = PairTerm(first=AGE, second=PLAN, values=((0.0, 0.0), (0.0, 0.0), (2.0, 0.0), (0.0, 0.0)))
    columns = {"age": column(60.0), "use": column(5.0), "plan": column("gold")}

    (reasons,) = explanation.find_reasons(
        make_model(pair), columns, {"age": 40.0, "use": 5.0, "plan": "tin"}
    )

    strongest = reasons[0]
    assert [(part.column, part.value, part.typical) for part in strongest.parts] == [
        ("age", 60.0, 40.0), ("plan", "gold", "tin"),
    ]  # fmt: skip
    assert strongest.effect == pytest.approx(2.0)
    assert explanation.format_reason(strongest).startswith("age 60 with plan gold")


def test_the_reasons_of_many_clients_are_those_of_each_one_alone() -> None:
    random = np.random.default_rng(3)
    used = make_model(draw_grid((AGE, USE), random), draw_grid((AGE, PLAN), random))
    now, before = draw_columns(random, 60), draw_columns(random, 60)
    # Few different values, some of them missing, so that many clients have the same reason.
    rounded = {name: np.round(now[name] / 20) * 20 for name in ("age", "use")}
    now |= {name: np.where(random.random(60) < 0.2, np.nan, c) for name, c in rounded.items()}
    typical: dict[str, float | str] = {"age": 40.0, "use": 5.0, "plan": "tin"}
    words = ColumnWords(group_of={"age": "body", "use": "body"})

    for chosen in (ColumnWords(), words):
        together = explanation.find_reasons(used, now, typical, chosen, before)

        alone = [
            explanation.find_reasons(
                used, {n: c[row : row + 1] for n, c in now.items()}, typical, chosen,
                {n: c[row : row + 1] for n, c in before.items()},
            )[0]
            for row in range(60)
        ]  # fmt: skip
        # NaN is equal to nothing, so the reasons are compared as text.
        assert repr(together) == repr(alone)
        n_reasons = sum(map(len, together))
        assert len({id(reason) for reasons in together for reason in reasons}) < n_reasons


def test_an_explained_answer_adds_up_with_pairs(config_path: Path) -> None:
    features = ("lastmonth_activity", "lastyear_activity", "number_of_employees")
    made = msgspec.structs.replace(
        make_model(),
        schema=Schema(),
        numeric=tuple(
            NumericTerm(column=name, median=1.0, knots=(0.0, 50.0), values=(-0.7, 1.3))
            for name in features
        ),
        categorical=(),
        intercept=0.123,
        pairs=(
            draw_grid(
                (PairAxis(column=features[0], knots=(0.0, 9.0, 30.0)),
                 PairAxis(column=features[2], knots=(1.0, 4.0))),
                np.random.default_rng(5),
            ),
        ),
    )  # fmt: skip
    write_release(config_path.parent / "prod", FIRST, made)
    switch(config_path.parent / "prod", FIRST)
    client = create_app(config_path).test_client()
    rows = [
        {features[0]: 7, features[1]: 3.5, features[2]: 2},
        {features[0]: None, features[1]: 400, features[2]: 90},
    ]

    answer = answer_of(client.post("/predict?explain=true", json={"data": rows}))

    for k, log_odds in enumerate(answer["log_odds"]):
        pairs = answer["pair_contributions"][k]
        assert [pair["columns"] for pair in pairs] == [[features[0], features[2]]]
        total = answer["intercept"] + sum(answer["contributions"][k].values())
        total += sum(pair["effect"] for pair in pairs)
        assert total == pytest.approx(log_odds, abs=1e-12)
        assert 1 / (1 + np.exp(-log_odds)) == pytest.approx(answer["probabilities"][k], abs=1e-12)


def test_drift_counts_half_of_a_pair_for_each_of_its_columns() -> None:
    # 6 for old clients on the gold plan, else 0.
    pair = PairTerm(
        first=PairAxis(column="age", knots=(20.0, 60.0)),
        second=PLAN,
        values=((0.0, 0.0), (6.0, 0.0), (0.0, 0.0)),
    )
    used = make_model(pair)
    before = pd.DataFrame({"age": [20.0] * 8, "use": [5.0] * 8, "plan": ["gold"] * 8, "left": 0})
    kept = reference.make_reference(used, before)

    moved = drift.compare_risks(used, kept, before.assign(age=60.0))

    assert moved["age"].effect == pytest.approx(3.0)
    assert moved["plan"].effect == pytest.approx(3.0)
    assert moved["use"].effect == pytest.approx(0.0)


def make_wide(n_columns: int, n_rows: int) -> tuple[pd.DataFrame, Schema]:
    """Return a table of bent columns, of which some act together, and a schema."""
    random = np.random.default_rng(4)
    n_numeric = n_columns * 2 // 3
    numeric = {f"n{k}": random.normal(size=n_rows) for k in range(n_numeric)}
    texts = {
        f"t{k}": random.choice([f"level {level}" for level in range(12)], n_rows)
        for k in range(n_columns - n_numeric)
    }
    log_odds = sum(np.sin(2 * numeric[f"n{k}"]) for k in range(0, n_numeric, 2)) * 0.5
    log_odds = log_odds + sum(
        1.5 * numeric[f"n{2 * k}"] * numeric[f"n{2 * k + 1}"] for k in range(n_numeric // 4)
    )
    left = (random.random(n_rows) < 1 / (1 + np.exp(-log_odds))).astype(np.int64)
    schema = Schema(
        target="left", ids=(), numeric=tuple(numeric), categorical=tuple(texts), minimum={}
    )
    return pd.DataFrame({**numeric, **texts, "left": left}), schema


def test_a_model_of_thirty_columns_takes_at_most_200_kb(config: Config) -> None:
    table, schema = make_wide(30, 2500)
    used = msgspec.structs.replace(config, schema=schema)

    made = candidate.fit_candidate(table, "", used).model

    assert len(made.pairs) >= 3
    shown = json.loads(logistic_model.encode_model(made))
    # The reference of the drift, with a hash of each row, is no part of the terms.
    shown["dataset"].pop("reference")
    assert len(json.dumps(shown)) <= 200_000


FIT = """
import os, sys
os.sched_setaffinity(0, {int(core) for core in sys.argv[2].split(",")})
from pathlib import Path
from scripts import ingestion, training
from scripts.core.config_file import read_config
config = read_config(Path(sys.argv[1]))
ingestion.main(config)
training.main(config)
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores to compare with one")
def test_the_bytes_of_a_model_do_not_depend_on_the_number_of_cores(tmp_path: Path) -> None:
    table, schema = make_wide(6, 1500)
    folder = tmp_path / "input"
    folder.mkdir()
    table.to_csv(folder / "a.csv", index=False)
    cores = sorted(os.sched_getaffinity(0))[:2]
    contents = []
    for name, used in (("one", cores[:1]), ("two", cores)):
        path = tmp_path / name / "config.json"
        path.parent.mkdir()
        settings = {
            "input_folder_path": str(folder), "test_data_path": str(folder),
            "output_folder_path": "output", "output_model_path": "models",
            "prod_deployment_path": "prod",
            "schema": {
                "target": "left", "ids": [], "numeric": list(schema.numeric),
                "categorical": list(schema.categorical), "minimum": {},
            },
        }  # fmt: skip
        path.write_text(json.dumps(settings))
        command = [sys.executable, "-c", FIT, str(path), ",".join(map(str, used))]
        subprocess.run(command, check=True, capture_output=True)
        (model,) = (tmp_path / name / "models").glob("model_*.json")
        shown = json.loads(model.read_text())
        # Hashes of rows have a key of the installation.
        shown["dataset"]["reference"].pop("row_hashes")
        contents.append(shown)

    assert contents[0]["pairs"]
    assert contents[0] == contents[1]
