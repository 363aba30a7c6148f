"""Images built without a registry, and their programs in namespaces as an ordinary user.

Debian's buildah builds the Dockerfile. Its base is a Debian made by mmdebstrap. Needs root.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.service import ROOT

DOCKERFILE = ROOT / "examples" / "deployment" / "Dockerfile"
BASE = "localhost/adras-base"
ISOLATED = {"STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}
USER = 10001
# The root of the image read-only, the volume and /tmp above it, as compose.yaml has it.
ENTER = """
set -e
root=$1 volume=$2 user=$3; shift 3
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount --bind "$volume" "$root/data"
mount -t tmpfs tmpfs "$root/tmp"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
exec chroot --userspec="$user:$user" "$root" /usr/bin/env -i "$@"
"""


def why_not() -> str | None:
    """Return the reason against building images here, or None."""
    missing = [name for name in ("buildah", "mmdebstrap", "unshare") if not shutil.which(name)]
    if missing:
        return f"there is no {', '.join(missing)} here (Debian: apt-get install buildah mmdebstrap)"
    return None if os.geteuid() == 0 else "only root can make the file system of an image"


def find_mounts() -> list[str]:
    """List what pip's settings of this machine name, for the builds to mount."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "debug"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    named = {Path(match) for match in re.findall(r"(?<![\w./])/[\w./-]+", listed)}
    # The index in a folder names files beside itself.
    named |= {Path(match).parent for match in re.findall(r"file://([\w./-]+)", listed)}
    return [f"{path}:{path}:ro" for path in sorted(named) if path.is_file() or path.is_dir()]


@dataclass(frozen=True)
class Image:
    """A built image: its file system and what starts in it."""

    root: Path
    environment: Mapping[str, str]
    command: Sequence[str]
    workdir: str
    user: str


@dataclass(frozen=True)
class Store:
    """The folder of the images."""

    folder: Path

    def run(self, *words: str) -> str:
        """Run buildah and return its output."""
        places = ["--root", str(self.folder / "store"), "--runroot", str(self.folder / "run")]
        done = subprocess.run(
            ["buildah", *places, *words],
            cwd=ROOT, env=os.environ | ISOLATED, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout.strip()

    def make_base(self) -> None:
        """Make the base image, a Debian with Python, unless it is there."""
        if BASE in self.run("images", "--format", "{{.Name}}"):
            return
        archive = self.folder / "base.tar"
        packages = "python3,python3-venv,ca-certificates"
        subprocess.run(
            ["mmdebstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(archive)],
            check=True, capture_output=True,
        )  # fmt: skip
        container = self.run("from", "scratch")
        self.run("add", "--quiet", container, str(archive), "/")
        self.run("commit", "--quiet", container, BASE)
        self.run("rm", container)
        archive.unlink()

    def build(self, target: str) -> Image:
        """Build a target of the Dockerfile, and return its mounted file system."""
        volumes = [word for mount in find_mounts() for word in ("--volume", mount)]
        name = f"localhost/adras-{target}"
        self.run(
            "bud", "--layers", "--format", "docker", "--network", "host",
            "--build-arg", f"BASE={BASE}", "--target", target, "--tag", name,
            *volumes, "--file", str(DOCKERFILE), ".",
        )  # fmt: skip
        settings = json.loads(self.run("inspect", "--type", "image", name))["Docker"]["config"]
        return Image(
            root=Path(self.run("mount", self.run("from", name))),
            environment=dict(line.split("=", 1) for line in settings["Env"]),
            command=settings["Cmd"],
            workdir=settings["WorkingDir"],
            user=settings["User"],
        )


def kill_namespace(pid: int) -> None:
    """Kill the first process of the namespace that a process has made, and so all others there.

    `--kill-child` does not last: another user at chroot makes the kernel forget it.
    """
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)


@contextmanager
def started(
    image: Image, volume: Path, command: Sequence[str] = (), **environment: str
) -> Iterator[subprocess.Popen[str]]:
    """Start a command, or the image's own, in separate namespaces, and kill it at the end."""
    variables = [f"{k}={v}" for k, v in {**image.environment, **environment}.items()]
    inside = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', image.workdir, *(command or image.command)]
    with subprocess.Popen(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, "sh",
         str(image.root), str(volume), image.user, *variables, *inside],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                kill_namespace(process.pid)
            process.kill()


def run(image: Image, volume: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in an image to its end."""
    with started(image, volume, command) as process:
        said, _ = process.communicate(timeout=300)
        return subprocess.CompletedProcess(command, process.returncode, said)
