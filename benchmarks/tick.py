"""Measure a run with nothing new against the import of the libraries left out.

    python -m benchmarks.tick [REPEATS]

Required: at most 1/7 of the CPU time, and at most 60 MB of memory.
"""

import json
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.measuring import run_python

ROOT = Path(__file__).resolve().parent.parent
IMPORTS = "import pandas, sklearn.linear_model, matplotlib.pyplot, flask, requests"
REQUIRED_RATIO = 1 / 7
REQUIRED_MB = 60


def prepare(folder: Path) -> Path:
    """Return the config of an installation on the practice data after a first run."""
    settings = {
        "input_folder_path": str(ROOT / "practicedata"),
        "test_data_path": str(ROOT / "testdata"),
        "output_folder_path": "output",
        "output_model_path": "models",
        "prod_deployment_path": "prod",
        "api": {"port": 1},
    }
    config_path = folder / "config.json"
    config_path.write_text(json.dumps(settings))
    run_python(["-m", "scripts.fullprocess", "--config", str(config_path)], ROOT)
    return config_path


def main(n_repeats: int) -> None:
    """Measure both sides in turns, and print the medians."""
    ticks, imports = [], []
    with tempfile.TemporaryDirectory() as folder:
        config_path = prepare(Path(folder))
        for _ in range(n_repeats):
            ticks.append(
                run_python(["-m", "scripts.fullprocess", "--config", str(config_path)], ROOT)
            )
            imports.append(run_python(["-c", IMPORTS], ROOT))
    tick_s, import_s = (statistics.median(cost.cpu_s for cost in side) for side in (ticks, imports))
    tick_mb, import_mb = (
        statistics.median(cost.peak_mb for cost in side) for side in (ticks, imports)
    )
    print(f"a run with nothing new   {tick_s:6.3f} s CPU  {tick_mb:6.1f} MB")
    print(f"the imports alone        {import_s:6.3f} s CPU  {import_mb:6.1f} MB")
    print(f"ratio {tick_s / import_s:.3f}, required at most {REQUIRED_RATIO:.3f}")
    fits = tick_s / import_s <= REQUIRED_RATIO and tick_mb <= REQUIRED_MB
    print("within the limits" if fits else "NOT within the limits")
    sys.exit(not fits)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
