"""Keys that are written otherwise in an extract than in the one before."""

from pathlib import Path

import msgspec
import pandas as pd
import pytest
from msgspec.structs import astuple

from scripts import ingestion
from scripts.core.config import EngineSettings
from scripts.data import key_spellings
from tests.support.monthly import MONTHS, Company, configure


def texts(*values: str) -> "pd.Series[str]":
    return pd.Series(values, dtype="str")


@pytest.mark.parametrize(
    ("new", "gone", "n_respelt"),
    [
        (["42", "7"], ["0042", "0008"], 1),
        (["K17", "k18"], ["k17", "K18", "K19"], 2),
        (["42.0", "43,0"], ["42", "43"], 2),
        # Thousands marks of several countries, also beside a decimal.
        (["12,001", "12.002", "12 003", "12'004"], ["12001", "12002", "12003", "12004"], 4),
        (["1\u00a0234\u202f567", "12,000", "12,005.0"], ["1234567", "12000", "12005"], 3),
        (["1,23", "x 001", "2026.12.001"], ["123", "x001", "202612001"], 0),
        (["1", "2"], [], 0),
        ([], ["1"], 0),
        (["a", "0"], ["b", "00"], 0),
        # Keys without a number, of which few are alike.
        (["Ann@x", "Bob@x", "cy@x", "di@x"], ["ann@x", "eve@x"], 1),
        (["00a", "b", "c", "d"], ["A"], 1),
        # Most of the new keys have lost a prefix.
        (["1", "2", "3", "4", "5", "99"], ["K-001", "K-002", "K-003", "K-004", "K-005"], 5),
        # Few are alike without their letters by chance.
        (["A1", *(f"A{n}" for n in range(50, 70))], ["B1", "C2"], 0),
    ],
)
def test_new_keys_are_those_of_vanished_clients_written_otherwise(
    new: list[str], gone: list[str], n_respelt: int
) -> None:
    assert key_spellings.count_respelt(texts(*new), texts(*gone)) == n_respelt


@pytest.mark.parametrize("limit_gb", [None, 0.000001])
def test_keys_written_otherwise_in_a_part_of_an_extract_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, limit_gb: float | None
) -> None:
    company = Company()
    before = {row.split(",")[1] for row in company.rows[3]}
    kept = [n for n, row in enumerate(company.rows[4]) if row.split(",")[1] in before][:20]
    for place in kept:
        company.rows[4][place] = company.rows[4][place].replace(",c", ",C", 1)
    company.write(tmp_path, 5)
    engine = EngineSettings(memory_limit_gb=limit_gb)
    config = msgspec.structs.replace(configure(tmp_path), engine=engine)
    caplog.set_level("INFO")

    found = ingestion.main(config)

    assert found.dated is not None
    assert [(keys.day, keys.n_respelt) for keys in found.dated.respelt] == [(str(MONTHS[4]), 20)]
    assert f"20 clients of the extract as of {MONTHS[4]} are new, and their keys" in caplog.text


def test_keys_of_an_extract_in_the_middle_are_counted_and_only_those(tmp_path: Path) -> None:
    company = Company()
    company.rows[2] = [row.replace(",c0", ",", 1) for row in company.rows[2]]
    company.write(tmp_path, 6)

    found = ingestion.main(configure(tmp_path))

    assert found.dated is not None
    ((day, n_respelt, n_rows),) = [astuple(keys) for keys in found.dated.respelt]
    assert (day, n_rows) == (str(MONTHS[2]), 300)
    assert 200 < n_respelt < 300
