"""Key of an installation, keyed hashes and encryption."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from scripts import fullprocess, ingestion
from scripts.core import config_file, files, keys
from scripts.core.config import Config
from scripts.core.errors import ReleaseError
from scripts.model import logistic_model
from scripts.production import monitor, release
from scripts.production.run_context import RunContext
from tests.conftest import write_installation

KEY = bytes(range(32))


def test_the_key_is_created_once_and_for_its_account_only(tmp_path: Path) -> None:
    folder = tmp_path / "prod"
    assert keys.find_key(folder) is None

    key = keys.make_key(folder)

    assert (len(key), keys.make_key(folder), keys.find_key(folder)) == (32, key, key)
    assert stat.filemode((folder / keys.KEY).stat().st_mode) == "-rw-------"
    assert [path.name for path in folder.iterdir()] == [keys.KEY]


def test_two_installations_have_different_keys(tmp_path: Path) -> None:
    assert keys.make_key(tmp_path / "one") != keys.make_key(tmp_path / "other")


def test_programs_that_need_a_key_at_the_same_moment_get_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as threads:
        results = list(threads.map(lambda _: keys.make_key(tmp_path), range(64)))

    assert len(set(results)) == 1


def test_a_cut_key_is_named(tmp_path: Path) -> None:
    (tmp_path / keys.KEY).write_bytes(b"short")

    with pytest.raises(ReleaseError, match=r"\.adras\.key is damaged: remove the file"):
        keys.make_key(tmp_path)


def test_what_a_killed_program_leaves_of_a_key_is_removed_by_the_next_run(tmp_path: Path) -> None:
    leftover = tmp_path / f"{keys.KEY}-0123{files.TEMPORARY_SUFFIX}"
    leftover.touch()

    assert files.remove_leftovers([tmp_path]) == 1


@pytest.mark.parametrize("content", [b"", b"x", b"\0\0\0", b"0123456789" * 1000])
def test_encrypted_bytes_are_decrypted_by_their_key_only(content: bytes) -> None:
    sealed = keys.encrypt(KEY, content)

    assert keys.decrypt(KEY, sealed) == content
    assert keys.decrypt(bytes(32), sealed) is None
    assert keys.decrypt(KEY, sealed[:-1] + bytes([sealed[-1] ^ 1])) is None
    assert keys.encrypt(KEY, content) == sealed
    assert len(sealed) == len(content) + keys.NONCE_BYTES
    assert content[:8] not in sealed or len(content) < 8


@pytest.mark.parametrize("sealed", [b"", b"short", bytes(16)])
def test_what_was_never_sealed_is_not_opened(sealed: bytes) -> None:
    assert keys.decrypt(KEY, sealed) is None


def test_hashes_differ_between_purposes() -> None:
    one = keys.keyed_hash(KEY, b"acme", purpose="adras client", n_bytes=9)

    assert one == keys.keyed_hash(KEY, b"acme", purpose="adras client", n_bytes=9)
    assert one != keys.keyed_hash(KEY, b"acme", purpose="adras nonce", n_bytes=9)
    assert one != keys.keyed_hash(bytes(32), b"acme", purpose="adras client", n_bytes=9)


# What a model keeps of its rows


@pytest.fixture
def first_run(config: Config) -> Config:
    """Return the config of an installation after a first run."""
    fullprocess.main(config)
    return config


def test_model_json_holds_hashes_that_only_the_key_opens(first_run: Config) -> None:
    path = first_run.prod_deployment_path / "model.json"
    stored = logistic_model.decode_model(path.read_bytes(), path).dataset.reference
    loaded = release.load_current(first_run.prod_deployment_path)

    assert stored is not None
    assert stored.is_sealed
    assert loaded is not None
    opened = loaded.model.dataset.reference
    assert opened is not None
    assert not opened.is_sealed
    assert len(opened.row_hashes) == 4 * loaded.model.dataset.n_rows
    assert opened.row_hashes not in path.read_bytes()
    assert opened.row_hashes[:4] not in stored.row_hashes


def test_rows_are_told_from_new_ones_with_the_key_and_all_are_compared_without(
    first_run: Config,
) -> None:
    ingestion.main(first_run)
    with_key = monitor.measure(RunContext(first_run)).data
    (first_run.prod_deployment_path / keys.KEY).write_bytes(bytes(32))
    without = monitor.measure(RunContext(first_run)).data

    assert (with_key.rows, with_key.n_compared) == ("new", 0)
    assert (without.rows, without.n_compared) == ("all", without.n_rows)


def test_a_model_of_an_earlier_version_is_compared_as_before(first_run: Config) -> None:
    loaded = release.load_current(first_run.prod_deployment_path)
    assert loaded is not None

    # Earlier versions wrote the hashes open, and no word of it.
    content = logistic_model.encode_model(loaded.model).replace(b'"is_sealed": false,\n', b"")
    old = logistic_model.decode_model(content, Path("model.json"))

    assert b"is_sealed" not in content
    assert logistic_model.unseal(old, KEY) == old == loaded.model


def test_no_record_log_or_release_holds_the_key(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = config_file.read_config(write_installation(tmp_path))
    fullprocess.main(config)
    key = keys.make_key(config.prod_deployment_path)

    holding = [
        path.name
        for path in tmp_path.rglob("*")
        if path.is_file() and (key in path.read_bytes() or key.hex().encode() in path.read_bytes())
    ]

    assert holding == [keys.KEY]
    assert key.hex() not in caplog.text
