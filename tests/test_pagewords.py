"""How numbers, moments and words are spelled on the pages."""

from datetime import UTC, datetime, timedelta

import pytest

from scripts import pagewords

NOW = datetime(2026, 11, 24, 9, 5, 7, tzinfo=UTC)
DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"


def test_a_moment_is_for_people_and_machines() -> None:
    spelled = pagewords.spell_moment(NOW)

    assert spelled == (
        '<time datetime="2026-11-24T09:05:07+00:00" title="2026-11-24T09:05:07+00:00">'
        "24 Nov 2026, 09:05 UTC</time>"
    )
    assert pagewords.spell_moment(NOW.isoformat()) == spelled
    assert pagewords.spell_moment(None) == "&ndash;"


@pytest.mark.parametrize(
    ("seconds", "spelled"),
    [(0, "0 s ago"), (59, "59 s ago"), (60, "1 min ago"), (3599, "60 min ago"), (3600, "1 h ago"),
     (2 * 86400 - 1, "48 h ago"), (2 * 86400, "2 days ago"), (-120, "in 2 min")],
)  # fmt: skip
def test_how_long_ago(seconds: int, spelled: str) -> None:
    assert pagewords.spell_ago(NOW - timedelta(seconds=seconds), NOW) == spelled


@pytest.mark.parametrize(
    ("value", "spelled"),
    [(None, DASH), ("", DASH), ("gold", "gold"), (0.0, "0"), (1234567.0, "1,234,567"),
     (12.5, "12.5"), (0.000123456, "0.0001235"), (-3, "-3")],
)  # fmt: skip
def test_numbers(value: float | str | None, spelled: str) -> None:
    assert pagewords.spell_number(value) == spelled


def test_percentages_signs_and_points() -> None:
    assert pagewords.spell_percent(0.12345) == "12.3%"
    assert pagewords.spell_percent(None) == DASH
    assert pagewords.spell_signed(-0.5) == f"{MINUS}0.500"
    assert pagewords.spell_points(-0.65) == f"{MINUS}65.0 pp"
    assert pagewords.spell_points(0.0004) == "0.0 pp"
    assert pagewords.spell_points(None) == DASH


@pytest.mark.parametrize(
    ("change", "name"), [(0.0, "quiet"), (0.0006, "rise"), (-0.0006, "fall"), (-0.0004, "quiet")]
)
def test_a_change_has_a_direction_as_far_as_it_is_shown(change: float, name: str) -> None:
    assert pagewords.name_direction(change) == name


@pytest.mark.parametrize(
    ("n_bytes", "spelled"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (8 * 2**20, "8.0 MiB"), (2**31, "2.0 GiB")],
)
def test_sizes(n_bytes: int, spelled: str) -> None:
    assert pagewords.spell_bytes(n_bytes) == spelled


@pytest.mark.parametrize(
    ("seconds", "spelled"), [(None, DASH), (0.004, "0.00 s"), (9.994, "9.99 s"), (61.0, "1 min")]
)
def test_durations(seconds: float | None, spelled: str) -> None:
    assert pagewords.spell_duration(seconds) == spelled


def test_releases_are_called_by_their_number() -> None:
    assert pagewords.spell_stamp("0012_20250101T000000000000Z") == "#12"
    assert pagewords.spell_stamp(None) == DASH


@pytest.mark.parametrize(
    ("values", "drifted"),
    [((0.2, 0.1, None, None), True), ((0.1, 0.1, None, None), False),
     ((None, None, 0.3, 0.2), True),
     ((None, None, None, None), False)],
)  # fmt: skip
def test_a_column_has_drifted_beyond_its_limits(
    values: tuple[float | None, ...], drifted: bool
) -> None:
    names = ("drift", "drift_limit", "missing_drift", "missing_drift_limit")

    assert pagewords.has_drifted(dict(zip(names, values, strict=True))) is drifted


def test_unknown_words_have_a_calm_colour() -> None:
    assert (pagewords.tone_of("high"), pagewords.tone_of("<b>"), pagewords.tone_of(None)) == (
        "bad", "calm", "calm",
    )  # fmt: skip
