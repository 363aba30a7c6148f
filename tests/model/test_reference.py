"""The reference of a training dataset, and the new rows of a later dataset."""

from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from scripts.core.config import Config, Schema
from scripts.data import dataset, deduplicate, profile
from scripts.data.profile import Reference
from scripts.model import candidate, logistic_model, reference
from tests.conftest import SMALL_ROWS, make_rows, write_csv
from tests.support.service import make_model

SCHEMA = Schema()


def read_rows(tmp_path: Path, rows: list[str]) -> pd.DataFrame:
    """Read rows as a table."""
    return dataset.read_tables([write_csv(tmp_path / "rows.csv", rows)], SCHEMA)[0]


def remember(table: pd.DataFrame, n_hashes: int | None = None) -> Reference:
    """Return a reference with the hashes of a table alone."""
    kept = np.unique(deduplicate.hash_rows(table, SCHEMA))[:n_hashes]
    hashes = kept.astype(deduplicate.HASH_TYPE).tobytes()
    return Reference(numeric={}, categorical={}, contributions={}, row_hashes=hashes)


def test_a_column_with_few_values_has_a_cell_for_each() -> None:
    cells = profile.make_bins(np.array([3.0, 1.0, 1.0, 2.0, 3.0, 3.0]))

    assert cells.edges == (1.0, 2.0, 3.0)
    assert cells.counts == (2, 1, 3, 0)


def test_a_column_with_many_values_has_32_cells_of_equal_counts() -> None:
    cells = profile.make_bins(np.arange(3200, dtype=np.float64))

    assert cells.counts == (*[100] * 32, 0)
    assert cells.edges[0] == 99.0
    assert cells.edges[-1] == 3199.0


@pytest.mark.parametrize("values", [[], [7.0], [0.0] * 500, [*[0.0] * 90, *range(1, 100)]])
def test_every_value_is_in_one_cell(values: list[float]) -> None:
    cells = profile.make_bins(np.array(values, dtype=np.float64))

    assert sum(cells.counts) == len(values)
    assert cells.counts[-1] == 0


def test_values_are_counted_up_to_the_edge_and_above_the_last() -> None:
    counts = profile.count_bins((1.0, 2.0), np.array([0.5, 1.0, 1.5, 2.0, 2.5, 9.0]))

    assert counts.tolist() == [2, 2, 2]


def test_a_row_is_known_again_when_its_column_has_become_one_of_floats(tmp_path: Path) -> None:
    integers = read_rows(tmp_path, ["a,1,2,3,0", "b,4,5,6,1"])
    floats = read_rows(tmp_path, ["a,1,2,3,0", "c,,5,6.5,1"])

    is_new, is_complete = reference.find_new_rows(
        remember(integers), deduplicate.hash_rows(floats, SCHEMA)
    )

    assert integers["lastmonth_activity"].dtype != floats["lastmonth_activity"].dtype
    assert is_new.tolist() == [False, True]
    assert is_complete


@pytest.mark.parametrize("row", ["x,1,2,3,0", "a,9,2,3,0", "a,1,2,,0", "a,1,2,3,1", "a,2,1,3,0"])
def test_a_row_that_differs_in_any_cell_is_new(tmp_path: Path, row: str) -> None:
    before, after = read_rows(tmp_path, ["a,1,2,3,0"]), read_rows(tmp_path, [row])

    is_new, _ = reference.find_new_rows(remember(before), deduplicate.hash_rows(after, SCHEMA))

    assert is_new.all()


def test_of_a_large_dataset_a_fair_sample_of_the_new_rows_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, later = make_rows(4000, 1), make_rows(2000, 2)
    monkeypatch.setattr(deduplicate, "N_HASHES", 1000)
    kept = remember(read_rows(tmp_path, before), 1000)
    table = read_rows(tmp_path, before[1000:] + later)

    is_new, is_complete = reference.find_new_rows(kept, deduplicate.hash_rows(table, SCHEMA))

    # A quarter of 2,000 rows is 500; five standard deviations are 97.
    assert not is_complete
    assert not is_new[:3000].any()
    assert abs(int(is_new.sum()) - 500) < 97


def test_a_model_keeps_its_reference_through_model_json(tmp_path: Path, config: Config) -> None:
    table = read_rows(tmp_path, SMALL_ROWS)
    fitted = candidate.fit_candidate(table, "0" * 64, config).model

    again = logistic_model.decode_model(logistic_model.encode_model(fitted), Path("model.json"))

    assert again == fitted
    kept = again.dataset.reference
    assert kept is not None
    assert sum(kept.numeric["lastmonth_activity"].counts) == 26
    assert len(kept.row_hashes) == 4 * 26
    term = fitted.numeric[0]
    expected = term.coefficient * table["lastmonth_activity"].mean()
    assert kept.contributions["lastmonth_activity"].mean == pytest.approx(expected)


def test_a_model_of_before_references_can_still_be_read(tmp_path: Path, config: Config) -> None:
    fitted = candidate.fit_candidate(read_rows(tmp_path, SMALL_ROWS), "0" * 64, config).model
    spelled = msgspec.json.decode(logistic_model.encode_model(fitted))
    del spelled["dataset"]["reference"]

    old = logistic_model.decode_model(msgspec.json.encode(spelled), Path("model.json"))

    assert old.dataset.reference is None


def test_what_is_kept_does_not_grow_with_the_dataset(tmp_path: Path, config: Config) -> None:
    fitted = candidate.fit_candidate(read_rows(tmp_path, SMALL_ROWS), "", config).model
    random, n_rows = np.random.default_rng(3), 50_000
    table = pd.DataFrame({name: random.lognormal(4, 1, n_rows) for name in SCHEMA.numeric})
    table["corporation"], table["exited"] = [f"c{i}" for i in range(n_rows)], 0

    large = reference.add_reference(fitted, table)

    assert len(logistic_model.encode_model(large)) < 110_000


def test_a_typical_client_who_stays_has_medians_and_the_most_frequent_categories(
    tmp_path: Path,
) -> None:
    schema = Schema(numeric=("lastmonth_activity",), categorical=("plan", "site"))
    path = tmp_path / "rows.csv"
    path.write_text(
        "corporation,lastmonth_activity,plan,site,exited\n"
        "a,1,gold,x,0\nb,4,gold,y,0\nc,,tin,y,0\nd,8,tin,x,0\ne,100,zinc,z,1\nf,100,zinc,z,1\n"
    )
    table = dataset.read_tables([path], schema)[0]
    used = make_model()
    used = msgspec.structs.replace(used, schema=schema, numeric=used.numeric[:1], categorical=())

    # Of 1, 4 and 8 the middle; gold and tin, x and y are equally frequent.
    assert reference.find_typical(used, table) == {
        "lastmonth_activity": 4.0, "plan": "gold", "site": "x",
    }  # fmt: skip


def test_a_column_blank_for_all_who_stayed_is_typical_at_the_models_median(tmp_path: Path) -> None:
    table = read_rows(tmp_path, ["a,,2,3,0", "b,9,5,6,1"])

    assert reference.find_typical(make_model(), table)["lastmonth_activity"] == 1.0


def test_training_records_what_is_typical(config: Config, tmp_path: Path) -> None:
    table = read_rows(tmp_path, SMALL_ROWS)

    fitted = candidate.fit_candidate(table, "", config).model

    # Fourteen of the 26 small rows stayed; their months are 13, 24, 36, 47, 52, 63, 70, 78, 85,
    # 102, 115, 130, 150 and 180.
    assert fitted.dataset.typical is not None
    assert fitted.dataset.typical["lastmonth_activity"] == (70 + 78) / 2
