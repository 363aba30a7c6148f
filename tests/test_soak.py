"""Hundreds of ticks while files come, change and go, against a model of what should serve."""

import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from scripts import fullprocess
from scripts.core import config_file
from scripts.core.errors import DatasetError
from scripts.pipeline import steps
from scripts.production import release
from scripts.records import database, runs, tables
from scripts.records.tables import Status, Verdict
from tests.conftest import HEADER, make_rows, write_csv

NAMES = [f"{letter}.csv" for letter in "abcd"]
KEPT_RUNS, KEPT_RELEASES, KEPT_HISTORY = 4, 3, 40


def rows_of(texts: list[str]) -> list[str]:
    """Return the distinct rows of files in order."""
    lines = [line for text in texts for line in text.splitlines() if line != HEADER]
    return list(dict.fromkeys(lines))


def split(rows: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Split rows into features and labels, without the identifier in the first cell."""
    cells = np.array([row.split(",")[1:] for row in rows], dtype=float)
    return cells[:, :3], cells[:, 3].astype(int)


def f1(y: np.ndarray, predicted: np.ndarray) -> float | None:
    """Compute F1 from its definition."""
    both, either = int((y & predicted).sum()), int(y.sum() + predicted.sum())
    return 2 * both / either if either else None


class Expected:
    """What should happen, worked out from the files with scikit-learn alone."""

    def __init__(self) -> None:
        self.production: LogisticRegression | None = None
        self.decided: object = None
        self.verdict: Verdict | None = None
        self.n_deployed = 0

    def fit(self, rows: list[str]) -> LogisticRegression | None:
        """Fit the expected model of the pipeline, None for insufficient data."""
        X, y = split(rows)
        try:
            X, _, y, _ = train_test_split(X, y, test_size=0.1, random_state=42)
        except ValueError:
            return None
        if len(set(y)) < 2:
            return None
        return LogisticRegression(solver="newton-cholesky", max_iter=1000).fit(X, y)

    def decide(self, rows: list[str], test_rows: list[str]) -> Verdict:
        """Return the expected decision of a training run."""
        X, y = split(test_rows)
        candidate = self.fit(rows)
        if candidate is None:
            return Verdict.INSUFFICIENT
        candidate_f1 = f1(y, candidate.predict(X))
        if candidate_f1 is None or len(set(y)) < 2:
            return Verdict.INSUFFICIENT
        if self.production is not None:
            production_f1 = f1(y, self.production.predict(X))
            if production_f1 is not None and candidate_f1 <= production_f1:
                return Verdict.HELD
        self.production = candidate
        self.n_deployed += 1
        return Verdict.DEPLOYED

    def tick(self, inputs: dict[str, str], tests: dict[str, str]) -> Verdict | None:
        """Say what a run should come to; None if it should fail."""
        contents = [sorted(texts.values()) for texts in (inputs, tests)]
        is_idle = contents == self.decided
        if is_idle and (self.production is not None or self.verdict is Verdict.INSUFFICIENT):
            return Verdict.NOTHING_NEW
        rows = rows_of([inputs[name] for name in sorted(inputs)])
        if not rows:
            return None
        self.verdict = self.decide(rows, rows_of([tests[name] for name in sorted(tests)]))
        self.decided = contents
        return self.verdict


class Soak(RuleBasedStateMachine):
    """An installation whose files come, change and go, with a run after each change."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        settings_of_it = {
            "input_folder_path": "input",
            "output_folder_path": "output",
            "test_data_path": "test",
            "output_model_path": "models",
            "prod_deployment_path": "prod",
            "ingestion": {"settle_s": 0},
            "training": {"decision_threshold": 0.5},
            "promotion": {"min_probability": 0},
            "retention": {
                "runs": KEPT_RUNS, "releases": KEPT_RELEASES, "history": KEPT_HISTORY,
            },
        }  # fmt: skip
        (self.root / "config.json").write_text(json.dumps(settings_of_it))
        self.config = config_file.read_config(self.root / "config.json")
        self.inputs: dict[str, str] = {}
        self.tests: dict[str, str] = {}
        (self.root / "input").mkdir()
        self.put("test", "t.csv", make_rows(60, 1000, noise=0.3))
        self.expected = Expected()
        self.n_ticks = 0
        self.verdicts: Counter[str] = Counter()
        self.sizes: list[int] = []

    def teardown(self) -> None:
        """Remove the installation."""
        shutil.rmtree(self.root)

    def put(self, folder: str, name: str, rows: list[str]) -> None:
        """Write a file, and remember what is in it."""
        texts = self.inputs if folder == "input" else self.tests
        texts[name] = write_csv(self.root / folder / name, rows).read_text()

    @rule(name=st.sampled_from(NAMES), n_rows=st.integers(1, 40), seed=st.integers(0, 99))
    def arrive(self, name: str, n_rows: int, seed: int) -> None:
        """Let a file come, or change."""
        self.put("input", name, make_rows(n_rows, seed, noise=(seed % 5) / 5))
        self.tick()

    @rule(name=st.sampled_from(NAMES))
    def vanish(self, name: str) -> None:
        """Let a file go."""
        (self.root / "input" / name).unlink(missing_ok=True)
        self.inputs.pop(name, None)
        self.tick()

    @rule(name=st.sampled_from(NAMES), other=st.sampled_from(NAMES))
    def rename(self, name: str, other: str) -> None:
        """Rename a file over any present file."""
        if name in self.inputs and name != other:
            (self.root / "input" / name).rename(self.root / "input" / other)
            self.inputs[other] = self.inputs.pop(name)
        self.tick()

    @rule(n_rows=st.integers(2, 60), seed=st.integers(1000, 1010))
    def judge_anew(self, n_rows: int, seed: int) -> None:
        """Let the test data change."""
        self.put("test", "t.csv", make_rows(n_rows, seed, noise=0.3))
        self.tick()

    @rule()
    def wait(self) -> None:
        """Let a tick pass without anything new."""
        self.tick()

    def run(self) -> Verdict | None:
        """Do a full process, and return None for a failure."""
        try:
            return fullprocess.main(self.config)
        except DatasetError:
            return None

    def tick(self) -> None:
        """Run, and compare with what should have happened."""
        self.n_ticks += 1
        expected = self.expected.tick(self.inputs, self.tests)

        verdict = self.run()

        assert verdict == expected, (verdict, expected)
        self.verdicts[str(verdict or "failed")] += 1
        self.check_production()
        self.check_records(verdict)
        self.check_disk()

    def check_production(self) -> None:
        """Check that what should serve does."""
        current = release.load_current(self.config.prod_deployment_path)
        should = self.expected.production
        if should is None or current is None:
            assert should is None
            assert current is None
            return
        ours = [term.coefficient for term in current.model.numeric]
        assert np.allclose(ours, should.coef_[0], rtol=1e-9, atol=1e-12)

    def check_records(self, verdict: Verdict | None) -> None:
        """Check that no run, decision or deployment is lost."""
        with (
            database.open_records(self.config.database_url) as engine,
            database.reading(engine) as connection,
        ):
            (run,) = runs.latest_runs(connection, 1)
            deployments = runs.list_deployments(connection, 10_000)
            n_runs = len(runs.newest_rows(connection, tables.runs, 10**6))
        assert run["id"] == self.n_ticks
        assert run["verdict"] == verdict
        assert run["status"] == (Status.FAILED if verdict is None else Status.FINISHED)
        assert len(deployments) == self.expected.n_deployed
        n_idle = self.verdicts[Verdict.NOTHING_NEW]
        assert n_runs >= self.n_ticks - max(0, n_idle)

    def check_disk(self) -> None:
        """Check that only what retention keeps is there."""
        models = len(list(self.root.glob("models/model_*.json")))
        releases = len(list(self.root.glob("prod/releases/*")))
        # What serves and what a rollback would lead to stay, however old they are.
        assert models <= KEPT_RUNS + 1
        assert releases <= KEPT_RELEASES + 2
        assert not list(self.root.rglob(".*.tmp"))
        database_path = self.root / "adras.db"
        files = [path for path in self.root.rglob("*") if path.is_file() and path != database_path]
        self.sizes.append(sum(path.lstat().st_size for path in files))


@pytest.fixture(autouse=True)
def only_the_decisions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what a run does after its decision."""
    monkeypatch.setattr(steps, "report", lambda *_run: None)


def soak(n_ticks: int) -> Soak:
    """Let one installation live through so many changes."""
    chance, place = Random(n_ticks), Soak()
    for _ in range(n_ticks):
        chosen = chance.random()
        if chosen < 0.45:
            place.arrive(chance.choice(NAMES), chance.randint(1, 40), chance.randrange(100))
        elif chosen < 0.6:
            place.vanish(chance.choice(NAMES))
        elif chosen < 0.7:
            place.rename(chance.choice(NAMES), chance.choice(NAMES))
        elif chosen < 0.8:
            place.judge_anew(chance.randint(2, 60), chance.randint(1000, 1010))
        else:
            place.wait()
    return place


def check_flat(place: Soak) -> None:
    """Check that the second half of a soak took no more room than the first, but for its rows."""
    half = len(place.sizes) // 2
    assert max(place.sizes[half:]) <= 1.5 * max(place.sizes[:half])


def test_what_serves_is_what_should_after_each_of_12_ticks() -> None:
    soak(12).teardown()


def test_what_serves_is_what_should_in_sequences_nobody_thought_of() -> None:
    run_state_machine_as_test(
        Soak, settings=settings(max_examples=2, stateful_step_count=5, deadline=None)
    )


@pytest.mark.campaign
def test_a_soak_of_500_ticks_loses_nothing_and_stays_flat(
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = soak(500)

    check_flat(place)
    database_bytes = (place.root / "adras.db").stat().st_size
    place.teardown()
    with capsys.disabled():
        print(
            f"\n500 ticks: {dict(place.verdicts)}; files {max(place.sizes[:250])} bytes at most in"
            f" the first half, {max(place.sizes[250:])} in the second; records {database_bytes}"
        )


@pytest.mark.campaign
def test_50_sequences_of_ticks_leave_what_should_serve(capsys: pytest.CaptureFixture[str]) -> None:
    run_state_machine_as_test(
        Soak, settings=settings(max_examples=50, stateful_step_count=10, deadline=None)
    )
    with capsys.disabled():
        print("\n50 sequences of up to 10 ticks, production right after each")
