"""What Hadoop says of the files of a store, asked of the real one without a session."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.sparkcluster import why_not
from tests.webhdfs import Store, serving_store

if why_not():
    pytest.skip(why_not(), allow_module_level=True)

from pyspark import SparkContext
from pyspark.sql import SparkSession

from scripts import durable, sparkstore
from scripts.addresses import Address
from scripts.errors import DatasetError
from scripts.inbox import KnownFile
from scripts.sparkstore import Stored

NAMES = ["b.csv", "a b [1].csv", "é%20.CSV", "_SUCCESS.csv", ".c.csv", "notes.txt", "d.csv.part"]
FOUND = ["a b [1].csv", "b.csv", "folder.csv", "é%20.CSV"]


@pytest.fixture(scope="module", autouse=True)
def java() -> Iterator[None]:
    """End Java when it is not asked any more, so that other tests find no child process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_SUBMIT_OPTS", "-XX:+UseSerialGC -XX:TieredStopAtLevel=1")
        yield
    gateway = SparkContext._gateway
    if gateway is not None:
        gateway.shutdown()
        gateway.proc.stdin.close()
        gateway.proc.wait(30)
        SparkContext._gateway = SparkContext._jvm = None


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Serve a folder with files of all kinds of names."""
    (tmp_path / "in" / "folder.csv").mkdir(parents=True)
    for name in NAMES:
        (tmp_path / "in" / name).write_text(name)
        os.utime(tmp_path / "in" / name, (1000, 1000))
    with serving_store(tmp_path) as store:
        yield store


def place_of(store: Store, name: str = "") -> Address:
    """Name the folder of the store, or a file in it."""
    return Address(f"{store.address}/in" + (f"/{name}" if name else ""))


def test_tables_are_listed_in_name_order_with_what_the_store_says(store: Store) -> None:
    found = sparkstore.look(place_of(store))

    assert [path.name for path in found] == FOUND
    assert found[place_of(store, "b.csv")] == Stored(5, 1000 * 10**9, "", is_file=True)
    assert not found[place_of(store, "folder.csv")].is_file
    assert [str(path) for path in found][1] == f"{store.address}/in/b.csv"


def test_one_file_is_listed_as_itself_and_several_by_their_folder(store: Store) -> None:
    one, other = place_of(store, "b.csv"), place_of(store, "é%20.CSV")

    assert [*sparkstore.look(one)] == [*sparkstore.look_again([one])] == [one]
    assert set(sparkstore.look_again([one, other])) >= {one, other}
    assert sparkstore.look_again([]) == {}


def test_paths_of_the_local_file_system_and_a_mount_table_are_addresses_too(store: Store) -> None:
    for text in (f"file://{store.folder}/in", f"file:{store.folder}/in"):
        assert [path.name for path in sparkstore.look(Address(text))] == FOUND


def test_no_session_is_opened(store: Store) -> None:
    sparkstore.look(place_of(store))

    assert SparkSession.getActiveSession() is None
    assert SparkContext._active_spark_context is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}/nowhere", "FileNotFoundException.*/nowhere"),
        ("s3a://lake/in", "S3AFileSystem not found"),
        ("nobody://lake/in", 'No FileSystem for scheme "nobody"'),
    ],
)
def test_what_hadoop_does_not_reach_is_told_with_what_it_needs(
    store: Store, text: str, words: str
) -> None:
    address = text.format(store.address)

    with pytest.raises(DatasetError, match=f"^{address} cannot be read: .*{words}.*spark-defaults"):
        sparkstore.look(Address(address))


def identify(store: Store, name: str, known: dict[str, KnownFile] | None = None) -> KnownFile:
    """Identify a file as it is now."""
    path = place_of(store, name)
    return sparkstore.identify(path, sparkstore.look_again([path])[path], known or {})


def test_a_checksum_tells_contents_apart_whatever_name_and_time(store: Store) -> None:
    before, folder = identify(store, "b.csv"), store.folder / "in"
    (folder / "b.csv").rename(folder / "c.csv")
    os.utime(folder / "c.csv", (2000, 2000))

    after = identify(store, "c.csv")

    assert (after.sha256, after.n_bytes) == (before.sha256, 5)
    assert after.changed_ns == 2 * before.changed_ns
    (folder / "c.csv").write_text("other")
    assert identify(store, "c.csv").sha256 != before.sha256


def test_what_has_not_changed_is_not_asked_for_again(store: Store) -> None:
    known = {str(place_of(store, "b.csv")): identify(store, "b.csv")}
    store.asked.clear()

    assert identify(store, "b.csv", known) == known[str(place_of(store, "b.csv"))]
    assert [operation for operation, _ in store.asked] == ["GETFILESTATUS"]


def test_a_store_without_checksums_has_address_size_and_time(store: Store) -> None:
    folder = store.folder / "in"
    path = Address(f"file:{folder}/b.csv")

    before, again = (
        sparkstore.identify(path, sparkstore.look(path)[path], {}).sha256 for _ in range(2)
    )
    os.utime(folder / "b.csv", (3000, 3000))

    assert before == again != sparkstore.identify(path, sparkstore.look(path)[path], {}).sha256


def test_an_etag_comes_first_and_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    status = SimpleNamespace(
        getEtag=lambda: '"9b2"',
        getLen=lambda: 7,
        getModificationTime=lambda: 5,
        isFile=lambda: True,
    )
    monkeypatch.setattr(sparkstore, "is_instance_of", lambda *_: True)
    stored = sparkstore.describe(status)

    one, other = (
        sparkstore.identify(Address(f"s3a://nowhere/{name}.csv"), stored, {}) for name in "ab"
    )

    assert stored == Stored(7, 5 * 10**6, '"9b2"', is_file=True)
    assert one == other == KnownFile(7, 5 * 10**6, 0, durable.digest(b'"9b2" 7'))


def test_a_growing_file_is_left_for_the_next_run(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    young = store.folder / "in" / "b.csv"
    os.utime(young)
    monkeypatch.setattr(time, "sleep", lambda _s: young.write_text("more of it"))

    settled, growing, seen = sparkstore.look_into(place_of(store), 2.0, {})

    assert [path.name for path in settled] == [name for name in FOUND if name != "b.csv"]
    assert growing == [place_of(store, "b.csv")]
    assert set(seen) == {str(path) for path in settled}


def test_the_first_bytes_are_read_and_no_more(store: Store) -> None:
    path = place_of(store, "a b [1].csv")

    assert sparkstore.read_start(path, 3) == b"a b"
    assert sparkstore.read_start(path, 100) == b"a b [1].csv"


def test_what_is_brought_is_what_the_store_has_and_only_what_has_changed(
    store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "here"
    sparkstore.bring(place_of(store), folder)
    (folder / "old.csv").write_text("old")
    (folder / ".b.csv.tmp").write_text("half")
    (store.folder / "in" / "b.csv").write_text("news!")
    store.asked.clear()

    sparkstore.bring(place_of(store), folder)

    assert sorted(path.name for path in folder.iterdir()) == ["a b [1].csv", "b.csv", "é%20.CSV"]
    assert (folder / "b.csv").read_text() == "news!"
    assert (folder / "é%20.CSV").read_text() == "é%20.CSV"
    assert {place for operation, place in store.asked if operation == "OPEN"} == {"/in/b.csv"}
