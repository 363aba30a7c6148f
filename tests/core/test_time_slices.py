"""The time slices of a run's threads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.core import time_slices

ROOT = Path(__file__).parents[2]
# Prints the length of a slice of a new thread, and its niceness, as `sched_getattr` tells.
ASK = """
import ctypes, os, struct, threading
from scripts.core import time_slices
os.nice(3)
assert time_slices.lengthen()
def ask():
    number = {"x86_64": 315, "aarch64": 275}[os.uname().machine]
    told = ctypes.create_string_buffer(struct.calcsize(time_slices.ATTRIBUTES))
    assert ctypes.CDLL(None).syscall(number, 0, told, len(told), 0) == 0
    _, policy, _, nice, _, slice_ns, _, _ = struct.unpack(time_slices.ATTRIBUTES, told)
    print(policy, nice, slice_ns)
thread = threading.Thread(target=ask)
thread.start()
thread.join()
"""


@pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine not in time_slices.SYSTEM_CALLS,
    reason="needs Linux on a processor that is known",
)
def test_new_threads_of_a_run_have_long_slices_and_its_priority() -> None:
    command = [sys.executable, "-c", ASK]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    policy, nice, slice_ns = map(int, told.split())
    assert (policy, nice) == (0, os.getpriority(os.PRIO_PROCESS, 0) + 3)
    # Linux before 6.12 does not tell the length.
    assert slice_ns in (time_slices.SLICE_NS, 0)


def test_an_unknown_processor_keeps_its_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_slices, "SYSTEM_CALLS", {})

    assert not time_slices.lengthen()


def test_a_forbidden_call_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # No system call has this number.
    monkeypatch.setattr(time_slices, "SYSTEM_CALLS", {os.uname().machine: 99_999})

    assert not time_slices.lengthen()
