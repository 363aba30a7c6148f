"""Measure the time from start to the first prediction against the plain way.

    python -m benchmarks.startup [REPEATS]

Both sides run in turns, with a line each, then the medians. Required: at most 1/3 of the time.
"""

import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.servers import Running, prepare, running_ours, running_plain

REQUIRED_RATIO = 1 / 3

Start = tuple[float, float, float]


def measure(started: Running) -> Start:
    """Return wall and CPU time in seconds to the first prediction, and memory in MB."""
    return started.started_s, started.cpu_s(), started.memory_mb()


def show(name: str, start: Start) -> None:
    """Print a line."""
    print(f"{name:8} {start[0]:6.2f} s  {start[1]:6.2f} s CPU  {start[2]:6.1f} MB", flush=True)


def median_of(starts: list[Start]) -> Start:
    """Return the median of each number."""
    wall, cpu, memory = (statistics.median(column) for column in zip(*starts, strict=True))
    return wall, cpu, memory


def main(n_repeats: int) -> bool:
    """Start both sides in turns, print the medians, and return the verdict."""
    starts: dict[str, list[Start]] = {"ours": [], "plain": []}
    with tempfile.TemporaryDirectory() as folder:
        config_path = prepare(Path(folder))
        for _ in range(n_repeats):
            for name, start in (("ours", running_ours), ("plain", running_plain)):
                with start(config_path) as started:
                    starts[name].append(measure(started))
                show(name, starts[name][-1])
    ours, plain = median_of(starts["ours"]), median_of(starts["plain"])
    print("medians:")
    show("ours", ours)
    show("plain", plain)
    ratio, by_cpu = ours[0] / plain[0], ours[1] / plain[1]
    print(f"ratio {ratio:.2f} ({by_cpu:.2f} by CPU), required at most {REQUIRED_RATIO:.2f}")
    return ratio <= REQUIRED_RATIO


if __name__ == "__main__":
    sys.exit(not main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
