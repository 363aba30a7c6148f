"""Serves files by WebHDFS on loopback, read only."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

PREFIX = "/webhdfs/v1"
# Of a checksum of Hadoop's: bytes per CRC and CRCs per block, before the 16 bytes of MD5.
CHECKSUM_HEAD = (512).to_bytes(4, "big") + bytes(8)


def describe(path: Path, name: str) -> dict[str, Any]:
    """Describe a file or folder as WebHDFS does."""
    status = path.stat()
    is_folder = path.is_dir()
    return {
        "pathSuffix": name, "type": "DIRECTORY" if is_folder else "FILE",
        "length": 0 if is_folder else status.st_size,
        "modificationTime": status.st_mtime_ns // 10**6, "accessTime": 0, "blockSize": 2**27,
        "replication": 1, "owner": "somebody", "group": "all", "permission": "644", "fileId": 1,
        "childrenNum": 0, "storagePolicy": 0,
    }  # fmt: skip


def answer(folder: Path, place: str, asked: dict[str, str]) -> dict[str, Any] | bytes:
    """Answer an operation on a place below a folder."""
    path = folder / place.lstrip("/")
    operation = asked["op"].upper()
    if not path.exists():
        raise FileNotFoundError(place)
    if operation == "GETFILESTATUS":
        return {"FileStatus": describe(path, "")}
    if operation == "LISTSTATUS":
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        listed = [describe(one, one.name if path.is_dir() else "") for one in inside]
        return {"FileStatuses": {"FileStatus": listed}}
    if operation == "GETFILEBLOCKLOCATIONS":
        return {"BlockLocations": {"BlockLocation": []}}
    if operation == "GETFILECHECKSUM":
        content = CHECKSUM_HEAD + hashlib.md5(path.read_bytes()).digest()
        algorithm = "MD5-of-0MD5-of-512CRC32C"
        return {
            "FileChecksum": {
                "algorithm": algorithm, "bytes": content.hex(), "length": len(content),
            }
        }  # fmt: skip
    if operation == "OPEN":
        start = int(asked.get("offset", "0"))
        content = path.read_bytes()[start:]
        return content[: int(asked["length"])] if "length" in asked else content
    raise NotImplementedError(operation)


class Handler(BaseHTTPRequestHandler):
    """Handler of Hadoop's requests to list and read files."""

    server: "Store"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer, or report an error in the format of Hadoop."""
        # Hadoop sends letters as they are, in UTF-8.
        address = urlsplit(self.path.encode("latin-1").decode())
        asked = {name.lower(): values[0] for name, values in parse_qs(address.query).items()}
        place = unquote(address.path.removeprefix(PREFIX))
        self.server.asked.append((asked["op"].upper(), place))
        try:
            found, status = answer(self.server.folder, place, asked), 200
        except (FileNotFoundError, NotImplementedError) as error:
            kind = (
                "FileNotFoundException" if isinstance(error, FileNotFoundError) else "IOException"
            )
            told = {"exception": kind, "javaClassName": f"java.io.{kind}", "message": str(error)}
            found, status = {"RemoteException": told}, 404 if "Not" in kind else 500
        content = found if isinstance(found, bytes) else json.dumps(found).encode()
        self.send_response(status)
        # No Content-Type: to take it apart Hadoop needs a class that PySpark's jars leave out.
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log no request."""


class Store(ThreadingHTTPServer):
    """WebHDFS server of a folder, with a list of the requests."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.asked: list[tuple[str, str]] = []

    @property
    def address(self) -> str:
        """URL of the store for Hadoop."""
        return f"webhdfs://127.0.0.1:{self.server_port}"


@contextmanager
def serving_store(folder: Path) -> Iterator[Store]:
    """Serve a folder during a context."""
    with Store(folder) as store:
        Thread(target=store.serve_forever, daemon=True).start()
        yield store
        store.shutdown()
