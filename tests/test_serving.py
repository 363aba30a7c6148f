"""A real server under load while releases, rollbacks and configurations change under it."""

import json
import math
import os
import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from scripts.core import artifacts, files
from scripts.core.config_file import read_config
from scripts.core.errors import ConfigError
from scripts.production import release, rollback
from tests.support.service import FEATURES, make_model, make_row, served, write_release

# The share of the requests before the first change.
QUIET = 0.1
CSV_BODY = f"{','.join(FEATURES)}\n0,7,3\n0,8,4\n"


def name_of(number: int) -> str:
    """Name a release."""
    return f"{number:04d}_20250101T{number:012d}Z"


def intercept_of(name: str) -> float:
    """Return a different intercept for each release."""
    return (int(name.split("_")[0]) - 30) / 20


def probability_of(name: str) -> float:
    """Work out what a release says of a silent month: the sigmoid of its intercept."""
    return 1 / (1 + math.exp(-intercept_of(name)))


@dataclass
class Load:
    """Clients that ask all the time, and what they were told."""

    url: str
    wanted: int
    answered: int = 0
    slowest_s: float = 0.0
    quiet_s: float = 0.0
    faults: list[str] = field(default_factory=list)
    releases: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)
    threads: list[threading.Thread] = field(default_factory=list)

    def ask(self, session: requests.Session, number: int) -> requests.Response:
        """Ask for two rows, as JSON or as a CSV table, or for one, in turns."""
        url, kind = f"{self.url}/predict", number % 3
        if kind == 0:
            headers = {"Content-Type": "text/csv"}
            return session.post(url, data=CSV_BODY, headers=headers, timeout=10)
        rows = [make_row(0)] * kind
        return session.post(url, json={"data": rows}, timeout=10)

    def judge(self, response: requests.Response) -> str:
        """Compare an answer with the model of the named release, and return "" or the fault."""
        if response.status_code != 200:
            return f"{response.status_code}: {response.text[:200]}"
        answer = response.json()
        expected = probability_of(answer["release"])
        self.releases[answer["release"]] += 1
        is_right = all(abs(p - expected) < 1e-12 for p in answer["probabilities"])
        predicted = [float(expected >= 0.5)] * len(answer["probabilities"])
        return "" if is_right and answer["predictions"] == predicted else str(answer)

    def run(self) -> None:
        """Ask until enough has been asked."""
        with requests.Session() as session:
            while self.answered < self.wanted:
                started = time.monotonic()
                try:
                    response = self.ask(session, self.answered)
                    fault = ""
                except requests.RequestException as error:
                    fault = repr(error)
                took_s = time.monotonic() - started
                with self.lock:
                    self.answered += 1
                    self.slowest_s = max(self.slowest_s, took_s)
                    fault = fault or self.judge(response)
                    self.faults += [fault] if fault else []

    def start(self, n_clients: int) -> None:
        """Begin to ask."""
        self.threads = [threading.Thread(target=self.run) for _ in range(n_clients)]
        for thread in self.threads:
            thread.start()

    def wait_for(self, share: float) -> None:
        """Wait until a share of all requests is answered."""
        while self.answered < self.wanted * share and not self.faults:
            time.sleep(0.002)

    def end(self) -> None:
        """Wait for all of them."""
        for thread in self.threads:
            thread.join()


@dataclass
class Changes:
    """Changes under a running service, and how long each took to be seen."""

    url: str
    config_path: Path
    number: int = 1
    took_s: dict[str, list[float]] = field(default_factory=dict)

    @property
    def prod(self) -> Path:
        """The deployment folder."""
        return self.config_path.parent / "prod"

    def measure(
        self, kind: str, change: Callable[[], object], is_seen: Callable[[Any], bool]
    ) -> None:
        """Change something, and ask until an answer shows it."""
        with requests.Session() as session:
            change()
            started = time.monotonic()
            while True:
                asked = time.monotonic()
                response = session.post(
                    f"{self.url}/predict", json={"data": [make_row(0)]}, timeout=10
                )
                if is_seen(response.json()):
                    break
                assert asked - started < 10, f"a {kind} was not seen: {response.text}"
            self.took_s.setdefault(kind, []).append(time.monotonic() - started)

    def deploy(self) -> None:
        """Deploy a release with another model."""
        self.number += 1
        name = name_of(self.number)
        made = write_release(self.prod, name, make_model(intercept_of(name)))
        self.measure(
            "deployment",
            lambda: release.switch(self.prod, made),
            lambda answer: answer["release"] == name,
        )

    def roll_back(self) -> None:
        """Go back to an earlier release, as the command does."""
        config, wanted = read_config(self.config_path), name_of(max(1, self.number // 2))
        self.measure(
            "rollback",
            lambda: rollback.main(config, release_name=wanted, reason="a test"),
            lambda answer: answer["release"] == wanted,
        )

    def edit(self) -> None:
        """Edit the limits of the bands."""
        settings = json.loads(self.config_path.read_text())
        is_low = settings["api"].get("high_risk_from", 1.0) > 0.5
        limits = (0.0, 0.0) if is_low else (1.0, 1.0)
        settings["api"] |= dict(zip(("medium_risk_from", "high_risk_from"), limits, strict=True))
        wanted = "high" if is_low else "low"
        self.measure(
            "config edit",
            lambda: files.write_whole(self.config_path, json.dumps(settings)),
            lambda answer: answer["risk_bands"] == [wanted],
        )

    def describe(self) -> str:
        """Describe the number of changes of each kind, and the longest delay."""
        return ", ".join(
            f"{len(took)} x {kind} seen after at most {max(took) * 1000:.0f} ms"
            for kind, took in self.took_s.items()
        )


def begin(config_path: Path) -> Changes:
    """Let the first release serve, of which another model is expected than of the fixtures'."""
    changes = Changes("", config_path)
    made = write_release(changes.prod, name_of(1), make_model(intercept_of(name_of(1))))
    release.switch(changes.prod, made)
    return changes


def check_changes(config_path: Path, n_requests: int, events: list[str]) -> str:
    """Change files while clients ask, and return the counts."""
    changes = begin(config_path)
    with served(config_path, output=subprocess.DEVNULL) as (url, _):
        changes.url = url
        load = Load(url, n_requests)
        load.start(4)
        try:
            # What the machine, busy or not, takes at most while nothing changes.
            load.wait_for(QUIET)
            load.quiet_s, load.slowest_s = load.slowest_s, 0.0
            for position, event in enumerate(events):
                load.wait_for(QUIET + (1 - QUIET) * position / len(events))
                getattr(changes, event)()
        finally:
            load.wanted = load.wanted if not load.faults else 0
            load.end()
    assert load.faults == []
    assert load.answered >= n_requests
    assert len(load.releases) > events.count("deploy") / 2
    allowed_s = max(1.0, 3 * load.quiet_s)
    seen_s = max(took for kind in changes.took_s.values() for took in kind)
    assert seen_s < allowed_s, changes.describe()
    assert load.slowest_s < allowed_s, f"{load.slowest_s:.3f} s, and {load.quiet_s:.3f} s before"
    return (
        f"{load.answered} requests, all answered by the model of the release they name"
        f" ({len(load.releases)} releases), the slowest in {load.slowest_s * 1000:.0f} ms, before"
        f" the changes in {load.quiet_s * 1000:.0f} ms;"
        f" {changes.describe()}"
    )


def test_changes_are_served_within_a_second_and_fail_nothing(config_path: Path) -> None:
    told = check_changes(config_path, 600, ["deploy", "deploy", "edit", "roll_back", "deploy"])

    print(told)


@pytest.mark.campaign
def test_campaign_10000_requests_over_60_changes(config_path: Path) -> None:
    events = (["deploy"] * 10 + ["edit", "roll_back"]) * 5

    print(check_changes(config_path, 10_000, events))


@pytest.mark.campaign
def test_campaign_100_rollbacks_under_load(config_path: Path) -> None:
    events = ["deploy"] * 4 + ["roll_back", "deploy"] * 10 + ["deploy", "roll_back"] * 90

    print(check_changes(config_path, 20_000, events))


# A damaged release in a running service


def check_flips(config_path: Path, positions: Callable[[int], range]) -> str:
    """Flip the bytes of a release in turn, deploy each, and return the counts."""
    changes = begin(config_path)
    good = changes.prod / artifacts.CURRENT
    link = os.readlink(good)
    damaged = write_release(changes.prod, name_of(2), make_model(intercept_of(name_of(2))))
    stamp = f'"model_stamp":"{name_of(2)[5:]}"'.encode()
    counts: Counter[str] = Counter()
    with served(config_path, output=subprocess.DEVNULL) as (url, _), requests.Session() as session:
        body = {"data": [make_row(0)]}
        for path in sorted(damaged.iterdir()):
            content = path.read_bytes()
            at = content.find(stamp)
            for position in positions(len(content)):
                flipped = bytes([content[position] ^ 1])
                path.write_bytes(content[:position] + flipped + content[position + 1 :])
                files.replace_link(good, f"{artifacts.RELEASES}/{damaged.name}")
                answer = session.post(f"{url}/predict", json=body, timeout=10).json()
                name = answer["release"]
                # The model's stamp, a name, is the one thing that is written down only once.
                may_pass = 0 <= position - at < len(stamp)
                assert name == name_of(1) or may_pass, (path, position)
                assert answer["probabilities"] == pytest.approx([probability_of(name)], abs=1e-12)
                if name == name_of(1):
                    health = session.get(f"{url}/health", timeout=10)
                    assert health.status_code == 200
                    assert damaged.name in health.json()["errors"][0], (path, position)
                counts["taken" if name != name_of(1) else "refused"] += 1
                path.write_bytes(content)
                files.replace_link(good, link)
                answer = session.post(f"{url}/predict", json=body, timeout=10).json()
                assert answer["release"] == name_of(1)
    return (
        f"{counts['refused']} flipped bytes refused with a reason in /health, {counts['taken']}"
        " of the model's stamp alone taken; every answer right"
    )


def test_a_flipped_byte_is_refused_by_the_running_service(config_path: Path) -> None:
    print(check_flips(config_path, lambda length: range(0, length, max(1, length // 8))))


@pytest.mark.campaign
def test_campaign_every_flipped_byte_is_refused_by_the_running_service(config_path: Path) -> None:
    print(check_flips(config_path, range))


# A broken configuration in a running service

WRONG = ["null", "true", "-1", "0", "1e999", '""', '"\\u0000"', "[]", "{}", '"x"', "[[1]]", "NaN"]


def break_config(chance: random.Random, good: bytes) -> bytes:
    """Break a configuration in a random way, perhaps harmlessly."""
    kind, text = chance.randrange(9), good.decode()
    place = chance.randrange(len(good))
    if kind == 0:
        return good[:place]
    if kind == 1:
        return good[:place] + bytes([chance.randrange(256)]) + good[place + 1 :]
    if kind == 2:
        return good[:place] + chance.randbytes(chance.randrange(1, 20)) + good[place:]
    if kind == 3:
        return chance.randbytes(chance.randrange(2000))
    if kind == 4:
        return good[:place] + good[place + chance.randrange(1, 30) :]
    settings = json.loads(text)
    key = chance.choice([*settings, "schema", "training", "alerts", "retention", "worklist"])
    if kind == 5:
        settings.pop(key, None)
        settings.pop(chance.choice([*settings]), None)
    elif kind == 6:
        settings[key + chance.choice("sx_ ")] = chance.choice([1, {}, "a"])
    spelled = json.dumps(settings)
    if kind == 7:
        # A value that cannot be right, deep in a section as well.
        inner = chance.choice(["port", "max_rows", "target", "C", "ids", "workers", "host", key])
        wrong = chance.choice(WRONG)
        value = chance.choice([wrong, f'{{"{inner}": {wrong}}}'])
        return spelled[:-1].encode() + f', "{key}x": 1, "{key}": {value}}}'.encode()
    if kind == 8:
        return (b"[" if chance.random() < 0.5 else b'{"a":') * chance.randrange(1, 100_000)
    return spelled.encode()


def faults_of(session: requests.Session, url: str) -> list[str]:
    """Ask for the faults, except missing records."""
    health = session.get(f"{url}/health", timeout=10)
    assert health.status_code == 200
    return [fault for fault in health.json()["errors"] if "records" not in fault]


def check_broken_configs(config_path: Path, n_configs: int) -> str:
    """Break the configuration of a running service again and again, and return the counts."""
    begin(config_path)
    chance, counts = random.Random(n_configs), Counter[str]()
    with served(config_path, output=subprocess.DEVNULL) as (url, _), requests.Session() as session:
        good = config_path.read_bytes()
        body = {"data": [make_row(0)]}
        for number in range(n_configs):
            broken = break_config(chance, good)
            # Half of them in place, as some editors write, and half whole.
            if number % 2:
                config_path.write_bytes(broken)
            else:
                files.write_whole(config_path, broken.decode("latin-1").encode("latin-1"))
            answer = session.post(f"{url}/predict", json=body, timeout=10)
            faults = faults_of(session, url)
            try:
                read_config(config_path)
                is_refused = False
            except ConfigError:
                is_refused = True
            assert answer.status_code == 200, broken
            assert answer.json()["release"] == name_of(1)
            assert answer.json()["probabilities"] == pytest.approx([probability_of(name_of(1))])
            assert faults or not is_refused, broken
            counts["refused" if is_refused else "right after all"] += 1
            config_path.write_bytes(good)
            answer = session.post(f"{url}/predict", json=body, timeout=10)
            assert answer.status_code == 200
            assert faults_of(session, url) == []
    return f"{n_configs} configurations in a running service: {dict(counts)}; it answered all along"


def test_broken_configurations_never_stop_a_running_service(config_path: Path) -> None:
    print(check_broken_configs(config_path, 40))


@pytest.mark.campaign
def test_campaign_1000_broken_configurations(config_path: Path) -> None:
    print(check_broken_configs(config_path, 1000))
