"""Runs a real standalone Spark cluster on loopback: a master and workers."""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.service import free_port

LOOPBACK = "127.0.0.1"
# Java's second compiler pays after minutes only. The bytes of Spark's own classes need no check.
JAVA_OPTIONS = (
    "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
    " -XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote"
)


def why_not() -> str:
    """Return the reason against a start of a cluster, or ""."""
    if shutil.which("java") is None:
        return "Java is not installed; Debian: apt-get install openjdk-17-jre-headless"
    try:
        import pyspark
    except ImportError:
        return "PySpark is not installed; pip install '.[spark]'"
    return "" if pyspark.__version__.startswith("4.3.") else "PySpark is not of 4.3"


class Cluster:
    """Java processes in separate process groups, for an end together with their children."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.ui_port = free_port(), free_port()
        self.master = f"spark://{LOOPBACK}:{self.port}"
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a master or a worker."""
        import pyspark

        home = Path(pyspark.__file__).parent
        env = os.environ | {
            "SPARK_HOME": str(home), "SPARK_LOCAL_IP": LOOPBACK, "SPARK_DAEMON_MEMORY": "256m",
            "PYSPARK_PYTHON": sys.executable, "SPARK_NO_DAEMONIZE": "1",
            "SPARK_DAEMON_JAVA_OPTS": JAVA_OPTIONS, "SPARK_LAUNCHER_OPTS": JAVA_OPTIONS,
        }  # fmt: skip
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [str(home / "bin" / "spark-class"), *arguments],
                cwd=self.folder, env=env, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def start_worker(self, number: int) -> subprocess.Popen[bytes]:
        """Start a worker with a single core."""
        return self.start(
            f"worker{number}", "org.apache.spark.deploy.worker.Worker", "--host", LOOPBACK,
            "--webui-port", str(free_port()), "--cores", "1", "--memory", "1g",
            "--work-dir", str(self.folder / f"work{number}"), self.master,
        )  # fmt: skip

    def n_alive(self) -> int:
        """Return the number of workers of the master."""
        try:
            with urllib.request.urlopen(
                f"http://{LOOPBACK}:{self.ui_port}/json/", timeout=5
            ) as answer:
                return int(answer.read().decode().count('"ALIVE"')) - 1
        except OSError:
            return 0

    def wait_for(self, n_workers: int) -> None:
        """Wait for a number of registered workers."""
        for _ in range(600):
            if self.n_alive() >= n_workers:
                return
            time.sleep(0.1)
        logs = "\n".join(path.read_text()[-2000:] for path in self.folder.glob("*.log"))
        raise TimeoutError(f"the cluster has no {n_workers} workers:\n{logs}")

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a process and its children, like a power failure."""
        # It may have ended by itself.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def running_cluster(folder: Path, n_workers: int = 2) -> Iterator[Cluster]:
    """Run a cluster, and end all processes in any case."""
    folder.mkdir(parents=True, exist_ok=True)
    cluster = Cluster(folder)
    try:
        cluster.start(
            "master", "org.apache.spark.deploy.master.Master", "--host", LOOPBACK,
            "--port", str(cluster.port), "--webui-port", str(cluster.ui_port),
        )  # fmt: skip
        for number in range(n_workers):
            cluster.start_worker(number)
        cluster.wait_for(n_workers)
        yield cluster
    finally:
        for process in cluster.processes:
            cluster.kill(process)
