"""Deployment: a release directory, an atomic switch, and production whole after every kill."""

import os
import pickle
from pathlib import Path

import pytest

from scripts import deployment, ingestion, scoring, training
from scripts.core import artifacts, files
from scripts.core.artifacts import Kind
from scripts.core.config import Config
from scripts.core.errors import NotMadeYetError, ReleaseError
from scripts.pipeline import retention
from scripts.production import release
from tests.conftest import write_csv
from tests.support import dying

ROOT = Path(__file__).parent.parent


def deploy_again(config: Config) -> release.Release:
    """Train on the same input and deploy the model."""
    ingestion.main(config)
    training.main(config)
    scoring.main(config)
    return deployment.main(config)


def test_the_documented_paths_lead_to_the_release(deployed: Config) -> None:
    prod = deployed.prod_deployment_path

    current = release.load_current(prod)

    assert current is not None
    assert current.name.startswith("0001_")
    for name in release.FILES:
        assert (prod / name).read_bytes() == (current.path / name).read_bytes()


def test_the_manifest_says_f1_dataset_and_model(deployed: Config) -> None:
    current = release.load_current(deployed.prod_deployment_path)

    assert current is not None
    latest = artifacts.find_latest(deployed.output_model_path, Kind.MODEL, "training")
    assert current.manifest.model_stamp == artifacts.stamp_of(latest)
    assert current.manifest.f1 == pytest.approx(0.8)
    assert current.manifest.dataset_sha256 == current.model.dataset.sha256


def test_a_second_deployment_counts_on_and_keeps_the_first(deployed: Config) -> None:
    second = deploy_again(deployed)

    names = [path.name for path in artifacts.list_releases(deployed.prod_deployment_path)]
    assert [name[:4] for name in names] == ["0001", "0002"]
    assert artifacts.current_target(deployed.prod_deployment_path) == f"releases/{second.name}"


def test_main_wants_a_score_first(config: Config) -> None:
    ingestion.main(config)
    training.main(config)

    with pytest.raises(NotMadeYetError, match=r"run python -m scripts\.scoring first"):
        deployment.main(config)


def test_a_damaged_model_is_refused_and_leaves_nothing(deployed: Config) -> None:
    ingestion.main(deployed)
    trained = training.main(deployed)
    scoring.main(deployed)
    before = artifacts.current_target(deployed.prod_deployment_path)
    content = trained.model_path.read_text().replace('"intercept": ', '"intercept": "x')
    trained.model_path.write_text(content)

    with pytest.raises(Exception, match="is not a model"):
        deployment.main(deployed, model_path=trained.model_path, dataset_path=trained.dataset_path)

    assert artifacts.current_target(deployed.prod_deployment_path) == before


def test_a_damaged_score_is_refused(deployed: Config) -> None:
    latest = artifacts.find_latest(deployed.output_model_path, Kind.SCORE, "scoring")
    latest.write_text("high\n")

    with pytest.raises(
        ReleaseError,
        match=r"does not give the model's F1 on the test rows, 0\.8, on its first line",
    ):
        deployment.main(deployed)


def test_old_releases_go_but_never_the_current_one(deployed: Config) -> None:
    for _ in range(3):
        deploy_again(deployed)
    first = artifacts.list_releases(deployed.prod_deployment_path)[0]
    release.switch(deployed.prod_deployment_path, first)

    n_removed = retention.remove_old_releases(deployed.prod_deployment_path, 2)

    left = [path.name[:4] for path in artifacts.list_releases(deployed.prod_deployment_path)]
    assert n_removed == 1
    assert left == ["0001", "0003", "0004"]


# After as many deaths a deployment goes to its end.
RECOVERED = 4


class Bomb:
    """An object with a file as the effect of unpickling."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Return the function to call at unpickling."""
        return os.mkdir, (str(self.mark),)


def test_a_hostile_pickle_in_any_folder_never_runs(deployed: Config, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    for path in tmp_path.rglob("*.pkl"):
        if not path.is_symlink():
            path.write_bytes(pickle.dumps(Bomb(mark)))

    deployment.main(deployed)
    scoring.main(deployed)

    assert not mark.exists()


def test_killed_before_any_call_production_is_the_old_or_the_new_release_whole(
    deployed: Config, config_path: Path
) -> None:
    prod, seen = deployed.prod_deployment_path, set()
    with dying.mortal(config_path) as process:
        code, n_calls = process.act(0)
        assert code == 0
        for k in range(1, n_calls + 1):
            before = artifacts.current_target(prod)
            assert process.act(k)[0] == dying.DEAD
            served = release.load_current(prod)
            assert served is not None
            assert (prod / "model.json").read_bytes() == (served.path / "model.json").read_bytes()
            seen.add("old" if artifacts.current_target(prod) == before else "new")
            files.remove_leftovers([prod, prod / artifacts.RELEASES])
            # In between, the next deployment finds what several dead ones have left.
            if k % RECOVERED == 0 or k == n_calls:
                assert process.act(0)[0] == 0
                assert not list(prod.rglob("*.tmp"))

    assert n_calls > 30
    assert seen == {"old", "new"}


def test_the_release_carries_the_newest_score(deployed: Config) -> None:
    write_csv(deployed.test_data_path / "test.csv", ["t1,1,300,10,1", "t2,190,600,60,0"])
    scoring.main(deployed)

    assert deployment.main(deployed).manifest.f1 == 1.0
