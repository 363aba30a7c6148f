"""Measure the time from start to the first prediction against the plain way.

    python -m benchmarks.startup [REPEATS]

Required: at most 1/3.
"""

import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.servers import prepare, running_ours, running_plain

REQUIRED_RATIO = 1 / 3


def main(n_repeats: int) -> None:
    """Start both sides in turns, and print the medians."""
    ours_s, plain_s, ours_mb, plain_mb = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        config_path = prepare(Path(folder))
        for _ in range(n_repeats):
            with running_ours(config_path) as ours:
                ours_s.append(ours.started_s)
                ours_mb.append(ours.memory_mb())
            with running_plain(config_path) as plain:
                plain_s.append(plain.started_s)
                plain_mb.append(plain.memory_mb())
    one, two = statistics.median(ours_s), statistics.median(plain_s)
    print(f"ours   {one:6.2f} s  {statistics.median(ours_mb):6.1f} MB")
    print(f"plain  {two:6.2f} s  {statistics.median(plain_mb):6.1f} MB")
    print(f"ratio {one / two:.2f}, required at most {REQUIRED_RATIO:.2f}")
    sys.exit(one / two > REQUIRED_RATIO)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
