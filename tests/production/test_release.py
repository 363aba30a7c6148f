"""The checks at the loading of a release."""

import json
import os
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scripts.core import files
from scripts.core.config import Config
from scripts.core.errors import ReleaseError
from scripts.model import logistic_model
from scripts.production import release


@pytest.fixture
def folder(deployed: Config) -> Path:
    """The directory of the release in production."""
    current = release.load_current(deployed.prod_deployment_path)
    assert current is not None
    return current.path


def test_a_release_knows_its_name_and_its_model(folder: Path) -> None:
    loaded = release.load_release(folder)

    assert loaded.name == folder.name
    assert loaded.manifest.f1 == pytest.approx(0.8)
    assert loaded.model.dataset.n_rows == 26
    assert set(loaded.manifest.files) == set(release.FILES)


def flip(content: bytes, position: int) -> bytes:
    """Change one bit of one byte."""
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


def refuses_flips(folder: Path, name: str, positions: range | list[int]) -> int:
    """Flip the bytes of a file and restore the file, and return the number of refused releases."""
    content, n_refused = (folder / name).read_bytes(), 0
    for position in positions:
        (folder / name).write_bytes(flip(content, position))
        try:
            release.load_release(folder)
        except ReleaseError:
            n_refused += 1
    (folder / name).write_bytes(content)
    return n_refused


@pytest.mark.parametrize("name", release.FILES)
def test_a_flipped_byte_is_noticed(folder: Path, name: str) -> None:
    size = (folder / name).stat().st_size
    positions = sorted({0, size - 1, *random.Random(5).sample(range(size), min(size, 20))})

    assert refuses_flips(folder, name, positions) == len(positions)


@pytest.mark.campaign
def test_every_flipped_byte_is_noticed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = {name: (folder / name).stat().st_size for name in release.FILES}

    refused = {name: refuses_flips(folder, name, range(size)) for name, size in counts.items()}

    with capsys.disabled():
        print(f"\nbytes flipped {counts}, refused {refused}")
    assert refused == counts


def test_a_flipped_byte_of_the_manifest_is_noticed_unless_it_says_the_same(folder: Path) -> None:
    size = (folder / release.MANIFEST).stat().st_size
    content = (folder / release.MANIFEST).read_bytes()
    before = release.load_release(folder)

    for position in range(0, size, 7):
        (folder / release.MANIFEST).write_bytes(flip(content, position))
        try:
            loaded = release.load_release(folder)
        except ReleaseError:
            continue
        # What is left are the stamp of the model, which nothing else holds, and white space.
        assert loaded.model == before.model
        assert loaded.manifest.f1 == before.manifest.f1


@pytest.mark.parametrize("name", [*release.FILES, release.MANIFEST])
@pytest.mark.parametrize("size", [0, 10])
def test_a_cut_file_is_noticed(folder: Path, name: str, size: int) -> None:
    os.truncate(folder / name, min(size, (folder / name).stat().st_size - 1))

    with pytest.raises(ReleaseError, match=name.replace(".", r"\.")):
        release.load_release(folder)


@pytest.mark.parametrize("name", [*release.FILES, release.MANIFEST])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()

    with pytest.raises(ReleaseError, match=rf"{name} cannot be read: No such file"):
        release.load_release(folder)


def drop_a_file(manifest: dict[str, Any]) -> None:
    """Leave a file out."""
    del manifest["files"][release.PICKLE]


def add_a_file(manifest: dict[str, Any]) -> None:
    """List a file from outside of the release."""
    manifest["files"]["../../x"] = manifest["files"][release.SCORE]


def change_f1(manifest: dict[str, Any]) -> None:
    """Change the F1 of the manifest."""
    manifest["f1"] = 0.99


def change_dataset(manifest: dict[str, Any]) -> None:
    """Change the dataset of the manifest."""
    manifest["dataset_sha256"] = "f" * 64


def change_versions(manifest: dict[str, Any]) -> None:
    """Change the versions of the manifest."""
    manifest["versions"] = {}


def add_a_key(manifest: dict[str, Any]) -> None:
    """Add an unknown key to the manifest."""
    manifest["more"] = 1


def change_size(manifest: dict[str, Any]) -> None:
    """Change the size in the manifest, not the digest."""
    manifest["files"][release.MODEL]["n_bytes"] += 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (drop_a_file, "manifest.json lists"),
        (add_a_file, "manifest.json lists"),
        (change_f1, "disagrees with latestscore.txt"),
        (change_dataset, "disagrees with model.json"),
        (change_versions, "disagrees with model.json"),
        (add_a_key, "manifest.json is damaged"),
        (change_size, "model.json is damaged"),
    ],
)
def test_a_manifest_that_is_not_about_its_files_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    manifest = json.loads((folder / release.MANIFEST).read_bytes())
    change(manifest)
    (folder / release.MANIFEST).write_text(json.dumps(manifest))

    with pytest.raises(ReleaseError, match=reason):
        release.load_release(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_a_manifest_that_is_none_is_refused(folder: Path, content: bytes) -> None:
    (folder / release.MANIFEST).write_bytes(content)

    with pytest.raises(ReleaseError, match="manifest.json is damaged"):
        release.load_release(folder)


def test_before_the_first_release_there_is_none(config: Config) -> None:
    assert release.load_current(config.prod_deployment_path) is None


def test_a_link_to_a_release_that_is_gone_is_a_fault(deployed: Config) -> None:
    files.replace_link(deployed.prod_deployment_path / "current", "releases/0009_gone")

    with pytest.raises(ReleaseError, match="0009_gone/manifest.json cannot be read"):
        release.load_current(deployed.prod_deployment_path)


class KilledError(BaseException):
    """The end of a program in the middle."""


@pytest.mark.parametrize("n_written", range(5))
def test_a_release_is_whole_at_every_instant_of_a_rewriting(
    folder: Path, monkeypatch: pytest.MonkeyPatch, n_written: int
) -> None:
    before = release.load_release(folder)
    facts = msgspec.structs.replace(before.model.dataset, sha256="1" * 64)
    model = msgspec.structs.replace(before.model, dataset=facts)
    contents = {release.PICKLE: b"new", release.MODEL: logistic_model.encode_model(model)}
    left = iter([True] * n_written)
    real = files.write_whole

    def write_or_die(path: Path, content: bytes) -> Path:
        if not next(left, False):
            raise KilledError
        return real(path, content)

    monkeypatch.setattr(files, "write_whole", write_or_die)
    # With enough writes it comes to its end.
    with suppress(KilledError):
        release.rewrite(folder, contents, "1" * 64)
    monkeypatch.undo()

    assert release.find_faults(folder) == []
    assert release.load_release(folder).model.dataset.sha256 == (
        "1" * 64 if n_written > 2 else before.model.dataset.sha256
    )
    release.rewrite(folder, contents, "1" * 64)
    after = release.load_release(folder)
    assert after.manifest.dataset_sha256 == "1" * 64
    assert not after.manifest.becoming
    assert not release.rewrite(folder, contents, "1" * 64)
