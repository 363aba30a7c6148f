"""The folder of charts: names by digest, an index written last, old files removed."""

import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scripts.core import files
from scripts.reports import chart_files
from scripts.reports.chart_files import Chart

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


def picture(name: str, content: bytes) -> tuple[Chart, bytes]:
    """Make a chart file with the entry in the index."""
    chart = Chart(
        name=name, file=chart_files.name_file(name, content), title=f"The {name}", alt="It shows.",
        width=480, height=400, page="models",
    )  # fmt: skip
    return chart, content


def names_in(folder: Path) -> set[str]:
    """Return the names of the chart files."""
    return {path.name for path in chart_files.folder_of(folder).iterdir()}


def test_the_name_of_a_file_holds_the_hash_of_its_content() -> None:
    # The SHA-256 of nothing starts with e3b0c442, as FIPS 180-4's examples have it.
    assert chart_files.name_file("roc", b"") == "roc-e3b0c442.svg"


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    pictures = [picture("roc", b"<svg/>"), picture("gains", b"<svg></svg>")]

    path = chart_files.write(tmp_path, pictures, NOW, "0001_20261124T090000000000Z")
    read = chart_files.read(tmp_path)

    assert read is not None
    assert path == tmp_path / "charts" / "index.json"
    assert (read.made_at, read.release) == (NOW, "0001_20261124T090000000000Z")
    assert list(read.charts) == [chart for chart, _ in pictures]
    assert (tmp_path / "charts" / pictures[0][0].file).read_bytes() == b"<svg/>"


def test_only_a_listed_file_is_found(tmp_path: Path) -> None:
    chart, content = picture("roc", b"<svg/>")
    chart_files.write(tmp_path, [(chart, content)], NOW, None)
    read = chart_files.read(tmp_path)

    assert read is not None
    assert read.find(chart.file) == chart
    assert read.find("index.json") is None
    assert read.find("../config.json") is None


def test_old_pictures_go_and_equal_ones_stay(tmp_path: Path) -> None:
    same, old, new = picture("roc", b"1"), picture("gains", b"2"), picture("gains", b"3")
    chart_files.write(tmp_path, [same, old], NOW, None)
    path = chart_files.folder_of(tmp_path) / same[0].file
    inode = path.stat().st_ino

    chart_files.write(tmp_path, [same, new], NOW, None)

    assert names_in(tmp_path) == {"index.json", same[0].file, new[0].file}
    assert path.stat().st_ino == inode


def test_killed_at_any_write_the_index_lists_files_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chart_files.write(tmp_path, [picture("roc", b"1"), picture("gains", b"2")], NOW, None)
    calls = []
    write_really = files.write_whole

    def die_at(last: int) -> None:
        def write(path: Path, content: bytes) -> Path:
            calls.append(path)
            if len(calls) == last:
                raise OSError(28, "No space left on device", str(path))
            return write_really(path, content)

        calls.clear()
        monkeypatch.setattr(files, "write_whole", write)

    for last in (1, 2, 3):
        die_at(last)
        with pytest.raises(OSError, match="No space left"):
            chart_files.write(
                tmp_path,
                [picture("roc", b"r%d" % last), picture("gains", b"g%d" % last)],
                NOW,
                None,
            )

        read = chart_files.read(tmp_path)
        assert read is not None
        assert {chart.file for chart in read.charts} <= names_in(tmp_path)


def test_no_index_is_no_gallery(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert chart_files.read(tmp_path) is None

    assert caplog.text == ""


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"charts": 1}', b"\xff\xfe", b"null"])
def test_a_damaged_index_is_told_and_no_gallery(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    files.write_whole(chart_files.folder_of(tmp_path) / "index.json", content)

    assert chart_files.read(tmp_path) is None
    assert "cannot be used" in caplog.text
