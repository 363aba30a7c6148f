"""The reverse proxy of examples/deployment before any number of services on this machine."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.servers import ROOT, free_port

SNIPPET = ROOT / "examples" / "deployment" / "nginx.conf"
SERVED_BY = "X-Served-By"


def make_certificate(folder: Path) -> str:
    """Create a self-signed certificate, and return the lines of the snippet for TLS."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
               "-nodes", "-days", "2", "-subj", "/CN=adras.test", "-keyout", str(key),
               "-out", str(certificate)]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return f" ssl;\n    ssl_certificate {certificate};\n    ssl_certificate_key {key}"


def format_proxy_config(
    folder: Path, port: int, addresses: Sequence[str], secured: str = ""
) -> str:
    """Return the whole configuration around the snippet, with the service named in each answer."""
    servers = "\n".join(f"    server {address};" for address in addresses)
    snippet = SNIPPET.read_text().replace("    server 127.0.0.1:8000;", servers)
    return (
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log;\nevents {{ }}\n"
        f"http {{ access_log off; add_header {SERVED_BY} $upstream_addr always;\n"
        f"{snippet.replace('listen 8080', f'listen 127.0.0.1:{port}{secured}')} }}\n"
    )


def wait_until_listening(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait for connections to a port."""
    for _ in range(200):
        if process.poll() is not None:
            raise SystemExit(f"nginx ended with exit code {process.returncode}.")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"nginx does not listen on {port}")


@contextmanager
def running_proxy(
    folder: Path, addresses: Sequence[str], *, is_secure: bool = False
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run nginx before services, with TLS on demand, and return address and process."""
    if shutil.which("nginx") is None:
        raise SystemExit("nginx is missing; Debian: apt-get install nginx-light")
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "nginx.conf"
    secured = make_certificate(folder) if is_secure else ""
    path.write_text(format_proxy_config(folder, port, addresses, secured))
    with subprocess.Popen(["nginx", "-p", str(folder), "-c", str(path)]) as process:
        try:
            wait_until_listening(port, process)
            yield f"{'https' if is_secure else 'http'}://127.0.0.1:{port}", process
        finally:
            process.terminate()
