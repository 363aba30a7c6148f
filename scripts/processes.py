"""Runs the service in several processes that share one socket, and keeps them running."""

import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import NoReturn

# So that a process that cannot run at all does not take the machine with its restarts.
RESTART_S = 1.0
# Of malloc.h of glibc.
M_MMAP_THRESHOLD = -3
LARGE_BLOCK_BYTES = 256 * 1024

log = logging.getLogger(__name__)


def return_large_blocks() -> None:
    """Let memory of large bodies go back to the system as soon as they are gone.

    The allocator of glibc keeps blocks of the size it has seen freed once, for each thread.
    """
    # Other C libraries have no such option, and no such habit.
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)


def leave(code: int = 0) -> NoReturn:
    """End this process at once, whatever its threads are at.

    The interpreter's own end would wait for every thread that still reads a body. It would also
    unwind those of the server's library when they ask for the interpreter once more, which that
    library, written in another language, answers by aborting the process.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        # A reader that is gone has nothing to be handed.
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


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
        leave(code)


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
