"""Addresses of object stores: spelled as they were given, and like paths in all else."""

import pickle
from pathlib import Path

import pytest

from scripts.addresses import Address, is_address

PLACES = [
    "s3a://lake/in/a.csv",
    "viewfs:///in/a b.csv",
    "abfss://c@account.dfs.example.com/in/é.csv",
]


@pytest.mark.parametrize("text", PLACES)
def test_an_address_is_spelled_as_it_was_given_also_in_another_process(text: str) -> None:
    address = Address(text)

    assert str(address) == str(pickle.loads(pickle.dumps(address))) == f"{address}" == text
    assert pickle.loads(pickle.dumps(address)) == address
    assert address.name == text.rpartition("/")[2]


def test_an_address_is_nowhere_on_this_machine(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a")

    assert not Address(f"file://{tmp_path}/a.csv").exists()
    assert not Address(f"file://{tmp_path}/a.csv").is_absolute()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("s3a://lake", True), ("gs://lake/in", True), ("file:///in", True),
        ("hdfs://n:8020/", True), ("s3a:/lake", False), ("in", False), ("/in", False),
        ("C://in", False), ("s3a://a b", False), ("://in", False), ("s3a://", False), ("", False),
    ],
)  # fmt: skip
def test_what_has_a_scheme_is_an_address(text: str, answer: bool) -> None:
    assert is_address(text) is answer
