"""Installations and running servers for the serving benchmarks."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).resolve().parent.parent
ROW = {"lastmonth_activity": 12, "lastyear_activity": 480, "number_of_employees": 35}
# The path has the name of the model, with the same default in our service.
INFER = "/v2/models/adras/infer"
START_S = 120
END_S = 20
# One program for all steps, since most of their time is the import of libraries.
PREPARE = """
import sys
from pathlib import Path
from scripts import deployment
from scripts import ingestion
from scripts import scoring
from scripts import training
from scripts.core.config_file import read_config
config = read_config(Path(sys.argv[1]))
for step in (ingestion, training, scoring, deployment):
    step.main(config)
"""


def free_port() -> int:
    """Find a free port."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def prepare(folder: Path) -> Path:
    """Return the config of an installation with a model deployed on the source data."""
    settings = {
        "input_folder_path": str(ROOT / "sourcedata"),
        "test_data_path": str(ROOT / "testdata"),
        "output_folder_path": "output",
        "output_model_path": "models",
        "prod_deployment_path": "prod",
        "api": {"port": free_port()},
    }
    path = folder / "config.json"
    path.write_text(json.dumps(settings))
    command = [sys.executable, "-c", PREPARE, str(path)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"The installation could not be made:\n{done.stderr}")
    return path


def family(pid: int) -> list[int]:
    """List a process and its descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(one for child in children for one in family(int(child)))]


@dataclass(frozen=True)
class Running:
    """A running server."""

    name: str
    url: str
    process: subprocess.Popen[bytes]
    started_s: float

    def cpu_s(self) -> float:
        """CPU time of the process family, in seconds."""
        ticks = 0
        for pid in family(self.process.pid):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        """Memory of the process family, with shared pages divided (PSS)."""
        kb = 0
        for pid in family(self.process.pid):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            kb += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return kb / 1024


def wait_for_answer(process: subprocess.Popen[bytes], url: str, body: dict[str, Any]) -> None:
    """Wait for the first good answer."""
    until, last_error = time.monotonic() + START_S, "no connection"
    with requests.Session() as session:
        # No proxy of the environment for this machine.
        session.trust_env = False
        while time.monotonic() < until:
            if process.poll() is not None:
                raise SystemExit(f"{process.args!r} ended with {process.returncode}.")
            try:
                answer = session.post(url, json=body, timeout=5)
            except requests.RequestException as error:
                last_error = type(error).__name__
            else:
                if answer.ok:
                    return
                last_error = f"{answer.status_code} {answer.text[:200]}"
            time.sleep(0.005)
    raise SystemExit(f"{process.args!r} did not answer within {START_S} s: {last_error}")


@contextmanager
def running(
    name: str,
    command: list[str],
    url: str,
    path: str,
    *,
    python: str = sys.executable,
    body: dict[str, Any] | None = None,
    folder: Path = ROOT,
) -> Iterator[Running]:
    """Run a server for a context, from the first prediction on."""
    # A server may start programs beside its Python.
    path_of_programs = f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}"
    started = time.perf_counter()
    with subprocess.Popen(
        [python, "-m", *command],
        env=os.environ | {"PATH": path_of_programs}, cwd=folder,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            wait_for_answer(process, f"{url}{path}", body or {"data": [ROW]})
            yield Running(name, url, process, time.perf_counter() - started)
        finally:
            process.terminate()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def running_ours(config_path: Path, n_processes: int = 1) -> Iterator[Running]:
    """Start the service with a number of processes, each at a port of its own."""
    settings = json.loads(config_path.read_text())
    settings["api"] |= {"port": free_port(), "workers": n_processes}
    own_path = config_path.with_name(f"config_{n_processes}.json")
    own_path.write_text(json.dumps(settings))
    name = "ours" if n_processes == 1 else f"ours x{n_processes}"
    command = ["scripts.app", "--config", str(own_path)]
    url = f"http://127.0.0.1:{settings['api']['port']}"
    with running(name, command, url, "/predict") as ours:
        yield ours


@contextmanager
def running_plain(config_path: Path) -> Iterator[Running]:
    """Start the plain way."""
    port = free_port()
    command = ["benchmarks.plain_service", str(config_path), str(port)]
    with running("plain", command, f"http://127.0.0.1:{port}", "/plain") as plain:
        yield plain


@contextmanager
def running_mlflow(config_path: Path, python: str, folder: Path) -> Iterator[Running]:
    """Start MLflow's scoring server in a separate environment, on a model fitted there."""
    port, model_folder = free_port(), folder / "mlflow_model"
    script = str(ROOT / "benchmarks" / "mlflow_model.py")
    (table,) = sorted((config_path.parent / "output").glob("finaldata_*.csv"))
    command = [python, script, str(table), str(model_folder)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    command = ["mlflow", "models", "serve", "-m", str(model_folder), "-p", str(port)]
    command += ["--env-manager", "local"]
    url = f"http://127.0.0.1:{port}"
    body = {"dataframe_records": [ROW]}
    with running("mlflow", command, url, "/invocations", python=python, body=body) as mlflow:
        yield mlflow


@contextmanager
def running_mlserver(config_path: Path, python: str, folder: Path) -> Iterator[Running]:
    """Start MLServer in a separate environment with defaults, on a model fitted there."""
    ports = {key: free_port() for key in ("http_port", "grpc_port", "metrics_port")}
    model_folder = folder / "mlserver_model"
    model_folder.mkdir()
    (model_folder / "settings.json").write_text(json.dumps(ports | {"host": "127.0.0.1"}))
    script = str(ROOT / "benchmarks" / "mlserver_model.py")
    (table,) = sorted((config_path.parent / "output").glob("finaldata_*.csv"))
    subprocess.run([python, script, str(table), str(model_folder)], check=True, capture_output=True)
    url = f"http://127.0.0.1:{ports['http_port']}"
    cells = [float(cell) for cell in ROW.values()]
    tensor = {"name": "x", "shape": [1, len(cells)], "datatype": "FP64", "data": cells}
    body, command = {"inputs": [tensor]}, ["mlserver.cli.main", "start", str(model_folder)]
    with running(
        "mlserver", command, url, INFER, python=python, body=body, folder=model_folder
    ) as mlserver:
        yield mlserver
