"""Files of an object store by Hadoop and their lines by Spark, without a cluster."""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from pyspark import SparkContext
from pyspark.sql import SparkSession

from scripts.core import files
from scripts.core.errors import DatasetError
from scripts.core.files import KnownFile, RemotePath
from scripts.data.read_report import FileReading
from scripts.engine import store_folder
from scripts.engine.store_folder import StoreFolder
from scripts.spark import object_store, read_store
from scripts.spark.object_store import StoredFile
from tests.support.sparkcluster import why_not
from tests.support.webhdfs import Store, serving_store

pytest.importorskip("pyspark", reason="PySpark is not installed; pip install '.[spark]'")


def batch_of(lines: Sequence[tuple[str, int | None, bytes]]) -> pa.RecordBatch:
    """Make a batch as Spark does of lines."""
    names, starts, texts = zip(*lines, strict=True) if lines else ((), (), ())
    return pa.RecordBatch.from_pydict(
        {
            "name": pa.array(names, pa.string()),
            "start": pa.array(starts, pa.int64()),
            "line": pa.array(texts, pa.binary()),
        }
    )


@pytest.mark.parametrize(
    ("lines", "blocks"),
    [
        ([], []),
        ([("a", 0, b"a")], [("a", 0, b"a\n")]),
        ([("a", 0, b"a\r"), ("a", 0, b""), ("a", 0, b"\xff")], [("a", 0, b"a\r\n\n\xff\n")]),
        ([("a", None, b""), ("a", None, b"")], [("a", None, b"\n\n")]),
        (
            [("a", 0, b"a"), ("a", 9, b"b"), ("a", 9, b"c"), ("b", 9, b"d"), ("b", None, b"e")],
            [("a", 0, b"a\n"), ("a", 9, b"b\nc\n"), ("b", 9, b"d\n"), ("b", None, b"e\n")],
        ),
        (
            [("a", None, b"a"), ("b", None, b"b"), ("b", None, b"c")],
            [("a", None, b"a\n"), ("b", None, b"b\nc\n")],
        ),
    ],
)  # fmt: skip
def test_lines_are_put_together_file_by_file_and_range_by_range(
    lines: list[tuple[str, int | None, bytes]], blocks: list[tuple[str, int | None, bytes]]
) -> None:
    assert list(read_store.join_lines(batch_of(lines))) == blocks


def test_a_slice_of_a_batch_is_put_together_without_its_neighbours() -> None:
    lines = [("a", 0, b"a"), ("a", 0, b"b"), ("a", 5, b"c"), ("a", 5, b"d")]

    found = list(read_store.join_lines(batch_of(lines).slice(1, 2)))

    assert found == [("a", 0, b"b\n"), ("a", 5, b"c\n")]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("head", [b"", b"a,b\n"])
def test_a_file_is_made_of_its_lines_with_the_byte_order_mark_that_spark_removes(
    mark: bytes, head: bytes
) -> None:
    path, content = RemotePath("s3a://lake/a.csv"), mark + b"a,b\n1,2"
    source = read_store.Source(0, path, len(content), mark + head if head else b"")

    with source.open_whole(iter([b"a,b\n", b"1,2\n"])) as made:
        assert made.read() == content + b"\n"


if why_not():
    pytest.skip(why_not(), allow_module_level=True)

NAMES = ["b.csv", "a b [1].csv", "é%20.CSV", "_SUCCESS.csv", ".c.csv", "notes.txt", "d.csv.part"]
FOUND = ["a b [1].csv", "b.csv", "folder.csv", "é%20.CSV"]


@pytest.fixture(scope="module", autouse=True)
def java() -> Iterator[None]:
    """Stop Java after the tests, which leaves no child process behind."""
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
    """Serve a folder with files of various names."""
    (tmp_path / "in" / "folder.csv").mkdir(parents=True)
    for name in NAMES:
        (tmp_path / "in" / name).write_text(name)
        os.utime(tmp_path / "in" / name, (1000, 1000))
    with serving_store(tmp_path) as store:
        yield store


def place_of(store: Store, name: str = "") -> RemotePath:
    """Return the address of the folder of the store, or of a file."""
    return RemotePath(f"{store.address}/in" + (f"/{name}" if name else ""))


def test_tables_are_listed_in_name_order_with_what_the_store_says(store: Store) -> None:
    found = object_store.scan_folder(place_of(store))

    assert [path.name for path in found] == FOUND
    assert found[place_of(store, "b.csv")] == StoredFile(5, 1000 * 10**9, "", is_file=True)
    assert not found[place_of(store, "folder.csv")].is_file
    assert [str(path) for path in found][1] == f"{store.address}/in/b.csv"


def test_one_file_is_listed_as_itself_and_several_by_their_folder(store: Store) -> None:
    one, other = place_of(store, "b.csv"), place_of(store, "é%20.CSV")

    assert [*object_store.scan_folder(one)] == [*object_store.rescan_files([one])] == [one]
    assert set(object_store.rescan_files([one, other])) >= {one, other}
    assert object_store.rescan_files([]) == {}


def test_paths_of_the_local_file_system_and_a_mount_table_are_addresses_too(store: Store) -> None:
    for text in (f"file://{store.folder}/in", f"file:{store.folder}/in"):
        assert [path.name for path in object_store.scan_folder(RemotePath(text))] == FOUND


def test_no_session_is_opened(store: Store) -> None:
    object_store.scan_folder(place_of(store))

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
        object_store.scan_folder(RemotePath(address))


def identify(store: Store, name: str, known: dict[str, KnownFile] | None = None) -> KnownFile:
    """Identify a file by the present state."""
    path = place_of(store, name)
    return object_store.identify(path, object_store.rescan_files([path])[path], known or {})


def test_a_checksum_tells_contents_apart_whatever_name_and_time(store: Store) -> None:
    before, folder = identify(store, "b.csv"), store.folder / "in"
    (folder / "b.csv").rename(folder / "c.csv")
    os.utime(folder / "c.csv", (2000, 2000))

    after = identify(store, "c.csv")

    assert (after.sha256, after.n_bytes) == (before.sha256, 5)
    assert after.changed_ns == 2 * before.changed_ns
    (folder / "c.csv").write_text("other")
    assert identify(store, "c.csv").sha256 != before.sha256


def test_reports_of_copies_have_the_address_and_the_digest_of_the_store(
    store: Store, tmp_path: Path
) -> None:
    copies = [FileReading(tmp_path / name, "digest of the content") for name in ("b.csv", "z.csv")]

    here = store_folder.as_stored(copies, tmp_path)
    found, gone = store_folder.as_stored(copies, place_of(store))

    assert here == copies
    assert str(found.path) == f"{store.address}/in/b.csv"
    assert found.sha256 == identify(store, "b.csv").sha256
    assert gone == copies[1]


def test_what_has_not_changed_is_not_asked_for_again(store: Store) -> None:
    known = {str(place_of(store, "b.csv")): identify(store, "b.csv")}
    store.asked.clear()

    assert identify(store, "b.csv", known) == known[str(place_of(store, "b.csv"))]
    assert [operation for operation, _ in store.asked] == ["GETFILESTATUS"]


def test_a_store_without_checksums_has_address_size_and_time(store: Store) -> None:
    folder = store.folder / "in"
    path = RemotePath(f"file:{folder}/b.csv")

    before, again = (
        object_store.identify(path, object_store.scan_folder(path)[path], {}).sha256
        for _ in range(2)
    )
    os.utime(folder / "b.csv", (3000, 3000))

    assert (
        before
        == again
        != object_store.identify(path, object_store.scan_folder(path)[path], {}).sha256
    )


def test_an_etag_comes_first_and_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    status = SimpleNamespace(
        getEtag=lambda: '"9b2"',
        getLen=lambda: 7,
        getModificationTime=lambda: 5,
        isFile=lambda: True,
    )
    monkeypatch.setattr(object_store, "is_instance_of", lambda *_: True)
    stored = object_store.describe(status)

    one, other = (
        object_store.identify(RemotePath(f"s3a://nowhere/{name}.csv"), stored, {}) for name in "ab"
    )

    assert stored == StoredFile(7, 5 * 10**6, '"9b2"', is_file=True)
    assert one == other == KnownFile(7, 5 * 10**6, 0, files.digest(b'"9b2" 7'))


def test_a_growing_file_is_left_for_the_next_run(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    young = store.folder / "in" / "b.csv"
    os.utime(young)
    monkeypatch.setattr(time, "sleep", lambda _s: young.write_text("more of it"))

    settled, growing, seen = StoreFolder(place_of(store)).scan(2.0, {})

    assert [path.name for path in settled] == [name for name in FOUND if name != "b.csv"]
    assert growing == [place_of(store, "b.csv")]
    assert set(seen) == {str(path) for path in settled}


def test_the_first_bytes_are_read_and_no_more(store: Store) -> None:
    path = place_of(store, "a b [1].csv")

    assert object_store.read_start(path, 3) == b"a b"
    assert object_store.read_start(path, 100) == b"a b [1].csv"


def test_what_is_brought_is_what_the_store_has_and_only_what_has_changed(
    store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "here"
    store_folder.download_folder(place_of(store), folder)
    (folder / "old.csv").write_text("old")
    (folder / ".b.csv.tmp").write_text("half")
    (store.folder / "in" / "b.csv").write_text("news!")
    store.asked.clear()

    store_folder.download_folder(place_of(store), folder)

    assert sorted(path.name for path in folder.iterdir()) == ["a b [1].csv", "b.csv", "é%20.CSV"]
    assert (folder / "b.csv").read_text() == "news!"
    assert (folder / "é%20.CSV").read_text() == "é%20.CSV"
    assert {place for operation, place in store.asked if operation == "OPEN"} == {"/in/b.csv"}
