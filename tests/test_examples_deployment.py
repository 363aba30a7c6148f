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
from tests.support.browsing import browsing, visiting
from tests.support.service import ROOT, TOKEN, answer_of_url, make_row, served, tree_hash

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
    """Send a wrong token past the proxy, with a false address of the client."""
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


# Not the name of this machine, so that a browser treats the service as one elsewhere.
NAME = "adras.test"


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
@pytest.mark.parametrize("is_secure", [False, True])
def test_a_browser_logs_in_and_out_through_nginx_on_any_port(
    prod: Path, config_path: Path, tmp_path: Path, *, is_secure: bool
) -> None:
    with (
        served(config_path, token=TOKEN, trusted_proxies=["127.0.0.1"]) as (url, _),
        running_proxy(tmp_path, [url.removeprefix("http://")], is_secure=is_secure) as (proxy, _),
        browsing(f"--host-resolver-rules=MAP {NAME} 127.0.0.1") as browser,
        visiting(browser, proxy.replace("127.0.0.1", NAME), ignore_https_errors=True) as visitor,
    ):
        visitor.go("/dashboard/runs?offset=1")
        visitor.page.fill("#token", TOKEN)
        visitor.follow(visitor.page.get_by_role("button", name="Log in"))
        where = visitor.page.url
        (cookie,) = visitor.page.context.cookies()
        copied = {"Cookie": f"{cookie['name']}={cookie['value']}"}
        within = requests.get(f"{url}/score", headers=copied, timeout=5).status_code
        visitor.follow(visitor.page.get_by_role("button", name="Log out"))
        login = visitor.page.url
        after = requests.get(f"{url}/score", headers=copied, timeout=5).status_code
        # Without https a browser says of one header that it cannot heed it.
        faults = [
            fault for fault in visitor.faults if "URL's origin was untrustworthy" not in fault
        ]
        visitor.faults.clear()

    assert faults == []
    assert where == f"{visitor.url}/dashboard/runs?offset=1"
    assert login == f"{visitor.url}/login"
    assert cookie["secure"] is is_secure
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert (within, after) == (200, 401)


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
@pytest.mark.parametrize(
    "target", ["//dashboard/upload", "///dashboard/upload", "/%2fdashboard/upload",
               "http://x//dashboard/upload", "/dashboard/upload"],
)  # fmt: skip
def test_through_nginx_no_spelling_lets_a_token_for_reading_add_data(
    prod: Path, config_path: Path, tmp_path: Path, target: str
) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="table"; filename="t.csv"\r\n\r\nx\r\n--b--'
    )
    before = tree_hash(config_path.parent / "input")
    with (
        served(config_path, token=TOKEN, trusted_proxies=["127.0.0.1"]) as (url, _),
        running_proxy(tmp_path, [url.removeprefix("http://")]) as (proxy, _),
        closing(http.client.HTTPConnection(proxy.removeprefix("http://"), timeout=5)) as connection,
    ):
        headers = {
            "Authorization": f"Bearer {TOKEN}",
            "Content-Type": "multipart/form-data; boundary=b",
        }
        connection.request("POST", target, body, headers)
        status = connection.getresponse().status

    assert status == (403 if target == "/dashboard/upload" else 400)
    assert tree_hash(config_path.parent / "input") == before


def test_the_dockerfile_is_linted() -> None:
    command = [str(Path(sys.executable).parent / "hadolint"), str(FOLDER / "Dockerfile")]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")
