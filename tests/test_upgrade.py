"""Installations of earlier programs, with two releases each, are taken over as they are.

`tests/installations/` holds folders that the programs of then made: `first_design` by those of the
first design, before the records had versions, and `before_packages` by the last ones before the
code was divided into packages. In `answers.json` stands how the service of then answered.
"""

import json
import sqlite3
import tarfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from scripts import fullprocess
from scripts.app import create_app
from scripts.core.config_file import read_config
from scripts.production import rollback
from tests.support.service import ROOT, answer_of

ARCHIVES = ROOT / "tests" / "installations"


@dataclass(frozen=True)
class Installation:
    """An installation of then, in a folder of its own."""

    folder: Path

    @property
    def config_path(self) -> Path:
        """The config.json of then."""
        return self.folder / "config.json"

    def answers(self) -> dict[str, Any]:
        """Return what the service of then answered."""
        return dict(json.loads((self.folder / "answers.json").read_text()))

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Read from the records."""
        with closing(sqlite3.connect(self.folder / "adras.db")) as connection:
            return connection.execute(sql).fetchall()

    def production(self) -> dict[str, bytes]:
        """Read the files of all releases."""
        releases = self.folder / "prod" / "releases"
        return {
            str(path.relative_to(releases)): path.read_bytes()
            for path in sorted(releases.rglob("*"))
            if path.is_file()
        }


def unpack(name: str, folder: Path) -> Installation:
    """Unpack an installation of then."""
    with tarfile.open(ARCHIVES / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return Installation(folder / name)


@pytest.fixture(params=["first_design", "before_packages"])
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Installation:
    """An installation of then, by each of the earlier programs."""
    return unpack(request.param, tmp_path)


@pytest.fixture
def service(installation: Installation) -> FlaskClient:
    """The service of today on an installation of then."""
    return create_app(installation.config_path).test_client()


def predict(service: FlaskClient, answers: dict[str, Any]) -> dict[str, Any]:
    """Ask again what the service of then was asked."""
    return answer_of(service.post("/predict", json={"data": answers["rows"]}))


def test_production_of_then_serves_the_same_predictions_before_any_run(
    installation: Installation, service: FlaskClient
) -> None:
    then = installation.answers()
    before = installation.production()

    now = predict(service, then)

    for name in ("predictions", "release"):
        assert now[name] == then["predict"][name]
    assert now["probabilities"] == pytest.approx(then["predict"]["probabilities"], rel=1e-12)
    assert service.get("/health").status_code == 200
    assert answer_of(service.get("/score"))["score"] == then["score"]["score"]
    assert installation.production() == before


def test_a_page_of_records_says_that_the_next_run_takes_them_over(service: FlaskClient) -> None:
    refused = service.get("/worklist")

    assert refused.status_code == 503
    assert "the next run brings them up to date" in refused.text
    assert "move it away" not in refused.text


RUNS = "SELECT id, started_at, ended_at, verdict FROM runs WHERE id <= 2 ORDER BY id"


def test_a_run_takes_over_records_and_releases_and_loses_nothing(
    installation: Installation, service: FlaskClient
) -> None:
    kept, records = installation.production(), installation.ask(RUNS)
    config = installation.config_path.read_bytes()

    fullprocess.main(read_config(installation.config_path))

    assert len(records) == 2
    assert installation.ask(RUNS) == records
    assert kept.items() <= installation.production().items()
    assert installation.config_path.read_bytes() == config
    listed = answer_of(service.get("/runs"))["runs"]
    assert [run["id"] for run in listed] == [3, 2, 1]
    # The model of today is not better on the same rows, so that of then serves on.
    then, now = installation.answers(), predict(service, installation.answers())
    assert now["release"] == then["predict"]["release"]
    assert now["probabilities"] == pytest.approx(then["predict"]["probabilities"], rel=1e-12)


def test_clients_scored_then_keep_their_history(tmp_path: Path) -> None:
    installation = unpack("before_packages", tmp_path)
    service = create_app(installation.config_path).test_client()
    then = installation.answers()["worklist"]["clients"]

    fullprocess.main(read_config(installation.config_path))

    for entry in then:
        history = answer_of(service.get(f"/clients/{entry['client']}"))["history"]
        assert [score["probability"] for score in history][-1] == pytest.approx(
            entry["probability"], abs=1e-6
        )


def test_releases_of_then_serve_again_after_a_rollback_with_their_predictions(
    installation: Installation, service: FlaskClient
) -> None:
    then = installation.answers()
    config = read_config(installation.config_path)
    first, second = sorted(path.name for path in (installation.folder / "prod/releases").iterdir())
    fullprocess.main(config)

    rollback.main(config, release_name=first, reason="the first one")
    in_between = predict(service, then)
    rollback.main(config, release_name=second, reason="the second one")

    now = predict(service, then)
    assert in_between["release"] == first
    assert in_between["probabilities"] != then["predict"]["probabilities"]
    assert now["release"] == then["predict"]["release"] == second
    assert now["probabilities"] == pytest.approx(then["predict"]["probabilities"], rel=1e-12)
