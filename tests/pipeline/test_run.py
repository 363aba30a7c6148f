"""Who started a run, for the records."""

import pytest

from scripts.core import console
from scripts.pipeline.run import Request


def test_a_run_by_hand_is_of_the_account_and_another_of_its_trigger(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(console, "actor", lambda: "ada")

    assert Request("hand").actor == "ada"
    assert Request("cron").actor == "cron"
