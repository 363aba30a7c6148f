"""The context of a run: engine, test data and release in production, each loaded once."""

import functools
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from scripts.core import artifacts
from scripts.core.config import Config
from scripts.core.errors import NotMadeYetError
from scripts.data.arrays import Floats
from scripts.engine import choice
from scripts.engine.choice import Engine
from scripts.production import release
from scripts.production.evaluation_data import EvaluationData
from scripts.production.release import Release


class RunContext:
    """The engine, the test data and the release in production of a run or command.

    Parameters
    ----------
    config : Config
        The installation. It must hold the lock while the context is used: the test data is read
        once for each schema.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.test_data = EvaluationData(config)
        self._release: Release | None = None
        # Today's clients, once they are read.
        self.n_clients: int | None = None
        # The input files of the run.
        self.input_paths: Sequence[Path] = ()
        # Today's clients, and their columns that are no features, once the files were searched.
        self.todays_texts: tuple[pd.DataFrame, pd.DataFrame] | None = None
        # Dated test rows, client and day, with the worth of each, once the files were searched.
        self.test_values: tuple[pd.DataFrame, Floats] | None = None

    @functools.cached_property
    def engine(self) -> Engine:
        """Return the engine of config.json."""
        return choice.choose_engine(self.config)

    def current_release(self) -> Release | None:
        """Return the release in production, None before the first deployment.

        Raises
        ------
        ReleaseError
            If a file of the release is missing or damaged, or the model is not fit to predict.
        """
        folder = self.config.prod_deployment_path
        target = artifacts.current_target(folder)
        if target is None:
            return None
        path = folder / target
        if self._release is None or self._release.path != path:
            self._release = release.unseal_hashes(release.load_release(path), folder)
        return self._release

    def require_release(self) -> Release:
        """Return the release in production, or raise before the first deployment.

        Raises
        ------
        NotMadeYetError
            If nothing is in production.
        ReleaseError
            As for `current_release`.
        """
        current = self.current_release()
        if current is None:
            raise NotMadeYetError(
                "Nothing is in production yet; run python -m scripts.fullprocess."
            )
        return current

    def set_release(self, deployed: Release) -> None:
        """Keep a release just loaded and deployed as the current release."""
        self._release = release.unseal_hashes(deployed, self.config.prod_deployment_path)
