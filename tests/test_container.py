"""compose.yaml and the Dockerfile: read in each run, built and started in the campaign."""

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from scripts.core.config_file import read_config
from tests.support import container
from tests.support.container import DOCKERFILE, Image, Store, run, started
from tests.support.service import ROOT, TOKEN, wait_until_answering

TEXT = DOCKERFILE.read_text().replace("\\\n", " ")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
OURS = ("service", "pipeline")
STAGES = re.findall(r"^FROM .* AS (\S+)$", TEXT, re.MULTILINE)


def test_every_file_that_the_dockerfile_copies_is_there() -> None:
    copied = re.findall(r"^COPY (?!--from)(?:--\S+ )?(.*) \S+$", TEXT, re.MULTILINE)

    sources = [source for line in copied for source in line.split()]
    assert len(sources) >= 10
    assert [source for source in sources if not list(ROOT.glob(source))] == []


def test_nothing_that_git_ignores_at_the_root_gets_into_an_image() -> None:
    left_out = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().splitlines()
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]

    named = [name for name in ignored if "*" not in name and "/" not in name and name[0] != "."]
    assert {"logs", "production_deployment", "practicemodels", "models"} <= set(named)
    assert [name for name in named if name not in left_out and f"**/{name}" not in left_out] == []
    assert {".git", ".venv", "*.db"} <= set(left_out)


def test_every_stage_that_is_named_is_defined_before() -> None:
    named = re.findall(r"--from=(\S+)", TEXT) + re.findall(r"^FROM (\w\S*) AS", TEXT, re.MULTILINE)

    assert [name for name in named if name not in STAGES] == []
    assert STAGES[-2:] == ["pipeline", "service"]


@pytest.mark.parametrize("name", OURS)
def test_a_program_runs_as_an_ordinary_user_on_a_read_only_root(name: str) -> None:
    service = COMPOSE["services"][name]

    assert service["build"]["target"] in STAGES
    assert (ROOT / service["build"]["dockerfile"]) == DOCKERFILE
    assert service["user"] == str(container.USER)
    assert f"USER {container.USER}" in TEXT
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["tmpfs"] == ["/tmp"]
    assert service["volumes"] == ["${ADRAS_DATA:-data}:/data"]


def test_the_service_is_reached_from_this_machine_alone_and_only_with_a_token() -> None:
    service = COMPOSE["services"]["service"]

    assert service["ports"] == ["127.0.0.1:8000:8000"]
    assert service["environment"]["ADRAS_API_TOKEN"].startswith("${ADRAS_API_TOKEN:?")


def test_the_variables_of_compose_are_those_of_the_programs() -> None:
    documented = (ROOT / "docs" / "configuration.md").read_text()
    documented += (ROOT / "docs" / "deploying.md").read_text()
    used = re.findall(r"\$\{([A-Z_]+)", (ROOT / "compose.yaml").read_text())

    assert [name for name in used if f"`{name}`" not in documented] == []


def test_a_database_server_is_started_on_request_only() -> None:
    server = COMPOSE["services"]["postgres"]

    assert server["profiles"] == ["postgres"]
    assert {v.split(":")[0] for v in server["volumes"]} | {"data"} == set(COMPOSE["volumes"])


def test_the_configuration_of_the_image_reads_the_practice_data_and_listens_for_others(
    tmp_path: Path,
) -> None:
    copied = shutil.copy(DOCKERFILE.parent / "container.json", tmp_path / "config.json")
    plain = json.loads((ROOT / "config.json").read_text())

    config = read_config(Path(copied))

    assert config.api.host == "0.0.0.0"
    assert plain.items() <= json.loads(Path(copied).read_text()).items()


@contextmanager
def timing(folder: Path, run_s: int) -> Iterator[subprocess.Popen[str]]:
    """Start the timer with a python that writes a line and goes on for a while."""
    python = folder / "python"
    python.write_text(f'#!/bin/sh\necho "$@" >> {folder}/calls\nexec sleep {run_s}\n')
    python.chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "ADRAS_EVERY_S": "0.1"}
    with subprocess.Popen([DOCKERFILE.parent / "timer.sh"], env=environment, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_calls(folder: Path, n_calls: int) -> list[str]:
    """Wait until the python of the timer was called a number of times."""
    for _ in range(200):
        calls = (folder / "calls").read_text().splitlines() if (folder / "calls").exists() else []
        if len(calls) >= n_calls:
            return calls
        time.sleep(0.05)
    raise TimeoutError(n_calls)


def test_the_timer_starts_a_run_again_and_again_and_stops_between_two(tmp_path: Path) -> None:
    with timing(tmp_path, run_s=0) as timer:
        calls = wait_for_calls(tmp_path, 3)
        timer.send_signal(signal.SIGTERM)

        assert timer.wait(timeout=10) == 0
    assert set(calls) == {"-m scripts.fullprocess"}


def test_the_timer_stops_within_a_run_and_ends_the_run(tmp_path: Path) -> None:
    with timing(tmp_path, run_s=600) as timer:
        wait_for_calls(tmp_path, 1)
        timer.send_signal(signal.SIGTERM)

        # The timer waits for the run to end, which goes on for 10 minutes if not told.
        assert timer.wait(timeout=10) == 0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The images, kept in the folder ADRAS_TEST_IMAGES if set."""
    reason = container.why_not()
    if reason:
        pytest.skip(reason)
    kept = os.environ.get("ADRAS_TEST_IMAGES")
    made = Store(Path(kept) if kept else tmp_path_factory.mktemp("images"))
    made.make_base()
    return made


@pytest.fixture(scope="module")
def images(store: Store) -> Iterator[dict[str, Image]]:
    """Both images."""
    yield {target: store.build(target) for target in OURS}
    store.run("rm", "--all")


@pytest.fixture
def volume(images: dict[str, Image], tmp_path: Path) -> Path:
    """A new volume, which begins as a copy of the image's folder."""
    subprocess.run(["cp", "-a", images["pipeline"].root / "data", tmp_path / "data"], check=True)
    return tmp_path / "data"


def is_free(port: int) -> bool:
    """Whether no program has a port."""
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.campaign
@pytest.mark.skipif(not is_free(8000), reason="another program has port 8000, that of the image")
def test_the_built_images_run_and_serve_as_an_ordinary_user_on_a_read_only_root(
    images: dict[str, Image], volume: Path
) -> None:
    made = run(images["pipeline"], volume, "python", "-m", "scripts.fullprocess")
    again = run(images["pipeline"], volume, "python", "-m", "scripts.fullprocess")
    outside = run(images["pipeline"], volume, "touch", "/opt/adras/scripts/x", "/x")
    clients = [run(image, volume, "python", "-c", "import psycopg") for image in images.values()]
    row = {"lastmonth_activity": 12, "lastyear_activity": 480, "number_of_employees": 35}
    url = "http://127.0.0.1:8000"
    with started(images["service"], volume, ADRAS_API_TOKEN=TOKEN) as process:
        wait_until_answering(url, process)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        health = requests.get(f"{url}/health", timeout=10)
        answer = requests.post(f"{url}/predict", json={"data": [row]}, headers=headers, timeout=10)
        guide = requests.get(f"{url}/docs/guide", headers=headers, timeout=10)
        refused = requests.post(f"{url}/predict", json={"data": [row]}, timeout=10)
        checked = run(images["service"], volume, *health_command())
        owners = {
            int(re.findall(r"^Uid:\s+(\d+)", path.read_text(), re.MULTILINE)[0])
            for path in Path("/proc").glob("[0-9]*/status")
            if b"scripts.app" in (path.parent / "cmdline").read_bytes()
            and b"unshare" not in (path.parent / "cmdline").read_bytes()
        }

    for _ in range(50):
        if is_free(8000):
            break
        time.sleep(0.1)

    # The service ended with its namespace.
    assert is_free(8000)
    assert made.returncode == 0, made.stdout
    assert "Deployed model" in made.stdout
    assert "nothing new" in again.stdout
    assert [done.returncode for done in clients] == [0, 0]
    assert outside.stdout.count("Read-only file system") == 2
    assert (health.status_code, answer.status_code, guide.status_code) == (200, 200, 200)
    assert 0 < answer.json()["probabilities"][0] < 1
    assert refused.status_code == 401
    assert checked.returncode == 0, checked.stdout
    assert container.USER in owners
    assert {path.stat().st_uid for path in volume.rglob("*")} == {container.USER}
    assert stat.S_IMODE((volume / "adras.db").stat().st_mode) == 0o600


def health_command() -> list[str]:
    """Read the command of the Dockerfile that asks for the health."""
    (found,) = re.findall(r"^HEALTHCHECK .* CMD (\[.*\])$", TEXT, re.MULTILINE)
    return [str(word) for word in json.loads(found)]
