"""Creates and loads the secret key of an installation, for keyed hashes and encryption."""

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
    """Return the key of an installation, or None before its creation.

    Parameters
    ----------
    folder : Path
        The deployment folder.

    Returns
    -------
    bytes or None
        32 random bytes, never written to a record, log or message.

    Raises
    ------
    ReleaseError
        If the file cannot be read, or has another length.
    """
    path = folder / KEY
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ReleaseError(f"{path} cannot be read: {error.strerror}.") from error
    if len(key) != N_BYTES:
        raise ReleaseError(f"{path} is damaged: remove the file; the next run creates a new key.")
    return key


def make_key(folder: Path) -> bytes:
    """Return the key of an installation, created at the first call.

    Two programs may call at the same moment; both return the same key.

    Raises
    ------
    ReleaseError
        If the key file is unreadable or damaged.
    OSError
        If the key file is missing and cannot be written.
    """
    key = find_key(folder)
    if key is not None:
        return key
    files.make_folder(folder)
    path = folder / KEY
    # A unique name with the suffix of temporary files: the next run removes leftovers.
    temporary = folder / f"{KEY}-{secrets.token_hex(8)}{files.TEMPORARY_SUFFIX}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(secrets.token_bytes(N_BYTES))
            handle.flush()
            os.fsync(handle.fileno())
        # Unlike a rename, a link keeps the new key of a concurrent program.
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    files.sync_folder(folder)
    return make_key(folder)


def keyed_hash(key: bytes, content: bytes, *, purpose: str, n_bytes: int) -> bytes:
    """Return the keyed hash of bytes for a purpose.

    Without the key nobody can test a guess of the content.
    """
    return hashlib.blake2b(content, key=key, digest_size=n_bytes, person=purpose.encode()).digest()


def xor_keystream(key: bytes, nonce: bytes, content: bytes) -> bytes:
    """Return bytes XOR the keystream of key and nonce, a function inverse to itself."""
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
    """Encrypt bytes deterministically, for equal results of a repeated run.

    Notes
    -----
    A synthetic initialization vector: Rogaway and Shrimpton, "Deterministic authenticated
    encryption" (2006), with BLAKE2b (RFC 7693) in place of their functions.
    """
    nonce = keyed_hash(key, content, purpose="adras nonce", n_bytes=NONCE_BYTES)
    return nonce + xor_keystream(key, nonce, content)


def decrypt(key: bytes, sealed: bytes) -> bytes | None:
    """Decrypt the result of `encrypt`, or return None for a wrong key or damaged bytes."""
    nonce, content = (
        sealed[:NONCE_BYTES],
        xor_keystream(key, sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]),
    )
    is_right = nonce == keyed_hash(key, content, purpose="adras nonce", n_bytes=NONCE_BYTES)
    return content if is_right else None
