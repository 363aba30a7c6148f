"""Measure one and two services behind nginx on one deployment folder, records in PostgreSQL.

    python -m benchmarks.scaleout [REPEATS [SECONDS [SWITCHES]]]

Throughput over one and two services, in turns, with the CPU time per request of service and proxy,
then the time for a switch to reach both services, and the failed, late and wrong answers. Required:
none, and at most a second.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from benchmarks.proxies import SERVED_BY, running_proxy
from benchmarks.servers import ROOT, ROW, Running, free_port, prepare, running
from benchmarks.serving import Load, Result, measure, median_of, write_script
from scripts.core import artifacts
from scripts.core.config_file import read_config
from scripts.production import rollback

LOADS = (Load(1, 16), Load(1, 64), Load(1000, 16))
N_SERVICES = 2
REACHED_S = 1.0


class Proxy(Running):
    """A running proxy with worker processes."""

    def cpu_s(self) -> float:
        """CPU time of master and workers, in seconds."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        used = 0
        for pid in (str(self.process.pid), *children.read_text().split()):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            used += int(fields[11]) + int(fields[12])
        return used / os.sysconf("SC_CLK_TCK")


@contextmanager
def running_postgresql(folder: Path) -> Iterator[None]:
    """Run a PostgreSQL server, set in the environment as the database of the records."""
    script = str(ROOT / ".ci" / "postgresql")
    done = subprocess.run(
        [script, "start", str(folder)], stdout=subprocess.PIPE, text=True, check=True
    )
    os.environ["ADRAS_DATABASE_URL"] = done.stdout.strip()
    try:
        yield
    finally:
        subprocess.run([script, "stop", str(folder)], check=True)


def prepare_two_releases(folder: Path) -> Path:
    """Return the config of an installation with two releases."""
    path = prepare(folder)
    # A different model on the same data, so that each switch changes the answers.
    path.write_text(json.dumps(json.loads(path.read_text()) | {"training": {"C": 1e-4}}))
    for program, *verb in (["training"], ["scoring"], ["deployment", "deploy"]):
        command = [sys.executable, "-m", f"scripts.{program}", *verb, "--config", str(path)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return path


def write_machine(config_path: Path, number: int) -> tuple[Path, int]:
    """Write a copy of the config with a free port, and return path and port."""
    settings = json.loads(config_path.read_text())
    port = free_port()
    settings["api"] |= {"port": port, "trusted_proxies": ["127.0.0.1"]}
    path = config_path.with_name(f"config_{number}.json")
    path.write_text(json.dumps(settings))
    return path, port


@contextmanager
def running_services(config_path: Path) -> Iterator[list[Running]]:
    """Run services on the same folders, as on two machines."""
    with ExitStack() as stack:
        services = []
        for number in range(1, N_SERVICES + 1):
            path, port = write_machine(config_path, number)
            command = ["scripts.app", "--config", str(path)]
            side = running(f"service {number}", command, f"http://127.0.0.1:{port}", "/predict")
            services.append(stack.enter_context(side))
        yield services


def measure_throughput(
    services: list[Running], proxies: list[Proxy], folder: Path, n_repeats: int, seconds: int
) -> None:
    """Send every load through one and two services in turns, and print the medians."""
    measured: dict[tuple[Load, int], list[tuple[Result, float]]] = {}
    scripts = {load: write_script(folder, load) for load in LOADS}
    for _ in range(n_repeats):
        for load in LOADS:
            for n_services, proxy in enumerate(proxies, 1):
                before_s = sum(service.cpu_s() for service in services)
                result = measure(proxy, "/predict", scripts[load], load, seconds)
                used_s = sum(service.cpu_s() for service in services) - before_s
                n_requests = result.per_s * seconds
                measured.setdefault((load, n_services), []).append(
                    (result, 1e6 * used_s / n_requests)
                )
    for (load, n_services), results in measured.items():
        middle = median_of([result for result, _ in results])
        service_us = statistics.median(used for _, used in results)
        print(
            f"{load.n_rows:5} rows {load.n_connections:3} connections  {n_services} services"
            f" {middle.per_s:8.0f} requests/s  p50 {middle.p50_ms:7.2f} ms  p99"
            f" {middle.p99_ms:7.2f} ms  CPU per request: service {service_us:6.0f} us, proxy"
            f" {middle.cpu_us:6.0f} us"
        )


@dataclass(frozen=True)
class Answered:
    """The times, service, release and probability of an answer."""

    asked_s: float
    answered_s: float
    by: str
    release: str
    probability: float


def ask(url: str, stopped: threading.Event, answers: list[Answered]) -> None:
    """Request predictions until stopped, or until a failure ends the measurement."""
    with requests.Session() as session:
        while not stopped.wait(0.001):
            asked_s = time.time()
            got = session.post(f"{url}/predict", json={"data": [ROW]}, timeout=10)
            got.raise_for_status()
            answer, by = got.json(), got.headers.get(SERVED_BY, url.removeprefix("http://"))
            answers.append(
                Answered(asked_s, time.time(), by, answer["release"], answer["probabilities"][0])
            )


def switch_under_load(
    config_path: Path, urls: list[str], n_switches: int
) -> tuple[list[tuple[float, str]], list[Answered], int]:
    """Switch between two releases under load, and return switches and answers."""
    config = read_config(config_path)
    stopped, answers = threading.Event(), [list[Answered]() for _ in urls]
    askers = [
        threading.Thread(target=ask, args=(url, stopped, got))
        for url, got in zip(urls, answers, strict=True)
    ]
    for asker in askers:
        asker.start()
    switches = []
    try:
        names = [path.name for path in artifacts.list_releases(config.prod_deployment_path)]
        for number in range(n_switches):
            time.sleep(REACHED_S + 0.2)
            wanted = names[number % len(names)]
            release = rollback.main(config, release_name=wanted, reason=f"switch {number}")
            changed_s = artifacts.link_changed_s(config.prod_deployment_path)
            assert changed_s is not None
            switches.append((changed_s, release.name))
        time.sleep(REACHED_S + 0.2)
    finally:
        n_failed = sum(not asker.is_alive() for asker in askers)
        stopped.set()
        for asker in askers:
            asker.join()
    return switches, [answer for got in answers for answer in got], n_failed


def judge(switches: list[tuple[float, str]], answers: list[Answered], n_failed: int) -> bool:
    """Print the delay of each switch at each service, and return whether the limits are met."""
    ends = [*(since_s for since_s, _ in switches[1:]), float("inf")]
    lags_ms, n_late = [], 0
    for (since_s, name), end_s in zip(switches, ends, strict=True):
        in_time = [a for a in answers if since_s <= a.asked_s and a.answered_s < end_s]
        for by in sorted({answer.by for answer in in_time}):
            first_s = min(a.answered_s for a in in_time if a.by == by and a.release == name)
            lags_ms.append(1e3 * (first_s - since_s))
        n_late += sum(a.asked_s > since_s + REACHED_S and a.release != name for a in in_time)
    probabilities: dict[str, set[float]] = {}
    for answer in answers:
        probabilities.setdefault(answer.release, set()).add(answer.probability)
    n_mixed = sum(len(values) - 1 for values in probabilities.values())
    n_distinct = len(set.union(*probabilities.values()))
    are_distinct = n_distinct == len(probabilities) + n_mixed
    print(
        f"{len(switches)} switches, {len(answers)} answers by {len({a.by for a in answers})}"
        f" services: {n_failed} failed, {n_late} late, {n_mixed} mixed; first answer of the new"
        f" release after {statistics.median(lags_ms):.0f} ms in the median,"
        f" {max(lags_ms):.0f} ms at most"
    )
    return not (n_failed or n_late or n_mixed) and are_distinct


def main(n_repeats: int, seconds: int, n_switches: int) -> int:
    """Measure throughput and switches, and return 1 for a missed requirement."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing; Debian: apt-get install wrk")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        # A temporary folder accessible to the user of PostgreSQL.
        stack.enter_context(running_postgresql(Path(tempfile.mkdtemp())))
        config_path = prepare_two_releases(folder)
        services = stack.enter_context(running_services(config_path))
        addresses = [service.url.removeprefix("http://") for service in services]
        proxies = []
        for count in range(1, N_SERVICES + 1):
            proxy = running_proxy(folder / f"nginx{count}", addresses[:count])
            url, process = stack.enter_context(proxy)
            proxies.append(Proxy(f"proxy of {count}", url, process, 0.0))
        measure_throughput(services, proxies, folder, n_repeats, seconds)
        urls = [proxies[-1].url, *(service.url for service in services)]
        is_right = judge(*switch_under_load(config_path, urls, n_switches))
    return 0 if is_right else 1


if __name__ == "__main__":
    arguments = [*map(int, sys.argv[1:]), *(3, 5, 20)[len(sys.argv) - 1 :]]
    sys.exit(main(*arguments))
