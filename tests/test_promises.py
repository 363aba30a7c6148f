"""Promises that no single module keeps: what counts as new, and what never runs or gets out."""

import json
import logging
import os
import pickle
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from scripts import fullprocess
from scripts.core import artifacts, config
from scripts.core.config import Config
from scripts.core.files import KnownFile
from scripts.pipeline import snapshot
from scripts.records.tables import Verdict
from tests.conftest import HEADER, make_rows, write_csv


@pytest.fixture(autouse=True)
def nobody_to_ask(config_path: Path) -> None:
    """Let there be no service: port 1 is nobody's."""
    written = json.loads(config_path.read_text())
    config_path.write_text(json.dumps(written | {"api": {"port": 1}}))


NAMES = st.sampled_from(["a.csv", "b.csv", "c.csv"])
CONTENTS = st.sampled_from(["", "x", "y", HEADER, f"{HEADER}\na,1,2,3,1\n"])


class InputFolder(RuleBasedStateMachine):
    """A folder that people work in, beside the contents it should have."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        for name in ("input", "test"):
            (self.root / name).mkdir()
        self.config = Config(
            input_folder_path=self.root / "input",
            output_folder_path=self.root / "output",
            test_data_path=self.root / "test",
            output_model_path=self.root / "models",
            prod_deployment_path=self.root / "prod",
            ingestion=config.IngestionSettings(settle_s=0),
        )
        self.contents: dict[str, str] = {}
        self.known: dict[str, KnownFile] = {}
        self.seen: dict[frozenset[tuple[str, int]], str] = {}
        # Files often have equal times, and one file never has the same time twice.
        self.times: dict[str, int] = {}

    def teardown(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.root)

    def path(self, name: str) -> Path:
        """Name a file of the folder."""
        return self.root / "input" / name

    @rule(name=NAMES, content=CONTENTS)
    def write(self, name: str, content: str) -> None:
        """Write a file in place, each change with a different time."""
        self.path(name).write_text(content)
        os.utime(self.path(name), (self.times.get(name, 0) + 1,) * 2)
        self.times[name] = self.times.get(name, 0) + 1
        self.contents[name] = content

    @rule(name=NAMES)
    def touch(self, name: str) -> None:
        """Change the time of a file."""
        if self.path(name).exists():
            self.times[name] = self.times.get(name, 0) + 1
            os.utime(self.path(name), (self.times[name],) * 2)

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        """Remove a file."""
        self.path(name).unlink(missing_ok=True)
        self.contents.pop(name, None)
        self.times.pop(name, None)

    @rule(source=NAMES, other=NAMES)
    def rename(self, source: str, other: str) -> None:
        """Rename a file over any present file."""
        if source in self.contents and source != other:
            self.path(source).rename(self.path(other))
            self.contents[other] = self.contents.pop(source)
            self.times[other] = self.times[source]

    @rule(source=NAMES, other=NAMES)
    def swap(self, source: str, other: str) -> None:
        """Let two files change names, which changes neither their times nor their sizes."""
        if source in self.contents and other in self.contents and source != other:
            self.path(source).rename(self.root / "aside")
            self.path(other).rename(self.path(source))
            (self.root / "aside").rename(self.path(other))
            self.times[source], self.times[other] = self.times[other], self.times[source]
            pair = self.contents[source], self.contents[other]
            self.contents[other], self.contents[source] = pair

    @rule(name=NAMES, content=CONTENTS)
    def write_unfinished(self, name: str, content: str) -> None:
        """Write under a name that does not count yet."""
        self.path(f"{name}.part").write_text(content)
        self.path(f".{name}").write_text(content)

    @invariant()
    def the_fingerprint_tells_contents_apart_and_nothing_else(self) -> None:
        """Equal contents have one fingerprint, others another."""
        taken = snapshot.take_snapshot(self.config, self.known)
        self.known = taken.known
        held = frozenset(Counter(self.contents.values()).items())
        assert self.seen.setdefault(held, taken.fingerprint) == taken.fingerprint
        assert len(set(self.seen.values())) == len(self.seen)


def run_sequences(n_sequences: int) -> None:
    """Work in folders in so many ways."""
    run_state_machine_as_test(
        InputFolder, settings=settings(max_examples=n_sequences, deadline=None)
    )


def test_only_changed_content_is_new() -> None:
    run_sequences(20)


def test_another_file_of_the_same_size_and_time_under_a_name_is_new(config: Config) -> None:
    first, second = (config.input_folder_path / name for name in ("a.csv", "b.csv"))
    first.write_text("x")
    second.write_text("y")
    for path in (first, second):
        os.utime(path, (1, 1))
    before = snapshot.take_snapshot(config, {})

    first.rename(second)
    first.write_text("x")

    after = snapshot.take_snapshot(config, before.known)
    assert after.fingerprint != before.fingerprint


@pytest.mark.campaign
def test_only_changed_content_is_new_in_200_sequences(capsys: pytest.CaptureFixture[str]) -> None:
    run_sequences(200)
    with capsys.disabled():
        print("\n200 sequences of changes, every fingerprint right")


class Bomb:
    """An object whose unpickling leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Return the call made by unpickling."""
        return os.mkdir, (str(self.mark),)


def test_a_hostile_pickle_in_every_folder_never_runs(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "mark"
    bomb = pickle.dumps(Bomb(mark))
    monkeypatch.setattr(pickle, "dumps", lambda _estimator: bomb)
    for folder in (config.input_folder_path, config.test_data_path, config.output_folder_path):
        folder.mkdir(exist_ok=True)
        (folder / "x.csv").write_bytes(bomb)
        (folder / "trainedmodel.pkl").write_bytes(bomb)

    assert fullprocess.main(config) is Verdict.DEPLOYED
    write_csv(config.input_folder_path / "more.csv", make_rows(200, 3))
    fullprocess.main(config)

    assert (config.prod_deployment_path / "trainedmodel.pkl").read_bytes() == bomb
    assert not mark.exists()


def test_a_whole_run_tells_no_log_and_no_record_what_a_client_is_called(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    canary = "CANARY4711"
    rows = [f"{canary},1,2,3,1", f"x,{canary},2,3,1", f"y,1,2,3,{canary}", f'"{canary},1,2,3,0']
    write_csv(config.input_folder_path / "c.csv", rows)
    write_csv(config.test_data_path / "d.csv", rows)
    (config.input_folder_path / "e.csv").write_text(f"{canary},1\n{canary},2\n")

    fullprocess.main(config)
    (config.input_folder_path / "f.csv").write_text("\n".join(rows))
    fullprocess.main(config)

    assert "Rejected" in caplog.text
    assert canary not in caplog.text
    records = Path(config.database_url.removeprefix("sqlite:///"))
    assert canary.encode() not in records.read_bytes()
    # What leaves the folders of tables is what is served: the release.
    (release, *_) = artifacts.list_releases(config.prod_deployment_path)
    assert not [p for p in release.iterdir() if canary.encode() in p.read_bytes()]
