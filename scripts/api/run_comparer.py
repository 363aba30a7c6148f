"""The comparison of two runs for the service, in a program of its own."""

import logging
import subprocess
import sys
import threading
from pathlib import Path

import msgspec

from scripts.api.responses import RefusedError
from scripts.production.comparison_types import RunComparison

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "scripts.pipeline.run_comparison"
TIMEOUT_S = 60.0
BUSY = "Another comparison is at work. Try again in a moment."
AGAIN = [("Retry-After", "3")]

log = logging.getLogger(__name__)


class RunComparer:
    """The comparison of runs, a pair at a time.

    The test rows are read with pandas, which the service does without: it would take more memory
    than all the rest, for good. So the command line compares, at low priority.

    Parameters
    ----------
    config_path : Path
        The config of the installation.
    """

    def __init__(self, config_path: Path) -> None:
        self._config_path = config_path.absolute()
        self._lock = threading.Lock()

    def compare(self, run_a: int, run_b: int) -> RunComparison:
        """Compare two known runs.

        Raises
        ------
        RefusedError
            With status 503, if another comparison is at work, or the program fails.
        """
        if not self._lock.acquire(blocking=False):
            raise RefusedError(503, BUSY, AGAIN)
        try:
            return self._ask(run_a, run_b)
        finally:
            self._lock.release()

    def _ask(self, run_a: int, run_b: int) -> RunComparison:
        command = [sys.executable, "-m", PROGRAM, "--config", str(self._config_path)]
        command += [str(run_a), str(run_b)]
        by_hand = f"python -m scripts.fullprocess --compare {run_a} {run_b}"
        try:
            done = subprocess.run(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True,
                timeout=TIMEOUT_S, check=True,
            )  # fmt: skip
            return msgspec.json.decode(done.stdout, type=RunComparison)
        except subprocess.TimeoutExpired as error:
            raise RefusedError(
                503, f"The comparison took more than {TIMEOUT_S:.0f} s; run {by_hand}."
            ) from error
        except (subprocess.CalledProcessError, OSError, msgspec.DecodeError) as error:
            output = getattr(error, "stderr", None) or b""
            log.error("Runs could not be compared: %s", output.decode(errors="replace") or error)
            raise RefusedError(
                503, f"The comparison failed; {by_hand} and the log say why."
            ) from error
