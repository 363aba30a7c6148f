"""Runs the service in several processes that share one socket, and keeps them running."""

import logging
import os
import signal
import time
from collections.abc import Callable
from types import FrameType

# So that a process that cannot run at all does not take the machine with its restarts.
RESTART_S = 1.0

log = logging.getLogger(__name__)


def start(work: Callable[[], None]) -> int:
    """Fork a process that does the work; return its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        # The parent's handlers are not the child's.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        work()
        code = 0
    except Exception:
        log.exception("A process of the service failed.")
    finally:
        # Not sys.exit: what the parent would do at its end is not for the child to do.
        logging.shutdown()
        os._exit(code)


def run(n_processes: int, work: Callable[[], None]) -> None:
    """Do the work in several processes, each replaced when it ends, until SIGTERM or SIGINT.

    Parameters
    ----------
    n_processes : int
        How many.
    work : callable
        Serves until it gets SIGTERM.
    """
    children: set[int] = set()
    is_ending = False

    def end(_number: int, _frame: FrameType | None) -> None:
        nonlocal is_ending
        is_ending = True
        for child in children:
            os.kill(child, signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    while True:
        while not is_ending and len(children) < n_processes:
            children.add(start(work))
        if not children:
            return
        child, status = os.wait()
        children.discard(child)
        if not is_ending:
            log.error("Process %d ended with status %d; another one starts.", child, status)
            time.sleep(RESTART_S)
