"""The comparison of files and settings with the last decided run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scripts.core import files
from scripts.core.config import CheckSettings, Config
from scripts.core.files import KnownFile
from scripts.engine import input_folders
from scripts.pipeline import snapshot
from scripts.pipeline.snapshot import Snapshot
from scripts.records.runs import Row
from scripts.records.tables import FileRole
from tests.conftest import SMALL_ROWS, make_rows, write_csv


def decided(snap: Snapshot, verdict: str = "deployed") -> tuple[Row, list[Row]]:
    """Make the records of a run that decided on a snapshot: its row, and its files."""
    return {"id": 7, "fingerprint": snap.fingerprint, "verdict": verdict}, list(snap.rows())


def news(config: Config, before: Snapshot, serving: str | None = "0001_x") -> str:
    """Describe the news since a snapshot of a decided run."""
    last, files = decided(before)
    return snapshot.explain_news(last, files, snapshot.take_snapshot(config, {}), serving)


def add(config: Config) -> None:
    write_csv(config.input_folder_path / "c.csv", make_rows(5, 1))


def add_many(config: Config) -> None:
    for number in range(7):
        write_csv(config.input_folder_path / f"n{number}.csv", make_rows(5, number))


def change(config: Config) -> None:
    write_csv(config.input_folder_path / "a.csv", SMALL_ROWS[:3])


def remove(config: Config) -> None:
    (config.input_folder_path / "b.csv").unlink()


def replace(config: Config) -> None:
    remove(config)
    add(config)


def add_test_data(config: Config) -> None:
    write_csv(config.test_data_path / "more.csv", make_rows(5, 1))


def copy(config: Config) -> None:
    write_csv(config.input_folder_path / "copy.csv", SMALL_ROWS[:14])


@pytest.mark.parametrize(
    ("happens", "words"),
    [
        (add, "new input files 'c.csv'"),
        (add_many, "new input files 'n0.csv', 'n1.csv', 'n2.csv', 'n3.csv', 'n4.csv', 2 more"),
        (change, "changed input files 'a.csv'"),
        (remove, "input files gone: 'b.csv'"),
        (replace, "new input files 'c.csv'; input files gone: 'b.csv'"),
        (add_test_data, "new test files 'more.csv'"),
        (copy, "settings, or the number of equal files, changed since run 7"),
        (lambda _config: None, "files and settings are those of run 7, which ended: deployed"),
    ],
)
def test_what_is_new_is_said_in_words(
    config: Config, happens: Callable[[Config], None], words: str
) -> None:
    before = snapshot.take_snapshot(config, {})

    happens(config)

    assert news(config, before) == words


def test_a_renamed_file_is_not_new(config: Config) -> None:
    before = snapshot.take_snapshot(config, {})

    (config.input_folder_path / "a.csv").rename(config.input_folder_path / "z.csv")

    assert "which ended: deployed" in news(config, before)


def test_settings_and_a_lost_release_are_new(
    config: Config, changed: Callable[..., Config]
) -> None:
    before = snapshot.take_snapshot(config, {})

    assert "settings" in news(changed(training={"C": 2.0}), before)
    assert news(config, before, serving=None) == "nothing is in production any more"


def test_the_first_run_is_new_and_insufficient_data_is_not_tried_again(config: Config) -> None:
    snap = snapshot.take_snapshot(config, {})
    last, files = decided(snap, "insufficient data")

    assert snapshot.is_anything_new(None, snap, None)
    assert snapshot.explain_news(None, [], snap, None) == "no earlier run has a verdict"
    assert not snapshot.is_anything_new(last, snap, None)
    assert "insufficient data" in snapshot.explain_news(last, files, snap, None)


def test_records_that_knew_no_roles_say_less(config: Config) -> None:
    snap = snapshot.take_snapshot(config, {})
    files = [{**row, "role": None} for row in snap.rows()]
    last = {"id": 7, "fingerprint": "another", "verdict": "held"}

    explanation = snapshot.explain_news(last, files, snap, "0001_x")

    assert explanation == "files or settings changed since run 7"


def test_a_file_is_hashed_again_only_if_its_state_changed(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", SMALL_ROWS[:3])
    status = path.stat()
    same = KnownFile(status.st_size, status.st_mtime_ns, status.st_ino, "as it was")
    older = KnownFile(status.st_size, status.st_mtime_ns - 1, status.st_ino, "as it was")

    assert input_folders.hash_if_changed(path, {str(path): same}).sha256 == "as it was"
    assert input_folders.hash_if_changed(path, {str(path): older}).sha256 != "as it was"


def test_a_file_that_could_not_be_read_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_csv(tmp_path / "a.csv", SMALL_ROWS[:3])

    def refuse(_path: Path) -> str:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(files, "digest_lines", refuse)
        before = input_folders.hash_if_changed(path, {})

    assert input_folders.hash_if_changed(path, {str(path): before}).sha256 == files.digest_file(
        path
    )


def test_which_folder_is_production_counts(config: Config, tmp_path: Path) -> None:
    before = snapshot.take_snapshot(config, {})
    other = msgspec.structs.replace(config, prod_deployment_path=tmp_path / "elsewhere")

    assert "settings" in news(other, before)


def test_dropping_equal_rows_is_a_setting_that_counts(
    config: Config, changed: Callable[..., Config]
) -> None:
    before = snapshot.take_snapshot(config, {})
    settings = {"settle_s": 0, "drop_duplicates": True}

    assert "settings" in news(changed(ingestion=settings), before)


def test_the_files_are_recorded_with_their_roles(config: Config) -> None:
    rows = snapshot.take_snapshot(config, {}).rows()

    assert [(row["role"], Path(row["path"]).name) for row in rows] == [
        (FileRole.INPUT, "a.csv"),
        (FileRole.INPUT, "b.csv"),
        (FileRole.TEST, "test.csv"),
    ]


@pytest.mark.parametrize(
    ("before", "after", "is_news"),
    [
        ({}, {"leak": 0.9}, True),
        ({"leak": 0.9}, {}, True),
        ({"leak": 0.9}, {"leak": "refuse"}, True),
        ({}, {"leak": 0.97}, False),
        ({}, {"leak": "off"}, False),
    ],
)
def test_another_limit_of_a_check_is_used_by_the_next_run(
    config: Config, before: dict[str, Any], after: dict[str, Any], *, is_news: bool
) -> None:
    old, new = (
        msgspec.structs.replace(config, checks=msgspec.convert(checks, CheckSettings))
        for checks in (before, after)
    )

    found = news(new, snapshot.take_snapshot(old, {}))

    assert ("those of run 7" not in found) == is_news
