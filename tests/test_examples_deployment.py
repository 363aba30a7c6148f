"""What stands in examples/deployment works: units, proxy, image."""

import http.client
import json
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import requests

from benchmarks.proxies import running_proxy
from tests.service import ROOT, TOKEN, answer_of_url, make_row, served

FOLDER = ROOT / "examples" / "deployment"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    # The programs of the units are at their place on the machine of their user, not here.
    for unit in [*FOLDER.glob("*.service"), *FOLDER.glob("*.timer")]:
        text = unit.read_text().replace("/opt/adras/.venv/bin/python", shutil.which("true") or "")
        (tmp_path / unit.name).write_text(text.replace("User=adras", "User=root"))

    for unit in sorted(tmp_path.iterdir()):
        done = subprocess.run(
            ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
        )

        complaints = [line for line in done.stderr.splitlines() if "adras" in line]
        assert (done.returncode, complaints) == (0, []), done.stderr


def directives(unit: str, name: str) -> list[str]:
    """Read the values of a directive of a unit."""
    lines = (FOLDER / unit).read_text().splitlines()
    return [
        word
        for line in lines
        if line.startswith(f"{name}=")
        for word in line.split("=", 1)[1].split()
    ]


@pytest.mark.parametrize(
    ("unit", "keys"),
    [
        ("adras-app.service", ["input_folder_path", "prod_deployment_path"]),
        (
            "adras-run.service",
            ["output_folder_path", "output_model_path", "prod_deployment_path"],
        ),
    ],
)
def test_a_unit_can_change_the_folders_that_it_writes_and_nothing_else(
    unit: str, keys: list[str]
) -> None:
    settings = json.loads((ROOT / "config.json").read_text())

    assert sorted(directives(unit, "ReadWritePaths")) == sorted(
        f"/opt/adras/{settings[key]}" for key in keys
    )
    assert directives(unit, "ProtectSystem") == ["strict"]
    assert directives(unit, "StateDirectory") == ["adras"]
    assert "ADRAS_DATABASE_URL=sqlite:////var/lib/adras/adras.db" in directives(unit, "Environment")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("unit", ["adras-app.service", "adras-run.service"])
def test_systemd_counts_the_exposure_of_a_unit_as_low(unit: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=25",
         str(FOLDER / unit)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout


def fail_to_log_in(port: int, number: int) -> int:
    """Send a wrong token from an address that is not the proxy's; pretend another one."""
    headers = {"Authorization": "Bearer wrong", "X-Forwarded-For": f"192.0.2.{number}"}
    connection = http.client.HTTPConnection(
        "127.0.0.1", port, timeout=5, source_address=("127.0.0.2", 0)
    )
    with closing(connection):
        connection.request("GET", "/score", headers=headers)
        return connection.getresponse().status


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_nginx_stands_before_the_service(prod: Path, config_path: Path, tmp_path: Path) -> None:
    with (
        served(config_path, token=TOKEN, trusted_proxies=["127.0.0.1"]) as (url, _),
        running_proxy(tmp_path, [url.removeprefix("http://")]) as (proxy, _),
    ):
        predicted = answer_of_url(f"{proxy}/predict", {"data": [make_row(0)]}, TOKEN)
        refused = requests.get(f"{proxy}/score", timeout=5)
        front = int(proxy.rpartition(":")[2])
        statuses = [fail_to_log_in(front, number) for number in range(11)]

    assert predicted["probabilities"] == pytest.approx([3 / 4])
    assert refused.status_code == 401
    # What the client itself says of its address is no way around the limit.
    assert statuses == [401] * 10 + [429]


def test_the_dockerfile_is_linted() -> None:
    command = [str(Path(sys.executable).parent / "hadolint"), str(FOLDER / "Dockerfile")]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")
