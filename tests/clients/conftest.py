"""An installation whose clients are scored, made once and copied for each test."""

import shutil
from pathlib import Path

import pytest

from scripts.core.config_file import read_config
from tests.conftest import write_installation
from tests.support.clientele import FIRST, put_clients, score, serve

CALLED = ["x,0,7,3,", "y,1,7,3,", "<z>,2,7,3,", "w,3,7,3,"]


@pytest.fixture(scope="session")
def scored_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an installation with four scored clients, x before y, <z> and w."""
    path = write_installation(tmp_path_factory.mktemp("scored"))
    config = read_config(path)
    serve(config, FIRST)
    put_clients(config, CALLED)
    score(config)
    return path.parent


@pytest.fixture
def scored_path(scored_once: Path, tmp_path: Path) -> Path:
    """Return the config of an own installation with four scored clients."""
    folder = tmp_path / "installation"
    shutil.copytree(scored_once, folder, symlinks=True)
    return folder / "config.json"
