"""Names of dated files and releases, and the search for them."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scripts.core import artifacts
from scripts.core.artifacts import Kind
from scripts.core.errors import NotMadeYetError, ReleaseError
from scripts.pipeline import retention

NOW = datetime(2026, 3, 1, 12, 30, 45, 678901, tzinfo=UTC)
STAMP = "20260301T123045678901Z"


def test_a_stamp_is_the_moment_in_utc() -> None:
    berlin = NOW.astimezone(tz=None)

    assert artifacts.next_stamp(NOW, []) == STAMP
    assert artifacts.next_stamp(berlin, []) == STAMP


def test_1000_stamps_of_a_clock_that_steps_are_in_order(tmp_path: Path) -> None:
    clock = random.Random(14)
    folders, moment, stamps = [tmp_path / "a", tmp_path / "b"], NOW, []
    for folder in folders:
        folder.mkdir()
    for number in range(1000):
        # The same microsecond again, a little on, or back by up to a day.
        step_s = clock.choice([0, 0, 0, 1e-6, 1, 86400, 86400, -1e-6, -1, -3600, -86400])
        moment += timedelta(seconds=step_s)
        stamps.append(artifacts.next_stamp(moment, folders))
        kind = (Kind.DATASET, Kind.MODEL, Kind.REJECTED)[number % 3]
        kind.path(folders[number % 2], stamps[-1]).touch()

    assert len(set(stamps)) == 1000
    assert stamps == sorted(stamps)
    listed = artifacts.list_exact(folders[0], Kind.DATASET)
    assert [artifacts.stamp_of(path) for path in listed] == stamps[0::6]


def test_a_stamp_at_the_end_of_a_year_goes_on(tmp_path: Path) -> None:
    Kind.MODEL.path(tmp_path, "20261231T235959999999Z").touch()

    assert artifacts.next_stamp(NOW, [tmp_path]) == "20270101T000000000000Z"


@pytest.mark.parametrize(
    ("name", "stamp"),
    [
        (f"model_{STAMP}.json", STAMP),
        (f"0001_{STAMP}", STAMP),
        ("model.json", ""),
        ("model_20260301T123045Z.json", ""),
        ("model_20261301T123045678901Z.json", ""),
        ("model_20260230T123045678901Z.json", ""),
        ("model_20260301T250045678901Z.json", ""),
    ],
)
def test_a_stamp_is_read_off_a_name_or_is_none(name: str, stamp: str) -> None:
    assert artifacts.stamp_of(Path(name)) == stamp


def test_a_name_that_is_no_date_does_not_stop_stamps(tmp_path: Path) -> None:
    (tmp_path / "model_99999999T999999999999Z.json").touch()

    assert artifacts.next_stamp(NOW, [tmp_path, tmp_path / "missing"]) == STAMP


def make_dated(folder: Path, kind: Kind, *days: int) -> list[Path]:
    """Make dated files of some days."""
    folder.mkdir(exist_ok=True)
    paths = [kind.path(folder, f"202603{day:02d}T000000000000Z") for day in days]
    for path in paths:
        path.write_text(path.name)
    return paths


def test_the_latest_whole_file_is_found(tmp_path: Path) -> None:
    models = make_dated(tmp_path, Kind.MODEL, 3, 1, 2)
    make_dated(tmp_path, Kind.PICKLE, 1, 2)
    (tmp_path / "model_copy.json").touch()
    (tmp_path / "model_20260309T000000000000Z (1).json").touch()
    (tmp_path / ".model_20260309T000000000000Z.json.tmp").touch()

    # Of the third day there is no pickle: training died between its two files.
    assert artifacts.find_latest(tmp_path, Kind.MODEL, "training") == models[2]


@pytest.mark.parametrize("folder", ["", "missing"])
def test_without_any_file_the_step_to_run_is_named(tmp_path: Path, folder: str) -> None:
    with pytest.raises(NotMadeYetError, match=r"no model_<stamp>\.json; run python -m scripts\.x "):
        artifacts.find_latest(tmp_path / folder, Kind.MODEL, "x")


def test_the_newest_stamps_and_the_spared_ones_stay(tmp_path: Path) -> None:
    make_dated(tmp_path, Kind.MODEL, 1, 2, 3, 4, 5)
    make_dated(tmp_path, Kind.PICKLE, 1, 2, 3, 4, 5)
    make_dated(tmp_path, Kind.SCORE, 5)
    (tmp_path / "model_of_mine.json").touch()

    n_removed = retention.remove_all_but_latest(tmp_path, 2, frozenset({"20260302T000000000000Z"}))

    left = sorted(path.name[:14] for path in tmp_path.glob("model_2026*"))
    assert n_removed == 2
    assert left == ["model_20260302", "model_20260304", "model_20260305"]
    assert len(list(tmp_path.iterdir())) == 3 + 3 + 1 + 1


def test_releases_are_listed_by_their_number(tmp_path: Path) -> None:
    folder = tmp_path / artifacts.RELEASES
    for name in (f"9999_{STAMP}", f"10000_{STAMP}", f"0002_{STAMP}", f".0003_{STAMP}.tmp", "notes"):
        (folder / name).mkdir(parents=True)

    names = [path.name.split("_")[0] for path in artifacts.list_releases(tmp_path)]

    assert names == ["0002", "9999", "10000"]
    assert artifacts.list_releases(tmp_path / "missing") == []


def test_the_current_release_is_a_link_or_nothing(tmp_path: Path) -> None:
    assert artifacts.current_target(tmp_path) is None
    (tmp_path / "current").symlink_to("releases/x")
    assert artifacts.current_target(tmp_path) == "releases/x"
    (tmp_path / "current").unlink()
    (tmp_path / "current").mkdir()
    with pytest.raises(ReleaseError, match="is not a symbolic link"):
        artifacts.current_target(tmp_path)


def test_a_stamp_of_the_last_year_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "upload_99991231T235959999999Z.csv").touch()

    assert artifacts.next_stamp(datetime(2025, 1, 2, tzinfo=UTC), [tmp_path]).startswith("20250102")
