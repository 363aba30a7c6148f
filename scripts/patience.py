"""How long requests may take to arrive: one timer for all, as one each costs half a prediction."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

# What is late is ended this much later at most.
TICK_S = 0.25

Arrived = TypeVar("Arrived")


class Patience:
    """Waits for what should arrive within a time, the same for all.

    Parameters
    ----------
    limit_s : float
        The time.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        # In the order in which they began to wait, so the first are the latest.
        self._waiting: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._is_ticking = False

    async def wait(self, arriving: Awaitable[Arrived]) -> Arrived:
        """Wait for what arrives.

        Parameters
        ----------
        arriving : awaitable
            Is cancelled when the time is up.

        Returns
        -------
        object
            What arrived.

        Raises
        ------
        TimeoutError
            If it did not in time.
        """
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if task is None:
            raise RuntimeError("There is nobody to be interrupted.")
        self._waiting[task] = loop.time() + self._limit_s
        if not self._is_ticking:
            self._is_ticking = True
            loop.call_later(TICK_S, self._tick, loop)
        try:
            return await arriving
        except asyncio.CancelledError:
            # Unless somebody else wants the task to end as well.
            if task in self._late and not task.uncancel():
                raise TimeoutError from None
            raise
        finally:
            self._waiting.pop(task, None)
            self._late.discard(task)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        """Interrupt those who have waited for too long."""
        now = loop.time()
        for task, until in list(self._waiting.items()):
            if until > now:
                break
            del self._waiting[task]
            self._late.add(task)
            task.cancel()
        self._is_ticking = bool(self._waiting)
        if self._is_ticking:
            loop.call_later(TICK_S, self._tick, loop)
