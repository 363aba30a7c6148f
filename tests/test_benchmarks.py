"""The other sides of the benchmarks answer, so that ours are compared with something."""

from pathlib import Path

import pytest
import requests

from benchmarks import servers


def test_the_empty_and_the_plain_side_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    with servers.running_plain(servers.prepare(tmp_path)) as plain:
        empty = requests.get(f"{plain.url}/empty", timeout=10)
        body = {"data": [servers.ROW] * 1000}
        rows = requests.post(f"{plain.url}/plain", json=body, timeout=10)

    assert empty.status_code == 200
    assert len(rows.json()["probabilities"]) == 1000
