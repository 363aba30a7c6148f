"""The key of an installation: made once, kept in a file for its account only, for keyed hashes."""

import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path

from scripts.core import files
from scripts.core.errors import ReleaseError

# Beside the lock, in the deployment folder.
KEY = ".adras.key"
N_BYTES = 32
NONCE_BYTES = 16
BLOCK_BYTES = hashlib.blake2b.MAX_DIGEST_SIZE


def find_key(folder: Path) -> bytes | None:
    """Read the key of an installation; None if none was needed yet.

    Parameters
    ----------
    folder : Path
        The deployment folder.

    Returns
    -------
    bytes or None
        32 random bytes, for no record, log or message.

    Raises
    ------
    ReleaseError
        If the file cannot be read, or is cut.
    """
    path = folder / KEY
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ReleaseError(f"{path} cannot be read: {error.strerror}.") from error
    if len(key) != N_BYTES:
        raise ReleaseError(f"{path} is damaged: remove it, and the next need makes a new one.")
    return key


def make_key(folder: Path) -> bytes:
    """Return the key of an installation, made at the first need, also by two at the same moment.

    Raises
    ------
    ReleaseError
        If there is a file of its name that is no key.
    OSError
        If there is none, and none can be written.
    """
    found = find_key(folder)
    if found is not None:
        return found
    files.make_folder(folder)
    path = folder / KEY
    # A name of its own, which the next run removes if this one is killed.
    temporary = folder / f"{KEY}-{secrets.token_hex(8)}{files.TEMPORARY_SUFFIX}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(secrets.token_bytes(N_BYTES))
            handle.flush()
            os.fsync(handle.fileno())
        # Unlike a rename, a link leaves a key that another program has just made.
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    files.sync_folder(folder)
    return make_key(folder)


def keyed_hash(key: bytes, content: bytes, *, purpose: str, n_bytes: int) -> bytes:
    """Hash bytes so that nobody without the key can test a guess; purposes do not meet."""
    return hashlib.blake2b(content, key=key, digest_size=n_bytes, person=purpose.encode()).digest()


def xor_keystream(key: bytes, nonce: bytes, content: bytes) -> bytes:
    """Combine bytes with a stream that only the key makes; twice gives the bytes again."""
    n_blocks = -(-len(content) // BLOCK_BYTES)
    stream = b"".join(
        keyed_hash(
            key, nonce + number.to_bytes(8, "big"), purpose="adras stream", n_bytes=BLOCK_BYTES
        )
        for number in range(n_blocks)
    )[: len(content)]
    mixed = int.from_bytes(content, "big") ^ int.from_bytes(stream, "big")
    return mixed.to_bytes(len(content), "big")


def encrypt(key: bytes, content: bytes) -> bytes:
    """Encrypt bytes; equal bytes give equal ones, so that a run can be repeated exactly.

    Notes
    -----
    A synthetic initialization vector: Rogaway and Shrimpton, "Deterministic authenticated
    encryption" (2006), with BLAKE2b (RFC 7693) in place of their functions.
    """
    nonce = keyed_hash(key, content, purpose="adras nonce", n_bytes=NONCE_BYTES)
    return nonce + xor_keystream(key, nonce, content)


def decrypt(key: bytes, sealed: bytes) -> bytes | None:
    """Decrypt what `encrypt` encrypted; None if that was with another key, or it is damaged."""
    nonce, content = (
        sealed[:NONCE_BYTES],
        xor_keystream(key, sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]),
    )
    is_right = nonce == keyed_hash(key, content, purpose="adras nonce", n_bytes=NONCE_BYTES)
    return content if is_right else None
