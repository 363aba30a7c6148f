"""The audit: every recorded act as a line of JSON, in a chain of hashes against changes.

Each line carries the SHA-256 of the line before, so nobody can change, remove or insert a line
without changing all later ones. The last line seals the chain with the key of the installation, so
nobody without the key can make the later lines anew, or cut the end off.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from scripts.core import erased_clients, keys, terminal
from scripts.core.config import Config
from scripts.core.errors import RecordsError
from scripts.records import audit_records, database

START = "0" * 64
END = "end"
N_SEAL_BYTES = 32
PURPOSE = "adras audit"
# Large evidence that other lines or the database hold.
LEFT_OUT = frozenset({"id", "at", "decided_at", "note", "members", "body", "minute"})
SECRETS = frozenset(
    {"alerts.webhook_url", "alerts.ping_url", "worklist.webhook_url", "database_url"}
)


def flatten(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each setting by full name, for example "promotion.mode"."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flatten(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def describe_settings(config: Config) -> dict[str, Any]:
    """Return the settings by full name, of secrets only whether they are set."""
    # Decoded from JSON, as the records give them back: a tuple is a list there.
    settings = dict(flatten(json.loads(msgspec.json.encode(config, enc_hook=str))))
    return {
        name: ("set" if value else "") if name in SECRETS else value
        for name, value in settings.items()
    }


def hash_line(line: str) -> str:
    """Return the SHA-256 of a line without its line end, in hexadecimal."""
    return hashlib.sha256(line.encode()).hexdigest()


def seal(key: bytes, last: str, n_lines: int) -> str:
    """Return the keyed hash of a chain's last hash and number of lines."""
    content = f"{n_lines} {last}".encode()
    return keys.keyed_hash(key, content, purpose=PURPOSE, n_bytes=N_SEAL_BYTES).hex()


def hide_client(key: bytes, row: dict[str, Any]) -> dict[str, Any]:
    """Return an act with the keyed hash of the client: an audit outlives the client's data."""
    if row.get("client") is None:
        return row
    return {**row, "client": erased_clients.hash_client(key, row["client"])}


def encode_line(number: int, before: str, facts: dict[str, Any]) -> str:
    """Encode a line of the chain."""
    line = {"n": number, "before": before} | facts
    return json.dumps(line, default=str, ensure_ascii=False, separators=(",", ":"))


def encode_chain(acts: Iterable[tuple[datetime, str, dict[str, Any]]], key: bytes) -> Iterator[str]:
    """Encode acts as the lines of a sealed chain.

    Parameters
    ----------
    acts : iterable of tuple
        Moment, kind and row of each act, the oldest first.
    key : bytes
        The key of the installation.

    Yields
    ------
    str
        A line of JSON per act, and the end with the seal.
    """
    before, number = START, 0
    for at, act, row in acts:
        number += 1
        told = hide_client(key, row)
        facts = {name: value for name, value in told.items() if name not in LEFT_OUT}
        line = encode_line(number, before, {"at": at.isoformat(), "act": act} | facts)
        before = hash_line(line)
        yield line
    facts = {"act": END, "n_acts": number, "seal": seal(key, before, number)}
    yield encode_line(number + 1, before, facts)


def read_line(line: str, place: int) -> dict[str, Any]:
    """Decode a line of an audit."""
    try:
        found = json.loads(line)
        number, before = found["n"], found["before"]
    except (ValueError, KeyError, TypeError) as error:
        raise RecordsError(f"Line {place} is no line of an audit: it was changed.") from error
    if not isinstance(number, int) or not isinstance(before, str):
        raise RecordsError(f"Line {place} is no line of an audit: it was changed.")
    content: dict[str, Any] = found
    return content


def check_number(found: int, place: int) -> None:
    """Raise for a missing or inserted line, by the numbers of the lines."""
    if found > place:
        missing = f"line {place} is" if found == place + 1 else f"lines {place} to {found - 1} are"
        raise RecordsError(f"Of this audit {missing} missing: number {found} follows {place - 1}.")
    if found < place:
        raise RecordsError(f"Line {place} was inserted or repeated: it has the number {found}.")


def check_chain(lines: Iterable[str], key: bytes | None) -> int:
    """Check an audit, and return its number of acts.

    Parameters
    ----------
    lines : iterable of str
        The lines of the file, without line ends.
    key : bytes or None
        The key of the installation that made it. Without it the seal is not checked.

    Returns
    -------
    int
        The number of acts.

    Raises
    ------
    RecordsError
        For the first line that was changed, is missing or was inserted, in a sentence.
    """
    last: dict[str, Any] = {}
    before, place = START, 0
    for place, line in enumerate(lines, start=1):
        if last.get("act") == END:
            raise RecordsError(f"Line {place} was added after the end of the audit.")
        last = read_line(line, place)
        check_number(last["n"], place)
        if last["before"] != before:
            raise RecordsError(
                f"Line {max(place - 1, 1)} was changed, or replaced: line {place} carries another"
                " hash."
            )
        before = hash_line(line)
    if last.get("act") != END:
        raise RecordsError(f"The end of the audit is missing: it was cut after line {place}.")
    if key is not None and last.get("seal") != seal(key, last["before"], place - 1):
        raise RecordsError(
            "The seal is not that of this installation: the last lines were made anew, or the audit"
            " is of another installation."
        )
    return place - 1


def write(config: Config) -> None:
    """Print every recorded act as a line of JSON, with the hash of the line before."""
    key = keys.make_key(config.prod_deployment_path)
    with (
        database.open_records(config.database_url, may_change=False) as engine,
        database.reading(engine) as connection,
    ):
        acts = ((at, act, dict(row)) for at, act, row in audit_records.list_acts(connection))
        for line in encode_chain(acts, key):
            click.echo(line)


def verify(config: Config, path: Path) -> None:
    """Check an audit for changed, missing and inserted lines."""
    key = keys.find_key(config.prod_deployment_path)
    try:
        n_acts = check_chain(path.read_text(encoding="utf-8").splitlines(), key)
    except UnicodeDecodeError as error:
        raise RecordsError(f"{path} is no audit: it is not UTF-8.") from error
    sealed = (
        "" if key is not None else "; the seal was not checked, as this installation has no key"
    )
    text = f"{path}: {n_acts} acts, none changed, missing or inserted{sealed}."
    terminal.echo(text)


def write_or_verify(config: Config, *, path: Path | None) -> None:
    """Print every recorded act as a line of JSON, or check a file of acts with --verify."""
    if path is None:
        write(config)
    else:
        verify(config, path)
