"""The configuration and release in use, reloaded after each change on disk."""

import asyncio
import logging
import math
import os
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from msgspec import Struct

from scripts.api.fast_predict import FastPredictor, make_fast_predictor
from scripts.api.responses import RefusedError
from scripts.core import artifacts
from scripts.core.config import Config
from scripts.core.config_file import read_config
from scripts.core.errors import PipelineError, ReleaseError, describe_bug
from scripts.data import cells
from scripts.model import logistic_model
from scripts.production.release import Release, load_current

RETRY_S = 10.0
NO_RELEASE = "There is no release yet; run python -m scripts.fullprocess."
# The longest wait of a request for a new release or configuration.
RENEWAL_S = 1.0
# A check is not repeated within FRESH_S, or within BUSY_S after more than FEW requests. Under load
# no request waits for a check unless the last one is older than OLD_S.
FRESH_S, BUSY_S, OLD_S = 0.002, 0.01, 0.05
FEW = 4

Asked = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]

log = logging.getLogger(__name__)


class WatchedState(Struct, frozen=True):
    """The state of config.json and of the link `current` at the last check."""

    config_state: tuple[int, int, int] | None
    prod_folder: Path | None
    target: str | None


class Serving(Struct, frozen=True):
    """The immutable config and release of a request."""

    root: Path
    config: Config
    release: Release | None
    seen: WatchedState
    config_fault: str = ""
    release_fault: str = ""
    retry_at_s: float = math.inf
    fast_predictor: FastPredictor | None = None

    @property
    def release_name(self) -> str | None:
        """Return the name of the release, or None before the first deployment."""
        return None if self.release is None else self.release.name

    def release_or_refuse(self) -> Release:
        """Return the release, or refuse the request with the reason."""
        if self.release is None:
            raise RefusedError(503, " ".join(self.faults), [("Retry-After", str(int(RETRY_S)))])
        return self.release

    @property
    def faults(self) -> list[str]:
        """Return the faults of the newest config and release, without local folders."""
        found = [fault for fault in (self.config_fault, self.release_fault) if fault]
        return [self.without_folders(fault) for fault in found]

    def without_folders(self, text: str) -> str:
        """Remove local folders from a text for clients."""
        for folder in (self.root, self.config.prod_deployment_path.parent):
            text = text.replace(f"{folder}{os.sep}", "")
        return text


def state_of(path: Path) -> tuple[int, int, int] | None:
    """Return size, modification time and inode of a file, or None if it cannot be read."""
    try:
        status = os.stat(path)  # noqa: PTH116 - once per request, and pathlib costs as much again
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino


def target_of(prod_folder: Path) -> str | None:
    """Return the target of the link `current`, or "" for a broken link."""
    try:
        return artifacts.current_target(prod_folder)
    except (PipelineError, OSError, ValueError):
        return ""


def describe_refusal(error: Exception) -> str:
    """Return the reason for a refused config or release, only the kind of unexpected errors."""
    expected = isinstance(error, PipelineError | OSError | ValueError)
    return str(error) if expected else f"It could not be read: {type(error).__name__}."


def renew_config(config_path: Path, last: Serving) -> tuple[Config, str]:
    """Read an edited config.json, or return the last good config with the fault."""
    try:
        config = read_config(config_path)
    except Exception as error:
        # Whatever is raised (no memory, too deep a nesting), the service goes on.
        fault = describe_refusal(error)
        if fault != last.config_fault:
            log.error("%s The last good configuration stays in use.", fault)
        return last.config, fault
    log.info("Read the configuration %s.", config_path)
    return config, ""


def warm_up(release: Release) -> None:
    """Predict a client with missing values only, to test and warm up a release.

    Raises
    ------
    ReleaseError
        If there is no probability.
    """
    schema = release.model.schema
    blanks = {name: np.array([math.nan]) for name in schema.numeric}
    blanks |= {name: np.array([cells.MISSING_CATEGORY], object) for name in schema.categorical}
    probability = float(logistic_model.probabilities(release.model, blanks)[0])
    if not 0 <= probability <= 1:
        raise ReleaseError(
            f"{release.path} cannot predict: a client with missing values only has the probability"
            f" {probability}."
        )


def renew_release(prod_folder: Path, last: Serving) -> tuple[Release | None, str]:
    """Load the release in production, or return the last good release with the fault."""
    try:
        loaded, fault = load_current(prod_folder), NO_RELEASE
        if loaded is not None:
            warm_up(loaded)
    except Exception as error:
        # Whatever a damaged release raises, the last good one goes on.
        loaded, fault = None, describe_refusal(error)
    if loaded is not None:
        log.info("Loaded release %s, F1 %.4f.", loaded.name, loaded.manifest.f1)
        return loaded, ""
    if fault != last.release_fault:
        kept = last.release.name if last.release else "nothing"
        log.log(
            logging.WARNING if fault == NO_RELEASE else logging.ERROR, "%s Serving %s.", fault, kept
        )
    return last.release, fault


def renew_fast_predictor(
    config: Config, release: Release | None, last: Serving
) -> FastPredictor | None:
    """Make the fast predictor of a release, with identifiers only for logged predictions."""
    if release is None:
        return None
    with_ids = config.api.log_predictions is not None
    if (
        last.fast_predictor is not None
        and last.release is release
        and last.fast_predictor.with_ids == with_ids
    ):
        return last.fast_predictor
    return make_fast_predictor(release.model, with_ids=with_ids)


def renew(config_path: Path, last: Serving) -> Serving:
    """Reload the config and release after a change or a fault."""
    state, config, config_fault = state_of(config_path), last.config, last.config_fault
    if state != last.seen.config_state or config_fault:
        config, config_fault = renew_config(config_path, last)
    folder = config.prod_deployment_path
    seen = WatchedState(state, folder, target_of(folder))
    release, release_fault = last.release, last.release_fault
    before = (last.seen.prod_folder, last.seen.target)
    if (seen.prod_folder, seen.target) != before or release_fault:
        release, release_fault = renew_release(folder, last)
    # A fault such as too many open files may pass, so loading is tried again now and then.
    retry_at_s = time.monotonic() + RETRY_S if config_fault or release_fault else math.inf
    try:
        fast_predictor = renew_fast_predictor(config, release, last)
    except Exception as error:
        # As for an unreadable release: the last release and its predictor go on together.
        release, fast_predictor, release_fault = (
            last.release,
            last.fast_predictor,
            describe_refusal(error),
        )
        retry_at_s = time.monotonic() + RETRY_S
    return Serving(
        last.root, config, release, seen, config_fault, release_fault, retry_at_s, fast_predictor
    )


class ReleaseReloader:
    """The config and release in use, reloaded when a request finds a change.

    Parameters
    ----------
    config_path : Path
        The config.json.
    on_refused : callable, optional
        Called for each release or configuration that is refused.
    """

    def __init__(self, config_path: Path, on_refused: Callable[[], None] = lambda: None) -> None:
        state, config = state_of(config_path), read_config(config_path)
        start = Serving(
            config_path.absolute().parent, config, None, WatchedState(state, None, None)
        )
        self._config_path = config_path
        self._renewing = threading.Lock()
        self._on_refused = on_refused
        self._checking_since_s = math.inf
        self._serving = renew(config_path, start)

    def last(self) -> Serving:
        """Return the config and release last loaded, without a check for changes."""
        return self._serving

    def fault(self) -> str:
        """Return a message if the check for changes hangs, otherwise ""."""
        since_s = time.monotonic() - self._checking_since_s
        if since_s < RENEWAL_S:
            return ""
        return (
            f"The check for a new release or config.json has hung for {since_s:.0f} seconds; does"
            " the disk of prod_deployment_path answer? The last good release serves on."
        )

    def has_changed(self) -> bool:
        """Return whether config or release has changed, or a retry after a fault is due."""
        last, seen = self._serving, self._serving.seen
        return (
            state_of(self._config_path) != seen.config_state
            or target_of(last.config.prod_deployment_path) != seen.target
            or time.monotonic() >= last.retry_at_s
        )

    def now(self) -> Serving:
        """Return the config and release, reloaded after a change by one thread only."""
        if self.has_changed() and self._renewing.acquire(blocking=False):
            try:
                before = self._serving
                self._serving = renew(self._config_path, before)
                for _ in set(self._serving.faults) - set(before.faults):
                    self._on_refused()
            finally:
                self._renewing.release()
        return self._serving

    def check(self) -> None:
        """Check for changes, record the start time for `fault`, and never raise."""
        self._checking_since_s = time.monotonic()
        try:
            self.now()
        except Exception as error:
            # The checking thread must survive any error, and the last good release goes on.
            log.error("The check for a new release failed: %s.", describe_bug(error))
        finally:
            self._checking_since_s = math.inf


class ChangeChecker:
    """A background thread that checks for changes on behalf of an event loop.

    Parameters
    ----------
    reloader : ReleaseReloader
        The config and release to reload.
    """

    def __init__(self, reloader: ReleaseReloader) -> None:
        self._reloader = reloader
        self._asked: queue.SimpleQueue[Asked] = queue.SimpleQueue()
        self._check: asyncio.Future[None] | None = None
        # The start of the last check, and of the last finished check.
        self._began_at_s = self._seen_at_s = -math.inf
        self._n_since, self._is_busy = 0, False
        # A daemon, so that a hanging disk does not keep the service from ending.
        threading.Thread(target=self._run, name="changes", daemon=True).start()

    def _run(self) -> None:
        while True:
            loop, check = self._asked.get()
            self._reloader.check()
            try:
                loop.call_soon_threadsafe(check.set_result, None)
            except RuntimeError:
                # The loop is closed, since the service has ended.
                return

    def _is_under_way(self) -> bool:
        """Return whether a check is running, and note the last finished check."""
        if self._check is None:
            return False
        if self._check.done():
            self._check, self._seen_at_s = None, self._began_at_s
            return False
        return True

    async def serving(self) -> Serving:
        """Return the config and release after a bounded wait for a check.

        A single request waits for its own check, and so sees every earlier change. Of many
        requests none waits, unless the last check is older than `OLD_S`.
        """
        now_s = time.monotonic()
        if not self._is_under_way():
            is_burst = self._n_since >= FEW
            if now_s < self._began_at_s + (BUSY_S if is_burst else FRESH_S):
                self._n_since += 1
                return self._reloader.last()
            loop = asyncio.get_running_loop()
            self._check, self._began_at_s = loop.create_future(), now_s
            self._n_since, self._is_busy = 0, is_burst
            self._asked.put((loop, self._check))
        self._n_since += 1
        # A hanging disk or a blocked log must not hold up predictions.
        wait_s = self._began_at_s + RENEWAL_S - now_s
        is_old = not self._is_busy or now_s >= self._seen_at_s + OLD_S
        if self._check is not None and is_old and wait_s > 0:
            await asyncio.wait({self._check}, timeout=wait_s)
        return self._reloader.last()
