"""A new release or config serves at once; a damaged one never does."""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient

from scripts.api import serving_state
from scripts.core import artifacts, files
from scripts.production import release
from tests.support.service import (
    FIRST,
    SECOND,
    answer_of,
    edit_config,
    make_model,
    make_row,
    predict,
    problem_of,
    switch,
    write_release,
)

# Renewal while serving


def test_a_new_release_is_served_at_once(client: FlaskClient, prod: Path) -> None:
    write_release(prod, SECOND, make_model(intercept=0.0), f1=0.875)

    switch(prod, SECOND)

    # With the intercept 0 a silent month has odds 1.
    answer = answer_of(predict(client, make_row(0)))
    assert (answer["probabilities"], answer["release"]) == ([0.5], SECOND)
    assert answer_of(client.get("/score"))["score"] == 0.875


def test_a_rollback_is_a_new_release_too(client: FlaskClient, prod: Path) -> None:
    write_release(prod, SECOND, make_model())
    switch(prod, SECOND)
    answer_of(client.get("/score"))

    switch(prod, FIRST)

    assert answer_of(client.get("/score"))["release"] == FIRST


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every request look again at what was bad."""
    monkeypatch.setattr(serving_state, "RETRY_S", 0.0)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", [*release.FILES, release.MANIFEST])
@pytest.mark.parametrize("damage", ["cut", "flipped", "removed"])
def test_a_damaged_release_keeps_the_old_answers(
    client: FlaskClient, prod: Path, name: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_release(prod, SECOND, make_model(intercept=0.0))
    content = (folder / name).read_bytes()
    if damage == "removed":
        (folder / name).unlink()
    else:
        flipped = bytes([content[0] ^ 1]) + content[1:]
        (folder / name).write_bytes(content[:-1] if damage == "cut" else flipped)
    switch(prod, SECOND)

    with caplog.at_level(logging.ERROR):
        answers = [answer_of(predict(client, make_row(0))) for _ in range(3)]
    health = answer_of(client.get("/health"))

    assert [answer["release"] for answer in answers] == [FIRST] * 3
    assert answers[0]["probabilities"] == pytest.approx([3 / 4])
    assert health["ready"]
    assert f"prod/releases/{SECOND}/{name}" in health["errors"][0]
    assert str(prod.parent) not in health["errors"][0]
    assert len(caplog.records) == 1


def test_a_model_that_cannot_predict_is_refused(client: FlaskClient, prod: Path) -> None:
    unfit = msgspec.structs.replace(make_model(), format=99)
    write_release(prod, SECOND, unfit)

    switch(prod, SECOND)

    assert answer_of(client.get("/score"))["release"] == FIRST
    assert "format 99" in answer_of(client.get("/health"))["errors"][0]


def test_the_last_good_release_serves_when_current_is_removed(
    client: FlaskClient, prod: Path
) -> None:
    (prod / artifacts.CURRENT).unlink()

    assert answer_of(client.get("/score"))["release"] == FIRST
    assert "no release" in answer_of(client.get("/health"))["errors"][0]


def test_the_last_good_release_serves_when_current_is_no_link(
    client: FlaskClient, prod: Path
) -> None:
    (prod / artifacts.CURRENT).unlink()
    (prod / artifacts.CURRENT).mkdir()

    assert answer_of(client.get("/score"))["release"] == FIRST
    assert "not a symbolic link" in answer_of(client.get("/health"))["errors"][0]


@pytest.mark.usefixtures("impatient")
def test_a_release_repaired_in_place_is_taken_up_later(client: FlaskClient, prod: Path) -> None:
    folder = write_release(prod, SECOND, make_model())
    content = (folder / release.MODEL).read_bytes()
    (folder / release.MODEL).unlink()
    switch(prod, SECOND)
    assert answer_of(client.get("/score"))["release"] == FIRST

    (folder / release.MODEL).write_bytes(content)

    assert answer_of(client.get("/score"))["release"] == SECOND
    assert answer_of(client.get("/health"))["errors"] == []


def test_an_edited_config_holds_at_once(client: FlaskClient, config_path: Path) -> None:
    edit_config(config_path, api={"max_rows": 1}, input_folder_path="sourcedata")

    problem = problem_of(predict(client, make_row(), make_row()), 422)

    assert "at most 1 rows" in problem["detail"]
    assert answer_of(client.get("/health"))["input_folder"] == "sourcedata"


def test_an_edited_config_can_name_another_deployment_folder(
    client: FlaskClient, config_path: Path
) -> None:
    other = config_path.parent / "elsewhere" / "prod"
    write_release(other, SECOND, make_model())
    switch(other, SECOND)

    edit_config(config_path, prod_deployment_path="elsewhere/prod")

    assert answer_of(client.get("/score"))["release"] == SECOND


BROKEN_CONFIGS = [
    b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe", b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000,
    b'{"input_folder_path": 1}', b'{"inputfolder": "x"}', b"\x00",
]  # fmt: skip


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("content", BROKEN_CONFIGS, ids=[f"{c[:20]!r}" for c in BROKEN_CONFIGS])
def test_a_broken_config_keeps_serving(
    client: FlaskClient, config_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    good = config_path.read_bytes()
    config_path.write_bytes(content)

    with caplog.at_level(logging.ERROR):
        releases = [answer_of(predict(client, make_row()))["release"] for _ in range(3)]
    faults = answer_of(client.get("/health"))["errors"]
    config_path.write_bytes(good)

    assert releases == [FIRST] * 3
    assert len(faults) == len(caplog.records) == 1
    assert answer_of(client.get("/health"))["errors"] == []


@pytest.mark.parametrize("folder", ["nowhere", "config.json", "\x00", "input/a.csv/deeper"])
def test_a_config_that_points_to_no_release_keeps_serving(
    client: FlaskClient, config_path: Path, folder: str
) -> None:
    edit_config(config_path, prod_deployment_path=folder)

    assert answer_of(predict(client, make_row()))["release"] == FIRST
    assert len(answer_of(client.get("/health"))["errors"]) == 1


def put_pipe(path: Path) -> None:
    """Make a named pipe without a writer."""
    os.mkfifo(path)


def put_endless(path: Path) -> None:
    """Make a link to an endless device."""
    path.symlink_to("/dev/zero")


def put_huge(path: Path) -> None:
    """Make a sparse file of a terabyte."""
    with path.open("wb") as handle:
        handle.truncate(2**40)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("put", "reason"),
    [
        (put_pipe, "no regular file"),
        (put_endless, "no regular file"),
        (put_huge, "more than 1048576 bytes"),
        (Path.mkdir, "Is a directory"),
    ],
)
def test_a_config_that_is_no_small_file_keeps_serving_until_it_is_one_again(
    client: FlaskClient, config_path: Path, put: Callable[[Path], None], reason: str
) -> None:
    good = config_path.read_bytes()
    config_path.unlink()
    put(config_path)

    releases = [answer_of(predict(client, make_row()))["release"] for _ in range(3)]
    faults = answer_of(client.get("/health"))["errors"]
    files.remove(config_path)
    config_path.write_bytes(good)
    edit_config(config_path, input_folder_path="sourcedata")

    assert releases == [FIRST] * 3
    assert reason in faults[0]
    health = answer_of(client.get("/health"))
    assert (health["errors"], health["input_folder"]) == ([], "sourcedata")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", ["read_config", "load_current", "make_fast_predictor"])
@pytest.mark.parametrize("error", [MemoryError, KeyError("x"), RecursionError("deep")])
def test_whatever_a_renewal_raises_the_last_good_one_serves(
    client: FlaskClient,
    prod: Path,
    config_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    error: Exception,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    write_release(prod, SECOND, make_model(intercept=0.0))
    with monkeypatch.context() as broken:
        broken.setattr(serving_state, name, fail)
        edit_config(config_path, input_folder_path="sourcedata")
        switch(prod, SECOND)
        during = answer_of(predict(client, make_row(0)))
        health = answer_of(client.get("/health"))
    after = answer_of(predict(client, make_row(0)))

    config_only = name == "read_config"
    assert during["release"] == (SECOND if config_only else FIRST)
    assert during["probabilities"] == pytest.approx([1 / 2 if config_only else 3 / 4])
    assert len(health["errors"]) == 1
    assert (after["release"], after["probabilities"]) == (SECOND, [0.5])
    assert answer_of(client.get("/health"))["errors"] == []


def test_a_removed_config_keeps_serving(client: FlaskClient, config_path: Path) -> None:
    config_path.unlink()

    assert answer_of(predict(client, make_row()))["release"] == FIRST
    assert "config.json cannot be read" in answer_of(client.get("/health"))["errors"][0]


def test_answers_during_switches_are_those_of_the_release_they_name(
    client: FlaskClient, prod: Path, config_path: Path
) -> None:
    write_release(prod, SECOND, make_model(intercept=0.0), f1=0.875)
    expected = {FIRST: 3 / 4, SECOND: 1 / 2}
    answers: list[tuple[int, dict[str, Any]]] = []
    app = client.application

    def ask_often() -> None:
        mine = app.test_client()
        for _ in range(500):
            response = predict(mine, make_row(0), make_row(0))
            answers.append((response.status_code, response.get_json()))

    threads = [threading.Thread(target=ask_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(10):
        time.sleep(0.02)
        switch(prod, (SECOND, FIRST)[number % 2])
        edit_config(config_path, api={"max_rows": 100 + number})
    for thread in threads:
        thread.join()

    assert len(answers) == 2000
    assert {status for status, _ in answers} == {200}
    assert {answer["release"] for _, answer in answers} == {FIRST, SECOND}
    for _, answer in answers:
        assert answer["probabilities"] == pytest.approx([expected[answer["release"]]] * 2)


def test_threads_serve_on_while_one_loads(
    client: FlaskClient, prod: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading, may_end = threading.Event(), threading.Event()

    def load_slowly(folder: Path) -> release.Release | None:
        loading.set()
        may_end.wait(10)
        return release.load_current(folder)

    monkeypatch.setattr(serving_state, "load_current", load_slowly)
    write_release(prod, SECOND, make_model())
    switch(prod, SECOND)
    slow = threading.Thread(target=lambda: client.application.test_client().get("/score"))
    slow.start()
    assert loading.wait(10)

    meanwhile = answer_of(client.get("/score"))
    may_end.set()
    slow.join()

    assert meanwhile["release"] == FIRST
    assert answer_of(client.get("/score"))["release"] == SECOND
