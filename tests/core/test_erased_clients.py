"""The list of erased clients names them by keyed hashes, and a damaged list is an error."""

import pickle
from pathlib import Path

import pytest

from scripts.core import erased_clients, keys
from scripts.core.erased_clients import ErasedClients
from scripts.core.errors import ReleaseError


def write(folder: Path, *names: str) -> bytes:
    """Write the list of some clients, and return the key."""
    key = keys.make_key(folder)
    hashes = [erased_clients.hash_client(key, name) for name in names]
    erased_clients.write_list(folder, hashes)
    return key


def test_erased_clients_are_found_by_name_and_others_are_not(tmp_path: Path) -> None:
    write(tmp_path, "acme", "Ömer | 7")

    erased = erased_clients.find(tmp_path)

    assert erased is not None
    assert erased.match(["acme", "globex", "acme", "Ömer | 7"]) == [True, False, True, True]


def test_the_list_has_no_name_and_is_closed_to_other_accounts(tmp_path: Path) -> None:
    key = write(tmp_path, "acme")

    path = tmp_path / erased_clients.LIST

    assert "acme" not in path.read_text()
    other = erased_clients.hash_client(bytes(32), "acme")
    assert erased_clients.hash_client(key, "acme") != other


def test_before_the_first_erasure_nobody_is_refused(tmp_path: Path) -> None:
    assert erased_clients.find(tmp_path) is None


def test_a_damaged_list_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    write(tmp_path, "acme")
    (tmp_path / erased_clients.LIST).write_text("[")

    with pytest.raises(ReleaseError, match="damaged.*python -m scripts.clients list"):
        erased_clients.find(tmp_path)


def test_a_missing_key_is_an_error_where_clients_are_erased(tmp_path: Path) -> None:
    write(tmp_path, "acme")
    (tmp_path / keys.KEY).unlink()

    with pytest.raises(ReleaseError, match="is missing.*copy of the key"):
        erased_clients.find(tmp_path)


def test_the_key_is_not_shown_and_goes_to_a_task_on_a_cluster() -> None:
    erased = ErasedClients(b"canary" * 4, frozenset({"00"}))

    assert "canary" not in repr(erased)
    assert pickle.loads(pickle.dumps(erased)) == erased
