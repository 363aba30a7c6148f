"""The limit on login forms under way from an address with too many wrong tokens."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

# Forms of such an address that may wait for their rest at a time. A form that arrives whole does
# not wait, so the right token passes among any number of others.
MAX_WAITING = 4

Result = TypeVar("Result")


class FormEndedError(Exception):
    """The oldest open form of an address, ended for a newer form."""


class WaitingForms:
    """The open forms of each address, the oldest of which ends for a newer form."""

    def __init__(self) -> None:
        # In the order of their start, so the first is the oldest.
        self._tasks: dict[str, dict[asyncio.Task[Any], None]] = {}
        self._ended: set[asyncio.Task[Any]] = set()

    async def wait(self, site: str, awaitable: Awaitable[Result]) -> Result:
        """Wait for the body of a form.

        Parameters
        ----------
        site : str
            The address of the client, as failed logins are counted.
        awaitable : awaitable
            Returns the body. Cancelled at the end of the form.

        Returns
        -------
        object
            The result of the awaitable.

        Raises
        ------
        FormEndedError
            If `MAX_WAITING` newer forms of the address came before the rest of this one.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("wait() must be called within a task.")
        tasks = self._tasks.setdefault(site, {})
        tasks[task] = None
        if len(tasks) > MAX_WAITING:
            self._end(tasks)
        try:
            return await awaitable
        except asyncio.CancelledError:
            # Unless the task was cancelled from outside as well.
            if task in self._ended and not task.uncancel():
                raise FormEndedError from None
            raise
        finally:
            tasks.pop(task, None)
            self._ended.discard(task)
            if not tasks and self._tasks.get(site) is tasks:
                del self._tasks[site]

    def _end(self, tasks: dict[asyncio.Task[Any], None]) -> None:
        """End the oldest form of an address."""
        oldest = next(iter(tasks))
        del tasks[oldest]
        self._ended.add(oldest)
        oldest.cancel()
