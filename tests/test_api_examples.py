"""The examples of the page about the API are answered by a service."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from scripts.core.config_file import read_config
from tests.conftest import write_installation
from tests.support.clientele import score_twice
from tests.support.programs import run_code
from tests.support.service import served

PAGE = (Path(__file__).parent.parent / "docs/api.md").read_text()
ADDRESS = "http://127.0.0.1:8000"
CURL = re.compile(r"^ {4}\$ (curl (?:.*\\\n)*.*(?:\n {8,}.*)*)", re.MULTILINE)
# The only options of curl that the page uses.
HEADER, METHOD, BODY, FILE = "-H", "-X", "-d", "--data-binary"
TABLE = "lastmonth_activity,lastyear_activity,number_of_employees\n12,480,35\n"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service whose clients have been scored."""
    config_path = write_installation(tmp_path_factory.mktemp("examples"))
    score_twice(read_config(config_path))
    with served(config_path) as (address, _):
        yield address


def send(command: str, url: str) -> requests.Response:
    """Send the request of a curl command to a service."""
    _, *words = shlex.split(command.replace("\\\n", " "))
    headers, body, method, address = {}, None, "GET", ""
    options = iter(words)
    for word in options:
        if word == HEADER:
            name, _, value = next(options).partition(": ")
            headers[name] = value
        elif word == METHOD:
            method = next(options)
        elif word in (BODY, FILE):
            text, method = next(options), "POST"
            body = TABLE if word == FILE else text
        else:
            assert word.startswith("http"), word
            address = word
    return requests.request(
        method, address.replace(ADDRESS, url), headers=headers, data=body, timeout=30
    )


def test_every_curl_command_is_answered(url: str) -> None:
    commands = CURL.findall(PAGE)

    assert len(commands) == PAGE.count("$ curl ") > 5
    answers = {command: send(command, url).status_code for command in commands}
    assert {command: code for command, code in answers.items() if code != 200} == {}


def test_the_client_in_python_prints_predictions_and_the_whole_list(url: str) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

    done = run_code(code.replace(ADDRESS, url))

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"\d+\.\d% (high|medium|low): \{.*\}", lines[0])
    assert len(lines) > 3
