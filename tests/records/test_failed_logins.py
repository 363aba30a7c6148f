"""The failed logins in the records: added to by several processes, limited, and forgotten."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from scripts.core.failed_logins import MAX_PER_HOUR, FailedLogin, Failures, Way
from scripts.records import database, failed_logins
from scripts.records.tables import failed_logins as table

MINUTE = datetime(2026, 1, 1, 10, 5, tzinfo=UTC)


def record(url: str, *logins: FailedLogin, n_failed: int = 2, second: int = 7) -> None:
    """Record failures that happened at a second of their minute."""
    with database.open_records(url) as engine, database.writing(engine) as connection:
        counted = {
            login: Failures(
                at := login.minute + timedelta(seconds=second), at + timedelta(seconds=1),
                n_failed, 1,
            )
            for login in logins
        }  # fmt: skip
        failed_logins.record(connection, counted, max(login.minute for login in logins))


def rows_of(url: str) -> list[tuple[object, ...]]:
    """List address, way, seconds of the first and last failure, and both numbers."""
    with database.open_records(url) as engine, database.reading(engine) as connection:
        found = connection.execute(sa.select(table).order_by(table.c.id)).all()
    return [
        (row.address, row.way, row.at.second, row.last_at.second, row.n_failed, row.n_locked_out)
        for row in found
    ]


def login(number: int = 1, minute: datetime = MINUTE, way: Way = Way.HEADER) -> FailedLogin:
    """Return a failed login of the address of a number."""
    return FailedLogin(minute, f"192.0.2.{number}", way)


def test_the_processes_of_a_service_add_to_one_row_per_minute_address_and_way(
    records_url: str,
) -> None:
    record(records_url, login(), second=30)
    record(records_url, login(), login(way=Way.FORM), second=3)
    record(records_url, login(minute=MINUTE + timedelta(minutes=1)))

    assert rows_of(records_url) == [
        ("192.0.2.1", "token", 3, 31, 4, 2),
        ("192.0.2.1", "login form", 3, 4, 2, 1),
        ("192.0.2.1", "token", 7, 8, 2, 1),
    ]


def test_an_hour_has_a_limited_number_of_rows_and_one_more_counts_the_rest(
    records_url: str,
) -> None:
    record(records_url, *map(login, range(MAX_PER_HOUR + 20)))
    # A row that is there counts on, and another hour has rows of its own.
    record(records_url, login(5), login(254))
    record(records_url, login(254, MINUTE + timedelta(hours=1)))

    found = rows_of(records_url)
    assert len(found) == MAX_PER_HOUR + 2
    assert [row[0] for row in found[:MAX_PER_HOUR]] == [login(n).address for n in range(100)]
    assert found[5][4:] == (4, 2)
    assert found[-2] == ("", "left out", 7, 8, 2 * 21, 21)
    assert found[-1][0] == "192.0.2.254"


def test_old_failed_logins_are_forgotten(records_url: str) -> None:
    record(records_url, login(1))
    record(records_url, login(2, MINUTE + failed_logins.KEPT))
    assert len(rows_of(records_url)) == 2

    record(records_url, login(3, MINUTE + failed_logins.KEPT + timedelta(minutes=1)))

    assert [row[0] for row in rows_of(records_url)] == ["192.0.2.2", "192.0.2.3"]
