"""The files of an installation with possible rows of a client: our own, and the company's."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from scripts.core import artifacts, console, files
from scripts.core.artifacts import Kind
from scripts.core.config import Config
from scripts.core.errors import DatasetError
from scripts.core.files import RemotePath
from scripts.data import client_lines, dataset
from scripts.data.client_lines import FoundLines
from scripts.pipeline import kept_inputs
from scripts.records import erasing

MAX_LINES = 5
# What a rejected row shows of its cell, at the end of the reason.
FOUND = re.compile(rb", found (?:'|\")[^\n]*?(\"?)$", re.MULTILINE)
FILLER = b"x"


class TableFile(Struct, frozen=True):
    """A table file with the columns of client names."""

    path: Path
    candidates: tuple[tuple[str, ...], ...]

    def find_lines(self, name: str) -> FoundLines:
        """Return the lines of a client."""
        return client_lines.find_lines(self.path, self.candidates, name)


def list_datasets(config: Config) -> list[TableFile]:
    """List the datasets and test rows in the output folder, each with its identifier columns."""
    folder, found = config.output_folder_path, []
    for kind in (Kind.DATASET, Kind.TEST_ROWS):
        for path in artifacts.list_exact(folder, kind):
            place = Kind.SCHEMA.path(folder, artifacts.stamp_of(path))
            schema = dataset.read_schema(place, config.schema) if place.exists() else config.schema
            ids = schema.client_ids
            found.append(TableFile(path, (ids, *kept_inputs.candidates_of(config)) if ids else ()))
    return [table for table in found if table.candidates]


def list_uploads(config: Config) -> list[Path]:
    """List the uploads in the input folder, whether a run has read them or not."""
    folder = config.input_folder_path
    if isinstance(folder, RemotePath) or not folder.is_dir():
        return []
    return sorted(folder.glob(artifacts.UPLOAD.format("*")))


def list_own(config: Config) -> list[TableFile]:
    """List the table files of the programs: datasets, uploads, kept and fetched inputs."""
    candidates = kept_inputs.candidates_of(config)
    fetched = [config.output_folder_path / name for name in artifacts.FETCHED]
    copies = [
        path
        for folder in (kept_inputs.folder_of(config), *fetched)
        if folder.is_dir()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    ]
    paths = [*list_uploads(config), *copies]
    return [*list_datasets(config), *(TableFile(path, candidates) for path in paths)]


def list_places(config: Config) -> list[Path]:
    """List the company's folders of extracts, test data and outcomes."""
    places = [config.input_folder_path]
    if not config.tests_latest_rows:
        places.append(config.test_data_path)
    if config.outcomes is not None and config.outcomes.input_folder_path is not None:
        places.append(config.outcomes.input_folder_path)
    return list(dict.fromkeys(places))


def list_company(config: Config) -> list[TableFile]:
    """List the company's table files in its folders on this machine."""
    uploads, candidates = set(list_uploads(config)), kept_inputs.candidates_of(config)
    places = [place for place in list_places(config) if not isinstance(place, RemotePath)]
    paths = [path for place in places if place.exists() for path in files.list_tables(place)]
    return [
        TableFile(path.resolve(), candidates)
        for path in paths
        if path not in uploads and files.is_regular(path)
    ]


def find_all(tables: Iterable[TableFile], name: str) -> list[FoundLines]:
    """Return the lines of a client by file, without files that lack the client."""
    found = [table.find_lines(name) for table in tables]
    return [lines for lines in found if lines.spans]


def describe_lines(found: FoundLines) -> str:
    """Describe the lines of a client in a file."""
    numbers = sorted(client_lines.list_numbers(found.spans))
    shown = ", ".join(map(str, numbers[:MAX_LINES]))
    more = f" and {len(numbers) - MAX_LINES} more" if len(numbers) > MAX_LINES else ""
    word = "line" if len(numbers) == 1 else "lines"
    doubt = "" if found.is_certain else " (perhaps: the columns of the clients are not in it)"
    return f"{found.path}: {word} {shown}{more}{doubt}"


def hash_parts(parts: Iterable[bytes]) -> str:
    """Return the SHA-256 of bytes in parts, in hexadecimal."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part)
    return sha.hexdigest()


def plan_hashes(found: Iterable[FoundLines]) -> dict[str, str]:
    """Return the hash of each file without a client, by the present hash."""
    return {
        files.digest_file(lines.path): hash_parts(
            client_lines.iterate_without(lines.path, lines.spans)
        )
        for lines in found
    }


def rewrite(config: Config, found: Sequence[FoundLines], hashes: Mapping[str, str]) -> None:
    """Write files without the lines of a client, and name kept inputs after their new content."""
    kept, uploads = kept_inputs.folder_of(config), set(list_uploads(config))
    of_uploads = {files.digest_file(lines.path) for lines in found if lines.path in uploads}
    # First the copies, as the uploads are not found again once they are written.
    for lines in sorted(found, key=lambda lines: lines.path in uploads):
        path = target = lines.path
        if path.parent == kept:
            whole, after = path.name.partition(".")[0], hashes[files.digest_file(path)]
            target = kept / (after if path.name in of_uploads else f"{whole}.{after}")
        files.write_whole(target, client_lines.iterate_without(path, lines.spans))
        if target != path:
            path.unlink()


def cut_rejected(config: Config) -> int:
    """Cut the wrong cells out of all lists of rejected rows, and count the lists.

    A list names file and line of a row and not its client, and the file may be another one by now.
    """
    n_cut = 0
    for path in artifacts.list_exact(config.output_folder_path, Kind.REJECTED):
        content = path.read_bytes()
        cut = FOUND.sub(rb"\1", content)
        if cut != content:
            files.write_whole(path, cut)
            n_cut += 1
    return n_cut


def list_logs() -> list[Path]:
    """List the logs of the scheduled runs."""
    folder = console.PROJECT_PATH.parent / artifacts.LOGS
    return sorted(path for path in folder.glob("*.log") if path.is_file())


def clean_logs(name: str) -> int:
    """Overwrite the name of a client in the logs in place, since a program may append meanwhile."""
    if not erasing.is_distinct(name):
        return 0
    pattern = re.compile(rb"(?<!\w)" + re.escape(name.encode()) + rb"(?!\w)")
    n_found = 0
    for path in list_logs():
        with path.open("r+b") as handle:
            for match in pattern.finditer(handle.read()):
                handle.seek(match.start())
                handle.write(FILLER * len(match[0]))
                n_found += 1
    return n_found


def iterate_files(config: Config) -> Iterator[Path]:
    """Yield every file of the installation: of its folders, logs and database."""
    roots = [
        config.output_folder_path, config.output_model_path, config.prod_deployment_path,
        *list_places(config),
    ]  # fmt: skip
    local = dict.fromkeys(root for root in roots if not isinstance(root, RemotePath))
    found = dict.fromkeys(
        path for root in local for path in (root.rglob("*") if root.is_dir() else [root])
    )
    yield from (path for path in (*found, *list_logs()) if path.is_file())


def find_left(config: Config, name: str) -> list[str]:
    """Return a sentence about each file in which the name of a client is left.

    A file of the company is searched by its columns, and any other one by its bytes.
    """
    company = list_company(config)
    left = [describe_lines(lines) for lines in find_all(company, name)]
    if not erasing.is_distinct(name):
        return left
    searched = {table.path for table in company}
    for path in iterate_files(config):
        if path.resolve() in searched or path.is_symlink():
            continue
        try:
            if client_lines.has_word(path, name):
                left.append(f"{path}: the name is in it")
        except (OSError, files.NotRegularError) as error:
            raise DatasetError(f"{path} cannot be searched for the client: {error}.") from error
    return left
