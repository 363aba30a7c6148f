"""The processes of the service: several workers, their memory and their end."""

import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import NoReturn

# The pause before a restart, so that a broken worker does not load the machine. One that has lived
# for longer is replaced at once: connections to its socket wait.
RESTART_S = 1.0
# Of malloc.h of glibc.
M_MMAP_THRESHOLD = -3
LARGE_BLOCK_BYTES = 256 * 1024
# Of sys/prctl.h of Linux.
PR_SET_PDEATHSIG = 1

log = logging.getLogger(__name__)


def return_large_blocks() -> None:
    """Configure malloc to return the memory of large bodies to the system when freed.

    The allocator of glibc otherwise keeps freed blocks of such a size for each thread.
    """
    # Other C libraries lack this option and do not need it.
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)


def exit_at_once(code: int = 0) -> NoReturn:
    """End the process at once, without waiting for threads.

    A normal exit of the interpreter would wait for every thread that still reads a body. It would
    also unwind the threads of Granian, which is written in Rust and would abort the process.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        # The reader of the stream may be gone.
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def end_with(parent: int) -> None:
    """Let the kernel end this process when its parent ends, however that happens.

    A killed parent would leave workers that answer from its port, with its tokens, for ever.
    """
    # Linux only. Elsewhere the workers of a killed parent are ended by hand.
    with suppress(AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))
    if os.getppid() != parent:
        # It ended before the call.
        exit_at_once()


def start_worker(work: Callable[[], None]) -> int:
    """Fork a worker process, and return the process id."""
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        # Without the signal handlers of the parent.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        end_with(parent)
        work()
        code = 0
    except Exception:
        log.exception("A process of the service failed.")
    finally:
        # Not sys.exit, which would run the exit handlers of the parent in the child.
        exit_at_once(code)


def run_workers(n_processes: int, work: Callable[[int], None]) -> None:
    """Run worker processes until SIGTERM or SIGINT, replacing each that ends.

    Parameters
    ----------
    n_processes : int
        The number of workers.
    work : callable
        Serves until SIGTERM, called with the number of the worker from 0 on.
    """
    # Numbers and start times by process.
    children: dict[int, tuple[int, float]] = {}
    is_ending = False

    def end(_number: int, _frame: FrameType | None) -> None:
        """Pass SIGTERM on to all workers."""
        nonlocal is_ending
        is_ending = True
        for child in children:
            os.kill(child, signal.SIGTERM)

    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, end)
    while True:
        absent = set(range(n_processes)) - {number for number, _ in children.values()}
        while not is_ending and absent:
            number = absent.pop()
            children[start_worker(partial(work, number))] = number, time.monotonic()
        if not children:
            return
        child, status = os.wait()
        _, started_s = children.pop(child, (0, 0.0))
        if not is_ending:
            log.error("Process %d ended with status %d; another one starts.", child, status)
            if time.monotonic() - started_s < RESTART_S:
                time.sleep(RESTART_S)
