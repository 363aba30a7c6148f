"""Long time slices for a run, so that a service on the same cores need not wait for their end."""

import ctypes
import logging
import os
import struct
import sys

# As long as the processor does not change hands for the run's own threads all the time.
SLICE_NS = 20_000_000
# `sched_setattr` has no function in most versions of the C library, and a number by processor.
SYSTEM_CALLS = {"x86_64": 314, "aarch64": 274}
# Its structure: size, policy, flags, nice, priority, and runtime, deadline and period in ns.
ATTRIBUTES = "=IIQiIQQQ"

log = logging.getLogger(__name__)


def lengthen() -> bool:
    """Ask Linux for long slices of this thread and of the threads and programs started by it.

    Returns
    -------
    bool
        Whether Linux knows of them. Before version 6.12 it does nothing with the length.

    Notes
    -----
    https://docs.kernel.org/scheduler/sched-eevdf.html. A thread that wakes up interrupts one with
    longer slices at once. Else it waits until the end of the slice, 3 to 5 ms, however low the
    other's priority is. The shares of the processor time stay as they are, so that on a busy
    machine a run goes on as well.
    """
    number = SYSTEM_CALLS.get(os.uname().machine)
    if sys.platform != "linux" or number is None:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    size = struct.calcsize(ATTRIBUTES)
    attributes = struct.pack(ATTRIBUTES, size, os.sched_getscheduler(0), 0, nice, 0, SLICE_NS, 0, 0)
    library = ctypes.CDLL(None, use_errno=True)
    if library.syscall(number, 0, attributes, 0) == 0:
        return True
    # A container may forbid the call. Answers of the service are slower then.
    log.debug("The slices stay as they are: %s.", os.strerror(ctypes.get_errno()))
    return False
