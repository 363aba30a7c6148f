"""Measure today's clients beside a plain script, the records of their scores, and the pages.

    python -m benchmarks.clients [--clients 1000000] [--labelled 1000000] [--scorings 3]
                                 [--skip plain,growth,readers,pages,kills]

The plain script reads the same files with pandas, fits, predicts and writes the scores of today's
clients with `to_sql`; its other steps are those of `benchmarks.pipeline`. Each side runs in a
process of its own. `growth` compares the CPU time per client with that of a tenth of the clients,
without the cost of the same run on 57 clients. `readers` measures the longest wait of a reader of
the records, and the requests to /predict, while a scoring is written. With ADRAS_DATABASE_URL the
records are in PostgreSQL; `growth` is to be skipped then. `kills` kills runs that score again, and
compares the list before and after each.
"""

import argparse
import gc
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import polars as pl
import sqlalchemy as sa
from flask.testing import FlaskClient

from benchmarks import plain
from benchmarks.measuring import ENVIRONMENT, Cost, run_python
from scripts.api.client_routes import MAX_TOP_XLSX
from scripts.app import create_app
from scripts.core.config_file import read_config
from scripts.records import database, scoring_records

ROOT = Path(__file__).resolve().parent.parent
NUMERIC = ("lastmonth_activity", "lastyear_activity", "number_of_employees")
# Labelled rows beside them, so few that their noise hides nothing.
GROWTH_ROWS = 10_000
FEW_CLIENTS = 57
N_TEST_ROWS = 10_000
# The run before, whose model is poor, finds the outdated packages for the day.
N_POOR_ROWS = 200
# A page is asked for so many times.
N_REQUESTS = 20
# So many runs are killed.
N_KILLS = 30
# What is required of a million clients.
MAX_CPU_SHARE = 1 / 2
# Twice as much for ten million clients.
MAX_PEAK_MB, MANY_CLIENTS = 1_000, 1_000_000
MAX_GROWTH = 1.2
MAX_BYTES = 120
MAX_WAIT_MS = 100
MAX_PAGE_MS, MAX_PAGE_P99_MS, MAX_CLIENT_MS = 300, 1_000, 50
MAX_SLOWER = 2

PLAIN_CLIENTS = """
import sys
from pathlib import Path
import pandas as pd
import pickle
import sqlalchemy as sa
table = pd.concat(map(pd.read_csv, sorted(Path(sys.argv[1]).glob("*.csv"))))
today = table[table["exited"].isna()].drop_duplicates("corporation", keep="last").copy()
model = pickle.loads(Path("production/trainedmodel.pkl").read_bytes())
X = today.drop(columns=["corporation", "exited"])
today["probability"] = model.predict_proba(X)[:, 1]
today["position"] = today["probability"].rank(ascending=False, method="first").astype(int)
today.drop(columns="exited").to_sql("scores", sa.create_engine(sys.argv[2]), index=False)
"""

# The plain training and ingestion leave out the rows without a label.
PLAIN_STEPS = {
    "ingestion": plain.INGESTION.replace(
        ".drop_duplicates()", ".dropna(subset=['exited']).drop_duplicates()"
    ),
    **{name: plain.STEPS[name] for name in ("training", "scoring", "deployment", "reporting")},
}

PAGES = {
    "overview": "/",
    "worklist": "/dashboard/worklist",
    "by name": "/dashboard/worklist?order=client",
    "by rise": "/dashboard/worklist?order=rise",
    "a band": "/dashboard/worklist?band=medium",
    "a band by name": "/dashboard/worklist?band=medium&order=client",
    "a part of few names": "/dashboard/worklist?search=t+7777",
    "a part of all names": "/dashboard/worklist?search=client",
    "page 1,000": "/dashboard/worklist?offset=50000",
    "the same from the API": "/worklist",
    "one client": "/clients/client%2077",
    "the page of a client": "/dashboard/client?name=client+77",
}


def make_clients(first: int, n_rows: int, seed: int, *, labelled: bool) -> pl.DataFrame:
    """Return clients with random activities, and with labels or without."""
    draw = np.random.default_rng(seed)
    month = draw.integers(0, 200, n_rows)
    columns = {
        "corporation": [f"client {number}" for number in range(first, first + n_rows)],
        NUMERIC[0]: month,
        NUMERIC[1]: draw.integers(0, 2000, n_rows),
        NUMERIC[2]: draw.integers(3, 300, n_rows),
    }
    labels = (draw.random(n_rows) < 1 / (1 + month / 60)).astype(np.int64)
    return pl.DataFrame(columns).with_columns(
        pl.Series("exited", labels if labelled else [None] * n_rows, dtype=pl.Int64)
    )


def write_data(data: Path, n_clients: int, n_labelled: int) -> None:
    """Write labelled rows of other clients, today's clients, and test rows."""
    for name in ("input", "test", "poor"):
        (data / name).mkdir(parents=True)
    first = 10**9
    poor = make_clients(3 * first, N_POOR_ROWS, 4, labelled=True)
    poor = poor.with_columns(exited=1 - pl.col("exited"))
    poor.write_csv(data / "poor" / "labelled.csv")
    make_clients(first, n_labelled, 1, labelled=True).write_csv(data / "input" / "labelled.csv")
    make_clients(0, n_clients, 2, labelled=False).write_csv(data / "input" / "today.csv")
    tested = make_clients(2 * first, N_TEST_ROWS, 3, labelled=True)
    tested.write_csv(data / "test" / "test.csv")


def install(folder: Path, data: Path, name: str = "poor") -> Path:
    """Write or change an installation on the data, and return the config path."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "input_folder_path": str(data / name), "test_data_path": str(data / "test"),
        "output_folder_path": "output", "output_model_path": "models",
        "prod_deployment_path": "prod", "api": {"port": 1}, "worklist": {"capacity": 100},
        "ingestion": {"settle_s": 0}, "run": {"timeout_minutes": 60},
    }  # fmt: skip
    config_path = folder / "config.json"
    config_path.write_text(json.dumps(settings))
    return config_path


def run_whole(config_path: Path) -> Cost:
    """Measure a full process."""
    return run_python(["-m", "scripts.fullprocess", "--config", str(config_path)], ROOT)


def run_after_poor(folder: Path, data: Path) -> tuple[Path, Cost]:
    """Measure a full process on new data, with a poor model in production."""
    run_whole(install(folder, data))
    config_path = install(folder, data, "input")
    return config_path, run_whole(config_path)


def run_plain(folder: Path, data: Path) -> Cost:
    """Measure the plain scripts: a model of labelled rows, and scores of today's clients."""
    folder.mkdir()
    # The scripts leave out the rows without a label themselves, so the tables have no other shape.
    given = [str(data / "input"), str(data / "test"), "whole"]
    total = Cost(0, 0, 0)
    for code in PLAIN_STEPS.values():
        total += run_python(["-c", code, *given], folder)
    url = f"sqlite:///{folder / 'scores.db'}"
    return total + run_python(["-c", PLAIN_CLIENTS, given[0], url], folder)


def report(name: str, figure: float, unit: str, limit: float) -> bool:
    """Print a figure beside the limit, and return whether it is met."""
    is_met = figure <= limit
    verdict = "met" if is_met else "NOT MET"
    print(f"{name:44} {figure:10.2f} {unit:8} at most {limit:g}: {verdict}", flush=True)
    return is_met


def records_bytes(config_path: Path) -> int:
    """Return the bytes of the records on disk."""
    config = read_config(config_path)
    if config.database_url.startswith("sqlite"):
        return Path(config.database_url.partition("sqlite:///")[2]).stat().st_size
    with (
        database.open_records(config.database_url) as engine,
        database.reading(engine) as connection,
    ):
        size = sa.text("SELECT sum(pg_total_relation_size(relid)) FROM pg_stat_user_tables")
        return int(connection.execute(size).scalar_one())


def move_clients(data: Path, n_clients: int, seed: int) -> None:
    """Let a tenth of today's clients have other values."""
    path = data / "input" / "today.csv"
    other = make_clients(0, n_clients, seed, labelled=False)
    moved = pl.Series("moved", np.random.default_rng(seed).random(n_clients) < 1 / 10)
    today = pl.read_csv(path, schema=other.schema)
    columns = [
        pl.when(moved).then(other[name]).otherwise(pl.col(name)).alias(name) for name in NUMERIC
    ]
    today.with_columns(columns).write_csv(path)
    # A real extract has long been on the disk when the run writes its records.
    os.sync()


def check_growth(folder: Path, n_clients: int) -> bool:
    """Compare the CPU time per client with that of a tenth of the clients, of few labelled rows."""
    cpu_s = {}
    for n in (FEW_CLIENTS, n_clients // 10, n_clients):
        data = folder / f"data{n}"
        write_data(data, n, GROWTH_ROWS)
        cpu_s[n] = run_after_poor(folder / f"ours{n}", data)[1].cpu_s
    few, tenth, whole = cpu_s.values()
    name = f"CPU per client against {n_clients // 10:,}"
    if tenth <= few:
        # Noise, of which no ratio tells anything.
        print(f"{name}: NOT MEASURED: {tenth:.2f} s beside {few:.2f} s for {FEW_CLIENTS} clients")
        return False
    print(f"clients and CPU: {', '.join(f'{n:,} {taken:.2f} s' for n, taken in cpu_s.items())}")
    return report(name, (whole - few) / (tenth - few) / 10, "times", MAX_GROWTH)


def check_records(config_path: Path, data: Path, n_clients: int, n_scorings: int) -> bool:
    """Score again with a tenth of the clients moved, and measure the records."""
    for seed in range(10, 10 + n_scorings - 1):
        move_clients(data, n_clients, seed)
        cost = run_whole(config_path)
        print(
            f"a run with scores before: {cost.cpu_s:.2f} s CPU, {cost.peak_mb:.0f} MB", flush=True
        )
    n_bytes = records_bytes(config_path) / n_clients / n_scorings
    is_met = report("records per client and scoring", n_bytes, "bytes", MAX_BYTES)
    return is_met and report("12 scorings of a million clients", 12 * n_bytes / 1000, "GB", 2)


def measure_pages(config_path: Path) -> bool:
    """Measure the server's CPU time for pages and answers, beside the time until the answer.

    On an idle machine both are the same but for the disk.
    """
    client = create_app(config_path).test_client()
    is_met = True
    for name, path in PAGES.items():
        durations_ms, walls_ms = [], []
        for _ in range(N_REQUESTS):
            started_s, used_s = time.perf_counter(), time.process_time()
            response = client.get(path, headers={"Accept": "text/html"})
            walls_ms.append((time.perf_counter() - started_s) * 1000)
            durations_ms.append((time.process_time() - used_s) * 1000)
            if response.status_code != 200:
                raise SystemExit(f"{path}: {response.status_code}")
        limit_ms = MAX_CLIENT_MS if name.endswith("client") else MAX_PAGE_MS
        is_met &= report(f"{name}, median", statistics.median(durations_ms), "ms", limit_ms)
        is_met &= report(f"{name}, slowest", max(durations_ms), "ms", MAX_PAGE_P99_MS)
        print(f"{name}, until the answer: {statistics.median(walls_ms):.0f} ms in the median")
    return is_met


def measure_file(config_path: Path, name: str, n_clients: int) -> None:
    """Print the CPU time and the memory of the whole list as a file, CSV or Excel."""
    code = (
        "import resource, sys, time; from pathlib import Path; from scripts.app import create_app\n"
        "client, path = create_app(Path(sys.argv[1])).test_client(), sys.argv[2]\n"
        "peak_kb = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "client.get(f'{path}?top=10000').data\n"
        "before, started, used = peak_kb(), time.perf_counter(), time.process_time()\n"
        "parts = client.get(f'{path}?top={sys.argv[3]}', buffered=False).response\n"
        "n_bytes = sum(map(len, parts))\n"
        "used, taken = time.process_time() - used, time.perf_counter() - started\n"
        "print(n_bytes, used, taken, (peak_kb() - before) / 1024)"
    )
    command = [sys.executable, "-c", code, str(config_path), f"/{name}", str(n_clients)]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    n_bytes, cpu_s, seconds, more_mb = map(float, shown.split()[-4:])
    print(
        f"{name}: {n_clients:,} clients, {n_bytes / 1e6:.0f} MB, in {cpu_s:.1f} s CPU"
        f" ({1e6 * cpu_s / n_clients:.0f} us each), {seconds:.1f} s, {more_mb:.0f} MB more memory"
        " than 10,000 clients take",
        flush=True,
    )


class Waiting(threading.Thread):
    """Asks again and again until told to end, and notes each duration in milliseconds."""

    def __init__(self, ask: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._ask = ask
        self._ended = threading.Event()
        self.durations_ms: list[float] = []

    def run(self) -> None:
        """Ask until the end."""
        while not self._ended.is_set():
            started_s = time.perf_counter()
            self._ask()
            self.durations_ms.append((time.perf_counter() - started_s) * 1000)
            time.sleep(0.002)

    def end(self) -> list[float]:
        """Return the durations."""
        self._ended.set()
        self.join()
        return self.durations_ms


@contextmanager
def served(config_path: Path) -> Iterator[int]:
    """Serve the API in a process of its own, and yield the port."""
    port = random.randrange(20_000, 60_000)
    settings = json.loads(config_path.read_text())
    config_path.write_text(json.dumps(settings | {"api": {"port": port, "access_log": False}}))
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.app", "--config", str(config_path)], cwd=ROOT,
        env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(300):
            time.sleep(0.1)
            try:
                ask_service(port)
                break
            except OSError:
                continue
        yield port
    finally:
        process.terminate()
        process.wait()


def ask_service(port: int) -> None:
    """Ask for a prediction."""
    row = dict.fromkeys(NUMERIC, 7)
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/predict", json.dumps({"data": [row]}).encode(),
        {"Content-Type": "application/json"},
    )  # fmt: skip
    urllib.request.urlopen(request).read()


def percentile(durations_ms: list[float], share: float) -> float:
    """Return a percentile of durations."""
    return sorted(durations_ms)[int(share * (len(durations_ms) - 1))]


def wait_during(ask: Callable[[], object], work: Callable[[], object]) -> list[float]:
    """Return how many milliseconds each of many questions took during some work."""
    waiting = Waiting(ask)
    # A collection of this process's own garbage takes 50 to 120 ms, and is no wait.
    gc.disable()
    waiting.start()
    try:
        work()
        return waiting.end()
    finally:
        gc.enable()


def check_readers(config_path: Path, data: Path, n_clients: int) -> bool:
    """Measure requests to /predict, and readers of the records, each during a run of its own."""
    config = read_config(config_path)
    engine = database.make_engine(config.database_url, 30)

    def read() -> None:
        """Read the last scoring as a page does."""
        with database.reading(engine) as connection:
            scoring_records.last_scoring(connection)

    with served(config_path) as port:

        def predict() -> None:
            """Ask for a prediction."""
            ask_service(port)

        before_ms = percentile(wait_during(predict, lambda: time.sleep(10)), 0.99)
        move_clients(data, n_clients, 99)
        during_ms = percentile(wait_during(predict, lambda: run_whole(config_path)), 0.99)
        move_clients(data, n_clients, 98)
        waits_ms = wait_during(read, lambda: run_whole(config_path))
    engine.dispose()
    print(f"reads of the records: {len(waits_ms)}, 99 % under {percentile(waits_ms, 0.99):.1f} ms")
    is_met = report("longest wait of a reader", max(waits_ms), "ms", MAX_WAIT_MS)
    print(f"p99 of /predict: {before_ms:.2f} ms alone, {during_ms:.2f} ms during the run")
    return is_met and report("p99 of /predict", during_ms / before_ms, "times", MAX_SLOWER)


def shown_list(config_path: Path, client: FlaskClient) -> tuple[int, bytes]:
    """Return the number of the last whole scoring, and the first clients of the list."""
    engine = database.make_engine(read_config(config_path).database_url, 30)
    with database.reading(engine) as connection:
        scoring = scoring_records.last_scoring(connection)
    engine.dispose()
    listed = client.get("/worklist?top=500").get_json()["clients"]
    return 0 if scoring is None else scoring["id"], json.dumps(listed).encode()


def check_kills(config_path: Path, data: Path, n_clients: int, whole_s: float) -> bool:
    """Kill runs while they work, and compare the list before and after."""
    client = create_app(config_path).test_client()
    draw, n_changed, n_new = random.Random(1), 0, 0
    for number in range(N_KILLS):
        move_clients(data, n_clients, 1_000 + number)
        before = shown_list(config_path, client)
        process = subprocess.Popen(
            [sys.executable, "-m", "scripts.fullprocess", "--config", str(config_path)], cwd=ROOT,
            env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        with suppress(subprocess.TimeoutExpired):
            process.wait(whole_s * draw.uniform(0.4, 1.0))
        process.kill()
        process.wait()
        after = shown_list(config_path, client)
        n_new += after[0] != before[0]
        n_changed += after[0] == before[0] and after[1] != before[1]
    print(f"killed: {N_KILLS} runs, of which {n_new} had written the next scoring as a whole")
    return report("lists changed by a killed run", n_changed, "lists", 0)


def check_forgetting(config_path: Path) -> None:
    """Print how long the scores of old scorings take to be forgotten."""
    config = read_config(config_path)
    with database.open_records(config.database_url) as engine:
        started_s = time.perf_counter()
        n_removed = scoring_records.forget_old_scores(engine, 1)
        seconds = time.perf_counter() - started_s
    print(f"forgotten: {n_removed:,} scores in {seconds:.2f} s", flush=True)


def main(n_clients: int, n_labelled: int, n_scorings: int, skipped: str) -> None:
    """Measure everything but what is skipped, and print figures beside limits."""
    print(f"{n_clients:,} of today's clients, {n_labelled:,} labelled rows, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / "data"
        write_data(data, n_clients, n_labelled)
        config_path, whole = run_after_poor(folder / "ours", data)
        print(f"whole run: {whole.cpu_s:.2f} s CPU, {whole.wall_s:.2f} s, {whole.peak_mb:.0f} MB")
        max_peak_mb = MAX_PEAK_MB if n_clients <= MANY_CLIENTS else 2 * MAX_PEAK_MB
        all_met = report("peak memory of the run", whole.peak_mb, "MB", max_peak_mb)
        if "plain" not in skipped:
            other = run_plain(folder / "plain", data)
            print(f"plain scripts: {other.cpu_s:.2f} s CPU, {other.peak_mb:.0f} MB")
            all_met &= report(
                "CPU beside the plain scripts", whole.cpu_s / other.cpu_s, "times", MAX_CPU_SHARE
            )
        if "growth" not in skipped:
            all_met &= check_growth(folder, n_clients)
        all_met &= check_records(config_path, data, n_clients, n_scorings)
        if "pages" not in skipped:
            all_met &= measure_pages(config_path)
            measure_file(config_path, "worklist.csv", n_clients)
            measure_file(config_path, "worklist.xlsx", min(n_clients, MAX_TOP_XLSX))
        if "readers" not in skipped:
            all_met &= check_readers(config_path, data, n_clients)
        if "kills" not in skipped:
            all_met &= check_kills(config_path, data, n_clients, whole.wall_s)
        check_forgetting(config_path)
    raise SystemExit(int(not all_met))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=1_000_000)
    parser.add_argument("--labelled", type=int, default=1_000_000)
    parser.add_argument("--scorings", type=int, default=3)
    parser.add_argument("--skip", default="")
    given = parser.parse_args()
    main(given.clients, given.labelled, given.scorings, given.skip)
