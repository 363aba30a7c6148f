"""Several services on one deployment folder, behind a proxy, with the records in PostgreSQL."""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from benchmarks.proxies import SERVED_BY, running_proxy
from scripts import fullprocess
from scripts.core import artifacts, config_file
from scripts.core.config import Config
from scripts.model import logistic_model
from scripts.production import rollback
from scripts.records.tables import Verdict
from tests.conftest import make_rows, write_csv
from tests.support.service import TOKEN, edit_config, make_row, served

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")

HEADERS = {"Authorization": f"Bearer {TOKEN}"}
BODY = {"data": [make_row(20)]}
# A deployment reaches everybody within it; the links are read at each request.
REACHED_S = 1.0


@dataclass(frozen=True)
class Answered:
    """An answer with the times of question and answer, the service, the release and the content."""

    asked_s: float
    answered_s: float
    by: str
    release: str
    probability: float


class Client(threading.Thread):
    """Ask one address for predictions until told to stop."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.answers: list[Answered] = []
        self.statuses: list[int] = []
        self.stopped = threading.Event()

    def run(self) -> None:
        """Ask, and keep what was answered."""
        with requests.Session() as session:
            while not self.stopped.wait(0.005):
                asked_s = time.time()
                got = session.post(f"{self.url}/predict", json=BODY, headers=HEADERS, timeout=10)
                self.statuses.append(got.status_code)
                if got.status_code == 200:
                    by, said = got.headers.get(SERVED_BY, self.url), got.json()
                    given = said["release"], said["probabilities"][0]
                    self.answers.append(Answered(asked_s, time.time(), by, *given))


@contextmanager
def asking(urls: list[str]) -> Iterator[list[Client]]:
    """Ask several addresses at the same time."""
    clients = [Client(url) for url in urls]
    for client in clients:
        client.start()
    try:
        yield clients
    finally:
        for client in clients:
            client.stopped.set()
        for client in clients:
            client.join()


@contextmanager
def two_services(config_path: Path) -> Iterator[list[tuple[str, Any]]]:
    """Run two services on the same folders and different ports, as on two machines."""
    with ExitStack() as stack:
        running = []
        for number in (1, 2):
            path = config_path.with_name(f"config_{number}.json")
            shutil.copyfile(config_path, path)
            running.append(
                stack.enter_context(served(path, token=TOKEN, trusted_proxies=["127.0.0.1"]))
            )
        yield running


def truth_of(prod_folder: Path) -> dict[str, float]:
    """Compute what each release says of the client that is asked about."""
    columns = {name: np.array([float(value)]) for name, value in make_row(20).items()}
    return {
        folder.name: float(
            logistic_model.probabilities(logistic_model.load_model(folder / "model.json"), columns)[
                0
            ]
        )
        for folder in artifacts.list_releases(prod_folder)
    }


def serving_since(prod_folder: Path) -> tuple[str, float]:
    """Return the serving release and the start of serving."""
    changed_s = artifacts.link_changed_s(prod_folder)
    assert changed_s is not None
    return Path(os.readlink(prod_folder / artifacts.CURRENT)).name, changed_s


@pytest.fixture
def installation(config_path: Path, postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> Config:
    """An installation that serves a poor model, with its records in PostgreSQL."""
    monkeypatch.setenv("ADRAS_DATABASE_URL", postgresql_url)
    monkeypatch.setenv("ADRAS_API_TOKEN", TOKEN)
    edit_config(config_path, run={"timeout_minutes": 5})
    config = config_file.read_config(config_path)
    shutil.rmtree(config.input_folder_path)
    write_csv(config.input_folder_path / "a.csv", make_rows(200, seed=1, noise=1.0))
    write_csv(config.test_data_path / "test.csv", make_rows(200, seed=2))
    assert fullprocess.main(config) is Verdict.DEPLOYED
    return config


def test_a_deployment_reaches_every_service_within_a_second_and_none_answers_with_a_mix(
    installation: Config, config_path: Path, tmp_path: Path
) -> None:
    prod_folder = installation.prod_deployment_path
    with two_services(config_path) as running:
        urls = [url for url, _ in running]
        addresses = [url.removeprefix("http://") for url in urls]
        with (
            running_proxy(tmp_path / "nginx", addresses) as (front, _),
            asking([*urls, front]) as clients,
        ):
            switches = [serving_since(prod_folder)]
            write_csv(installation.input_folder_path / "b.csv", make_rows(400, seed=3))
            assert fullprocess.main(installation) is Verdict.DEPLOYED
            switches.append(serving_since(prod_folder))
            time.sleep(REACHED_S + 0.3)
            rollback.main(installation, release_name=None, reason="to see it reach everybody")
            switches.append(serving_since(prod_folder))
            time.sleep(REACHED_S + 0.3)
            ended_s = time.time()
            histories = [
                requests.get(f"{url}/releases", headers=HEADERS, timeout=10).json() for url in urls
            ]

    # What each release says, told apart by far more than rounding.
    truth = truth_of(prod_folder)
    first, second = sorted(truth)
    assert abs(truth[first] - truth[second]) > 0.01
    assert [name for name, _ in switches] == [first, second, first]
    for client in clients:
        assert set(client.statuses) == {200}
        for answer in client.answers:
            assert answer.probability == pytest.approx(truth[answer.release], rel=0, abs=1e-12)
    # From a second after each switch on, nobody answers from another release any more.
    ends = [*(since_s for _, since_s in switches[1:]), ended_s]
    for (name, since_s), end_s in zip(switches, ends, strict=True):
        for client in clients:
            late = [
                answer
                for answer in client.answers
                if since_s + REACHED_S <= answer.asked_s and answer.answered_s < end_s
            ]
            assert late
            assert {answer.release for answer in late} == {name}
    assert {answer.by for answer in clients[2].answers} == set(addresses)
    # Both tell the same history, out of the same records.
    assert histories[0] == histories[1]
    assert [row["release"] for row in histories[0]["releases"]] == [first, second, first]


def test_the_proxy_goes_on_with_the_service_that_is_left(
    installation: Config, config_path: Path, tmp_path: Path
) -> None:
    with two_services(config_path) as running:
        addresses = [url.removeprefix("http://") for url, _ in running]
        with running_proxy(tmp_path / "nginx", addresses) as (front, _):
            _, process = running[0]
            process.terminate()
            process.wait()

            answers = [
                requests.post(f"{front}/predict", json=BODY, headers=HEADERS, timeout=10)
                for _ in range(20)
            ]

    assert [answer.status_code for answer in answers] == [200] * 20
    assert {answer.headers[SERVED_BY].split(", ")[-1] for answer in answers} == {addresses[1]}
