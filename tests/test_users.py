"""A user gets a token with a name, once, and loses it again."""

import json
import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from scripts import users
from scripts.api.tokens import Role, User, read_token_file
from scripts.core import config_file
from scripts.core.config import Config
from scripts.core.console import make_command, with_config
from scripts.core.errors import ConfigError, NotMadeYetError


@pytest.fixture
def named(config_path: Path) -> Config:
    """Return an installation with a file for tokens, which does not exist yet."""
    settings = json.loads(config_path.read_text()) | {"api": {"token_file": "tokens"}}
    config_path.write_text(json.dumps(settings))
    return config_file.read_config(config_path)


def run(config_path: Path, *words: str) -> tuple[int, str]:
    """Run the command, and return the exit code and the output."""
    command = make_command(with_config(users.main), users.OPTIONS)
    result = CliRunner().invoke(command, ["--config", str(config_path), *words])
    return result.exit_code, result.output


def test_a_user_gets_a_token_that_the_service_reads(named: Config, config_path: Path) -> None:
    before = os.umask(0o077)
    try:
        exit_code, printed = run(config_path, "work", "ada")
    finally:
        os.umask(before)

    path = users.find_file(named)
    assert exit_code == 0
    assert read_token_file(path) == {User(Role.WORK, "ada"): printed.splitlines()[0].encode()}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    listed = run(config_path)[1]
    assert listed.split() == ["user", "role", "ada", "work"]
    assert printed.splitlines()[0] not in listed


def test_a_name_is_given_once_and_a_removed_user_leaves_the_others(named: Config) -> None:
    path = users.find_file(named)
    path.write_text(f"# ours\nread {'a' * 16}")
    path.chmod(0o600)
    users.main(named, "work", "ada")
    users.main(named, "admin", "bob")

    with pytest.raises(ConfigError, match="has a user ada of the role work already"):
        users.main(named, "admin", "ada")
    with pytest.raises(NotMadeYetError, match="has no user eve"):
        users.main(named, remove="eve")
    users.main(named, remove="ada")

    assert set(read_token_file(path)) == {User(Role.READ), User(Role.ADMIN, "bob")}
    assert path.read_text().startswith(f"# ours\nread {'a' * 16}\n")


def test_the_list_and_the_messages_fit_80_columns(
    named: Config, config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    name = "a" * 32
    calls = (("admin", name), ("read", "bob"), (), ("--remove", name))

    done = [run(config_path, *words) for words in calls]

    assert [code for code, _ in done] == [0] * 4
    lines = [line for _, printed in done for line in printed.splitlines()]
    assert len(lines) >= 8
    assert max(map(len, lines)) <= 80
    assert users.find_file(named).exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["work"], "Expected a name behind the role"),
        (["boss", "ada"], "is not one of"),
        (["work", "a b"], "is no name"),
        (["work", "ada", "--remove"], "requires an argument"),
    ],
)
def test_a_wrong_word_is_refused(
    named: Config, config_path: Path, words: list[str], complaint: str
) -> None:
    exit_code, printed = run(config_path, *words)

    assert exit_code == 2
    assert complaint in printed
    assert not users.find_file(named).exists()


def test_without_a_file_in_the_settings_the_command_says_which_key(config: Config) -> None:
    with pytest.raises(ConfigError, match="set api.token_file"):
        users.main(config, "work", "ada")
