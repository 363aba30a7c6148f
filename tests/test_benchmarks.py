"""The other sides of the benchmarks answer, so that ours are compared with something."""

import re
from pathlib import Path

import pytest
import requests

from benchmarks import gain, holdout, large_data, pipeline, servers
from benchmarks.large_data import Shape
from scripts.model.holdout_effect import EffectVerdict


def test_the_empty_and_the_plain_side_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    with servers.running_plain(servers.prepare(tmp_path)) as plain:
        empty = requests.get(f"{plain.url}/empty", timeout=10)
        body = {"data": [servers.ROW] * 1000}
        rows = requests.post(f"{plain.url}/plain", json=body, timeout=10)

    assert empty.status_code == 200
    assert len(rows.json()["probabilities"]) == 1000


@pytest.mark.parametrize(
    ("shape", "is_odd", "lowest", "highest"),
    [
        (Shape.WHOLE, r"^client[0-9]+(,[0-9]+){3},[01]$", 5000, 5000),
        (Shape.FRACTIONS, r"^client[0-9]+,[0-9]+\.[0-9]", 5000, 5000),
        (Shape.WRONG, ",n/a,", 20, 80),
        (Shape.MISSING, ",,", 1000, 1700),
        (Shape.MISSING, " ,", 50, 150),
        (Shape.QUOTED_NAMES, r'^"client[0-9]+, Ltd",', 180, 320),
        (Shape.QUOTED, r'^("[^"]+",){4}"[01]"$', 5000, 5000),
        (Shape.UNLABELLED, ",$", 400, 600),
        (Shape.ALL_UNLABELLED, ",$", 5000, 5000),
    ],
)
def test_a_shape_has_as_many_odd_rows_as_it_promises(
    tmp_path: Path, shape: Shape, is_odd: str, lowest: int, highest: int
) -> None:
    large_data.write_tables(tmp_path, 5000, 1, shape=shape)

    _, *lines = next(tmp_path.glob("*.csv")).read_text().splitlines()

    assert lowest <= sum(bool(re.search(is_odd, line)) for line in lines) <= highest


@pytest.mark.parametrize("company", holdout.NULLS[:2])
def test_at_most_one_in_twenty_companies_is_told_of_help_that_is_none(
    company: holdout.Company,
) -> None:
    answers = holdout.count_answers(company, 1000, seed=7)

    assert answers[EffectVerdict.HELPS] <= 50


def test_the_published_trial_is_told_as_harm() -> None:
    answers = holdout.count_answers(holdout.EFFECTS[-1], 50)

    assert answers[EffectVerdict.HARMS] >= 40


def test_the_order_by_gain_brings_more_and_its_interval_covers() -> None:
    by_gain, by_risk, covered = gain.compare_orders(1.0, 60)

    assert by_gain > by_risk > 0
    assert covered >= 0.88
    difference = gain.compare_with_empulse()
    assert difference is not None
    assert difference < 1e-9


def test_rows_repeat_in_every_shape(tmp_path: Path) -> None:
    for shape in Shape:
        large_data.write_tables(tmp_path / shape, 1000, 1, shape=shape)

        (path,) = (tmp_path / shape).glob("*.csv")
        _, *lines = path.read_text().splitlines()
        assert len(set(lines)) == 800


def test_ingestion_is_measured_beside_polars_and_pandas_that_give_the_same_rows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sizes = (300, 2)

    all_met = pipeline.measure_shapes([Shape.MISSING], sizes, 1, before=None)

    first, pandas, polars = capsys.readouterr().out.splitlines()
    assert all_met
    assert first.startswith("missing: ours")
    assert "ours / pandas" in pandas
    assert "ours / Polars" in polars
