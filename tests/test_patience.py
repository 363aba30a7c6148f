"""Waiting for what arrives, and no longer than it may take."""

import asyncio
import time

import pytest

from scripts import patience
from scripts.patience import Patience


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look more often, so that a test is short."""
    monkeypatch.setattr(patience, "TICK_S", 0.01)


async def arrive(after_s: float) -> str:
    """Arrive a while later."""
    await asyncio.sleep(after_s)
    return f"after {after_s}"


def test_what_arrives_in_time_is_given() -> None:
    async def main() -> list[str]:
        limit = Patience(5)
        return list(await asyncio.gather(*(limit.wait(arrive(s)) for s in (0.03, 0, 0.01))))

    assert asyncio.run(main()) == ["after 0.03", "after 0", "after 0.01"]


def test_what_does_not_is_ended_and_the_others_are_not() -> None:
    async def main() -> list[str | BaseException]:
        limit = Patience(0.1)
        waits = [limit.wait(arrive(s)) for s in (0.02, 30, 0.04, 30)]
        return list(await asyncio.gather(*waits, return_exceptions=True))

    started = time.monotonic()
    first, second, third, fourth = asyncio.run(main())

    assert time.monotonic() - started < 5
    assert (first, third) == ("after 0.02", "after 0.04")
    assert isinstance(second, TimeoutError)
    assert isinstance(fourth, TimeoutError)


def test_one_who_was_late_can_wait_again() -> None:
    async def main() -> str:
        limit = Patience(0.05)
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await limit.wait(arrive(30))
        return await limit.wait(arrive(0))

    assert asyncio.run(main()) == "after 0"


def test_who_is_ended_from_outside_is_not_late() -> None:
    async def main() -> None:
        limit = Patience(30)
        waiting = asyncio.create_task(limit.wait(arrive(30)))
        await asyncio.sleep(0.02)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(main())


def test_an_error_while_arriving_is_that_error() -> None:
    async def fail() -> None:
        raise ConnectionError

    async def main() -> None:
        with pytest.raises(ConnectionError):
            await Patience(5).wait(fail())

    asyncio.run(main())


def test_nobody_waiting_needs_no_timer() -> None:
    async def main() -> tuple[bool, bool]:
        limit = Patience(5)
        await limit.wait(arrive(0))
        before = limit._is_ticking
        await asyncio.sleep(0.05)
        return before, limit._is_ticking

    assert asyncio.run(main()) == (True, False)
