"""The ledger of datasets with parts elsewhere, without a cluster."""

from pathlib import Path
from typing import Any

import pytest

from scripts.core import kept_lists
from scripts.core.config import Schema
from scripts.core.errors import DatasetError
from scripts.spark import dataset

pytest.importorskip("pyspark", reason="PySpark is not installed; pip install '.[spark]'")

NO_SESSION: Any = None
SCHEMA = Schema(target="left", ids=("id",), numeric=("age",), categorical=("plan",))


def test_a_path_with_brackets_is_no_pattern() -> None:
    assert dataset.escape("/a [1]/{b}*") == r"/a \[1\]/\{b\}\*"


def test_columns_have_their_kinds_in_the_order_of_the_schema() -> None:
    kinds = dataset.arrow_schema(SCHEMA)

    assert [*map(str, kinds.types)] == ["string", "double", "string", "int8"]
    assert tuple(kinds.names) == SCHEMA.columns


def test_parts_elsewhere_are_deleted_when_their_dataset_is_gone_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted: list[Any] = []
    monkeypatch.setattr(dataset, "delete", lambda session, address: deleted.append(address))
    kept, gone = tmp_path / "finaldata_b.parts", tmp_path / "finaldata_a.parts"
    addresses = {path.name: f"s3a://lake/{path.stem}" for path in (gone, kept)}
    kept_lists.write(tmp_path / dataset.ELSEWHERE, addresses)
    kept.mkdir()

    for _ in range(2):
        dataset.delete_forgotten(NO_SESSION, tmp_path)

    assert deleted == ["s3a://lake/finaldata_a"]
    assert dataset.read_ledger(tmp_path) == {kept.name: "s3a://lake/finaldata_b"}


def test_a_folder_without_parts_elsewhere_has_no_ledger(tmp_path: Path) -> None:
    dataset.delete_forgotten(NO_SESSION, tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"a": 1}'])
def test_a_damaged_ledger_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / dataset.ELSEWHERE).write_bytes(content)

    with pytest.raises(
        DatasetError, match=r"datasets_elsewhere.json, the addresses .* is damaged: .* Remove it"
    ):
        dataset.read_ledger(tmp_path)
