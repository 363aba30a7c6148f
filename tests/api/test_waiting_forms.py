"""Forms of a locked-out address: few wait, and one that arrives whole passes."""

import asyncio
import contextlib
import time
from pathlib import Path

import pytest
import requests

from scripts.api import auth, waiting_forms
from scripts.api.auth import FailedLogins
from scripts.api.waiting_forms import FormEndedError, WaitingForms
from tests.support.service import TOKEN, connect, memory_bytes, served


async def outcome_of(forms: WaitingForms, site: str, duration_s: float) -> str:
    """Wait for a form, and return how the wait ended."""
    try:
        return await forms.wait(site, asyncio.sleep(duration_s, "whole"))
    except FormEndedError:
        return "ended"


def test_a_newer_form_ends_the_one_that_waits_longest() -> None:
    async def main() -> list[str]:
        forms = WaitingForms()
        waits = [outcome_of(forms, "192.0.2.1", 0.1) for _ in range(waiting_forms.MAX_WAITING + 2)]
        return list(await asyncio.gather(*waits))

    assert asyncio.run(main()) == ["ended"] * 2 + ["whole"] * waiting_forms.MAX_WAITING


def test_forms_of_other_addresses_are_left_alone() -> None:
    async def main() -> list[str]:
        forms = WaitingForms()
        sites = [f"192.0.2.{number}" for number in range(20)]
        return list(await asyncio.gather(*(outcome_of(forms, site, 0.05) for site in sites)))

    assert asyncio.run(main()) == ["whole"] * 20


def test_a_form_ended_from_outside_is_not_ended_for_a_newer_one() -> None:
    async def main() -> str:
        task = asyncio.create_task(outcome_of(WaitingForms(), "192.0.2.1", 5))
        await asyncio.sleep(0)
        task.cancel()
        # The form is ended by the cancellation, and not by another answer.
        with contextlib.suppress(asyncio.CancelledError):
            return await task
        return "cancelled"

    assert asyncio.run(main()) == "cancelled"


def test_ended_forms_make_room() -> None:
    async def main() -> list[str]:
        forms = WaitingForms()
        return [await outcome_of(forms, "192.0.2.1", 0) for _ in range(20)]

    assert asyncio.run(main()) == ["whole"] * 20


def test_an_address_is_locked_out_for_a_minute_by_one_token_or_by_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failed, now_s = FailedLogins(), time.monotonic()
    for number in range(auth.MAX_FAILED_LOGINS):
        assert not failed.is_locked_out("192.0.2.1")
        failed.count("192.0.2.1", b"same")
        failed.count("192.0.2.2", f"guess{number}".encode())

    assert failed.is_locked_out("192.0.2.1")
    assert failed.is_locked_out("192.0.2.2")
    assert not failed.is_locked_out("192.0.2.3")
    monkeypatch.setattr(time, "monotonic", lambda: now_s + auth.WINDOW_S + 5)
    assert not failed.is_locked_out("192.0.2.1")


FORM = (
    b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16000\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\ntoken=" + b"x" * 15_000
)


def test_waiting_forms_of_a_locked_out_address_hold_little_and_the_right_token_passes(
    prod: Path, config_path: Path
) -> None:
    with served(config_path, TOKEN, max_body_bytes=2**20) as (url, process):
        for number in range(auth.MAX_FAILED_LOGINS):
            requests.post(f"{url}/login", data={"token": f"guess{number}"}, timeout=5)
        locked_out = requests.post(f"{url}/login", data={"token": "one more"}, timeout=5)
        before = memory_bytes(process)
        waiting = connect(url, FORM, 120)
        time.sleep(0.5)
        held_mb = (memory_bytes(process) - before) / 2**20
        right = requests.post(
            f"{url}/login", data={"token": TOKEN}, timeout=5, allow_redirects=False
        )
        answers = []
        for client in waiting:
            client.settimeout(0.3)
            with contextlib.closing(client), contextlib.suppress(TimeoutError):
                answers.append(client.recv(4096))

    assert locked_out.status_code == 429
    assert right.status_code == 303
    # Most of it are 120 connections.
    assert held_mb < 8
    # The form with the right token was no newer one that waits.
    assert len(answers) >= 120 - waiting_forms.MAX_WAITING
    assert {answer[:12] for answer in answers} == {b"HTTP/1.1 429"}
    assert b"retry-after: 1\r\n" in answers[0]
