"""Secrets come from the environment, or from a file that only its owner reads."""

import os
from pathlib import Path

import pytest

from scripts.api import tokens
from scripts.api.tokens import Role, User
from scripts.core.config import ApiSettings
from scripts.core.errors import ConfigError


def write_tokens(path: Path, text: str, mode: int = 0o600) -> ApiSettings:
    """Write a file of tokens, and return the settings with the file."""
    path.write_text(text)
    path.chmod(mode)
    return ApiSettings(token_file=path)


def test_tokens_come_from_the_environment_and_empty_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ADRAS_API_TOKEN", "secret-of-reading")
    monkeypatch.setenv("ADRAS_API_ADMIN_TOKEN", "secret-of-admins")
    assert tokens.read_tokens(ApiSettings()).by_user == {
        User(Role.READ): b"secret-of-reading",
        User(Role.ADMIN): b"secret-of-admins",
    }
    monkeypatch.setenv("ADRAS_API_TOKEN", "")
    monkeypatch.delenv("ADRAS_API_ADMIN_TOKEN")
    assert tokens.read_tokens(ApiSettings()).by_user == {}


def test_tokens_come_from_a_file_and_the_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = write_tokens(
        tmp_path / "tokens", "# ours\n\nread  aaaaaaaaaaaaaaaa \nadmin bbbbbbbbbbbbbbbb\n"
    )
    assert tokens.read_tokens(api).by_user == {
        User(Role.READ): b"aaaaaaaaaaaaaaaa",
        User(Role.ADMIN): b"bbbbbbbbbbbbbbbb",
    }

    monkeypatch.setenv("ADRAS_API_TOKEN", "cccccccccccccccc")

    assert tokens.read_tokens(api).by_user == {
        User(Role.READ): b"cccccccccccccccc",
        User(Role.ADMIN): b"bbbbbbbbbbbbbbbb",
    }


def test_a_token_may_have_a_name(tmp_path: Path) -> None:
    api = write_tokens(
        tmp_path / "tokens", f"work {'a' * 16}\nwork ada {'b' * 16}\nadmin bob {'c' * 16}\n"
    )

    found = tokens.read_tokens(api)

    assert found.by_user == {
        User(Role.WORK): b"a" * 16,
        User(Role.WORK, "ada"): b"b" * 16,
        User(Role.ADMIN, "bob"): b"c" * 16,
    }
    assert found.any_for_reading == b"a" * 16
    assert [user.actor for user in found.by_user] == ["the API, role work", "ada", "bob"]


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o620, 0o601, 0o777])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    api = write_tokens(tmp_path / "tokens", "read aaaaaaaaaaaaaaaa\n", mode)

    with pytest.raises(ConfigError, match=f"has the mode {mode:03o} .*chmod 600"):
        tokens.read_tokens(api)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    api = write_tokens(tmp_path / "tokens", "read aaaaaaaaaaaaaaaa\n")
    os.chown(tmp_path / "tokens", 4711, 4711)

    with pytest.raises(ConfigError, match="owner 4711"):
        tokens.read_tokens(api)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "holds no token"),
        ("# nothing\n", "holds no token"),
        ("s3cr3t\n", "line 1: expected `read TOKEN`"),
        ("write s3cr3t\n", "line 1: expected"),
        ("read a b c\n", "line 1: expected"),
        ("read a.b s3cr3t-s3cr3t-s3cr3t\n", "line 1: expected"),
        (f"read {'a' * 33} s3cr3t-s3cr3t-s3cr3t\n", "line 1: expected"),
        ("read ada s3cr3t-s3cr3t-s3cr3t\nwork ada other-other-other\n", "line 2: expected"),
        ("read ada s3cr3t-s3cr3t-s3cr3t\nwork bob s3cr3t-s3cr3t-s3cr3t\n", "are the same"),
        ("read s3cr3t-s3cr3t-s3cr3t\nread other-other-other\n", "line 2: expected"),
        ("read s3cr3t-s3cr3t-s3cr3t\nadmin s3cr3t-s3cr3t-s3cr3t\n", "are the same"),
        ("read s3cr3t\xe9\n", "cannot carry"),
        (
            "read s3cr3t-s3cr3t-s3cr3t\nadmin s3cr3t\n",
            "line 2, has 6 characters; expected 16 or more",
        ),
    ],
)
def test_a_file_that_is_none_of_tokens_is_refused_without_showing_it(
    tmp_path: Path, text: str, reason: str
) -> None:
    api = write_tokens(tmp_path / "tokens", text)

    with pytest.raises(ConfigError, match=reason) as caught:
        tokens.read_tokens(api)

    assert "s3cr3t" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        tokens.read_tokens(ApiSettings(token_file=tmp_path / "absent"))
    with pytest.raises(ConfigError, match="is no file"):
        tokens.read_tokens(ApiSettings(token_file=tmp_path))


@pytest.mark.parametrize("token", ["tökén", "a b", "a\tb", "=", "a=b", "\udce9"])
def test_a_token_that_no_header_can_carry_is_refused(
    monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("ADRAS_API_TOKEN", token)

    with pytest.raises(ConfigError, match="ADRAS_API_TOKEN has a character"):
        tokens.read_tokens(ApiSettings())


@pytest.mark.parametrize("token", ["a", "token-4711", "a" * (tokens.MIN_LENGTH - 1)])
def test_a_token_that_could_be_guessed_is_refused_with_its_length(
    monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("ADRAS_API_ADMIN_TOKEN", token)

    with pytest.raises(ConfigError, match="expected 16 or more") as caught:
        tokens.read_tokens(ApiSettings())

    assert f"ADRAS_API_ADMIN_TOKEN has {len(token)} characters" in str(caught.value)
    monkeypatch.setenv("ADRAS_API_ADMIN_TOKEN", "a" * tokens.MIN_LENGTH)
    assert tokens.read_tokens(ApiSettings()).by_user


def test_programs_of_the_installation_take_the_least_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ADRAS_API_ADMIN_TOKEN", "bbbbbbbbbbbbbbbb")
    assert tokens.read_tokens(ApiSettings()).any_for_reading == b"bbbbbbbbbbbbbbbb"
    monkeypatch.setenv("ADRAS_API_TOKEN", "aaaaaaaaaaaaaaaa")
    assert tokens.read_tokens(ApiSettings()).any_for_reading == b"aaaaaaaaaaaaaaaa"


def test_tokens_are_not_shown() -> None:
    assert "s3cr3t" not in repr(tokens.Tokens({User(Role.READ): b"s3cr3t"}))
