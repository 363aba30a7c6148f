"""Threads beside the event loop: answers, errors, and no body kept."""

import asyncio
import gc
import threading
import weakref
from typing import Any

import pytest

from scripts.api.request_threads import RequestThreads
from scripts.api.responses import Answer


def answer_thread(environ: dict[str, Any], body: bytes) -> Answer:
    """Answer with the name of the thread."""
    return Answer(200, threading.current_thread().name.encode() + body, [])


def test_requests_are_answered_in_the_order_of_their_arrival_and_by_the_threads() -> None:
    async def main() -> list[Answer]:
        threads = RequestThreads(1, "test")
        bodies = [str(number).encode() for number in range(20)]
        return list(
            await asyncio.gather(*(threads.run(answer_thread, {}, body) for body in bodies))
        )

    answers = asyncio.run(main())

    assert [answer.body for answer in answers] == [b"test 0%d" % number for number in range(20)]


def test_an_error_is_raised_where_the_answer_is_awaited_and_the_thread_goes_on() -> None:
    def fail(environ: dict[str, Any], body: bytes) -> Answer:
        raise MemoryError("no room")

    async def main() -> Answer:
        threads = RequestThreads(1, "test")
        with pytest.raises(MemoryError, match="no room"):
            await threads.run(fail, {}, b"")
        return await threads.run(answer_thread, {}, b"")

    assert asyncio.run(main()).status == 200


def test_a_request_given_up_is_answered_to_nobody_and_the_thread_goes_on() -> None:
    async def main() -> Answer:
        threads, may_answer = RequestThreads(1, "test"), threading.Event()

        def wait(environ: dict[str, Any], body: bytes) -> Answer:
            may_answer.wait(5)
            return answer_thread(environ, body)

        first = asyncio.create_task(threads.run(wait, {}, b""))
        await asyncio.sleep(0.01)
        first.cancel()
        may_answer.set()
        return await threads.run(answer_thread, {}, b"")

    assert asyncio.run(main()).status == 200


def test_a_thread_keeps_nothing_of_a_request_that_was_answered() -> None:
    class Kept:
        """A value that can be watched."""

    async def main() -> object:
        threads, kept = RequestThreads(1, "test"), Kept()
        watch = weakref.ref(kept)
        await threads.run(answer_thread, {"kept": kept}, b"")
        del kept
        # The thread waits for the next request by now.
        await asyncio.sleep(0.05)
        gc.collect()
        return watch()

    assert asyncio.run(main()) is None
