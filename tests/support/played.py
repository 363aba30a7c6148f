"""A small company of the demo, played once for all tests that look at lists, calls and outcomes."""

import pytest

from examples import demo
from examples.demo import Demo
from scripts.pipeline import steps


class Ended:
    """A backtest that has ended."""

    def kill(self) -> None:
        """Do nothing."""


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """A demo of few clients and months, without charts and backtest, which take the most time."""
    made = Demo(tmp_path_factory.mktemp("played") / "demo", n_clients=100, n_months=4)
    demo.prepare(made)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "start_backtest", lambda *_args: Ended())
        patch.setattr(demo, "finish_backtest", lambda *_args: None)
        patch.setattr(steps, "report", lambda *_args: None)
        demo.play(made)
    return made
